"""Simulated annotator: true masks in; noisy clicks, labelling times and verdicts out.

With it the data engine can be measured without people. Its time is counted, not spent: CLICK
seconds a click, REVIEW seconds a look at a mask. What it cannot do: name objects, get tired, find
the truth ambiguous; so its figures compare stages with each other, and promise nothing.

Letters: H W the photo.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.random import Generator

from anymask.base import BoolArray, FloatArray, InputError
from anymask.formats import AnnotatedImage
from anymask.images import load_plane
from anymask.masks import (
    Click,
    Features,
    Mask,
    Prompt,
    Rle,
    centre_click,
    iou,
    mask_to_polygons,
    mask_to_rle,
    next_click,
    polygons_to_mask,
    rle_area,
    rle_iou,
    rle_to_mask,
)
from anymask.segment import Model, Prediction
from anymask.studio import (
    HINT_SECONDS,
    STAGES,
    Arm,
    Draft,
    ImageEntry,
    ImageStatus,
    Project,
    Provenance,
    ReviewItem,
    Stage,
    StoredMask,
    Verdict,
    Work,
    give_verdict,
    next_asked,
    one_of,
)

WHO = "simulated"
Truth = Mapping[str, AnnotatedImage]  # by the photo's name
CLICK = 1.5
REVIEW = 3.0
TOLERANCES = (16.0, 12.0, 8.0, 6.0, 4.0, 3.0, 2.0, 1.0, 0.5)  # of a polygon, in pixels


@dataclass(frozen=True, kw_only=True)
class AnnotatorSettings:
    """Settings of the simulated annotator.

    noise    standard deviation of a click, as a part of the root of the object's area
    enough   IoU at which a mask is finished
    fixable  IoU from which a proposal is corrected; below it is rejected
    seconds  after which it moves on
    patience clicks in a row without a better mask after which it moves on, too
    seed     of the noise
    """

    noise: float = 0.05
    enough: float = 0.9
    fixable: float = 0.5
    seconds: float = HINT_SECONDS
    patience: int = 4
    seed: int = 0

    @property
    def most_clicks(self) -> int:
        """That fit into its patience."""
        return max(1, int(self.seconds / CLICK))


@dataclass
class _Work:
    """One object: the clicks so far and the mask that they brought."""

    truth: BoolArray
    clicks: list[Click]
    mask: BoolArray
    logits: FloatArray | None = None
    quality: float = 0.0
    start: BoolArray | None = None
    done: bool = False
    in_vain: int = 0

    def prompt(self) -> Prompt:
        points = np.array([click.point for click in self.clicks], np.float32)
        labels = np.array([click.label for click in self.clicks], np.int64)
        return Prompt(points=points, labels=labels, mask=self.logits)


@dataclass
class Annotator:
    """A simulated annotator: labels, corrects and reviews masks by the true ones."""

    hand: AnnotatorSettings = field(default_factory=AnnotatorSettings)

    def label(
        self,
        model: Model,
        embedding: Features,
        truths: Sequence[Rle],
        stage: Stage,
        starts: Sequence[Rle] = (),
    ) -> list[Draft]:
        """Click every object until it is good enough; the largest first, as the most prominent.

        starts  masks that are corrected instead of begun anew, one for each truth
        """
        rng = np.random.default_rng([self.hand.seed, len(truths), sum(map(rle_area, truths))])
        works = [self._begin(rng, truth, start) for truth, start in _pair_starts(truths, starts)]
        for step in range(self.hand.most_clicks):
            active = [work for work in works if not work.done]
            if not active:
                break
            prompts = [work.prompt() for work in active]
            answers = model.segment(embedding, prompts=prompts, multimask=step == 0 and not starts)
            for work, answer in zip(active, answers, strict=True):
                self._look(rng, work, answer, last=step + 1 == self.hand.most_clicks)
        return [self._draft(work, model, stage) for work in works]

    def _begin(self, rng: Generator, truth: Rle, start: Rle | None) -> _Work:
        mask = rle_to_mask(truth)
        if start is None:
            first, given = Click(centre_click(mask), 1), np.zeros_like(mask)
            return _Work(mask, [self._shake(rng, first, mask)], given)
        given = rle_to_mask(start)
        click = next_click(given, mask)
        work = _Work(mask, [], given, start=given, done=click is None)
        if click is not None:
            work.clicks.append(self._shake(rng, click, mask))
        return work

    def _look(self, rng: Generator, work: _Work, answer: Prediction, last: bool) -> None:
        """Take the candidate that fits best, as a person would, and click on its error."""
        fits = [iou(mask, work.truth) for mask in answer.masks]
        best = int(np.argmax(fits))
        work.in_vain += 1
        if fits[best] > iou(work.mask, work.truth):
            work.mask, work.scores = answer.masks[best], float(answer.scores[best])
            work.in_vain = 0
        work.logits = answer.logits[best]
        click = next_click(answer.masks[best], work.truth)
        tired = last or work.in_vain >= self.hand.patience
        work.done = tired or click is None or fits[best] >= self.hand.enough
        if not work.done and click is not None:
            work.clicks.append(self._shake(rng, click, work.truth))

    def _shake(self, rng: Generator, click: Click, truth: BoolArray) -> Click:
        """The click a little beside where it was meant, on the right side of the outline."""
        reach = self.hand.noise * float(np.sqrt(truth.sum()))
        height, width = truth.shape
        for _ in range(8):
            x, y = np.round(np.add(click.point, rng.normal(0, reach, 2)))
            inside = 0 <= x < width and 0 <= y < height
            if inside and truth[int(y), int(x)] == bool(click.label):
                return Click((float(x), float(y)), click.label)
        return click

    def _draft(self, work: _Work, model: Model, stage: Stage) -> Draft:
        prompt = {
            "points": [list(click.point) for click in work.clicks],
            "labels": [click.label for click in work.clicks],
        }
        return Draft(
            rle=mask_to_rle(work.mask),
            quality=work.quality,
            seconds=CLICK * len(work.clicks),
            provenance=Provenance(
                kind="human",
                model=model.name,
                model_hash=model.runtime.weights_hash,
                prompts=(prompt,),
                tool="click",
                stage=stage,
            ),
        )

    def outline(self, truth: Rle) -> Draft:
        """The control arm: a polygon by hand, with no more corners than it needs."""
        mask = rle_to_mask(truth)
        drawn, corners = mask, 0
        for tolerance in TOLERANCES:
            polygons = mask_to_polygons(mask, tolerance, min_area=4)
            corners = sum(len(p.exterior) + sum(map(len, p.holes)) for p in polygons)
            drawn = polygons_to_mask(polygons, truth.size) if polygons else mask
            if iou(drawn, mask) >= self.hand.enough:
                break
        origin = Provenance(kind="human", tool="polygon", stage="assisted", arm="control")
        seconds = CLICK * max(corners, 3)
        return Draft(rle=mask_to_rle(drawn), seconds=seconds, provenance=origin)

    def judge(self, rle: Rle, truths: Sequence[Rle]) -> tuple[Verdict, Rle | None]:
        """What it says to a proposal, and which object it takes it for."""
        if not truths:
            return "reject", None
        fits = rle_iou([rle], truths)[0]
        best = int(fits.argmax())
        if fits[best] >= self.hand.enough:
            return "accept", truths[best]
        return ("fix", truths[best]) if fits[best] >= self.hand.fixable else ("reject", None)


def _pair_starts(truths: Sequence[Rle], starts: Sequence[Rle]) -> list[tuple[Rle, Rle | None]]:
    pairs: list[tuple[Rle, Rle | None]] = [(truth, None) for truth in truths]
    if starts:
        pairs = list(zip(truths, starts, strict=True))
    return sorted(pairs, key=lambda pair: -rle_area(pair[0]))


def accepted(draft: Draft, label: str | None, extra_seconds: float = 0.0) -> Draft:
    """A draft with its name and the time that was spent on it beside the clicks."""
    return replace(draft, label=label, status="accepted", seconds=draft.seconds + extra_seconds)


# Runs in which it stands in for a person.


@dataclass(frozen=True, kw_only=True)
class SimulatedWork(Work):
    """A run of a stage in which the annotator finishes each photo.

    truth      the masks that it knows, by the photo's name; other photos wait for somebody else
    annotator  who clicks
    arm        "control": the annotator works without a model (assisted only)
    """

    truth: Truth
    annotator: Annotator = field(default_factory=Annotator)
    arm: Arm = "model"

    def __post_init__(self) -> None:
        one_of("stage", self.stage, tuple(STAGES))
        if self.arm == "control" and self.stage != "assisted":
            raise InputError(f"the control arm belongs to the stage assisted, got {self.stage!r}")
        if self.larger is not None and self.stage == "assisted":
            raise InputError("a larger model looks at proposals again, the stage assisted has none")

    @property
    def who(self) -> str:
        """In whose name the masks are kept."""
        return super().who if self.stage == "auto" else WHO

    @property
    def status(self) -> ImageStatus:
        """Of a photo that a run has worked through."""
        return "proposed" if self.stage == "auto" else "done"

    def is_waiting(self, image: ImageEntry) -> bool:
        """Whether a run has to do a photo."""
        return image.status == "new" and image.name in self.truth

    def drafts(self, project: Project, image: ImageEntry) -> list[Draft]:
        """The masks of a photo."""
        truths = [mask for mask in self.truth[image.name].masks if rle_area(mask.rle)]
        if self.arm == "control":
            return [accepted(self.annotator.outline(one.rle), one.label) for one in truths]
        proposals = super().drafts(project, image)
        if self.stage == "auto":
            return proposals
        photo = load_plane(project.picture(image.id))
        drafts, taken, fixes = _sorted_out(self.annotator, proposals, truths)
        missing = [one for one in truths if not any(one is other for other in taken)]
        if not missing and not fixes:
            return drafts
        embedding, label = self.model.encode(photo), self.annotator.label
        if missing:
            made = label(self.model, embedding, [one.rle for one in missing], self.stage)
            drafts += [accepted(draft, _nearest(truths, draft)) for draft in made]
        if fixes:
            wanted, starts = [one.rle for _, one in fixes], [draft.rle for draft, _ in fixes]
            better = label(self.model, embedding, wanted, self.stage, starts)
            drafts += [accepted(draft, _nearest(truths, draft), REVIEW) for draft in better]
        return drafts


Fix = tuple[Draft, Mask]


def _sorted_out(
    annotator: Annotator, proposals: list[Draft], truths: list[Mask]
) -> tuple[list[Draft], list[Mask], list[Fix]]:
    """What became of the proposals: decided ones, the objects they show, and those to correct."""
    drafts: list[Draft] = []
    taken: list[Mask] = []
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


def _nearest(truths: list[Mask], draft: Draft) -> str | None:
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
    embedding = model.encode(load_plane(project.picture(entry.image_id), entry.page))
    stage = entry.provenance.stage or "review"
    (better,) = annotator.label(model, embedding, [which], stage, [entry.rle])
    seconds = REVIEW + better.seconds
    return give_verdict(project.store, asked, verdict, WHO, rle=better.rle, seconds=seconds)
