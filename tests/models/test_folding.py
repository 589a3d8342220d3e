"""Folding changes the modules and never the numbers; the oracle is the unfolded module."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from anymask.models.fast import ConvBn, fold_batch_norm, fuse
from tests.models.encoder_parity import noise, randomise, relative_error

TOLERANCE = 1e-5


@settings(deadline=None, max_examples=25)
@given(
    groups=st.sampled_from([1, 2, 6]),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 2),
    side=st.integers(1, 9),
    seed=st.integers(0, 999),
)
def test_a_folded_convolution_equals_convolution_then_norm(
    groups: int, kernel: int, stride: int, side: int, seed: int
) -> None:
    pair = randomise(ConvBn(6, 12, kernel=kernel, stride=stride, groups=groups), seed)
    x = noise(2, 6, side, side, seed=seed)

    folded = fuse(pair)

    assert isinstance(folded, nn.Conv2d)
    assert relative_error(folded(x), pair(x)) <= TOLERANCE


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_folding_takes_a_bias_and_a_norm_without_weights(bias: bool, affine: bool) -> None:
    pair = nn.Sequential(nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4, affine=affine))
    randomise(pair)
    conv, norm = pair
    x = noise(1, 3, 7, 7)

    assert relative_error(fold_batch_norm(conv, norm)(x), pair(x)) <= TOLERANCE


def test_a_norm_goes_into_the_convolution_before_it_and_the_numbering_stays() -> None:
    network = randomise(
        nn.Sequential(
            nn.BatchNorm2d(3),
            nn.Conv2d(3, 4, 1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 2, 3),
        )
    )
    x = noise(1, 3, 5, 5)

    folded = fuse(network)

    kinds = [type(child).__name__ for child in folded.children()]
    assert kinds == ["BatchNorm2d", "Conv2d", "Identity", "ReLU", "BatchNorm2d", "Conv2d"]
    assert relative_error(folded(x), network(x)) <= TOLERANCE


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_folding_keeps_the_precision(dtype: torch.dtype) -> None:
    folded = fuse(randomise(ConvBn(3, 4)).to(dtype))

    assert {parameter.dtype for parameter in folded.parameters()} == {dtype}
