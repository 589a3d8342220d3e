"""Running a stage over photos: a project and a model in, proposals of each photo stored.

With a truth, the simulated annotator does what a person would; without one, the model proposes and
people decide later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from anymask.data.annotations import AnnotatedImage, AnnotatedMask
from anymask.data.planes import load_plane
from anymask.engine.annotator import REVIEW, Annotator, accepted
from anymask.engine.entries import Arm, Draft, ImageEntry, RecordEntry, Stage, one_of
from anymask.engine.project import Project
from anymask.engine.review import ReviewItem, give_verdict, next_asked
from anymask.engine.stages import STAGES, propose
from anymask.predictors.image import Model
from anymask.primitives.errors import AnymaskError, Conflict, InputError
from anymask.primitives.rle import Rle, rle_area, rle_iou

WHO = "simulated"
Truth = Mapping[str, AnnotatedImage]  # by the photo's name
Failed = Callable[[str, str], None]  # is told the photo's name and the reason


@dataclass(frozen=True, kw_only=True)
class Work:
    """Settings of a run: stage, model and who works on each photo.

    annotator  stands in for a person where there is one; needs the truth
    arm        "control": the annotator works without a model (assisted only)
    larger     is asked for proposals of low quality (semi and auto)

    Raises InputError for what does not go together.
    """

    model: Model
    stage: Stage
    annotator: Annotator | None = None
    truth: Truth | None = None
    arm: Arm = "model"
    larger: Model | None = None

    def __post_init__(self) -> None:
        if (self.annotator is None) != (self.truth is None):
            raise InputError("a simulated annotator needs the truth, and the truth an annotator")
        one_of("stage", self.stage, tuple(STAGES))
        if self.stage == "assisted" and self.annotator is None:
            raise InputError(
                "the stage assisted needs a person: run `anymask annotate`, or give --truth to "
                "simulate one"
            )
        if self.arm == "control" and self.stage != "assisted":
            raise InputError(f"the control arm belongs to the stage assisted, got {self.stage!r}")
        if self.larger is not None and self.stage == "assisted":
            raise InputError(
                "a larger model looks at proposals again, the stage assisted has none; use semi or "
                "auto"
            )

    @property
    def who(self) -> str:
        """In whose name the masks are kept."""
        return WHO if self.by_person else f"model {self.model.name}"

    @property
    def by_person(self) -> bool:
        """Whether somebody finishes each photo."""
        return self.annotator is not None and self.stage != "auto"


def run_stage(project: Project, work: Work, failed: Failed | None = None) -> Iterator[ImageEntry]:
    """Work through the photos that are new; yields each as it is done.

    Several runs share the photos: each begins with those that no other has begun, and goes over the
    rest at the end, as another may have been killed. Of two that finish the same photo the first
    one's masks are kept.

    failed  is told of photos that cannot be read; they stay new. Without it their error is raised
    """
    begun_elsewhere = []
    for image in project.store.all_images():
        if not is_waiting(image, work.truth):
            continue
        if project.store.claim_image(image.id, work.who):
            yield from _done(project, work, image, failed)
        else:
            begun_elsewhere.append(image.id)
    for number in begun_elsewhere:
        image = project.store.image(number)
        if is_waiting(image, work.truth):
            yield from _done(project, work, image, failed)


def is_waiting(image: ImageEntry, truth: Truth | None) -> bool:
    """Whether a run has to do a photo: it is new, and the annotator, if any, knows it."""
    return image.status == "new" and (truth is None or image.name in truth)


def _done(
    project: Project, work: Work, image: ImageEntry, failed: Failed | None
) -> Iterator[ImageEntry]:
    """One photo, done; nothing where it cannot be read, or where another run was quicker."""
    status = "done" if work.by_person else "proposed"
    try:
        known = None if work.truth is None else work.truth[image.name]
        drafts = _drafts(project, work, image, known)
    except AnymaskError as error:
        if failed is None:
            raise
        failed(image.name, str(error))
        return
    try:
        project.store.add_records(image.id, drafts, work.who, status=status, only_new=True)
    except Conflict:
        return
    yield project.store.image(image.id)


def _drafts(
    project: Project, work: Work, image: ImageEntry, known: AnnotatedImage | None
) -> list[Draft]:
    truths = [] if known is None else [mask for mask in known.masks if rle_area(mask.rle)]
    if work.arm == "control":
        assert work.annotator is not None
        return [accepted(work.annotator.outline(one.rle), one.label) for one in truths]
    photo = load_plane(project.picture(image.id))
    proposals = propose(work.model, photo, work.stage, project.settings, work.larger)
    if work.annotator is None or not work.by_person:
        return proposals
    drafts, taken, fixes = _sorted_out(work.annotator, proposals, truths)
    missing = [one for one in truths if not any(one is other for other in taken)]
    if not missing and not fixes:
        return drafts
    embedding, label = work.model.embed(photo), work.annotator.label
    if missing:
        made = label(work.model, embedding, [one.rle for one in missing], work.stage)
        drafts += [accepted(draft, _nearest(truths, draft)) for draft in made]
    if fixes:
        wanted, starts = [one.rle for _, one in fixes], [draft.rle for draft, _ in fixes]
        better = label(work.model, embedding, wanted, work.stage, starts)
        drafts += [accepted(draft, _nearest(truths, draft), REVIEW) for draft in better]
    return drafts


Fix = tuple[Draft, AnnotatedMask]


def _sorted_out(
    annotator: Annotator, proposals: list[Draft], truths: list[AnnotatedMask]
) -> tuple[list[Draft], list[AnnotatedMask], list[Fix]]:
    """What became of the proposals: decided ones, the objects they show, and those to correct."""
    drafts: list[Draft] = []
    taken: list[AnnotatedMask] = []
    fixes: list[Fix] = []
    rles = [one.rle for one in truths]
    for draft in proposals:
        verdict, which = annotator.judge(draft.rle, rles)
        one = next((truth for truth in truths if truth.rle is which), None)
        if one is None or any(one is other for other in taken):
            drafts.append(replace(draft, status="rejected", seconds=REVIEW))
            continue
        taken.append(one)
        if verdict == "fix":
            fixes.append((draft, one))
        else:
            drafts.append(accepted(draft, one.label, REVIEW))
    return drafts, taken, fixes


def _nearest(truths: list[AnnotatedMask], draft: Draft) -> str | None:
    """The label of the object that a mask shows."""
    return truths[int(rle_iou([draft.rle], [one.rle for one in truths])[0].argmax())].label


def run_review(
    project: Project, model: Model, annotator: Annotator, truth: Truth, most: int
) -> Iterator[RecordEntry]:
    """Let the annotator look at up to `most` masks of the review queue."""
    names = {image.id: image.name for image in project.store.all_images()}
    for _ in range(most):
        asked = next_asked(project.store)
        if asked is None:
            return
        known = truth.get(names[asked.entry.image_id])
        truths = [] if known is None else [mask.rle for mask in known.masks]
        yield _review(project, model, annotator, asked, truths)


def _review(
    project: Project, model: Model, annotator: Annotator, asked: ReviewItem, truths: list[Rle]
) -> RecordEntry:
    entry = asked.entry
    verdict, which = annotator.judge(entry.rle, truths)
    if verdict != "fix" or which is None:
        return give_verdict(project.store, asked, verdict, WHO, seconds=REVIEW)
    embedding = model.embed(load_plane(project.picture(entry.image_id), entry.page))
    stage = entry.provenance.stage or "review"
    (better,) = annotator.label(model, embedding, [which], stage, [entry.rle])
    seconds = REVIEW + better.seconds
    return give_verdict(project.store, asked, verdict, WHO, rle=better.rle, seconds=seconds)
