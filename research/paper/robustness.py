"""Robustness: a photo made worse or a click moved in, the IoU that is lost out.

    blur    Gaussian, sigma in pixels of a photo whose long side is 1024
    noise   Gaussian, sigma in 0..255, the same draw every time
    jpeg    saved and read again at this quality
    gamma   x -> x ** gamma on 0..1: below 1 brighter, above 1 darker
    shift   the click moved in a random direction by this share of its distance to the mask's
            border, so that it stays on the object

The drop is the IoU without the change minus the IoU with it, mask by mask; intervals draw photos.
The kinds are those of Hendrycks and Dietterich (arXiv 1903.12261) that a camera and a messenger
make; strengths are our own. Letters: H W the photo, N masks.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from anymask.base import Floats, IntArray, UintImage
from anymask.evaluation import (
    Curve,
    DetailTable,
    EvalPhoto,
    EvalSet,
    EvalSettings,
    MetricValue,
    NotMeasured,
    OnProgress,
    Segmenter,
    SetResult,
    TruthMask,
    box_scores,
    click_masks,
    iterate_photos,
    score_first,
    values_to_metric,
)
from anymask.masks import deepest_pixel

ChangeKind = Literal["blur", "noise", "jpeg", "gamma", "shift"]
REFERENCE_SIDE = 1024


@dataclass(frozen=True)
class PhotoChange:
    """One kind at one strength; `strength` in the words of the module's text."""

    kind: ChangeKind
    strength: float

    @property
    def name(self) -> str:
        """In tables: "blur 2"."""
        return f"{self.kind} {self.strength:g}"


CHANGES: tuple[PhotoChange, ...] = (
    *(PhotoChange("blur", sigma) for sigma in (1, 2, 4)),
    *(PhotoChange("noise", sigma) for sigma in (10, 25, 50)),
    *(PhotoChange("jpeg", quality) for quality in (50, 20, 8)),
    *(PhotoChange("gamma", gamma) for gamma in (0.5, 2, 3)),
    *(PhotoChange("shift", share) for share in (0.25, 0.5, 0.75)),
)
SHOWN_CHANGES = tuple(CHANGES[place] for place in (1, 4, 7, 10, 13))  # the middle strengths


def change_photo(image: UintImage, change: PhotoChange) -> UintImage:  # (H, W, 3) -> (H, W, 3)
    """The photo after the change; a shift leaves it as it is."""
    if change.kind == "blur":
        sigma = change.strength * max(image.shape[:2]) / REFERENCE_SIDE
        return np.asarray(cv2.GaussianBlur(image, (0, 0), max(sigma, 0.05)), np.uint8)
    if change.kind == "noise":
        noise = np.random.default_rng(0).standard_normal(image.shape, np.float32)
        return np.clip(image + change.strength * noise + 0.5, 0, 255).astype(np.uint8)
    if change.kind == "jpeg":
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        _, file = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(change.strength)])
        read = cv2.imdecode(file, cv2.IMREAD_COLOR)
        assert read is not None
        return np.asarray(cv2.cvtColor(read, cv2.COLOR_BGR2RGB), np.uint8)
    if change.kind == "gamma":
        steps = 255 * (np.arange(256) / 255) ** change.strength
        return np.asarray(np.round(steps).astype(np.uint8)[image], np.uint8)
    return image


def shift_click(truth: TruthMask, share: float) -> tuple[float, float]:
    """The mask's centre click, moved by a share of its depth; the same direction every time."""
    depth, (x, y) = deepest_pixel(truth.mask)
    reach = share * max(depth - 1, 0)
    seed = zlib.crc32(np.packbits(truth.mask).tobytes())
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi)
    return x + reach * float(np.cos(angle)), y + reach * float(np.sin(angle))


def measure_robustness(
    method: Segmenter, one: EvalSet, settings: EvalSettings, told: OnProgress | None = None
) -> SetResult:
    """Measure one method on one set (a `SetMeasure`): every change, by one click and by the box.

    Raises NotMeasured for a method that takes neither.
    """
    ways = tuple(way for way in ("point", "box") if way in method.spec.accepts)
    if not ways:
        raise NotMeasured("it takes neither clicks nor boxes")
    image: list[int] = []
    parts: list[Floats] = []
    for photo in iterate_photos(method, one, settings, told):
        parts.append(_photo_scores(method, photo, ways))
        image += [photo.place] * len(photo.masks)
    return describe_robustness(np.concatenate(parts), np.array(image, np.int64), ways)


def describe_robustness(scores: Floats, image: IntArray, ways: Sequence[str]) -> SetResult:
    """Figures of IoUs (N, ways, 1 + CHANGES), the unchanged first; NaN where it makes no sense."""
    names = {"point": "click", "box": "box"}
    figures: list[MetricValue] = []
    curves: list[Curve] = []
    rows: list[tuple[str | float, ...]] = []
    for place, way in enumerate(ways):
        clean, name = scores[:, place, 0], names[way]
        drops = {
            change: values_to_metric(
                f"{name} lost to {change.name}", clean - scores[:, place, n], image
            )
            for n, change in enumerate(CHANGES, start=1)
        }
        figures.append(values_to_metric(name, clean, image))
        figures += [drops[change] for change in SHOWN_CHANGES if not np.isnan(drops[change].value)]
        rows += [
            (name, c.name, float(clean.mean()) - d.value, d.value, d.low, d.high)
            for c, d in drops.items()
            if not np.isnan(d.value)
        ]
        curves += _curves(name, float(np.mean(clean)), drops)
    header = ("prompt", "change", "mean IoU", "drop", "low", "high")
    return SetResult(
        figures=tuple(figures),
        curves=tuple(curves),
        tables=(DetailTable(title="every strength", header=header, rows=tuple(rows)),),
        notes=("the first figure of a prompt is its mean IoU, the others what the change costs",),
    )


def _curves(name: str, clean: float, drops: dict[PhotoChange, MetricValue]) -> list[Curve]:
    """Mean IoU against strength, a plot a kind."""
    curves = []
    for kind in dict.fromkeys(change.kind for change in drops):
        there = [(c, d.value) for c, d in drops.items() if c.kind == kind and not np.isnan(d.value)]
        if there:
            curves.append(
                Curve(
                    title=f"{name}: {kind}",
                    x=np.array([change.strength for change, _ in there]),
                    y=np.array([clean - drop for _, drop in there]),
                    x_label=kind,
                    y_label="mean IoU",
                )
            )
    return curves


def _photo_scores(method: Segmenter, photo: EvalPhoto, ways: Sequence[str]) -> Floats:
    """(N, ways, 1 + CHANGES) IoUs of a photo's masks."""
    truths = photo.truths()
    scores = np.full((len(truths), len(ways), 1 + len(CHANGES)), np.nan)
    clean = method.encode(photo.image)
    for n, change in enumerate((PhotoChange("shift", 0), *CHANGES)):
        shifts = change.kind == "shift"
        embedding = clean if shifts else method.encode(change_photo(photo.image, change))
        for place, way in enumerate(ways):
            if way == "point":
                share = change.strength if shifts else 0.0
                clicks = [shift_click(truth, share) for truth in truths]
                answers = click_masks(method, embedding, clicks)
                scores[:, place, n] = score_first(answers, truths)
            elif not (shifts and n):
                scores[:, place, n] = box_scores(method, embedding, truths)
    return scores
