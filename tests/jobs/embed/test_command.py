import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.typing import NDArray
from stores import finish, make_cube, make_model, make_run, random_codes

from jobs.common.network import backbone, inputs
from jobs.common.network.devices import backend_of
from jobs.common.network.readouts import WIDTHS, Readout
from jobs.common.run import Options, Run
from jobs.embed import command
from jobs.embed.config import Config
from jobs.embed.core import logmel
from lake.errors import InputError, StoreError, TryAgainError
from lake.read import open_embeddings, read_codes, usable_windows

LOGMEL = Config(features="logmel", batch_size=5)


def embed_run(lake: Path, cube: Run, config: Config = LOGMEL, model: Run | None = None) -> Run[Config]:
    inputs = {"spectrograms": cube, **({"model": model} if model else {})}
    return make_run(lake, "vectors", "embed", config, inputs=inputs)


def contents(run: Run) -> dict[str, bytes]:
    return {key: run.output.read(key) for key in run.output.list_keys()}


def stamps(run: Run) -> dict[str, int]:
    return {key: Path(run.output.path(key)).stat().st_mtime_ns for key in run.output.list_keys("embedding")}


def vectors_of(run: Run) -> tuple[xr.Dataset, NDArray[Any]]:
    dataset = open_embeddings(run.output.url, times=True).load()
    return dataset, dataset["embedding"].to_numpy()


def test_every_usable_window_once_and_nothing_else(tmp_path: Path) -> None:
    codes = random_codes()
    cube = make_cube(tmp_path, codes)
    run = embed_run(tmp_path, cube)
    outcome = command.execute(run, Options())
    assert outcome.did
    assert outcome.backend == "numpy"
    assert outcome.counts == {"windows_ok": 44, "windows_partial": 4, "windows_in_all": 48}
    dataset, found = vectors_of(run)
    expected = np.full((*codes.shape[:2], 24), np.nan, dtype=np.float32)
    there = np.asarray(codes.any(axis=(2, 3)))
    expected[there] = logmel(codes[there])
    np.testing.assert_array_equal(found, expected)
    raw = xr.open_dataset(cube.output.url, engine="zarr", mask_and_scale=False)
    np.testing.assert_array_equal(dataset["embedding_status"], raw["status"])
    assert found[there].any(axis=1).all()
    merged = xr.merge([raw, dataset.drop_vars("feature")], join="exact", combine_attrs="drop")
    assert merged.sel(recorder="south", time="2021-06-02").sizes["time"] == 144


def test_partial_windows_can_be_left_out(tmp_path: Path) -> None:
    run = embed_run(tmp_path, make_cube(tmp_path), Config(features="logmel", partial=False))
    command.execute(run, Options())
    assert len(usable_windows(open_embeddings(run.output.url, times=True), status="embedding_status")) == 44


def test_a_cube_without_usable_windows(tmp_path: Path) -> None:
    codes = random_codes(n_per_day=2)
    codes[..., -1] = 0
    run = embed_run(tmp_path, make_cube(tmp_path, codes), Config(features="logmel", partial=False))
    with pytest.raises(InputError, match=r"'mels' has no window that is ok \(run with partial = true"):
        command.execute(run, Options())


def test_growing_rewrites_the_changed_days_alone(tmp_path: Path) -> None:
    codes = random_codes(n_days=3)
    first = codes.copy()
    first[:, 288:] = 0
    first[1, 200:288] = 0  # the second recorder's second day was not copied to its end
    run = embed_run(tmp_path, make_cube(tmp_path, first))
    command.execute(run, Options())
    finish(run)
    before, old = stamps(run), vectors_of(run)[1]
    assert not command.execute(run, Options()).did
    make_cube(tmp_path, codes)
    total = int(np.count_nonzero(codes.any(axis=(2, 3))))
    assert command.progress_of(run) == (12 * 3, total)
    outcome = command.execute(run, Options())
    assert outcome.counts["windows_ok"] + outcome.counts["windows_partial"] == total - 12 * 3
    after, new = stamps(run), vectors_of(run)[1]
    unchanged = {"embedding/c.0.0.0", "embedding/c.0.1.0", "embedding/c.1.0.0"}
    assert {key for key in before if "c." in key and before[key] == after[key]} == unchanged
    there = ~np.isnan(old)
    np.testing.assert_array_equal(new[there], old[there])
    fresh = tmp_path / "fresh"
    again = embed_run(fresh, make_cube(fresh, codes))
    command.execute(again, Options())
    assert contents(run) == contents(again)


def test_shares_and_restarts_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = embed_run(tmp_path / "whole", make_cube(tmp_path / "whole"))
    command.execute(whole, Options())
    run = embed_run(tmp_path / "shares", make_cube(tmp_path / "shares"))
    assert command.execute(run, Options(part=(2, 3))).did
    with pytest.raises(StoreError) as caught:
        command.finalise(run, Options())
    lines = str(caught.value).splitlines()
    assert lines[0] == "run 'vectors': 3 of 4 partitions are not written yet:"
    assert lines[1:4] == [
        "  north 2021-06-01: 12 windows",
        "  north 2021-06-02: 12 windows",
        "  south 2021-06-02: 12 windows",
    ]
    written: list[str] = []
    real = command.write_partition

    def dying(partition: command.Partition) -> Any:
        if written:
            raise KeyboardInterrupt
        written.append(partition.day.recorder)
        return real(partition)

    monkeypatch.setattr(command, "write_partition", dying)
    with pytest.raises(KeyboardInterrupt):
        command.execute(run, Options(part=(0, 3)))
    monkeypatch.undo()
    assert not command.execute(run, Options(part=(2, 3))).did
    assert command.execute(run, Options(part=(0, 3))).counts["windows_ok"] == 12
    assert command.execute(run, Options(part=(1, 3))).did
    assert not run.output.exists("zarr.json")
    assert command.finalise(run, Options()).did
    finish(run)
    assert not command.finalise(run, Options()).did
    assert contents(run) == contents(whole)


def test_a_commit_that_was_cut_off_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = embed_run(tmp_path, make_cube(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(command, "commit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            command.execute(run, Options())
    assert command.progress_of(run) == (48, 48)
    assert command.execute(run, Options()).did
    assert len(usable_windows(open_embeddings(run.output.url, times=True), status="embedding_status")) == 48


@pytest.mark.parametrize("readout", WIDTHS)
def test_the_network_reads_out_what_the_backbone_says(tmp_path: Path, readout: Readout) -> None:
    cube = make_cube(tmp_path)
    model = make_model(tmp_path, cube)
    run = embed_run(tmp_path, cube, Config(batch_size=7, readout=readout), model)
    outcome = command.execute(run, Options(device="cpu"))
    assert outcome.backend == backend_of()
    _, found = vectors_of(run)
    raw = xr.open_dataset(cube.output.url, engine="zarr", mask_and_scale=False)
    windows = usable_windows(raw)
    network, card = backbone.load_backbone(model.output.url)
    with torch.inference_mode():
        prepared = inputs.prepare(torch.from_numpy(read_codes(raw, windows.recorder, windows.cell)), card)
        expected = backbone.features(network, prepared, readout).numpy()
    np.testing.assert_allclose(found[windows.recorder, windows.cell], expected, atol=1e-5)
    assert np.isnan(found).any(axis=2).sum() == found.shape[0] * found.shape[1] - len(windows)


def test_a_vector_does_not_depend_on_its_place_in_a_batch(tmp_path: Path) -> None:
    """A day that gains windows is embedded anew; what it had must not change."""
    codes = random_codes(n_per_day=20)
    first = codes.copy()
    first[:, ::2] = 0
    vectors = {}
    for name, part in {"first": first, "all": codes}.items():
        cube = make_cube(tmp_path / name, part)
        run = embed_run(tmp_path / name, cube, Config(batch_size=8), make_model(tmp_path / name, cube))
        command.execute(run, Options(device="cpu"))
        vectors[name] = vectors_of(run)[1]
    there = ~np.isnan(vectors["first"])
    np.testing.assert_array_equal(vectors["all"][there], vectors["first"][there])


def test_weights_and_types(tmp_path: Path) -> None:
    cube = make_cube(tmp_path)
    model = make_model(tmp_path, cube)
    found = {}
    for name, config in {
        "teacher": Config(), "initial": Config(weights="initial"), "half": Config(dtype="float16"),
    }.items():  # fmt: skip
        run = make_run(tmp_path, name, "embed", config, inputs={"spectrograms": cube, "model": model})
        command.execute(run, Options(device="cpu"))
        found[name] = vectors_of(run)[1]
    assert found["half"].dtype == np.float16
    np.testing.assert_array_equal(found["half"], found["teacher"].astype(np.float16))
    assert np.nanmax(np.abs(found["initial"] - found["teacher"])) > 0.1


@pytest.mark.slow
def test_the_same_bytes_from_two_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "WINDOWS_PER_PROCESS", 1)
    runs = []
    for workers in (1, 2):
        lake = tmp_path / str(workers)
        cube = make_cube(lake)
        runs.append(embed_run(lake, cube, Config(batch_size=8), make_model(lake, cube)))
        command.execute(runs[-1], Options(workers=workers, device="cpu"))
    assert contents(runs[0]) == contents(runs[1])
    assert runs[0].ledger.summary() == runs[1].ledger.summary()


def test_a_model_trained_again_embeds_everything_again(tmp_path: Path) -> None:
    cube = make_cube(tmp_path)
    run = embed_run(tmp_path, cube, Config(), make_model(tmp_path, cube))
    command.execute(run, Options(device="cpu"))
    before = vectors_of(run)[1]
    make_model(tmp_path, cube, seed=5)
    assert command.progress_of(run) == (0, 48)
    command.execute(run, Options(device="cpu"))
    assert np.nanmax(np.abs(vectors_of(run)[1] - before)) > 0.1


def test_another_backend_is_refused_unless_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cube = make_cube(tmp_path)
    run = embed_run(tmp_path, cube, Config(), make_model(tmp_path, cube))
    command.execute(run, Options(part=(0, 2), device="cpu"))
    monkeypatch.setattr("jobs.common.network.devices.backend_of", lambda _: "cpu-DEFAULT")
    with pytest.raises(TryAgainError, match=r"begun on cpu-[\w-]+; this machine computes as cpu-DEFAULT.*--mix"):
        command.execute(run, Options(device="cpu"))
    assert command.execute(run, Options(device="cpu", mix=True)).did


def test_a_model_of_other_windows_is_refused_by_name(tmp_path: Path) -> None:
    cube = make_cube(tmp_path)
    bands = embed_run(tmp_path, cube, Config(), make_model(tmp_path, cube, mel_last_hz=9999.0))
    with pytest.raises(InputError, match=r"model 'dino' does not fit cube 'mels'.*8 mel bands from 100\.0 to 9999\.0"):
        command.execute(bands, Options(device="cpu"))
    make_model(tmp_path, cube, seconds_per_frame=0.01)
    with pytest.raises(InputError, match=r"model 'dino' does not fit cube 'mels'.*0\.01 s per pixel"):
        command.execute(bands, Options(device="cpu"))


def test_models_that_are_missing_or_superfluous(tmp_path: Path) -> None:
    cube = make_cube(tmp_path)
    with pytest.raises(InputError, match="needs a `model` among its inputs"):
        command.execute(embed_run(tmp_path / "a", cube, Config()), Options())
    model = make_model(tmp_path, cube)
    with pytest.raises(InputError, match="uses no model, but inputs name 'dino'"):
        command.execute(embed_run(tmp_path / "b", cube, LOGMEL, model), Options())
    model.ledger.storage.remove("files.json")
    with pytest.raises(StoreError, match=r"model 'dino' is not finished .*run MANIFEST dino"):
        command.execute(embed_run(tmp_path / "c", cube, Config(), model), Options())


def test_vectors_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    cube = make_cube(tmp_path)
    model = make_model(tmp_path, cube)
    network, card = backbone.load_backbone(model.output.url)
    network.load_state_dict({key: torch.full_like(value, torch.nan) for key, value in network.state_dict().items()})
    backbone.save_backbone(model.output.url, network, card)
    files = {key: hashlib.sha256(model.output.read(key)).hexdigest() for key in model.ledger.files() or {}}
    model.ledger.settle_files(files)
    run = embed_run(tmp_path, cube, Config(), model)
    with pytest.raises(InputError, match=r"12 windows of north 2021-06-01 have a vector that is zero or not finite as"):
        command.execute(run, Options(device="cpu"))


def test_a_shard_of_the_cube_that_is_gone_is_damage(tmp_path: Path) -> None:
    cube = make_cube(tmp_path)
    for key in cube.output.list_keys("spectrogram"):
        if "/c." in key:
            cube.output.remove(key)
    with pytest.raises(
        StoreError,
        match=r"c\.0\.0\.0\.0: expected the file that the ledger lists .*, found no file\. Type `dawnchorus verify",
    ):
        command.execute(embed_run(tmp_path, cube), Options())


def test_a_full_disk_is_said_before_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = embed_run(tmp_path, make_cube(tmp_path))
    monkeypatch.setattr("lake.storage.Storage.free_bytes", lambda _: 10)
    with pytest.raises(TryAgainError, match=r"up to .* will be written, .* are free"):
        command.execute(run, Options())


def test_no_cuda_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cube = make_cube(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run = embed_run(tmp_path, cube, Config(), make_model(tmp_path, cube))
    with pytest.raises(InputError, match="cuda was asked for, but torch sees no CUDA device"):
        command.execute(run, Options(device="cuda"))


def test_the_command_loads_no_torch_by_itself() -> None:
    code = "import jobs.embed.command, sys; assert 'torch' not in sys.modules, 'torch was loaded'"
    subprocess.run([sys.executable, "-c", code], check=True)
