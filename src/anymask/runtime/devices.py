"""Failures of a runtime: whatever ONNX Runtime or torch raises in, one AnymaskError out.

Devices of torch: `auto` or a name in, a device and a precision out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, get_args

from anymask.base import AnymaskError, DataError, InputError, MissingExtra
from anymask.masks import FeatureMap

if TYPE_CHECKING:
    import torch


_REASON = 300  # characters of a runtime's own message that are told


@contextmanager
def running(name: str) -> Iterator[None]:
    """Explain what a runtime raises inside the `with`; MemoryError stays what it is."""
    try:
        yield
    except (AnymaskError, MemoryError):
        raise
    except Exception as error:  # the runtimes' own classes are not public
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise AnymaskError(
            f"{name} failed ({type(error).__name__}: {lines[0][:_REASON]}); if memory is short, "
            "give fewer points or prompts at once; else embed the photo again"
        ) from error


def check_maps(
    maps: Sequence[FeatureMap], wanted: Mapping[str, tuple[int | str, ...]], name: str
) -> None:
    """Whether an image's maps, (C, h, w) each, have the names and shapes that a decoder takes.

    wanted  (1, C, h, w) by name; a letter stands for any number

    Raises DataError.
    """
    shapes = {one.name: (1, *one.values.shape) for one in maps}
    fits = shapes.keys() == wanted.keys() and all(
        len(shape) == len(wanted[key])
        and all(isinstance(a, str) or a == b for a, b in zip(wanted[key], shape, strict=True))
        for key, shape in shapes.items()
    )
    if not fits:
        listed = ", ".join(f"{key} {sides[1:]}" for key, sides in wanted.items())
        found = ", ".join(f"{one.name} {one.values.shape}" for one in maps)
        raise DataError(
            f"{name} reads the maps {listed}; this embedding has {found}; embed the photo again"
        )


Precision = Literal["fp32", "bf16", "fp16"]
Device = Literal["auto", "cpu", "cuda", "mps"]


def pick_device(device: str = "auto") -> torch.device:
    """The torch device for a name: "auto" takes cuda, else mps, else cpu.

    Raises InputError where the asked device is not there ("cuda:1" on a machine with one GPU too),
    and MissingExtra without torch.
    """
    torch = import_torch()
    found = available_devices()
    if device == "auto":
        return torch.device(found[0])  # type: ignore[no-any-return]  # torch comes in as Any
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise InputError(
            f"device must be one of {', '.join(get_args(Device))} or like 'cuda:1', got {device!r}"
        )
    if kind not in found:
        raise InputError(
            f"device {device!r} was asked for, but torch sees only {', '.join(found)} here; "
            "use device='auto', or install the torch build for that device"
        )
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise InputError(
            f"device {device!r} was asked for, but there are only {torch.cuda.device_count()} "
            "CUDA devices, counted from 0"
        )
    return torch.device(device)  # type: ignore[no-any-return]  # torch comes in as Any


def available_devices() -> tuple[str, ...]:
    """The kinds of device that torch can use here, fastest first; "cpu" is always the last."""
    torch = import_torch()
    found = ["cuda"] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        found.append("mps")
    return (*found, "cpu")


def check_precision(precision: str) -> None:
    """Raises InputError for a word that is no precision."""
    if precision not in get_args(Precision):
        raise InputError(
            f"precision must be one of {', '.join(get_args(Precision))}, got {precision!r}"
        )


def pick_dtype(precision: str) -> torch.dtype:
    """The torch dtype of "fp32", "bf16" or "fp16"; InputError for anything else."""
    check_precision(precision)
    torch = import_torch()
    names = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    return names[precision]  # type: ignore[no-any-return]  # torch comes in as Any


def import_torch() -> Any:
    """The torch module, or MissingExtra that names the extra."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", "torch", "running a checkpoint") from error
    return torch


def fast_halves(device: torch.device) -> bool:
    """Whether bf16 products are faster than float32 ones there: GPUs and newer processors."""
    if device.type != "cpu":
        return device.type == "cuda"
    return bool(import_torch().ops.mkldnn._is_mkldnn_bf16_supported())
