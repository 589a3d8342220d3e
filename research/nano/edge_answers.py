"""What a model really answers for training photos: photos and a model in, windows of edges out.

Clicks, boxes and corrections are asked as users ask them. Beside photos, pages of writing and
composed scenes are drawn, and some pictures become gray or get false colours: documents, X-rays and
thermal pictures are not among everyday photos, and a network that never saw them spoils them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from anymask.base import BoolArray, FloatArray, UintImage
from anymask.masks import Prompt, center_click, iou, next_click, rle_to_mask
from anymask.segment import Candidate, Prediction
from anymask.segment.prediction import window_around
from anymask.training import Recipe
from anymask.training.samples import TrainingImages
from research.nano.edge_samples import MEANT, WindowWriter
from research.nano.scenes import compose, page

PAGES, SCENES, FALSE_COLORS = 0.10, 0.12, 0.25  # parts of the pictures
SIDES = (512, 640, 768)  # of drawn pictures, pixels
SMALLEST = 80  # pixels of a mask that is asked about
OF_IMAGE, OF_SCENE = 2, 4  # masks of a picture
JITTER = 0.04  # of a box's sides
PALETTES = (
    cv2.COLORMAP_INFERNO, cv2.COLORMAP_JET, cv2.COLORMAP_HOT, cv2.COLORMAP_PLASMA,
    cv2.COLORMAP_BONE, cv2.COLORMAP_TURBO, cv2.COLORMAP_MAGMA, cv2.COLORMAP_RAINBOW,
)  # fmt: skip

# Asked about one photo: prompts of any kind in, an answer each.
Asking = Callable[[Sequence[Prompt]], Sequence[Prediction]]


@dataclass(frozen=True, eq=False)
class LabeledImage:
    """A picture (H, W, 3), some of its masks (H, W), and where it comes from."""

    image: UintImage
    masks: list[BoolArray]
    group: str
    kind: str


def gather_windows(
    data: Path,
    folder: Path,
    see: Callable[[UintImage], Asking],
    images: int,
    seed: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Ask a model about so many pictures and store the windows of its answers.

    Raises ConfigError, DataError for the sets.

    Args:
        data: Folder of the datasets for shipped weights.
        folder: Output folder, see `edge_samples`.
        see: Function that encodes an image.
        on_progress: Progress callable (images done, all images).
    """
    drawn = TrainingImages(Recipe(), data)
    with WindowWriter(folder) as writer:
        for number in range(images):
            rng = np.random.default_rng([seed, number])
            image = labeled_image(drawn, rng, number)
            if image.masks:
                predict = see(image.image)
                for mask in image.masks:
                    for prompt, answer in asked_answers(predict, mask, rng):
                        _store(writer, image, mask, prompt, answer)
            if on_progress is not None:
                on_progress(number + 1, images)


def _store(
    writer: WindowWriter, image: LabeledImage, truth: BoolArray, prompt: Prompt, answer: Candidate
) -> None:
    cells = answer.shown_logits - np.float32(answer.threshold)
    window = window_around(cells, answer.geometry)
    if window is not None:
        about = prompt, float(iou(answer.pixels(), truth)), image.group, image.kind
        writer.add(image.image, truth, cells, window, about)


def labeled_image(source: TrainingImages, rng: Generator, number: int) -> LabeledImage:
    """A photo, a page or a scene, sometimes in other colours."""
    kind, side = float(rng.random()), int(rng.choice(SIDES))
    if kind < PAGES + SCENES:
        if kind < PAGES:
            image, planes = page(side, rng, lambda: source.draw_source(rng))
        else:
            image, planes = compose(
                side, rng, lambda: source.draw_source(rng), lambda: source.cut_out(rng)
            )
        name, masks = "page" if kind < PAGES else "scene", [one.astype(np.bool_) for one in planes]
        group, most = f"{name} {number}", OF_SCENE
    else:
        sample = source.source.sample(rng, number)
        order = rng.permutation(len(sample.rles))[:6]
        image, masks = sample.image(), [rle_to_mask(sample.rles[n]).astype(bool) for n in order]
        name, group, most = "photo", str(sample.source), OF_IMAGE
    if rng.random() < FALSE_COLORS:
        image, name = false_colors(image, rng), f"{name}, recoloured"
    large = [mask for mask in masks if np.count_nonzero(mask) >= SMALLEST]
    chosen = [large[n] for n in rng.permutation(len(large))[:most]]
    return LabeledImage(np.ascontiguousarray(image), chosen, group, name)


def false_colors(image: UintImage, rng: Generator) -> UintImage:
    """A photo as an X-ray, a gray or a thermal picture shows things: one value, many palettes."""
    gray: NDArray[Any] = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    gray = 255 - gray if rng.random() < 0.4 else gray
    if rng.random() < 0.5:
        gray = 255 * (gray / 255) ** np.float32(np.exp(rng.uniform(-0.7, 0.7)))
    if rng.random() < 0.4:
        gray = cv2.GaussianBlur(gray, (0, 0), rng.uniform(0.5, 2.5))
    if rng.random() < 0.4:
        gray = gray * np.float32(rng.uniform(0.25, 0.8)) + np.float32(rng.uniform(0, 60))
    if rng.random() < 0.3:
        gray = gray + rng.normal(0, rng.uniform(2, 12), gray.shape)
    levels = np.clip(gray, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        return np.repeat(levels[..., None], 3, axis=2)
    palette = PALETTES[int(rng.integers(len(PALETTES)))]
    return np.ascontiguousarray(cv2.applyColorMap(levels, palette)[..., ::-1], np.uint8)


def asked_answers(
    predict: Asking, mask: BoolArray, rng: Generator
) -> Iterator[tuple[Prompt, Candidate]]:  # (H, W)
    """Answers to a click, a box, and clicks that correct the first answer."""
    click = _some_click(mask, rng)
    lone = Prompt.of(points=[click], labels=[1])
    answer = predict([lone])[0]
    yield lone, answer.first
    fits = [iou(one.pixels(), mask) for one in answer.items]
    best = int(np.argmax(fits))
    if best and fits[best] > MEANT:
        yield lone, answer.items[best]
    # The tight box, or one drawn with an unsteady hand; None where nothing is left of it.
    height, width = mask.shape
    x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
    corners = np.array([x, y, x + w, y + h], np.float64)
    if rng.random() < 0.35:
        corners += rng.normal(0, JITTER, 4) * [w, h, w, h]
    inside: FloatArray = np.clip(corners, 0, [width, height, width, height]).astype(np.float32)
    if min(inside[2] - inside[0], inside[3] - inside[1]) > 1:
        around = Prompt.of(box=inside)
        yield around, predict([around])[0].first
    if rng.random() < 0.5:
        points, labels, now = [click], [1], answer.first
        for _ in range(int(rng.integers(1, 3))):
            error = next_click(now.pixels(), mask)
            if error is None:
                return
            points, labels = [*points, error.point], [*labels, error.label]
            corrected = Prompt.of(points=points, labels=labels, mask=now.logits)
            now = predict([corrected])[0].first
        yield corrected, now


def _some_click(mask: BoolArray, rng: Generator) -> tuple[float, float]:
    if rng.random() >= 0.4:
        return center_click(mask)
    ys, xs = np.nonzero(mask)
    chosen = int(rng.integers(len(ys)))
    return float(xs[chosen]), float(ys[chosen])
