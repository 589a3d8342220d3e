"""Names of masks by similarity of vectors.

The similarity of a name's vector and a mask's vector measures how well the name fits. The
probability of a name is a softmax over the candidate names and the trained ones, so that a mask may
fit none of three candidates.

Letters: n masks, N names, D the length of a vector.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from anymask.base import BoolArray, FloatArray, InputError, IntArray

MAX_SUGGESTIONS = 3  # names suggested in an error
LIKENESS = 0.5  # minimum similarity of the spelling of a suggested name (`difflib`)


class LabelSuggestion(NamedTuple):
    """A name for a mask, and its probability, 0..1."""

    label: str
    probability: float


@dataclass(frozen=True, eq=False)
class NameTable:
    """All names of a name model."""

    words: tuple[str, ...]  # N names, the more frequent ones first
    vectors: FloatArray  # Unit vectors (N, D)
    # Whether a name occurs in the training images (N,); others are known only by text
    learned: BoolArray
    also: Mapping[str, int]  # Other spellings of names, and their index
    scale: float  # Factor from similarity to logit
    network: str = ""  # Identifier of the name model

    def chosen(
        self, names: Sequence[str] | None, own: Mapping[str, FloatArray] | None = None
    ) -> ChosenNames:
        """Resolve candidate names: a list, or all trained names.

        Args:
            names: Candidate names, or None.
            own: Unit vectors (D,) of names defined by examples. The trained name nearest to one may
                have the same meaning, and does not compete with it.

        Raises:
            InputError: A name is unknown. The message has suggestions.
        """
        if names is None:
            places = np.flatnonzero(self.learned)
            return ChosenNames(
                tuple(self.words[n] for n in places), self.vectors[places], self.scale
            )
        labels = list(dict.fromkeys(name.strip() for name in names if name.strip()))
        if not labels:
            raise InputError(
                "The list of names is empty. Pass at least one name, or omit names to use all "
                "known names."
            )
        own = own or {}
        known = {label: self._place(label) for label in labels if label not in own}
        vectors = [own[label] if label in own else self.vectors[known[label]] for label in labels]
        rows = np.array(list(known.values()), np.int64)
        others = np.setdiff1d(np.flatnonzero(self.learned), rows)
        if len(others):
            rivals = self.vectors[others]
            others = np.delete(
                others, [int((rivals @ own[label]).argmax()) for label in labels if label in own]
            )
        return ChosenNames(tuple(labels), np.stack(vectors), self.scale, self.vectors[others])

    def knows(self, name: str) -> bool:
        """Whether the name is known."""
        return plain_word(name) in self.also

    def near(self, name: str) -> list[str]:
        """Similar known names: by edit distance, then trained ones first, then by frequency."""
        word = plain_word(name)
        matches = difflib.get_close_matches(word, self.also, max(len(self.also), 1), LIKENESS)

        def unlikeliness(other: str) -> tuple[int, bool, int]:
            index = self.also[other]
            return edit_distance(word, other), not self.learned[index], index

        return sorted(matches, key=unlikeliness)[:MAX_SUGGESTIONS]

    def _place(self, label: str) -> int:
        if self.knows(label):
            return self.also[plain_word(label)]
        near = self.near(label)
        offered = f"Closest names: {', '.join(near)}" if near else "No similar name is known"
        raise InputError(
            f"Unknown name {label!r}. {offered}. Use one of the {len(self.words)} known names, or "
            "add your own from examples with `anymask names`."
        )


@dataclass(frozen=True, eq=False)
class ChosenNames:
    """Candidate names."""

    labels: tuple[str, ...]  # N names as the user wrote them
    vectors: FloatArray  # Vectors (N, D)
    scale: float  # See `NameTable`
    # Vectors (m, D) of competing names that are not candidates
    others: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def suggest(self, vectors: FloatArray, top: int) -> list[list[LabelSuggestion]]:  # (n, D)
        """Most probable names of each mask, best first."""
        logits = self.scale * vectors @ self.vectors.T
        rivals = [self.scale * vectors @ self.others.T] if self.others.size else []
        powers = np.exp(np.hstack([logits, *rivals]) - np.hstack([logits, *rivals]).max(1)[:, None])
        chances = powers[:, : len(self.labels)] / powers.sum(1)[:, None]
        order: IntArray = np.argsort(-logits, axis=1, kind="stable")[:, :top]
        return [
            [LabelSuggestion(self.labels[n], round(float(row[n]), 4)) for n in places]
            for row, places in zip(chances, order, strict=True)
        ]


def edit_distance(first: str, second: str) -> int:
    """Edit distance with insertions, deletions, substitutions and swaps of neighbours."""
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first):
        earlier, before, row = before, row, [i + 1]
        for j, other in enumerate(second):
            cost = min(before[j + 1] + 1, row[j] + 1, before[j] + (letter != other))
            if i and j and first[i - 1] == other and letter == second[j - 1]:
                cost = min(cost, earlier[j - 1] + 1)
            row.append(cost)
    return row[-1]


def plain_word(word: str) -> str:
    """Normalize a name for comparison: lower case, single spaces."""
    return " ".join(word.replace("_", " ").lower().split())
