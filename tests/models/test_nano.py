"""`nano`: its backbone against transformers' MobileNetV2, and what its decoder promises."""

import copy

import pytest
import torch
from torch import nn

from anymask.models.mobilenet import TAPS, MobileNetV2
from anymask.models.nano import TINY, Nano, coords_to_unit, gaussians, sample_at
from tests.models.test_image_model import prompts


@pytest.fixture(scope="module")
def nano() -> Nano:
    torch.manual_seed(0)
    return Nano(TINY).eval()


def folded(layer: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """A transformers conv layer's convolution with its batch norm multiplied in."""
    norm, weight = layer.normalization, layer.convolution.weight
    gain = norm.weight / (norm.running_var + norm.eps).sqrt()
    return weight * gain[:, None, None, None], norm.bias - norm.running_mean * gain


def test_the_backbone_is_mobilenet_v2() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    oracle = transformers.MobileNetV2Model(transformers.MobileNetV2Config(tf_padding=True)).eval()
    for module in oracle.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    stem = oracle.conv_stem
    layers = {"stem": stem.first_conv, "b0.dw": stem.conv_3x3, "b0.proj": stem.reduce_1x1}
    for i, block in enumerate(oracle.layer, start=1):
        layers |= {
            f"b{i}.exp": block.expand_1x1,
            f"b{i}.dw": block.conv_3x3,
            f"b{i}.proj": block.reduce_1x1,
        }
    arrays = {}
    for name, layer in layers.items():
        arrays[f"{name}.weight"], arrays[f"{name}.bias"] = folded(layer)
    ours = MobileNetV2().eval()
    ours.load_folded(arrays)
    images = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        maps = ours(images)
        states = oracle(images, output_hidden_states=True).hidden_states
    for tap, ours_map in zip(TAPS, maps, strict=True):
        torch.testing.assert_close(ours_map, states[tap - 1], rtol=1e-4, atol=1e-4)


def test_maps_are_square_and_filled_beyond_a_photo_that_is_not(nano: Nano) -> None:
    images = torch.randn(1, 3, 64, TINY.image_side)
    with torch.inference_mode():
        maps, features = nano.encode(images), nano.encoder(images)
        blank = nano.encoder(torch.zeros(1, 3, 64, 64))
        square = nano.encode(torch.randn(2, 3, TINY.image_side, TINY.image_side))
    assert [tuple(m.shape[1:]) for m in maps] == [tuple(m.shape[1:]) for m in square]
    for whole, part, empty in zip(maps, features, blank, strict=True):
        rows = part.shape[-2]
        assert rows * 2 == whole.shape[-2]
        torch.testing.assert_close(whole[..., :rows, :], part)
        padding = empty.mean((2, 3))[..., None, None].expand_as(whole[..., rows:, :])
        torch.testing.assert_close(whole[..., rows:, :], padding)


def test_precomputed_padding_gives_the_same_maps_from_one_pass(nano: Nano) -> None:
    ready, passes = copy.deepcopy(nano), []
    images = torch.randn(1, 3, 64, TINY.image_side)
    with torch.inference_mode():
        ready.precompute()
        ready.encoder.register_forward_hook(lambda *_: passes.append(1))
        maps, expected = ready.encode(images), nano.encode(images)
    assert len(passes) == 1
    for ours, theirs in zip(maps, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert ready.state_dict().keys() == nano.state_dict().keys()


@torch.inference_mode()
def test_an_empty_point_changes_nothing(nano: Nano) -> None:
    features = nano.encode(torch.randn(1, 3, 128, 128))
    coords, labels, masks, has_mask = prompts(2, 2)
    padded_coords = torch.cat([coords, torch.full((2, 1, 2), 77.0)], dim=1)
    padded_labels = torch.cat([labels, torch.full((2, 1), -1)], dim=1)
    plain = nano.decode(features, coords, labels, masks, has_mask)
    padded = nano.decode(features, padded_coords, padded_labels, masks, has_mask)
    torch.testing.assert_close(padded[0], plain[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(padded[1], plain[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [64, 128, 512])
def test_the_middle_of_a_picture_is_the_middle_at_every_training_side(side: int) -> None:
    coarse = torch.zeros(1, 8, side // 16, side // 16)
    middle = torch.tensor([[[side / 2, side / 4]]])
    assert coords_to_unit(middle, coarse).tolist() == [[[0.5, 0.25]]]


@torch.inference_mode()
def test_a_click_is_drawn_and_read_where_it_was_made() -> None:
    points = torch.tensor([[[0.75, 0.25]]])
    bump = gaussians(points, 0.1, 16, 16)[0, 0]
    row, column = divmod(int(bump.argmax()), 16)
    assert abs(column - 12) <= 1
    assert abs(row - 4) <= 1
    features = torch.arange(256.0).view(1, 1, 16, 16)
    read = sample_at(torch.tensor([[[12.5 / 16, 4.5 / 16]]]), features)
    assert read.item() == pytest.approx(4 * 16 + 12, abs=0.5)


@torch.inference_mode()
def test_a_box_takes_from_what_lies_outside_of_it_and_from_nothing_else(nano: Nano) -> None:
    labels = torch.tensor([[2, 3], [1, 1]])
    points = torch.tensor([[[0.25, 0.25], [0.75, 0.5]]] * 2)
    taken = nano.decoder._outside_penalty(points, labels, torch.zeros(2, 4, 32, 32))
    assert taken.shape == (2, 1, 32, 32)
    assert taken[0, 0, 12, 16].item() < 0.01
    assert taken[0, 0, 28, 16].item() == pytest.approx(nano.decoder.outside.item(), abs=0.01)
    assert not taken[1].any()
