"""Read checkpoints without executing code, and load them strictly.

Files are read by `torch.load(weights_only=True)` and safetensors; files that require more are
rejected. Common wrappers are removed: {"model": ...} of EfficientSAM and most training loops,
"module." of DistributedDataParallel, "_orig_mod." of torch.compile, "sam." of wrappers around a
whole model.

The modules use the official parameter names. Weights with the names of the transformers library are
renamed (`transformers_names`); no other names are accepted. Two kinds of tensors are
dropped if the model does not have them, because it computes these constants itself: SAM's
`pixel_mean` and `pixel_std`, which some trainers save, and TinyViT's `attention_bias_idxs`, which
versions of timm save.
"""

from __future__ import annotations

import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import (
    DataError,
    MissingExtra,
    WeightsError,
    check_members,
    need_packages,
    parse_json,
)
from anymask.runtime.manifest import GRAPH_WEIGHTS, check_file, read_manifest
from anymask.runtime.transformers_names import (
    DUPLICATE_TENSOR,
    POSITIONS,
    is_transformers,
    transformers_names,
)
from anymask.runtime.weight_files import only_checkpoint, sniff

try:
    import torch
except ImportError as error:  # pragma: no cover - the core installs without torch
    raise MissingExtra("torch", "torch", "reading a checkpoint") from error

Weights = dict[str, torch.Tensor]
Shapes = dict[str, tuple[int, ...]]

MAX_DIFFERENCES = 12  # maximum number of differences in an error message
CONSTANT_BUFFERS = re.compile(r"(^|\.)(pixel_mean|pixel_std|attention_bias_idxs)$")

WRAPPERS = (
    "average", "model", "state_dict", "model_state_dict", "model_state", "module", "net", "weights",
)  # fmt: skip
SCALE_SUFFIX = "_scale"  # suffix of the scales of an 8-bit tensor
PREFIXES = ("module.", "_orig_mod.", "sam.", "model.")


def read_checkpoint(path: str | Path) -> Weights:
    """Read the tensors of a checkpoint by name, on the CPU; large files are memory-mapped.

    Raises:
        WeightsError: The file is not a checkpoint, is incomplete, or requires code execution.
    """
    path = Path(path).expanduser()
    if path.name == GRAPH_WEIGHTS:
        need_packages(("onnx",), "torch", f"reading the weights of {path.parent.name}")
        import onnx

        manifest, weights = read_manifest(path.parent), Weights()
        try:
            for file, places in parse_json(path.read_bytes(), path).items():
                graph = onnx.load(check_file(path.parent, manifest, file)).graph
                held = {tensor.name: tensor for tensor in graph.initializer}
                for name, record in places.items():
                    value = onnx.numpy_helper.to_array(held[record["initializer"]])
                    weights[name] = as_stored(value, record["shape"], record["order"])
        except (AttributeError, DataError, KeyError, OSError, TypeError, ValueError) as error:
            raise WeightsError(
                f"{path}: The weights do not match the graphs next to them. Reinstall anymask."
            ) from error
        return weights
    match sniff(path):
        case "torchscript":
            raise WeightsError(
                f"{path} is a TorchScript program, not a weights file. Use the plain "
                "checkpoint of the same model (.pt or .pth with a state_dict)."
            )
        case "safetensors":
            content = from_8_bits(_from_safetensors(path))
        case "wrapped":
            content = _from_torch(path, _unzip(path))
        case kind:
            content = _from_torch(path, path, mapped=kind == "torch")
    return unwrap(content, path)


def from_8_bits(weights: Weights) -> Weights:
    """Convert 8-bit tensors with a scale per row (NAME_scale) to float32."""
    scaled = {name for name in weights if f"{name}{SCALE_SUFFIX}" in weights}
    scales = {f"{name}{SCALE_SUFFIX}" for name in scaled}
    return {
        name: part.float() * weights[f"{name}{SCALE_SUFFIX}"][:, None] if name in scaled else part
        for name, part in weights.items()
        if name not in scales
    }


def unwrap(content: Any, path: Path) -> Weights:
    """Remove the wrappers and common prefixes of a checkpoint."""
    while isinstance(content, Mapping):
        inner = [key for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = content[inner[0]]
    if not isinstance(content, Mapping) or not content:
        kind = "an empty mapping" if isinstance(content, Mapping) else f"a {type(content).__name__}"
        raise WeightsError(
            f"{path} contains {kind}, not named weights. Save the model's state_dict() "
            "with torch.save or safetensors."
        )
    odd = [key for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise WeightsError(
            f"{path} contains other entries besides weights ({', '.join(map(str, odd[:5]))}). "
            "Save only the model's state_dict()."
        )
    return without_prefix({str(key): value for key, value in content.items()})


def without_prefix(weights: Weights) -> Weights:
    """Remove prefixes shared by all names, repeatedly."""
    while True:
        shared = [prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in weights)]
        if not shared:
            return weights
        weights = {name.removeprefix(shared[0]): value for name, value in weights.items()}


def _from_safetensors(path: Path) -> Weights:
    need_packages(("safetensors",), "torch", f"reading {path.name}")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights: Weights = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(_broken(path)) from error
    return weights


def as_stored(value: NDArray[Any], shape: list[int], order: list[int]) -> torch.Tensor:
    """Convert an initializer of a graph to a tensor of the network."""
    if order:
        value = value.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))
    return torch.from_numpy(np.array(value.reshape(shape), np.float32, order="C"))


def _from_torch(path: Path, source: Path | io.BytesIO, *, mapped: bool = False) -> Any:
    """Read with torch's restricted unpickler; `path` is used in messages."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about the pickle version
            return torch.load(source, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise WeightsError(_refusal(path, str(error))) from error
    except Exception as error:  # corrupted files raise arbitrary exceptions
        raise WeightsError(_broken(path)) from error


def _unzip(path: Path) -> io.BytesIO:
    """Extract the single checkpoint inside a zip to memory; it may be a zip archive itself."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = only_checkpoint(archive)
            assert name is not None  # checked by sniff()
            inside = io.BytesIO(archive.read(name))
        if zipfile.is_zipfile(inside):
            with zipfile.ZipFile(inside) as archive:
                check_members(archive)
        inside.seek(0)
        return inside
    except DataError as error:
        raise WeightsError(f"{path} was not loaded. In {name}: {error}") from error
    except Exception as error:  # zipfile raises many types on corrupted files
        raise WeightsError(_broken(path)) from error


def _refusal(path: Path, reason: str) -> str:
    """Error message for the first call that the restricted unpickler rejected."""
    requested = re.search(r"GLOBAL ([\w.]+)", reason) or re.search(r"type ([\w.]+)", reason)
    if requested is None and "Unsupported" not in reason:
        return _broken(path)
    why = (
        f"loading it would run code (it requires {requested[1]})"
        if requested
        else "it is a general Python pickle, which can run code when it is loaded"
    )
    return (
        f"{path} was not loaded: {why}. Weights files never need to run code, and anymask ran "
        "none of it. Download the file from its official source, or ask its author to save "
        "only the state_dict, preferably as safetensors."
    )


def _broken(path: Path) -> str:
    return (
        f"{path} is not a readable checkpoint: it is truncated or corrupted. Download "
        "it again, or copy it again from its source."
    )


def load_official(model: torch.nn.Module, state_dict: Mapping[str, torch.Tensor]) -> None:
    """Load a checkpoint's tensors into a model, strictly.

    Args:
        model: The network.
        state_dict: Tensors of `read_checkpoint`, or with the official names or those of
            transformers; prefixes shared by all names are removed.

    Raises:
        WeightsError: A tensor is missing, unexpected or of another shape. The message has at most a
            dozen differences and, if the shapes match one, the right model. The model is unchanged.
    """
    requested = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    given = without_prefix(dict(state_dict))
    weights = from_transformers(given, requested) if is_transformers(given) else given
    weights = {  # a number may be stored as a list of one, which torch also accepts
        name: value.reshape(()) if requested.get(name) == () and value.shape == (1,) else value
        for name, value in weights.items()
        if name in requested or not CONSTANT_BUFFERS.search(name)
    }
    got = {name: tuple(value.shape) for name, value in weights.items()}
    if got != requested:
        name = getattr(getattr(model, "spec", None), "name", type(model).__name__)
        raise WeightsError(difference(requested, got, name, _shapes(given)))
    model.load_state_dict(weights, strict=True)


def detect_variant(state_dict: Mapping[str, torch.Tensor]) -> str | None:
    """Identify the network of weights by names and shapes, or None if none matches exactly.

    Networks with the same architecture return the first name (MedSAM: sam_vit_b).
    """
    return _whose(_shapes(without_prefix(dict(state_dict))))


def from_transformers(weights: Weights, official: Iterable[str]) -> Weights:
    """Rename tensors of transformers; tensors without an official name keep theirs.

    Args:
        weights: Tensors by their names in transformers.
        official: All names of the network.
    """
    theirs = dict(weights)
    table = theirs.pop(DUPLICATE_TENSOR, None)  # files have it under one or both of its names
    if table is not None:
        theirs.setdefault(POSITIONS, table)
    ours, used = Weights(), set[str]()
    for name, part in transformers_names(official).items():
        pieces = [theirs[key] for key in part.names if key in theirs]
        if len(pieces) == len(part.names):
            whole = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
            ours[name] = whole if part.row is None else whole[part.row : part.row + 1]
            used |= set(part.names)
    return ours | {name: tensor for name, tensor in theirs.items() if name not in used}


def variant_of(path: Path) -> str | None:
    """Identify the network of a safetensors file, whose tensors are not read.

    Raises WeightsError if the file is not readable.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return _whose({key: tuple(file.get_slice(key).get_shape()) for key in file.keys()})  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise WeightsError(_broken(path)) from error


def _shapes(weights: Mapping[str, torch.Tensor]) -> Shapes:
    return {name: tuple(value.shape) for name, value in weights.items()}


def difference(requested: Shapes, got: Shapes, name: str, given: Shapes | None = None) -> str:
    """Error message with at most a dozen differences and a hint.

    Args:
        given: Names and shapes in the file, if they were renamed.
    """
    missing = [key for key in requested if key not in got]
    left_over = [key for key in got if key not in requested]
    misshapen = [key for key in requested if key in got and got[key] != requested[key]]
    lines = [
        (f"  shape     {key}: the file has {_x(got[key])}, {name} requires {_x(requested[key])}")
        for key in misshapen
    ]
    lines += [f"  missing   {key} {_x(requested[key])}" for key in missing]
    lines += [f"  left over {key} {_x(got[key])}" for key in left_over]
    if len(lines) > MAX_DIFFERENCES:  # a few of each kind, and the number of further ones
        sorts = (misshapen, missing, left_over)
        share = (MAX_DIFFERENCES - 1) // sum(bool(sort) for sort in sorts)
        begins = (0, len(misshapen), len(misshapen) + len(missing))
        few = [
            line
            for begin, sort in zip(begins, sorts, strict=True)
            for line in lines[begin : begin + min(share, len(sort))]
        ]
        lines = [*few, f"  ... and {len(lines) - len(few)} more"]
    return (
        (
            f"The weights do not fit {name}. Tensors with another shape: {len(misshapen)}, "
            f"missing: {len(missing)}, unexpected: {len(left_over)}\n"
        )
        + "\n".join(lines)
        + f"\n{_hint(given or got, name)}"
    )


def _hint(got: Shapes, name: str) -> str:
    """Hint for weights that do not fit."""
    whose = _whose(got)
    if whose is not None and whose != name:
        return f"These are probably weights of {whose}. Load them with that name."
    if is_transformers(got):
        return (
            "The parameter names are those of the transformers library. Use the original "
            f"checkpoint: anymask models get {name}"
        )
    return (
        f"Check that the file belongs to {name}: anymask models info {name} shows its "
        "official source."
    )


def _whose(got: Shapes) -> str | None:
    from anymask import models

    got = {key: shape for key, shape in got.items() if not CONSTANT_BUFFERS.search(key)}
    theirs = None
    if is_transformers(got):
        theirs = {key: torch.empty(shape, device="meta") for key, shape in got.items()}
    for name in models.names():
        requested = {k: s for k, s in shapes_of(name).items() if not CONSTANT_BUFFERS.search(k)}
        if requested == (got if theirs is None else _shapes(from_transformers(theirs, requested))):
            return name
    return None


@cache
def shapes_of(name: str) -> Shapes:
    """Names and shapes of a network's weights, without allocating them."""
    from anymask import models

    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in models.build(name).state_dict().items()}


def _x(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
