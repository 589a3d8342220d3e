"""OpenVINO backend: the graphs of a bundle, compiled for the processor.

It reads ONNX files, or OpenVINO's format (`encoder.xml`, `encoder.bin`), which `write_ir` creates.
Only opening a graph differs from `OnnxRuntime`. `import_offline` disables the telemetry of the
package.

"fp32" requires the mode ACCURACY: in its other mode OpenVINO rounds activations to 8 bits for
weights stored in 16 or 8 bits, regardless of the precision hint; for `small` this changes feature
maps by a hundredth of their largest value. "int8" selects that mode.
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
    """Runtime of the graphs in a bundle folder on OpenVINO.

    Args:
        folder: As for `OnnxRuntime`.
        threads: As for `OnnxRuntime`.
        side: As for `OnnxRuntime`.
        device: "auto" or "cpu".
        precision: "fp32"; "bf16": matrix products and convolutions in 16 bits, faster on processors
            with AMX or AVX512-BF16; "int8": activations of matrix products in 8 bits for weights
            stored in 16 or 8.

    Raises the errors of `OnnxRuntime`, and MissingExtra without the package `openvino`.
    """

    OPENS_IR = True
    CALLS_AT_ONCE = False  # OpenVINO serializes the calls of a model

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
    """Preserve the calling thread's signal stack.

    OpenVINO installs a signal stack per graph, and restores the previous one when it is released,
    which may no longer exist: the next Ctrl-C would then crash the process.
    """
    if sys.platform != "linux":
        yield
        return
    before, change = _SignalStack(), ctypes.CDLL(None).sigaltstack
    change(None, ctypes.byref(before))
    yield
    change(ctypes.byref(before), None)


class OpenVinoSession:
    """A compiled graph with the interface of an ONNX Runtime session.

    An inference request serves one call at a time, so concurrent threads use separate requests.
    """

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self._compiled = compiled
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def get_inputs(self) -> list[_Node]:
        """Inputs of the graph in order."""
        return [_Node(port) for port in self._compiled.inputs]

    def get_outputs(self) -> list[_Node]:
        """Outputs of the graph in order."""
        return [_Node(port) for port in self._compiled.outputs]

    def run(self, _names: None, given: Mapping[str, NDArray[Any]]) -> list[FloatArray]:
        """Run the graph and return copies of all outputs in order."""
        try:
            request = self._idle.get_nowait()
        except queue.Empty:
            request = self._compiled.create_infer_request()
        try:
            # OpenVINO requires writable arrays in C order.
            ready = {name: np.require(one, requirements=["C", "W"]) for name, one in given.items()}
            answer = request.infer(ready, share_outputs=False)
            return [np.array(answer[port]) for port in self._compiled.outputs]
        finally:
            self._idle.put(request)


class _Node:
    """A port with ONNX Runtime's attribute names."""

    def __init__(self, port: Any) -> None:
        self.name = str(port.any_name)
        shape = port.partial_shape
        self.shape = [d.get_length() if d.is_static else str(d) for d in shape]


def write_ir(source: Path, target: Path) -> None:
    """Convert a graph (.onnx) to OpenVINO's format, `target` (.xml) and its .bin.

    The precision of the numbers is preserved.

    Raises:
        WeightsError: OpenVINO cannot read the graph.
    """
    ov = import_openvino()
    try:
        ov.save_model(ov.Core().read_model(source), target, compress_to_fp16=False)
    except Exception as error:  # as above
        raise WeightsError(
            f"OpenVINO {ov.__version__} cannot read {source.name}. Export as 'onnx'."
        ) from error


def import_openvino() -> Any:
    """Import OpenVINO.

    Raises:
        MissingExtra: The package is not installed.
    """
    try:
        return import_offline("openvino")
    except ImportError as error:
        raise MissingExtra("openvino", "openvino", "runtime='openvino'") from error
