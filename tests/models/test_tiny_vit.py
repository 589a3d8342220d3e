"""TinyViT against a loop over windows, heads and pairs; against the reference in tests/golden."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from anymask.models.fast import fuse
from anymask.models.tiny_vit import TINY, AttentionBlock, TinyViT, WindowAttention
from tests.models.encoder_parity import noise, randomise, relative_error


def tiny() -> TinyViT:
    model = randomise(TinyViT(TINY))
    assert isinstance(model, TinyViT)
    return model


def slow_attention(attention: WindowAttention, tokens: torch.Tensor, side: int) -> torch.Tensor:
    """One window, pair by pair: the bias of a pair is looked up by its absolute offset."""
    count, channels = tokens.shape
    width = channels // attention.heads
    projected = attention.qkv(attention.norm(tokens)).view(count, attention.heads, 3, width)
    out = torch.zeros(count, attention.heads, width)
    for head in range(attention.heads):
        q, k, v = projected[:, head].unbind(1)
        for i in range(count):
            scores = torch.zeros(count)
            for j in range(count):
                dy, dx = abs(i // side - j // side), abs(i % side - j % side)
                bias = attention.attention_biases[head, dy * side + dx]
                scores[j] = q[i] @ k[j] / width**0.5 + bias
            out[i, head] = scores.softmax(0) @ v
    return attention.proj(out.view(count, channels))


@settings(deadline=None, max_examples=12)
@given(side=st.integers(1, 4), heads=st.integers(1, 3), seed=st.integers(0, 99))
def test_attention_equals_the_loop_over_pairs(side: int, heads: int, seed: int) -> None:
    attention = randomise(WindowAttention(6, heads, side), seed)
    assert isinstance(attention, WindowAttention)
    tokens = noise(2, side * side, 6, seed=seed)

    with torch.no_grad():
        expected = torch.stack([slow_attention(attention, window, side) for window in tokens])
        assert relative_error(attention(tokens), expected) <= 1e-5


@settings(deadline=None, max_examples=25)
@given(height=st.integers(1, 7), width=st.integers(1, 7), side=st.integers(1, 4))
def test_a_block_attends_within_the_windows_of_the_padded_map(
    height: int, width: int, side: int
) -> None:
    block = randomise(AttentionBlock(6, 2, side, 2))
    assert isinstance(block, AttentionBlock)
    x = noise(2, 6, height, width)

    with torch.inference_mode():
        padded = F.pad(x, (0, -width % side, 0, -height % side)).permute(0, 2, 3, 1)
        attended = torch.zeros_like(padded)
        for top in range(0, height, side):
            for left in range(0, width, side):
                window = padded[:, top : top + side, left : left + side]
                mixed = block.attn(window.reshape(2, side * side, 6))
                attended[:, top : top + side, left : left + side] = mixed.view(2, side, side, 6)
        mapped = block.local_conv(x + attended[:, :height, :width].permute(0, 3, 1, 2))
        expected = mapped + block.mlp(mapped.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

        assert relative_error(block(x), expected) <= 1e-5


def test_weights_loaded_in_eval_mode_count_at_once() -> None:
    trained, fresh, image = tiny(), TinyViT(TINY).eval(), noise(1, 3, 64, 64)

    with torch.inference_mode():
        fresh(image)
        fresh.load_state_dict(trained.state_dict())
        assert torch.equal(fresh(image)[0], trained(image)[0])


@pytest.mark.filterwarnings("ignore")  # the exporter's own, about its internals
def test_the_exported_graph_agrees_for_another_batch(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model, path = tiny(), tmp_path / "encoder.onnx"

    batch = torch.export.Dim("B")
    torch.onnx.export(
        fuse(model),
        (noise(2, 3, 64, 64),),
        path,
        dynamo=True,
        opset_version=18,
        dynamic_shapes=({0: batch},),
        verbose=False,
    )

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = noise(3, 3, 64, 64, seed=1)
    answers = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.inference_mode():
        for answer, expected in zip(answers, model(images), strict=True):
            assert relative_error(torch.from_numpy(answer), expected) <= 1e-5


def test_the_classifier_that_checkpoints_carry_never_counts() -> None:
    model, image = tiny(), noise(1, 3, 32, 32)

    with torch.inference_mode():
        before = model(image)[0]
        model.head.weight.fill_(torch.nan)
        model.norm_head.weight.fill_(torch.nan)
        assert torch.equal(model(image)[0], before)
