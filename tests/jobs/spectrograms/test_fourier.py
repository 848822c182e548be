import numpy as np
import pytest
import torch

from jobs.spectrograms import fourier
from jobs.spectrograms.fourier import Transform


@pytest.fixture(params=["as PyTorch is built", "without MKL"])
def planned(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without MKL":
        monkeypatch.setattr(fourier, "_mkl", lambda: None)


@pytest.mark.usefixtures("planned")
@pytest.mark.parametrize("n_fft", [512, 960, 1024, 4096])
def test_a_cosine_is_half_the_length_at_its_bin(n_fft: int) -> None:
    transform = Transform(3, n_fft)
    bins = torch.tensor([1, 7, n_fft // 2 - 1])
    transform.frames[:] = torch.cos(2 * torch.pi * bins[:, None] * torch.arange(n_fft) / n_fft)
    transform()
    expected = np.zeros((3, n_fft // 2 + 1))
    expected[range(3), bins] = n_fft / 2
    assert np.abs(transform.spectra.numpy() - expected).max() < 1e-3 * n_fft


@pytest.mark.usefixtures("planned")
def test_any_frames_give_the_numbers_of_pytorch_again_and_again() -> None:
    transform = Transform(16, 4096)
    for seed in range(3):
        transform.frames[:] = torch.randn(16, 4096, generator=torch.Generator().manual_seed(seed))
        transform()
        assert torch.allclose(transform.spectra, torch.fft.rfft(transform.frames), rtol=0, atol=1e-3)


def test_where_mkl_fails_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    transform = Transform(1, 64)

    class Failing:
        DftiComputeForward = staticmethod(lambda *_: 1)

    monkeypatch.setattr(transform, "_mkl", Failing())
    monkeypatch.setattr(transform, "_plan", "a plan")
    with pytest.raises(RuntimeError, match="had planned"):
        transform()
