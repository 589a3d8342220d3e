"""Tasks that `anymask.jobs.run(verb, folder, out)` runs on every image of a folder.

Each verb is a class. Its `plan`, a row of `VERBS`, parses the settings of a call, and its `open`
loads the model. Commands and the Python API share them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from anymask.base import (
    DataError,
    InputError,
    OnProgress,
    PromptError,
    brief,
    check_keywords,
    follow,
)
from anymask.formats import AnnotatedImage, Dataset, ReadKeywords, box_of, output_stem, read
from anymask.jobs.engines import ImageTask
from anymask.jobs.folder import OnSummary, Summary, run_job
from anymask.jobs.records import MaskWork
from anymask.jobs.redaction import RedactTask, Source
from anymask.jobs.settings import (
    Engine,
    FolderJob,
    ImageItem,
    ImageSettings,
    LazyImageFile,
    ModelSettings,
    NamesSettings,
    PlacedImages,
    TilingSettings,
    image_paths,
    model_settings,
)
from anymask.masks import cut_boxes, rle_to_string
from anymask.models.rules import default_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anymask.base import FloatArray, UintImage
    from anymask.find import Examples, FindSettings, Phrase
    from anymask.keywords import EverythingDict, GridDict
    from anymask.masks import Mask, Masks
    from anymask.segment import Model

Images = str | Path | Sequence[str | Path]  # a folder, an image, or several images

BOX_BATCH_SIZE = 64  # boxes per call of the model


# Keys of filters in records, where they are not the names of the settings.
_STORED = {"dominant_kind": "alike", "max_containment": "contained", "nms_iou": "iou"}
JOB_SETTINGS = ("shard", "output_shards", "model", "image_settings")  # of `run`, for every verb


def run(
    verb: str,
    folder: Images | Dataset,
    out: str | Path,
    workers: int = 0,
    engine: Engine = "processes",
    *,
    on_progress: OnSummary | None = None,
    **settings: Any,
) -> Summary:
    """Run one task on every image of a folder. Images with existing results are skipped.

    Failed images are counted and listed in the summary and in `errors.jsonl` in `out`.

    Args:
        verb: "everything": all masks of each image, as .json (SA-1B records) and overlay .png.
            "boxes": a mask for each labeled box. "encode": image embeddings, as .npz. "find": a
            mask for each instance of text (`words`) or exemplar prompts (`like`). "cutout": the
            main subject of each image, cut out as .png, and its mask. "redact": each image with
            labeled objects hidden, without metadata.
        folder: Folder of images with subfolders, one image, or a list of images. For "boxes":
            labels in any format of `anymask convert`.
        out: Output folder.
        workers: Number of worker processes. 0: this process, or with Ray one per CPU.
        engine: "processes" on this machine, or "ray" for a Ray cluster.
        on_progress: Called with a `Summary` after each image, in this process.
        settings: For every verb: `model`, a name or `ModelSettings`; `image_settings`, a
            `ImageSettings`; `shard=(I, N)`, part I of N of the images; `output_shards`, number of
            output folders. "everything": those of `Model.everything` (grid, layout, tile and
            others), `names`, and `overlay=False` for no .png. "boxes": `overlay`. "find": `words`,
            or `like` and `unlike`, those of `Model.find` (detector, score, iou and others), and
            `overlay`. "cutout": those of `Model.cutout` and "find", and `suffix`, such as ".webp".
            "redact": `labels`, `names` of masks to hide, `mask_values`, `how`, `colour`, and
            `force` to copy images without labels.

    Raises:
        InputError: A setting is invalid, there are no images, or another run uses the folder.
        DataError: Labels cannot be read.
        AnymaskError: An error affects all images.
    """
    if verb not in VERBS:
        raise InputError(f"Invalid verb {verb!r}. Choose from: {', '.join(VERBS)}")
    how = {name: settings[name] for name in ("shard", "output_shards") if name in settings}
    source, task = VERBS[verb](folder, settings)
    if os.path.isfile(out):  # noqa: PTH113 - also False for invalid names
        raise InputError(f"The output must be a folder, but {str(out)!r} is a file.")
    job = FolderJob(
        source=source, output=Path(out), workers=workers, engine=engine,
        page=settings.get("image_settings", ImageSettings()).page, **how,
    )  # fmt: skip
    return run_job(job, task, on_progress)


def _split(
    settings: Mapping[str, Any], kinds: Iterable[type], also: Iterable[str]
) -> list[dict[str, Any]]:
    """Settings of each class, by name. Raises InputError for one that is in none and not `also`."""
    known = [[field.name for field in fields(kind)] for kind in kinds]
    check_keywords(settings, [*chain(*known), *JOB_SETTINGS, *also])
    return [{name: settings[name] for name in names if name in settings} for names in known]


# Embeddings.


@dataclass(frozen=True)
class EncodeTask:
    """Encode each image once, for later prompts."""

    model: ModelSettings = ModelSettings()
    image_settings: ImageSettings = ImageSettings()

    @classmethod
    def plan(cls, source: Images, settings: dict[str, Any]) -> tuple[Source, EncodeTask]:
        check_keywords(settings, JOB_SETTINGS)
        image_settings = settings.get("image_settings", ImageSettings())
        return image_paths(source), cls(model_settings(settings.get("model")), image_settings)

    def open(self) -> EncodeWork:
        return EncodeWork(self.model.load(), self.image_settings)


class EncodeWork:
    """Write image embeddings to .npz files."""

    def __init__(self, model: Model, image_settings: ImageSettings) -> None:
        self.model, self.image_settings = model, image_settings
        self.about: dict[str, Any] = {"model": model.name, "weights": model.runtime.weights_hash}

    def __call__(self, item: ImageItem, on_step: OnProgress | None = None) -> int | None:
        """Write the embedding and return 1, or None if it already exists."""
        from anymask.images import is_georeferenced
        from anymask.masks import Features
        from anymask.segment import image_hash

        where, path = is_georeferenced(item.image), item.output(".npz")
        image = LazyImageFile(item, self.image_settings, self.model.spec.channels)
        requested = (*self.about.values(), image_hash(image.shown), where)
        with suppress(FileNotFoundError, DataError):
            there = Features.load(path)
            if requested == (
                there.model, there.model_hash, there.image_hash, there.georeferenced,
            ):  # fmt: skip
                return None
        replace(self.model.encode(image.pixels), georeferenced=where).save(path)
        return 1


# Automatic mask generation.

LOG = ".search"  # suffix of the log of a search; if it is in `named`, the caller removes it


def search_file(item: ImageItem) -> Path:
    """File of the log from which an interrupted search resumes."""
    path = item.output(".json")
    return dict(item.named).get(LOG, path.with_name(f".{path.name}{LOG}"))


@dataclass(frozen=True)
class EverythingTask:
    """Automatic mask generation for each image. Raises InputError if a setting is out of range."""

    model: ModelSettings = ModelSettings()
    image_settings: ImageSettings = ImageSettings()
    # Fields of `segment.Grid` that differ from the defaults of the model
    grid: Mapping[str, Any] = field(default_factory=dict)
    # Fields of `segment.MaskFilter`: postprocessing of the masks
    arrangement: Mapping[str, Any] = field(default_factory=dict)
    tiling: TilingSettings = TilingSettings()  # Tiles
    names: NamesSettings = NamesSettings()  # Names for the masks
    overlay: bool = True

    def __post_init__(self) -> None:
        from anymask.segment import Grid, MaskFilter

        Grid(**self.grid)
        MaskFilter(**self.arrangement)

    @classmethod
    def plan(cls, source: Images, settings: dict[str, Any]) -> tuple[Source, EverythingTask]:
        from anymask.segment import Grid, MaskFilter

        kinds = [Grid, MaskFilter, TilingSettings, NamesSettings]
        grid, arrangement, tiling, names = _split(settings, kinds, ["overlay"])
        return image_paths(source), cls(
            model=model_settings(settings.get("model") or default_model()),
            image_settings=settings.get("image_settings", ImageSettings()),
            grid=grid,
            arrangement=arrangement,
            tiling=TilingSettings(**tiling),
            names=NamesSettings(**names),
            overlay=settings.get("overlay", True),
        )

    def open(self) -> EverythingWork:
        return EverythingWork(self.model.load(), self)


class EverythingWork(MaskWork):
    """Masks of an image from a grid of point prompts."""

    def __init__(self, model: Model, task: EverythingTask) -> None:
        from anymask.segment import grid_of, wider_grid

        super().__init__(model, task.image_settings, task.overlay)
        given = cast("GridDict", task.grid)
        grid = grid_of(model.runtime.family, given)
        self.widens = wider_grid(grid, given) is not None
        self.settings = cast("EverythingDict", {**task.grid, **task.arrangement})
        self.tile = task.tiling.tile
        self.names = task.names.open(model)
        given_filters = {_STORED.get(name, name): value for name, value in task.arrangement.items()}
        arrangement = {"given": given_filters, **asdict(task.tiling)}
        about = {"grid": asdict(grid), "arrangement": arrangement, **task.names.about(model)}
        self.about |= json.loads(json.dumps(about))  # normalized as when it is read back

    def notes(self) -> dict[str, Any]:
        return {"widens": self.widens}

    def is_current(self, inputs_of_result: dict[str, Any], records: Sequence[Mask]) -> bool:
        """Whether the grid widening is the same. It affects results only if no mask was found."""
        return bool(inputs_of_result.get("widens", self.widens and bool(records)) == self.widens)

    def find(
        self, image: LazyImageFile, item: ImageItem, on_step: OnProgress | None
    ) -> Sequence[Mask]:
        """Predict all masks. An interrupted search resumes from a file next to the records."""
        from anymask.segment import SearchLog

        log = SearchLog(search_file(item), self.about | {"image": image.pixels_hash})
        records = self.model.everything(
            image.pixels, progress=on_step, log=log, tile=self.tile, **self.settings
        )
        return self._named(image.pixels, records)

    def __call__(self, item: ImageItem, on_step: OnProgress | None = None) -> int | None:
        made = super().__call__(item, on_step)
        if LOG not in dict(item.named):
            search_file(item).unlink(missing_ok=True)
        return made

    def segment_tile(self, image: UintImage) -> Sequence[Mask]:
        """Masks of one map tile (h, w, 3)."""
        return self._named(image, self.model.everything(image, tile=None, **self.settings))

    def _named(self, image: NDArray[Any], records: Masks) -> Masks:
        if self.names is None:
            return records
        return self.model.with_labels(image, records, names=self.names)


# Masks for labeled boxes.


@brief
@dataclass(frozen=True)
class BoxLabels:
    """Boxes of a detection data set (COCO, YOLO, PASCAL VOC), or rectangles among outlines."""

    name: str  # Name of the data set
    # Relative output path to an image with masks, boxes as rectangles
    images: dict[str, AnnotatedImage]
    image_paths: tuple[Path, ...]  # Image paths, in the same order
    lost: tuple[str, ...] = ()  # Messages about images that were not found

    @classmethod
    def read(cls, stream: Dataset) -> BoxLabels:
        """Read all labels. Raises DataError if there are no boxes, or none of the images exists."""
        labeled = [image for image in stream if image.objects]
        if not any(box_of(mask) for image in labeled for mask in image.objects):
            unread = "".join(f"; {line}" for line in stream.unread_lines())
            raise DataError(
                f"{stream.source}: Labels with boxes are required, but the {stream.format} data "
                f"has no boxes{unread}. Data that already has masks does not need this "
                "command. For images without labels, use `anymask everything`."
            )
        images, image_paths, lost = dict[str, AnnotatedImage](), list[Path](), list[str]()
        for image in labeled:
            try:
                image_paths.append(stream.image_path(image))
            except DataError as error:
                lost.append(str(error))
                continue
            stem = str(output_stem(image.file_name))  # labels may contain ../../a.jpg
            if stem in images:
                raise DataError(
                    f"{stream.source}: Two images have the name {stem!r}. Pass the "
                    "labels of one split at a time."
                )
            images[stem] = image
        if not images:
            raise DataError(lost[0])
        return cls(stream.name, images, tuple(image_paths), tuple(lost))

    @property
    def boxes(self) -> int:
        """Number of boxes."""
        masks = (mask for image in self.images.values() for mask in image.objects)
        return sum(box_of(mask) is not None for mask in masks)

    @property
    def placed(self) -> PlacedImages:
        """Images for a job."""
        return PlacedImages(
            self.name, tuple(zip(self.image_paths, map(Path, self.images), strict=True))
        )


@dataclass(frozen=True)
class BoxesTask:
    """Predict a mask for each labeled box. Masks that are not rectangles are kept."""

    model: ModelSettings
    labels: BoxLabels
    overlay: bool = True

    @classmethod
    def plan(
        cls, source: str | Path | Dataset, settings: dict[str, Any]
    ) -> tuple[Source, BoxesTask]:
        """The source is labels, or the result of `read(..., boxes=True)`."""
        reading = [*ReadKeywords.__annotations__, "split"]
        check_keywords(settings, [*JOB_SETTINGS, "overlay", *reading])
        how = {name: settings[name] for name in reading if name in settings}
        stream = source if isinstance(source, Dataset) else read(source, boxes=True, **how)
        labels = BoxLabels.read(stream.with_sizes_checked())
        return labels.placed, cls(
            model_settings(settings.get("model")), labels, settings.get("overlay", True)
        )

    def open(self) -> BoxesWork:
        """Load the model. Raises AnymaskError; InputError if it does not support box prompts."""
        return BoxesWork(self.model.load(), self)


class BoxesWork(MaskWork):
    """Masks of an image in the order of its labels."""

    def __init__(self, model: Model, task: BoxesTask) -> None:
        if "box" not in model.spec.accepts:
            raise InputError(f"{model.name} does not support box prompts. Choose another --model.")
        super().__init__(model, ImageSettings(), task.overlay)
        self.images = task.labels.images

    def about_image(self, item: ImageItem) -> dict[str, Any]:
        """Hash of the labels of the image: boxes, and masks to keep."""
        rows = [
            [mask.label, rle_to_string(mask.rle), [round(v, 3) for v in mask.drawn_box or ()]]
            for mask in self.images[item.name].objects
        ]
        return {"labels": hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32]}

    def find(
        self, pixels: LazyImageFile, item: ImageItem, on_step: OnProgress | None
    ) -> Sequence[Mask]:
        """Predict the masks. Raises DataError if the image size differs from the labels."""
        image = self.images[item.name]
        if pixels.pixels.shape[:2] != image.hw:
            raise DataError(
                f"The labels belong to an image of {image.hw} (height, width), but "
                f"this image has {pixels.pixels.shape[:2]}. Use the labeled image."
            )
        boxes = [box_of(mask) for mask in image.objects]
        present = [box for box in boxes if box is not None]
        answers: list[Mask] = []
        for start in range(0, len(present), BOX_BATCH_SIZE):
            masks = self.model.segment(
                pixels.pixels, boxes=cut_boxes(present[start : start + BOX_BATCH_SIZE], image.hw)
            )
            answers += [replace(mask, source_image=None) for mask in masks]
        left = iter(answers)
        return [
            mask if box is None else replace(next(left), label=mask.label)
            for mask, box in zip(image.objects, boxes, strict=True)
        ]


# Text and exemplar prompts.


@dataclass(frozen=True)
class FindTask:
    """Find all instances of text or exemplar prompts in each image."""

    phrases: tuple[Phrase, ...]  # Text prompts with thresholds; empty with exemplar prompts
    settings: FindSettings  # Search settings. Thresholds of the phrases take precedence.
    model: ModelSettings = ModelSettings()  # Model that predicts masks from boxes
    image_settings: ImageSettings = ImageSettings()
    overlay: bool = True
    like: Examples | None = None  # Exemplar prompts as for `Model.find`
    unlike: Examples | None = None  # Negative exemplar prompts

    @classmethod
    def plan(cls, source: Images, settings: dict[str, Any]) -> tuple[Source, FindTask]:
        """Images and task of a call. A detector is a name or a folder: the workers load it."""
        from anymask.find import FindSettings, one_question, read_phrases

        chosen = FindSettings(
            **_split(settings, [FindSettings], ["words", "like", "unlike", "overlay"])[0]
        )
        if chosen.detector is not None and not isinstance(chosen.detector, str | Path):
            raise InputError(
                "Pass the name or folder of a detector, not a loaded detector: it runs in "
                "worker processes."
            )
        words, like = settings.get("words"), settings.get("like")
        one_question(words, like)
        return image_paths(source), cls(
            () if words is None else read_phrases(words, chosen.score),
            chosen,
            model_settings(settings.get("model")),
            settings.get("image_settings", ImageSettings()),
            settings.get("overlay", True),
            like,
            settings.get("unlike"),
        )

    def open(self) -> FindWork:
        """Load model and detector. Raises AnymaskError; InputError for unknown words."""
        return FindWork(self.model.load(), self)


class FindWork(MaskWork):
    """Instances of text or exemplar prompts in an image."""

    def __init__(self, model: Model, task: FindTask) -> None:
        from anymask.find import ExampleFinder, WordFinder

        super().__init__(model, task.image_settings, task.overlay)
        self.finder = (
            WordFinder(model, task.phrases, task.settings)
            if task.like is None
            else ExampleFinder(model, task.like, task.unlike, task.settings)
        )
        # Normalized as when it is read back
        self.about |= json.loads(json.dumps({"find": self.finder.about}))

    def find(
        self, image: LazyImageFile, item: ImageItem, on_step: OnProgress | None
    ) -> Sequence[Mask]:
        from anymask.find import WordFinder

        if isinstance(self.finder, WordFinder):
            return self.finder.find(image.shown, on_step)
        return self.finder.find(image.shown)

    def segment_tile(self, image: UintImage) -> Sequence[Mask]:
        """Instances in one image (H, W, 3)."""
        return self.finder.find(image)


# Cut-outs.


@dataclass(frozen=True)
class CutoutTask:
    """Cut out the main subject of each image, or the object of a prompt."""

    model: ModelSettings = ModelSettings()
    image_settings: ImageSettings = ImageSettings()
    cutout_settings: Mapping[str, Any] = field(
        default_factory=dict
    )  # Fields of `edit.CutoutSettings`
    # `points`, `point_labels`, `box`, `lasso`, the same for every image. Empty: none.
    prompt: Mapping[str, Any] = field(default_factory=dict)
    # Text or exemplar prompts instead. None: the object of `prompt`, or the main subject.
    words: FindTask | None = None
    suffix: str = ".png"  # Suffix of the images

    def __post_init__(self) -> None:
        from anymask.edit import CutoutSettings

        CutoutSettings(**self.cutout_settings)
        if self.prompt and self.words is not None:
            raise InputError(
                "Text and exemplar prompts cannot be combined with points or a box. Pass one "
                "or the other."
            )

    @classmethod
    def plan(cls, source: Images, settings: dict[str, Any]) -> tuple[Source, CutoutTask]:
        from anymask.edit import CutoutSettings
        from anymask.find import FindSettings

        given = {name: value for name, value in settings.items() if value is not None}
        prompt = ["points", "point_labels", "box", "lasso"]
        words = ["words", "like", "unlike"]
        cutout_settings, find = _split(
            given, [CutoutSettings, FindSettings], [*prompt, *words, "suffix"]
        )
        find |= {name: given[name] for name in ("model", "image_settings", *words) if name in given}
        return image_paths(source), cls(
            model=model_settings(given.get("model")),
            image_settings=given.get("image_settings", ImageSettings()),
            cutout_settings=cutout_settings,
            prompt={name: given[name] for name in prompt if name in given},
            words=FindTask.plan(source, find)[1] if {"words", "like"} & {*given} else None,
            suffix=given.get("suffix", ".png"),
        )

    def open(self) -> CutoutWork:
        return CutoutWork(self.model.load(), self)


class CutoutWork(MaskWork):
    """Subject of an image and its cut-out. No cut-out is written without a main subject."""

    inside = ".masks"

    def __init__(self, model: Model, task: CutoutTask) -> None:
        from anymask.edit import CutoutSettings

        super().__init__(model, task.image_settings, overlay=True)
        self.task, self.source_image = task, task.suffix
        self.finder = None if task.words is None else FindWork(model, task.words)
        look = CutoutSettings(**task.cutout_settings).about
        about = {"look": look, "prompt": dict(task.prompt), "suffix": task.suffix}
        self.about |= {} if self.finder is None else self.finder.about
        self.about |= json.loads(json.dumps({"cutout": about}))  # as it is read back

    def find(
        self, image: LazyImageFile, item: ImageItem, on_step: OnProgress | None
    ) -> Sequence[Mask]:
        from anymask.edit.subject import prompted_object

        if self.finder is not None:
            return self.finder.find(image, item, on_step)
        try:
            mask = prompted_object(self.model, image.pixels, image.shown, self.task.prompt)
        except PromptError as error:  # other images of the folder may be larger
            raise InputError(str(error)) from error
        return [] if mask is None else [replace(mask, source_image=None)]

    def draws(self, records: Sequence[Mask]) -> bool:
        return any(mask.area for mask in records)

    def draw(self, path: Path, image: LazyImageFile, records: Sequence[Mask]) -> None:
        from anymask.edit import save_cutout
        from anymask.masks import Masks

        save_cutout(path, image.layered, Masks(records).union().mask, **self.task.cutout_settings)


# Functions that select the images and create the task. Raise InputError for an invalid setting.
VERBS: dict[str, Callable[[Any, dict[str, Any]], tuple[Source, ImageTask]]] = {
    "everything": EverythingTask.plan,
    "boxes": BoxesTask.plan,
    "encode": EncodeTask.plan,
    "find": FindTask.plan,
    "cutout": CutoutTask.plan,
    "redact": RedactTask.plan,
}


# Custom names from labeled images.


def learn_names(
    model: Model, streams: Iterable[Dataset], out: str | Path, most: int = 200
) -> dict[str, int]:
    """Write a .json file of custom names for `names=` from labeled masks.

    Args:
        streams: Labeled images from `formats.read`.
        most: Maximum number of masks per label.

    Returns:
        Label to number of masks.

    Raises:
        ModelError: The model does not support names.
        InputError: The output is not .json.
        DataError: Labels cannot be read.
    """
    from anymask.runtime import require
    from anymask.segment import write_own_names

    if Path(out).suffix.lower() != ".json":
        raise InputError(f"-o {out}: Expected a .json file name.")
    table = require(model.runtime, model.runtime.naming, "mask naming").name_table()
    return write_own_names(Path(out), table, _labeled_vectors(model, streams, most))


def _labeled_vectors(
    model: Model, streams: Iterable[Dataset], most: int
) -> Iterator[tuple[str, FloatArray]]:
    """Labels and mask vectors (n, D), image by image."""
    from anymask.runtime import mask_vectors

    counts: dict[str, int] = {}
    for stream in streams:
        for image in follow(stream, "photos", stream.length()):
            masks = []
            for mask in image.objects:
                if mask.label is not None and counts.get(mask.label, 0) < most:
                    counts[mask.label] = counts.get(mask.label, 0) + 1
                    masks.append(mask)
            if masks:
                vectors = mask_vectors(
                    model.runtime, stream.pixels(image), [mask.rle for mask in masks]
                )
                for mask, vector in zip(masks, vectors, strict=True):
                    assert mask.label is not None
                    yield mask.label, vector[None]
