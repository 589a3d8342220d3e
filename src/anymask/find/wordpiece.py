"""WordPiece tokenizer for BERT's uncased vocabulary, without dependencies.

Devlin et al., "BERT" (2018), as the tokenizer of its released code (google-research/bert,
Apache-2.0): lower case, accents removed, punctuation and CJK characters split off, then the longest
matching pieces of each word.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

from anymask.base import WeightsError, parse_json

MAX_LETTERS = 100  # longer words are unknown

# Code points of Chinese characters (the released code's list).
_CJK = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


class WordPiece:
    """Tokenizer of one vocabulary.

    Args:
        vocabulary: Token -> id; continuations start with ##.

    Raises WeightsError if BERT's special tokens are missing.
    """

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self.vocabulary = dict(vocabulary)
        missing = [word for word in ("[CLS]", "[SEP]", "[UNK]", ".") if word not in self.vocabulary]
        if missing:
            raise WeightsError(f"No BERT vocabulary: it lacks {', '.join(missing)}. Copy it again.")

    @classmethod
    def read(cls, folder: Path) -> WordPiece:
        """Read vocab.txt or tokenizer.json of a folder. Raises WeightsError, DataError."""
        plain, whole = folder / "vocab.txt", folder / "tokenizer.json"
        if plain.is_file():
            lines = plain.read_text("utf-8").splitlines()
            return cls({token: number for number, token in enumerate(lines)})
        if not whole.is_file():
            raise WeightsError(
                f"{folder} has no vocab.txt or tokenizer.json. Copy one of them into it."
            )
        document = parse_json(whole.read_bytes(), whole)
        model = document.get("model") if isinstance(document, dict) else None
        if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
            raise WeightsError(
                f"{whole} has no WordPiece vocabulary. Use the file of the detector."
            )
        return cls(model["vocab"])

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without [CLS] and [SEP]."""
        return [number for word in split_words(text) for number in self._pieces(word)]

    def _pieces(self, word: str) -> list[int]:
        """Longest pieces from the left, or [UNK] if a part has none."""
        unknown = [self.vocabulary["[UNK]"]]
        if len(word) > MAX_LETTERS:
            return unknown
        numbers, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else f"##{word[start:end]}"
                if piece in self.vocabulary:
                    numbers.append(self.vocabulary[piece])
                    start = end
                    break
            else:
                return unknown
        return numbers


def split_words(text: str) -> Iterator[str]:
    """Words of a text in lower case; punctuation and CJK characters are separate words."""
    word = ""
    for letter in unicodedata.normalize("NFD", text.lower()):
        kind = unicodedata.category(letter)
        if kind == "Mn" or (kind in ("Cc", "Cf") and not letter.isspace()) or letter in "\0\ufffd":
            continue  # an accent, or invisible
        # Punctuation of the released code: all ASCII except letters, digits and spaces
        symbol = "!" <= letter <= "~" and not letter.isalnum()
        ideograph = any(first <= ord(letter) <= last for first, last in _CJK)
        alone = symbol or kind.startswith("P") or ideograph
        if (letter.isspace() or alone) and word:
            yield word
            word = ""
        if alone:
            yield letter
        elif not letter.isspace():
            word += letter
    if word:
        yield word
