"""Running a stage over the photos of a project: the model proposes, people decide later."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from anymask.data.planes import load_plane
from anymask.engine.entries import Draft, ImageEntry, Stage, one_of
from anymask.engine.project import Project
from anymask.engine.stages import STAGES, propose
from anymask.predictors.image import Model
from anymask.primitives.errors import AnymaskError, Conflict, InputError

LOG = logging.getLogger("anymask.studio.runs")
Failed = Callable[[str, str], None]  # is told the photo's name and the reason
Finish = Callable[[ImageEntry, Path, list[Draft]], list[Draft]]


@dataclass(frozen=True, kw_only=True)
class Work:
    """Settings of a run: stage, model and who works on each photo.

    larger  is asked for proposals of low quality (semi and auto)
    finish  stands in for a person: the photo, its file and the model's proposals in, its final
            masks out; needed for the stage assisted
    who     in whose name the masks are kept; left out, the model's
    only    names of the photos to work on; all when left out

    Raises InputError for what does not go together.
    """

    model: Model
    stage: Stage
    larger: Model | None = None
    finish: Finish | None = None
    who: str = ""
    only: Container[str] | None = None

    def __post_init__(self) -> None:
        one_of("stage", self.stage, tuple(STAGES))
        if self.stage == "assisted" and self.finish is None:
            raise InputError("the stage assisted needs a person; run: anymask annotate")
        if self.larger is not None and self.stage == "assisted":
            raise InputError(
                "a larger model looks at proposals again, the stage assisted has none; use semi or "
                "auto"
            )
        if not self.who:
            object.__setattr__(self, "who", f"model {self.model.name}")


def run_stage(project: Project, work: Work, failed: Failed | None = None) -> Iterator[ImageEntry]:
    """Work through the photos that are new; yields each as it is done.

    Several runs share the photos: each begins with those that no other has begun, and goes over the
    rest at the end, as another may have been killed. Of two that finish the same photo the first
    one's masks are kept.

    failed  is told of photos that cannot be read; they stay new. Without it their error is raised
    """
    LOG.info("%s: stage %s with %s begins", project.folder, work.stage, work.model.name)
    begun_elsewhere = []
    for image in project.store.all_images():
        if not is_waiting(image, work.only):
            continue
        if project.store.claim_image(image.id, work.who):
            yield from _done(project, work, image, failed)
        else:
            begun_elsewhere.append(image.id)
    for number in begun_elsewhere:
        image = project.store.image(number)
        if is_waiting(image, work.only):
            yield from _done(project, work, image, failed)
    LOG.info("%s: stage %s is done", project.folder, work.stage)


def is_waiting(image: ImageEntry, only: Container[str] | None = None) -> bool:
    """Whether a run has to do a photo: it is new, and one of `only` where that is given."""
    return image.status == "new" and (only is None or image.name in only)


def _done(
    project: Project, work: Work, image: ImageEntry, failed: Failed | None
) -> Iterator[ImageEntry]:
    """One photo, done; nothing where it cannot be read, or where another run was quicker."""
    begun = time.monotonic()
    try:
        path = project.picture(image.id)
        drafts = list[Draft]()
        if work.stage != "assisted":
            photo = load_plane(path)
            drafts = propose(work.model, photo, work.stage, project.settings, work.larger)
        if work.finish is not None:
            drafts = work.finish(image, path, drafts)
    except AnymaskError as error:
        LOG.warning("passed over %s: %s", image.name, error)
        if failed is None:
            raise
        failed(image.name, str(error))
        return
    status = "done" if work.finish is not None and work.stage != "auto" else "proposed"
    try:
        project.store.add_records(image.id, drafts, work.who, status=status, only_new=True)
    except Conflict:
        LOG.info("%s was done by another run in the meantime", image.name)
        return
    spent = time.monotonic() - begun
    LOG.info("%s: %d masks in %.1f s, %s", image.name, len(drafts), spent, status)
    yield project.store.image(image.id)
