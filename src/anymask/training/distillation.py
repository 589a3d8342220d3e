"""Distillation: a teacher and pictures in, a student that answers like it out.

A part of the pictures is held out, chosen by their names alone: a key is SET/NAME in a folder of
sets, SHARD/NUMBER in a folder of shards. Of those with masks it is measured how well they are
answered; of those without, how far the student agrees with its teacher about the same prompts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import numpy as np

from anymask import models
from anymask.base import InputError, json_bytes, parse_json, write_json, write_whole
from anymask.cli import need_torch
from anymask.evaluation import html_page, note, section, tight_box
from anymask.masks import Prompt, iou, mask_to_rle, rle_to_mask, rle_to_string, string_to_rle
from anymask.runtime import channels_of_weights, pick_device
from anymask.training.held_out import evenly, measure, measure_boxes, model_of
from anymask.training.loop import TrainingRun, train
from anymask.training.presets import (
    BRIEF,
    OPTIONS,
    check_results,
    named,
    refuse_other_options,
    with_paths,
)
from anymask.training.recipe import Recipe, RecipeStage
from anymask.training.reports import (
    PAGE,
    RESULT,
    ShownCase,
    curve,
    gain_table,
    lowest_of_each,
    shots,
    worst,
)
from anymask.training.run_folder import (
    TrainingTeller,
    check_one_process,
    is_done,
    licence_with_data,
    newest_state,
    write_bundle,
)
from anymask.training.samples import key_of, training_sets
from anymask.training.shards import ShardPictures, index_shards, is_sharded
from anymask.training.step import Teacher
from anymask.training.trainee import starting_module, trained_module
from anymask.training.weights import WEIGHTS, write_weights

if TYPE_CHECKING:
    from anymask.base import BoolArray, Floats
    from anymask.formats import AnnotatedImage
    from anymask.segment import Model
    from anymask.training.held_out import Measured

BEFORE = "before.json"  # of a run's folder
SHARE, MOST = 0.2, 50  # of the pictures that are held out, and how many at most
ASKED_PHOTOS = 24  # that the teacher is asked about: large ones take seconds for a photo
CLICKS_A_PHOTO = 5


@dataclass(frozen=True, kw_only=True)
class DistilOptions:
    """What a distillation is asked for; `anymask.distil` says what each means."""

    teacher: str
    student: str
    data: Path
    output: Path
    teacher_weights: Path | None = None
    weights: Path | None = None
    pictures: int = 40_000
    side: int | None = None
    held_out: int | None = None
    device: str = "cpu"
    max_minutes: float | None = None
    bundle: Path | None = None
    json: Path | None = None


class DistilSettings(TypedDict, total=False):
    """What `distil` takes besides.

    teacher_weights  a file, in place of those of the store
    weights          of the student, in place of its own
    pictures         to see
    side             of the pictures in pixels, where the student takes any (384)
    held_out         pictures that the report is measured on, and that are not learned from; 0: no
                     report (default: a fifth, 50 at most)
    device           "cpu", "cuda", "cuda:1" or "mps"
    max_minutes      end with a checkpoint after so many minutes
    bundle           a new folder for the student as an ONNX bundle
    json             a file for what result.json says
    """

    teacher_weights: str | Path | None
    weights: str | Path | None
    pictures: int
    side: int | None
    held_out: int | None
    device: str
    max_minutes: float | None
    bundle: str | Path | None
    json: str | Path | None


def distil(
    teacher: str,
    student: str,
    data: str | Path,
    out: str | Path,
    **settings: Unpack[DistilSettings],
) -> Path:
    """Teach a small model what a larger one answers; the same call goes on with the run's folder.

    teacher          a name of `anymask models list`, or a weights.safetensors of a run
    student          as well
    data             a folder of training sets, of tar shards, or of pictures without masks
    out              the run's folder: checkpoints, weights.safetensors, result.json, report.html

    Returns the path of the student's weights, which `anymask.load` takes. After `max_minutes` the
    file is not there yet.

    Raises ConfigError, DataError, InputError, ModelError, WeightsError, MissingExtra.
    """
    need_torch()
    given = with_paths(settings, ("teacher_weights", "weights", "bundle", "json"))
    options = DistilOptions(
        teacher=teacher, student=student, data=Path(data), output=Path(out), **given
    )
    check(options)
    check_one_process("anymask distil")
    recipe, teller, folder = recipe_of_options(options), TrainingTeller(), options.output
    device = str(pick_device(options.device))
    begin(options)
    held = held_part(recipe, options.data, folder, device, options.held_out)
    if held is not None:
        print(f"before: {in_words(*held)}", flush=True)
    elif options.held_out == 0:
        print("no report: no picture is held out")
    else:
        print(
            "no report: nothing can be held out of fewer than two pictures, or of a run that has "
            "learned from all of them"
        )
    sitting = TrainingRun(
        options.data, folder, device=device, max_minutes=options.max_minutes, report=teller.row,
        told=teller.step, held_out=frozenset(() if held is None else held[0].keys),
    )  # fmt: skip
    train(recipe, sitting)
    if is_done(folder, recipe.steps):
        finish(options, recipe, held)
    else:
        print(f"stopped; the checkpoint is in {folder}, the same command goes on from it")
    return folder / WEIGHTS


def check(options: DistilOptions) -> None:
    """Raises InputError for options that cannot be meant."""
    if not options.data.is_dir():
        raise InputError(f"--data {options.data}: wanted a folder of sets, shards or pictures")
    if options.pictures < 1:
        raise InputError(f"--pictures must be at least 1, got {options.pictures}")
    if options.held_out is not None and options.held_out < 0:
        raise InputError(f"--held-out must be at least 0, got {options.held_out}")
    check_results(options.bundle, options.json)


def recipe_of_options(options: DistilOptions) -> Recipe:
    """The recipe of a distillation. Raises InputError, ModelError, WeightsError."""
    student, start = named(options.student, options.weights)
    teacher, weights = named(options.teacher, options.teacher_weights)
    models.spec(teacher)
    for option, file in (("--student", start), ("--teacher", weights)):
        channels = channels_of_weights(Path(file)) if Path(file).is_file() else None
        if channels is not None:
            raise InputError(
                f"{option} {file} was tuned on pictures of {channels.count} channels, and is asked "
                "about photos here; give weights of photos"
            )
    spec = models.spec(student)
    side = options.side or (384 if spec.pad_multiple else spec.image_side)
    images = 4
    steps = max(1, options.pictures // images)
    return Recipe(
        model=student,
        init=start or "shipped",
        task="distil",
        teacher=teacher,
        teacher_weights=weights,
        stages=(RecipeStage(steps=steps, side=side, images=images, masks=6, cool=True),),
        rate=3e-4,
        warmup=max(1, steps // 20),
        synthetic=0.0,
        balanced_steps=1,
        mask_loss="normalised",
        ema=0.998 if steps > 2_000 else 0.95,
        decode_once=not is_sharded(options.data),
        save_every=max(1, steps // 20),
        workers=1 if options.pictures <= BRIEF else 2,
        prepare_ahead=options.pictures > BRIEF,
    )


def begin(options: DistilOptions) -> None:
    """Keep the options that decide what is learned, or compare them with those of the run.

    A run that has learned nothing yet begins anew with others. Raises InputError.
    """
    files = {"--teacher-weights": options.teacher_weights, "--weights": options.weights}
    now: dict[str, Any] = {
        "--teacher": named(options.teacher, None)[1] or options.teacher,  # a file, from any folder
        "--student": named(options.student, None)[1] or options.student,
        "--pictures": options.pictures,
        "--side": options.side,
        **{name: None if path is None else str(path.absolute()) for name, path in files.items()},
        "--held-out": options.held_out,
    }
    if newest_state(options.output) is not None:
        refuse_other_options(options.output, now)
        return
    path = options.output / OPTIONS
    if path.is_file() and path.read_bytes() != json_bytes(now, indent=1):
        (options.output / BEFORE).unlink(missing_ok=True)  # what another teacher said
    write_json(path, now, indent=1)


Scores = dict[str, "Floats"]  # IoU of each mask, by what was asked: one_click, three_clicks, box


@dataclass(frozen=True)
class TeacherMask:
    """What the teacher answered: to a click (x, y) or a box (x0, y0, x1, y1), in image pixels.

    photo  its number among the held-out ones
    rle    COCO's compressed run-lengths
    """

    photo: int
    kind: Literal["click", "box"]
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


def held_part(
    recipe: Recipe, data: Path, folder: Path, device: str, count: int | None = None
) -> tuple[HeldPart, Scores] | None:
    """The held-out part and the student's figures before, both found once and kept in `folder`.

    count  of the pictures that are held out when a run begins; None: as `choose_held`

    None where nothing is held out, as of a single picture.
    Raises ConfigError, DataError, InputError, ModelError, WeightsError.
    """
    path = folder / BEFORE
    kept = parse_json(path.read_bytes(), path) if path.is_file() else None
    keys = tuple(kept["keys"]) if kept else choose_held(known_keys(recipe, data, folder), count)
    if kept is None and (not keys or newest_state(folder) is not None):
        return None
    photos = held_pictures(recipe, data, folder, frozenset(keys))
    if len(photos) < len(keys):
        raise InputError(
            f"{folder} was begun with other data: {len(keys) - len(photos)} of {len(keys)} held-out"
            " pictures are not there any more; repeat the --data it was begun with, or give "
            "another folder: -o FOLDER"
        )
    labelled = [photo for photo in photos if photo.rles]
    if kept is not None:
        teacher = [TeacherMask(**one | {"place": tuple(one["place"])}) for one in kept["teacher"]]
        part = HeldPart(keys, evenly(photos, ASKED_PHOTOS) if teacher else labelled, teacher)
        return part, {word: np.array(ious) for word, ious in kept["before"].items()}
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


def ask_teacher(recipe: Recipe, photos: Sequence[AnnotatedImage], device: str) -> list[TeacherMask]:
    """What the teacher answers to clicks at random places, and to the boxes of these answers.

    Prompts without an answer are left out.
    """
    model = model_of(Teacher.open(recipe).module, device)
    kinds: list[Literal["click", "box"]] = ["click"]
    if "box" in set(model.spec.accepts) & set(models.spec(recipe.model).accepts):
        kinds.append("box")
    found = []
    for number, photo in enumerate(photos):
        seen = model.encode(photo.picture(model.spec.channels))
        rng = np.random.default_rng([recipe.seed, number])
        height, width = photo.hw
        places = (rng.random((CLICKS_A_PHOTO, 2)) * (width, height)).round(1).tolist()
        for kind in kinds:
            asked = [TeacherMask(number, kind, tuple(place), "") for place in places]
            prompts = [one.prompt() for one in asked]
            answers = model.segment(seen, prompts=prompts) if prompts else []
            masks = [answer.masks[0] for answer in answers]
            found += [
                TeacherMask(number, kind, one.place, rle_to_string(mask_to_rle(mask)))
                for one, mask in zip(asked, masks, strict=True)
                if mask.any()
            ]
            places = [[float(x) for x in tight_box(mask)] for mask in masks if mask.any()]
    return found


def score(model: Model, part: HeldPart) -> tuple[Scores, Measured | None]:
    """IoU of each mask by what was asked; where the photos have masks, also by each click."""
    if not part.teacher:
        measured = measure(model, part.photos)
        scores: Scores = {"one_click": measured.ious[:, 0]}
        if measured.ious.shape[1] > 2:
            scores["three_clicks"] = measured.ious[:, 2]
        if "box" in model.spec.accepts:
            scores["box"] = measure_boxes(model, part.photos)
        return scores, measured
    agreed: dict[str, list[float]] = {}  # of the student's first masks and the teacher's
    for number, photo in enumerate(part.photos):
        seen = model.encode(photo.picture(model.spec.channels))
        for kind, word in (("click", "one_click"), ("box", "box")):
            told = [one for one in part.teacher if (one.photo, one.kind) == (number, kind)]
            if told:
                answers = model.segment(seen, prompts=[one.prompt() for one in told])
                agreed.setdefault(word, []).extend(
                    iou(answer.masks[0], one.mask(photo.hw))
                    for answer, one in zip(answers, told, strict=True)
                )
    return {word: np.array(ious) for word, ious in agreed.items()}, None


def means(scores: Scores) -> dict[str, float]:
    """By what was asked."""
    return {word: round(float(ious.mean()), 4) for word, ious in scores.items()}


def in_words(part: HeldPart, scores: Scores) -> str:
    """One line."""
    whose = "with the teacher's masks" if part.teacher else "of held-out masks"
    shown = ", ".join(f"{w.replace('_', ' ')} {value:.3f}" for w, value in means(scores).items())
    return f"mean IoU {whose} on {len(part.photos)} held-out pictures: {shown}"


def finish(options: DistilOptions, recipe: Recipe, held: tuple[HeldPart, Scores] | None) -> None:
    """Write the student's weights, the report, and the bundle where one is wanted."""
    folder, found = options.output, newest_state(options.output)
    assert found is not None  # the run has just ended
    student = trained_module(found[1])
    figures = {} if held is None else write_report(folder, recipe, model_of(student), *held)
    data = {"folder": options.data.name}
    about = {"licence": licence_with_data(recipe), "data": data, "figures": figures}
    write_weights(folder / WEIGHTS, student, recipe, about)
    if figures:
        write_json(folder / RESULT, {"weights": WEIGHTS, **figures, "data": data}, indent=1)
    if figures and options.json is not None:
        write_whole(options.json, (folder / RESULT).read_bytes())
    if options.bundle is not None:
        write_bundle(folder, options.bundle)
    print("  ".join(str(folder / one) for one in (WEIGHTS, *((PAGE,) if figures else ()))))


def write_report(
    folder: Path, recipe: Recipe, model: Model, part: HeldPart, before: Scores
) -> dict[str, Any]:
    """Measure the student that was learned and write the page; returns the figures."""
    after, measured = score(model, part)
    figures = {
        "against": "teacher" if part.teacher else "masks", "held_photos": len(part.photos),
        "masks": len(after["one_click"]), "before": means(before), "after": means(after),
    }  # fmt: skip
    if measured is not None:
        cases = worst(part.photos, measured, [photo.name for photo in part.photos])
    else:
        clicks = [one for one in part.teacher if one.kind == "click"]
        lowest = lowest_of_each([one.photo for one in clicks], after["one_click"])
        cases = []
        for one, value in ((clicks[place], float(after["one_click"][place])) for place in lowest):
            photo = part.photos[one.photo]
            truth = one.mask(photo.hw)
            cases.append(ShownCase(one.photo, one.prompt(), truth, value, photo.name))
    columns = [word.replace("_", " ") for word in before]
    what = "mean IoU with the teacher's masks" if part.teacher else "mean IoU of held-out masks"
    values = [list(means(one).values()) for one in (before, after)]
    told = f"{figures['masks']} masks of {len(part.photos)} pictures that were not learned from"
    teacher = Path(recipe.teacher_weights or recipe.teacher).name
    about = f"{recipe.model} from {teacher}, {recipe.steps} steps at {recipe.stages[0].side} pixels"
    sections = [
        section("Before and after", gain_table(what, columns, *values), note(told)),
        curve(folder, "last_iou", "overlap with what is learned, last prompt"),
        shots(model, part.photos, cases),
    ]
    write_whole(folder / PAGE, html_page("Distillation", about, sections))
    print(f"after:  {in_words(part, after)}", flush=True)
    return figures
