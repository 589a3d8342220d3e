"""Runtimes without a network: their answers are known, so what is around them can be checked."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from anymask.base import FloatArray, UintImage
from anymask.masks import ALL_KINDS, EncoderOutput, FeatureMap, ModelPrompts, ModelSpec, StoredMaps
from anymask.models.rules import Family, NameTable, open_family
from anymask.runtime import ImageRuntime

SPEC = ModelSpec(
    name="fake",
    image_side=128,
    mask_side=64,
    mean=(0, 0, 0),
    std=(255, 255, 255),
    accepts=ALL_KINDS,
)


def seen_of(*arrays: FloatArray) -> EncoderOutput:
    """Maps (C, h, w) as a runtime on the processor hands them over, named as in exported graphs."""
    names = ["features", *(f"extras_{index}" for index in range(len(arrays) - 1))]
    return StoredMaps(tuple(map(FeatureMap, names, arrays)))


class ColorRuntime(ImageRuntime):
    """Marks what has the colour under the positive clicks or in the middle of the box.

    Negative clicks are ignored. Quality grows with the share of the picture that the object fills,
    so a closer look is a better one; token 0 is the mask, 1..3 are a tighter, the same and a looser
    one. A mask prompt without clicks comes back as it is.
    """

    def __init__(self, spec: ModelSpec = SPEC, weights_hash: str = "colour") -> None:
        self.spec = spec
        self.weights_hash = weights_hash
        self.calls: list[tuple[int, int]] = []  # (N, P) of every decoding

    @property
    def family(self) -> Family:
        return open_family(self.spec)

    def encode_images(self, images: FloatArray) -> list[EncoderOutput]:
        step = self.spec.image_side // self.spec.mask_side
        return [seen_of(np.ascontiguousarray(image[:, ::step, ::step])) for image in images]

    def decode(
        self, features: EncoderOutput, prompts: ModelPrompts
    ) -> tuple[FloatArray, FloatArray]:
        self.calls.append(prompts.labels.shape)
        colors = features.maps()[0].values
        answers = [
            self.answer(colors, coords, labels, mask[0], has_mask)
            for coords, labels, mask, has_mask in zip(
                prompts.coords, prompts.labels, prompts.masks, prompts.has_mask, strict=True
            )
        ]
        logits = np.stack([np.stack([base, base - 2, base, base + 2]) for base in answers])
        share = (logits > 0).mean(axis=(2, 3))
        quality = np.array([0.9, 0.8, 0.95, 0.85]) * np.minimum(1, 0.5 + np.sqrt(share))
        return logits.astype(np.float32), quality.astype(np.float32)

    def answer(
        self,
        colors: FloatArray,
        coords: FloatArray,
        labels: np.ndarray,
        mask: FloatArray,
        has_mask: float,
    ) -> FloatArray:
        cells = self.cells(coords)
        seeds = cells[labels == 1]
        box = cells[labels >= 2]
        if len(box):
            seeds = np.concatenate([seeds, box.mean(axis=0, keepdims=True).astype(int)])
        if not len(seeds):
            return mask if has_mask else np.full(colors.shape[1:], -6, np.float32)
        expected = colors[:, seeds[:, 1], seeds[:, 0]].mean(axis=1)
        logits = 6 - 40 * np.abs(colors - expected[:, None, None]).sum(axis=0)
        logits = np.clip(logits, -6, 6)
        if len(box):
            (x0, y0), (x1, y1) = box
            outside = np.ones(logits.shape, bool)
            outside[y0 : y1 + 1, x0 : x1 + 1] = False
            logits[outside] = -6
        return logits

    def cells(self, coords: FloatArray) -> np.ndarray:
        """Model pixels -> cells of the low-resolution mask."""
        cells = np.floor(coords * self.spec.mask_side / self.spec.image_side).astype(int)
        return cells.clip(0, self.spec.mask_side - 1)


class PerverseRuntime(ColorRuntime):
    """Switches a blob on around every negative click."""

    def answer(
        self,
        colors: FloatArray,
        coords: FloatArray,
        labels: np.ndarray,
        mask: FloatArray,
        has_mask: float,
    ) -> FloatArray:
        logits = super().answer(colors, coords, labels, mask, has_mask)
        for x, y in self.cells(coords)[labels == 0]:
            logits[max(y - 4, 0) : y + 5, max(x - 4, 0) : x + 5] = 6
        return logits


class NoiseRuntime(ColorRuntime):
    """Smooth noise that depends on nothing but the prompt and the picture."""

    def answer(
        self,
        colors: FloatArray,
        coords: FloatArray,
        labels: np.ndarray,
        mask: FloatArray,
        has_mask: float,
    ) -> FloatArray:
        parts = (colors, coords, labels, mask * has_mask)
        digest = hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts))
        rng = np.random.default_rng(int.from_bytes(digest.digest()[:8], "big"))
        coarse = rng.normal(size=(8, 8))
        scale = self.spec.mask_side // 8
        return 3 * np.kron(coarse, np.ones((scale, scale)))


class Modest(ColorRuntime):
    """Its numbers lie below what its family asks for."""

    def decode(
        self, features: EncoderOutput, prompts: ModelPrompts
    ) -> tuple[FloatArray, FloatArray]:
        logits, quality = super().decode(features, prompts)
        return logits, (quality * 0.6).astype(np.float32)


def discs(
    image_hw: tuple[int, int], circles: list[tuple[float, float, float]], ground: int = 255
) -> tuple[np.ndarray, list[np.ndarray]]:
    """A picture of coloured discs (x, y, radius) on plain ground, and their masks."""
    height, width = image_hw
    image = np.full((height, width, 3), ground, np.uint8)
    y, x = np.mgrid[:height, :width]
    masks = []
    for index, (cx, cy, radius) in enumerate(circles):
        mask = (x - cx) ** 2 + (y - cy) ** 2 <= radius**2
        image[mask] = np.array([40 * index + 60, 180 - 90 * index, 30 * index + 90])
        masks.append(mask)
    return image, masks


DRAWN_HW = (240, 320)
SQUARES = [(105, 75, 34), (172, 70, 40), (140, 140, 38)]  # x, y, side
PAINTS = [(200, 30, 30), (30, 60, 200), (40, 40, 40)]


def drawn(squares: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """A disc with squares on it: the image, the disc with its squares, and each square."""
    image = np.full((*DRAWN_HW, 3), (40, 90, 60), np.uint8)
    y, x = np.mgrid[: DRAWN_HW[0], : DRAWN_HW[1]]
    disc = (x - 160) ** 2 + (y - 120) ** 2 <= 95**2
    image[disc] = (225, 205, 170)
    parts = []
    for (left, top, side), color in zip(squares, PAINTS, strict=False):
        part = np.zeros(DRAWN_HW, np.bool_)
        part[top : top + side, left : left + side] = True
        image[part] = color
        parts.append(part)
    return image, disc, parts


def with_spec(runtime: ColorRuntime, **changes: object) -> ColorRuntime:
    """The same runtime with another spec."""
    return type(runtime)(replace(runtime.spec, **changes), runtime.weights_hash)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Of two masks."""
    return float((a & b).sum() / max((a | b).sum(), 1))


COLORS = ("red", "green", "blue")


class ColorNaming:
    """Names a mask by its mean colour."""

    def __init__(self) -> None:
        also = {word: n for n, word in enumerate((*COLORS, "orange"))} | {"orange": 0}
        learned = np.ones(3, np.bool_)
        self.table = NameTable(COLORS, np.eye(3, dtype=np.float32), learned, also, 20.0, "colors")
        self.looked = 0

    def name_table(self) -> NameTable:
        return self.table

    def embed_crops(self, images: UintImage, masks: UintImage) -> FloatArray:
        self.looked += len(images)
        weight = masks.astype(np.float32)[..., None] + 1e-3
        means = (images * weight).sum((1, 2)) / weight.sum((1, 2))
        length = np.linalg.norm(means, axis=1, keepdims=True).clip(1e-6)
        return means / length


class NamingRuntime(ColorRuntime, ColorNaming):
    """Both: marks by colour, and names what it has marked by its colour."""

    def __init__(self) -> None:
        ColorRuntime.__init__(self)
        ColorNaming.__init__(self)
        self.naming = self
