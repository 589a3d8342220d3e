"""Annotation stages (assisted, semi, auto): masks that a model proposes for a project's images.

    assisted  none: the annotator prompts, starting with the most prominent object, and skips masks
              that take longer than HINT_SECONDS
    semi      confident masks are added automatically; the annotator adds missing ones
    auto      grid of points, quality and stability filters, NMS, crops; people only review samples

Edges are refined as for prompted masks. Source: Segment Anything, sections 4 and 5.
"""

from __future__ import annotations

import difflib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from anymask.base import (
    AnymaskError,
    Conflict,
    InputError,
    Setting,
    UintImage,
    describe_settings,
    list_settings,
)
from anymask.images import load_plane
from anymask.masks import Mask
from anymask.segment import Model
from anymask.studio.options import STAGES, Stage
from anymask.studio.records import Draft, ImageEntry, MaskNotes, Provenance, one_of

if TYPE_CHECKING:
    from anymask.studio.project import Project

LOG = logging.getLogger("anymask.studio.proposals")
HINT_SECONDS = 30.0


@describe_settings
@dataclass(frozen=True, kw_only=True)
class ProjectSettings:
    """Settings of a project, stored in its database. Raises InputError if a value is invalid."""

    confident: Annotated[
        float | None,
        Setting(
            "minimum score of the masks that stage `semi` adds automatically",
            le=1,
            default="default of automatic mask generation",
        ),
    ] = None
    score: Annotated[
        float | None,
        Setting("minimum score of a proposed mask", le=1, default="the model's default"),
    ] = None
    stability: Annotated[
        float | None,
        Setting("minimum stability of a proposed mask", le=1, default="the model's default"),
    ] = None
    grid: Annotated[int, Setting("points per side of the prompt grid", ge=1, le=1024)] = 32
    crop_n_layers: Annotated[int, Setting("number of crop layers in stage `auto`", le=6)] = 0
    min_mask_area: Annotated[int, Setting("minimum area of a mask, in pixels")] = 16
    batch: Annotated[
        int,
        Setting("number of images per batch; the acceptance rule is applied to each batch", ge=1),
    ] = 50
    good_iou: Annotated[
        float,
        Setting("minimum IoU with the reviewed version for a proposed mask to count as good", le=1),
    ] = 0.9
    good_share: Annotated[
        float, Setting("minimum share of good masks in the sample of a batch", le=1)
    ] = 0.9
    sample: Annotated[int, Setting("number of random masks per batch that must be reviewed")] = 20
    double_every: Annotated[
        int, Setting("every n-th image is labeled independently by all annotators; 0: none")
    ] = 0
    held_out: Annotated[
        float, Setting("share of the images that are held out from training", lt=1)
    ] = 0.2

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> ProjectSettings:
        """Parse stored settings. Raises InputError if a name or value is invalid."""
        known = {setting.name: setting for setting in list_settings(cls)}
        given: dict[str, Any] = {}
        for name, value in row.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                guess = f"Did you mean {near[0]!r}? " if near else ""
                raise InputError(f"Unknown setting {name!r}. {guess}Supported: {', '.join(known)}.")
            whole = isinstance(value, float) and value.is_integer()
            given[name] = int(value) if whole and known[name].number is int else value
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """Convert all settings to JSON."""
        return asdict(self)


def propose(model: Model, image: UintImage, stage: Stage, settings: ProjectSettings) -> list[Draft]:
    """Proposals of a model for an image, best first; none in stage "assisted"."""
    if stage not in ("semi", "auto"):
        return []
    masks = model.everything(image, **grid_settings(stage, settings), refine_edges=True)
    return proposals_of(masks, model, stage, settings)


def grid_settings(stage: Stage, settings: ProjectSettings) -> dict[str, Any]:
    """Keyword arguments of `Model.everything`."""
    requested = {
        "grid": settings.grid,
        "crop_n_layers": settings.crop_n_layers if stage == "auto" else None,
        "score": settings.score,
        "stability": settings.stability,
    }
    return {name: value for name, value in requested.items() if value is not None}


def proposals_of(
    records: Sequence[Mask], model: Model, stage: Stage, settings: ProjectSettings
) -> list[Draft]:
    """Convert masks that meet the thresholds to proposals."""
    sure = settings.confident if stage == "semi" else None
    least = -float("inf") if sure is None else sure
    return [
        Draft(
            rle=record.rle, label=record.label, state="proposed", score=record.score,
            stability=record.stability, notes=MaskNotes(objectness=record.objectness or 0.0),
            provenance=Provenance.of(
                model.origin, kind="model", tool="everything", stage=stage,
                prompts=({"points": [list(point) for point in record.points], "labels": [1]},),
            ),
        )
        for record in records
        if record.score >= least and record.area >= settings.min_mask_area
    ]  # fmt: skip


def run_stage(
    project: Project,
    model: Model,
    stage: Stage = "auto",
    *,
    failed: Callable[[str, str], None] | None = None,
) -> Iterator[ImageEntry]:
    """Propose masks of all new images. Yields each finished image.

    Several runs share the images: each processes those that no other run has claimed, then the
    rest, because another run may have been killed. If two finish the same image, the first result
    is kept.

    Args:
        failed: Called with name and reason of images that cannot be read. Default: raise.

    Raises:
        InputError: The stage requires a person.
    """
    one_of("stage", stage, tuple(STAGES))
    if stage == "assisted":
        raise InputError("The stage 'assisted' requires a person. Run: anymask annotate")
    store, who = project.store, f"model {model.name}"

    def done(image: ImageEntry) -> Iterator[ImageEntry]:
        """Process one image. Yields nothing if it cannot be read, or another run was faster."""
        begun = time.monotonic()
        try:
            pixels = load_plane(project.image_path(image.id))
            drafts = propose(model, pixels, stage, project.settings)
        except AnymaskError as error:
            LOG.warning("skipped %s: %s", image.name, error)
            if failed is None:
                raise
            failed(image.name, str(error))
            return
        try:
            store.add_records(image.id, drafts, who, status="proposed", only_new=True)
        except Conflict:
            LOG.info("%s was already processed by another run", image.name)
            return
        LOG.info("%s: %d masks in %.1f s", image.name, len(drafts), time.monotonic() - begun)
        yield store.image(image.id)

    LOG.info("%s: stage %s with %s started", project.folder, stage, model.name)
    begun_elsewhere = []
    for image in store.all_images():
        if image.status == "new":
            if store.claim_image(image.id, who):
                yield from done(image)
            else:
                begun_elsewhere.append(image.id)
    for number in begun_elsewhere:
        if (image := store.image(number)).status == "new":
            yield from done(image)
    LOG.info("%s: stage %s finished", project.folder, stage)
