import pytest

from anymask.primitives.errors import ConfigError, DataError
from anymask.primitives.notation import parse_json, parse_text, parse_toml


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a": ', "Expecting value"),
        (b'["\xff"]', "not text in UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "limit"),
    ],
)
def test_whatever_is_wrong_with_json_is_one_error(data: bytes, why: str) -> None:
    with pytest.raises(DataError, match=rf"^a\.json: not JSON \(.*{why}.*\); is the file complete"):
        parse_json(data, "a.json")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"a = ", "Invalid value"),
        (b'a = "\xff"', "not text in UTF-8"),
        (b"a = " + b"[" * 3000, "nested too deeply"),
        (b"a = " + b"9" * 5000, "limit"),
        (b"a = 1979-13-40", ""),
    ],
)
def test_whatever_is_wrong_with_toml_is_one_error(data: bytes, why: str) -> None:
    with pytest.raises(ConfigError, match=rf"^a\.toml: not TOML \(.*{why}"):
        parse_toml(data, "a.toml")


def test_text_loses_its_byte_order_mark_and_names_the_byte_that_is_none() -> None:
    assert parse_text(b"\xef\xbb\xbfa", "a.txt") == "a"
    with pytest.raises(DataError, match=r"^a\.txt: not text in UTF-8 \(.* at byte 1\); save it"):
        parse_text(b"a\xff", "a.txt")
