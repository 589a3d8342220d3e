"""JSON from strangers becomes values that every file can hold."""

from anymask.base import parse_json


def test_halves_of_characters_become_the_sign_for_what_is_unknown() -> None:
    text = rb'{"\ud800": ["a\udfffb", "\ud83d\ude00", "\\ud800", 1]}'
    assert parse_json(text, "it") == {"\ufffd": ["a\ufffdb", "\U0001f600", "\\ud800", 1]}
    assert parse_json(b'"\xed\xa0\x80"', "it") in ("\ufffd", "\ufffd" * 3)
