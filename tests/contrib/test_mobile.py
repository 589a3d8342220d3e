"""Conversion for phones: outputs of a stand-in converter are compared with those of PyTorch."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.scripts import loaded_script

SCRIPT = Path(__file__).parents[2] / "contrib" / "mobile" / "convert.py"


@pytest.fixture(scope="module")
def convert() -> Iterator[Any]:
    with loaded_script(SCRIPT) as module:
        yield module


class Shift(nn.Module):
    def forward(self, x: Tensor, by: Tensor) -> Tensor:
        return x * 2 + by


class Runner:
    """A converted `Shift` that takes 32-bit integers, as TFLite does, and adds an error."""

    error = 0.0

    def get_input_details(self) -> dict[str, dict[str, Any]]:
        return {"args_10": {"dtype": np.int32}, "args_9": {"dtype": np.float32}}

    def __call__(self, args_9: Any, args_10: Any) -> dict[str, Any]:
        assert (args_9.dtype, args_10.dtype) == (np.float32, np.int32)
        return {"output_0": args_9 * 2 + args_10 + self.error}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    given = (torch.tensor([1.0, 4.0]), torch.tensor([2, 2]))
    program = torch.export.export(Shift(), given)
    for name in ("encoder", "decoder"):
        torch.export.save(program, tmp_path / f"{name}.pt2")
        arrays = {f"input_{i}": one.numpy() for i, one in enumerate(given)}
        np.savez(tmp_path / f"{name}.npz", output_0=Shift()(*given).numpy(), **arrays)
    litert, interpreter = ModuleType("litert_torch"), ModuleType("ai_edge_litert.interpreter")

    class Converted:
        def export(self, path: str) -> None:
            Path(path).write_bytes(b"tflite")

    class Interpreter:
        def __init__(self, model_path: str) -> None:
            assert Path(model_path).read_bytes() == b"tflite"

        def get_signature_runner(self) -> Runner:
            return Runner()

    monkeypatch.setattr(litert, "convert", lambda module, given: Converted(), raising=False)
    monkeypatch.setattr(interpreter, "Interpreter", Interpreter, raising=False)
    for name, module in (("litert_torch", litert), ("ai_edge_litert.interpreter", interpreter)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", ModuleType("ai_edge_litert"))
    return tmp_path


@pytest.mark.parametrize(("error", "shown", "rc"), [(0.0, "0.0e+00", 0), (0.5, "5.0e-02", 1)])
def test_outputs_are_compared_with_pytorch(
    error: float,
    shown: str,
    rc: int,
    programs: Path,
    convert: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Runner, "error", error)
    words = ["convert.py", str(programs), "--to", "tflite", "-o", str(programs / "out")]
    monkeypatch.setattr(sys, "argv", words)
    assert convert.main() == rc
    assert capsys.readouterr().out.splitlines() == [
        f"{name} difference {shown}" for name in ("encoder", "decoder")
    ]
