"""RepViT: folded against unfolded, and its parts; against the reference in tests/golden."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from anymask.models.fast import fuse
from anymask.models.repvit import EDGE_SAM, RepDepthwise, RepViT, SqueezeExcite
from tests.models.encoder_parity import noise, randomise, relative_error


@settings(deadline=None, max_examples=15)
@given(channels=st.integers(1, 5), side=st.integers(1, 6), seed=st.integers(0, 99))
def test_three_depthwise_branches_fold_to_one_convolution(
    channels: int, side: int, seed: int
) -> None:
    branches = randomise(RepDepthwise(channels), seed)
    x = noise(2, channels, side, side, seed=seed)

    with torch.inference_mode():
        folded = fuse(branches)
        assert isinstance(folded, nn.Conv2d)
        assert relative_error(folded(x), branches(x)) <= 1e-5


def test_squeeze_and_excitation_scales_each_channel_by_one_number() -> None:
    squeeze = randomise(SqueezeExcite(4, 8))
    x = torch.rand(1, 4, 3, 5) + 0.5

    with torch.inference_mode():
        scale = squeeze(x) / x

    assert torch.allclose(scale, scale[:, :, :1, :1].expand_as(scale))
    assert ((scale > 0) & (scale < 1)).all()


def test_squeeze_and_excitation_sits_where_m1_has_it() -> None:
    squeezed = [
        index
        for index, feature in enumerate(RepViT(EDGE_SAM).features)
        if any(isinstance(module, SqueezeExcite) for module in feature.modules())
    ]

    assert squeezed == [1, 5, 9, 11, 13, 15, 17, 19, 21, 25]  # the table of the paper's code
