"""The shared layers: a 1x1 convolution that multiplies while it learns stays a convolution."""

import pytest
import torch
from torch import nn

from anymask import models
from anymask.models.layers import Pointwise


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_learning_gives_the_convolutions_values_and_gradients(form: torch.memory_format) -> None:
    torch.manual_seed(0)
    plain, ours = nn.Conv2d(6, 10, 1), Pointwise(6, 10)
    ours.load_state_dict(plain.state_dict())
    seen = torch.randn(2, 6, 5, 7).contiguous(memory_format=form)
    grads = []
    for layer in (plain, ours.train()):
        x = seen.clone().requires_grad_()
        y = layer(x)
        (y * y).sum().backward()
        grads.append((y, x.grad, layer.weight.grad, layer.bias.grad))
    for expected, got in zip(*grads, strict=True):
        torch.testing.assert_close(got, expected)


def test_what_is_exported_is_the_plain_convolution() -> None:
    seen = (torch.randn(1, 6, 5, 7),)
    called = [
        [
            str(node.target)
            for node in torch.export.export(layer.eval(), seen).graph.nodes
            if node.op == "call_function"
        ]
        for layer in (nn.Conv2d(6, 10, 1), Pointwise(6, 10))
    ]
    assert called == [["aten.conv2d.default"]] * 2


def test_nano_learns_without_a_single_1x1_convolution_of_another_kind() -> None:
    dense = [
        name
        for name, module in models.build("nano_tiny").named_modules()
        if isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and not isinstance(module, Pointwise)
    ]
    assert dense == []
