from collections.abc import Sequence
from pathlib import PurePath, PurePosixPath
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.catalog.folders import find_home
from jobs.catalog.names import maker_of, parse_name
from jobs.catalog.recorders import Row, Seen, contradicts, name_recorders, serial_in_name, usable_serial


def seen(path: str, serial: str = "", sha256: str = "", given: Sequence[str] = ("/audio",)) -> Seen:
    file = PurePosixPath(path)
    name = parse_name(file)
    named = serial_in_name(name.recorder, maker_of(file, name))
    home = find_home(file.parent, {PurePosixPath(folder) for folder in given})
    return Seen(file, home, serial or named, "" if named else name.recorder, sha256)


def recorders(files: Sequence[str | Seen], rows: Sequence[Row] = (), given: Sequence[str] = ("/audio",)) -> list[str]:
    return name_recorders([seen(file, given=given) if isinstance(file, str) else file for file in files], rows)[0]


def rows_of(files: Sequence[Seen | str], names: Sequence[str] | None = None) -> list[Row]:
    """Return the rows that a catalogue of these files leaves."""
    known = [seen(file) if isinstance(file, str) else file for file in files]
    return [Row(file, name) for file, name in zip(known, names or recorders(known), strict=True)]


def test_the_recorder_is_the_folder_above_the_dates() -> None:
    files = [
        "/audio/set1/00023764/20210622_STUDY/20210622T000000+0000_REC.wav",
        "/audio/set2/00004862/20210721_STUDY/20210721T063137-0500_Rec.wav",
        "/audio/00023788/20210714_schedule/20210714_000000.wav",
        "/audio/AM7/20231231/20231231_120000.WAV",
        "/audio/AM8/2023-12-31/20231231_120000.WAV",
        "/audio/R9/20230101_STUDY/20230102/20230102_000000.wav",
        "/audio/SM4_S4A03895/S4A03895_20190522_050000.flac",
    ]
    assert recorders(files) == ["00023764", "00004862", "00023788", "AM7", "AM8", "R9", "SM4_S4A03895"]


def test_folders_that_only_look_like_dates_are_recorders() -> None:
    files = ["/audio/20211301/a.wav", "/audio/00023764/a.wav", "/audio/2021/a.wav", "/audio/20210622STUDY/a.wav"]
    assert recorders(files) == ["20211301", "00023764", "2021", "20210622STUDY"]


def test_folders_that_say_nothing_are_passed_over_below_the_given_one() -> None:
    assert recorders(["/audio/WALDEN/Data/WALDEN_20240601_140505.wav"]) == ["WALDEN"]
    assert recorders(["/home/audio/1.wav"], given=["/home/audio"]) == ["audio"]
    assert recorders(["/R7/20210622_STUDY/20210622_000000.wav"], given=["/R7/20210622_STUDY"]) == ["R7"]
    assert recorders(["/20210622/20210622_000000.wav"], given=["/20210622"]) == ["20210622"]
    assert recorders(["/1.wav"], given=["/"]) == ["root"]
    assert recorders(["/audio/ /1.wav"]) == ["root"]


def test_one_serial_in_a_folder_does_not_change_the_recorder() -> None:
    files = ["/audio/R1/S4A03895_20190522_050000.flac", "/audio/R1/S4A03895_20190522_053000.flac", "/audio/R1/x.wav"]
    assert recorders(files) == ["R1"] * 3


def test_several_serials_in_a_folder_are_the_recorders_and_one_serial_in_two_folders_is_one() -> None:
    files = [
        "/audio/flat/S4A03895_20190522_050000.flac",
        "/audio/flat/S4U09523_20190522_050000.flac",
        "/audio/flat/24A04F085FDF2793_20231231_120000.WAV",
        "/audio/flat/20231231_120000.WAV",
        "/audio/other/S4A03895_20190523_050000.flac",
    ]
    assert recorders(files) == ["S4A03895", "S4U09523", "24A04F085FDF2793", "flat", "S4A03895"]


def test_dated_folders_of_one_recorder_are_looked_at_together() -> None:
    files = ["/audio/flat/20190522/A_20190522_050000.wav", "/audio/flat/20190523/B_20190523_050000.wav"]
    assert recorders(files) == ["A", "B"]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["SiteA/visit 1/x.wav", "SiteB/visit 1/x.wav"], ["SiteA_visit 1", "SiteB_visit 1"]),
        (["P1/A/x.wav", "P2/A/x.wav", "P2/B/x.wav"], ["P1_A", "P2_A", "B"]),
        (["N/P1/A/x.wav", "S/P1/A/x.wav", "S/P2/A/x.wav"], ["N_P1_A", "S_P1_A", "P2_A"]),
        (["A/x.wav", "P/A/x.wav"], ["audio_A", "P_A"]),
        (["A_B/C/x.wav", "A/B_C/x.wav", "D/C/x.wav"], ["A_B_C", "B_C", "D_C"]),
        (["SiteA/data/x.wav", "SiteB/data/x.wav"], ["SiteA", "SiteB"]),
        (["2021/SiteA/20210622/x.wav", "2022/SiteA/20220622/x.wav"], ["2021_SiteA", "2022_SiteA"]),
        (["W/A_20210622_050000.wav", "W/B_20210622_050000.wav", "V/A_20210622_050000.wav"], ["A", "B", "V"]),
        (["W/A_20210622_050000.wav", "W/B_20210622_050000.wav", "A/x.wav"], ["W_A", "B", "A"]),
        (["Fore\u0302t/x.wav", "Autre/x.wav"], ["Forêt", "Autre"]),
        (["Fore\u0302t/x.wav", "Forêt/x.wav"], ["audio_Forêt", "root_audio_Forêt"]),
    ],
)  # fmt: skip
def test_folders_of_one_name_are_told_apart_by_the_parts_above(files: list[str], names: list[str]) -> None:
    assert sorted(recorders([f"/audio/{file}" for file in files])) == sorted(names)
    assert len(set(recorders([f"/audio/{file}" for file in files]))) == len(set(names))


def test_serials_in_headers_count_as_those_in_names() -> None:
    x, y = "24A04F085FDF2793", "242A2604603691DD"
    two_units = [seen("/audio/P1/A/1.wav", x), seen("/audio/P2/A/1.wav", y)]
    assert recorders(two_units) == [x, y], "two units in folders of one name"
    slots = [seen("/audio/P1/A/1.wav", x), seen("/audio/P2/A/2.wav", x), seen("/audio/P2/B/3.wav", y)]
    assert recorders(slots) == ["A", "A", "B"], "two cards of one unit"
    visits = [seen("/audio/visit 1/1.wav", x), seen("/audio/visit 2/2.wav", x)]
    assert recorders(visits) == [x, x]
    assert recorders([seen("/audio/A/1.wav", "4862"), seen("/audio/B/1.wav", "00004862")]) == ["00004862"] * 2


def test_a_unit_that_is_replaced_does_not_rename_the_first() -> None:
    first = ["/audio/Wald/S4A01234_20210622_050000.wav", "/audio/Wald/S4A01234_20210623_050000.wav"]
    new = ["/audio/Wald/S4A05678_20210701_050000.wav", "/audio/Wald/S4A01234_20210624_050000.wav"]
    assert recorders(first) == ["Wald", "Wald"]
    assert recorders([*first, *new], rows_of(first)) == ["Wald", "Wald", "S4A05678", "Wald"]
    assert recorders(new, rows_of(first)) == ["S4A05678", "Wald"], "also when the first files are gone"


def test_files_that_get_a_serial_later_stay_with_their_recorder() -> None:
    first = ["/audio/Wald/1.wav", "/audio/Wald/2.wav"]
    more = [*first, "/audio/Wald/S4A01234_20210622_050000.wav"]
    assert recorders(more, rows_of(first)) == ["Wald"] * 3
    most = [*more, "/audio/Wald/S4A05678_20210622_050000.wav"]
    assert recorders(most, rows_of(more)) == ["Wald"] * 3 + ["S4A05678"]


def test_a_second_site_of_the_same_folder_name_renames_no_row() -> None:
    first = ["/audio/SiteA/visit 1/1.wav"]
    both = [*first, "/audio/SiteB/visit 1/1.wav", "/audio/SiteA/visit 1/2.wav"]
    assert recorders(both, rows_of(first)) == ["visit 1", "SiteB_visit 1", "visit 1"]


def test_a_moved_study_keeps_its_names_by_content() -> None:
    def files(root: str) -> list[Seen]:
        names = ["visit 1/1.wav", "visit 2/1.wav", "visit 2/2.wav"]
        return [seen(f"{root}/{name}", sha256=f"{i}", given=[root]) for i, name in enumerate(names)]

    before = rows_of(files("/audio"), ["North", "visit 2", "visit 2"])
    moved = [*files("/disk/2021"), seen("/disk/2021/visit 1/9.wav", sha256="9", given=["/disk/2021"])]
    assert recorders(moved, before) == ["North", "visit 2", "visit 2", "North"]


def test_a_copy_in_another_folder_does_not_take_the_name_of_the_first() -> None:
    first = [seen("/audio/A/1.wav", sha256="1")]
    assert recorders([*first, seen("/audio/copies/1.wav", sha256="1")], rows_of(first)) == ["A", "copies"]


def test_rows_that_a_person_renamed_are_believed() -> None:
    files = ["/audio/A/1.wav", "/audio/A/2.wav", "/audio/B/1.wav"]
    assert recorders(files, rows_of(files[:1], ["north"])) == ["north", "north", "B"]


def test_a_name_that_two_sites_had_at_one_time_is_taken_from_one_and_said() -> None:
    files = [seen(f"/audio/{site}/visit 1/{i}.wav") for site in ("SiteA", "SiteB") for i in range(2)]
    at = [0.0, 60.0, 0.0, 60.0]
    rows = [Row(file, "visit 1", start, start + 60) for file, start in zip(files, at, strict=True)]
    names, notes = name_recorders(files, rows)
    assert names == ["visit 1"] * 2 + ["SiteB_visit 1"] * 2
    assert len(notes) == 1
    assert "/audio/SiteA/visit 1" in notes[0]
    assert "/audio/SiteB/visit 1" in notes[0]
    apart = [Row(row.seen, "visit 1", start, start + 60) for row, start in zip(rows, [0.0, 60, 120, 180], strict=True)]
    assert name_recorders(files, apart) == (["visit 1"] * 4, [])


@pytest.mark.parametrize("text", ["", " ", "0", "0000", "unknown", "N/A", "-", "??"])
def test_placeholders_are_no_serials(text: str) -> None:
    assert usable_serial(text) == ""


def test_words_that_users_set_are_no_serials() -> None:
    for word in ("SwiftOne", "NORTH", "123", "site4", "SMM215", "DM420082", "2021", "S4A", "UHH_001_S01"):
        assert serial_in_name(word, "") == ""
    for serial in ("S4A03895", "SMU00123", "SM304290", "2MU01234", "24A04F085FDF2793"):
        assert serial_in_name(serial, "") == serial
    assert serial_in_name("00008570", "FL") == "00008570"


def test_serials_that_contradict() -> None:
    assert contradicts("S4A03895", "S4A03896")
    assert contradicts("24A04F085FDF2793", "242A2604603691DD")
    assert not contradicts("4862", "00004862")
    assert not contradicts("8537", "24A04F085FDF2793")
    assert not contradicts("", "S4A03896")


FILES = st.lists(
    st.builds(
        lambda home, i, serial, word: seen(
            f"/audio/{home}/{word}{20210601 + i}_050000.wav", serial, f"{home}{i}{word}"
        ),
        st.sampled_from(["A", "B", "P1/A", "P2/A", "P1/B", "S1", "P1/A/20210622", "P1_A"]),
        st.integers(0, 9),
        st.sampled_from(["", "", "S4A00001", "S4A00002", "24A04F085FDF2793"]),
        st.sampled_from(["", "N_", "A_", "S4A00003_"]),
    ),
    unique_by=lambda file: file.path,
    min_size=1,
    max_size=12,
)


@given(FILES, st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_the_order_of_files_is_of_no_account(files: list[Seen], random: Random) -> None:
    shuffled = files.copy()
    random.shuffle(shuffled)
    names = dict(zip(files, recorders(files), strict=True))
    assert dict(zip(shuffled, recorders(shuffled), strict=True)) == names


@given(FILES, FILES, st.booleans())
@settings(max_examples=300)
def test_growth_renames_nothing_and_serials_stay_apart(first: list[Seen], more: list[Seen], are_kept: bool) -> None:
    before = recorders(first)
    serial_of: dict[str, set[str]] = {}
    for file, name in zip(first, before, strict=True):
        serial_of.setdefault(name, set()).update({file.serial} - {""})
    rows = [
        Row(Seen(file.path, file.home, next(iter(serial_of[name]), ""), file.word, file.sha256), name)
        for file, name in zip(first, before, strict=True)
    ]
    known = {file.path for file in first}
    grown = [*(first if are_kept else []), *(file for file in more if file.path not in known)]
    after = recorders(grown, rows)
    if are_kept:
        assert after[: len(first)] == before
    for files, names in ((first, before), (grown, after)):
        serials: dict[str, set[str]] = {}
        named: dict[str, set[str]] = {}
        homes: dict[str, set[PurePath]] = {}
        for file, name in zip(files, names, strict=True):
            if file.serial:
                serials.setdefault(name, set()).add(file.serial)
                named.setdefault(file.serial, set()).add(name)
            else:
                homes.setdefault(name, set()).add(file.home)
        assert all(len(own) == 1 for own in serials.values()), "two serials share a name"
        assert all(len(own) == 1 for own in named.values()), "one serial has two names"
        assert all(len(own) == 1 for name, own in homes.items() if name not in serials), "two folders share a name"
