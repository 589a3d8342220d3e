import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.base import (
    MAX_DEPTH,
    ConfigError,
    DataError,
    json_depth_bound,
    parse_json,
    parse_text,
    parse_toml,
)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a": ', "line 1, column 7"),
        (b'["\xff"]', "invalid UTF-8 at byte 2"),
        (b"[" + b"9" * 5000 + b"]", "too many digits"),
    ],
)
def test_whatever_is_wrong_with_json_is_one_error(data: bytes, why: str) -> None:
    with pytest.raises(DataError, match=rf"^a\.json: Not valid JSON \(.*{why}.*\)\. Check that"):
        parse_json(data, "a.json")


def test_json_may_be_as_deep_as_any_format_and_no_deeper() -> None:
    for open_, shut in (("[", "]"), ('{"a":', "}")):
        whole = open_ * MAX_DEPTH + "0" + shut * MAX_DEPTH
        assert parse_json(whole, "a.json") == json.loads(whole)
        for data in (open_ + whole + shut, open_ * 100_000, (open_ * 100_000).encode("utf-16")):
            with pytest.raises(DataError, match=r"^a\.json: JSON is nested \d+ levels deep"):
                parse_json(data, "a.json")
    wide = [[]] * 10 * MAX_DEPTH
    assert parse_json(json.dumps(wide), "a.json") == wide


JSON = st.recursive(
    st.none() | st.integers() | st.text('[]{}"\\ä\n', max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('"]\\', max_size=2), inner),
    max_leaves=8,
)


def depth_of(value: Any) -> int:
    """As the definition says it: a list or an object is one deeper than what it holds."""
    if not isinstance(value, list | dict):
        return 0
    inside = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth_of, inside), default=0)


@given(JSON, st.booleans())
def test_brackets_in_strings_are_no_depth(value: Any, plain: bool) -> None:
    pad = [0, *[[]] * MAX_DEPTH]  # or the brackets would only be counted
    assert json_depth_bound(json.dumps([pad, value], ensure_ascii=plain)) == 1 + max(
        2, depth_of(value)
    )


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"a = ", "incomplete"),
        (b'a = "\xff"', "invalid UTF-8"),
        (b"a = " + b"[" * 3000, "nested too deeply"),
        (b"a = " + b"9" * 5000, "too many digits"),
        (b"a = 1979-13-40", ""),
    ],
)
def test_whatever_is_wrong_with_toml_is_one_error(data: bytes, why: str) -> None:
    with pytest.raises(ConfigError, match=rf"^a\.toml: Not valid TOML \(.*{why}"):
        parse_toml(data, "a.toml")


def test_text_loses_its_byte_order_mark_and_names_the_byte_that_is_none() -> None:
    assert parse_text(b"\xef\xbb\xbfa", "a.txt") == "a"
    with pytest.raises(DataError, match=r"^a\.txt: Not valid UTF-8 \(byte 1\). Save it"):
        parse_text(b"a\xff", "a.txt")
