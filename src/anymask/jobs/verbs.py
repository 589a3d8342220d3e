"""What can be done with every photo of a folder: `anymask.jobs.run(verb, folder, out)`.

A verb is a class in `VERBS`: its `plan` reads the settings of a call, and its `open` loads what the
work on one photo needs. The commands and Python both come in through them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, cast

from anymask.base import DataError, InputError, OnProgress, brief, check_keywords, follow
from anymask.formats import AnnotatedImage, Dataset, ReadKeywords, box_of, output_stem, read
from anymask.jobs.engines import PhotoTask
from anymask.jobs.folder import OnSummary, Summary, run_job
from anymask.jobs.photos import Engine, FolderJob, PhotoItem, PlacedPhotos
from anymask.jobs.records import MaskWork, PhotoFile
from anymask.jobs.redaction import RedactTask
from anymask.jobs.settings import LookChoice, ModelChoice, NamesChoice, PictureChoice, model_choice
from anymask.masks import cut_boxes, rle_to_string
from anymask.models.rules import default_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anymask.base import FloatArray, UintImage
    from anymask.find import Examples, FindSettings, Phrase
    from anymask.masks import Mask, Masks
    from anymask.segment import EverythingDict, GridDict, Model

Photos = str | Path | Sequence[str | Path]  # a folder, a photo, or several photos
Source = Path | tuple[Path, ...] | PlacedPhotos

AT_ONCE = 64  # boxes of a photo that are asked together
MAX_OF_A_LABEL = 200  # masks from which a name is learned


class Verb(PhotoTask, Protocol):
    """A kind of work on every photo."""

    @classmethod
    def plan(cls, source: Any, settings: dict[str, Any]) -> tuple[Source, Verb]:
        """Which photos are meant, and the work on each. Raises InputError for settings."""


class JobSettings(TypedDict, total=False):
    """What `run` takes for every verb: see there."""

    shard: tuple[int, int]
    output_shards: int
    model: str | ModelChoice | None
    pictures: PictureChoice


def run(
    verb: str,
    folder: Photos | Dataset,
    out: str | Path,
    workers: int = 0,
    engine: Engine = "processes",
    *,
    on_progress: OnSummary | None = None,
    **settings: Any,
) -> Summary:
    """Do one thing with every photo of a folder; what is done already is not done again.

    A photo that fails is counted, listed in the summary and in `errors.jsonl` of `out`; the rest
    goes on. Raises InputError for settings that make no sense, a folder without photos or one that
    another run works in, DataError for labels that cannot be read, and whatever would make every
    photo fail.

    Args:
        verb: "everything": all masks of each photo, as a .json (SA-1B records) and a .png (the
            masks drawn); "boxes": the same with a mask for each box of labels; "encode": the
            features of each photo, as an .npz; "find": a mask for each thing that `words`, or
            examples (`like`), mean; "cutout": the main subject of each photo cut out, as a
            .png, beside its mask; "redact": each photo without what labels show, and without
            metadata.
        folder: Photos with their sub-folders, one photo, or a list of photos; for "boxes" the
            labels, in any format of `anymask convert`.
        out: The folder of the results.
        workers: Processes beside this one; 0 works in this one, with Ray as many as there are
            CPUs.
        engine: "processes" of this machine, or "ray": a cluster of Ray.
        on_progress: Called with a `Summary` after each photo, in this process.
        settings: Of every verb: `model`, a name or a `ModelChoice`; `pictures`, a
            `PictureChoice`: how photos are read; `shard=(I, N)`, the I-th of N parts of the
            photos, each for another machine; `output_shards`, over how many folders the results
            are spread. Of "everything": those of `Model.everything` (grid, layout, tile, ...),
            `names` and `overlay=False` for no .png; of "boxes": `overlay`; of "find": `words`
            or `like` and `unlike`, the settings of `Model.find` (detector, score, iou, ...),
            and `overlay`; of "cutout": those of `Model.cutout` and of "find", and `suffix`,
            such as ".webp"; of "redact": `labels`, `names` (the masks that are hidden),
            `mask_values`, `how`, `colour`, and `force` for photos that the labels do not know.
    """
    if verb not in VERBS:
        raise InputError(f"Invalid verb {verb!r}. Choose from: {', '.join(VERBS)}")
    shared = [name for name in JobSettings.__annotations__ if name.endswith(("shard", "shards"))]
    how: dict[str, Any] = {name: settings.pop(name) for name in shared if name in settings}
    source, task = VERBS[verb].plan(folder, settings)
    output = Path(out)
    for place in (output, *output.parents):
        if os.path.isfile(place):  # noqa: PTH113 - False for impossible names, too
            raise InputError(
                f"The output must be a folder, but {str(place)!r} is a file. Choose a "
                f"new folder instead of {str(out)!r}."
            )
    page = settings.get("pictures", PictureChoice()).page
    job = FolderJob(source=source, output=output, workers=workers, engine=engine, page=page, **how)
    return run_job(job, task, on_progress)


def _paths(source: Photos) -> Path | tuple[Path, ...]:
    return Path(source) if isinstance(source, str | Path) else tuple(map(Path, source))


# The features of each photo.


@dataclass(frozen=True)
class EncodeTask:
    """Each photo is encoded once, for any later prompt."""

    model: ModelChoice = ModelChoice()
    pictures: PictureChoice = PictureChoice()

    @classmethod
    def plan(cls, source: Photos, settings: dict[str, Any]) -> tuple[Source, EncodeTask]:
        check_keywords(settings, JobSettings.__annotations__)
        pictures = settings.get("pictures", PictureChoice())
        return _paths(source), cls(model_choice(settings.get("model")), pictures)

    def open(self) -> EncodeWork:
        """Load the model. Raises AnymaskError."""
        return EncodeWork(self.model.load(), self.pictures)


class EncodeWork:
    """A photo's features in an .npz file."""

    def __init__(self, model: Model, pictures: PictureChoice) -> None:
        self.model, self.pictures = model, pictures
        self.about: dict[str, Any] = {"model": model.name, "weights": model.runtime.weights_hash}

    def __call__(self, item: PhotoItem, on_step: OnProgress | None = None) -> int | None:
        """Write the features and return 1; None where they are there already."""
        from anymask.images import shown_picture
        from anymask.masks import Features
        from anymask.segment import image_hash

        mix = self.model.spec.channels
        image = self.pictures.load(item.photo, item.page, mix)
        path = item.output(".npz")
        wanted = (*self.about.values(), image_hash(shown_picture(image, mix)))
        try:
            there = Features.load(path)
            if (there.model, there.model_hash, there.image_hash) == wanted:
                return None
        except (FileNotFoundError, DataError):
            pass
        self.model.encode(image).save(path)
        return 1


# The masks of everything.


@dataclass(frozen=True)
class EverythingTask:
    """The masks of everything in each photo.

    Raises InputError for settings out of range.

    Attributes:
        grid: Settings of `segment.Grid` that differ from the model's own.
        arrangement: Settings of `segment.Arrangement`: what becomes of the masks.
        looks: Tiles and retries.
        names: What the masks are called.
    """

    model: ModelChoice = ModelChoice()
    pictures: PictureChoice = PictureChoice()
    grid: Mapping[str, Any] = field(default_factory=dict)
    arrangement: Mapping[str, Any] = field(default_factory=dict)
    looks: LookChoice = LookChoice()
    names: NamesChoice = NamesChoice()
    overlay: bool = True

    def __post_init__(self) -> None:
        from anymask.segment import Arrangement, Grid

        Grid(**self.grid)
        Arrangement(**self.arrangement)

    @classmethod
    def plan(cls, source: Photos, settings: dict[str, Any]) -> tuple[Source, EverythingTask]:
        from anymask.segment import Arrangement, Grid

        kinds: list[type] = [Grid, Arrangement, LookChoice, NamesChoice]
        known = [[one.name for one in fields(kind)] for kind in kinds]
        plain = [*JobSettings.__annotations__, "overlay"]
        check_keywords(settings, [*(name for names in known for name in names), *plain])
        grid, arrangement, looks, names = (
            {name: settings[name] for name in names if name in settings} for names in known
        )
        return _paths(source), cls(
            model=model_choice(settings.get("model") or default_model()),
            pictures=settings.get("pictures", PictureChoice()),
            grid=grid,
            arrangement=arrangement,
            looks=LookChoice(**looks),
            names=NamesChoice(**names),
            overlay=settings.get("overlay", True),
        )

    def open(self) -> EverythingWork:
        """Load the model. Raises AnymaskError."""
        return EverythingWork(self.model.load(), self)


class EverythingWork(MaskWork):
    """A photo's masks, found by a grid of clicks."""

    def __init__(self, model: Model, task: EverythingTask) -> None:
        from anymask.segment import grid_of, wider_grid

        super().__init__(model, task.pictures, task.overlay)
        given = cast("GridDict", task.grid)
        grid = grid_of(model.runtime.family, given)
        self.widens = wider_grid(grid, given) is not None
        self.settings = cast("EverythingDict", {**task.grid, **task.arrangement})
        self.tile = task.looks.tile
        self.names = task.names.open(model)
        arrangement = {"given": dict(task.arrangement), **asdict(task.looks)}
        about = {"grid": asdict(grid), "arrangement": arrangement, **task.names.about(model)}
        self.about |= json.loads(json.dumps(about))  # as it will be read again

    def notes(self) -> dict[str, Any]:
        return {"widens": self.widens}

    def is_current(self, made_from: dict[str, Any], records: Sequence[Mask]) -> bool:
        """Another grid would have given another answer only where nothing passed."""
        return bool(made_from.get("widens", self.widens and bool(records)) == self.widens)

    def find(self, photo: PhotoFile, item: PhotoItem, on_step: OnProgress | None) -> Sequence[Mask]:
        """See `MaskWork`. A search that was killed goes on from a file beside the records."""
        from anymask.segment import SearchLog

        path = item.output(".json")
        place = path.with_name(f".{path.name}.search")
        log = SearchLog(place, self.about | {"image": photo.pixels_hash})
        done = False
        try:
            records = self.model.everything(
                photo.pixels, progress=on_step, log=log, tile=self.tile, **self.settings
            )
            done = True
        finally:
            log.close(done=done)
        return self._named(photo.pixels, records)

    def look(self, picture: UintImage) -> Sequence[Mask]:
        """The masks of one tile of a map (h, w, 3)."""
        return self._named(picture, self.model.everything(picture, tile=None, **self.settings))

    def _named(self, picture: NDArray[Any], records: Masks) -> Masks:
        if self.names is None:
            return records
        return self.model.with_labels(picture, records, names=self.names)


# A mask in each box of labels.


@brief
@dataclass(frozen=True)
class BoxLabels:
    """Labels of a data set for detection (COCO, YOLO, PASCAL VOC), or rectangles among outlines.

    Attributes:
        name: Of the data set.
        images: A photo with its masks, boxes as rectangles, by the place of its results.
        photos: Where each photo is, in the same order.
        lost: Why photos are not found, a line each.
    """

    name: str
    images: dict[str, AnnotatedImage]
    photos: tuple[Path, ...]
    lost: tuple[str, ...] = ()

    @classmethod
    def read(cls, stream: Dataset) -> BoxLabels:
        """Read all labels. Raises DataError where there is no box, or no photo of any."""
        labelled = [image for image in stream if image.objects]
        if not any(box_of(mask) for image in labelled for mask in image.objects):
            unread = "".join(f"; {line}" for line in stream.unread_lines())
            raise DataError(
                f"{stream.source}: Labels with boxes are required, but the {stream.form} data "
                f"has no boxes{unread}. Data that already has masks does not need this "
                "command. For images without labels, use `anymask everything`."
            )
        images, photos, lost = dict[str, AnnotatedImage](), list[Path](), list[str]()
        for image in labelled:
            try:
                photos.append(stream.picture(image))
            except DataError as error:
                lost.append(str(error))
                continue
            place = str(output_stem(image.file_name))  # a file of labels may say ../../a.jpg
            if place in images:
                raise DataError(
                    f"{stream.source}: Two images have the name {place!r}. Pass the "
                    "labels of one split at a time."
                )
            images[place] = image
        if not images:
            raise DataError(lost[0])
        return cls(stream.name, images, tuple(photos), tuple(lost))

    @property
    def boxes(self) -> int:
        """How many boxes there are."""
        masks = (mask for image in self.images.values() for mask in image.objects)
        return sum(box_of(mask) is not None for mask in masks)

    @property
    def placed(self) -> PlacedPhotos:
        """The photos, for a job."""
        return PlacedPhotos(self.name, tuple(zip(self.photos, map(Path, self.images), strict=True)))


@dataclass(frozen=True)
class BoxesTask:
    """A mask in each box of a photo's labels; masks that are no rectangles stay as they are."""

    model: ModelChoice
    labels: BoxLabels
    overlay: bool = True

    @classmethod
    def plan(
        cls, source: str | Path | Dataset, settings: dict[str, Any]
    ) -> tuple[Source, BoxesTask]:
        """See `Verb`. The source: labels, or what `read(..., boxes=True)` gave."""
        reading = ReadKeywords.__annotations__
        check_keywords(settings, [*JobSettings.__annotations__, "overlay", *reading])
        how = {name: settings[name] for name in reading if name in settings}
        stream = source if isinstance(source, Dataset) else read(source, boxes=True, **how)
        stream = stream.with_sizes_checked()
        labels = BoxLabels.read(stream)
        model = model_choice(settings.get("model"))
        return labels.placed, cls(model, labels, settings.get("overlay", True))

    def open(self) -> BoxesWork:
        """Load the model. Raises AnymaskError; InputError for a model that takes no boxes."""
        return BoxesWork(self.model.load(), self)


class BoxesWork(MaskWork):
    """A photo's masks in the order of its labels."""

    def __init__(self, model: Model, task: BoxesTask) -> None:
        if "box" not in model.spec.accepts:
            raise InputError(f"{model.name} does not support box prompts. Choose another --model.")
        super().__init__(model, PictureChoice(), task.overlay)
        self.images = task.labels.images

    def about_photo(self, item: PhotoItem) -> dict[str, Any]:
        """A hash of what is asked about the photo: boxes, and masks that stay."""
        rows = [
            [mask.label, rle_to_string(mask.rle), [round(v, 3) for v in mask.drawn_box or ()]]
            for mask in self.images[item.name].objects
        ]
        return {"labels": hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32]}

    def find(self, photo: PhotoFile, item: PhotoItem, on_step: OnProgress | None) -> Sequence[Mask]:
        """See `MaskWork`. Raises DataError for a photo of another size than its labels say."""
        image = self.images[item.name]
        if photo.pixels.shape[:2] != image.hw:
            raise DataError(
                f"The labels belong to an image of {image.hw} (height, width), but "
                f"this image has {photo.pixels.shape[:2]}. Use the labeled image."
            )
        boxes = [box_of(mask) for mask in image.objects]
        asked = [box for box in boxes if box is not None]
        answers: list[Mask] = []
        for start in range(0, len(asked), AT_ONCE):
            some = cut_boxes(asked[start : start + AT_ONCE], image.hw)
            found = self.model.segment(photo.pixels, boxes=some)
            answers += [replace(mask, picture=None) for mask in found]
        left = iter(answers)
        return [
            mask if box is None else replace(next(left), label=mask.label)
            for mask, box in zip(image.objects, boxes, strict=True)
        ]


# What words or an example mean.


@dataclass(frozen=True)
class FindTask:
    """A mask for each thing that words or an example mean.

    Attributes:
        phrases: What is looked for, with thresholds; none where there is an example.
        settings: How; the scores in it are those of the phrases.
        model: What makes masks of boxes.
        like: Examples as `Model.find` takes them.
        unlike: What is not meant.
    """

    phrases: tuple[Phrase, ...]
    settings: FindSettings
    model: ModelChoice = ModelChoice()
    pictures: PictureChoice = PictureChoice()
    overlay: bool = True
    like: Examples | None = None
    unlike: Examples | None = None

    @classmethod
    def plan(cls, source: Photos, settings: dict[str, Any]) -> tuple[Source, FindTask]:
        """See `Verb`. A detector is a name or a folder: an open one does not travel to workers."""
        from anymask.find import FindSettings, one_question, read_phrases

        known = [one.name for one in fields(FindSettings)]
        own = ["words", "like", "unlike", "overlay"]
        check_keywords(settings, [*known, *JobSettings.__annotations__, *own])
        chosen = FindSettings(**{name: settings[name] for name in known if name in settings})
        if chosen.detector is not None and not isinstance(chosen.detector, str | Path):
            raise InputError(
                "Pass the name or folder of a detector, not a loaded detector: it runs in "
                "worker processes."
            )
        words, like = settings.get("words"), settings.get("like")
        one_question(words, like)
        return _paths(source), cls(
            () if words is None else read_phrases(words, chosen.score),
            chosen,
            model_choice(settings.get("model")),
            settings.get("pictures", PictureChoice()),
            settings.get("overlay", True),
            like,
            settings.get("unlike"),
        )

    def open(self) -> FindWork:
        """Load model and detector. Raises AnymaskError, InputError for words not known."""
        return FindWork(self.model.load(), self)


class FindWork(MaskWork):
    """The things in a photo that words or an example mean."""

    def __init__(self, model: Model, task: FindTask) -> None:
        from anymask.find import ExampleFinder, WordFinder

        super().__init__(model, task.pictures, task.overlay)
        self.finder = (
            WordFinder(model, task.phrases, task.settings)
            if task.like is None
            else ExampleFinder(model, task.like, task.unlike, task.settings)
        )
        asked = {"find": self.finder.about}
        self.about |= json.loads(json.dumps(asked))  # as it will be read again

    def find(self, photo: PhotoFile, item: PhotoItem, on_step: OnProgress | None) -> Sequence[Mask]:
        return self.look(photo.shown)

    def look(self, picture: UintImage) -> Sequence[Mask]:
        """The things in one picture (H, W, 3)."""
        return self.finder.find(picture)


# The subject of each photo, cut out.


@dataclass(frozen=True)
class CutoutTask:
    """The main subject of each photo, or what a prompt or words mean in it, cut out.

    Attributes:
        look: Settings of `edit.CutoutSettings`.
        prompt: Points, point_labels and box, the same for every photo; {}: none.
        words: Words or examples of what is cut out instead; None: the prompt's object or the
            main subject.
        suffix: Of the pictures.
    """

    model: ModelChoice = ModelChoice()
    pictures: PictureChoice = PictureChoice()
    look: Mapping[str, Any] = field(default_factory=dict)
    prompt: Mapping[str, Any] = field(default_factory=dict)
    words: FindTask | None = None
    suffix: str = ".png"

    def __post_init__(self) -> None:
        from anymask.edit import CutoutSettings

        CutoutSettings(**self.look)
        if self.prompt and self.words is not None:
            raise InputError(
                "Text and exemplar prompts cannot be combined with points or a box. Pass one "
                "or the other."
            )

    @classmethod
    def plan(cls, source: Photos, settings: dict[str, Any]) -> tuple[Source, CutoutTask]:
        from anymask.edit import CutoutSettings
        from anymask.find import FindSettings

        look, find = ([one.name for one in fields(kind)] for kind in (CutoutSettings, FindSettings))
        prompt = ["points", "point_labels", "box"]
        sought = ["words", "like", "unlike", *find]
        own = [*look, *prompt, *sought, "suffix", *JobSettings.__annotations__]
        check_keywords(settings, own)
        given = {name: value for name, value in settings.items() if value is not None}
        wanted = {name: given[name] for name in ("model", "pictures", *sought) if name in given}
        return _paths(source), cls(
            model=model_choice(given.get("model")),
            pictures=given.get("pictures", PictureChoice()),
            look={name: given[name] for name in look if name in given},
            prompt={name: given[name] for name in prompt if name in given},
            words=FindTask.plan(source, wanted)[1] if {"words", "like"} & {*given} else None,
            suffix=given.get("suffix", ".png"),
        )

    def open(self) -> CutoutWork:
        """Load the model. Raises AnymaskError."""
        return CutoutWork(self.model.load(), self)


class CutoutWork(MaskWork):
    """The subject of a photo, and its picture; no picture where there is no clear subject."""

    inside = ".masks"

    def __init__(self, model: Model, task: CutoutTask) -> None:
        from anymask.edit import CutoutSettings

        super().__init__(model, task.pictures, overlay=True)
        self.task, self.picture = task, task.suffix
        self.finder = None if task.words is None else FindWork(model, task.words)
        look = CutoutSettings(**task.look).about
        about = {"look": look, "prompt": dict(task.prompt), "suffix": task.suffix}
        self.about |= {} if self.finder is None else self.finder.about
        self.about |= json.loads(json.dumps({"cutout": about}))  # as it will be read again

    def find(self, photo: PhotoFile, item: PhotoItem, on_step: OnProgress | None) -> Sequence[Mask]:
        from anymask.edit import main_subject

        if self.finder is not None:
            return self.finder.find(photo, item, on_step)
        if self.task.prompt:
            return [
                replace(self.model.segment(photo.pixels, **self.task.prompt).best, picture=None)
            ]
        subject = main_subject(self.model, photo.shown)
        return [] if subject is None else [subject]

    def draws(self, records: Sequence[Mask]) -> bool:
        return any(mask.area for mask in records)

    def draw(self, path: Path, photo: PhotoFile, records: Sequence[Mask]) -> None:
        from anymask.edit import save_cutout
        from anymask.masks import Masks

        save_cutout(path, photo.shown, Masks(records).union().mask, **self.task.look)


VERBS: dict[str, type[Verb]] = {
    "everything": EverythingTask,
    "boxes": BoxesTask,
    "encode": EncodeTask,
    "find": FindTask,
    "cutout": CutoutTask,
    "redact": RedactTask,
}


# Names of one's own, from labelled photos.


def learn_names(
    model: Model, streams: Iterable[Dataset], out: str | Path, most: int = MAX_OF_A_LABEL
) -> dict[str, int]:
    """Learn the labels of masks as names for `names=`, into a .json file; the masks of each label.

    Raises ModelError for a model that names nothing, InputError, DataError.

    Args:
        streams: Labelled photos, as `formats.read` gives them.
        most: Masks of a label that are looked at.
    """
    from anymask.runtime import MaskNaming, require
    from anymask.segment import write_own_names

    if Path(out).suffix.lower() != ".json":
        raise InputError(f"-o {out}: Expected a .json file name.")
    table = require(model.runtime, MaskNaming).name_table()
    return write_own_names(Path(out), table, _labelled_vectors(model, streams, most))


def _labelled_vectors(
    model: Model, streams: Iterable[Dataset], most: int
) -> Iterator[tuple[str, FloatArray]]:
    """Labels and the vectors of some of their masks, (n, D), photo by photo."""
    from anymask.runtime import mask_vectors

    counts: dict[str, int] = {}
    for stream in streams:
        for image in follow(stream, "photos", stream.length()):
            chosen = []
            for mask in image.objects:
                if mask.label is not None and counts.get(mask.label, 0) < most:
                    counts[mask.label] = counts.get(mask.label, 0) + 1
                    chosen.append(mask)
            if chosen:
                rles = [one.rle for one in chosen]
                vectors = mask_vectors(model.runtime, stream.pixels(image), rles)
                for mask, vector in zip(chosen, vectors, strict=True):
                    assert mask.label is not None
                    yield mask.label, vector[None]
