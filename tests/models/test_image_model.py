"""The lower storey: what encode and decode promise, on models of a few thousand weights."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anymask import models
from anymask.models import nano
from anymask.models.image_model import ImageModel
from anymask.models.nano import Nano
from anymask.models.variants import EFFICIENT_SAM_TI, TINY, Variant

SIDE, MASK = 64, 32
TINY_EFFICIENT = Variant(
    spec=replace(EFFICIENT_SAM_TI.spec, name="tiny_efficient", image_side=SIDE, mask_side=MASK),
    encoder=TINY.encoder,
    prompts=replace(EFFICIENT_SAM_TI.prompts, dim=32, image_side=SIDE),
    decoder=replace(
        EFFICIENT_SAM_TI.decoder,
        dim=32,
        transformer=replace(EFFICIENT_SAM_TI.decoder.transformer, dim=32, heads=4, mlp_dim=48),
    ),
)
FAMILIES = {"tiny": 4, "tiny_hq": 5, "tiny_efficient": 3, "nano": 4}  # name -> T


def model_of(name: str, precision: torch.dtype = torch.float32) -> ImageModel | Nano:
    torch.manual_seed(3)
    if name == "nano":
        return Nano(nano.TINY).eval().to(precision)
    model = TINY_EFFICIENT.build() if name == "tiny_efficient" else models.build(name)
    assert isinstance(model, ImageModel)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.to(precision)


def photo(model: ImageModel | Nano, count: int = 1) -> Tensor:
    side = model.spec.image_side
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(4))


def prompts(count: int, points: int, seed: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random clicks, box corners and gaps; every second prompt has an earlier mask."""
    generator = torch.Generator().manual_seed(seed)
    coords = torch.rand(count, points, 2, generator=generator) * SIDE
    labels = torch.randint(-1, 4, (count, points), generator=generator)
    masks = torch.randn(count, 1, MASK, MASK, generator=generator) * 4
    return coords, labels, masks, torch.arange(count).remainder(2).float()


@cache
def looked(name: str) -> tuple[ImageModel | Nano, tuple[Tensor, ...]]:
    """A model, and what it sees in the photo."""
    model = model_of(name)
    with torch.inference_mode():
        return model, model.encode(photo(model))


@pytest.mark.parametrize(("name", "T"), FAMILIES.items())
@torch.inference_mode()
def test_every_mask_of_every_prompt_comes_back(name: str, T: int) -> None:
    model = model_of(name)
    logits, quality = model.decode(model.encode(photo(model)), *prompts(5, 3))
    assert logits.shape == (5, T, MASK, MASK)
    assert quality.shape == (5, T)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=8, deadline=None)
@given(count=st.integers(1, 4), points=st.integers(0, 4), seed=st.integers(0, 99))
def test_many_prompts_at_once_equal_one_by_one(
    name: str, count: int, points: int, seed: int
) -> None:
    model, features = looked(name)
    given_prompts = prompts(count, points or int(name == "nano"), seed)  # nano needs a point
    with torch.inference_mode():
        together = model.decode(features, *given_prompts)
        for i in range(count):
            alone = model.decode(features, *(part[i : i + 1] for part in given_prompts))
            for ours, one in zip(together, alone, strict=True):
                torch.testing.assert_close(ours[i : i + 1], one, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
@torch.inference_mode()
def test_many_images_at_once_equal_one_by_one(name: str) -> None:
    model = model_of(name)
    given_prompts = prompts(2, 3)
    together = model.decode(model.encode(photo(model, 2)), *given_prompts)
    for i in range(2):
        features = model.encode(photo(model, 2)[i : i + 1])
        alone = model.decode(features, *(part[i : i + 1] for part in given_prompts))
        for ours, one in zip(together, alone, strict=True):
            torch.testing.assert_close(ours[i : i + 1], one, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["tiny", "tiny_hq", "tiny_efficient"])
@torch.inference_mode()
def test_no_mask_may_be_said_once_for_all_prompts(name: str) -> None:
    model = model_of(name)
    features = model.encode(photo(model))
    coords, labels, masks, _ = prompts(3, 2)
    said_thrice = model.decode(features, coords, labels, masks, torch.zeros(3))
    said_once = model.decode(features, coords, labels, masks[:1], torch.zeros(1))
    for thrice, once in zip(said_thrice, said_once, strict=True):
        torch.testing.assert_close(thrice, once, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["tiny", "nano"])
@torch.inference_mode()
def test_a_mask_counts_only_where_has_mask_says_so(name: str) -> None:
    model = model_of(name)
    features = model.encode(photo(model))
    coords, labels, masks, _ = prompts(2, 2)
    without = model.decode(features, coords, labels, torch.zeros_like(masks), torch.zeros(2))
    ignored = model.decode(features, coords, labels, masks, torch.zeros(2))
    read = model.decode(features, coords, labels, masks, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(ignored[0], without[0])
    torch.testing.assert_close(read[0][0], without[0][0])
    assert (read[0][1] - without[0][1]).abs().max() > 1e-3


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["tiny", "tiny_hq", "tiny_efficient"])
@torch.inference_mode()
def test_half_precision_runs_throughout_and_stays_near(name: str, precision: torch.dtype) -> None:
    exact = model_of(name)
    half = model_of(name, precision)
    given_prompts = prompts(3, 3)
    features = half.encode(photo(half))
    assert all(part.dtype == precision for part in features)
    logits, quality = half.decode(features, *given_prompts)
    assert logits.dtype == quality.dtype == torch.float32
    expected = exact.decode(exact.encode(photo(exact)), *given_prompts)[0]
    assert (logits - expected).abs().mean() < 0.1 * expected.abs().mean()


@torch.inference_mode()
def test_coordinates_stay_exact_in_half_precision() -> None:
    model = model_of("tiny", torch.bfloat16)
    tokens = [
        model.prompt_encoder.embed_points(torch.tensor([[[x, 9.0]]]), torch.ones(1, 1))
        for x in (50.0, 50.125)
    ]
    assert not torch.equal(*tokens)


def test_gradients_reach_every_weight_that_a_prompt_uses() -> None:
    model = model_of("tiny_hq")
    coords, _, masks, has_mask = prompts(5, 5)
    labels = torch.arange(-1, 4).expand(5, 5)
    logits, quality = model.decode(model.encode(photo(model)), coords, labels, masks, has_mask)
    (logits.square().mean() + quality.square().mean()).backward()
    unreached = [name for name, p in model.named_parameters() if p.grad is None]
    assert unreached == []
