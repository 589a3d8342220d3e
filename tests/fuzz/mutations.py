"""Bytes of a sound file -> bytes of a damaged one: the same for the same seed, on every machine.

Bits, cuts, copies and the values that readers stumble over; in JSON, SQLite and packed files also
by their structure, so that what is damaged is not refused for its syntax.
"""

import contextlib
import copy
import gzip
import io
import json
import random
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

INTERESTING = (
    b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00",
    b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\xfe\xff", b"\xef\xbb\xbf",
)  # fmt: skip
WORDS = (
    b"null", b"-1", b"1e999", b"NaN", b"0", b"[]", b"{}", b'""', b'"\\ud800"', b"true", b"[[]]",
    b"9" * 5000, b"9" * 400, b"-0.5", b"1e308", b"9223372036854775808", b'"\\u0000"', b"[1]",
    b'{"a":1}', b"4611686018427387904", b"[" * 3000, b"\xff\xfe", b"1979-13-40", b"1,2", b"65536",
    b"\xc2\xb2", b"../../a", b"a\x00b", b"", b"**", b"1000000000", b"1_0", b"\xd9\xa3", b"inf",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 0.5, 7, 65536, 10**9, 2**31, 2**63, 10**30, 1e308, float("nan"),
    float("inf"), "", "7", "\ud800", "\0", "../../a", "/", "a" * 300, "9" * 5000, [], {}, [[]],
    [1, 2], [None], {"a": 1}, {"size": [10, 20], "counts": [200]}, [1.5, 2, 9, 2, 9, 9],
)  # fmt: skip
CELLS = (
    None, "", "x", -1, 0, 2**62, 1e308, b"\xff\xfe", "[1", "NaN", "9" * 99, "1 1 x", '{"a":1}',
    "[" * 9000, "[]", "{}",
)  # fmt: skip
SEPARATORS = (b':,[]{}=" \n', b'"><\n', b",;|\t\n ")
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
Change = Callable[[bytes, random.Random], bytes]


def mutate(data: bytes, seed: int, text: bool) -> bytes:
    """One damaged version; of a text, values and lines are replaced more often than bits."""
    rng = random.Random(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        change = rng.choice((*_TEXT, *_BYTES) if text else (_inner, *_BYTES))
        data = change(data, rng)
    return data


def seed_of(name: str, number: int) -> int:
    """A seed of its own for each file and number."""
    return zlib.crc32(f"{name} {number}".encode())


def _place(data: bytes, rng: random.Random) -> int:
    """Anywhere, but often near the start, where the headers are."""
    far = len(data) if rng.random() < 0.5 else min(len(data), 256)
    return rng.randrange(far + 1)


def _bit(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return data
    place = min(_place(data, rng), len(data) - 1)
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def _value(data: bytes, rng: random.Random) -> bytes:
    place, value = _place(data, rng), rng.choice(INTERESTING)
    return data[:place] + value + data[place + len(value) :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: _place(data, rng)]


def _remove(data: bytes, rng: random.Random) -> bytes:
    place = _place(data, rng)
    return data[:place] + data[place + rng.randrange(1, 64) :]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    place = _place(data, rng)
    part = data[place : place + rng.randrange(1, 64)]
    return data[:place] + part * rng.randrange(1, 4) + data[place:]


def _word(data: bytes, rng: random.Random) -> bytes:
    """Replace what stands between two of the signs that separate values, or a number."""
    signs = rng.choice(SEPARATORS)
    at, step = [n for n, sign in enumerate(data) if sign in signs], rng.choice((1, 1, 2, 4))
    spans = [(first + 1, last) for first, last in zip(at, at[step:], strict=False)]
    if rng.random() < 0.3:
        spans = [one.span() for one in NUMBER.finditer(data)]
    first, last = rng.choice(spans or [(0, 0)])
    return data[:first] + rng.choice(WORDS) + data[last:]


def _line(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    if len(lines) < 2:
        return data
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one] = lines[other]
    return b"".join(lines)


def _node(data: bytes, rng: random.Random) -> bytes:
    """Change a value of a JSON document, or of one of its lines, or a key."""
    lines = data.split(b"\n")
    at = rng.choice([n for n, line in enumerate(lines) if line.strip()] or [0])
    part = lines[at] if lines[at][:1] in (b"{", b"[") else data
    try:
        holders: list[Any] = [[json.loads(part)]]
    except (ValueError, RecursionError):
        return data
    for one in holders:
        values = one.values() if isinstance(one, dict) else one
        holders += [value for value in values if isinstance(value, dict | list) and value]
    holder, other = rng.choice(holders), rng.choice(holders)
    key, source = rng.choice([*_keys(holder)]), rng.choice([*_keys(other)])
    kind = rng.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        holder[key] = copy.deepcopy(other[source])
    elif kind == 2 and isinstance(holder, list):
        holder *= rng.choice((0, 2, 100))
    elif kind == 2:  # the same key twice
        holder[f"{rng.choice([*holder])}\0twice"] = copy.deepcopy(other[source])
    else:
        holder[key] = rng.choice(VALUES)
    changed = json.dumps(holders[0][0] if holders[0] else None).replace("\\u0000twice", "").encode()
    return b"\n".join([*lines[:at], changed, *lines[at + 1 :]]) if part is not data else changed


def _keys(holder: Any) -> Any:
    return holder if isinstance(holder, dict) else range(len(holder))


def _inner(data: bytes, rng: random.Random) -> bytes:
    """Damage what a zip, a gzip file or a database contains, or a header of text."""
    with contextlib.suppress(Exception):
        if data.startswith(b"PK"):
            return _member(data, rng)
        if data.startswith(b"\x1f\x8b"):
            return gzip.compress(rng.choice(_BYTES)(gzip.decompress(data), rng), 1)
        if data.startswith(b"SQLite"):
            return _cell(data, rng)
        if (begin := data.find(b"{")) >= 0:  # .npy, safetensors
            end = data.index(b"}", begin)
            return data[:begin] + _word(data[begin:end], rng) + data[end:]
    return _value(data, rng)


def _member(data: bytes, rng: random.Random) -> bytes:
    out, archive = io.BytesIO(), zipfile.ZipFile(io.BytesIO(data))
    chosen = rng.choice(archive.namelist())
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in archive.namelist():
            inside = archive.read(name)
            packed.writestr(
                name, rng.choice((_inner, *_BYTES))(inside, rng) if name == chosen else inside
            )
    return out.getvalue()


def _cell(data: bytes, rng: random.Random) -> bytes:
    base = sqlite3.connect(":memory:", isolation_level=None)
    base.deserialize(data)
    names = "select name from sqlite_master where type = ? and name not like 'sqlite%'"
    for (trigger,) in base.execute(names, ("trigger",)).fetchall():
        base.execute(f"drop trigger {trigger}")
    table = rng.choice([name for (name,) in base.execute(names, ("table",))])
    column = rng.choice(base.execute(f"select * from {table}").description)[0]
    base.execute(f"update or ignore {table} set {column} = ?", (rng.choice(CELLS),))
    return base.serialize()


_BYTES: tuple[Change, ...] = (_bit, _bit, _value, _cut, _remove, _repeat)
_TEXT: tuple[Change, ...] = (_word, _word, _word, _node, _node, _node, _node, _line)
