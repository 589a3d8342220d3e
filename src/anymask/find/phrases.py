"""Parse text prompts into phrases and labels.

A phrase and its label may differ: `{"shipping container": "container"}` detects the key and assigns
the value as label. In text, write `shipping container = container`; `helmet @ 0.4` sets the
threshold of a phrase. Phrases are separated by any of , ; | . and line breaks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anymask.base import DataError, InputError, parse_json

MAX_CHARACTERS = 200  # of a phrase
MAX_PHRASES = 2000

_BETWEEN = re.compile(r"[,;|\r\n]|\.(?!\d)")  # not in 0.4
_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)

Phrases = str | Path | Sequence[str] | Mapping[str, str]


@dataclass(frozen=True)
class Phrase:
    """One phrase to detect."""

    prompt: str  # Text for the detector
    label: str  # Label of matching objects
    threshold: float | None = None  # Minimum score, 0..1, or None for that of the detector


def read_phrases(
    words: Phrases, score: float | Mapping[str, float] | None = None
) -> tuple[Phrase, ...]:
    """Parse text prompts into distinct phrases, in order.

    Args:
        words: A text ("helmet, red cup"), a list (unchanged), a dict from phrase to label, or the
            path of a file: such a text, or JSON with a list or an object.
        score: Minimum score of all phrases, or a dict from prompt or label to minimum score.

    Raises:
        InputError: The phrases are invalid, too many or too long, or a score is out of range or for
            an unknown phrase.
        DataError: The file is invalid.
    """
    if isinstance(words, Path):
        words = _read_prompt_file(words)
    if isinstance(words, str):
        phrases = [_parse_phrase(part) for part in _BETWEEN.split(words) if part.strip()]
    elif isinstance(words, Mapping):
        phrases = [Phrase(_plain(prompt), _plain(label)) for prompt, label in words.items()]
    elif isinstance(words, list | tuple):
        phrases = [Phrase(_plain(word), _plain(word)) for word in words]
    else:
        raise InputError(
            f"Invalid text prompt of type {type(words).__name__}. Pass a string, a list of "
            'phrases or a dict from phrase to label, for example ["helmet", "red cup"].'
        )
    by_prompt: dict[str, Phrase] = {}
    for phrase in phrases:
        by_prompt.setdefault(phrase.prompt.lower(), phrase)
    if not by_prompt:
        raise InputError(
            'The text prompt is empty. Pass at least one phrase, for example "helmet, red cup".'
        )
    if len(by_prompt) > MAX_PHRASES:
        raise InputError(
            f"At most {MAX_PHRASES} phrases are supported, but {len(by_prompt)} were given."
        )
    scores = dict(score) if isinstance(score, Mapping) else {}
    for name in scores:
        if not any(name in (phrase.prompt, phrase.label) for phrase in by_prompt.values()):
            prompts = [phrase.prompt for phrase in by_prompt.values()][:10]
            raise InputError(
                f"Score given for {name!r}, which is not in the text prompt. Phrases: "
                f"{', '.join(prompts)}."
            )
    same = None if isinstance(score, Mapping) else score
    chosen = []
    for phrase in by_prompt.values():
        own = scores.get(phrase.prompt, scores.get(phrase.label, same))
        least = phrase.threshold if own is None else own
        if least is not None and not 0 <= least <= 1:
            raise InputError(
                f"Invalid score {least!r} for {phrase.prompt!r}. Use a number from 0 to 1."
            )
        chosen.append(Phrase(phrase.prompt, phrase.label, least))
    return tuple(chosen)


def _parse_phrase(text: str) -> Phrase:
    """Parse `prompt [= label] [@ threshold]`. Raises InputError."""
    text, at, threshold = text.partition("@")
    prompt, _, label = text.partition("=")
    try:
        least = float(threshold) if at else None
    except ValueError:
        raise InputError(
            f"Invalid threshold {threshold!r} after @. Use a number from 0 to 1."
        ) from None
    return Phrase(_plain(prompt), _plain(label) if label.strip() else _plain(prompt), least)


def _plain(word: object) -> str:
    """Normalize the spaces of a phrase. Raises InputError if it is invalid."""
    if not isinstance(word, str) or not word.strip():
        raise InputError(f"Invalid phrase or label {word!r}. Use at least one word.")
    plain = " ".join(word.split())
    if len(plain) > MAX_CHARACTERS:
        raise InputError(
            f"A phrase has at most {MAX_CHARACTERS} characters. Shorten {plain[:40]!r}."
        )
    return plain


def _read_prompt_file(path: Path) -> Any:
    """Return the JSON value in a file, or its text without comments.

    Raises InputError if it is missing, DataError if it is invalid.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"Cannot read the phrases file {str(path)!r}. Check the path and its permissions."
        ) from error
    if path.suffix.lower() == ".json":
        return parse_json(data, path)
    try:
        return _COMMENT.sub("", data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not valid UTF-8. Re-save it as UTF-8.") from error
