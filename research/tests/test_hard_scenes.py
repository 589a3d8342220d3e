"""Hard scenes: the same pixels every time, opacities that fit image and mask, sets that are there.

The photos of these tests are flat or noisy images in a temporary folder.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from anymask.base import ConfigError, DataError
from anymask.evaluation import FromFunction
from anymask.evaluation.measures import MEASURES
from anymask.evaluation.protocols import NotMeasured
from anymask.evaluation.selection import EvalSet, EvalSettings, SetPlan
from anymask.masks import ALL_KINDS, rle_to_mask
from research.paper.__main__ import PAPER_MEASURES, main
from research.paper.hard_scenes import (
    DENSE,
    GROUPS,
    HALF,
    KINDS,
    LEAST_AREA,
    SCENE_HW,
    coverage,
    render,
    scene_set,
)
from research.paper.hard_sets import find_hard_sets
from research.paper.soft_matter import SOFT, measure_alpha
from tests.evaluation.small_sets import same_color, write_set

NUMBERS = (0, 1, 2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with four dark photos and no real sets."""
    folder = tmp_path_factory.mktemp("data") / "unlabelled"
    folder.mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 60, (90, 120, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    return folder.parent


@pytest.fixture(autouse=True)
def measures(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, measure in PAPER_MEASURES.items():
        monkeypatch.setitem(MEASURES, name, measure)


@pytest.mark.parametrize("kind", KINDS)
def test_a_scene_is_reproducible_and_its_masks_are_disjoint(kind: str, data: Path) -> None:
    images = data / "unlabelled"
    first, again, other = (render(kind, number, images) for number in (0, 0, 1))
    assert (first.image.shape, first.image.dtype) == ((*SCENE_HW, 3), np.uint8)
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)
    assert len(first.masks) == len(first.alphas) > 0
    assert np.sum(first.masks, axis=0).max() == 1
    for mask, same in zip(first.masks, again.masks, strict=True):
        assert np.array_equal(mask, same)
        assert np.count_nonzero(mask) >= LEAST_AREA


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_is_the_dense_part_of_its_opacity(kind: str, data: Path) -> None:
    least = DENSE if kind in ("smoke", "fog") else HALF
    for number in NUMBERS:
        scene = render(kind, number, data / "unlabelled")
        dense = np.stack(scene.alphas) >= least
        assert np.array_equal(np.any(scene.masks, axis=0), dense.any(axis=0))
        for alpha in scene.alphas:
            assert 0 <= alpha.min() < alpha.max() <= 1 + 1e-6


@pytest.mark.parametrize("kind", ["wires", "spokes", "mesh", "smoke", "fog"])
def test_the_image_changes_only_where_something_was_drawn(kind: str, data: Path) -> None:
    """The photos are darker than 60, and everything drawn on them is brighter than 130."""
    scene = render(kind, 0, data / "unlabelled")
    nothing = np.max(scene.alphas, axis=0) == 0
    assert scene.image[nothing].max(initial=0) < 90  # cubic interpolation overshoots
    mostly = np.max(scene.alphas, axis=0) > 0.85
    assert not mostly.any() or scene.image[mostly].mean() > 130


def test_wires_and_spokes_are_thin(data: Path) -> None:
    """Twice the area over the length of the outline is about the width."""
    for kind in ("wires", "mesh"):
        for mask in render(kind, 0, data / "unlabelled").masks:
            found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            assert np.count_nonzero(mask) / (sum(map(len, found)) / 2) < 6


def test_coverage_is_the_part_of_a_pixel() -> None:
    square = np.array([(10.0, 10.0), (20.5, 10.0), (20.5, 30.0), (10.0, 30.0)])
    cover = coverage([square])
    assert cover[15, 12] == 1
    assert cover[15, 20] == pytest.approx(0.5, abs=0.26)  # OpenCV draws the outline, too
    assert cover[15, 30] == 0
    line = coverage([np.array([(0.0, 50.0), (479.0, 50.0)])], 3.0)
    assert line[:, 100].sum() == pytest.approx(3, abs=0.3)


def test_real_sets_are_measured_where_they_are(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A set of COCO with one labelled fork and one person: only the fork counts."""
    (tmp_path / "unlabelled").symlink_to(data / "unlabelled")
    folder = write_set(tmp_path / "eval" / "coco_val", [[(2, 3, 20, 30), (40, 5, 60, 40)]])
    row = json.loads((folder / "masks.jsonl").read_text())
    row["masks"][0]["label"], row["masks"][1]["label"] = "person", "fork"
    (folder / "masks.jsonl").write_text(json.dumps(row) + "\n")
    sets = find_hard_sets(tmp_path, ["coco_thin", "coco_glass", "roads"], (), ())
    assert "left out: eval/epfl_aerial_roads" in capsys.readouterr().err
    assert [(one.plan.name, one.plan.groups, len(one.samples)) for one in sets] == [
        ("coco_thin", ("thin real",), 1),
        ("coco_glass", ("glass real",), 0),
    ]
    (mask,) = sets[0].samples[0].masks
    assert (mask.label, rle_to_mask(mask.rle).sum()) == ("fork", 20 * 35)


def test_the_suite_holds_every_kind(data: Path) -> None:
    sets = find_hard_sets(data, (), (), ())
    assert [one.plan.name for one in sets] == list(KINDS)
    measured = {one.plan.name: one.plan.measures for one in sets}
    assert {name for name, some in measured.items() if "alpha" in some} == set(SOFT)
    assert {one.plan.groups[0] for one in sets} == {f"{group} drawn" for group in GROUPS}


def test_the_opacity_of_a_perfect_mask_is_the_bound(data: Path) -> None:
    """A method that returns the true mask reaches the error of the true mask."""
    info, samples = scene_set("strands", data / "unlabelled", 2)
    one = EvalSet(SetPlan(name="strands"), info, samples)
    truths = {sample.image().tobytes(): rle_to_mask(sample.rles[0]) for sample in samples}
    perfect = FromFunction("perfect", ALL_KINDS, lambda image, prompt: truths[image.tobytes()])
    soft, hard, bound = measure_alpha(perfect, one, EvalSettings()).figures
    assert soft.value == bound.value > 0
    expected = [
        np.abs(render("strands", n, data / "unlabelled").alphas[0] - mask).sum() / 1000
        for n, mask in enumerate(truths.values())
    ]
    assert hard.value == pytest.approx(np.mean(expected))


def test_opacities_are_measured_by_boxes_on_scenes_only(data: Path) -> None:
    info, samples = scene_set("fog", data / "unlabelled", 1)
    clicks = FromFunction("clicks", frozenset({"point"}), same_color)
    with pytest.raises(NotMeasured, match="takes no boxes"):
        measure_alpha(clicks, EvalSet(SetPlan(name="fog"), info, samples), EvalSettings())
    with pytest.raises(NotMeasured, match="only in the scenes smoke, fog"):
        measure_alpha(clicks, EvalSet(SetPlan(name="glass"), info, samples), EvalSettings())


def test_what_is_missing_is_reported(tmp_path: Path, data: Path) -> None:
    with pytest.raises(DataError, match="fewer than two photos"):
        find_hard_sets(tmp_path, (), (), ())
    with pytest.raises(ConfigError, match="Unknown set 'hair'"):
        find_hard_sets(data, ["hair"], (), ())


def test_the_command_measures_scenes(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["hard", "--data", str(data), "--sets", "spokes,fog", "--limit", "1"]
    assert main([*words, "--model", "nano"]) == 0
    printed = capsys.readouterr().out
    assert "thin drawn mean" in printed
    assert "SAD true mask" in printed
    assert main(["hard", "--data", str(data / "nowhere")]) == 2
