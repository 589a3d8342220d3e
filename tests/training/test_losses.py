"""The losses against numbers worked out by hand and against their properties."""

import math

import pytest
import torch

from anymask.training.losses import (
    EDGE_WEIGHT,
    NORMALIZED_WEIGHT,
    RANK_WEIGHT,
    balanced_loss,
    dice_loss,
    edge_weights,
    focal_loss,
    mask_iou,
    mask_losses,
    normalized_focal_loss,
    quality_loss,
)


def test_focal_loss_of_one_pixel_is_the_papers_formula() -> None:
    logits, targets = torch.full((1, 1, 1, 1), math.log(0.8 / 0.2)), torch.ones(1, 1, 1, 1)
    assert focal_loss(logits, targets).item() == pytest.approx(-0.25 * 0.2**2 * math.log(0.8))
    assert focal_loss(logits, 0 * targets).item() == pytest.approx(-0.75 * 0.8**2 * math.log(0.2))


def test_dice_loss_counts_twice_what_both_cover() -> None:
    logits = torch.tensor([50.0, 50.0, -50.0, -50.0]).view(1, 1, 2, 2)
    targets = torch.tensor([1.0, 0.0, 1.0, 0.0]).view(1, 1, 2, 2)
    assert dice_loss(logits, targets).item() == pytest.approx(1 - (2 * 1 + 1) / (2 + 2 + 1))


def test_balanced_loss_weighs_a_speck_like_the_rest() -> None:
    targets = torch.zeros(1, 1, 10, 10)
    targets[0, 0, 0, 0] = 1
    all_off = torch.full((1, 1, 10, 10), -10.0)
    assert balanced_loss(all_off, targets).item() == pytest.approx(0.5 * 10 * 1 / 2, rel=1e-3)


def test_iou_of_halves_is_a_third_and_of_two_voids_is_one() -> None:
    targets = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 2, 2)
    logits = torch.tensor([[-1.0, 1.0, 1.0, -1.0], [-1.0] * 4]).view(1, 2, 2, 2)
    assert mask_iou(logits, targets).tolist() == [[pytest.approx(1 / 3), 0.0]]
    assert mask_iou(logits[:, 1:], 0 * targets).item() == 1.0


def test_quality_loss_is_the_mean_square_and_the_ranking() -> None:
    quality, iou = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.0, 1.0]])
    ranking = math.log(2)  # equal qualities say nothing about which of two is better
    assert quality_loss(quality, iou).item() == pytest.approx(0.25 + RANK_WEIGHT * ranking)


def test_normalised_focal_loss_of_two_pixels_by_hand() -> None:
    """Errors .2 and .6, the second weighs double: pulls .04, .72, entropies -ln .8, -ln .4."""
    logits = torch.tensor([math.log(0.8 / 0.2), math.log(0.6 / 0.4)]).view(1, 1, 1, 2)
    targets, weights = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 2.0])
    loss = normalized_focal_loss(logits, targets.view(1, 1, 1, 2), weights.view(1, 1, 1, 2))
    expected = (0.04 * -math.log(0.8) + 0.72 * -math.log(0.4)) / (0.04 + 0.72 + 1)
    assert loss.item() == pytest.approx(expected)


def test_a_hard_pixel_keeps_its_pull_among_a_thousand_easy_ones() -> None:
    """Its gradient hardly falls with their number, where the focal loss divides by it."""
    pulls = {}
    for loss in (focal_loss, lambda x, t: normalized_focal_loss(x, t, torch.ones_like(t))):
        for easy in (10, 1000):
            logits = torch.full((1, 1, 1, easy + 1), 9.0)
            logits[..., 0] = -2.0
            logits.requires_grad_()
            loss(logits, torch.ones(1, 1, 1, easy + 1)).sum().backward()
            pulls[loss, easy] = logits.grad[0, 0, 0, 0].item()
    (plain_few, plain_many), (own_few, own_many) = (
        (pulls[loss, 10], pulls[loss, 1000]) for loss in dict.fromkeys(key[0] for key in pulls)
    )
    assert plain_many / plain_few == pytest.approx(11 / 1001)
    assert own_many / own_few == pytest.approx(1, abs=0.01)


def test_cells_within_two_of_the_edge_weigh_double() -> None:
    targets = torch.zeros(1, 1, 1, 12)
    targets[..., 6:] = 1
    weights = edge_weights(targets)[0, 0, 0].tolist()
    assert weights == [1.0] * 4 + [EDGE_WEIGHT] * 4 + [1.0] * 4
    assert (edge_weights(torch.zeros(1, 1, 6, 6)) == 1).all()


def test_the_recipes_kind_of_loss_is_the_one_that_is_taken() -> None:
    torch.manual_seed(1)
    logits, targets = torch.randn(2, 3, 8, 8), torch.rand(2, 1, 8, 8).round()
    dice = dice_loss(logits, targets)
    torch.testing.assert_close(
        mask_losses(logits, targets, 0.0, "focal"), 20 * focal_loss(logits, targets) + dice
    )
    hard = normalized_focal_loss(logits, targets, edge_weights(targets))
    torch.testing.assert_close(
        mask_losses(logits, targets, 0.0, "normalised"), NORMALIZED_WEIGHT * hard + dice
    )
