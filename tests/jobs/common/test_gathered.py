"""Stores gathered from several: the same as one store computed from all of their recordings, to the byte."""

import errno
import os
import shutil
from pathlib import Path

import faults
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from faults import Moment
from seasons import CUBE, DEPLOYMENTS, execute, grow, run_of, write_computed, write_gathered, write_season

from jobs.common.run import Options
from jobs.runner.execute import execute_runs, finalise_run, verify_runs
from jobs.runner.manifest import read_manifest
from jobs.runner.reproduce import reproduce
from jobs.runner.state import states
from lake.errors import IdentityError, InputError, StoreError
from lake.layout import Lake
from lake.query.trace import trace
from lake.verdicts import COLUMNS as VERDICT_COLUMNS
from lake.verdicts import add_verdicts


@pytest.fixture(scope="module")
def seasons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two seasons that are done."""
    folder = tmp_path_factory.mktemp("seasons")
    for name in ("june", "july"):
        execute(write_season(folder, name))
    return folder


@pytest.fixture
def own(seasons: Path, tmp_path: Path) -> Path:
    """Return a copy of the seasons that a test may change."""
    return shutil.copytree(seasons, tmp_path / "seasons", ignore=shutil.ignore_patterns("years", "computed"))


@pytest.fixture(scope="module")
def made(seasons: Path) -> Path:
    """Return the seasons with a study that gathers them, and one that computes both."""
    folder = seasons
    for manifest in (write_gathered(folder), write_computed(folder)):
        execute(manifest, "mels", "vectors", "clusters")
        judge_all(manifest)
        execute(manifest)
    return folder


def judge_all(manifest: Path) -> None:
    """Judge every window of two sounds, by turns, the same in every study."""
    with xr.open_zarr(run_of(manifest, "mels").output.url, decode_times=True) as cube:
        status = cube["status"].to_numpy()
        found = [(str(cube["recorder"][i].item()), cube["time"].to_numpy()[j]) for i, j in np.argwhere(status > 0)]
    rows = [
        {
            "recorder": recorder, "time_utc": pd.Timestamp(time), "duration_s": 4.0, "sound": sound,
            "verdict": "yes" if (i + k) % 2 else "no", "reviewer": "Ana", "decided_at": pd.Timestamp("2021-08-01"),
            "seconds": 1.0, "batch": "", "draw": pd.NA, "recording": "", "offset_s": 0.0, "digest": "", "source": "",
        }
        for i, (recorder, time) in enumerate(found) for k, sound in enumerate(("wren", "robin"))
    ]  # fmt: skip
    table = pd.DataFrame(rows).astype({"time_utc": "datetime64[ms]", "decided_at": "datetime64[ms]", "draw": "Int64"})
    add_verdicts(Lake(str(manifest.parent / "lake")), table[list(VERDICT_COLUMNS)])


def test_everything_is_as_of_one_cube_of_all_recordings(made: Path) -> None:
    gathered, computed = made / "years/study.toml", made / "computed/study.toml"
    for name in ("mels", "vectors", "clusters", "detections"):
        one, other = run_of(gathered, name), run_of(computed, name)
        assert one.ledger.summary() == other.ledger.summary(), name
        with xr.open_zarr(one.output.url) as a, xr.open_zarr(other.output.url) as b:
            assert dict(a.sizes) == dict(b.sizes)
            data = [name for name in ("spectrogram", "embedding") if name in a]  # their shards are in the summary
            xr.testing.assert_identical(a.drop_vars(data).drop_attrs(), b.drop_vars(data).drop_attrs())
    for key in ("counts.csv", "histories/wren/history.csv"):
        tables = [run_of(path, "counts").output.read(key) for path in (gathered, computed)]
        assert tables[0] == tables[1], key
    counts = pd.read_csv(made / "years/lake/tables/counts/counts.csv").query("kind == 'season'")
    assert set(counts["site"]) == {"North", "South", "West"}


def test_shards_are_links_and_readers_find_sound_receipts_and_digests(made: Path) -> None:
    manifest = made / "years/study.toml"
    cube = run_of(manifest, "mels")
    for entry in cube.ledger.written().values():
        for key in entry.files:
            assert Path(cube.output.path(key)).stat().st_nlink > 1
    verify_runs(read_manifest(manifest), [], print)
    assert {one.state for one in states(read_manifest(manifest))} == {"done"}
    window = trace(cube.output.url, "west", "2021-07-11T02:00:30")
    assert [piece.path for piece in window.pieces] == ["july/audio/west/20210711_020000.wav"]
    for output in ("vectors", "clusters", "detections"):
        found = trace(run_of(manifest, output).output.url, "west", "2021-07-11T02:00:30")
        assert (found.pieces, found.digest) == (window.pieces, window.digest), output


def test_a_receipt_is_reproduced(made: Path, tmp_path: Path) -> None:
    for name in ("mels", "vectors"):
        receipts = run_of(made / "years/study.toml", name).lake.receipts(name)
        said: list[str] = []
        (key,) = receipts.list_keys()
        reproduce(Path(receipts.path(key)), tmp_path / name, Options(device="cpu"), said.append)
        assert "the same bytes" in said[-1]


def test_a_season_grows_and_all_that_was_gathered_from_it(own: Path) -> None:
    rest = '[runs.clusters]\njob = "cluster"\ninputs = { embeddings = "vectors" }\nconfig = { n_clusters = 2 }\n'
    manifest = write_gathered(own, rest=rest)
    execute(manifest)
    execute(write_computed(own, rest=""))
    with xr.open_zarr(run_of(manifest, "clusters").output.url) as store:
        before = store["centroid"].to_numpy()
    grow(own, "july", "west", "20210712_040000")
    grow(own, "july", "east", "20210803_050000")
    assert next(one.state for one in states(read_manifest(manifest))) == "stale"
    execute(manifest)
    execute(write_computed(own, rest=""))
    for name in ("mels", "vectors"):
        others = (run_of(path, name).ledger.summary() for path in (manifest, own / "computed/study.toml"))
        assert next(others) == next(others)
    with xr.open_zarr(run_of(manifest, "clusters").output.url) as store:
        assert np.array_equal(store["centroid"].to_numpy(), before), "the clustering stays"
        assert (store["cluster"].sel(recorder="east").to_numpy() >= 0).any(), "new windows have clusters"
    assert all("nothing to do" in line for line in execute(manifest))


@pytest.mark.slow
def test_kills_workers_shares_and_a_disk_without_links_give_the_same_bytes(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = write_gathered(own, rest="")
    moments = [("shard", "before"), ("ledger", "torn"), ("index", "after"), ("commit", "torn")]
    for number, (step, when) in enumerate(moments):
        marks = own / f"marks{number}"
        marks.mkdir()
        faults.in_child(faults.run_until_killed, str(manifest), [Moment("driver", step, 1, when)], 1, str(marks))
    execute(manifest)
    first = everything(manifest)
    shutil.rmtree(manifest.parent / "lake")
    for i in range(2):
        execute_runs(read_manifest(manifest), ["mels"], Options(part=(i, 2)), print)
    finalise_run(read_manifest(manifest), "mels", print)
    execute(manifest, workers=2)
    assert everything(manifest) == first
    shutil.rmtree(manifest.parent / "lake")

    def refused(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    link = os.link
    monkeypatch.setattr(os, "link", lambda a, b: refused() if "/years/" not in str(a) else link(a, b))
    execute(manifest)
    assert everything(manifest) == first


def everything(manifest: Path) -> dict[str, bytes]:
    """Return the bytes of all stores by name."""
    return {
        f"{name}/{key}": run.output.read(key)
        for name, run in read_manifest(manifest).runs.items()
        for key in run.output.list_keys()
    }


# What is refused -------------------------------------------------------------------------------------------


def test_other_settings_are_refused_each_by_name(own: Path) -> None:
    manifest = write_gathered(own, rest="")
    manifest.write_text(manifest.read_text().replace("n_mels = 8", "n_mels = 16").replace("logmel", "statistics"))
    with pytest.raises(InputError, match=r"n_mels = 8, here 16") as told:
        execute(manifest, "mels")
    assert str(told.value).count("/lake/spectrograms/mels.zarr: n_mels") == 2, "of each store"
    manifest.write_text(manifest.read_text().replace("n_mels = 16", "n_mels = 8"))
    execute(manifest, "mels")
    with pytest.raises(InputError, match="features = 'logmel', here 'statistics'"):
        execute(manifest, "vectors")


def test_two_stores_of_the_same_day_are_refused(own: Path) -> None:
    shutil.copytree(own / "june", own / "copy")
    with pytest.raises(InputError, match=r"3 days of a recorder .*\n.*north 2021-06-14: \S+june\S+ and \S+copy\S+"):
        execute(write_gathered(own, ("june", "copy")), "mels")


def test_a_deployment_that_two_stores_describe_differently_is_refused(own: Path) -> None:
    shutil.rmtree(own / "july/lake")
    text = DEPLOYMENTS.replace("south-july", "south-june").replace("Z,South,America/D", "Z,East,America/D")
    rows = [line for line in text.splitlines() if "north" not in line and "june-06" not in line]
    (own / "july/deployments.csv").write_text("\n".join([rows[0], *rows[2:]]) + "\n")
    execute(own / "july/study.toml")
    with pytest.raises(
        InputError, match=r"'south-june' of .*: site South and East, zone America/Chicago and America/D"
    ):
        execute(write_gathered(own), "mels")


def test_a_season_is_added_and_none_can_be_left_out(own: Path) -> None:
    manifest = write_gathered(own, ("june",), rest="")
    execute(manifest)
    execute(write_gathered(own, rest=""))
    execute(write_computed(own, rest=""))
    for name in ("mels", "vectors"):
        one, other = run_of(manifest, name), run_of(own / "computed/study.toml", name)
        assert one.record == other.record, "which stores were gathered is no part of the identity"
        assert one.ledger.summary() == other.ledger.summary()
    with pytest.raises(IdentityError, match="3 partitions that what is gathered does not have"):
        execute(write_gathered(own, ("june",), rest=""))


def test_an_earlier_season_cannot_move_the_origin(own: Path) -> None:
    execute(write_gathered(own, ("july",)), "mels")
    text = (own / "years/study.toml").read_text()
    june = '"../july/lake/spectrograms/mels.zarr", "../june/lake/spectrograms/mels.zarr"'
    (own / "years/study.toml").write_text(text.replace('"../july/lake/spectrograms/mels.zarr"', june))
    with pytest.raises(IdentityError, match=r"begins 2021-06-01T00:00:00Z, before the origin of its own, 2021-07-01"):
        execute(own / "years/study.toml", "mels")


def test_vectors_of_a_cube_that_is_not_gathered_are_refused(own: Path) -> None:
    manifest = write_gathered(own, rest="")
    text = manifest.read_text().replace('"../june/lake/spectrograms/mels.zarr", ', "")
    manifest.write_text(text)
    execute(manifest, "mels")
    with pytest.raises(InputError, match=r"june/lake/embeddings/vectors.zarr is of .*june.*; 'mels' gathers 'mels'"):
        execute(manifest, "vectors")


def test_a_damaged_shard_is_refused_with_its_name(own: Path) -> None:
    cube = run_of(own / "june/study.toml", "mels")
    key = next(key for entry in cube.ledger.written().values() for key in entry.files)
    Path(cube.output.path(key)).write_bytes(b"damaged")
    with pytest.raises(StoreError, match=f"{key}: expected the shard that the ledger lists, found another"):
        execute(write_gathered(own), "mels")


def test_a_place_without_an_output_and_one_of_another_kind(own: Path) -> None:
    manifest = write_gathered(own)
    text = manifest.read_text()
    manifest.write_text(text.replace("../june/lake/spectrograms/mels.zarr", "../may/lake/spectrograms/mels.zarr"))
    with pytest.raises(InputError, match=r"1 problem.*\n.*may/lake/spectrograms/mels.zarr: expected"):
        read_manifest(manifest)
    manifest.write_text(text.replace("../june/lake/embeddings/vectors.zarr", "../june/lake/spectrograms/mels.zarr"))
    with pytest.raises(InputError, match=r"inputs.embeddings = .*expected a 'embed' run, found 'spectrograms'"):
        read_manifest(manifest)


# Several cubes in one lake ---------------------------------------------------------------------------------


def test_two_cubes_of_one_lake(own: Path) -> None:
    for name in ("june", "july"):
        table = f'recordings = {{ table = "{name}/recordings.csv", root = "{name}/audio" }}\n'
        text = 'lake = "lake"\n' + table + CUBE.replace("runs.mels", f"runs.{name}")
        (own / f"{name}.toml").write_text(text)
        execute(own / f"{name}.toml")
    places = '"lake/spectrograms/june.zarr", "lake/spectrograms/july.zarr"'
    both = CUBE.replace("config =", f"inputs = {{ spectrograms = [{places}] }}\nconfig =")
    (own / "study.toml").write_text('lake = "lake"\nrecordings = { table = "none.csv", root = "." }\n' + both)
    execute(own / "study.toml")
    execute(write_gathered(own, rest=""), "mels")
    one, other = run_of(own / "study.toml", "mels"), run_of(own / "years/study.toml", "mels")
    assert one.ledger.content() == other.ledger.content()
