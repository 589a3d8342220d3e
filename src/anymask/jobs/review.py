"""Redaction in two steps: find and let a person look, then write what labels or the review say.

Without labels the first call only finds: masks as .json and pictures to look at lie in a review
folder, and nothing is redacted. Labels that somebody has looked at, or `force`, write the copies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.base import DataError, InputError, brief, csv_text, parse_json, write_json, write_whole
from anymask.jobs.engines import PhotoTask
from anymask.jobs.folder import run_job
from anymask.jobs.photos import FolderJob, PhotoItem
from anymask.jobs.redaction import RedactLabels, RedactTask
from anymask.jobs.verbs import FindTask, Photos
from anymask.masks import picture_format
from anymask.track import FILMS

if TYPE_CHECKING:
    from anymask.edit import Hiding
    from anymask.find import Examples, Phrases
    from anymask.images import MaskValues

Work = Callable[[FolderJob, PhotoTask], object]  # does a job; `run_job` where nobody watches
Row = tuple[str, str]  # a photo, and why nothing is hidden in it

NOTHING_FOUND, FAILED = "nothing found", "failed, see errors.jsonl"
NO_MASK, NO_LABELS = "no mask", "not in the labels, so no copy was written"


@brief
@dataclass(frozen=True, kw_only=True)
class Redaction:
    """What is hidden in which photos, and where the copies go.

    Raises InputError for what does not go together, and an output among the photos.

    Attributes:
        source: A folder of photos, one photo, or several.
        out: The folder of the copies; of one photo a picture's name.
        words: What is hidden, as for `Model.find`; with `labels`: the names of their masks.
        like: Examples instead of words.
        labels: Masks that somebody has looked at: a file or folder of any format, of one photo
            also the picture of a mask.
        mask_values: What the values of mask images among the labels mean.
        how: As `edit.redact` takes it; color, too.
        force: Write at once what was found, and photos that the labels do not know as they are.
        list_to: .csv or .json: photos without a finding; None: OUT-without.csv.
        finding: Settings of the verb "find": model, detector, score, ...
        sharing: Workers, engine, shard, output_shards, as `run` takes them.

    Attributes:
        source: A folder of photos, one photo, or several.
        out: The folder of the copies; of one photo a picture's name.
        words: What is hidden, as for `Model.find`; with `labels`: the names of their masks.
        like: Examples instead of words.
        labels: Masks that somebody has looked at: a file or folder of any format, of one photo
            also the picture of a mask.
        mask_values: What the values of mask images among the labels mean.
        how: As `edit.redact` takes it; colour, too.
        force: Write at once what was found, and photos that the labels do not know as they are.
        list_to: .csv or .json: photos without a finding; None: OUT-without.csv.
        finding: Settings of the verb "find": model, detector, score, ...
        sharing: Workers, engine, shard, output_shards, as `run` takes them.
    """

    source: Photos
    out: Path
    words: Phrases | None = None
    like: Examples | None = None
    labels: str | Path | None = None
    mask_values: MaskValues = "auto"
    how: Hiding = "solid"
    colour: str = "black"
    force: bool = False
    list_to: Path | None = None
    finding: Mapping[str, Any] = field(default_factory=dict)
    sharing: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from anymask.edit import Redactor

        Redactor(self.how, self.colour)
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
        photos = self.photos
        if self.labels is not None and Path(self.labels) == photos and photos.is_dir():
            raise InputError(
                f"{self.labels} is the folder of the images, not their labels. To "
                "export the labels of a project, run: anymask project export "
                f"{self.labels} -o reviewed.json"
            )
        folders = [one if one.is_dir() else one.parent for one in _tuple(photos)]
        named = isinstance(photos, Path) and not photos.is_dir()
        inside = [self.out.resolve(), *([] if named else self.out.resolve().parents)]
        among = [one for one in folders if one.resolve() in inside]
        if among and not (named and picture_format(suffix_of(self.out))):
            raise InputError(
                f"The output {str(self.out)!r} is inside the input folder. Choose a "
                f"folder next to it, such as {among[0].resolve().name}-redacted."
            )

    @property
    def photos(self) -> Path | tuple[Path, ...]:
        """The source as paths."""
        source = self.source
        return Path(source) if isinstance(source, str | Path) else tuple(map(Path, source))

    @property
    def review(self) -> Path:
        """The folder where findings lie to be looked at."""
        return beside(self.out, "-review")

    @property
    def list(self) -> Path:
        """The list of photos without a finding."""
        return self.list_to or beside(self.out, "-without.csv")

    @property
    def copying(self) -> FolderJob:
        """The job that writes the copies."""
        photos, folder = self.photos, self.out
        named: tuple[tuple[str, Path], ...] = ()
        if isinstance(photos, Path) and not photos.is_dir() and picture_format(suffix_of(self.out)):
            folder, named = self.out.parent, ((suffix_of(self.out), self.out),)
        return FolderJob(source=photos, output=folder, named=named, **self.sharing)


def _tuple(photos: Path | tuple[Path, ...]) -> tuple[Path, ...]:
    return (photos,) if isinstance(photos, Path) else photos


def beside(out: Path, ending: str) -> Path:
    """A place beside the copies: review of a.jpg in a-review, of out/ in out-review."""
    suffix = suffix_of(out)
    name = out.stem if picture_format(suffix) or suffix in FILMS else out.name
    return out.with_name((name or "redacted") + ending)


def suffix_of(path: Path) -> str:
    """The suffix in small letters."""
    return path.suffix.lower()


@brief
@dataclass(frozen=True)
class RedactReport:
    """What a redaction found, or wrote.

    Attributes:
        written: How many copies are there; 0 where somebody has to look first.
        photos: Of how many photos.
        things: How many masks they have.
        without: The photos without a finding, and why.
    """

    written: int
    photos: int
    things: int
    without: tuple[Row, ...]


def redact_photos(asked: Redaction, work: Work = run_job) -> RedactReport:
    """Hide things in photos; what is only found is not written before somebody looked at it.

    With `words` alone masks and pictures to look at are put into `asked.review`. With `labels`, or
    `force`, copies are written. The list of photos without a finding is written in either case, and
    what is there already is not done again. Raises what `jobs.run` raises.

    Args:
        work: Does a job with a task.
    """
    labels = asked.labels
    if labels is None:
        report = _find(asked, work)
        if not asked.force:
            return report
        labels = asked.review
    names = [] if asked.labels is None else names_of(asked.words)
    known_labels = RedactLabels.read(asked.photos, labels, names, asked.mask_values)
    task = RedactTask(known_labels, asked.how, asked.colour, asked.force)
    job = asked.copying
    items = job.items()
    known = [(item, task.labels.of(item.photo)) for item in items]
    lost = NOTHING_FOUND if asked.labels is None else NO_MASK
    without = [
        (item.name, lost if image is not None else NO_LABELS)
        for item, image in known
        if image is None or not image.masks
    ]
    write_list(asked.list, ("photo", "reason"), without)
    work(job, task)
    images = [image for _, image in known if image is not None]
    return RedactReport(
        len(items) if asked.force else len(images), len(items),
        sum(len(image.masks) for image in images), tuple(without),
    )  # fmt: skip


def _find(asked: Redaction, work: Work) -> RedactReport:
    """Find things for somebody to look at, and list the photos without any."""
    given = {"words": asked.words, "like": asked.like, **asked.finding}
    task = FindTask.plan(asked.photos, {k: v for k, v in given.items() if v is not None})[1]
    job = FolderJob(source=asked.photos, output=asked.review, **asked.sharing)
    try:
        work(job, task)
    except DataError:  # of photos that failed
        _list_findings(asked, job)
        raise
    return _list_findings(asked, job)


def _list_findings(asked: Redaction, job: FolderJob) -> RedactReport:
    """Count what lies in the review, and list the photos without a finding."""
    items = job.items()
    counts = [(item.name, _found(item)) for item in items]
    without = [
        (name, FAILED if count is None else NOTHING_FOUND) for name, count in counts if not count
    ]
    write_list(asked.list, ("photo", "reason"), without)
    return RedactReport(0, len(items), sum(count or 0 for _, count in counts), tuple(without))


def _found(item: PhotoItem) -> int | None:
    """How many masks were found in a photo; None where it was not searched."""
    path = item.output(".json")
    return len(parse_json(path.read_bytes(), path)["annotations"]) if path.is_file() else None


def names_of(words: Phrases | None) -> list[str]:
    """The labels that words mean."""
    from anymask.find import read_phrases

    return [] if words is None else [phrase.label for phrase in read_phrases(words)]


def write_list(path: Path, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as .csv, or as .json: a list of objects."""
    if suffix_of(path) == ".json":
        write_json(path, [dict(zip(head, row, strict=True)) for row in rows], indent=1)
        return
    write_whole(path, csv_text([head, *rows]))
