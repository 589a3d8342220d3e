"""A layer with its activation in one pass: the same numbers, and only where it may be."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.fast import (
    MIN_ROWS,
    Activation,
    activated,
    convolved,
    projected_parts,
    times_transposed,
)
from anymask.models.fast import attention as fused_layers

AFTER: dict[Activation | None, Callable[[Tensor], Tensor]] = {
    None: lambda y: y,
    "relu": F.relu,
    "gelu": F.gelu,
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The rows of each fused linear layer."""
    made: list[torch.Size] = []
    fused = fused_layers._fused

    def told(x: Tensor, *others: object) -> Tensor:
        made.append(x.shape)
        return fused(x, *others)  # type: ignore[arg-type]  # handed on as they come

    monkeypatch.setattr(fused_layers, "_fused", told)
    return made


@pytest.mark.parametrize("activation", AFTER)
def test_one_pass_gives_the_numbers_of_two(
    activation: Activation | None, calls: list[torch.Size]
) -> None:
    torch.manual_seed(0)
    x, layer = torch.randn(2, MIN_ROWS, 24), nn.Linear(24, 40)
    expected = AFTER[activation](x.double() @ layer.weight.double().T + layer.bias.double())
    with torch.inference_mode():
        got = activated(x, layer, activation)
    torch.testing.assert_close(got.double(), expected.detach(), rtol=1e-5, atol=1e-5)
    assert calls == [x.shape]


def test_what_learns_has_its_gradients(calls: list[torch.Size]) -> None:
    x, layer = torch.randn(MIN_ROWS, 4, requires_grad=True), nn.Linear(4, 3)
    activated(x, layer, "gelu").sum().backward()
    assert layer.weight.grad is not None
    assert x.grad is not None
    assert calls == []


class Scaled(nn.Linear):
    """A linear layer that does more than one."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's own name
        return 2 * super().forward(input)


def test_other_layers_few_rows_and_hooks_are_called_as_they_are(calls: list[torch.Size]) -> None:
    torch.manual_seed(0)
    x, plain, watched = torch.randn(MIN_ROWS, 4), nn.Linear(4, 3), nn.Linear(4, 3)
    scaled, seen = Scaled(4, 3), list[Tensor]()
    watched.register_forward_hook(lambda layer, given, y: seen.append(y))
    with torch.inference_mode():
        torch.testing.assert_close(activated(x, scaled, "relu"), scaled(x).relu())
        activated(x, watched, None)
        activated(x[1:], plain, None)
    assert len(seen) == 1
    assert calls == []


@pytest.mark.parametrize(
    ("layer", "call", "shape", "name"),
    [
        (nn.Linear(4, 3), activated, (MIN_ROWS, 4), "linear"),
        (nn.Conv2d(6, 10, 1), convolved, (1, 6, 4, 4), "conv2d"),
    ],
)
def test_an_exported_graph_has_the_plain_layer(
    layer: nn.Module, call: Callable[..., Tensor], shape: tuple[int, ...], name: str
) -> None:
    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            return call(x, self.layer, "gelu")

    with torch.inference_mode():
        graph = torch.export.export(Module(), (torch.randn(shape),)).graph
    named = [str(node.target) for node in graph.nodes if node.op == "call_function"]
    assert named == [f"aten.{name}.default", "aten.gelu.default"]


class Parts(nn.Module):
    """Queries, keys and values of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return projected_parts(x, self.layer)


def test_an_exported_graph_has_one_product_for_each_part_of_a_layer() -> None:
    module, x = Parts(), torch.randn(5, 4)
    with torch.inference_mode():
        program = torch.export.export(module, (x,))
        expected = module.layer(x).split(2, dim=-1)
        torch.testing.assert_close(module(x), expected)
        torch.testing.assert_close(program.module()(x), expected)
    named = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert named.count("aten.linear.default") == 3


@pytest.mark.parametrize("columns", [False, True], ids=["rows", "columns"])
def test_a_product_with_rows_or_columns_of_a_table(columns: bool) -> None:
    torch.manual_seed(0)
    a, table = torch.randn(50, 30), torch.randn(30, 70) if columns else torch.randn(70, 30)
    b = table.t() if columns else table
    expected = a.double() @ b.double().T
    with torch.inference_mode():
        torch.testing.assert_close(times_transposed(a, b).double(), expected, rtol=1e-5, atol=1e-5)


KINDS = {
    "1 x 1": nn.Conv2d(6, 10, 1),
    "depthwise": nn.Conv2d(6, 6, 3, padding=1, groups=6),
    "strided, no bias": nn.Conv2d(6, 4, 3, 2, 1, bias=False),
    "dilated": nn.Conv2d(6, 4, 3, dilation=2),
    "padded by a word": nn.Conv2d(6, 4, 3, padding="same"),
    "mirrored": nn.Conv2d(6, 4, 3, padding=1, padding_mode="reflect"),
    "with its norm": nn.Sequential(nn.Conv2d(6, 4, 1), nn.BatchNorm2d(4)).eval(),
}


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("activation", AFTER)
@pytest.mark.parametrize("kind", KINDS)
def test_a_convolution_in_one_pass_gives_the_numbers_of_two(
    kind: str, activation: Activation | None, form: torch.memory_format
) -> None:
    torch.manual_seed(0)
    x, layer = torch.randn(2, 6, 9, 11).contiguous(memory_format=form), KINDS[kind]
    expected = AFTER[activation](copy.deepcopy(layer).double()(x.double())).detach()
    with torch.inference_mode():
        got = convolved(x, layer, activation)
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-5)
    learned = convolved(x.clone().requires_grad_(), layer, activation)
    assert learned.requires_grad
