from pathlib import Path

import pytest

from jobs.common.labels.marks import is_plain_table, read_marks
from lake.errors import InputError

RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tAnnotation\n"
BIRDNET = "Start (s),End (s),Scientific name,Common name,Confidence"


def marks(tmp_path: Path, name: str, text: str) -> list[tuple[str, float, float, str, float]]:
    path = tmp_path / name
    path.write_text(text)
    return [(mark.recording, mark.start_s, mark.end_s, mark.label, mark.confidence) for mark in read_marks(path).marks]


def test_a_plain_table(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("recording,start_s,end_s,label,group\na/b.wav,1,2.5,wren,x\na/c.wav,0,1,rain,\n")
    first, second = read_marks(tmp_path / "l.csv").marks
    assert (first.recording, first.start_s, first.end_s, first.label, first.group) == ("a/b.wav", 1, 2.5, "wren", "x")
    assert (second.group, second.confidence) == ("", 1)


def test_raven_beside_its_recording_and_with_files_of_its_own(tmp_path: Path) -> None:
    one = RAVEN + "1\tSpectrogram 1\t1\t2.5\t4\t100\t2000\twren\n1\tWaveform 1\t1\t2.5\t4\t100\t2000\twren\n"
    assert marks(tmp_path, "dawn.Table.1.selections.txt", one) == [("dawn", 2.5, 4, "wren", 1)]
    assert marks(tmp_path, "dawn.dawnchorus.selections.txt", one) == [("dawn", 2.5, 4, "wren", 1)]
    header = "Selection\tBegin Time (s)\tEnd Time (s)\tCommon Name\tConfidence\tBegin Path\tFile Offset (s)\n"
    many = header + "1\t100\t103\tBlue Jay\t0.7\tC:\\audio\\b.wav\t40\n"
    assert marks(tmp_path, "all.txt", many) == [("C:/audio/b.wav", 40, 43, "Blue Jay", 0.7)]


def test_audacity(tmp_path: Path) -> None:
    text = "0.5\t1.25\twren\n\\\t100.0\t4000.0\n3\t3\trobin\n"
    assert marks(tmp_path, "dawn.txt", text) == [("dawn", 0.5, 1.25, "wren", 1), ("dawn", 3, 3, "robin", 1)]


def test_birdnet(tmp_path: Path) -> None:
    text = f"{BIRDNET}\n0,3,Cyanocitta cristata,Blue Jay,0.81\n"
    assert marks(tmp_path, "dawn.BirdNET.results.csv", text) == [("dawn", 0, 3, "Blue Jay", 0.81)]
    assert marks(tmp_path, "x.csv", f"{BIRDNET},File\n0,3,A b,,0.2,in/a.wav\n") == [("in/a.wav", 0, 3, "A b", 0.2)]


def test_a_folder_of_tables(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0\t1\twren\n")
    (tmp_path / "b.txt").write_text("0\t1\trobin\n")
    (tmp_path / "notes.md").write_text("nothing")
    assert [mark.recording for mark in read_marks(tmp_path).marks] == ["a", "b"]
    assert not is_plain_table(tmp_path)


def test_the_table_in_utc_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    for first, is_plain in [
        ("recorder,start_utc,end_utc,label", True), ("recording,start_s,end_s,label", False), (BIRDNET, False),
        ("what,ever", True), ("0\t1\twren", False),
    ]:  # fmt: skip
        path.write_text(first + "\n")
        assert is_plain_table(path) is is_plain


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "who,knows\n1,2\n", r"found none.*'who,knows.*can be read: .*recording,start_s,end_s,label; a Raven"),
        (
            "a.csv",
            "recording,start_s,end_s,label\na,x,2,wren\n",
            r"a\.csv, row 2: start_s: expected a number, found 'x'",
        ),
        (
            "a.csv",
            "recording,start_s,end_s,label\na,3,2,wren\n",
            r"row 2: 'wren' ends at 2 s, before its start at 3 s",
        ),
        ("a.csv", "recording,start_s,end_s,label\n", r"expected labelled intervals, found none"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        marks(tmp_path, name, text)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no: expected labels, found no file"):
        read_marks(tmp_path / "no")
    with pytest.raises(InputError, match=r"found none\. No file ends in \.csv, \.txt, \.tsv"):
        read_marks(tmp_path)
    (tmp_path / "l.csv").write_bytes(b"recording\xff")
    with pytest.raises(InputError, match=r"found none.*no table of labels: 'recording"):
        read_marks(tmp_path / "l.csv")
