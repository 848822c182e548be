"""Dictionaries of patches against a slow twin, and on sounds that are known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from jobs.common.dictionary import Atoms, Dictionary, encode_windows, normalised
from jobs.dictionary.core import LevelSums, learn_atoms, spherical_kmeans
from lake.constants import CODE_STEP_DB


def planted(n: int = 3000, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Return patches that are one of three patterns with some noise, the patterns, and which it is."""
    random = np.random.default_rng(seed)
    patterns = random.normal(size=(3, 16)).astype(np.float32)
    patterns -= patterns.mean(axis=1, keepdims=True)
    kind = random.integers(3, size=n)
    return (patterns[kind] * 5 + random.normal(size=(n, 16)) * 0.3 + 7).astype(np.float32), patterns, kind


def learnt(sample: NDArray[np.float32], n_atoms: int = 3, seed: int = 0) -> Atoms:
    return learn_atoms(sample.copy(), (4, 4), n_atoms=n_atoms, n_rounds=15, shrinkage=0.05, seed=seed)


def test_each_planted_pattern_has_atoms_of_its_own() -> None:
    sample, _, kind = planted()
    atoms = learnt(sample, n_atoms=9)
    strongest = (sample @ atoms.weights + atoms.offset).argmax(axis=1)
    table = np.zeros((3, 9))
    np.add.at(table, (kind, strongest), 1)
    assert table.max(axis=0).sum() > 0.99 * len(sample), "patches whose atom is one of their pattern"
    assert set(table.argmax(axis=0)[table.any(axis=0)].tolist()) == {0, 1, 2}


def kmeans_by_hand(x: NDArray[np.float64], n_atoms: int, n_rounds: int, seed: int) -> NDArray[np.float64]:
    """Do spherical k-means as Coates and Ng 2012 write it, patch by patch."""
    atoms = np.random.default_rng([seed, x.shape[1]]).standard_normal((n_atoms, x.shape[1]))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    for _ in range(n_rounds):
        code = np.zeros((n_atoms, len(x)))
        for i, patch in enumerate(x):
            product = atoms @ patch
            nearest = np.abs(product).argmax()
            code[nearest, i] = product[nearest]
        atoms = code @ x + atoms
        atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    return atoms


def test_kmeans_is_that_of_the_paper() -> None:
    x = np.random.default_rng(4).normal(size=(300, 6)) * [3, 1, 1, 1, 1, 0.5]
    found = spherical_kmeans(x.astype(np.float32), 4, 5, seed=1)
    np.testing.assert_allclose(found, kmeans_by_hand(x, 4, 5, seed=1), atol=2e-3)


def test_an_atom_without_a_patch_starts_anew_on_one() -> None:
    x = np.zeros((50, 40), dtype=np.float32)
    x[:, 0] = np.arange(1, 51)
    atoms = spherical_kmeans(x, 3, 2, seed=0)
    np.testing.assert_allclose(np.abs(atoms[:, 0]), 1, atol=1e-3)


def test_patches_of_silence_alone_leave_finite_atoms() -> None:
    atoms = learn_atoms(np.zeros((200, 16), np.float32), (4, 4), n_atoms=3, n_rounds=4, shrinkage=0.05, seed=0)
    assert all(np.isfinite(each).all() for each in (atoms.weights, atoms.offset, atoms.shown))


def test_atoms_are_shown_as_the_patches_that_they_are_of() -> None:
    sample, patterns, _ = planted()
    shown = learnt(sample, n_atoms=9).shown.reshape(9, 16)
    centred = patterns - patterns.mean(axis=0)
    likeness = shown @ centred.T / np.linalg.norm(shown, axis=1)[:, None] / np.linalg.norm(centred, axis=1)
    assert np.abs(likeness).max(axis=0).min() > 0.9


def test_the_level_of_a_patch_does_not_count() -> None:
    sample, _, _ = planted()
    atoms = learnt(sample)
    np.testing.assert_allclose(sample[:5] @ atoms.weights, (sample[:5] + 30) @ atoms.weights, atol=2e-4)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    sample, _, _ = planted()
    assert learnt(sample).weights.tobytes() == learnt(sample).weights.tobytes()
    assert learnt(sample).weights.tobytes() != learnt(sample, seed=1).weights.tobytes()


def test_silence_has_atoms_that_are_finite() -> None:
    atoms = learnt(np.zeros((200, 16), dtype=np.float32))
    assert np.isfinite(atoms.weights).all()
    assert np.isfinite(atoms.shown).all()


def test_levels_of_windows_by_plain_numpy() -> None:
    random = np.random.default_rng(3)
    levels = random.normal(-60, 7, (6, 5, 8)).astype(np.float32)
    levels[random.random(levels.shape) < 0.2] = np.nan
    levels[:, 4] = np.nan  # a band that nobody recorded takes the mean of the others
    sums = LevelSums(5)
    sums.add(levels[:2])
    sums.add(levels[2:])
    mean, deviation = sums.statistics()
    expected = np.array([np.nanmean(levels[:, band], dtype=np.float64) for band in range(4)])
    np.testing.assert_allclose(mean[:4], expected, rtol=1e-6)
    assert mean[4] == pytest.approx(expected.mean(), rel=1e-6)
    gaps = (levels[:, :4] - expected[:, None]).ravel()
    assert deviation == pytest.approx(np.sqrt(np.nanmean(np.square(gaps, dtype=np.float64))), rel=1e-5)


def test_silence_alone_deviates_by_a_step() -> None:
    sums = LevelSums(2)
    sums.add(np.full((1, 2, 4), -124, dtype=np.float32))
    assert sums.statistics()[1] == CODE_STEP_DB


def small_dictionary(seed: int = 0) -> Dictionary:
    random = np.random.default_rng(seed)
    atoms = []
    for size in ((4, 4), (8, 2)):
        n = size[0] * size[1]
        weights, offset = random.normal(size=(n, 3)).astype(np.float32), random.normal(size=3).astype(np.float32)
        atoms.append(Atoms(size, weights, offset, np.zeros((3, *size), dtype=np.float32)))
    return Dictionary((16, 12), random.normal(-60, 3, 16).astype(np.float32), 8.0, 4, atoms)


def encoded_by_hand(codes: NDArray[np.uint8], dictionary: Dictionary) -> NDArray[np.float64]:
    """Encode one window place by place, as the words say it."""
    (levels,) = normalised(codes[None], dictionary.view, dictionary.mean_db, dictionary.deviation_db).astype(np.float64)
    out: list[float] = []
    for atoms in dictionary.atoms:
        height, width = atoms.size
        bands = list(range(0, levels.shape[0] - height + 1, height // 2))
        frames = list(range(0, levels.shape[1] - width + 1, width // 2))
        response = np.zeros((len(bands), len(frames), 3))
        for i, band in enumerate(bands):
            for j, frame in enumerate(frames):
                patch = levels[band : band + height, frame : frame + width].ravel()
                value = patch @ atoms.weights + atoms.offset
                response[i, j] = np.maximum(0, value - value.mean())
        n_rows = min(dictionary.n_rows, len(bands))
        height_of_row = len(bands) / n_rows  # a place that lies in two rows counts in both
        ends = [(int(i * height_of_row + 1e-9), int(np.ceil((i + 1) * height_of_row - 1e-9))) for i in range(n_rows)]
        rows = np.stack([response[a:b].mean(axis=0) for a, b in ends])
        out += [*rows.mean(axis=1).ravel(), *rows.std(axis=1).ravel()]
    return np.array(out)


def test_a_slow_twin_encodes_the_same() -> None:
    dictionary = small_dictionary()
    codes = np.random.default_rng(5).integers(0, 256, (3, 16, 12)).astype(np.uint8)
    found = encode_windows(codes, dictionary)
    assert found.shape == (3, dictionary.n_features((16, 12)))
    for i in range(3):
        np.testing.assert_allclose(found[i], encoded_by_hand(codes[i], dictionary), rtol=1e-4, atol=1e-4)


def test_a_window_does_not_depend_on_its_batch() -> None:
    dictionary = small_dictionary()
    codes = np.random.default_rng(6).integers(0, 256, (5, 16, 12)).astype(np.uint8)
    whole = encode_windows(codes, dictionary)
    for i in range(5):
        assert encode_windows(codes[i : i + 1], dictionary).tobytes() == whole[i : i + 1].tobytes()


def test_what_is_missing_counts_as_the_mean() -> None:
    dictionary = small_dictionary()
    levels = normalised(np.zeros((1, 16, 12), dtype=np.uint8), (16, 12), dictionary.mean_db, 8.0)
    assert not levels.any()
