"""Many clicks on one image give the decoder's own answers, up to rounding."""

import copy

import pytest
import torch

from anymask import models
from anymask.models.fast import (
    VIEW,
    ClickSweep,
    ImageWork,
    SweepClicks,
    SweepImage,
    SweepMasks,
    decoder_of,
    fits,
)
from anymask.models.image_model import ImageModel
from anymask.models.variants import (
    EFFICIENT_SAM_TI,
    TINY,
    TINY_HQ,
    TINY_VIDEO,
    Variant,
    VideoVariant,
)

N = 5


@pytest.fixture(scope="module")
def tiny() -> ImageModel:
    """Random weights whose norms are no identities and whose biases are no zeros."""
    torch.manual_seed(0)
    model = TINY.build().requires_grad_(False)
    for parameter in (*model.mask_decoder.parameters(), *model.prompt_encoder.parameters()):
        parameter += 0.3 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def asked() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, coordinates and labels: a click each, and the point that is none."""
    generator = torch.Generator().manual_seed(1)
    features = 3 * torch.randn(1, 32, 8, 8, generator=generator) + 1
    coords = 64 * torch.rand(N, 2, 2, generator=generator)
    return features, coords, torch.tensor([[1, -1]]).expand(N, 2)


def decoded(model: ImageModel, asked: tuple) -> tuple[torch.Tensor, torch.Tensor]:
    features, coords, labels = asked
    return model.decode((features,), coords, labels, torch.zeros(N, 1, 32, 32), torch.zeros(N))


@torch.inference_mode()
def test_quality_and_masks_are_the_decoder_s(tiny: ImageModel, asked: tuple) -> None:
    logits, quality = decoded(tiny, asked)
    sweep = ClickSweep(tiny, asked[0], torch.float32)
    ours, heard = sweep.decode(*asked[1:])
    torch.testing.assert_close(ours, quality, rtol=1e-4, atol=1e-4)
    for row in range(N):
        drawn = sweep.draw(heard, row, [3, 0])
        torch.testing.assert_close(drawn, logits[row, [3, 0]], rtol=1e-3, atol=1e-3)


@torch.inference_mode()
def test_a_sweep_can_be_asked_again_with_other_counts_of_prompts_and_points(
    tiny: ImageModel, asked: tuple
) -> None:
    features, coords, labels = asked
    _, quality = decoded(tiny, asked)
    sweep = ClickSweep(tiny, features, torch.float32)
    alone, _ = sweep.decode(coords[:1, :1], labels[:1, :1])
    assert (alone - quality[:1]).abs().max() > 1e-3  # without the point that is none
    for part in (slice(0, 1), slice(0, N), slice(2, 4)):
        again, _ = sweep.decode(coords[part], labels[part])
        torch.testing.assert_close(again, quality[part], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("shown", [(5, 8), (8, 3), (6, 7)])
def test_what_lies_beyond_the_photo_is_not_drawn(
    tiny: ImageModel, asked: tuple, shown: tuple[int, int]
) -> None:
    logits, _ = decoded(tiny, asked)
    sweep = ClickSweep(tiny, asked[0], torch.float32, shown)
    _, heard = sweep.decode(*asked[1:])
    drawn = sweep.draw(heard, 2, [1, 2])
    height, width = 4 * shown[0], 4 * shown[1]
    image = (slice(None), slice(height), slice(width))
    torch.testing.assert_close(drawn[image], logits[2, [1, 2]][image], rtol=1e-3, atol=1e-3)
    assert drawn.shape == logits[2, [1, 2]].shape
    lowest = drawn[image].min()
    assert (drawn[:, height:] == lowest).all()
    assert (drawn[:, :, width:] == lowest).all()


@torch.inference_mode()
def test_sixteen_bits_are_nearer_than_a_model_in_sixteen_bits(
    tiny: ImageModel, asked: tuple
) -> None:
    logits, quality = decoded(tiny, asked)
    sweep = ClickSweep(tiny, asked[0], torch.bfloat16)
    ours, heard = sweep.decode(*asked[1:])
    drawn = torch.stack([sweep.draw(heard, row, [0, 1, 2, 3]) for row in range(N)])
    halved = copy.deepcopy(tiny).bfloat16()
    drawn_by_halves, by_halves = decoded(halved, asked)
    assert (ours - quality).abs().mean() < 0.4 * (by_halves - quality).abs().mean()
    assert (drawn - logits).abs().mean() < 0.4 * (drawn_by_halves - logits).abs().mean()


def test_only_sam_s_own_decoder_is_unrolled_and_has_graphs(tiny: ImageModel) -> None:
    assert fits(tiny)
    assert EFFICIENT_SAM_TI.decoder.norm == "map"
    with torch.device("meta"):
        others = [TINY_HQ.build(), EFFICIENT_SAM_TI.build(), torch.nn.Linear(1, 1)]
    for other in (*others, models.build("nano")):
        assert not fits(other)
        assert decoder_of(other) is None


# --- the same as graphs for export


def random_parameters(model: torch.nn.Module) -> torch.nn.Module:
    """Norms that are no identities and biases that are no zeros."""
    torch.manual_seed(0)
    model.requires_grad_(False)
    for parameter in model.parameters():
        parameter += 0.3 * torch.randn_like(parameter)
    return model


@torch.inference_mode()
@pytest.mark.parametrize("variant", [TINY, TINY_VIDEO], ids=["sam", "sam2"])
def test_the_graphs_give_the_decoder_s_quality_and_masks(variant: Variant | VideoVariant) -> None:
    model = random_parameters(variant.build())
    parts = decoder_of(model)
    assert parts is not None
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(1, 3, model.spec.image_side, model.spec.image_side, generator=generator)
    maps, m = model.encode(images), model.spec.mask_side
    coords = model.spec.image_side * torch.rand(N, 2, 2, generator=generator)
    labels = torch.tensor([[1, -1]]).expand(N, 2)
    logits, quality = model.decode(maps, coords, labels, torch.zeros(N, 1, m, m), torch.zeros(N))
    found = SweepImage(*parts)(*maps)
    work, upscaled = found[: len(ImageWork._fields)], found[len(ImageWork._fields) :]
    ours, weights, rows, *views = SweepClicks(*parts)(*work, coords, labels)
    torch.testing.assert_close(ours, quality, rtol=1e-4, atol=1e-4)
    masks = SweepMasks(*parts)
    for n in range(N):
        view = views[len(VIEW) * n : len(VIEW) * (n + 1)]
        drawn = masks(*upscaled, *view, rows[n], weights[n, [3, 0]])
        cells = drawn.view(m // 4, m // 4, 2, 2, 2, 2, 2).permute(6, 0, 2, 4, 1, 3, 5)
        error = (cells.reshape(2, m, m) - logits[n, [3, 0]]).abs().max()
        assert error <= 1e-4 * logits.abs().max()
