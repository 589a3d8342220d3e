"""Label maps: the class of every pixel of an image.

Letters: H W the image, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anymask.base import BoolArray, InputError, UintImage, explain_keywords, preview_html
from anymask.masks.images import preview_png


@explain_keywords
@dataclass(frozen=True, eq=False)
class LabelMap:
    """Semantic segmentation of an image by a model fine-tuned on classes."""

    classes: tuple[str, ...]  # K class names
    numbers: UintImage  # Map (H, W) uint8: 0 for no class, 1 to K for the classes in order

    def __repr__(self) -> str:
        height, width = self.numbers.shape
        shares = ", ".join(f"{name} {100 * part:.0f} %" for name, part in self.shares().items())
        return f"<LabelMap of {width}x{height}: {shares}>"

    def _repr_html_(self) -> str:
        """HTML preview with the classes in grey levels."""
        gray = self.numbers.astype(np.float32) * (255 / max(len(self.classes), 1))
        return preview_html(repr(self), (), preview_png(gray.astype(np.uint8)))

    def mask(self, name: str) -> BoolArray:  # (H, W)
        """Mask of a class. Raises InputError if the class is unknown."""
        if name not in self.classes:
            raise InputError(
                f"Unknown class {name!r}. Available classes: {', '.join(self.classes)}."
            )
        return np.asarray(self.numbers == 1 + self.classes.index(name))

    def shares(self) -> dict[str, float]:
        """Share of the image of each class, 0..1."""
        counts = np.bincount(self.numbers.ravel(), minlength=1 + len(self.classes))
        parts = counts[1:] / max(1, self.numbers.size)
        return dict(zip(self.classes, parts.tolist(), strict=True))


class ClassOverlaps:
    """Intersection over union of each class over many images, with pixels counted together."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self._both = np.zeros(len(classes), np.int64)
        self._either = np.zeros(len(classes), np.int64)

    def add(self, found: UintImage, truth: UintImage) -> None:  # (H, W) twice
        """Add one image."""
        for number in range(1, 1 + len(self.classes)):
            one, other = found == number, truth == number
            self._both[number - 1] += int((one & other).sum())
            self._either[number - 1] += int((one | other).sum())

    def ious(self) -> dict[str, float | None]:
        """IoU by class name, or None for a class without pixels."""
        return {
            name: round(float(both / either), 4) if either else None
            for name, both, either in zip(self.classes, self._both, self._either, strict=True)
        }
