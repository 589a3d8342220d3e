"""Devices of torch: `auto` or a name in, a device and a precision out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from anymask.primitives.errors import InputError, MissingExtra

if TYPE_CHECKING:
    import torch

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
