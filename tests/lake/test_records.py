import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import StoreError, StoreFormatError
from lake.records import check, checksum, seal, unseal

VALUES: list[dict[str, Any]] = [
    {},
    {"a": 1},
    {"b": [1, 2.5, None], "a": {"checksum": "x", "format": 1}, "ä": "}\n\t"},
    {"checksums": "0123456789abcdef", "formats": 2},
]


@pytest.mark.parametrize("indent", [None, 1, 2])
@pytest.mark.parametrize("value", VALUES)
def test_a_record_comes_back_and_is_plain_json(value: dict[str, Any], indent: int | None) -> None:
    data = seal(value, indent=indent)
    assert unseal(data, "x") == value
    plain = json.loads(data)
    assert [*plain][:1] == ["format"]
    assert [*plain][-1:] == ["checksum"]
    assert data.endswith(b"}\n")
    assert (data.count(b"\n") == 1) == (indent is None)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("value", VALUES)
def test_every_flipped_bit_is_noticed_or_changes_nothing(value: dict[str, Any], indent: int | None) -> None:
    data = seal(value, indent=indent)
    for i in range(len(data)):
        for bit in range(8):
            other = data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :]
            try:
                found = unseal(other, "the/file")
            except StoreError as error:
                assert str(error).startswith("the/file: the record is damaged: expected ")  # noqa: PT017
                continue
            assert found == value


@pytest.mark.parametrize("indent", [None, 2])
def test_every_shorter_record_is_noticed(indent: int | None) -> None:
    data = seal(VALUES[2], indent=indent)
    for n in range(len(data.rstrip())):
        with pytest.raises(StoreError, match="the record is damaged"):
            unseal(data[:n], "x")


@given(st.binary(max_size=200))
def test_garbage_is_refused_by_name(data: bytes) -> None:
    try:
        value = unseal(data, "the/file")
    except (StoreError, StoreFormatError) as error:
        assert str(error).startswith("the/file: ")  # noqa: PT017
    else:
        assert isinstance(value, dict)


@pytest.mark.parametrize("data", [b"[1]", b"null", b'"text"', b"3", b"[" * 100_000, b"\xff\xfe{}", b"\0" * 100])
def test_what_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(StoreError, match="the record is damaged: expected a JSON"):
        unseal(data, "x")


def test_a_record_of_format_1_is_read() -> None:
    value = {"job": "embed", "files": {"checksum": "x"}}
    assert unseal(json.dumps(value, indent=2, sort_keys=True).encode() + b"\n", "x") == value


def test_a_newer_format_is_refused_by_name() -> None:
    with pytest.raises(StoreFormatError, match="x: its format is version 3"):
        check(b'{"format":3,"a":1,"seal":"elsewhere"}', "x")
    body = b'{"format":3,"a":1'
    with pytest.raises(StoreFormatError, match="x: its format is version 3"):
        check(body + b',"checksum":"' + checksum(body).encode() + b'"}', "x")


@pytest.mark.parametrize("key", ["format", "checksum"])
def test_reserved_keys_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"no key '{key}'"):
        seal({key: 1})
