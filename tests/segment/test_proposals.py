"""Boxes that the head of `small` proposes, and `everything` with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import anymask
from anymask.base import FloatArray, InputError, WeightsError
from anymask.images import sample
from anymask.masks import CORNERS, NO_POINT, Geometry, pairwise_box_iou
from anymask.models.rules import SHIPPED, open_family
from anymask.segment.everything import proposals
from anymask.segment.everything.proposals import ProposalHead, Proposals
from anymask.segment.everything.search import grid_prompts


class FixedHead(ProposalHead):
    """A head whose output is given."""

    def __init__(self, coarse: FloatArray, fine: FloatArray) -> None:
        super().__init__({})
        self.output = coarse, fine

    def maps(self, coarse: FloatArray, fine: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self.output


def raw(
    side: int, *objects: tuple[int, int, float, tuple[float, float, float, float]]
) -> FloatArray:
    """Output of a map: of each object its row, column, logit, and distances in cells."""
    out = np.zeros((5, side, side), np.float32)
    out[0] = -9
    for row, column, logit, apart in objects:
        out[0, row, column], out[1:, row, column] = logit, np.log(apart)
    return out


def test_peaks_of_both_maps_are_boxes_of_the_image() -> None:
    """An image of 256 x 512 pixels on a square of 128: a quarter of a model pixel per pixel."""
    large = raw(8, (1, 2, 2.0, (1, 1, 2, 2)), (6, 2, 3.0, (1, 1, 1, 1)))  # 16 model pixels a cell
    small = raw(16, (2, 9, 1.0, (0.5, 0.5, 0.5, 0.5)), (2, 10, 0.9, (1, 1, 1, 1)))
    place = Geometry((256, 512), (64, 128), 128)
    found = FixedHead(large, small).propose([large, small], place)
    # The peak in row 6 lies below the image, and column 10 next to a higher score.
    np.testing.assert_allclose(found.boxes, [(96, 32, 288, 224), (288, 64, 320, 96)], rtol=1e-6)
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp([-2.0, -1.0])), rtol=1e-6)


def test_a_mask_that_matches_a_proposal_becomes_more_likely() -> None:
    known = Proposals(np.array([[0.0, 0, 10, 10]]), np.array([0.9]))
    same, none = known.adjust(np.array([0.5, 0.5]), np.array([[0, 0, 10, 10], [50, 50, 60, 60]]))
    odds = proposals.ODDS * (0.9 + proposals.LEAST) / proposals.USUAL
    assert same == pytest.approx(odds / (1 + odds))
    odds = proposals.ODDS * proposals.LEAST / proposals.USUAL
    assert none == pytest.approx(odds / (1 + odds))


def test_boxes_are_prompted_with_two_corners() -> None:
    spec = anymask.load("small").spec
    place = Geometry((100, 200), (spec.image_side // 2, spec.image_side), spec.image_side)
    boxes = grid_prompts(np.array([[0.0, 10, 100, 50]]), place, spec)
    scale = spec.image_side / 200
    np.testing.assert_allclose(boxes.coords[0, :2], np.array([[0, 10], [100, 50]]) * scale)
    assert boxes.labels[0, :2].tolist() == list(CORNERS)
    clicks = grid_prompts(np.array([[5.0, 5]]), place, spec)
    assert clicks.labels[0, 0] == 1
    assert set(clicks.labels[0, 1:].tolist()) <= {NO_POINT}


def test_proposals_find_the_cat() -> None:
    model = anymask.load("small")
    image = anymask.load_image(sample("cat"))
    clicks: list[int] = []
    found = model.everything(
        image, mode="proposals", progress=lambda done, total: clicks.append(total)
    )
    assert set(clicks) == {proposals.MOST}
    cat = model.segment(image, box=(34, 0, 395, 296)).best
    best = max(found, key=lambda one: one.rank)
    inside, mask = cat.mask, best.mask
    assert (inside & mask).sum() / (inside | mask).sum() > 0.8
    assert not best.points


def test_proposals_of_crops_are_in_the_image() -> None:
    model = anymask.load("small")
    image = anymask.load_image(sample("cat"))
    found = model.everything(image, mode="proposals", crop_n_layers=1, min_objectness=0)
    crops = [one for one in found if one.crop_box != (0, 0, 451, 300)]
    assert crops
    for one in crops:
        assert pairwise_box_iou([one.box], [one.crop_box])[0, 0] > 0


def test_a_model_without_a_head_names_one_that_has_it() -> None:
    with pytest.raises(InputError, match=r'does not have.*"small".*"adaptive"'):
        anymask.load("nano").everything(np.zeros((40, 40, 3), np.uint8), mode="proposals")


def test_fine_tuned_weights_have_no_head() -> None:
    spec = anymask.load("small").spec
    with pytest.raises(InputError, match="does not have"):
        proposals.proposal_head(open_family(spec, weights_hash="0" * 64))


def test_the_head_is_read_once() -> None:
    family = anymask.load("small").runtime.family
    assert proposals.proposal_head(family) is proposals.proposal_head(family)


def test_the_head_is_read_on_demand_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    (tmp_path / "small").mkdir()
    monkeypatch.setattr(proposals, "SHIPPED", tmp_path)
    model = anymask.load("small")
    model.segment(image, points=[(5, 5)])  # does not read it
    with pytest.raises(WeightsError, match=r"missing or does not match.*proposals\.npz.*adaptive"):
        model.everything(image, mode="proposals")
    np.savez(tmp_path / "small" / proposals.FILE, np.zeros((1, 1)))
    with pytest.raises(WeightsError, match="missing or does not match"):
        model.everything(image, mode="proposals")
    assert len((SHIPPED / "small" / "tables.json").read_bytes()) < 250_000  # pages download it
