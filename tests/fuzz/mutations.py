"""Bytes of a sound file -> bytes of a damaged one: the same for the same seed, on every machine.

Nothing here is clever on purpose: bits, cuts, copies and the values that readers stumble over.
"""

import random
import zlib

INTERESTING = (
    b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00",
    b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\xfe\xff", b"\xef\xbb\xbf",
)  # fmt: skip
WORDS = (
    b"null", b"-1", b"1e999", b"NaN", b"0", b"[]", b"{}", b'""', b'"\\ud800"', b"true", b"[[]]",
    b"9" * 5000, b"9" * 400, b"-0.5", b"1e308", b"9223372036854775808", b'"\\u0000"', b"[1]",
    b'{"a":1}', b"4611686018427387904", b"[" * 3000, b"\xff\xfe", b"1979-13-40", b"1,2", b"65536",
)  # fmt: skip


def mutate(data: bytes, seed: int, text: bool) -> bytes:
    """One damaged version; of a text, values and lines are replaced more often than bits."""
    rng = random.Random(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        change = rng.choice((_word, _word, _word, _line, *_BYTES) if text else _BYTES)
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


_BYTES = (_bit, _bit, _value, _cut, _remove, _repeat)


def _word(data: bytes, rng: random.Random) -> bytes:
    """Replace what stands between two of the signs that separate values."""
    signs = [place for place, sign in enumerate(data) if sign in b':,[]{}=" \n']
    if len(signs) < 2:
        return data
    first = rng.randrange(len(signs) - 1)
    last = min(first + rng.choice((1, 1, 1, 2, 4)), len(signs) - 1)
    return data[: signs[first] + 1] + rng.choice(WORDS) + data[signs[last] :]


def _line(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    if len(lines) < 2:
        return data
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one] = lines[other]
    return b"".join(lines)
