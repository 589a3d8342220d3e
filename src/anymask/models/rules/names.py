"""Names and their vectors: vectors of masks and a choice of names in, the likeliest names out.

A name's vector and a mask's agree as far as the name fits the mask. The chance of a name is a
softmax over the names that are chosen and those that were learned: so a list of three words leaves
room for "none of them".

Letters: n masks, N names, D the length of a vector.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from anymask.base import BoolArray, FloatArray, InputError, IntArray

NEAREST = 3  # names that an error offers
LIKENESS = 0.5  # of letters that two names share, from which one is offered (`difflib`)


class LabelSuggestion(NamedTuple):
    """A name for a mask, and how likely it is, 0..1."""

    label: str
    probability: float


@dataclass(frozen=True, eq=False)
class NameTable:
    """All names that a network knows.

    Attributes:
        words: N, those that are met more often first.
        vectors: (N, D) of length 1.
        learned: (N,) names that training pictures showed; the others are known by their words
            alone.
        also: Other spellings of names, and their place.
        scale: Of the agreement of two vectors, to be a logit.
        network: Names the network whose vectors these are.
    """

    words: tuple[str, ...]
    vectors: FloatArray
    learned: BoolArray
    also: Mapping[str, int]
    scale: float
    network: str = ""

    def chosen(
        self, names: Sequence[str] | None, own: Mapping[str, FloatArray] | None = None
    ) -> ChosenNames:
        """The names to choose from: a list, or all that were learned.

        Raises InputError for one that is not known, with the nearest that are.

        Args:
            own: Vectors (D,) of length 1 of names that are known by examples; the learned name
                that is nearest to one may mean the same, and is no rival of it.
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
        chosen = np.array(list(known.values()), np.int64)
        others = np.setdiff1d(np.flatnonzero(self.learned), chosen)
        if len(others):
            rivals = self.vectors[others]
            others = np.delete(
                others, [int((rivals @ own[one]).argmax()) for one in labels if one in own]
            )
        return ChosenNames(tuple(labels), np.stack(vectors), self.scale, self.vectors[others])

    def knows(self, name: str) -> bool:
        """Whether it can be chosen."""
        return plain_word(name) in self.also

    def near(self, name: str) -> list[str]:
        """The names that it may be a slip of: the fewest slips first, then what pictures showed,
        then the more frequent one."""
        word = plain_word(name)
        known = difflib.get_close_matches(word, self.also, max(len(self.also), 1), LIKENESS)

        def unlikeliness(other: str) -> tuple[int, bool, int]:
            place = self.also[other]
            return edit_distance(word, other), not self.learned[place], place

        return sorted(known, key=unlikeliness)[:NEAREST]

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
    """Names to choose from.

    Attributes:
        labels: N, as the user wrote them.
        vectors: (n, D).
        scale: See `NameTable`.
        others: (m, D) of names that are no choice, but may be meant.
    """

    labels: tuple[str, ...]
    vectors: FloatArray
    scale: float
    others: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def suggest(self, vectors: FloatArray, top: int) -> list[list[LabelSuggestion]]:  # (n, D)
        """For each mask the likeliest names, the likeliest first."""
        told = self.scale * vectors @ self.vectors.T
        rivals = [self.scale * vectors @ self.others.T] if self.others.size else []
        powers = np.exp(np.hstack([told, *rivals]) - np.hstack([told, *rivals]).max(1)[:, None])
        chances = powers[:, : len(self.labels)] / powers.sum(1)[:, None]
        order: IntArray = np.argsort(-told, axis=1, kind="stable")[:, :top]
        return [
            [LabelSuggestion(self.labels[n], round(float(row[n]), 4)) for n in places]
            for row, places in zip(chances, order, strict=True)
        ]


def edit_distance(first: str, second: str) -> int:
    """How many letters were added, left out, mistaken, or swapped with the next one."""
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
    """As words are compared: small letters, single spaces."""
    return " ".join(word.replace("_", " ").lower().split())
