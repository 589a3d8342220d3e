"""A simulated annotator's work on a project, for measurements without people.

It knows the true masks: it clicks what a person would, sorts and corrects proposals, and reviews.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from anymask.data.annotations import AnnotatedImage, AnnotatedMask
from anymask.data.planes import load_plane
from anymask.engine.annotator import REVIEW, Annotator, accepted
from anymask.engine.entries import Draft, ImageEntry, Stage, StoredMask
from anymask.engine.project import Project
from anymask.engine.review import ReviewItem, give_verdict, next_asked
from anymask.engine.runs import Work
from anymask.predictors.image import Model
from anymask.primitives.rle import Rle, rle_area, rle_iou

WHO = "simulated"
Truth = Mapping[str, AnnotatedImage]  # by the photo's name


@dataclass(frozen=True)
class SimulatedPerson:
    """Finishes photos as a person would (`runs.Work.finish`).

    control  draws by hand, without the model
    """

    annotator: Annotator
    model: Model
    stage: Stage
    truth: Truth
    control: bool = False

    def __call__(self, image: ImageEntry, path: Path, proposals: list[Draft]) -> list[Draft]:
        """The final masks of a photo."""
        known = self.truth[image.name].masks
        truths = [mask for mask in known if rle_area(mask.rle)]
        if self.control:
            return [accepted(self.annotator.outline(one.rle), one.label) for one in truths]
        if self.stage == "auto":
            return proposals
        drafts, taken, fixes = _sorted_out(self.annotator, proposals, truths)
        missing = [one for one in truths if not any(one is other for other in taken)]
        if not missing and not fixes:
            return drafts
        embedding, label = self.model.embed(load_plane(path)), self.annotator.label
        if missing:
            made = label(self.model, embedding, [one.rle for one in missing], self.stage)
            drafts += [accepted(draft, _nearest(truths, draft)) for draft in made]
        if fixes:
            wanted, starts = [one.rle for _, one in fixes], [draft.rle for draft, _ in fixes]
            better = label(self.model, embedding, wanted, self.stage, starts)
            drafts += [accepted(draft, _nearest(truths, draft), REVIEW) for draft in better]
        return drafts


def simulated_work(
    model: Model, stage: Stage, truth: Truth, annotator: Annotator, *, control: bool = False
) -> Work:
    """A run of a stage in which the annotator finishes the photos that it knows."""
    person = SimulatedPerson(annotator, model, stage, truth, control)
    who = f"model {model.name}" if stage == "auto" else WHO
    return Work(model=model, stage=stage, finish=person, who=who, only=truth)


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
) -> Iterator[StoredMask]:
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
) -> StoredMask:
    entry = asked.entry
    verdict, which = annotator.judge(entry.rle, truths)
    if verdict != "fix" or which is None:
        return give_verdict(project.store, asked, verdict, WHO, seconds=REVIEW)
    embedding = model.embed(load_plane(project.picture(entry.image_id), entry.page))
    stage = entry.provenance.stage or "review"
    (better,) = annotator.label(model, embedding, [which], stage, [entry.rle])
    seconds = REVIEW + better.seconds
    return give_verdict(project.store, asked, verdict, WHO, rle=better.rle, seconds=seconds)
