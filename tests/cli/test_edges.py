"""`anymask edges`: edges where objects end, as a picture and as numbers."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from anymask.cli.main import main
from anymask.segment.edge_maps import logits_to_edges, suppress
from tests.conftest import CommandLine


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = np.full((96, 128, 3), 40, np.uint8)
    image[24:72, 32:80] = (220, 180, 60)
    path = tmp_path_factory.mktemp("edges") / "square.png"
    Image.fromarray(image).save(path)
    return path


def test_edges_are_where_the_object_ends(photo: Path, tmp_path: Path) -> None:
    for name, words in (("thick.npy", []), ("thin.npy", ["--thin"]), ("thick.png", [])):
        words += ["--grid", "5", "-o", str(tmp_path / name)]
        assert main(["edges", str(photo), *words]) == 0
    thick, thin = (np.load(tmp_path / f"{name}.npy") for name in ("thick", "thin"))
    assert thick.shape == (96, 128)
    assert thick.dtype == np.float32
    assert (thick.min(), thick.max()) == (0, 1)
    outline = np.zeros((96, 128), np.uint8)
    cv2.rectangle(outline, (32, 24), (79, 71), 1)
    near = cv2.dilate(outline, np.ones((7, 7), np.uint8)) > 0
    assert thick[near].mean() > 4 * thick[~near].mean()
    np.testing.assert_allclose(thin[thin > 0], thick[thin > 0], atol=1e-6)
    assert 0 < (thin > 0).sum() < (thick > 0).sum()
    image = np.asarray(Image.open(tmp_path / "thick.png"))
    np.testing.assert_allclose(image / 255, thick, atol=1 / 500)


def test_the_edge_of_a_step_is_its_outer_boundary() -> None:
    logits = np.full((9, 9), -30, np.float32)
    logits[3:6, 3:6] = 30  # sure inside, sure outside
    edges = logits_to_edges([logits], (9, 9))
    ring = np.zeros((9, 9), bool)
    ring[2:7, 2:7] = True
    ring[3:6, 3:6] = False
    np.testing.assert_array_equal(edges > 0, ring)
    assert edges[2, 4] == edges[4, 2] == 1  # the slope of a straight side is the largest
    assert not logits_to_edges([], (9, 9)).any()


def test_a_ridge_is_thinned_to_its_top() -> None:
    ridge = np.zeros((20, 21), np.float32)
    ridge[:, 8:13] = (0.2, 0.6, 1, 0.6, 0.2)
    thin = suppress(ridge)
    np.testing.assert_array_equal(np.flatnonzero(thin[10]), [10])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "edges.png", "-o", "edges.npy"], "This command writes a single output"),
        (["-o", "edges.jpg"], "Edge maps are written as .png or .npy"),
        (["-o", "edges.png", "--grid", "0"], "whole number of at least 1"),
        (["-o", "edges.png", "--grid", "65"], "--grid is at most 64, got 65"),
        ([], "Missing"),
    ],
)
def test_wrong_options_are_reported(
    words: list[str], message: str, photo: Path, cli: CommandLine
) -> None:
    assert message in cli.refused(["edges", str(photo), *words])
