"""The report of a fine-tuning as one HTML page: figures before and after, curve, worst cases.

A distillation's report (`distil_report`) is made of the same parts.

Pictures that a run does not learn from.

Which ones are held out depends on their names alone. A picture's key is SET/NAME in a folder of
sets, and SHARD/NUMBER in a folder of shards.

The report of a distillation.

On held-out pictures with masks: how well these are answered. On pictures without: how far the
student agrees with its teacher about the same clicks and boxes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from anymask.base import InputError, parse_json, write_json, write_whole
from anymask.evaluation import (
    Points,
    curve_plot,
    html_page,
    html_table,
    jpeg_bytes,
    note,
    picture_tag,
    section,
    tight_box,
)
from anymask.formats import AnnotatedImage
from anymask.images import shown_picture
from anymask.masks import (
    Prompt,
    centre_click,
    contours,
    iou,
    mask_to_rle,
    rle_to_mask,
    rle_to_string,
    string_to_rle,
)
from anymask.training.held_out import Measured, evenly, measure, measure_boxes, model_of
from anymask.training.recipe import Recipe
from anymask.training.samples import key_of, training_sets
from anymask.training.shards import ShardPictures, index_shards, is_sharded
from anymask.training.tuned_weights import starting_module

if TYPE_CHECKING:
    from anymask.base import BoolArray, Floats
    from anymask.segment import Model
    from anymask.training.held_out import Measured, TuningOutcome
    from anymask.training.tuning_data import DataReport


WORST = 8
ROOM = 24  # pixels around a mask
TRUTH, ANSWER = (40, 200, 80), (240, 60, 180)


def write_page(
    path: Path,
    model: Model,
    held: Sequence[AnnotatedImage],
    outcome: TuningOutcome,
    report: DataReport,
    recipe: Recipe,
    kinds: Mapping[str, float | None],
) -> None:
    """Write the page.

    outcome  before and after, on the held-out photos
    kinds    IoU of each class that was learned
    """
    from anymask.training.tuning_data import own_names

    before, after = outcome.before, outcome.trained
    names = own_names(path.parent / "data")
    cases = [replace(one, name=names.get(one.name, one.name)) for one in worst(held, outcome.kept)]
    counts = [f"{n} click{'s' if n > 1 else ''}" for n in range(1, after.ious.shape[1] + 1)]
    table = gain_table("mean IoU of held-out masks", counts, before.means(), after.means())
    parts = [
        section(
            "Before and after",
            table,
            *(note(line) for line in (outcome.verdict(),) if line),
            note(f"{len(after.places)} masks of {len(held)} photos"),
        ),
        *([section("Classes", _classes(kinds))] if kinds else []),
        section(
            "While it learned", curve(path.parent, "held_out", "held out, mean over the clicks")
        ),
        section("Worst answers to one click", shots(model, held, cases)),
        section("Data", *(note(line) for line in report.lines())),
    ]
    stage = recipe.stages[0]
    about = f"{recipe.model}, learn = {recipe.learn}, {stage.steps} steps at {stage.side} pixels"
    write_whole(path, html_page("Fine-tuning", about, parts))


def _classes(kinds: Mapping[str, float | None]) -> str:
    """IoU of each class over all held-out pixels."""
    rows = [[name, "-" if iou is None else f"{iou:.3f}"] for name, iou in kinds.items()]
    return html_table(["class", "IoU of held-out pixels"], rows, [1])


def gain_table(
    what: str, columns: Sequence[str], before: Sequence[float], after: Sequence[float]
) -> str:
    """Figures before and after, and their difference, one column each."""
    rows = [
        ["before", *(f"{value:.3f}" for value in before)],
        ["after", *(f"{value:.3f}" for value in after)],
        ["gain", *(f"{b - a:+.3f}" for a, b in zip(before, after, strict=True))],
    ]
    return html_table([what, *columns], rows, [1])


def curve(folder: Path, key: str, name: str) -> str:
    """A figure over the steps, as the run's log has it under `key`.

    Steps that were learned again, as the run was killed after them, are shown once.
    """
    path = folder / "log.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    told = (row for row in (parse_json(line, path) for line in lines) if key in row)
    by_step = {int(row["step"]): row for row in told}
    rows = [by_step[step] for step in sorted(by_step)]
    if len(rows) < 2:
        return note("too short a run for a curve")
    steps, scores = (np.array([float(row[one]) for row in rows]) for one in ("step", key))
    return curve_plot([Points(name, steps, scores)], "steps")


@dataclass(frozen=True)
class ShownCase:
    """An answer that the page shows: the photo's number, what is asked, the truth, the IoU.

    name   of the photo
    which  of its masks; "": it is asked about a place
    """

    photo: int
    prompt: Prompt
    truth: BoolArray
    iou: float
    name: str
    which: str = ""


def worst(held: Sequence[AnnotatedImage], after: Measured) -> list[ShownCase]:
    """The lowest masks by one click, one a photo."""
    cases = []
    for place in lowest_of_each([photo for photo, _ in after.places], after.ious[:, 0]):
        photo, mask = after.places[place]
        truth = rle_to_mask(held[photo].rles[mask])
        prompt, value = Prompt.of(points=[centre_click(truth)]), float(after.ious[place, 0])
        cases.append(ShownCase(photo, prompt, truth, value, held[photo].name, f"mask {mask}"))
    return cases


def lowest_of_each(photos: Sequence[int], ious: Floats) -> list[int]:
    """The place of the lowest IoU of each photo, the lowest ones first, `WORST` at most."""
    chosen: dict[int, int] = {}
    for place in np.argsort(ious, kind="stable"):
        chosen.setdefault(photos[place], int(place))
    return list(chosen.values())[:WORST]


def shots(model: Model, held: Sequence[AnnotatedImage], cases: Sequence[ShownCase]) -> str:
    """Pictures of answers: truth in green, answer in pink."""
    made = []
    for case in cases:
        told = f"{case.name}, {case.which}" if case.which else case.name
        name = f"{told}: IoU {case.iou:.2f}"
        tag = picture_tag(_shot(model, held[case.photo], case), name)
        made.append(f"<figure>{tag}<figcaption class='note'>{escape(name)}</figcaption></figure>")
    return f'<div class="shots">{"".join(made)}</div>'


def _shot(model: Model, photo: AnnotatedImage, case: ShownCase) -> bytes:
    """The photo around a mask with both outlines, as a JPEG."""
    mix = model.spec.channels
    picture = photo.picture(mix)
    (answer,) = model.segment(model.encode(picture), prompts=[case.prompt])
    both = np.stack([case.truth, answer.masks[0]])
    drawn = contours(shown_picture(picture, mix), both, palette=[TRUTH, ANSWER])
    x0, y0, x1, y1 = (int(value) for value in tight_box(case.truth))
    room = ROOM + max(x1 - x0, y1 - y0) // 2
    return jpeg_bytes(drawn[max(0, y0 - room) : y1 + room, max(0, x0 - room) : x1 + room])


SHARE = 0.2  # of the pictures
MOST = 50  # pictures of large data


def choose_held(keys: Iterable[str], count: int | None = None) -> tuple[str, ...]:
    """So many pictures, if one at least is left; none where there are fewer than two.

    count  None: a fifth of them, `MOST` at most
    """
    known = sorted(set(keys), key=lambda key: hashlib.sha256(key.encode()).digest())
    wanted = min(MOST, max(1, round(SHARE * len(known)))) if count is None else count
    return tuple(known[: min(wanted, len(known) - 1)]) if len(known) > 1 else ()


def known_keys(recipe: Recipe, data: Path, index: Path) -> list[str]:
    """The keys of all pictures that a recipe learns from. Raises ConfigError, DataError.

    index  the run's folder; of shards it gets the index
    """
    if not is_sharded(data):
        return [key_of(info, one) for info, some in training_sets(recipe, data) for one in some]
    index.mkdir(parents=True, exist_ok=True)
    index_shards(data, index)
    return ShardPictures.open(data, index, recipe.seed).keys()


def held_pictures(
    recipe: Recipe, data: Path, index: Path, keys: Collection[str]
) -> list[AnnotatedImage]:
    """The pictures of some keys, in the order of the data. Raises ConfigError, DataError."""
    if is_sharded(data):
        index_shards(data, index)
        shards = ShardPictures.open(data, index, recipe.seed)
        return [shards.of_key(key) for key in sorted(keys)]
    sets = training_sets(recipe, data)
    return [one for info, some in sets for one in some if key_of(info, one) in keys]


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
        seen = model.encode(photo.picture(model.spec.channels))
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
    from anymask.evaluation import tight_box

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
        seen = model.encode(photo.picture(model.spec.channels))
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
