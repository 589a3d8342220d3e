"""Words without a detector: the names that a model knows, compared with the masks of everything.

The network of names (docs/explanation/prompts.md) sees the close-up of each mask that `everything`
finds. A mask is taken where the chance of the asked name, among all learned ones, reaches the
threshold: so a word that is not in the photo finds nothing. The names are those of COCO and LVIS
with their synonyms, placed by CLIP's embeddings of their words; whatever else is asked for is an
error that tells the nearest known names, never a guess.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from anymask.base import FloatArray, InputError, UintImage
from anymask.find.phrases import Phrase
from anymask.masks import Mask, rle_area, rle_intersection
from anymask.models.rules import NameTable
from anymask.runtime import MaskNaming, mask_vectors, require

if TYPE_CHECKING:
    from anymask.segment import Model

log = logging.getLogger("anymask.find")

THRESHOLD = 0.15  # of a name's chance; tuned on coco_val, docs/explanation/text-prompts.md
PART = 0.9  # of a mask inside a surer one of the same label: a part of that thing
NEAREST = 5  # names that an error offers


@dataclass(frozen=True, eq=False)
class SeenMasks:
    """The masks of a photo that words choose from, and their vectors (n, D)."""

    records: list[Mask]
    vectors: FloatArray


def see_masks(model: Model, photo: UintImage) -> SeenMasks:
    """What any word may choose from. Raises ModelError for a model without names."""
    records = [*model.everything(photo)]
    return SeenMasks(records, mask_vectors(model.runtime, photo, [one.rle for one in records]))


def find_by_name(
    model: Model, photo: UintImage, phrases: Sequence[Phrase], seen: SeenMasks | None = None
) -> list[Mask]:
    """The masks of everything that are called so.

    seen  of this photo; None: made here

    Raises ModelError for a model without names, InputError for phrases that it does not know.
    """
    table = require(model.runtime, MaskNaming).name_table()
    names = match_names(table, phrases)
    seen = see_masks(model, photo) if seen is None else seen
    if not seen.records:
        return []
    told = table.chosen([*dict.fromkeys(names)]).suggest(seen.vectors, len(names))
    records = []
    for record, suggestions in zip(seen.records, told, strict=True):
        chances = {one.label: one.probability for one in suggestions}
        passed = [
            (chances[name], phrase.label)
            for name, phrase in zip(names, phrases, strict=True)
            if chances[name] >= (THRESHOLD if phrase.threshold is None else phrase.threshold)
        ]
        if not passed:
            continue
        chance, label = max(passed)
        others = [
            (phrase.label, chances[name])
            for name, phrase in zip(names, phrases, strict=True)
            if phrase.label != label
        ]
        records.append(
            replace(
                record,
                label=label,
                score=chance,
                label_probability=chance,
                runner_up=max(others, key=lambda one: one[1], default=None),
            )
        )
    return without_parts(records)


def without_parts(records: Sequence[Mask]) -> list[Mask]:
    """The records, the surest first, without those that lie in a surer one of the same label."""
    kept: list[Mask] = []
    for record in sorted(records, key=lambda one: -one.score):
        same = [one.rle for one in kept if one.label == record.label]
        inside = rle_intersection(same, [record.rle]).max(initial=0) if same else 0
        if inside <= PART * rle_area(record.rle):
            kept.append(record)
    return kept


def check_names(model: Model, phrases: Sequence[Phrase]) -> None:
    """Raises ModelError for a model without names, InputError for phrases that it does not know."""
    match_names(require(model.runtime, MaskNaming).name_table(), phrases)


def match_names(table: NameTable, phrases: Sequence[Phrase]) -> list[str]:
    """For each phrase the name that the table has for it.

    Raises InputError for those that it does not know, all of them at once.
    """
    found = [known_spelling(table, phrase.prompt) for phrase in phrases]
    unknown = [p.prompt for p, name in zip(phrases, found, strict=True) if name is None]
    if unknown:
        told = "; ".join(f"{word!r} (closest: {_offer(table, word)})" for word in unknown[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise InputError(
            f"Unknown names without a detector: {told}{more}. Use some of the {len(table.words)} "
            'known names, an open-vocabulary detector (detector="llmdet_tiny"), or your own '
            "examples (`anymask names`)."
        )
    names = [name for name in found if name is not None]
    rough = [one for one in names if not table.learned[table.also[" ".join(one.lower().split())]]]
    if rough:
        log.warning(
            "Name %s has no training images. Its scores come from the text only and are less "
            "accurate.",
            ", ".join(rough),
        )
    return names


def known_spelling(table: NameTable, phrase: str) -> str | None:
    """The spelling of a phrase that the table knows; None without any."""
    return next((word for word in spellings(phrase) if table.knows(word)), None)


def spellings(phrase: str) -> list[str]:
    """A phrase as it stands, and where it looks like a plural its singulars."""
    word = " ".join(phrase.replace("-", " ").split())
    found = [phrase, word]
    lower = word.lower()
    if lower.endswith("ies"):
        found.append(word[:-3] + "y")
    if lower.endswith("ves"):
        found += [word[:-3] + "f", word[:-3] + "fe"]
    if lower.endswith("es"):
        found.append(word[:-2])
    if lower.endswith("s") and not lower.endswith("ss"):
        found.append(word[:-1])
    if lower in IRREGULAR:
        found.append(IRREGULAR[lower])
    return found


IRREGULAR = {"people": "person", "men": "man", "women": "woman", "children": "child",
             "mice": "mouse", "geese": "goose", "teeth": "tooth"}  # fmt: skip


def _offer(table: NameTable, word: str) -> str:
    """The nearest names: those of its own words first, the last of them before the others."""
    parts = word.lower().split()
    inside = [name for part in reversed(parts) for name in spellings(part) if table.knows(name)]
    near = list(dict.fromkeys([*inside, *table.near(word), *table.near(parts[-1])]))[:NEAREST]
    return ", ".join(near) or "none"
