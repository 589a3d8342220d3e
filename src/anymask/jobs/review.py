"""Redaction in two steps: detect objects for review, then write redacted copies.

Without labels, the first call only writes masks as .json and overlay images to a review folder.
Copies are written from reviewed labels, or with `force`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.base import DataError, InputError, brief, csv_text, parse_json, write_json, write_whole
from anymask.jobs.engines import ImageTask
from anymask.jobs.folder import run_job
from anymask.jobs.redaction import RedactLabels, RedactTask, refuse_pages
from anymask.jobs.settings import FolderJob, image_paths
from anymask.jobs.verbs import FindTask, Images
from anymask.masks import image_format
from anymask.track import OUTPUT_VIDEO_SUFFIXES

if TYPE_CHECKING:
    from anymask.edit import Hiding
    from anymask.find import Examples, Phrases
    from anymask.images import MaskValues

Row = tuple[str, str]  # image, and the reason why nothing is hidden

NOTHING_FOUND, FAILED = "nothing found", "failed, see errors.jsonl"
NO_MASK, NO_LABELS = "no mask", "not in the labels, so no copy was written"


@brief
@dataclass(frozen=True, kw_only=True)
class Redaction:
    """Images, objects to hide and output of a redaction.

    Raises InputError if options cannot be combined, or the output is inside the input folder.
    """

    source: Images  # Folder of images, one image, or several
    out: Path  # Folder of the copies; for one image also an image file name
    # Text prompts as for `Model.find`; with `labels`, names of their masks
    words: Phrases | None = None
    like: Examples | None = None  # Exemplar prompts instead of text
    # Reviewed masks: file or folder in any format; for one image also a mask image
    labels: str | Path | None = None
    mask_values: MaskValues = "auto"  # Interpretation of mask image values in the labels
    how: Hiding = "solid"  # As for `edit.redact`
    color: str = "black"  # As for `edit.redact`
    force: bool = False  # Write copies without review, and copy images without labels unchanged
    # .csv or .json list of images without detections. None: OUT-without.csv.
    list_to: Path | None = None
    # Settings of the verb "find": model, detector, score and others
    finding: Mapping[str, Any] = field(default_factory=dict)
    # `workers`, `engine`, `shard` and `output_shards` as for `run`
    sharing: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from anymask.edit import Redactor

        Redactor(self.how, self.color)
        if self.labels is None and self.words is None and self.like is None:
            raise InputError("Words or labels are required. Pass --words or --labels.")
        if self.labels is not None and self.like is not None:
            raise InputError(
                "Labels and an exemplar cannot be combined, because the labels "
                "already define what is redacted. Remove the exemplar."
            )
        if self.list_to is not None and self.list_to.suffix.lower() not in (".csv", ".json"):
            raise InputError(
                "The list of images without a detection must be .csv or .json, got "
                f"{str(self.list_to)!r}. Rename it."
            )
        images = self.images
        if self.labels is not None and Path(self.labels) == images and images.is_dir():
            raise InputError(
                f"{self.labels} is the folder of the images, not their labels. To export the "
                f"labels of a project, run: anymask project export {self.labels} -o reviewed.json"
            )
        paths = (images,) if isinstance(images, Path) else images
        folders = [path if path.is_dir() else path.parent for path in paths]
        named = isinstance(images, Path) and not images.is_dir()
        inside = [self.out.resolve(), *([] if named else self.out.resolve().parents)]
        among = [folder for folder in folders if folder.resolve() in inside]
        if among and not (named and image_format(suffix_of(self.out))):
            raise InputError(
                f"The output {str(self.out)!r} is inside the input folder. Choose a "
                f"folder next to it, such as {among[0].resolve().name}-redacted."
            )

    @property
    def images(self) -> Path | tuple[Path, ...]:
        """Source as paths."""
        return image_paths(self.source)

    @property
    def review(self) -> Path:
        """Review folder."""
        return beside(self.out, "-review")

    @property
    def list(self) -> Path:
        """Path of the list of images without detections."""
        return self.list_to or beside(self.out, "-without.csv")

    @property
    def copying(self) -> FolderJob:
        """Job that writes the copies."""
        images, folder = self.images, self.out
        named: tuple[tuple[str, Path], ...] = ()
        if isinstance(images, Path) and not images.is_dir() and image_format(suffix_of(self.out)):
            folder, named = self.out.parent, ((suffix_of(self.out), self.out),)
        return FolderJob(source=images, output=folder, named=named, **self.sharing)


def beside(out: Path, ending: str) -> Path:
    """Path next to the copies: a-review for a.jpg, out-review for out/."""
    suffix = suffix_of(out)
    name = out.stem if image_format(suffix) or suffix in OUTPUT_VIDEO_SUFFIXES else out.name
    return out.with_name((name or "redacted") + ending)


def suffix_of(path: Path) -> str:
    """Suffix in lower case."""
    return path.suffix.lower()


@brief
@dataclass(frozen=True)
class RedactReport:
    """Result of a redaction."""

    written: int  # Number of copies; 0 if a review is required first
    images: int  # Number of images
    objects: int  # Number of masks
    without: tuple[Row, ...]  # Images without detections, and the reason


def redact_images(
    redaction: Redaction, work: Callable[[FolderJob, ImageTask], object] = run_job
) -> RedactReport:
    """Redact images, or detect objects for review.

    With `words` only, masks and overlay images are written to `redaction.review`. With `labels` or
    `force`, copies are written. The list of images without detections is always written. Existing
    results are reused. Raises as `jobs.run`.

    Args:
        work: Function that runs a job with a task.
    """
    if redaction.copying.one:
        refuse_pages(redaction.copying.item().image)
    labels = redaction.labels
    if labels is None:
        given = {"words": redaction.words, "like": redaction.like, **redaction.finding}
        finds = FindTask.plan(redaction.images, {k: v for k, v in given.items() if v is not None})
        search = FolderJob(source=redaction.images, output=redaction.review, **redaction.sharing)
        try:
            work(search, finds[1])
        except DataError:  # some images failed
            _list_findings(redaction, search)
            raise
        report = _list_findings(redaction, search)
        if not redaction.force:
            return report
        labels = redaction.review
    names = [] if redaction.labels is None else names_of(redaction.words)
    known_labels = RedactLabels.read(redaction.images, labels, names, redaction.mask_values)
    task = RedactTask(known_labels, redaction.how, redaction.color, redaction.force)
    job = redaction.copying
    items = job.items()
    known = [(item, task.labels.of(item.image)) for item in items]
    lost = NOTHING_FOUND if redaction.labels is None else NO_MASK
    without = [
        (item.name, lost if image is not None else NO_LABELS)
        for item, image in known
        if image is None or not image.masks
    ]
    write_list(redaction.list, ("photo", "reason"), without)
    work(job, task)
    images = [image for _, image in known if image is not None]
    return RedactReport(
        len(items) if redaction.force else len(images), len(items),
        sum(len(image.masks) for image in images), tuple(without),
    )  # fmt: skip


def _list_findings(redaction: Redaction, job: FolderJob) -> RedactReport:
    """Count the detections in the review folder, and list the images without any."""
    items, objects, without = job.items(), 0, list[Row]()
    for item in items:
        path = item.output(".json")
        if not path.is_file():
            without.append((item.name, FAILED))
        elif count := len(parse_json(path.read_bytes(), path)["annotations"]):
            objects += count
        else:
            without.append((item.name, NOTHING_FOUND))
    write_list(redaction.list, ("photo", "reason"), without)
    return RedactReport(0, len(items), objects, tuple(without))


def names_of(words: Phrases | None) -> list[str]:
    """Labels of the text prompts."""
    from anymask.find import read_phrases

    return [] if words is None else [phrase.label for phrase in read_phrases(words)]


def write_list(path: Path, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table as .csv, or as a .json list of objects."""
    if suffix_of(path) == ".json":
        write_json(path, [dict(zip(head, row, strict=True)) for row in rows], indent=1)
        return
    write_whole(path, csv_text([head, *rows]))
