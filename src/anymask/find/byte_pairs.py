"""CLIP's tokenizer: byte pairs of lower-case text, without dependencies.

Radford et al. 2021 (openai/CLIP, MIT); byte pairs by Sennrich et al. 2016. The vocabulary follows
from the list of merges: 256 bytes, the same at the end of a word, the merges in order, and two
tokens for the start and the end of a text.

Difference: CLIP repairs wrongly decoded text with the package ftfy. Here only its frequent steps
are applied: HTML entities, composed characters (NFC) and straight quotation marks.
"""

from __future__ import annotations

import gzip
import html
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from anymask.base import DataError, IntArray, WeightsError, parse_json

MERGES = 49152 - 256 - 2  # used merges of CLIP's file, which has more
FILES = (
    "merges.txt",
    "tokenizer.json",
    "bpe_simple_vocab_16e6.txt.gz",
    "bpe_simple_vocab_16e6.txt",
)
END_OF_WORD = "</w>"
SHORT_FORMS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
_QUOTES = str.maketrans("‘’‚‛“”„‟", "''''\"\"\"\"")


class BytePairs:
    """Tokenizer of one vocabulary.

    Args:
        merges: Pairs of tokens, the most frequent first.
    """

    def __init__(self, merges: Sequence[tuple[str, str]]) -> None:
        letters = byte_table().values()
        words = [*letters, *(f"{letter}{END_OF_WORD}" for letter in letters)]
        words += ["".join(pair) for pair in merges]
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.numbers = {word: number for number, word in enumerate(words)}
        self.start, self.end = len(words), len(words) + 1
        self._pieces = lru_cache(maxsize=10_000)(self._split)

    @classmethod
    def read(cls, folder: Path) -> BytePairs:
        """Read the merges of a folder (`FILES`). Raises WeightsError, DataError."""
        for name in FILES:
            if (folder / name).is_file():
                path = folder / name
                # Merges of a text file with one pair a line, or of a tokenizer.json
                data = path.read_bytes()
                if path.suffix == ".json":
                    document = parse_json(data, path)
                    model = document.get("model") if isinstance(document, dict) else None
                    rows = model.get("merges") if isinstance(model, dict) else None
                    pairs = [row.split(" ") if isinstance(row, str) else row for row in rows or []]
                else:
                    try:
                        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
                    except (OSError, EOFError, UnicodeDecodeError) as error:
                        raise DataError(f"{path} is corrupted. Copy it again.") from error
                    lines = [
                        line
                        for line in text.split("\n")
                        if not re.match(r'^"?[\w.]*#version', line)
                    ]
                    pairs = [line.split() for line in lines if line.strip()]
                if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
                    raise DataError(f"{path} has lines that are not pairs. Copy it again.")
                merges = [(str(first), str(second)) for first, second in pairs][:MERGES]
                if not merges:
                    raise WeightsError(f"{folder / name} has no byte pairs. Copy it again.")
                return cls(merges)
        raise WeightsError(
            f"{folder} has no vocabulary of CLIP. Copy merges.txt or tokenizer.json into it."
        )

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without start and end."""
        return [number for word in split_text(text) for number in self._pieces(word)]

    def tokens(self, texts: Iterable[str], most: int) -> IntArray:  # -> (B, L)
        """Token ids of texts with start and end, padded with 0 to the longest; at most `most`."""
        rows = [[self.start, *self.encode(text)[: most - 2], self.end] for text in texts]
        table = np.zeros((len(rows), max(map(len, rows), default=0)), np.int64)
        for row, numbers in zip(table, rows, strict=True):
            row[: len(numbers)] = numbers
        return table

    def _split(self, word: str) -> tuple[int, ...]:
        """Merge the bytes of a word, the most frequent pair first."""
        letters = byte_table()
        parts = [letters[byte] for byte in word.encode()]
        parts[-1] += END_OF_WORD
        while len(parts) > 1:
            pairs = list(pairwise(parts))
            best = min(pairs, key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if best not in self.ranks:
                break
            joined: list[str] = []
            while parts:
                two = len(parts) > 1 and (parts[0], parts[1]) == best
                joined.append("".join(parts[: 1 + two]))
                parts = parts[1 + two :]
            parts = joined
        return tuple(self.numbers[part] for part in parts)


def split_text(text: str) -> list[str]:
    """Words, single digits and groups of other characters, in lower case."""
    text = unicodedata.normalize("NFC", html.unescape(html.unescape(text)).translate(_QUOTES))
    words: list[str] = []
    for chunk in text.lower().split():
        start = 0
        while start < len(chunk):
            short = next((form for form in SHORT_FORMS if chunk.startswith(form, start)), None)
            end = start + len(short) if short else start + 1
            kind = _kind(chunk[start])
            if short is None and kind != "N":  # each digit is a word
                while end < len(chunk) and _kind(chunk[end]) == kind:
                    end += 1
            words.append(chunk[start:end])
            start = end
    return words


def _kind(letter: str) -> str:
    """L for letters, N for digits, else ""."""
    kind = unicodedata.category(letter)[0]
    return kind if kind in "LN" else ""


@lru_cache(maxsize=1)
def byte_table() -> dict[int, str]:
    """A printable letter for each byte, in the order of the vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + n) for n, byte in enumerate(others)
    }
