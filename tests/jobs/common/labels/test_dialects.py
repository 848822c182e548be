from pathlib import Path

import pytest

from jobs.common.labels.dialects import is_nothing
from jobs.common.labels.marks import read_marks
from lake.errors import InputError

TABLES = {
    "x.BirdNET.results.csv": "Start (s),End (s),Scientific name,Common name,Confidence,File\n"
    "3.0,6.0,A b,Wren,0.8,/h/R/x.wav\n",
    "x.BirdNET.results.r.csv": "filepath,start,end,scientific_name,common_name,confidence,lat,lon,week,overlap,"
    "sensitivity,min_conf,species_list,model\n/h/R/x.wav,3,6,A b,Wren,0.8,,,,,,,,\n/h/R/y.wav,,,,,,,,,,,,,\n",
    "old.BirdNET.results.kaleidoscope.csv": "INDIR,FOLDER,IN FILE,OFFSET,DURATION,scientific_name,common_name,"
    "confidence,lat\n"
    "/h,R,x.wav,3,3,A b,Wren,0.8,\n",
    "new.BirdNET.results.kaleidoscope.csv": "OFFSET,confidence,INDIR,FOLDER,IN FILE,DURATION,TOP1MATCH\n"
    "3.0,0.8,/h,R,x.wav,3.0,Wren\n",
    "x.BirdNET.selection.table.txt": "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\t"
    "High Freq (Hz)\tCommon Name\tSpecies Code\tConfidence\tBegin Path\tFile Offset (s)\n"
    "1\tSpectrogram 1\t1\t103\t106\t0\t9000\tWren\twren\t0.8\t/h/R/x.wav\t3.0\n"
    "2\tSpectrogram 1\t1\t0\t3\t0\t9000\tnocall\tnocall\t1.0\t/h/R/x.wav\t0\n",
    "birdnetlib.csv": ",common_name,scientific_name,start_time,end_time,confidence,label,file\n"
    "0,Wren,A b,3,6,0.8,A b_Wren,/h/R/x.wav\n",
    "birdnet.csv": "input,start_time,end_time,species_name,confidence\n/h/R/x.wav,00:00:03.00,00:00:06.00,Wren,0.8\n",
    "semicolon.csv": "Start (s);End (s);Scientific name;Common name;Confidence;File\n3,0;6,0;A b;Wren;0,8;/h/R/x.wav\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_programs(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(TABLES[name])
    (mark,) = read_marks(tmp_path / name).marks
    assert (mark.recording, mark.start_s, mark.end_s, mark.label, mark.confidence) == ("/h/R/x.wav", 3, 6, "Wren", 0.8)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_kaleidoscopes_own_tables(tmp_path: Path, encoding: str) -> None:
    text = (
        "INDIR,FOLDER,IN FILE,CHANNEL,OFFSET,DURATION,Fmin,TOP1MATCH*,TOP1DIST,AUTO ID*,MANUAL ID*\n"
        "D:\\Forêt,R\\1,x.wav,0,3,3,500,A,0.2,,Wren\nD:\\Forêt,,y.wav,0,3,3,500,,,NoID,\n"
    )
    (tmp_path / "cluster.csv").write_bytes(text.encode(encoding))
    (mark,) = read_marks(tmp_path / "cluster.csv").marks
    assert (mark.recording, mark.label, mark.confidence) == ("D:/Forêt/R/1/x.wav", "Wren", 1)


def test_audacity_with_and_without_confidence(tmp_path: Path) -> None:
    text = "0\t3\tA b_Wren\t0.8123\n\\\t100\t9000\n3,5\t6\tTit (0.25)\n6\t9\tsong 2\n9\t12\tnocall\t1.0\n12\t15\t\n"
    (tmp_path / "x.txt").write_text(text)
    found = read_marks(tmp_path / "x.txt")
    assert [(m.start_s, m.label, m.confidence) for m in found.marks] == [
        (0, "A b_Wren", 0.8123), (3.5, "Tit", 0.25), (6, "song 2", 1),
    ]  # fmt: skip
    assert found.notes == ["2 rows say that nothing was heard (such as nocall); they are no labels."]


def test_words_for_nothing() -> None:
    assert all(map(is_nothing, ["", "nocall", "NoCall", "nocall_nocall", "nocall, nocall", "No detections", "NoID"]))
    assert not any(map(is_nothing, ["Wren", "none", "Noise", "no call today", "A b_Wren"]))


def test_ravens_views_and_delta_time(tmp_path: Path) -> None:
    head = "Selection\tView\tBegin Time (s)\tDelta Time (s)\tSpecies\n"
    (tmp_path / "x.txt").write_text(
        f"{head}1\tWaveform 1\t1\t2\twren\n2\tWaveform 1\t5\t1\ttit\n1\tSpectrogram 1\t1\t2\twren\n"
    )
    found = read_marks(tmp_path / "x.txt").marks
    assert sorted((m.label, m.start_s, m.end_s) for m in found) == [("tit", 5, 6), ("wren", 1, 3)]
    (tmp_path / "y.txt").write_text("Selection\tBegin Time (s)\tSpecies\n1\t1\twren\n")
    with pytest.raises(InputError, match=r"y.txt, column End Time \(s\) is missing \(or Delta Time \(s\)\)"):
        read_marks(tmp_path / "y.txt")


def test_a_folder_with_what_is_no_label(tmp_path: Path) -> None:
    good = TABLES["x.BirdNET.results.csv"]
    files: dict[str, bytes] = {
        "good.CSV": good.encode(), "BirdNET_analysis_params.csv": b"Segment length,Sample rate\n3.0,48000\n",
        "analysis_params.csv": b"Setting,Value\na,1\n", "._good.csv": b"\0\5\x16\7", ".hidden/a.csv": good.encode(),
        "empty.txt": b"", "header.csv": good.splitlines()[0].encode(), "x.list.txt": b"/h/R/x.wav\n/h/R/y.wav\n",
        "utc.csv": b"recorder,start_utc,end_utc,label\n", "binary.txt": b"abc\0\0abcdefghijklmn",
    }  # fmt: skip
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    found = read_marks(tmp_path)
    assert [mark.table for mark in found.marks] == ["good.CSV"]
    assert found.notes[0].startswith("9 files are passed over (1 empty, 2 hidden, 1 labels in UTC, 1 no rows, ")
    (tmp_path / "good.CSV").unlink()
    with pytest.raises(InputError, match=r"found none\. 9 files are passed over"):
        read_marks(tmp_path)


@pytest.mark.parametrize("cell", ["nan", "inf", "-inf", "soon", ""])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "recording,start_s,end_s,label\nx,@,2,wren\n"),
        ("a.txt", "0\t1\ttit\n@\t3\twren\n"),
        ("b.txt", "Selection\tBegin Time (s)\tEnd Time (s)\tSpecies\n1\t@\t2\twren\n"),
        ("b.csv", "Start (s),End (s),Common name,Confidence\n@,2,wren,1\n"),
        ("c.csv", "IN FILE,OFFSET,DURATION,MANUAL ID\nx.wav,@,2,wren\n"),
    ],
)
def test_seconds_that_are_none_are_refused_with_their_row(tmp_path: Path, name: str, text: str, cell: str) -> None:
    (tmp_path / name).write_text(text.replace("@", cell))
    with pytest.raises(InputError, match=r"row 2: .*expected a number"):
        read_marks(tmp_path / name)
