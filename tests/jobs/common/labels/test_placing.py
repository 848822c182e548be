from pathlib import Path

import numpy as np
import pytest

from jobs.common.labels.marks import Mark, read_marks
from jobs.common.labels.placing import Placed, PlacedMarks, place_marks
from lake.errors import InputError

HEAD = "recording,start_s,end_s,label\n"
RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tSpecies\tBegin File\n"


def cube(*lengths_s: float, folder: str = "A") -> Placed:
    """Return recordings ``A/0.wav``, ``A/1.wav``, ... that follow each other."""
    ends = np.cumsum(np.array(lengths_s) * 1000).astype(np.int64)
    starts = np.concatenate([[0], ends[:-1]])
    return Placed(tuple(f"{folder}/{i}.wav" for i in range(len(ends))), ("A",) * len(ends), starts, ends)


def placed(path: Path, where: Placed, least: float = 0.0) -> PlacedMarks:
    return place_marks(read_marks(path).marks, where, min_confidence=least)


def spans(found: PlacedMarks) -> list[tuple[str, int, int, int]]:
    return [
        (mark.label, row, int(start), int(end))
        for mark, row, start, end in zip(found.marks, found.row, found.start_ms, found.end_ms, strict=True)
    ]


def test_seconds_that_a_recording_does_not_have_are_counted_and_named(tmp_path: Path) -> None:
    rows = [
        "A/0.wav,1,2,in",
        "A/0.wav,25,26,next",
        "A/0.wav,3601,3602,hour",
        "A/0.wav,-5,-4,before",
        "A/0.wav,20,21,end",
    ]
    (tmp_path / "l.csv").write_text(HEAD + "\n".join(rows) + "\n")
    found = placed(tmp_path / "l.csv", cube(20, 20))
    assert spans(found) == [("in", 0, 1000, 2000)]
    assert found.n_outside == 4
    assert "l.csv, row 3: 'next' from 25 to 26 s of A/0.wav, which has 20 s" in found.notes[0]
    (tmp_path / "m.csv").write_text(f"{HEAD}A/0.wav,30,31,x\n")
    with pytest.raises(InputError, match=r"none of 1 labels lies within its recording:\n.*row 2: 'x' from 30"):
        placed(tmp_path / "m.csv", cube(20, 20))


def test_a_last_window_that_was_filled_up_is_cut(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(f"{HEAD}A/0.wav,18,21,wren\nA/0.wav,-0.05,1,tit\nA/0.wav,15,24,far\n")
    found = placed(tmp_path / "l.csv", cube(20, 20))
    assert spans(found) == [("wren", 0, 18_000, 20_000), ("tit", 0, 0, 1000)]
    assert found.n_outside == 1
    assert "2 labels reach beyond" in found.notes[1]


def test_labels_of_a_namesake_are_unknown(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(f"{HEAD}A/0.wav,1,2,wren\nB/0.wav,1,2,tit\n")
    found = placed(tmp_path / "l.csv", cube(20, 20))
    assert (len(found.marks), found.n_strange) == (1, 1)
    assert found.notes == (
        "1 labels are of 1 recordings that the cube does not have: B/0.wav (nearest: A/0.wav).",
    )  # fmt: skip
    with pytest.raises(InputError, match=r"labelled are A/0.wav, B/0.wav; .*nearest: C/0.wav"):
        placed(tmp_path / "l.csv", cube(20, folder="C"))


def test_mirrored_folders_tell_tables_apart(tmp_path: Path) -> None:
    for folder, label in (("A", "wren"), ("B", "tit")):
        (tmp_path / "l" / folder).mkdir(parents=True)
        (tmp_path / "l" / folder / "0.txt").write_text(f"1\t2\t{label}\n")
        (tmp_path / "l" / folder / "1.Table.1.selections.txt").write_text(
            f"{RAVEN}1\tW\t1\t1\t2\t0\t1\t{label}\t1.wav\n"
        )
    found = placed(tmp_path / "l", cube(20, 20))
    assert {mark.label for mark in found.marks} == {"wren"}
    assert (len(found.marks), found.n_strange) == (2, 2)


def test_seconds_over_several_files_are_placed_where_lengths_allow_it(tmp_path: Path) -> None:
    rows = [(1, 2, "0"), (25, 26, "1"), (45, 46, "2")]
    text = "".join(f"{i}\tSpectrogram 1\t1\t{a}\t{b}\t0\t9\twren\t{name}.wav\n" for i, (a, b, name) in enumerate(rows))
    (tmp_path / "all.txt").write_text(RAVEN + text)
    found = placed(tmp_path / "all.txt", cube(20, 20, 20))
    assert [span[1:] for span in spans(found)] == [(0, 1000, 2000), (1, 25_000, 26_000), (2, 45_000, 46_000)]
    with pytest.raises(InputError, match=r"several files without File Offset \(s\), so its seconds are unclear"):
        placed(tmp_path / "all.txt", cube(5, 5, 5))
    rows = [(1, 2, "0"), (5, 6, "1"), (3, 4, "2")]
    text = "".join(f"{i}\tSpectrogram 1\t1\t{a}\t{b}\t0\t9\twren\t{name}.wav\n" for i, (a, b, name) in enumerate(rows))
    (tmp_path / "each.txt").write_text(RAVEN + text)
    found = placed(tmp_path / "each.txt", cube(20, 20, 20))
    assert [span[2] for span in spans(found)] == [1000, 25_000, 43_000]


def test_nobody_is_sure_enough(tmp_path: Path) -> None:
    mark = Mark("A/0.wav", 0, 1, "x", "", 0.2, "t", 2)
    with pytest.raises(InputError, match=r"none of 1 labels has a confidence of 0.5"):
        place_marks([mark], cube(20), min_confidence=0.5)
