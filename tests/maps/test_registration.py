"""Maps that are displaced are registered, and 50 made pairs have the changes that were made."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

rasterio = pytest.importorskip("rasterio")
pytest.importorskip("pyogrio")
pytest.importorskip("shapely")

from anymask.maps import ChangeProcessor, aligned, open_map  # noqa: E402
from anymask.maps.change import registration  # noqa: E402
from tests.maps.made import ThresholdModel, field, image_of, write_map  # noqa: E402

SIDE, PAIRS = 256, 50


def ground(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """Fields and soil, between 50 and 110 (side, side, 3)."""
    coarse = rng.uniform(50, 110, (side // 20, side // 20, 3)).astype(np.float32)
    fine = rng.uniform(-8, 8, (side // 2, side // 2, 3)).astype(np.float32)
    seen = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    seen += cv2.resize(fine, (side, side), interpolation=cv2.INTER_LINEAR)
    return np.clip(seen, 45, 115)


def displaced(image: NDArray[Any], transform: NDArray[Any]) -> NDArray[Any]:
    """The image whose content at transform(p) is that of the given image at p."""
    shifted = transform.copy()  # between pixel centers instead of borders
    shifted[:, 2] += transform[:, :2] @ (0.5, 0.5) - (0.5, 0.5)
    size = image.shape[1::-1]
    return cv2.warpAffine(image, shifted, size, flags=cv2.INTER_LINEAR, borderValue=(80, 80, 80))


def turn(degrees: float, shift: tuple[float, float], side: int) -> NDArray[np.float64]:
    found = cv2.getRotationMatrix2D((side / 2, side / 2), degrees, 1.0)
    found[:, 2] += shift
    return found


class Pair:
    """Two maps of one place with light, sensor, noise and a displacement between them."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        numbers = field(SIDE, 12, seed=seed, radius=(8, 18))
        appeared, vanished, changed = (set(one) for one in np.split(rng.permutation(9) + 1, 3))
        self.numbers, soil = numbers, ground(rng, SIDE)
        self.truth = dict.fromkeys(appeared, "appeared") | dict.fromkeys(vanished, "vanished")
        self.truth |= dict.fromkeys(changed, "changed")
        images = []
        for absent, later in ((appeared, False), (vanished, True)):
            image = soil.copy()
            for number in set(range(1, 13)) - absent:
                red = 60 if later and number in changed else 170
                image[numbers == number] = (red, 200, 140)
            images.append(image)
        before, after = images
        self.transform = turn(rng.uniform(-0.3, 0.3), tuple(rng.uniform(-6, 6, 2)), SIDE)
        after = displaced(after, self.transform) * rng.uniform(0.9, 1.1, 3) + rng.uniform(-5, 5, 3)
        self.before, self.after = (
            np.clip(one + rng.normal(0, 2, one.shape), 0, 255).astype(np.uint8)
            for one in (before, after)
        )

    def score(self, found: list[tuple[str, NDArray[np.bool_]]]) -> tuple[int, int, int]:
        """Right detections, detections, and changes."""
        right = set()
        for label, mask in found:
            number = int(np.bincount(self.numbers[mask]).argmax())
            inside = self.numbers == number
            same = (mask & inside).sum() > 0.5 * (mask | inside).sum()
            if number and same and self.truth.get(number) == label:
                right.add(number)
        return len(right), len(found), len(self.truth)


@contextlib.contextmanager
def opened(folder: Path, before: Any, after: Any, **how: Any) -> Iterator[tuple[Any, Any]]:
    old, new = (
        write_map(folder / f"{name}.tif", one, compress=None)
        for name, one in (("old", before), ("new", after))
    )
    with open_map(old) as first, open_map(new) as other, aligned(other, first, **how) as second:
        yield first, second


def changes(folder: Path, pair: Pair, **how: Any) -> list[tuple[str, NDArray[np.bool_]]]:
    from rasterio.features import rasterize

    model: Any = ThresholdModel()
    with opened(folder, pair.before, pair.after, **how) as (first, second):
        processor = ChangeProcessor(first, second, model, model.everything)
        pieces = processor.detect((0, 0, SIDE, SIDE))
    return [
        (str(one.label), rasterize([one.outline], (SIDE, SIDE)) > 0)
        for one in pieces
        if one.outline.area > 50
    ]


def measured(folder: Path, pairs: range, **how: Any) -> tuple[float, float]:
    """Precision and recall over the pairs."""
    scores = [pair.score(changes(folder, pair, **how)) for pair in map(Pair, pairs)]
    right, found, there = np.sum(scores, axis=0)
    return right / found, right / there


def test_changes_of_fifty_displaced_pairs(tmp_path: Path) -> None:
    precision, recall = measured(tmp_path, range(PAIRS))
    print(f"precision {precision:.3f}, recall {recall:.3f}")
    assert precision >= 0.9
    assert recall >= 0.9


def test_large_maps_are_registered_at_full_resolution(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    before = image_of(field(1600, 60, seed=1, radius=(15, 50)), 1)
    before = (before + ground(rng, 1600) / 3).clip(0, 255).astype(np.uint8)
    move = turn(0.1, (7.3, -4.6), 1600)
    with opened(tmp_path, before, displaced(before, move)) as (_, second):
        found = np.array(second.about["registered"])
    corners = np.array([(0, 0), (1600, 0), (0, 1600), (1600, 1600)], float)
    far = corners @ (found - move)[:, :2].T + (found - move)[:, 2]
    assert np.abs(far).max() < 0.3


def test_equal_maps_are_not_resampled_and_never_changed(tmp_path: Path) -> None:
    pair = Pair(1)
    pair.after = pair.before
    assert changes(tmp_path, pair) == []
    with opened(tmp_path, pair.before, pair.before) as (_, second):
        assert "registered" not in second.about


@pytest.mark.parametrize("other", ["noise", "constant"])
def test_maps_without_common_content_are_not_registered(tmp_path: Path, other: str) -> None:
    rng = np.random.default_rng(2)
    after = rng.integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
    if other == "constant":
        after[:] = 90
    with opened(tmp_path, Pair(0).before, after, register=False) as (first, second):
        assert registration(first, second) is None
