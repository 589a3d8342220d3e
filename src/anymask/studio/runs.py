"""Running a stage over the photos of a project: the model proposes, people decide later."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from anymask.base import AnymaskError, Conflict, InputError
from anymask.images import load_plane
from anymask.segment import Model
from anymask.studio.project import Project
from anymask.studio.records import Draft, ImageEntry, ImageStatus, Stage, one_of
from anymask.studio.stages import STAGES, propose

LOG = logging.getLogger("anymask.studio.runs")
Failed = Callable[[str, str], None]  # is told the photo's name and the reason


@dataclass(frozen=True, kw_only=True)
class Work:
    """Settings of a run: stage, model and who works on each photo.

    larger  is asked for proposals of low quality

    A subclass may finish photos itself: a test does so in a person's place.
    Raises InputError for what does not go together.
    """

    model: Model
    stage: Stage
    larger: Model | None = None

    def __post_init__(self) -> None:
        one_of("stage", self.stage, tuple(STAGES))
        if self.stage == "assisted":
            raise InputError("the stage assisted needs a person; run: anymask annotate")

    @property
    def who(self) -> str:
        """In whose name the masks are kept."""
        return f"model {self.model.name}"

    @property
    def status(self) -> ImageStatus:
        """Of a photo that a run has worked through."""
        return "proposed"

    def is_waiting(self, image: ImageEntry) -> bool:
        """Whether a run has to do a photo."""
        return image.status == "new"

    def drafts(self, project: Project, image: ImageEntry) -> list[Draft]:
        """The masks of a photo."""
        photo = load_plane(project.picture(image.id))
        return propose(self.model, photo, self.stage, project.settings, self.larger)


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
        if not work.is_waiting(image):
            continue
        if project.store.claim_image(image.id, work.who):
            yield from _done(project, work, image, failed)
        else:
            begun_elsewhere.append(image.id)
    for number in begun_elsewhere:
        image = project.store.image(number)
        if work.is_waiting(image):
            yield from _done(project, work, image, failed)
    LOG.info("%s: stage %s is done", project.folder, work.stage)


def _done(
    project: Project, work: Work, image: ImageEntry, failed: Failed | None
) -> Iterator[ImageEntry]:
    """One photo, done; nothing where it cannot be read, or where another run was quicker."""
    begun = time.monotonic()
    try:
        drafts = work.drafts(project, image)
    except AnymaskError as error:
        LOG.warning("passed over %s: %s", image.name, error)
        if failed is None:
            raise
        failed(image.name, str(error))
        return
    try:
        project.store.add_records(image.id, drafts, work.who, status=work.status, only_new=True)
    except Conflict:
        LOG.info("%s was done by another run in the meantime", image.name)
        return
    spent = time.monotonic() - begun
    LOG.info("%s: %d masks in %.1f s, %s", image.name, len(drafts), spent, work.status)
    yield project.store.image(image.id)
