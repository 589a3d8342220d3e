"""Evaluate models on held-out images, and choose the final weights of a fine-tuning run.

The candidates are evaluated on the same held-out masks: the weights of the last step and of the
best validation step, each interpolated a quarter of the way back to the start, and as trained. The
first candidate is chosen, unless a later one is significantly better in the mean over the clicks.
With few images, the interpolation is half of the way, and the best candidate is chosen. If nothing
improved, the starting weights are kept; with few images also if the gain is within its standard
error, because the best of several candidates is partly chosen by chance.

Networks on the straight line between starting and fine-tuned weights often generalize better than
both ends (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", section 3), because they
preserve more of the original training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from anymask.base import DataError, brief, parse_json, write_json
from anymask.evaluation import TruthMask, box_scores, click_rounds
from anymask.formats import located
from anymask.masks import ClassOverlaps, rle_to_mask
from anymask.runtime import TorchRuntime
from anymask.segment import Model
from anymask.training.classes import class_masks
from anymask.training.frozen import FrozenOutputs
from anymask.training.trainee import starting_module, trained_module

if TYPE_CHECKING:
    from anymask.base import Floats
    from anymask.formats import AnnotatedImage
    from anymask.segment import Model
    from anymask.training.recipe import Recipe

CLICKS = 3  # on every mask
MASKS_A_IMAGE = 5
ENOUGH_MASKS = 60  # with few images, more masks of each are evaluated, up to this total
IOU_TOLERANCE = 0.005  # IoU tolerance for equal weights: rounding can move a pixel
FLIPPED = 0.5  # IoU by which one single mask may differ: a click lands on the other side of an edge
MIN_MEDIAN_COUNT = 4  # minimum number of masks or images for a meaningful median


@brief
@dataclass(frozen=True)
class Measured:
    """IoU of held-out masks (N, CLICKS) after each click, and the (image, mask) numbers."""

    ious: np.ndarray
    places: list[tuple[int, int]]

    def means(self) -> list[float]:
        """Return the mean IoU after each click."""
        return [round(float(value), 4) for value in self.ious.mean(0)]


@dataclass(frozen=True)
class TuningOutcome:
    """Metrics of a fine-tuning run on the same held-out masks."""

    before: Measured  # Metrics of the starting weights
    trained: Measured  # Metrics of the trained weights
    kept: Measured  # Metrics of the written weights
    started: bool  # Whether the starting weights are written

    def verdict(self) -> str:
        """Return a warning if nothing improved, else ""."""
        if np.array_equal(self.before.ious, self.trained.ious):
            return (
                "No change: the predictions for all held-out masks are the same as before training."
            )
        improved = gained(self.before, self.trained)
        if improved and not self.started:
            return ""
        before, after = (float(measured.ious.mean()) for measured in (self.before, self.trained))
        kept = "starting" if self.started else "trained"
        return (
            f"No {'clear ' * improved}improvement: the mean IoU over all clicks is {after:.3f} "
            f"after training and {before:.3f} before"
            f"{', a difference within its standard error' * improved}. The {kept} weights were "
            "kept. Label more images, check data.jpg for incorrect masks, or train fewer "
            "parameters with method='head' or method='decoder'."
        )


def gained(before: Measured, after: Measured, errors: float = 0) -> bool:
    """Return whether the mean IoU over all clicks increased by more than `errors` standard errors.

    The error is unknown for a single mask, which is no gain if `errors` is positive.
    """
    if not errors:
        return bool(after.ious.mean() > before.ious.mean())
    apart = (after.ious - before.ious).mean(1)
    error = apart.std(ddof=1) / np.sqrt(len(apart)) if len(apart) > 1 else np.inf
    return bool(apart.mean() > errors * error)


def difference(again: Measured, after: Measured) -> float:
    """Return the difference of two evaluations of the same weights; 0 if within tolerance.

    Floating-point sums may be computed in another order, which can move an edge pixel, and the next
    click with it. A single mask may therefore differ much, but not the median one.
    """
    if again.ious.shape != after.ious.shape:
        return 1.0
    apart, count = again.ious - after.ious, len(after.ious)
    mean = float(np.abs(apart.mean(0)).max())
    usual = float(np.median(np.abs(apart), axis=0).max()) if count >= MIN_MEDIAN_COUNT else 0.0
    same = mean <= max(IOU_TOLERANCE, FLIPPED / count) and usual <= IOU_TOLERANCE
    return 0.0 if same else max(mean, usual)


def model_of(module: nn.Module, device: str = "cpu") -> Model:
    """Wrap a torch module as a `Model`."""
    return Model(TorchRuntime(module, device=device))


def class_ious(model: Model, images: Sequence[AnnotatedImage]) -> dict[str, float | None]:
    """Return the IoU of each class over all pixels of the images."""
    overlaps = ClassOverlaps(model.spec.classes)
    for image in images:
        truth = np.zeros(image.hw, np.uint8)
        for number, mask in enumerate(class_masks(image, model.spec.classes), start=1):
            truth[mask > 0] = number
        overlaps.add(model.label(image.model_input(model.spec.channels)).numbers, truth)
    return overlaps.ious()


def subsample(images: Sequence[AnnotatedImage], most: int) -> list[AnnotatedImage]:
    """Return at most `most` images, evenly spaced, to limit the evaluation time."""
    count = min(most, len(images))
    return [images[i * len(images) // count] for i in range(count)]


def prompted_masks(images: Sequence[AnnotatedImage]) -> Iterator[list[TruthMask]]:
    """Yield the first masks of each image, more if there are few images; one image at a time."""
    most = max(MASKS_A_IMAGE, ENOUGH_MASKS // max(1, len(images)))
    for image in images:
        yield [TruthMask(rle_to_mask(rle)) for rle in image.rles[:most]]


def measure(model: Model, images: Sequence[AnnotatedImage], clicks: int = CLICKS) -> Measured:
    """Return the IoU of the first masks of each image after each click."""
    scores, places = [], []
    for number, (image, truths) in enumerate(zip(images, prompted_masks(images), strict=True)):
        features = model.encode(image.model_input(model.spec.channels))
        scores.append(click_rounds(model, features, truths, clicks).ious)
        places += [(number, mask) for mask in range(len(truths))]
    return Measured(np.concatenate(scores), places)


def measured_once(path: Path, columns: int, compute: Callable[[], Measured]) -> Measured:
    """Return metrics that are kept in a JSON file, which is written first. Raises DataError."""
    if not path.is_file():
        measured = compute()
        write_json(path, {"ious": measured.ious.tolist(), "places": measured.places})
    with located(path):
        kept = parse_json(path.read_bytes(), path)
        ious, places = np.array(kept["ious"], float), [(int(a), int(b)) for a, b in kept["places"]]
        if ious.shape != (len(places), columns) or not np.isfinite(ious).all():
            raise DataError("the metrics are incomplete")
    return Measured(ious, places)


def measure_boxes(model: Model, images: Sequence[AnnotatedImage]) -> Floats:  # (N,)
    """Return the IoU of the masks that `measure` uses, each prompted by its tight box."""
    scores = (
        box_scores(model, model.encode(image.model_input(model.spec.channels)), truths)
        for image, truths in zip(images, prompted_masks(images), strict=True)
    )
    return np.concatenate([*scores])


@torch.no_grad()
def blend(learned: nn.Module, start: nn.Module, share: float) -> nn.Module:
    """Interpolate the weights of `learned` in place, between `start` (0) and `learned` (1).

    Tensors that are missing in `start`, have another shape, or hold integers are unchanged.

    Args:
        share: Weight of the trained values, 0 to 1.
    """
    old = start.state_dict()
    for name, value in learned.state_dict().items():
        first = old.get(name)
        if first is not None and first.shape == value.shape and value.is_floating_point():
            value.copy_(first.to(value).lerp(value, share))
    return learned


SHARES = (0.75, 1.0)  # weights of the trained values
FEW_SHARES = (0.5, 1.0)  # the same, for few images


@dataclass(frozen=True)
class TuningEnd:
    """Candidate for the final weights of a run."""

    judged: bool = False  # Whether it comes from the best validation step, not the last step
    share: float = 1.0  # Weight of the trained values; the rest comes from the starting weights

    def describe(self) -> str:
        """Describe the written weights."""
        when = "best validation step" if self.judged else "last step"
        back = f", interpolated {1 - self.share:.0%} towards the starting weights"
        return f"Saved weights: {when}{back * (self.share < 1)}"


def choose_end(
    folder: Path,
    recipe: Recipe,
    state: dict[str, Any],
    held: Sequence[AnnotatedImage],
    before: Measured,
    frozen: FrozenOutputs | None = None,
) -> tuple[nn.Module, TuningOutcome, TuningEnd]:
    """Return the network to write, its metrics, and its origin: the start if nothing improved.

    With classes, the trained weights are always kept, because the start has no class head.

    Args:
        state: Last checkpoint of the run.
        frozen: Cache that all candidates share.
    """
    best: tuple[Measured, TuningEnd] | None = None
    for end in ends_of(recipe, state):  # one network at a time, to limit memory
        network = network_at(folder, recipe, state, end)
        measured = measure(model_of(network if frozen is None else frozen.attach(network)), held)
        if best is None or gained(best[0], measured, 0 if recipe.views else 2):
            best = (measured, end)
    assert best is not None  # there is at least one candidate
    trained, end = best
    errors = 1 if recipe.views and len(before.ious) >= MIN_MEDIAN_COUNT else 0
    if recipe.classes or gained(before, trained, errors):
        module = network_at(folder, recipe, state, end)
        return module, TuningOutcome(before, trained, trained, started=False), end
    kept = measure(model_of(starting_module(folder, recipe)), held)
    outcome = TuningOutcome(before, trained, kept, started=True)
    return starting_module(folder, recipe), outcome, end


def ends_of(recipe: Recipe, state: dict[str, Any]) -> Iterator[TuningEnd]:
    """Yield the candidates of a run.

    Adapters and added layers are not part of the start, so they cannot be interpolated.
    """
    whole = recipe.learn in ("all", "decoder", "neck", "memory") and not recipe.classes
    shares = FEW_SHARES if recipe.views else SHARES
    best = state.get("best")
    if recipe.learn == "no-prompt":  # the click metrics of all candidates are equal
        yield TuningEnd(judged=best is not None)
        return
    apart = best is not None and best["step"] not in (0, state["progress"]["step"])
    for judged in (False, True) if apart else (False,):
        for share in shares if whole else (1.0,):
            yield TuningEnd(judged, share)


def network_at(folder: Path, recipe: Recipe, state: dict[str, Any], end: TuningEnd) -> nn.Module:
    """Build the network of a candidate."""
    learned = trained_module(state_at(state, end))
    return learned if end.share == 1 else blend(learned, starting_module(folder, recipe), end.share)


def state_at(state: dict[str, Any], end: TuningEnd) -> dict[str, Any]:
    """Return the checkpoint with the averaged weights of a candidate."""
    average = state["best"]["average"] if end.judged else state["average"]
    return state | {"average": average, "best": None}
