"""What only answers: folded where it can be, in the precision asked for, the same numbers."""

from typing import Any

import pytest
import torch
from torch import nn

from anymask import models
from anymask.models.fast import Foldable
from anymask.runtime.torch import for_inference
from tests.models.encoder_parity import noise, randomise, relative_error

CPU = torch.device("cpu")


def foldable(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, (Foldable, nn.BatchNorm2d))]


@pytest.mark.parametrize("name", ["edgetam", "edge_sam", "mobile_sam"])
def test_a_folded_encoder_gives_the_same_features(name: str) -> None:
    module: Any = randomise(models.build(name)).eval()
    side = module.spec.image_side
    images, names = noise(1, 3, side, side), set(module.state_dict())
    with torch.inference_mode():
        expected = module.encode(images)
        ready = for_inference(module, CPU, torch.float32)
        for ours, theirs in zip(ready.encode(images), expected, strict=True):
            assert relative_error(ours, theirs) <= 1e-4
    assert foldable(module)
    assert not foldable(ready)
    assert set(module.state_dict()) == names  # what was handed over keeps its names


def test_a_trunk_of_convolutions_keeps_all_its_bits_in_half_precision() -> None:
    module: Any = randomise(models.build("edgetam"))
    whole = for_inference(module, CPU, torch.float32)
    halves = for_inference(module, CPU, torch.bfloat16)
    kinds = {
        name: {one.dtype for one in part.parameters()} for name, part in halves.named_children()
    }
    assert kinds.pop("image_encoder") == {torch.float32}
    assert set.union(*kinds.values()) == {torch.bfloat16}
    for kept, own in zip(
        halves.image_encoder.parameters(), whole.image_encoder.parameters(), strict=True
    ):
        assert torch.equal(kept, own)
    side = module.spec.image_side
    with torch.inference_mode():
        frame = halves.encode_frame(noise(1, 3, side, side))
    assert {frame.features.dtype, *(one.dtype for one in frame.fine)} == {torch.bfloat16}


@pytest.mark.parametrize("name", ["tiny_video", "mobile_sam"])
def test_channels_lie_last_and_nothing_learns(name: str) -> None:
    module = models.build(name)
    ready = for_inference(module, CPU, torch.bfloat16)
    assert (ready is module) == (not foldable(module))
    wide = [one for one in ready.parameters() if one.dim() == 4 and min(one.shape) > 1]
    assert wide
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in wide)
    assert {one.dtype for one in ready.parameters()} == {torch.bfloat16}
    assert not any(one.requires_grad for one in ready.parameters())
