"""Photos in tiles: scenes of flat colours, whose masks are known, and a model that sees those."""

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anymask.base import FloatArray
from anymask.masks import ALL_KINDS, EncoderOutput, Mask, ModelPrompts, ModelSpec, mask_to_rle
from anymask.masks.joining import cut_bands
from anymask.models.rules import open_family
from anymask.runtime import ImageRuntime
from anymask.segment import Grid, Model
from anymask.segment.everything.search import WindowScanner
from anymask.segment.everything.tiles import Piece, find_in_tiles, stitch
from tests.evaluation.small_sets import rectangle
from tests.segment.fakes import iou, seen_of

SIDE = 64
GRID = Grid(grid=7, score=0.3, stability=0.3)


class FlatRuntime(ImageRuntime):
    """Answers a click with the region of one colour around it, pixel for pixel."""

    spec = ModelSpec(
        name="flat",
        image_side=SIDE,
        mask_side=SIDE,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        resample="area",
        accepts=ALL_KINDS,
    )
    family = open_family(spec)
    weights_hash = "flat"

    def __init__(self) -> None:
        self.looks = 0

    def encode_images(self, images: FloatArray) -> list[EncoderOutput]:
        self.looks += len(images)
        return [seen_of(regions(image)[None]) for image in images]

    def decode(
        self, features: EncoderOutput, prompts: ModelPrompts
    ) -> tuple[FloatArray, FloatArray]:
        labels = features.maps()[0].values[0]
        logits = np.full((len(prompts.coords), 4, SIDE, SIDE), -5, np.float32)
        for planes, (x, y) in zip(logits, prompts.coords[:, 0].astype(int), strict=True):
            planes[1, labels == labels[y, x]] = 5
        return logits, np.full((len(logits), 4), 0.9, np.float32)


def regions(image: FloatArray) -> FloatArray:  # (3, S, S) -> (S, S)
    """A number for each connected region of one colour."""
    numbers = image[0] + 256 * image[1] + 65536 * image[2]
    labels = np.zeros(numbers.shape, np.int32)
    for color in np.unique(numbers):
        _, parts = cv2.connectedComponents((numbers == color).view(np.uint8), connectivity=4)
        labels += np.where(parts > 0, parts + labels.max(), 0)
    return labels.astype(np.float32)


def scene(
    image_hw: tuple[int, int], shapes: list[tuple[int, int, int, int]]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Ellipses and rectangles in turn (x, y, half width, half height), the first on top."""
    image = np.full((*image_hw, 3), 250, np.uint8)
    y, x = np.mgrid[: image_hw[0], : image_hw[1]]
    free = np.ones(image_hw, np.bool_)
    masks = []
    for index, (cx, cy, rx, ry) in enumerate(shapes):
        inside = (np.abs(x - cx) <= rx) & (np.abs(y - cy) <= ry)
        if index % 2:
            inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1
        mask = inside & free
        free &= ~mask
        image[mask] = (40 + 90 * (index % 3), 30 + 70 * (index // 3 % 3), 40 + 50 * (index // 9))
        masks.append(mask)
    return image, masks


def found(image: np.ndarray, side: int = SIDE) -> list[Mask]:
    return find_in_tiles(WindowScanner(FlatRuntime(), GRID), image, side)


def assert_exact(records: list[Mask], truths: list[np.ndarray]) -> None:
    for truth in truths:
        assert sum(np.array_equal(record.mask, truth) for record in records) == 1


SHAPES = [(30, 30, 9, 12), (64, 80, 14, 9), (120, 50, 25, 13), (180, 120, 12, 20), (90, 140, 20, 8)]
IMAGE, MASKS = scene((170, 230), SHAPES)


def test_objects_on_the_borders_of_tiles_are_one_mask_each_pixel_for_pixel() -> None:
    records = found(IMAGE)
    assert_exact(records, MASKS)
    from_tiles = [record for record in records if record.crop_box != (0, 0, 230, 170)]
    for record in from_tiles:  # the shrunk photo has colours of its own between two regions
        best = max(iou(record.mask, truth) for truth in [*MASKS, ~np.any(MASKS, axis=0)])
        assert best == 1, record.box


def test_an_object_larger_than_a_tile_is_stitched_from_pieces() -> None:
    image, masks = scene((170, 230), [(110, 80, 90, 7), (110, 150, 100, 12)])
    records = found(image)
    assert_exact(records, masks)
    bar = next(record for record in records if np.array_equal(record.mask, masks[0]))
    assert bar.crop_box[0] == 0
    assert bar.crop_box[2] > 200
    assert len(bar.points) >= 4
    assert bar.score == pytest.approx(0.9)


@settings(max_examples=12, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.tuples(st.integers(65, 150), st.integers(65, 190)),
    st.lists(
        st.tuples(st.integers(0, 190), st.integers(0, 150), st.integers(8, 22), st.integers(8, 22)),
        min_size=1,
        max_size=4,
    ),
)
def test_every_connected_shape_is_found_exactly(
    image_hw: tuple[int, int], shapes: list[tuple[int, int, int, int]]
) -> None:
    image, masks = scene(image_hw, shapes)
    records = found(image)
    for truth in masks:
        parts, labels = cv2.connectedComponents(truth.view(np.uint8), connectivity=4)
        large = [labels == part for part in range(1, parts) if opened(labels == part)]
        assert_exact(records, large)


def opened(mask: np.ndarray) -> bool:
    """Whether a click of the grid is sure to hit it, and its parts in every tile."""
    kernel = np.ones((13, 13), np.uint8)
    seen = cv2.dilate(cv2.erode(mask.view(np.uint8), kernel, borderValue=0), kernel)
    return bool(mask.any()) and bool((seen > 0)[mask].all())


# What stitching sets aside.


def piece(mask: np.ndarray, window: tuple[int, int, int, int], quality: float = 0.5) -> Piece:
    x0, y0, x1, y1 = window
    seen = np.zeros_like(mask)
    seen[y0:y1, x0:x1] = mask[y0:y1, x0:x1]
    return Piece(Mask(mask_to_rle(seen), score=quality), window)


LEFT, RIGHT = (0, 0, 60, 40), (45, 0, 105, 40)


def bar(x0: int, x1: int, y0: int = 10, y1: int = 20) -> np.ndarray:
    return rectangle((40, 105), (x0, y0, x1, y1))


def test_two_halves_become_one_and_their_numbers_are_weighted() -> None:
    mask = bar(20, 85)
    (one,) = stitch([piece(mask, LEFT, 0.4), piece(mask, RIGHT, 0.8)], (40, 105))
    np.testing.assert_array_equal(one.record.mask, mask)
    assert not one.cut
    assert one.record.score == pytest.approx(0.6)
    assert one.record.crop_box == (0, 0, 105, 40)


def test_a_piece_without_its_other_half_is_cut() -> None:
    (one,) = stitch([piece(bar(20, 85), LEFT)], (40, 105))
    assert one.cut
    first, second = stitch([piece(bar(20, 85), LEFT), piece(bar(45, 85, 25, 35), RIGHT)], (40, 105))
    assert first.cut
    assert second.cut


def test_an_object_that_ends_at_the_border_of_a_tile_is_not_cut() -> None:
    (one,) = stitch([piece(bar(20, 60), LEFT), piece(bar(20, 60), RIGHT)], (40, 105))
    np.testing.assert_array_equal(one.record.mask, bar(20, 60))
    assert not one.cut


def test_a_fork_of_which_one_arm_is_lost_is_cut() -> None:
    fork = bar(20, 85, 2, 10) | bar(20, 85, 30, 35) | bar(20, 25, 2, 35)
    (one,) = stitch([piece(fork, LEFT), piece(bar(45, 85, 2, 10), RIGHT)], (40, 105))
    assert one.cut


def test_each_part_is_stitched_to_its_own_other_half() -> None:
    car, wheel = bar(10, 95, 5, 35), bar(35, 80, 25, 35)
    pieces = [piece(mask, tile) for mask in (car, wheel) for tile in (LEFT, RIGHT)]
    masks = [one.record.mask for one in stitch(pieces, (40, 105))]
    np.testing.assert_array_equal(masks, [car, wheel])


def test_bands_lie_along_the_borders_that_are_not_the_photo_s() -> None:
    assert cut_bands((45, 5, 104, 39), RIGHT, (40, 105)) == [(45, 0, 46, 40)]
    assert cut_bands((46, 5, 104, 39), RIGHT, (40, 105)) == []
    assert cut_bands((0, 0, 59, 39), LEFT, (50, 105)) == [(59, 0, 60, 40), (0, 39, 60, 40)]


# From the model's own door.


def test_the_model_tiles_and_lays_out() -> None:
    model = Model(FlatRuntime())
    easy = {"grid": 7, "score": 0.3, "stability": 0.3}
    easy |= {"min_island_area": 0, "max_hole_area": 0}
    records = model.everything(IMAGE, tile=SIDE, **easy)
    assert [r.to_sa1b() for r in records] == [r.to_sa1b() for r in found(IMAGE)]
    shares = model.everything(IMAGE, tile=SIDE, layout="partition", **easy)
    assert np.sum([share.mask for share in shares], axis=0).max() == 1
    crops = {record.crop_box for record in model.everything(IMAGE, tile=None, **easy)}
    assert crops == {(0, 0, 230, 170)}
