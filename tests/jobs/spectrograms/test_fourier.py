import platform

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from jobs.spectrograms import fourier
from jobs.spectrograms.fourier import plan_transform
from jobs.spectrograms.kernels import SPECTRA_AT_ONCE, Tools, bank_of, frame_codes, scratch_for
from lake.constants import CODE_OFFSET_DB, CODE_STEP_DB


@pytest.fixture(params=["as PyTorch is built", "without MKL"])
def planned(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without MKL":
        monkeypatch.setattr(fourier, "_mkl", lambda: None)


@pytest.mark.usefixtures("planned")
@pytest.mark.parametrize("n_fft", [512, 960, 1024, 4096])
def test_a_cosine_is_half_the_length_at_its_bin(n_fft: int) -> None:
    transform = plan_transform(3, n_fft)
    bins = np.array([1, 7, n_fft // 2 - 1])
    transform.frames[:] = np.cos(2 * np.pi * bins[:, None] * np.arange(n_fft) / n_fft)
    transform()
    expected = np.zeros((3, n_fft // 2 + 1))
    expected[range(3), bins] = n_fft / 2
    assert np.abs(transform.spectra - expected).max() < 1e-3 * n_fft


@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="PyTorch brings MKL on x86 only")
def test_pytorch_still_brings_mkl() -> None:
    assert fourier._mkl() is not None, (
        "libtorch_cpu no longer exports DftiComputeForward: transforms take torch.fft, which costs 8 % of a job. "
        "If that is so for good, replace fourier.py by torch.fft.rfft over 64 frames at once (same codes)."
    )


@pytest.mark.usefixtures("planned")
def test_any_frames_give_the_numbers_of_pytorch_again_and_again() -> None:
    transform = plan_transform(16, 4096)
    for seed in range(3):
        frames = torch.randn(16, 4096, generator=torch.Generator().manual_seed(seed))
        transform.frames[:] = frames.numpy()
        transform()
        assert np.abs(transform.spectra - torch.fft.rfft(frames).numpy()).max() < 1e-3


def test_where_a_transform_fails_it_is_said() -> None:
    transform = plan_transform(1, 64)._replace(forward=lambda *_: 1)
    with pytest.raises(RuntimeError, match="had been planned"):
        transform()


def test_what_pytorch_refuses_is_told_to_c() -> None:
    refused = fourier._by_torch(torch.zeros(1, 64), torch.zeros(1, 33))
    assert refused(0, 0, 0) == 1


@pytest.mark.usefixtures("planned")
def test_compiled_code_calls_what_is_planned_and_says_where_it_fails() -> None:
    """A tone of full scale at a bin's centre reads 0 dB there, whoever computes the transform."""
    n_fft, n_frames = 1024, 100
    taper = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    samples = np.sin(2 * np.pi * 64 / n_fft * np.arange(n_fft * 10)).astype(np.float32)
    bank = bank_of(csr_matrix(np.eye(n_fft // 2 + 1, dtype=np.float32)), 4 / float(taper.sum()) ** 2)
    starts = np.arange(n_frames) * 64
    codes = np.zeros((n_fft // 2 + 1, n_frames), dtype=np.uint8)
    tools = Tools(taper, bank, scratch_for(bank), plan_transform(SPECTRA_AT_ONCE, n_fft))
    n_low, n_high = frame_codes(samples, starts, tools, codes)
    assert (codes[64] == round((0 - CODE_OFFSET_DB) / CODE_STEP_DB)).all()
    assert (n_low, n_high) == ((codes == 1).sum(), 0)
    failing = tools._replace(transform=tools.transform._replace(forward=fourier._FORWARD(lambda *_: 1)))
    with pytest.raises(RuntimeError, match="had been planned"):
        frame_codes(samples, starts, failing, codes)
