"""SAM's ViT: windows, relative positions and attention against loops over every pair."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anymask.models import vit
from anymask.models.positions import FourierPositions, offsets, relative_bias
from anymask.models.variants import TINY_VIT
from anymask.models.vit import RelativeAttention, Vit, map_to_windows, windows_to_map


@given(h=st.integers(1, 9), w=st.integers(1, 9), side=st.integers(1, 5), count=st.integers(1, 3))
def test_windows_put_back_are_the_map(h: int, w: int, side: int, count: int) -> None:
    x = torch.arange(count * h * w * 2.0).reshape(count, h, w, 2)
    windows = map_to_windows(x, side)
    assert windows.shape == (count * -(-h // side) * -(-w // side), side, side, 2)
    assert torch.equal(windows_to_map(windows, h, w), x)


def test_windows_read_the_map_row_by_row_and_pad_with_zeros() -> None:
    windows = map_to_windows(torch.arange(1.0, 7.0).reshape(1, 2, 3, 1), 2)[..., 0]
    assert windows.tolist() == [[[1, 2], [4, 5]], [[3, 0], [6, 0]]]


def test_offsets_index_the_table_by_query_minus_key() -> None:
    table = torch.arange(-2.0, 3.0)[:, None]  # row d + 2 says d
    assert offsets(table, 3)[..., 0].tolist() == [[0, -1, -2], [1, 0, -1], [2, 1, 0]]


def slow_bias(q: Tensor, along_h: Tensor, along_w: Tensor) -> Tensor:
    B, heads, h, w, _ = q.shape
    bias = torch.empty(B, heads, h * w, h * w)
    for i in range(h * w):
        for j in range(h * w):
            row = along_h[i // w - j // w + h - 1]
            column = along_w[i % w - j % w + w - 1]
            bias[:, :, i, j] = q[:, :, i // w, i % w] @ row + q[:, :, i // w, i % w] @ column
    return bias


@settings(max_examples=10, deadline=None)
@given(h=st.integers(1, 4), w=st.integers(1, 4), seed=st.integers(0, 99))
def test_relative_bias_equals_a_loop_over_pairs(h: int, w: int, seed: int) -> None:
    torch.manual_seed(seed)
    q, along_h, along_w = torch.randn(2, 3, h, w, 5), torch.randn(2 * h - 1, 5), torch.randn(9, 5)
    along_w = along_w[: 2 * w - 1]
    expected = slow_bias(q, along_h, along_w)
    torch.testing.assert_close(relative_bias(q, along_h, along_w), expected, atol=1e-5, rtol=1e-5)


def random_attention() -> RelativeAttention:
    torch.manual_seed(1)
    attention = RelativeAttention(dim=12, heads=3, side=4)
    torch.nn.init.normal_(attention.rel_pos_h)
    torch.nn.init.normal_(attention.rel_pos_w)
    return attention


@torch.inference_mode()
def test_attention_equals_its_definition() -> None:
    attention, x = random_attention(), torch.randn(2, 4, 4, 12)
    qkv = attention.qkv(x).reshape(2, 16, 3, 3, 4).permute(2, 0, 3, 1, 4)
    bias = slow_bias(qkv[0].unflatten(2, (4, 4)), attention.rel_pos_h, attention.rel_pos_w)
    weights = ((qkv[0] / 2) @ qkv[1].transpose(-1, -2) + bias).softmax(-1)  # D = 4
    expected = attention.proj((weights @ qkv[2]).transpose(1, 2).reshape(2, 4, 4, 12))
    torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("limit", [1, 2 * 16**2, 2**25])
@torch.inference_mode()
def test_attention_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    attention, x = random_attention(), torch.randn(2, 4, 4, 12)
    whole = attention(x)
    monkeypatch.setattr(vit, "BIAS_LIMIT", limit)
    torch.testing.assert_close(attention(x), whole, atol=1e-6, rtol=1e-6)


@torch.inference_mode()
def test_the_early_map_is_the_one_after_the_first_global_block() -> None:
    torch.manual_seed(2)
    model = Vit(TINY_VIT).eval()
    seen: list[Tensor] = []
    hook = model.blocks[min(TINY_VIT.global_blocks)].register_forward_hook(
        lambda *args: seen.append(args[2])
    )
    images = torch.randn(1, 3, 64, 64)
    assert len(model(images)) == 1
    hook.remove()
    twin = Vit(replace(TINY_VIT, extras="first_global")).eval()
    twin.load_state_dict(model.state_dict())
    features, early = twin(images)
    assert torch.equal(features, model(images)[0])
    assert torch.equal(early, seen[0].permute(0, 3, 1, 2))


def test_the_grid_of_positions_is_every_cell_centre_in_reading_order() -> None:
    positions = FourierPositions(8)
    grid = positions.grid(2, 3)
    assert grid.shape == (1, 6, 8)
    lower_right = positions(torch.tensor([2.5 / 3, 1.5 / 2]))
    torch.testing.assert_close(grid[0, 5], lower_right)
