"""``dawnchorus.open``: a lake as a notebook uses it, and what xarray shows of its datasets."""

import doctest
import io
import shutil
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from judging import judge
from stores import ORIGIN_MS

import dawnchorus
from dawnchorus._lake import Lake
from dawnchorus._windows import edges_of
from dawnchorus.errors import InputError, UsageError
from dawnchorus.xarray import Accessor

WINDOW = ("00004862", "2021-06-22T09:50:00")


def files_of(folder: Path) -> dict[Path, bytes]:
    """Return what is in each file of a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def lake(demo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    monkeypatch.chdir(demo_folder)
    mpl.use("Agg")
    yield dawnchorus.open("data/demo")
    from matplotlib import pyplot as plt

    plt.close("all")


METHODS = ["query", "events", "verdicts", "batches", "similar", "trace", "show", "samples", "listen"]


@pytest.mark.parametrize("thing", [*(getattr(Lake, name) for name in METHODS), Accessor], ids=lambda one: one.__name__)
def test_every_method_has_an_example_that_is_true(thing: Any, lake: Lake) -> None:
    public = {name for name, value in vars(Lake).items() if callable(value) and not name.startswith("_")}
    assert public == set(METHODS)
    (found,) = doctest.DocTestFinder(recurse=False).find(thing, thing.__name__, globs={})
    said = io.StringIO()
    doctest.DocTestRunner().run(found, out=said.write)
    assert found.examples
    assert not said.getvalue()


def test_stores_have_their_names(lake: Lake) -> None:
    assert set(lake.runs["run"]) <= set(dir(lake))
    assert lake._ipython_key_completions_() == ["mels", "vectors", "clusters", "detections"]
    for run, name in (
        ("mels", "spectrogram"),
        ("vectors", "embedding"),
        ("clusters", "cluster"),
        ("detections", "score"),
    ):
        assert name in lake[run]
        assert name in getattr(lake, run)
    assert not hasattr(lake, "nothing")
    assert not hasattr(lake, "_repr_html_")
    with pytest.raises(AttributeError, match=r"near: mels"):
        lake.mel  # noqa: B018
    with pytest.raises(
        InputError, match=r"none of the name 'vectosr'; near: vectors, detections. Type lake\['vectors'\]"
    ):
        lake["vectosr"]


def test_a_manifest_is_a_lake_too(lake: Lake, tmp_path: Path) -> None:
    by_manifest = dawnchorus.open("data/demo/manifest.toml")
    assert Path(by_manifest.url).resolve() == Path("data/demo").resolve()
    assert len(by_manifest.samples(WINDOW)[0]) == len(lake.samples(WINDOW)[0])


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("data/demi", r"found nothing. Near by is data/demo: type dawnchorus.open\('data/demo'\)"),
        ("data", r"found a folder without `ledgers`. Near by is data/demo: type"),
        ("nowhere/at/all", "expected the folder of a lake, or a study's manifest; found nothing.$"),
        ("data/demo/study", "found a folder without `ledgers`.$"),
    ],
)
def test_where_no_lake_is_a_near_one_is_named(typed: str, said: str, lake: Lake) -> None:
    with pytest.raises(InputError, match=said):
        dawnchorus.open(typed)


def test_tables_are_those_of_the_functions(lake: Lake) -> None:
    store = "data/demo/clusters/clusters.zarr"
    table = lake.query("clusters", hour="4-8", local=True)
    pd.testing.assert_frame_equal(table, dawnchorus.query(store, hour="4-8", local=True))
    pd.testing.assert_frame_equal(lake.verdicts(), dawnchorus.verdicts("data/demo"))
    near = lake.similar(table.iloc[0], n=4)
    expected = dawnchorus.similar("data/demo/embeddings/vectors.zarr", *table.iloc[0][["recorder", "time"]], n=4)
    pd.testing.assert_frame_equal(near, expected)
    pd.testing.assert_frame_equal(near, lake.similar(table.iloc[0], n=4))


AS = {
    "a row": lambda row: row,
    "a table of one row": lambda row: pd.DataFrame([row]),
    "a tuple": lambda row: (row["recorder"], row["time"]),
    "a mapping": dict,
    "an object": lambda row: SimpleNamespace(**dict(row)),
    "a named tuple": lambda row: next(pd.DataFrame([row]).itertuples()),
    "a time of other names": lambda row: {"recorder": row["recorder"], "start_utc": row["time"]},
    "a time with a zone": lambda row: (row["recorder"], row["time"].tz_localize("UTC").tz_convert("America/Chicago")),
    "a span": lambda row: {"recorder": row["recorder"], "time_utc": row["time"], "duration_s": 5.0},
}


@pytest.mark.parametrize("form", AS)
def test_a_window_may_be_named_in_many_ways(form: str, lake: Lake) -> None:
    row = lake.query("clusters").iloc[7]
    expected, rate_hz = lake.samples((row["recorder"], str(row["time"])))
    samples, same_hz = lake.samples(AS[form](row))
    assert same_hz == rate_hz
    np.testing.assert_array_equal(samples, expected)


def test_a_dataset_of_one_window_names_it(lake: Lake) -> None:
    one = lake.mels.sel(recorder=WINDOW[0], time=WINDOW[1])
    np.testing.assert_array_equal(lake.samples(one)[0], lake.samples(WINDOW)[0])


@pytest.mark.parametrize(
    ("window", "said"),
    [
        (("0004862", WINDOW[1]), "Near: 00004862"),
        ((WINDOW[0], "2021-06-22T23:00:00"), r"has no window at 2021-06-22T23:00:00Z; the nearest begins at 20"),
        ((WINDOW[0], "1999-01-01"), "the store goes from"),
        ((WINDOW[0], "noon"), "expected a time in UTC"),
        (3, r"expected a window: a row with a recorder and a time.*found '3'"),
        (("00004862",), "expected a window"),
        ({"recorder": "00004862"}, "expected a window"),
        ({"recorder": "00004862", "time": WINDOW[1], "duration_s": 0}, "a span of up to 120 s, found 0 s"),
        ({"recorder": "00004862", "time": WINDOW[1], "duration_s": 3600}, "span of up to 120 s, found 3600 s"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_window_is_refused(window: object, said: str, lake: Lake) -> None:
    for method in (lake.show, lake.listen):
        with pytest.raises(InputError, match=said):
            method(window)


def test_a_table_is_no_window(lake: Lake) -> None:
    with pytest.raises(InputError, match=r"found a table of \d+ rows"):
        lake.show(lake.query("clusters"))


def test_the_sound_is_that_of_the_recording(lake: Lake) -> None:
    piece = lake.trace(WINDOW).pieces[0]
    with wave.open(f"data/demo/study/audio/{piece.path}") as file:
        file.setpos(piece.first_sample)
        there = np.frombuffer(file.readframes(piece.last_sample - piece.first_sample), "<i2")
    samples, rate_hz = lake.samples(WINDOW)
    assert rate_hz == piece.sample_rate_hz
    np.testing.assert_allclose(samples, there / 32768, atol=1e-7)
    with wave.open(io.BytesIO(lake.listen(WINDOW).data)) as played:
        assert (played.getframerate(), played.getnframes()) == (rate_hz, len(samples))
        heard = np.frombuffer(played.readframes(len(samples)), "<i2")
    np.testing.assert_allclose(heard / 32768, samples, atol=1e-4)
    with wave.open(io.BytesIO(lake.listen(WINDOW, speed=0.1).data)) as slowly:
        assert slowly.getframerate() == rate_hz // 10
    with pytest.raises(UsageError, match="expected a number above 0"):
        lake.listen(WINDOW, speed=0)


def test_a_picture_has_the_levels_on_its_axes(lake: Lake) -> None:
    axes = lake.show(WINDOW)
    mesh: Any = axes.collections[0]
    levels = lake.mels["spectrogram"].sel(recorder=WINDOW[0], time=WINDOW[1]).to_numpy()
    np.testing.assert_array_equal(np.ma.filled(mesh.get_array(), np.nan), levels)
    corners = mesh.get_coordinates()
    np.testing.assert_allclose(corners[0, :, 0], np.linspace(0, 5, levels.shape[1] + 1))
    edges, centres = corners[:, 0, 1], lake.mels["mel"].to_numpy() / 1000
    assert ((edges[:-1] < centres) & (centres < edges[1:])).all(), "each band lies around its frequency"
    heights = np.diff(axes.transData.transform([(0, edge) for edge in edges])[:, 1])
    np.testing.assert_allclose(heights, heights[0], rtol=1e-6, err_msg="bands are equally high")
    assert axes.figure.axes[1].get_ylabel() == "dB re full scale"
    assert "00004862" in axes.get_title()
    row = {"recorder": WINDOW[0], "start_utc": WINDOW[1], "end_utc": "2021-06-22T09:50:12.5"}
    assert lake.show(row, ax=axes) is axes
    assert axes.get_xlim() == (0, 12.5)


def test_edges_of_bands() -> None:
    np.testing.assert_allclose(edges_of(np.array([1.0, 3.0, 7.0])), [0, 2, 5, 9])
    np.testing.assert_allclose(edges_of(np.array([2.0])), [0, 4])


def test_nothing_is_written(lake: Lake, tmp_path: Path) -> None:
    shutil.copytree("data/demo", tmp_path / "demo")
    shutil.rmtree(tmp_path / "demo/caches", ignore_errors=True)
    before = files_of(tmp_path / "demo")
    mine = dawnchorus.open(tmp_path / "demo", recordings=tmp_path / "demo/study/audio")
    row = mine.query("clusters", hour=9).iloc[0]
    mine.similar(row, n=2)
    mine.similar(row, n=2)
    mine.show(row)
    mine.listen(row)
    mine.events(0.5)
    assert files_of(tmp_path / "demo") == before


def test_recordings_that_are_elsewhere_or_other(lake: Lake, tmp_path: Path) -> None:
    elsewhere = dawnchorus.open("data/demo", recordings=tmp_path / "gone")
    with pytest.raises(InputError, match=r"gone: expected the folder of the recordings.*open\('data/demo', rec"):
        elsewhere.listen(WINDOW)
    path = tmp_path / lake.trace(WINDOW).pieces[0].path
    with pytest.raises(InputError, match="found no file"):
        dawnchorus.open("data/demo", recordings=tmp_path).listen(WINDOW)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"RIFF")
    with pytest.raises(InputError, match="is another file than the store was made from"):
        dawnchorus.open("data/demo", recordings=tmp_path).listen(WINDOW)


def test_speech_is_not_played_unasked(lake: Lake, tmp_path: Path) -> None:
    shutil.copytree("data/demo", tmp_path / "demo")
    mine = dawnchorus.open(tmp_path / "demo", recordings=tmp_path / "demo/study/audio")
    start_ms = int(np.datetime64(WINDOW[1], "ms").astype(np.int64))
    judge(tmp_path / "demo", [(WINDOW[0], start_ms - ORIGIN_MS, "speech", "yes")])
    for refused in (mine.listen, mine.samples):
        with pytest.raises(UsageError, match="marked the sound as speech"):
            refused(WINDOW)
    assert len(mine.samples(WINDOW, speech=True)[0])
    assert mine.show(WINDOW).get_xlim() == (0, 5)


def test_what_is_not_installed_is_named(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for package, call in (("IPython", lake.listen), ("matplotlib", lake.show)):
        with pytest.MonkeyPatch.context() as gone:
            gone.setitem(sys.modules, package, None)
            for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
                gone.delitem(sys.modules, name)
            with pytest.raises(InputError, match=f"needs the package '{package}'"):
                call(WINDOW)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert len(lake.similar(WINDOW, n=2)) == 2, "without a bar"


def test_a_lake_of_several_runs_asks_for_one(lake: Lake, tmp_path: Path) -> None:
    shutil.copytree("data/demo", tmp_path / "demo")
    shutil.copytree(tmp_path / "demo/embeddings/vectors.zarr", tmp_path / "demo/embeddings/more.zarr")
    several = dawnchorus.open(tmp_path / "demo")
    with pytest.raises(InputError, match=r"one run of embeddings, found more, vectors. Type lake.similar\(…, run"):
        several.similar(WINDOW)
    assert len(several.similar(WINDOW, run="vectors", n=2)) == 2
    assert len(several.similar(several.query("clusters").iloc[0], n=2)) == 2, "the vectors of the clustering"


# The accessor ----------------------------------------------------------------------------------------------


def codes(lake: Lake) -> xr.Dataset:
    return dawnchorus.open_cube(f"{lake.url}/spectrograms/mels.zarr", codes=True)


def by_xarray(lake: Lake) -> xr.Dataset:
    return xr.open_dataset(f"{lake.url}/spectrograms/mels.zarr", engine="zarr", consolidated=True)


@pytest.mark.parametrize("opened", [lambda lake: lake.mels, codes, by_xarray], ids=["levels", "codes", "xarray"])
def test_levels_bands_and_local_time(opened: Callable[[Lake], xr.Dataset], lake: Lake) -> None:
    part = opened(lake).isel(recorder=slice(2)).sel(time=slice("2021-06-22T09:49", "2021-06-22T09:51"))
    there = codes(lake)["spectrogram"].sel(recorder=part["recorder"], time=part["time"]).to_numpy()
    expected = np.where(there == 0, np.nan, there * 0.5 - 124.5).astype(np.float32)
    levels = part.dawnchorus.levels_db
    np.testing.assert_array_equal(levels.to_numpy(), expected)
    assert levels.attrs["units"] == "dB"
    assert opened(lake).dawnchorus.levels_db.shape[2:] == there.shape[2:], "the whole, of which nothing is read"
    assert part.dawnchorus.bands_hz.attrs["units"] == "Hz"
    assert part.dawnchorus.bands_hz.sizes == {"mel": there.shape[2]}
    local = part.dawnchorus.local_time
    offset = pd.Series((local - part["time"]).to_numpy().ravel()).dropna()
    assert len(offset)
    assert set(offset) == {pd.Timedelta("-5h")}, "Chicago in June"
    assert np.isnat(local.to_numpy()).any(), "where nothing was recorded"


def test_vectors_ask_the_cube_for_local_time(lake: Lake) -> None:
    table = lake.query("clusters", local=True, hour="0-24")
    for run in ("vectors", "clusters", "detections"):
        local = lake[run].dawnchorus.local_time.sel(recorder=WINDOW[0]).dropna("time")
        mine = table[table["recorder"] == WINDOW[0]].set_index("time")["time_local"]
        np.testing.assert_array_equal(local.sel(time=mine.index).to_numpy(), mine.to_numpy())
    with pytest.raises(InputError, match="expected a dataset with 'spectrogram'"):
        lake.vectors.dawnchorus.levels_db  # noqa: B018
    with pytest.raises(InputError, match="expected a dataset of a store"):
        xr.Dataset(coords={"time": [0]}).dawnchorus.local_time  # noqa: B018


@pytest.mark.parametrize("how", ["import dawnchorus.xarray", "from dawnchorus import open_cube"])
def test_the_accessor_is_there_for_any_dataset(how: str) -> None:
    code = f"{how}; import xarray; print(type(xarray.Dataset().dawnchorus).__module__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("dawnchorus.xarray\n", "")
