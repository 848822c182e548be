"""The atlas of a small study, from its stores to its pages."""

import io
import re
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import stores
import xarray as xr
from atlases import (
    N_CLUSTERS,
    ODD,
    RECORDERS,
    Study,
    build_study,
    overwrite,
    read_cluster,
    read_members,
    read_page,
    read_parts,
    scripted,
    write_sound,
)
from PIL import Image

from jobs.atlas.command import execute
from jobs.atlas.config import Config
from jobs.common.run import Options
from lake.digest import sha256
from lake.errors import StoreError
from lake.recordings import read_recordings, write_recordings
from lake.tables import make_table
from lake.verdicts import COLUMNS, add_verdicts


def windows_table(study: Study) -> pd.DataFrame:
    """Return one row for every clustered window: a slow twin of what the atlas counts."""
    cube = xr.open_dataset(study.cube.output.url, engine="zarr").drop_vars("spectrogram").load()
    clusters = xr.open_dataset(study.clusters.output.url, engine="zarr")["cluster"].load()
    rows = []
    for recorder in clusters["recorder"].to_numpy():
        for time in clusters["time"].to_numpy():
            here = {"recorder": recorder, "time": time}
            cluster = float(clusters.sel(here))
            if np.isnan(cluster):
                continue
            offset_s, start = float(cube["utc_offset_s"].sel(here)), pd.Timestamp(time)
            zone = str(cube["zone"][int(cube["deployment"].sel(here))].to_numpy())
            if not np.isnan(offset_s):
                local = start + timedelta(seconds=offset_s)
            else:
                local = start.tz_localize("UTC").astimezone(ZoneInfo(zone or "UTC"))
            is_real = bool(cube["time_is_real"].sel(recorder=recorder))
            unknown = np.isnan(offset_s) and not zone and is_real
            rows.append((recorder, int(cluster), local.hour, is_real, unknown, int(cube["status"].sel(here))))
    return pd.DataFrame(rows, columns=["recorder", "cluster", "hour", "is_real", "unknown", "status"])


@pytest.fixture(scope="session")
def table(study: Study) -> pd.DataFrame:
    return windows_table(study)


def number(text: str) -> int:
    return int(text.replace("\u202f", ""))


def test_every_link_and_picture_is_there_and_nothing_comes_from_elsewhere(atlas: Path) -> None:
    parts = read_parts(atlas)
    assert len(parts) == 1 + N_CLUSTERS
    data = scripted(atlas / "data.js")
    anchors = {f"cluster-{cluster}" for cluster, _ in data["clusters"]}
    anchors |= {found["id"] for _, found in parts[0].elements if "id" in found}
    used = {atlas / f"clusters/{cluster}.js" for cluster in range(N_CLUSTERS)}
    used |= {atlas / f"members/{cluster}.js" for cluster in range(N_CLUSTERS)} | {atlas / "recordings/0.js"}
    used |= {atlas / f"map/{i}.webp" for i in range(len(list((atlas / "map").iterdir())))}
    for page in parts:
        for tag, attributes in page.elements:
            assert tag not in {"iframe", "object", "embed"}
            assert tag != "script" or (page is parts[0] and set(attributes) == {"src"})
            assert not [name for name in attributes if name.startswith("on")]
            for name in {"href", "src"} & set(attributes):
                target, _, fragment = attributes[name].partition("#")
                if target == "data:,":
                    continue
                assert not re.match(r"[a-z]+:|//|/", target), attributes[name]
                if target:
                    assert (atlas / target).is_file(), attributes[name]
                    used.add(atlas / target)
                else:
                    assert fragment in anchors
    assert used == {path for path in atlas.rglob("*") if path.is_file()} - {atlas / "index.html"}
    for path in atlas.rglob("*.*"):
        if path.suffix in {".html", ".css", ".js"}:
            assert not re.search(r"@import|https?:|fetch\(|XMLHttpRequest|eval\(", path.read_text())


def test_every_picture_has_words_and_a_size_and_waits_until_it_is_seen(atlas: Path) -> None:
    for page in read_parts(atlas):
        pictures = [found for tag, found in page.elements if tag == "img" and found["src"].startswith("images/")]
        assert all(found["alt"] and found["width"] == "24" and found["height"] == "16" for found in pictures)
        assert all("loading" in found for found in pictures[2:])
        drawings = [found for tag, found in page.elements if tag == "svg" and "aria-hidden" not in found]
        assert all(found["role"] == "img" and found["aria-label"] for found in drawings)


def test_names_are_text_and_never_markup(atlas: Path) -> None:
    for page in read_parts(atlas):
        assert not [found for tag, found in page.elements if tag == "script" and "src" not in found]
    assert "<script>" not in (atlas / "index.html").read_text()
    for path in atlas.rglob("*.js"):
        assert "<script" not in path.read_text()
        if path.name != "atlas.js" and path.parent.name == "clusters":
            assert "<script" not in scripted(path)["html"]
            assert not re.search(r"""=\s*(['"])[^'"<>]*<""", scripted(path)["html"])
    page = read_page(atlas / "index.html")
    rows = {row[0]: row for row in page.tables[1]}
    assert rows[ODD][1] == f"site of {ODD}"
    assert ODD in scripted(atlas / "data.js")["recorders"]
    shown = read_parts(atlas)[1:]
    assert any(ODD in alt for page in shown for alt in page.attributes("img", "alt"))
    assert any(f"{ODD}/all.wav, at" in page.text for page in shown)
    names = {path.relative_to(atlas).as_posix() for path in atlas.rglob("*") if path.is_file()}
    assert all(re.fullmatch(r"[a-z0-9/.-]+", name) for name in names)


def test_the_title_and_settings_are_text_as_well(study: Study) -> None:
    folder = study.atlas(Config(title="</title><b>bold", image_width_px=16, image_height_px=16), name="odd title")
    page = read_page(folder / "index.html")
    assert "b" not in [tag for tag, _ in page.elements]
    assert page.text.count("</title><b>bold") == 3  # title, heading, settings


def test_hours_agree_with_a_slow_count(atlas: Path, table: pd.DataFrame) -> None:
    timed = table[table["is_real"]]
    for cluster in range(N_CLUSTERS - 1):
        page = read_cluster(atlas, cluster)
        rows = page.tables[0][1:]
        mine = timed[timed["cluster"] == cluster]["hour"].value_counts().reindex(range(24), fill_value=0)
        assert [number(row[1]) for row in rows] == mine.tolist()
        everyone = timed["hour"].value_counts().reindex(range(24), fill_value=0)
        assert [number(row[2]) for row in rows] == everyone.tolist()
        assert [row[3] == "–" for row in rows] == (everyone == 0).tolist()


def test_recorders_agree_with_a_slow_count(atlas: Path, table: pd.DataFrame) -> None:
    for cluster in range(N_CLUSTERS - 1):
        page = read_cluster(atlas, cluster)
        found = {row[0]: number(row[2]) for row in page.tables[1][1:]}
        mine = table[table["cluster"] == cluster]["recorder"].value_counts()
        assert found == {name: int(mine.get(name, 0)) for name in RECORDERS}


def test_the_overview_counts_windows_by_status(atlas: Path, table: pd.DataFrame) -> None:
    page = read_page(atlas / "index.html")
    for row in page.tables[1][1:-1]:
        mine = table[table["recorder"] == row[0]]["status"]
        assert [number(cell) for cell in row[2:4]] == [(mine == 1).sum(), (mine == 2).sum()]
    assert number(page.tables[1][-1][3]) == (table["status"] == 2).sum() > 0
    assert [row[4] for row in page.tables[1][1:-1]][2:] == ["no clock times: placed in sequence", "–"]


def test_clusters_stand_in_order_of_size_with_their_shares(atlas: Path, table: pd.DataFrame) -> None:
    page = read_page(atlas / "index.html")
    cards = [name.removeprefix("card-") for name in page.attributes("li", "id")]
    sizes = table["cluster"].value_counts().reindex(range(N_CLUSTERS), fill_value=0)
    assert [int(card) for card in cards] == sorted(range(N_CLUSTERS), key=lambda c: (-sizes[c], c))
    last = read_cluster(atlas, int(cards[-1]))
    assert (cards[-1], last.attributes("img", "src")) == ("5", [])
    assert "No window is nearest to this centroid." in last.text


def test_the_page_says_which_hours_are_not_local(atlas: Path, table: pd.DataFrame) -> None:
    n_unknown, n_timed = int(table["unknown"].sum()), int(table["is_real"].sum())
    assert n_unknown > 0
    for page in read_parts(atlas)[:2]:
        text = page.text
        assert "Left out of the hours, since their times are not clock times: untimed:box." in text
        assert f"Local time is unknown for {n_unknown} of {n_timed} windows: their hours are UTC." in text


def test_exemplars_are_the_nearest_windows_with_when_and_where(study: Study, atlas: Path) -> None:
    clusters = xr.open_dataset(study.clusters.output.url, engine="zarr", mask_and_scale=False)
    texts = read_cluster(atlas, 2).text
    nearest = np.argwhere(clusters["cluster"].to_numpy() == 2)
    nearest = nearest[np.argsort(clusters["distance"].to_numpy()[tuple(nearest.T)], kind="stable")][:4]
    for recorder, cell in nearest:
        start = pd.Timestamp(clusters["time"].to_numpy()[cell])
        assert f"Distance to the centroid {float(cell):.3g}" in texts
        if recorder != 2:
            assert f"{start:%Y-%m-%d %H:%M:%S} UTC" in texts
        if recorder == 1:  # the zone, or the offset, is Chicago's in summer
            assert f"{start - timedelta(hours=5):%Y-%m-%d %H:%M:%S} (UTC−05:00)" in texts


def test_untimed_exemplars_show_no_time(tmp_path: Path) -> None:
    codes = stores.random_codes(n_recorders=1, n_per_day=4, n_days=1)
    cube = stores.make_cube(tmp_path, codes, recorders=["untimed:box"])
    labels = np.where(codes.any(axis=(2, 3)), 0, -1)
    clusters = stores.make_clusters(tmp_path, labels, recorders=["untimed:box"])
    folder = Study(tmp_path, cube, clusters).atlas()
    text = read_cluster(folder, 0).text
    assert "No clock time: placed in sequence" in text
    assert "None of these windows has a clock time." in text
    assert "UTC" not in text
    assert "2021" not in read_page(folder / "index.html").text.split("Ask the data")[0]


def test_pictures_show_the_exemplars_with_low_bands_at_the_bottom(tmp_path: Path) -> None:
    codes = np.zeros((1, 144, 32, 32), dtype=np.uint8)
    codes[0, 10:14] = 60
    codes[0, 10:14, 2:6] = 230
    codes[0, 10:14, 28:] = 0
    cube = stores.make_cube(tmp_path, codes, recorders=["one"])
    labels = np.where(codes.any(axis=(2, 3)), 0, -1)
    clusters = stores.make_clusters(tmp_path, labels, recorders=["one"], n_exemplars=2)
    study = Study(tmp_path, cube, clusters)
    folder = study.atlas(Config(level_range_db=(-100.0, -20.0), image_width_px=32, image_height_px=32))
    for i in (1, 2):
        with Image.open(folder / f"images/0-{i}.webp") as image:
            pixels = np.asarray(image.convert("RGB")).astype(int)
        assert pixels[27:29].mean() > 180
        assert pixels[8:22].mean() < 40
        assert np.ptp(pixels[:3], axis=2).max() < 25
        assert 110 < pixels[:3].mean() < 160
    assert not (folder / "images/0-3.webp").exists()
    assert "−100 to −20 dBFS" in read_page(folder / "index.html").text


def test_loud_rumble_leaves_the_range_to_the_other_bands(tmp_path: Path) -> None:
    codes = np.zeros((1, 144, 16, 16), dtype=np.uint8)
    codes[0, 10:14] = np.random.default_rng(0).integers(60, 140, (4, 16, 16))
    codes[0, 10:14, 0] = 250
    cube = stores.make_cube(tmp_path, codes, recorders=["one"], mel_hz=np.linspace(50.0, 6050.0, 16))
    clusters = stores.make_clusters(tmp_path, np.where(codes.any(axis=(2, 3)), 0, -1), recorders=["one"])
    folder = Study(tmp_path, cube, clusters).atlas()
    assert "−95 to −55 dBFS" in read_page(folder / "index.html").text


def test_the_lines_to_type_work_where_the_page_says(
    study: Study, atlas: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (atlas / "../..").resolve() == study.lake.resolve()
    monkeypatch.chdir(study.lake)
    text = read_page(atlas / "index.html").text
    lines = text[text.index("import xarray") :].split("\n")[:3]
    said: dict[str, object] = {}
    with redirect_stdout(io.StringIO()):
        exec("\n".join([*lines[:2], f"found = {lines[2]}"]), said)  # noqa: S102 (the page's own lines)
    found = said["found"]
    assert isinstance(found, pd.Series)
    assert 0 < found.sum() == 30
    assert (table["recorder"] == "north").sum() == 60


def test_the_runs_that_led_here_are_listed_with_their_identities(study: Study, atlas: Path) -> None:
    rows = read_page(atlas / "index.html").tables[2][1:]
    assert [row[:2] for row in rows] == [
        ["atlas", "atlas"], ["clusters", "cluster"], ["vectors", "embed"], ["mels", "spectrograms"],
    ]  # fmt: skip
    assert rows[1][2] == study.clusters.config_id
    assert "hop_s = 600.0" in rows[3][3]


def test_the_same_study_gives_the_same_bytes(study: Study, atlas: Path, tmp_path: Path) -> None:
    again = build_study(tmp_path).atlas(workers=2)
    first = {path.relative_to(atlas): path.read_bytes() for path in atlas.rglob("*") if path.is_file()}
    second = {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()}
    assert first == second


def test_making_it_again_with_fewer_pictures_removes_the_others(study: Study) -> None:
    inputs = {"clusters": study.clusters, "spectrograms": study.cube}
    run = stores.make_run(study.lake, "again", "atlas", Config(n_exemplars=3, n_borders=0, n_outliers=0), inputs=inputs)
    (Path(run.output.url) / "images").mkdir(parents=True)
    stale, others = (Path(run.output.url) / name for name in ("images/9-1.webp", "images/mine.webp"))
    for path in (stale, others):
        path.write_bytes(b"old")
    run.ledger.settle_files({"images/9-1.webp": sha256(b"old")})
    outcome = execute(run, Options())
    assert not stale.exists()
    assert others.exists(), "somebody put it there"
    files = run.ledger.files()
    assert files is not None
    assert outcome.counts["pictures"] == len([key for key in files if key.startswith("images/")]) == 15
    assert outcome.counts["clusters"] == N_CLUSTERS


def test_a_cube_that_grew_since_is_fine(tmp_path: Path) -> None:
    codes = stores.random_codes(n_recorders=2, n_days=2)
    labels = np.where(codes[:1, :144].any(axis=(2, 3)), 0, -1)
    clusters = stores.make_clusters(tmp_path, labels, recorders=["south"])
    cube = stores.make_cube(tmp_path, codes[[1, 0]], recorders=["north", "south"])
    folder = Study(tmp_path, cube, clusters).atlas()
    assert [row[0] for row in read_page(folder / "index.html").tables[1][1:-1]] == ["south"]


def refused(study: Study, name: str = "atlas") -> str:
    with pytest.raises(StoreError) as caught:
        study.atlas(name=name)
    assert "Name in the manifest, as `spectrograms`, the run that these clusters were made from." in str(caught.value)
    return str(caught.value)


def test_another_cube_is_refused_with_what_differs(tmp_path: Path) -> None:
    codes = stores.random_codes(n_recorders=2, n_days=1)
    labels = np.where(codes.any(axis=(2, 3)), 0, -1)
    clusters = stores.make_clusters(tmp_path, labels)
    other_hop = stores.make_cube(tmp_path, codes[:, :72], name="slow", hop_s=1200.0)
    said = refused(Study(tmp_path, other_hop, clusters))
    assert "expected the same grid, found 6 s every 600 s from 2021-06-01 and 6 s every 1200 s from 2021-06-01" in said
    other_names = stores.make_cube(tmp_path, codes, name="elsewhere", recorders=["north", "east"])
    said = refused(Study(tmp_path, other_names, clusters), "second")
    assert "expected the recorders south, which" in said
    two_days = stores.make_clusters(tmp_path, np.tile(labels, 2), name="longer")
    short = stores.make_cube(tmp_path, codes, name="short")
    assert "expected days up to 2021-06-03, which" in refused(Study(tmp_path, short, two_days), "third")


def test_an_exemplar_that_the_cube_lacks_is_named(tmp_path: Path) -> None:
    codes = stores.random_codes(n_recorders=1, n_days=1)
    labels = np.where(codes.any(axis=(2, 3)), 0, -1)
    cube = stores.make_cube(tmp_path, codes, recorders=["one"])
    clusters = stores.make_clusters(tmp_path, labels, recorders=["one"], n_exemplars=2)
    cells = np.flatnonzero(labels[0] < 0)[:2]
    overwrite(clusters, {"exemplar_cell": cells[None]})
    start = pd.Timestamp("2021-06-01") + timedelta(seconds=600.0 * int(cells[0]))
    said = refused(Study(tmp_path, cube, clusters))
    assert f"expected the window of one at {start:%Y-%m-%dT%H:%M:%SZ}, an exemplar in" in said
    assert "found it missing (and 1 more)" in said


def test_sound_can_be_left_out(tmp_path: Path) -> None:
    study = build_study(tmp_path)
    recordings = write_sound(study)
    small = Config(image_width_px=16, image_height_px=16, n_map_windows=0)
    heard = study.atlas(small, "heard", recordings=recordings)
    assert len(list((heard / "clips").iterdir())) > 0
    assert "Sound was left out" not in read_page(heard / "index.html").text
    inputs = {"clusters": study.clusters, "spectrograms": study.cube}
    for name, config, options in (
        ("by config", small.model_copy(update={"audio": False}), Options()),
        ("by option", small, Options(audio=False)),
    ):
        run = replace(stores.make_run(tmp_path, name, "atlas", config, inputs=inputs), recordings=recordings)
        assert execute(run, options).counts["clips"] == 0
        assert not run.output.exists("clips")
        assert "Sound was left out on purpose." in read_page(Path(run.output.url) / "index.html").text
        assert all(not page.attributes("audio", "src") for page in read_parts(Path(run.output.url)))
    silent = study.atlas(small, "elsewhere", recordings=replace(recordings, root=tmp_path / "not here"))
    assert "the recordings were not at hand when this page was made." in (silent / "index.html").read_text()


def test_windows_of_speech_are_counted_and_not_shown(tmp_path: Path) -> None:
    study = build_study(tmp_path)
    small = Config(image_width_px=16, image_height_px=16, n_map_windows=1000)
    before = study.atlas(small, "before")
    row = {
        "recorder": "north", "time_utc": pd.Timestamp("2000-01-01"), "duration_s": 1e9, "sound": "speech",
        "verdict": "yes", "reviewer": "Ana", "decided_at": pd.Timestamp("2026-01-01"),
    }  # fmt: skip
    assert add_verdicts(study.cube.lake, make_table([row], COLUMNS)).n_added == 1
    after = study.atlas(small, "after")
    table = windows_table(study)
    n_speech = int((table["recorder"] == "north").sum())
    assert f"marked them as speech: {n_speech}." in read_page(after / "index.html").text
    assert len(scripted(before / "data.js")["map"]["recorder"]) == len(table)
    assert len(scripted(after / "data.js")["map"]["recorder"]) == len(table) - n_speech
    listed = [scripted(after / f"members/{cluster}.js")["n"] for cluster in range(N_CLUSTERS)]
    assert sum(listed) == len(table) - n_speech
    assert all(0 not in read_members(after, cluster)["recorder"] for cluster in range(N_CLUSTERS)), "north is 0"
    shown = [alt for page in read_parts(after) for alt in page.attributes("img", "alt")]
    assert shown
    assert not [alt for alt in shown if "north" in alt]
    assert [alt for page in read_parts(before) for alt in page.attributes("img", "alt") if "north" in alt]


def test_the_recordings_effort_is_shown_with_problems_marked(tmp_path: Path) -> None:
    study = build_study(tmp_path)
    recordings = write_sound(study)
    small = Config(image_width_px=16, image_height_px=16, n_map_windows=0)
    without = study.atlas(small, "without a time", recordings=recordings)
    assert not (without / "calendars/recordings.png").exists()
    table = read_recordings(recordings.table)
    table["start_utc"] = pd.Timestamp("2021-06-22T05:00:00")
    table.loc[0, "problems"] = "clipped"
    write_recordings(table, recordings.table)
    shown = study.atlas(small, "with times", recordings=recordings)
    drawn = np.asarray(Image.open(shown / "calendars/recordings.png").convert("RGB")).astype(int)
    crimson = (np.abs(drawn - (220, 20, 60)).max(axis=2) < 40).any()
    assert crimson, "a ring marks the problem"
    assert "calendars/recordings.png" in read_page(shown / "index.html").attributes("img", "src")
