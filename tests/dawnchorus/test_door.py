"""The public package: what is in it and what it loads; every example in it, and in the pages, is true."""

import ast
import doctest
import inspect
import io
import pydoc
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import dawnchorus
import lake.errors
from dawnchorus import errors
from lake.query.find import Wanted, find
from lake.query.select import open_any

CLUSTERS = "data/demo/clusters/clusters.zarr"
VECTORS = "data/demo/embeddings/vectors.zarr"
CUBE = "data/demo/spectrograms/mels.zarr"
DETECTIONS = "data/demo/detections/detections.zarr"
MANIFEST = "data/demo/manifest.toml"


@pytest.fixture
def demo(demo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(demo_folder)
    return demo_folder


def in_fresh_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# What is in it, and what it loads --------------------------------------------------------------------------


@pytest.mark.parametrize("name", dawnchorus.__all__)
def test_every_name_has_an_example_that_is_true(name: str, demo: Path) -> None:
    (found,) = doctest.DocTestFinder(recurse=False).find(getattr(dawnchorus, name), name, globs={})
    assert found.examples, "a public name has an example"
    assert found.examples[0].source == "import dawnchorus\n", "an example can be typed as it stands"
    told = io.StringIO()
    doctest.DocTestRunner().run(found, out=told.write)
    assert not told.getvalue()


def test_the_example_of_the_package_is_true(demo: Path) -> None:
    (found,) = doctest.DocTestFinder(recurse=False).find(dawnchorus, "dawnchorus", globs={})
    told = io.StringIO()
    doctest.DocTestRunner().run(found, out=told.write)
    assert found.examples
    assert not told.getvalue()


def test_every_public_name_is_listed_found_and_explained() -> None:
    assert sorted(dawnchorus.__all__) == dawnchorus.__all__
    assert set(dawnchorus.__all__) < set(dir(dawnchorus))
    assert not [name for name in dir(dawnchorus) if not name.startswith("__") and name not in dawnchorus.__all__]
    for name in dawnchorus.__all__:
        assert f"`{name}`" in str(dawnchorus.__doc__) or f"`dawnchorus.{name}`" in str(dawnchorus.__doc__)
    with pytest.raises(AttributeError, match="module 'dawnchorus' has no attribute 'open_nothing'"):
        dawnchorus.open_nothing  # noqa: B018
    assert not hasattr(dawnchorus, "import_module_of_nobody")


@pytest.mark.parametrize("name", [name for name in dawnchorus.__all__ if name != "errors"])
def test_every_parameter_is_annotated_and_described(name: str) -> None:
    function = getattr(dawnchorus, name)
    text = str(inspect.getdoc(function))
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    described = text.partition("Parameters\n----------\n")[2].partition("\n\n")[0]
    names = {word for line in described.splitlines() if not line.startswith(" ") for word in line.split(", ")}
    assert names == set(signature.parameters)
    for section in ("Raises", "Examples"):
        assert f"\n{section}\n{'-' * len(section)}\n" in text


def test_all_errors_are_public() -> None:
    ours = [one for one in vars(lake.errors).values() if inspect.isclass(one) and issubclass(one, Exception)]
    assert {getattr(errors, name) for name in errors.__all__} == set(ours)


def test_importing_it_loads_nothing() -> None:
    code = """
import sys, time
before, began = set(sys.modules), time.perf_counter()
import dawnchorus
took = time.perf_counter() - began
new = {name.split(".")[0] for name in set(sys.modules) - before}
assert not new & {"lake", "jobs", "numpy", "pandas", "torch", "xarray", "zarr", "pydantic", "typer"}, new
assert took < 0.1, took
dir(dawnchorus)
assert dawnchorus.__version__
assert "numpy" not in sys.modules
"""
    in_fresh_python(code)


def test_help_shows_every_function_and_loads_no_torch() -> None:
    text = in_fresh_python("import sys, dawnchorus; help(dawnchorus); assert 'torch' not in sys.modules")
    for name in dawnchorus.__all__:
        assert name in text
    assert text.index("Open a lake's stores") < text.index("FUNCTIONS") < text.index("query(store: str")
    assert "VERSION" in text
    assert " at 0x" not in text, "no address of an object"
    assert pydoc.render_doc(errors)


# What it does ----------------------------------------------------------------------------------------------


def test_the_stores_of_a_lake(demo: Path, tmp_path: Path) -> None:
    table = dawnchorus.stores("data/demo")
    assert table[["kind", "run"]].to_numpy().tolist() == [
        ["spectrograms", "mels"], ["embeddings", "vectors"], ["clusters", "clusters"], ["detections", "detections"],
    ]  # fmt: skip
    assert [dawnchorus.query(store)["time"].notna().all() for store in table["store"]] == [True] * 4
    with pytest.raises(errors.InputError, match="expected the folder of a lake"):
        dawnchorus.stores(str(tmp_path / "none"))
    (tmp_path / "clusters/half.zarr").mkdir(parents=True)
    assert dawnchorus.stores(str(tmp_path)).empty, "a store that is not finished is not listed"


def test_a_cube_as_levels_and_as_codes(demo: Path) -> None:
    levels, codes = dawnchorus.open_cube(CUBE), dawnchorus.open_cube(CUBE, codes=True)
    i, cell = np.argwhere(codes["status"].to_numpy() == 2)[0]
    there = codes["spectrogram"][i, cell].to_numpy()
    expected = np.where(there == 0, np.nan, there * 0.5 - 124.5)
    assert np.isnan(expected).any(), "a partial window"
    np.testing.assert_array_equal(levels["spectrogram"][i, cell].to_numpy(), expected.astype(np.float32))
    for store in (VECTORS, CLUSTERS):
        with pytest.raises(errors.StoreFormatError, match="expected a store of spectrograms"):
            dawnchorus.open_cube(store)


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, Wanted()),
        ({"recorder": "00004862"}, Wanted(recorders=("00004862",))),
        ({"recorder": ["AM07", "00004862"]}, Wanted(recorders=("AM07", "00004862"))),
        ({"date": "2021-06-22"}, Wanted(dates=(date(2021, 6, 22), date(2021, 6, 22)))),
        ({"date": date(2021, 6, 22)}, Wanted(dates=(date(2021, 6, 22), date(2021, 6, 22)))),
        ({"hour": 9}, Wanted(hours=(9, 10))),
        ({"hour": "22-4"}, Wanted(hours=(22, 4))),
        ({"cluster": 0}, Wanted(clusters=(0,))),
        ({"cluster": np.int64(1)}, Wanted(clusters=(1,))),
        ({"cluster": [1, 2]}, Wanted(clusters=(1, 2))),
    ],
    ids=str,
)
def test_a_query_is_that_of_the_lake(asked: dict[str, Any], wanted: Wanted, demo: Path) -> None:
    expected = find(open_any(CLUSTERS), wanted)
    assert len(expected)
    pd.testing.assert_frame_equal(dawnchorus.query(CLUSTERS, **asked), expected)


def test_detections_are_on_the_axes_of_their_vectors(demo: Path, tmp_path: Path) -> None:
    vectors, detections = dawnchorus.open_embeddings(VECTORS), dawnchorus.open_detections(DETECTIONS)
    merged = xr.merge([vectors, detections], join="exact", compat="no_conflicts", combine_attrs="override")
    assert merged.sizes["time"] == vectors.sizes["time"] == detections.sizes["time"]
    there = (vectors["embedding_status"] > 0).to_numpy()
    assert np.isfinite(detections["score"].to_numpy()[there]).all()
    with pytest.raises(errors.StoreFormatError, match="expected a store of detections"):
        dawnchorus.open_detections(VECTORS)


def test_events_are_those_of_the_command(demo: Path, tmp_path: Path) -> None:
    found = dawnchorus.find_events(DETECTIONS, 0.3, gap_s=5.0)
    assert len(found)
    assert (found["start_recording"] != "").all(), "the cube is found by itself"
    longer = dawnchorus.find_events(DETECTIONS, 0.3, gap_s=5.0, min_length_s=6)
    lengths = (found["end_utc"] - found["start_utc"]).dt.total_seconds()
    assert len(longer) == (lengths >= 6).sum()
    one = str(found["sound"].iloc[0])
    pd.testing.assert_frame_equal(
        dawnchorus.find_events(DETECTIONS, "0.3", sound=one, gap_s=5.0, cube=CUBE),
        found[found["sound"] == one].reset_index(drop=True),
    )
    with pytest.raises(errors.UsageError, match="expected best-f1, precision, or a probability"):
        dawnchorus.find_events(DETECTIONS, "often")
    with pytest.raises(errors.InputError, match="'owl' is not in the store"):
        dawnchorus.find_events(DETECTIONS, sound="owl")
    shutil.copytree(DETECTIONS, tmp_path / "alone.zarr")
    alone = dawnchorus.find_events(str(tmp_path / "alone.zarr"), 0.3, gap_s=5.0)
    assert len(alone) == len(found)
    assert (alone["start_recording"] == "").all(), "outside of a lake no cube is known"


def test_a_query_finds_the_cube_and_the_clustering(demo: Path) -> None:
    local = dawnchorus.query(VECTORS, hour="4-6", local=True)
    pd.testing.assert_frame_equal(local, dawnchorus.query(VECTORS, hour="4-6", local=True, cube=CUBE))
    site = str(local["site"].iloc[0])
    assert set(dawnchorus.query(VECTORS, site=site)["site"]) == {site}
    mine = dawnchorus.query(VECTORS, cluster=[0, 3], features=True)
    assert set(mine["cluster"]) == {0, 3}
    with dawnchorus.open_embeddings(VECTORS) as store:
        row = mine.iloc[0]
        vector = store["embedding"].sel(recorder=row["recorder"], time=row["time"]).to_numpy()
    np.testing.assert_array_equal(row[[f"f{i}" for i in range(len(vector))]].to_numpy(np.float32), vector)
    assert len(dawnchorus.query(CUBE, site=site)) == len(dawnchorus.query(VECTORS, site=site))
    with pytest.raises(errors.InputError, match="is not in the cube"):
        dawnchorus.query(VECTORS, site="nowhere")
    with pytest.raises(errors.UsageError, match="expected a day"):
        dawnchorus.query(VECTORS, date="yesterday")


def test_rows_of_a_table_name_windows(demo: Path) -> None:
    """Times as they stand in tables, with and without a zone, are times of windows."""
    row = dawnchorus.query(CLUSTERS, recorder="00004862").iloc[3]
    text = f"{row['time']:%Y-%m-%dT%H:%M:%S}Z"
    expected = dawnchorus.trace(CLUSTERS, row["recorder"], text)
    naive = datetime.fromisoformat(text.removesuffix("Z"))
    elsewhere = naive.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=-5)))
    for time in (row["time"], naive, np.datetime64(naive), elsewhere, row["time"].tz_localize("UTC"), str(row["time"])):
        assert dawnchorus.trace(CLUSTERS, row["recorder"], time) == expected
    near = dawnchorus.similar(VECTORS, row["recorder"], row["time"], n=3)
    pd.testing.assert_frame_equal(near, dawnchorus.similar([VECTORS], row["recorder"], text, n=3))


def test_labels_in_utc_and_of_a_recording(demo: Path, tmp_path: Path) -> None:
    labels = dawnchorus.read_labels("data/demo/study/truth.csv")
    given = pd.read_csv("data/demo/study/truth.csv", dtype={"recorder": str})
    assert len(labels) == len(given)
    assert labels["label"].value_counts().to_dict() == given["label"].value_counts().to_dict()
    assert (labels["end_utc"] > labels["start_utc"]).all()
    assert labels.attrs["notes"] == []
    path = dawnchorus.trace(CUBE, "00004862", dawnchorus.query(CUBE, recorder="00004862")["time"][0]).pieces[0]
    table = tmp_path / "labels.csv"
    table.write_text(f"recording,start_s,end_s,label\n{path.path},1.0,2.5,wren\n{path.path},9999,9999.5,robin\n")
    with pytest.raises(errors.InputError, match="only a cube knows their times"):
        dawnchorus.read_labels(table)
    placed = dawnchorus.read_labels(table, cube=CUBE)
    assert placed[["recorder", "label"]].to_numpy().tolist() == [["00004862", "wren"]]
    start = np.datetime64(path.start_utc.removesuffix("Z"), "ms")
    assert placed["start_utc"][0] - pd.Timestamp(start) == pd.Timedelta("1s")
    assert placed["end_utc"][0] - pd.Timestamp(start) == pd.Timedelta("2.5s")
    assert placed.attrs["notes"], "the label behind the recording's end"


def test_a_manifest_is_run_asked_and_verified(demo: Path) -> None:
    said: list[str] = []
    dawnchorus.run(MANIFEST, workers=1, say=said.append)
    assert said == [f"{name}: done, nothing to do" for name in ("mels", "vectors", "clusters", "heads", "detections")]
    table = dawnchorus.status(Path(MANIFEST))
    assert table.to_numpy().tolist() == [
        ["mels", "spectrograms", "done", ""], ["vectors", "embed", "done", ""], ["clusters", "cluster", "done", ""],
        ["heads", "learn", "done", ""], ["detections", "detect", "done", ""],
    ]  # fmt: skip
    printed = io.StringIO()
    with redirect_stdout(printed):
        dawnchorus.verify(MANIFEST, ["mels", "vectors"])
        dawnchorus.run(MANIFEST, "mels", dry_run=True, workers=1)
    assert printed.getvalue().count("0 of them differ") == 2
    assert "mels: spectrograms, done" in printed.getvalue()
    for call in (dawnchorus.run, dawnchorus.verify):
        with pytest.raises(errors.InputError, match="has no run 'mel'; did you mean 'mels'"):
            call(MANIFEST, "mel")


def test_it_works_where_the_extras_are_not_installed() -> None:
    """On a login node there is neither torch nor what only some images have."""
    code = """
import sys, dawnchorus
for name in dawnchorus.__all__:
    getattr(dawnchorus, name)
print(*{name.split(".")[0] for name in sys.modules})
"""
    loaded = set(in_fresh_python(code).split())
    assert "pandas" in loaded
    assert not loaded & {"av", "llvmlite", "matplotlib", "numba", "sklearn", "soundfile", "timm", "torch"}


# The Python in README and docs -----------------------------------------------------------------------------


ROOT = Path(__file__).resolve().parents[2]
FOR_CONTRIBUTORS = "add-a-*.md"
"""Pages on how to change dawnchorus itself: they show its inside, and have tests of their own."""
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if not page.match(FOR_CONTRIBUTORS)),
]
BLOCK = re.compile(r"^```(?:python|py|pycon)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[str]:
    """Return the Python of a page."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


WITH_PYTHON = [page for page in PAGES if blocks(page)]


def test_the_pages_that_have_python_are_found() -> None:
    assert {page.name for page in WITH_PYTHON} >= {"README.md", "api.md", "querying.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_imports_the_public_package_alone(page: Path) -> None:
    trees = [ast.parse(block) for block in blocks(page)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    plain = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    assert plain | {node.module for node in nodes if isinstance(node, ast.ImportFrom)} <= {"dawnchorus"}
    prose = BLOCK.sub("", page.read_text(encoding="utf-8"))
    assert not re.search(r"^\s*(from|import) (lake|jobs)\b", prose, re.MULTILINE)


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path, demo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks of a page in order, in the folder of a finished demo, as a script."""
    monkeypatch.chdir(demo_folder)
    exec(compile("\n".join(blocks(page)), page.name, "exec"), {"__name__": "__main__"})  # noqa: S102 (our own pages)
