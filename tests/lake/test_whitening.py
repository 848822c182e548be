"""What the cache of whitenings keeps: the sets as they are now, and nothing of what they were."""

import io
from pathlib import Path

import numpy as np
from stores import make_embeddings

from lake.vectors import VectorSets, open_vectors
from lake.whitening import keep_lengths, kept_lengths, study_whitening


def sets_of(lake: Path, seed: int, names: tuple[str, ...] = ("vectors",)) -> VectorSets:
    """Write the sets anew with other vectors, and open them."""
    random = np.random.default_rng(seed)
    made = [make_embeddings(lake, random.normal(size=(2, 144, 4)).astype(np.float32), name=name) for name in names]
    return open_vectors([run.output.url for run in made])


def files_of(lake: Path) -> set[str]:
    return {path.name for path in (lake / "caches" / "whitening").iterdir()}


def keep_both(sets: VectorSets) -> None:
    """Keep the whitening of sets, and the lengths of their windows."""
    study_whitening(sets)
    assert not keep_lengths(sets, np.ones((sets.n_windows, len(sets.arrays)), dtype=np.float32))


def test_what_is_kept_of_a_set_replaces_what_was_of_its_earlier_content(tmp_path: Path) -> None:
    keep_both(sets_of(tmp_path, 0))
    before = files_of(tmp_path)
    sets = sets_of(tmp_path, 1)
    assert kept_lengths(sets) is None
    keep_both(sets)
    assert len(before) == len(files_of(tmp_path)) == 2
    assert not before & files_of(tmp_path)
    assert kept_lengths(sets) is not None


def test_other_sets_and_other_settings_are_kept_beside(tmp_path: Path) -> None:
    keep_both(sets_of(tmp_path, 0, ("other",)))
    others = files_of(tmp_path)
    (tmp_path / "caches" / "whitening" / "notes.txt").write_text("somebody's own\n")
    for seed in (1, 2):
        sets = sets_of(tmp_path, seed)
        for shrinkage in (0.1, 0.2):
            study_whitening(sets, shrinkage=shrinkage)
    assert others | {"notes.txt"} < files_of(tmp_path)
    assert len(files_of(tmp_path)) == 2 + 1 + 2


def test_sets_that_are_joined_are_others_than_one_of_them(tmp_path: Path) -> None:
    joined = sets_of(tmp_path, 0, ("one", "other"))
    keep_both(joined)
    keep_both(open_vectors([joined.urls[0]]))
    assert len(files_of(tmp_path)) == 4


def test_files_that_earlier_releases_named_go(tmp_path: Path) -> None:
    folder = tmp_path / "caches" / "whitening"
    folder.mkdir(parents=True)
    for name in ("0123456789ab.npz", "0123456789ab.lengths.npz"):
        (folder / name).write_bytes(b"of an earlier release")
    keep_both(sets_of(tmp_path, 0))
    assert len(files_of(tmp_path)) == 2
    assert not [name for name in files_of(tmp_path) if name.startswith("0123456789ab")]


def test_a_reader_keeps_the_file_that_it_has_open(tmp_path: Path) -> None:
    study_whitening(sets_of(tmp_path, 0))
    (path,) = (tmp_path / "caches" / "whitening").iterdir()
    expected = path.read_bytes()
    with path.open("rb") as file:
        head = file.read(10)
        study_whitening(sets_of(tmp_path, 1))
        assert not path.exists()
        data = head + file.read()
    assert data == expected
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        assert arrays["mean0"].shape == (4,)


def test_whitening_of_sets_that_grew_meanwhile_removes_nothing(tmp_path: Path) -> None:
    old = sets_of(tmp_path, 0)
    newer: set[str] = set()

    def grow(_: int) -> None:
        if not newer:  # another process extends the set and keeps its whitening, while this one reads the old one
            study_whitening(sets_of(tmp_path, 1))
            newer.update(files_of(tmp_path))

    study_whitening(old, advance=grow)
    assert newer < files_of(tmp_path)
