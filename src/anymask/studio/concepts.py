"""Concepts of a project: phrases queried in its images, hard negatives, and their review.

After the data engine of SAM 3 (Carion et al. 2025, section 5), with people as verifiers:

    1. the classes of an image's masks are its phrases
    2. hard negatives are classes of the project and words of the model that are similar to these
       phrases, and have no mask in the image
    3. the second review question, "is it all?": every object of a phrase has a mask (`complete`),
       or some have none (`incomplete`); of a negative, no object is there (`absent`)

Proposals and answers are events; the last answer of a phrase counts. `export` writes absent phrases
and those with missing masks, which `saco` and `coco` store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from sqlalchemy import select

from anymask.base import DataError, InputError, parse_text, read_csv
from anymask.models.rules import NameTable
from anymask.studio.database import reading
from anymask.studio.records import Action, ImageEntry, one_of
from anymask.studio.store import Store
from anymask.studio.tables import EventRow

Answer = Literal["complete", "incomplete", "absent"]
PROPOSED, ANSWERED = "concepts proposed", "concept reviewed"  # kinds of events
NEGATIVES = 3  # hard negatives of an image
SYNONYM_SIMILARITY = 0.95  # similarity from which two words are taken for the same concept


@dataclass(frozen=True)
class Concept:
    """A phrase in an image."""

    image_id: int  # ID of the image
    image: str  # Name of the image
    phrase: str  # Noun phrase
    masks: int  # Number of masks of the phrase that are not rejected; 0 for a negative
    answer: Answer | None  # Answer of the review, or None


def hard_negatives(
    present: Sequence[str], classes: Sequence[str], table: NameTable | None, count: int = NEGATIVES
) -> list[str]:
    """Return the phrases that are most similar to those of an image, and are none of them.

    Classes of the project precede other words of the same similarity. Words that are unknown to the
    model come last; words that mean the same as a phrase of the image are left out.

    Args:
        table: Names of the model; None: only classes of the project.
    """
    pairs = () if table is None else zip(table.words, table.learned, strict=True)
    candidates = dict.fromkeys([*classes, *(word for word, learned in pairs if learned)])
    if not present:
        return []
    rows = {} if table is None else {word: _place(table, word) for word in (*candidates, *present)}
    near: dict[str, float] = {}
    taken = {word.lower() for word in present}
    mine = [row for word in present if (row := rows.get(word)) is not None]
    for word in candidates:
        row = rows.get(word)
        alike = -1.0
        if table is not None and row is not None and mine:
            alike = float((table.vectors[mine] @ table.vectors[row]).max())
        if word.lower() not in taken and row not in mine and alike < SYNONYM_SIMILARITY:
            near[word] = alike
    own = set(classes)
    order = sorted(near, key=lambda word: (-near[word], word not in own))
    return [word for word in order if near[word] > -1 or word in own][:count]


def _place(table: NameTable, phrase: str) -> int | None:
    """Return the row of a phrase in the table of names."""
    from anymask.find import known_spelling

    word = known_spelling(table, phrase)
    return None if word is None else table.also[" ".join(word.lower().split())]


def propose_concepts(
    store: Store, classes: Sequence[str], table: NameTable | None = None, count: int = NEGATIVES
) -> int:
    """Propose hard negatives for every image with labeled masks. Returns their number.

    Raises InputError if the number per image is negative.
    """
    if count < 0:
        raise InputError(f"The number of negatives must be at least 0. Given: {count}.")
    present, known, total = _present(store), _proposed(store), 0
    for image in store.all_images():
        phrases = hard_negatives([*present.get(image.id, {})], classes, table, count)
        if phrases and phrases != known.get(image.id):
            store.add_events(
                image.id, [Action(kind=PROPOSED, detail={"phrases": phrases})], "concepts"
            )
        total += len(phrases)
    return total


def concepts(store: Store) -> Iterator[Concept]:
    """Yield the phrases of every image: those with masks, then the proposed negatives."""
    present, proposed, answers = _present(store), _proposed(store), _answers(store)
    for image in store.all_images():
        counts = present.get(image.id, {})
        verdicts = answers.get(image.id, {})
        for phrase in dict.fromkeys([*counts, *proposed.get(image.id, ()), *verdicts]):
            masks, answer = counts.get(phrase, 0), verdicts.get(phrase)
            stale = answer == ("absent" if masks else "complete")  # masks were added or removed
            yield Concept(image.id, image.name, phrase, masks, None if stale else answer)


def next_concept(store: Store) -> Concept | None:
    """Return the next phrase without an answer, of done images first; None without any."""
    status = {image.id: image.status for image in store.all_images()}
    left = [concept for concept in concepts(store) if concept.answer is None]
    return min(left, key=lambda one: status[one.image_id] != "done", default=None)


def answer_concept(
    store: Store, image_id: int, phrase: str, answer: Answer, who: str, seconds: float = 0.0
) -> Concept:
    """Store whether all objects of a phrase have a mask, or that it is absent.

    Raises:
        NotFoundError: The image does not exist.
        InputError: The answer contradicts the masks of the image.
    """
    concept = _answered(store.image(image_id), phrase, answer, _present(store))
    detail = {"phrase": phrase, "answer": answer}
    store.add_events(image_id, [Action(kind=ANSWERED, seconds=seconds, detail=detail)], who)
    return concept


def _answered(
    image: ImageEntry, phrase: str, answer: Answer, present: Mapping[int, Mapping[str, int]]
) -> Concept:
    """Return an answered concept. Raises InputError if the answer contradicts the masks."""
    one_of("answer", answer, get_args(Answer))
    masks = present.get(image.id, {}).get(phrase, 0)
    if (answer == "absent" and masks) or (answer == "complete" and not masks):
        has = f"{masks} masks" if masks else "no mask"
        raise InputError(
            f"The answer {answer!r} contradicts the masks: {image.name} has {has} of {phrase!r}. "
            f"Use {'complete or incomplete' if masks else 'absent or incomplete'}."
        )
    return Concept(image.id, image.name, phrase, masks, answer)


def import_answers(store: Store, path: Path, who: str) -> None:
    """Store the answers of a CSV file with the columns image, phrase and answer: all or none.

    Raises:
        DataError: The file is invalid.
        InputError: An image is unknown, or an answer contradicts its masks.
    """
    if not path.is_file():
        raise InputError(f"File not found: {str(path)!r}. Check the path.")
    header, *rows = read_csv(parse_text(path.read_bytes(), path), path) or [[]]
    if header != ["image", "phrase", "answer"]:
        raise DataError(f"{path}: Expected the columns image, phrase and answer, got {header}.")
    images, present = {image.name: image for image in store.all_images()}, _present(store)
    answered = list[Concept]()
    for row in rows:
        if len(row) != len(header) or row[0] not in images:
            raise InputError(f"{path}: The project has no image {row[:1]}, or columns are missing.")
        answered.append(_answered(images[row[0]], row[1], cast(Answer, row[2]), present))
    for concept in answered:
        detail = {"phrase": concept.phrase, "answer": concept.answer}
        store.add_events(concept.image_id, [Action(kind=ANSWERED, detail=detail)], who)


def phrase_keys(found: Sequence[Concept]) -> dict[str, dict[str, list[str]]]:
    """Return the keys `absent_phrases`, `partial_phrases` and `complete_phrases` by image name."""
    from anymask.formats import saco

    names = dict(zip(("absent", "incomplete", "complete"), saco.PHRASES, strict=True))
    keys: dict[str, dict[str, list[str]]] = {}
    for concept in found:
        key = names.get(concept.answer or "")
        if key is not None:
            keys.setdefault(concept.image, {}).setdefault(key, []).append(concept.phrase)
    return keys


def _present(store: Store) -> dict[int, dict[str, int]]:
    """Return the number of masks of each label that are not rejected, by image."""
    by_image: dict[int, dict[str, int]] = {}
    for entry in store.records(states=("proposed", "accepted")):
        if entry.label:
            counts = by_image.setdefault(entry.image_id, {})
            counts[entry.label] = counts.get(entry.label, 0) + 1
    return by_image


def _events(store: Store, kind: str) -> list[tuple[int, Mapping[str, object]]]:
    query = select(EventRow.image_id, EventRow.detail).where(EventRow.kind == kind)
    with reading(store.database) as session:
        rows = session.execute(query.order_by(EventRow.id)).all()
    return [(image_id, detail) for image_id, detail in rows if image_id is not None]


def _proposed(store: Store) -> dict[int, list[str]]:
    by_image: dict[int, list[str]] = {}
    for image_id, detail in _events(store, PROPOSED):
        phrases = detail.get("phrases")
        by_image[image_id] = [str(text) for text in phrases] if isinstance(phrases, list) else []
    return by_image


def _answers(store: Store) -> dict[int, dict[str, Answer]]:
    by_image: dict[int, dict[str, Answer]] = {}
    for image_id, detail in _events(store, ANSWERED):
        answer = next((word for word in get_args(Answer) if word == detail.get("answer")), None)
        if answer is not None:
            by_image.setdefault(image_id, {})[str(detail.get("phrase"))] = answer
    return by_image
