"""The report of a distillation: a student before and after in, figures, a page and JSON out.

On held-out pictures with masks: how well these are answered. On pictures without: how far the
student agrees with its teacher about the same clicks and boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from anymask.cli.finetune_report import (
    ShownCase,
    curve,
    gain_table,
    lowest_of_each,
    shots,
    worst,
)
from anymask.cli.held_out import Measured, evenly, measure, measure_boxes, model_of
from anymask.cli.tuned_weights import starting_module
from anymask.primitives.errors import InputError
from anymask.primitives.masks import iou
from anymask.primitives.notation import parse_json
from anymask.primitives.prompts import Prompt
from anymask.primitives.rle import mask_to_rle, rle_to_mask, rle_to_string, string_to_rle
from anymask.primitives.storage import write_json, write_whole
from anymask.reports.page import html_page, note, section

if TYPE_CHECKING:
    from anymask.data.annotations import AnnotatedImage
    from anymask.predictors.image import Model
    from anymask.primitives.types import BoolArray, Floats
    from anymask.training.recipe import Recipe

BEFORE, RESULT, PAGE = "before.json", "result.json", "report.html"
ASKED_PHOTOS = 24  # that the teacher is asked about: large ones take seconds for a photo
CLICKS_A_PHOTO = 5
Kind = Literal["click", "box"]


@dataclass(frozen=True)
class TeacherMask:
    """What the teacher answered: to a click (x, y) or a box (x0, y0, x1, y1), in image pixels.

    photo  its number among the held-out ones
    rle    COCO's compressed run-lengths
    """

    photo: int
    kind: Kind
    place: tuple[float, ...]
    rle: str

    def prompt(self) -> Prompt:
        """What the student is asked, too."""
        return Prompt.of(box=self.place) if self.kind == "box" else Prompt.of(points=[self.place])

    def mask(self, hw: tuple[int, int]) -> BoolArray:  # -> (H, W)
        """The answer."""
        return rle_to_mask(string_to_rle(self.rle, hw))


@dataclass(frozen=True)
class HeldPart:
    """What a student is measured on.

    keys     of the pictures that are not learned from
    photos   those that are measured
    teacher  its answers where the photos have no masks
    """

    keys: tuple[str, ...]
    photos: list[AnnotatedImage]
    teacher: list[TeacherMask]

    @property
    def against(self) -> str:
        """Whose masks are the measure."""
        return "teacher" if self.teacher else "masks"


Scores = dict[str, "Floats"]  # IoU of each mask, by what was asked: one_click, three_clicks, box


def held_part(
    recipe: Recipe, data: Path, folder: Path, device: str, count: int | None = None
) -> tuple[HeldPart, Scores] | None:
    """The held-out part and the student's figures before, both found once and kept in `folder`.

    count  of the pictures that are held out when a run begins; None: as `choose_held`

    None where nothing is held out: of a single picture, and in runs of earlier versions.
    Raises ConfigError, DataError, InputError, ModelError, WeightsError.
    """
    from anymask.training.checkpoint import newest_state
    from anymask.training.held_pictures import choose_held, held_pictures, known_keys

    path = folder / BEFORE
    if path.is_file():
        return _kept_part(recipe, data, folder)
    keys = choose_held(known_keys(recipe, data, folder), count)
    if not keys or newest_state(folder) is not None:
        return None
    photos = held_pictures(recipe, data, folder, frozenset(keys))
    labelled = [photo for photo in photos if photo.rles]
    teacher = []
    if not labelled:
        photos = evenly(photos, ASKED_PHOTOS)
        teacher = ask_teacher(recipe, photos, device)
        if not teacher:
            return None
    part = HeldPart(keys, labelled or photos, teacher)
    before = score(model_of(starting_module(folder, recipe)), part)[0]
    folder.mkdir(parents=True, exist_ok=True)
    kept = {"keys": keys, "teacher": [asdict(one) for one in teacher]}
    write_json(path, kept | {"before": {word: ious.tolist() for word, ious in before.items()}})
    return part, before


def _kept_part(recipe: Recipe, data: Path, folder: Path) -> tuple[HeldPart, Scores]:
    """As the run's folder says. Raises InputError for other data."""
    from anymask.training.held_pictures import held_pictures

    kept = parse_json((folder / BEFORE).read_bytes(), folder / BEFORE)
    keys = tuple(kept["keys"])
    photos = held_pictures(recipe, data, folder, frozenset(keys))
    if len(photos) < len(keys):
        raise InputError(
            f"{folder} was begun with other data: {len(keys) - len(photos)} of {len(keys)} held-out"
            " pictures are not there any more; repeat the --data it was begun with, or give "
            "another folder: -o FOLDER"
        )
    teacher = [TeacherMask(**one | {"place": tuple(one["place"])}) for one in kept["teacher"]]
    labelled = [photo for photo in photos if photo.rles]
    part = HeldPart(keys, evenly(photos, ASKED_PHOTOS) if teacher else labelled, teacher)
    return part, {word: np.array(ious) for word, ious in kept["before"].items()}


def ask_teacher(recipe: Recipe, photos: Sequence[AnnotatedImage], device: str) -> list[TeacherMask]:
    """What the teacher answers to clicks at random places, and to the boxes of these answers."""
    from anymask import models
    from anymask.training.tasks import Teacher

    model = model_of(Teacher.open(recipe).module, device)
    accepted = set(model.spec.accepts) & set(models.spec(recipe.model).accepts)
    found = []
    for number, photo in enumerate(photos):
        seen = model.embed(photo.picture(model.spec.channels))
        rng = np.random.default_rng([recipe.seed, number])
        height, width = photo.hw
        clicks = (rng.random((CLICKS_A_PHOTO, 2)) * (width, height)).round(1).tolist()
        asked = [TeacherMask(number, "click", tuple(click), "") for click in clicks]
        found += (shown := _answered(model, seen, asked))
        if "box" in accepted:
            boxes = [_box_of(one, photo.hw) for one in shown]
            found += _answered(model, seen, [TeacherMask(number, "box", b, "") for b in boxes])
    return found


def _answered(model: Model, seen: Any, asked: Sequence[TeacherMask]) -> list[TeacherMask]:
    """The questions with the teacher's answers; those without an answer are left out."""
    if not asked:
        return []
    answers = model.segment(seen, prompts=[one.prompt() for one in asked])
    return [
        TeacherMask(one.photo, one.kind, one.place, rle_to_string(mask_to_rle(answer.masks[0])))
        for one, answer in zip(asked, answers, strict=True)
        if answer.masks[0].any()
    ]


def _box_of(one: TeacherMask, hw: tuple[int, int]) -> tuple[float, ...]:
    from anymask.evaluation.protocols import tight_box

    return tuple(float(value) for value in tight_box(one.mask(hw)))


def score(model: Model, part: HeldPart) -> tuple[Scores, Measured | None]:
    """IoU of each mask by what was asked; where the photos have masks, also by each click."""
    if part.teacher:
        return _agreement(model, part), None
    measured = measure(model, part.photos)
    scores: Scores = {"one_click": measured.ious[:, 0]}
    if measured.ious.shape[1] > 2:
        scores["three_clicks"] = measured.ious[:, 2]
    if "box" in model.spec.accepts:
        scores["box"] = measure_boxes(model, part.photos)
    return scores, measured


def _agreement(model: Model, part: HeldPart) -> Scores:
    """IoU of the student's first masks and the teacher's, about the same prompts."""
    scores: dict[str, list[float]] = {}
    for number, photo in enumerate(part.photos):
        seen = model.embed(photo.picture(model.spec.channels))
        for kind, word in (("click", "one_click"), ("box", "box")):
            told = [one for one in part.teacher if (one.photo, one.kind) == (number, kind)]
            if told:
                answers = model.segment(seen, prompts=[one.prompt() for one in told])
                scores.setdefault(word, []).extend(
                    iou(answer.masks[0], one.mask(photo.hw))
                    for answer, one in zip(answers, told, strict=True)
                )
    return {word: np.array(ious) for word, ious in scores.items()}


def means(scores: Scores) -> dict[str, float]:
    """By what was asked."""
    return {word: round(float(ious.mean()), 4) for word, ious in scores.items()}


def in_words(part: HeldPart, scores: Scores) -> str:
    """One line."""
    whose = "with the teacher's masks" if part.teacher else "of held-out masks"
    shown = ", ".join(f"{w.replace('_', ' ')} {value:.3f}" for w, value in means(scores).items())
    return f"mean IoU {whose} on {len(part.photos)} held-out pictures: {shown}"


def write_report(
    folder: Path, recipe: Recipe, model: Model, part: HeldPart, before: Scores
) -> dict[str, Any]:
    """Measure the student that was learned; write page and `result.json`: the figures.

    model  the student's weights, opened again
    """
    after, measured = score(model, part)
    figures = {
        "against": part.against, "held_photos": len(part.photos),
        "masks": len(after["one_click"]), "before": means(before), "after": means(after),
    }  # fmt: skip
    columns = [word.replace("_", " ") for word in before]
    what = "mean IoU with the teacher's masks" if part.teacher else "mean IoU of held-out masks"
    values = [list(means(one).values()) for one in (before, after)]
    told = f"{figures['masks']} masks of {len(part.photos)} pictures that were not learned from"
    cases = _worst_agreed(part, after) if measured is None else worst(part.photos, measured)
    sections = [
        section("Before and after", gain_table(what, columns, *values), note(told)),
        section(
            "While it learned",
            curve(folder, "last_iou", "overlap with what is learned, last prompt"),
        ),
        section("Worst answers to one click", shots(model, part.photos, cases)),
    ]
    teacher = Path(recipe.teacher_weights or recipe.teacher).name
    about = f"{recipe.model} from {teacher}, {recipe.steps} steps at {recipe.stages[0].side} pixels"
    write_whole(folder / PAGE, html_page("Distillation", about, sections))
    print(f"after:  {in_words(part, after)}", flush=True)
    return figures


def _worst_agreed(part: HeldPart, after: Scores) -> list[ShownCase]:
    """The clicks where student and teacher agree the least, one a photo."""
    clicks = [one for one in part.teacher if one.kind == "click"]
    cases = []
    for place in lowest_of_each([one.photo for one in clicks], after["one_click"]):
        one, photo = clicks[place], part.photos[clicks[place].photo]
        value = float(after["one_click"][place])
        cases.append(ShownCase(one.photo, one.prompt(), one.mask(photo.hw), value, photo.name))
    return cases
