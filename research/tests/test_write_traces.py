"""A stored trace serves each network that differs in weights only."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from anymask.base import import_offline
from anymask.training.export_graphs import fill_trace
from research.write_traces import store_trace

pytestmark = pytest.mark.filterwarnings("ignore")  # of the exporter, about torch itself
INPUTS = (torch.zeros(2, 3),)
OPTIONS: dict[str, Any] = {
    "dynamo": True, "opset_version": 20, "input_names": ["x"], "output_names": ["y"],
    "verbose": False,
}  # fmt: skip


def network(width: int = 3, bias: bool = True) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 4, bias), nn.GELU(), nn.Linear(4, 2)).eval()


def test_a_trace_takes_the_weights_of_another_network(tmp_path: Path) -> None:
    store_trace(network(), INPUTS, OPTIONS, tmp_path)
    other, file = network(), tmp_path / "filled.onnx"
    assert fill_trace(other, INPUTS, OPTIONS, file, tmp_path)
    x = torch.randn(2, 3)
    (ours,) = import_offline("onnxruntime").InferenceSession(file).run(None, {"x": x.numpy()})
    np.testing.assert_allclose(ours, other(x).detach().numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("other", "inputs", "options"),
    [
        (network(5), (torch.zeros(2, 5),), {}),
        (network(bias=False), INPUTS, {}),
        (nn.Sequential(*network()[:2], nn.Linear(4, 2), nn.ReLU()).eval(), INPUTS, {}),
        (network(), (torch.zeros(4, 3),), {}),
        (network(), INPUTS, {"opset_version": 19}),
    ],
    ids=["width", "tensors", "layers", "input", "opset"],
)
def test_another_network_has_no_trace(
    tmp_path: Path, other: nn.Module, inputs: tuple[torch.Tensor, ...], options: dict[str, Any]
) -> None:
    store_trace(network(), INPUTS, OPTIONS, tmp_path)
    file = tmp_path / "filled.onnx"
    assert not fill_trace(other, inputs, OPTIONS | options, file, tmp_path)
    assert not file.exists()


def test_a_tensor_without_a_name_is_refused(tmp_path: Path) -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = [torch.randn(3)]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.shift[0]

    with pytest.raises(SystemExit, match="neither parameter nor buffer"):
        store_trace(Shifted().eval(), INPUTS, OPTIONS, tmp_path)
