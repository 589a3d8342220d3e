"""A model on OpenVINO: the same graphs of a bundle as on ONNX Runtime, compiled for this processor.

It reads our ONNX files, or OpenVINO's own (`encoder.xml`, `encoder.bin`), which `write_ir`
makes of them. Everything but the opening of a graph is `OnnxRuntime`'s. `import_offline`
turns off what the package reports when it is imported.

"fp32" needs the mode ACCURACY: in its other mode OpenVINO multiplies weights that are stored in 16
or 8 bits by activations that it rounds to 8 bits, whatever precision is hinted at; for `small` that
moves maps by a hundredth of their largest value. "int8" is that mode, asked for.
"""

from __future__ import annotations

import ctypes
import queue
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import FloatArray, InputError, MissingExtra, WeightsError, import_offline
from anymask.runtime.onnx import OnnxRuntime

if TYPE_CHECKING:
    import openvino

PRECISIONS: Mapping[str, Mapping[str, Any]] = {
    "fp32": {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"},
    "bf16": {"INFERENCE_PRECISION_HINT": "bf16", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0},
    "int8": {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 32},
}


class OpenVinoRuntime(OnnxRuntime):
    """The graphs of a bundle folder on OpenVINO, behind the runtime protocol.

    Raises as `OnnxRuntime`, and MissingExtra without the package `openvino`.

    Args:
        folder: As of `OnnxRuntime`.
        threads: As of `OnnxRuntime`.
        side: As of `OnnxRuntime`.
        device: "auto" or "cpu".
        precision: "fp32"; "bf16": products and convolutions in 16 bits, which pays on
            processors with AMX or AVX512-BF16; "int8": activations of matrix products in 8 bits
            where the weights are stored in 16 or 8.
    """

    OPENS_IR = True
    CALLS_AT_ONCE = False  # OpenVINO computes one call of a model after the other

    def __init__(
        self,
        folder: str | Path,
        *,
        threads: int | None = None,
        device: str = "auto",
        side: int | None = None,
        precision: str = "fp32",
    ) -> None:
        if precision not in PRECISIONS:
            raise InputError(
                f"Invalid precision {precision!r} for OpenVINO. Choose from: "
                f"{', '.join(PRECISIONS)}"
            )
        if device not in ("auto", "cpu"):
            raise InputError(
                f"runtime='openvino' supports device auto or cpu, got {device!r}. For "
                "a GPU, load the checkpoint with runtime='torch'."
            )
        import_openvino()
        self.precision = precision
        super().__init__(folder, threads=threads, device="cpu", side=side)

    def __repr__(self) -> str:
        return f"<OpenVinoRuntime: {self.spec.name}, {self.precision}, {self.threads} threads>"

    def _settings(self) -> dict[str, Any]:
        return super()._settings() | {"precision": self.precision}

    def _read_graph(self, path: Path) -> OpenVinoSession:
        ov = import_openvino()
        settings = {**PRECISIONS[self.precision], "INFERENCE_NUM_THREADS": self.threads}
        try:
            core = ov.Core()
            with _own_signal_stack():
                compiled = core.compile_model(core.read_model(path), "CPU", settings)
        except Exception as error:  # OpenVINO raises RuntimeError for everything
            raise WeightsError(
                f"OpenVINO {ov.__version__} cannot open {path}. Remove "
                "runtime='openvino', or export the model again."
            ) from error
        return OpenVinoSession(compiled)


class _SignalStack(ctypes.Structure):  # stack_t of Linux
    _fields_ = [("base", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


@contextmanager
def _own_signal_stack() -> Iterator[None]:
    """The calling thread keeps the stack on which it handles signals.

    OpenVINO would give it one of its own for each graph, and when that goes, the one before, which
    may be gone already: the next Ctrl-C would end the process.
    """
    if sys.platform != "linux":
        yield
        return
    before, change = _SignalStack(), ctypes.CDLL(None).sigaltstack
    change(None, ctypes.byref(before))
    yield
    change(ctypes.byref(before), None)


class OpenVinoSession:
    """A compiled graph with what `OnnxRuntime` asks of an ONNX Runtime session.

    A request serves one call at a time: each of the threads that ask at once gets its own.
    """

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self._compiled = compiled
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def get_inputs(self) -> list[_Node]:
        """What the graph takes, in its order."""
        return [_Node(port) for port in self._compiled.inputs]

    def get_outputs(self) -> list[_Node]:
        """What it gives."""
        return [_Node(port) for port in self._compiled.outputs]

    def run(self, _names: None, given: Mapping[str, NDArray[Any]]) -> list[FloatArray]:
        """All outputs, in the graph's order; arrays of their own."""
        try:
            request = self._idle.get_nowait()
        except queue.Empty:
            request = self._compiled.create_infer_request()
        try:
            # An array that is read-only, or not in C's order, must be copied first.
            ready = {name: np.require(one, requirements=["C", "W"]) for name, one in given.items()}
            answer = request.infer(ready, share_outputs=False)
            return [np.array(answer[port]) for port in self._compiled.outputs]
        finally:
            self._idle.put(request)


class _Node:
    """A port with ONNX Runtime's words."""

    def __init__(self, port: Any) -> None:
        self.name = str(port.any_name)
        shape = port.partial_shape
        self.shape = [d.get_length() if d.is_static else str(d) for d in shape]


def write_ir(source: Path, target: Path) -> None:
    """A graph of ours (.onnx) as OpenVINO's own two files, `target` (.xml) and its .bin.

    The numbers keep their precision. Raises WeightsError for a graph that OpenVINO does not read.
    """
    ov = import_openvino()
    try:
        ov.save_model(ov.Core().read_model(source), target, compress_to_fp16=False)
    except Exception as error:  # as above
        raise WeightsError(
            f"OpenVINO {ov.__version__} cannot read {source.name}. Export as 'onnx'."
        ) from error


def import_openvino() -> Any:
    """The package. Raises MissingExtra without it."""
    try:
        return import_offline("openvino")
    except ImportError as error:
        raise MissingExtra("openvino", "openvino", "runtime='openvino'") from error
