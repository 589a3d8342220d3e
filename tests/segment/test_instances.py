"""Instances from distances: exact distances return exact instances; field models on made images."""

import pickle
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import anymask
from anymask.base import InputError, ModelError, WeightsError
from anymask.masks import rle_to_mask
from anymask.models.instance_head import InstanceHead
from anymask.models.rules import FIELD_MODELS
from anymask.runtime.manifest import ASSETS, manifest_from_json, manifest_to_json, read_manifest
from anymask.segment import SearchLog
from anymask.segment.everything.search import Distances, separate

MOST_BYTES = 4_000_000  # of a field model in the wheel


def exact_distances(labels: np.ndarray) -> Distances:
    """Distances of known instances, pixel by pixel, without OpenCV."""
    rows, columns = np.mgrid[: labels.shape[0], : labels.shape[1]]
    center, boundary = np.ones(labels.shape), np.ones(labels.shape)
    for number in np.unique(labels[labels > 0]):
        own = labels == number
        y, x = rows[own], columns[own]
        away = np.hypot(y - y.mean(), x - x.mean())
        center[own] = away / away.max()
        outside = np.stack([rows[~own], columns[~own]], axis=1)
        edge = np.array([np.hypot(*(outside - place).T).min() for place in zip(y, x, strict=True)])
        boundary[own] = 1 - edge / edge.max()
    return Distances(*(one.astype(np.float32) for one in (labels > 0, center, boundary)))


def discs(places: list[tuple[int, int, int]], side: int = 64) -> np.ndarray:
    """Labels of discs (y, x, radius); a pixel belongs to the disc with the nearest edge."""
    rows, columns = np.mgrid[:side, :side]
    depth = np.stack([r - np.hypot(rows - y, columns - x) for y, x, r in places])
    return np.where(depth.max(0) > 0, depth.argmax(0) + 1, 0)


def cells(places: list[tuple[int, int, int]], side: int = 256) -> np.ndarray:
    """Fluorescence image: bright discs with soft edges and noise on a dark background."""
    rows, columns = np.mgrid[:side, :side]
    image = np.full((side, side), 12.0)
    for y, x, r in places:
        image += 110 / (1 + np.exp((np.hypot(rows - y, columns - x) - r) / 0.7))
    image += np.random.default_rng(0).normal(0, 3, image.shape)
    return np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize(
    "places",
    [
        [],
        [(20, 20, 9)],
        [(20, 20, 9), (20, 37, 9)],  # touching
        [(20, 20, 9), (20, 34, 9), (33, 27, 9)],  # overlapping, each cut by its neighbors
        [(5, 5, 9), (60, 60, 9)],  # cut by the border
    ],
)
def test_exact_distances_return_the_exact_instances(places: list[tuple[int, int, int]]) -> None:
    truth = discs(places) if places else np.zeros((64, 64), np.int64)
    labels = separate(exact_distances(truth))
    assert labels.max() == len(places)
    assert np.array_equal(labels > 0, truth > 0)
    for number in range(1, len(places) + 1):
        found = labels == np.bincount(labels[truth == number]).argmax()
        both = np.count_nonzero(found & (truth == number))
        assert both / np.count_nonzero(found | (truth == number)) > 0.95


def test_the_foreground_alone_does_not_separate_touching_instances() -> None:
    truth = discs([(20, 20, 9), (20, 37, 9)])
    exact = exact_distances(truth)
    flat = np.where(truth > 0, 0.0, 1.0).astype(np.float32)
    assert separate(exact).max() == 2
    assert separate(Distances(exact.foreground, flat, flat)).max() == 1


def test_a_region_without_a_seed_is_one_instance() -> None:
    truth = discs([(20, 20, 9), (50, 50, 9)])
    exact = exact_distances(truth)
    boundary = np.where(truth == 2, 0.9, exact.boundary).astype(np.float32)
    labels = separate(exact._replace(boundary=boundary))
    assert np.array_equal(labels > 0, truth > 0)
    assert labels.max() == 2


@pytest.mark.parametrize("context", [0, 2])
def test_the_head_returns_planes_twice_as_fine_as_its_finest_map(context: int) -> None:
    head = InstanceHead((8, 6, 4), context).eval()
    maps = (torch.randn(2, 8, 4, 6), torch.randn(2, 6, 8, 12), torch.randn(2, 4, 16, 24))
    with torch.no_grad():
        planes = head(*maps)
    assert planes.shape == (2, 3, 32, 48)
    assert planes.min() >= 0
    assert planes.max() <= 1


GRID = [(y, x, 12) for y in range(30, 240, 48) for x in range(30, 240, 48)]


def test_nano_cells_finds_every_made_cell_by_default() -> None:
    model, image = anymask.load("nano-cells", device="cpu"), cells(GRID)
    found = model.everything(image)
    assert len(found) == len(GRID)
    truth = discs(GRID, 256)
    for record in found:
        mask = rle_to_mask(record.rle) > 0
        number = np.bincount(truth[mask]).argmax()
        union = mask | (truth == number)
        assert number
        assert np.count_nonzero(mask & (truth == number)) / union.sum() > 0.75
        assert record.score > 0.4
    assert [one.rle for one in model.everything(model.encode(image))] == [one.rle for one in found]
    again = pickle.loads(pickle.dumps(model.runtime))
    assert again.spec.name == "nano-cells"


SMALL = cells([(y, x, 5) for y in range(11, 110, 22) for x in range(11, 110, 22)], 110)


def test_an_image_of_small_cells_is_counted_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.tile(SMALL, (4, 4, 1))
    model, looks, told = anymask.load("nano-cells", device="cpu"), [], []
    encode = model.runtime.encode_images
    monkeypatch.setattr(model.runtime, "encode_images", lambda a: looks.append(a) or encode(a))

    def kill(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.everything(image, progress=kill, log=SearchLog(tmp_path / "log", {}))
    log = SearchLog(tmp_path / "log", {})
    found = model.everything(image, progress=lambda *now: told.append(now), log=log)
    assert len(found) == 400
    assert told[-1] == (len(told), len(told))
    assert len(looks) < len(told) + 5  # the image, a window and the coarse image, twice
    with pytest.raises(InputError, match="requires the image"):
        model.everything(model.encode(image))


@pytest.mark.parametrize("zoom", [0.5, 1, 2])
def test_small_cells_are_counted_at_any_magnification(zoom: float) -> None:
    image = cv2.resize(np.tile(SMALL, (3, 3, 1)), None, fx=zoom, fy=zoom)
    assert len(anymask.load("nano-cells", device="cpu").everything(image)) == 225


def test_nano_roofs_finds_every_roof_and_no_ground() -> None:
    image = np.random.default_rng(0).integers(50, 80, (400, 400, 3)).astype(np.uint8)
    truth = np.zeros((400, 400), np.uint8)
    for number, (x, y) in enumerate(((60, 60), (250, 80), (90, 260), (280, 290)), 1):
        image[y : y + 60, x : x + 80] += 140
        truth[y : y + 60, x : x + 80] = number
    model = anymask.load("nano-roofs", device="cpu")
    masks = [rle_to_mask(one.rle) > 0 for one in model.everything(image)]
    turned = sum(rle_to_mask(one.rle) for one in model.everything(np.rot90(image).copy()))
    assert (sum(masks) != np.rot90(turned, -1)).mean() < 1e-3
    with pytest.raises(InputError, match="nano-roofs requires the image"):
        model.everything(model.encode(image))
    assert sorted(np.bincount(truth[mask]).argmax() for mask in masks) == [1, 2, 3, 4]
    for mask in masks:
        roof = truth == np.bincount(truth[mask]).argmax()
        assert (mask & roof).sum() / (mask | roof).sum() > 0.8


def test_touching_cells_are_separate_masks_without_overlap() -> None:
    touching = [(80, 80, 14), (80, 107, 14), (160, 150, 14)]
    found = anymask.load("nano-cells", device="cpu").everything(cells(touching))
    assert len(found) == 3
    masks = [rle_to_mask(one.rle) > 0 for one in found]
    assert not any((first & second).sum() > 8 for first, second in pairwise(masks))


def test_an_empty_image_has_no_cells() -> None:
    model = anymask.load("nano-cells", device="cpu")
    assert list(model.everything(np.zeros((128, 200, 3), np.uint8))) == []


def test_a_model_without_an_instance_head_names_the_missing_capability() -> None:
    with pytest.raises(ModelError, match="instance planes"):
        anymask.load("nano", device="cpu").everything(cells(GRID), mode="instances")


def test_an_export_of_a_field_model_is_complete(tmp_path: Path) -> None:
    folder = anymask.export("nano-cells", tmp_path / "cells")
    assert (folder / "encoder.onnx").is_file()
    assert not read_manifest(folder).base
    image = cells(GRID)
    first, second = (
        [one.rle for one in anymask.load(name, device="cpu").everything(image)]
        for name in ("nano-cells", str(folder))
    )
    assert first == second


@pytest.mark.parametrize("name", FIELD_MODELS)
def test_a_field_model_is_small_and_has_a_card(name: str) -> None:
    assert sum(file.stat().st_size for file in (ASSETS / name).iterdir()) < MOST_BYTES
    assert "## Evaluation" in (ASSETS / name / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_the_base_of_a_bundle_is_a_bundled_model() -> None:
    text = manifest_to_json(read_manifest(ASSETS / "nano-cells"))
    assert manifest_from_json(text, "here").base == "nano"
    with pytest.raises(WeightsError, match="base"):
        manifest_from_json(text.replace('"base": "nano"', '"base": "../../etc"'), "here")
