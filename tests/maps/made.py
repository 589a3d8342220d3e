"""Made maps with known things on them, and a model that finds them by a threshold."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.masks import Mask, Masks, crop_to_rle, mask_to_rle

UTM = "EPSG:32632"
LEVEL = 150  # what is lighter in green is a thing


def write_map(
    path: Path,
    pixels: NDArray[Any],  # (H, W, C)
    crs: str = UTM,
    corner: tuple[float, float] = (500_000.0, 5_300_000.0),
    step: float = 0.5,
    **more: Any,
) -> Path:
    import rasterio
    from rasterio.transform import from_origin

    height, width, count = pixels.shape
    profile = {
        "driver": "GTiff", "width": width, "height": height, "count": count, "dtype": pixels.dtype,
        "crs": crs, "transform": from_origin(*corner, step, step), "tiled": True,
    }  # fmt: skip
    names = more.pop("names", None)
    with rasterio.open(path, "w", **(profile | more)) as file:
        file.write(pixels.transpose(2, 0, 1))
        if names:
            file.descriptions = names
    return path


def field(side: int, count: int, seed: int = 0, radius: tuple[int, int] = (8, 60)) -> NDArray[Any]:
    """Which thing each pixel belongs to (side, side): that many turned boxes and ellipses."""
    rng, numbers = np.random.default_rng(seed), np.zeros((side, side), np.int32)
    number = 0
    while number < count:
        center = rng.uniform(0, side, 2)
        axes, angle = rng.uniform(*radius, 2), rng.uniform(0, 180)
        shape = np.zeros((side, side), np.uint8)
        if number % 2:
            box = cv2.boxPoints((tuple(center), tuple(2 * axes), angle))
            cv2.fillPoly(shape, [np.int32(box)], 1)
        else:
            cv2.ellipse(shape, np.int32(center), np.int32(axes), angle, 0, 360, 1, -1)
        x0, y0 = np.maximum(np.int32(center - 90), 0)
        near = (slice(y0, y0 + 181), slice(x0, x0 + 181))
        grown = cv2.dilate(shape[near], np.ones((5, 5), np.uint8))
        if shape[near].sum() > 100 and not numbers[near][grown > 0].any():
            number += 1
            numbers[near][shape[near] > 0] = number
    return numbers


def image_of(numbers: NDArray[Any], seed: int = 0) -> NDArray[Any]:
    """Light things on dark ground with noise (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(-20, 20, numbers.shape)
    light = (np.where(numbers > 0, 200, 80) + noise).astype(np.uint8)
    return np.stack([light // 2, light, light // 3], axis=2)


class ThresholdModel:
    """Stands in for `anymask.Model`: whatever is light and hangs together is a thing."""

    name = "threshold"
    spec = SimpleNamespace(channels=None)
    runtime = SimpleNamespace(weights_hash="threshold")

    def __init__(self) -> None:
        self.looks: list[tuple[int, ...]] = []

    def everything(self, image: NDArray[Any], **settings: Any) -> Masks:
        self.looks.append(image.shape)
        count, regions, stats, _ = cv2.connectedComponentsWithStats(light(image))
        found = []
        for n in range(1, count):
            x, y, w, h, _ = stats[n].tolist()
            inside = regions[y : y + h, x : x + w] == n
            rle = crop_to_rle(inside, (x, y), image.shape[:2])
            found.append(Mask(rle, score=0.9))
        return Masks(found, image_hw=image.shape[:2])

    def encode(self, image: NDArray[Any]) -> None:
        """Needs no embedding."""

    def segment(self, image: Any, *, prompts: Sequence[Any], **_: Any) -> list[Any]:
        image = getattr(image, "image", image)
        _, regions = cv2.connectedComponents(light(image))
        answers = []
        for prompt in prompts:
            corners = prompt.points if prompt.box is None else prompt.box.reshape(2, 2)
            x, y = np.int32(np.mean(corners, axis=0))
            mask = Mask(mask_to_rle((regions == regions[y, x]) & (regions > 0)), score=0.8)
            answers.append(Answer([mask]))
        return answers


def light(image: NDArray[Any]) -> NDArray[np.uint8]:
    return (image[..., 1] > LEVEL).astype(np.uint8)


class Answer(list[Mask]):
    @property
    def best(self) -> Mask:
        return self[0]
