"""Manifests: what is read, in which order, and the identity of runs."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifesttexts import MELS, WHOLE, Write, problems

from jobs.common.resources import Resources
from jobs.common.run import Image
from jobs.runner.manifest import Manifest, read_manifest
from jobs.runner.registry import JOBS

# What is read ----------------------------------------------------------------------------------------------


def test_a_whole_manifest(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    path = write(WHOLE)
    monkeypatch.chdir(tmp_path / "elsewhere")
    for given_as in (path, Path("../study.toml")):
        manifest = read_manifest(given_as)
        assert manifest.path == given_as
        runs = manifest.runs
        assert list(runs) == ["mels", "dino", "vectors", "clusters", "atlas", "scores"], "inputs first, then as written"
        assert all(
            list(runs).index(i.name) < list(runs).index(name) for name, r in runs.items() for i in r.inputs.values()
        )
        assert {role: run.name for role, run in runs["vectors"].inputs.items()} == {
            "model": "dino",
            "spectrograms": "mels",
        }
        assert runs["vectors"].inputs["model"] is runs["dino"]
        # Paths are relative to the manifest's folder, wherever the reader stands.
        assert runs["mels"].output.url == str(tmp_path / "lake/spectrograms/mels.zarr")
        assert runs["dino"].output.url == str(tmp_path / "lake/models/dino")
        assert runs["scores"].labels == tmp_path / "truth.csv"
        recordings = runs["mels"].recordings
        assert recordings is not None
        assert recordings.table == tmp_path / "tables/recordings.csv"
        assert recordings.root == tmp_path / "audio"
        assert recordings.deployments == tmp_path / "deployments.csv"
        assert recordings.span_ms == (None, None)
        assert runs["dino"].resources == Resources(gpus=8)
        assert runs["dino"].image == Image("dino", "ab" * 32)
        assert runs["mels"].max_quarantined == 0.05
        assert runs["mels"].config.model_dump()["n_mels"] == 64


def test_absolute_paths_and_urls_stay(write: Write) -> None:
    manifest = read_manifest(write(f'lake = "memory://study"\nrecordings = {{ table = "/t.csv" }}\n{MELS}'))
    run = manifest.runs["mels"]
    assert run.output.url == "memory:///study/spectrograms/mels.zarr"
    assert run.recordings is not None
    assert run.recordings.table == Path("/t.csv")
    assert run.recordings.root == manifest.path.parent, "the manifest's folder when it is not named"


def test_the_span_is_from_the_first_midnight_to_the_one_after_the_last(write: Write) -> None:
    def span(days: str) -> tuple[int | None, int | None]:
        run = read_manifest(write(f'lake = "l"\nrecordings = {{ table = "t.csv"{days} }}\n{MELS}')).runs["mels"]
        assert run.recordings is not None
        return run.recordings.span_ms

    def ms(year: int, month: int, day: int) -> int:
        return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1000

    assert span(", first_day = 2021-07-14, last_day = 2021-07-31") == (ms(2021, 7, 14), ms(2021, 8, 1))
    assert span(", first_day = 2021-07-14, last_day = 2021-07-14") == (ms(2021, 7, 14), ms(2021, 7, 15))
    assert span(", last_day = 2021-12-31") == (None, ms(2022, 1, 1))
    assert problems(
        write(f'lake = "l"\nrecordings = {{ table = "t", first_day = 2021-07-14, last_day = 2021-07-13 }}\n{MELS}')
    ) == ["recordings: last_day = 2021-07-13 is before first_day = 2021-07-14"]
    for wrong, shown in [('"2021-07-14"', "'2021-07-14'"), ("2021-07-14T01:00:00", "2021-07-14 01:00:00")]:
        assert problems(write(f'lake = "l"\nrecordings = {{ table = "t", first_day = {wrong} }}\n{MELS}')) == [
            f"recordings.first_day: expected a day without quotes, such as 2021-07-14, found {shown}"
        ]


@given(st.permutations(["atlas", "clusters", "dino", "mels", "scores", "vectors"]))
def test_any_order_of_runs_is_put_in_order(names: list[str]) -> None:
    head, *blocks = WHOLE.split("[runs.")
    by_name = {block.split("]")[0]: f"[runs.{block}" for block in blocks}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_text", lambda *_, **__: head + "".join(by_name[name] for name in names))
        runs = read_manifest(Path("study.toml")).runs
    order = list(runs)
    assert sorted(order) == sorted(names)
    for name, run in runs.items():
        assert all(order.index(source.name) < order.index(name) for source in run.inputs.values())


# Who a run is ----------------------------------------------------------------------------------------------


def ids(manifest: Manifest) -> dict[str, str]:
    return {name: run.config_id for name, run in manifest.runs.items()}


def changed(write: Write, old: str, new: str, text: str = WHOLE) -> set[str]:
    """Return the runs whose identity another text gives another value."""
    assert old in text
    before, after = ids(read_manifest(write(text))), ids(read_manifest(write(text.replace(old, new))))
    assert list(before) == list(after)
    return {name for name in before if before[name] != after[name]}


def test_identity_follows_configs_and_inputs(write: Write) -> None:
    everything = {"mels", "dino", "vectors", "clusters", "scores", "atlas"}
    assert changed(write, "n_mels = 64", "n_mels = 65") == everything
    assert changed(write, "n_clusters = 5", "n_clusters = 6") == {"clusters", "scores", "atlas"}
    assert changed(write, 'inputs = { mine = "clusters" }', 'inputs = { yours = "clusters" }') == {"scores"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("gpus = 8", "gpus = 9"),
        ("ab" * 32, "cd" * 32),
        ('labels = "truth.csv"', 'labels = "other.csv"\nmax_quarantined = 0.5'),
        ('lake = "lake"', 'lake = "pond"'),
        ('root = "audio"', 'root = "sound", first_day = 2021-07-14'),
        ("window_s = 6.0", "window_s = 6"),
        ("n_mels = 64", "n_mels = 64, n_frames = 1024"),
        ("n_clusters = 5", "n_clusters = 5, seed = 0"),
    ],
    ids=["resources", "image", "labels, quarantine", "lake", "recordings", "6 is 6.0", "a default", "another"],
)  # fmt: skip
def test_identity_is_of_nothing_else(write: Write, old: str, new: str) -> None:
    assert changed(write, old, new) == set()


def test_identity_follows_the_algorithm(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ids(read_manifest(write(WHOLE)))
    monkeypatch.setitem(JOBS, "embed", replace(JOBS["embed"], algorithm=JOBS["embed"].algorithm + 1))
    after = ids(read_manifest(write(WHOLE)))
    assert {name for name in before if before[name] != after[name]} == {"vectors", "clusters", "scores", "atlas"}
