from pathlib import PurePosixPath

import pytest

from jobs.catalog.zones import Place, choose_zones, parsed_zones
from lake.errors import InputError

FOLDERS = [
    PurePosixPath("/audio/set1/00023764/20210622_STUDY"),
    PurePosixPath("/audio/set2/00004862/20210721_STUDY"),
    PurePosixPath("/audio/set2/00004879"),
    PurePosixPath("/audio/flat"),
]
RECORDERS = ["00023764", "00004862", "00004879", "S4A03895"]


def names(zones: dict[str, str]) -> list[str]:
    return [str(zone) for zone in choose_zones(parsed_zones(zones), list(map(Place, FOLDERS, RECORDERS)))]


def test_no_zones() -> None:
    assert names({}) == ["None"] * 4


def test_the_empty_key_takes_all() -> None:
    assert names({"": "America/Chicago"}) == ["America/Chicago"] * 4
    assert names({".": "America/Chicago"}) == ["America/Chicago"] * 4


@pytest.mark.parametrize("key", ["set2", "set2/", "./set2", "audio/set2", "/audio/set2"])
def test_a_folder_takes_what_is_below_it(key: str) -> None:
    assert names({key: "Asia/Tokyo"}) == ["None", "Asia/Tokyo", "Asia/Tokyo", "None"]


def test_the_deepest_folder_wins_and_a_recorder_over_folders() -> None:
    zones = {"": "UTC", "audio": "Asia/Tokyo", "set2": "Asia/Seoul", "00004862": "Asia/Dili", "S4A03895": "Asia/Dhaka"}
    assert names(zones) == ["Asia/Tokyo", "Asia/Dili", "Asia/Seoul", "Asia/Dhaka"]
    assert names({"00023764": "Asia/Dili", "00023764/20210622_STUDY": "UTC"})[0] == "Asia/Dili"
    assert names({"audio/set1": "Asia/Dili", "set1": "UTC"})[0] == "Asia/Dili"


def test_parts_of_names_do_not_match() -> None:
    with pytest.raises(InputError):
        names({"set": "UTC"})


@pytest.mark.parametrize(
    ("zone", "hint"),
    [
        ("America/Chicgo", "America/Chicago"), ("america/chicago", "America/Chicago"), ("Chicago", "America/Chicago"),
        ("America/New York", "America/New_York"), ("", "for example America/Chicago"),
        ("??", "for example America/Chicago"),
        ("../UTC", "UTC"),
    ],
)  # fmt: skip
def test_an_unknown_zone_is_answered_with_near_names(zone: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        parsed_zones({"": zone})
    assert str(caught.value).startswith(f"zone {zone!r} is unknown: expected an IANA name (")
    assert hint in str(caught.value)


def test_all_unknown_zones_are_named() -> None:
    with pytest.raises(InputError, match=r"zone 'A/B' is unknown(?s:.*)zone 'C/D' is unknown"):
        parsed_zones({"x": "A/B", "y": "UTC", "z": "C/D"})


def test_a_key_that_names_nothing_is_answered_with_near_names() -> None:
    with pytest.raises(InputError) as caught:
        names({"00023765": "UTC", "": "UTC", "elsewhere": "UTC"})
    first, second = str(caught.value).splitlines()
    assert first.startswith("--zone 00023765=…: no recording is in a folder of that name; found 00023764")
    assert second == (
        "--zone elsewhere=…: no recording is in a folder of that name; "
        "found 00004862, 00004879, 00023764, 20210622_STUDY, 20210721_STUDY, S4A03895, flat."
    )


def test_a_key_that_names_nothing_among_many() -> None:
    folders = [PurePosixPath(f"/audio/site-{i:02d}") for i in range(30)]
    with pytest.raises(InputError, match=r"found site-00, .*, site-09 and 20 more"):
        choose_zones(parsed_zones({"zzz": "UTC"}), [Place(folder, folder.name) for folder in folders])


def test_both_forms_of_a_name_are_one_and_a_serial_names_its_recorder() -> None:
    places = [
        Place(PurePosixPath("/audio/Fore\u0302t"), "Forêt", "24A04F085FDF2793"),
        Place(PurePosixPath("/audio/B"), "B"),
    ]
    for key in ("Forêt", "Fore\u0302t", "audio/Forêt", "24A04F085FDF2793"):
        assert [str(zone) for zone in choose_zones(parsed_zones({key: "Asia/Dili"}), places)] == ["Asia/Dili", "None"]
    with pytest.raises(InputError, match="found Forêt"):
        choose_zones(parsed_zones({"forêt ": "UTC"}), places)
