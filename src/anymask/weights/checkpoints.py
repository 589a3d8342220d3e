"""Reading checkpoints: a .pt, .pth or .safetensors file in, tensors by name out; no code runs.

Only `torch.load(weights_only=True)` and safetensors read; a file that wants more is refused. The
wrappers that published and home-made checkpoints come in are taken off: {"model": ...} of
EfficientSAM and most training loops, "module." of DistributedDataParallel, "_orig_mod." of
torch.compile, "sam." of wrappers around a whole model.
"""

from __future__ import annotations

import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anymask.primitives.arrays import check_members
from anymask.primitives.errors import DataError, MissingExtra, WeightsError
from anymask.weights.formats import only_checkpoint, sniff

try:
    import torch
except ImportError as error:  # pragma: no cover - the core installs without torch
    raise MissingExtra("torch", "torch", "reading a checkpoint") from error

Weights = dict[str, torch.Tensor]

WRAPPERS = (
    "average",
    "model",
    "state_dict",
    "model_state_dict",
    "model_state",
    "module",
    "net",
    "weights",
)
PREFIXES = ("module.", "_orig_mod.", "sam.", "model.")


def read_checkpoint(path: str | Path) -> Weights:
    """The tensors of a checkpoint by name, on the CPU; big files are mapped, not copied.

    Raises WeightsError, with the reason and the remedy, for what is no checkpoint, is not whole,
    or would have to run code to be read.
    """
    path = Path(path).expanduser()
    match sniff(path):
        case "torchscript":
            raise WeightsError(
                f"{path} is a TorchScript program, not a file of weights; take the plain "
                "checkpoint of the same model (.pt or .pth with a state_dict)"
            )
        case "safetensors":
            content = _from_safetensors(path)
        case "wrapped":
            content = _from_torch(path, _unzip(path))
        case kind:
            content = _from_torch(path, path, mapped=kind == "torch")
    return unwrap(content, path)


def unwrap(content: Any, path: Path) -> Weights:
    """Take a checkpoint's wrappers and common prefixes off, until names and tensors are left."""
    while isinstance(content, Mapping):
        inner = [key for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = content[inner[0]]
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(
            f"{path} holds {_kind(content)}, not weights by name; save the model's state_dict() "
            "with torch.save or safetensors"
        )
    odd = [key for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise WeightsError(
            f"{path} mixes weights with other things ({', '.join(map(str, odd[:5]))}); save only "
            "the model's state_dict()"
        )
    return without_prefix({str(key): value for key, value in content.items()})


def without_prefix(weights: Weights) -> Weights:
    """Take off a prefix that every name carries, as often as there is one."""
    while True:
        shared = [prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in weights)]
        if not shared:
            return weights
        weights = {name.removeprefix(shared[0]): value for name, value in weights.items()}


def _from_safetensors(path: Path) -> Weights:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingExtra("safetensors", "torch", f"reading {path.name}") from error
    try:
        weights: Weights = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(_broken(path, error)) from error
    return weights


def _from_torch(path: Path, source: Path | io.BytesIO, *, mapped: bool = False) -> Any:
    """Read with torch's restricted unpickler; `path` is for the messages."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch wonders about the pickle's version; we decide
            return torch.load(source, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise WeightsError(_refusal(path, str(error))) from error
    except Exception as error:  # broken bytes make the reader raise anything at all
        raise WeightsError(_broken(path, error)) from error


def _unzip(path: Path) -> io.BytesIO:
    """The one checkpoint inside a zip, in memory, which may be a packed archive itself."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = only_checkpoint(archive)
            assert name is not None  # sniff() found it
            inside = io.BytesIO(archive.read(name))
        if zipfile.is_zipfile(inside):
            with zipfile.ZipFile(inside) as archive:
                check_members(archive)
        inside.seek(0)
        return inside
    except DataError as error:
        raise WeightsError(f"{path} is refused: in its {name}, {error}") from error
    except Exception as error:  # zipfile alone raises eight kinds on altered bytes
        raise WeightsError(_broken(path, error)) from error


def _refusal(path: Path, reason: str) -> str:
    """Why the restricted unpickler stopped: the first thing that the file wanted to call."""
    wanted = re.search(r"GLOBAL ([\w.]+)", reason) or re.search(r"type ([\w.]+)", reason)
    if wanted is None and "Unsupported" not in reason:
        return _broken(path, reason)
    why = (
        f"reading it would run code (it asks for {wanted[1]})"
        if wanted
        else "it is a general Python pickle, which can run code when it is read"
    )
    return (
        f"{path} is refused: {why}; a file of weights never needs that, and anymask ran none of it."
        " Get the file from its official source, or have its author save only the state_dict, best "
        "as safetensors"
    )


def _broken(path: Path, reason: object) -> str:
    first = str(reason).strip().splitlines()
    return (
        f"{path} cannot be read as a checkpoint ({first[0][:200] if first else 'no reason given'});"
        " it is cut off or altered: download it again, or copy it again from its source"
    )


def _kind(content: Any) -> str:
    if isinstance(content, Mapping):
        return "an empty mapping"
    return f"a {type(content).__name__}"
