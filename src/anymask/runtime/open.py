"""Open a model by name.

"nano" and "small" are bundles in the package, a folder is a bundle written by `anymask export`, and
every other name of the catalogue is a checkpoint: on a CPU its conversion (`converted.py`) runs on
ONNX Runtime, otherwise it runs on torch.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from anymask.base import InputError, ModelError, WeightsError, load_plugin
from anymask.masks import spec_at
from anymask.models.rules import BUNDLED_MODELS, FIELD_MODELS, default_model
from anymask.runtime.manifest import (
    ASSETS,
    MANIFEST,
    REFINER_WEIGHTS,
    WEIGHTS,
    read_manifest,
    shared_folder,
)
from anymask.runtime.onnx import OnnxRuntime
from anymask.runtime.protocol import ImageRuntime

if TYPE_CHECKING:
    from torch import nn

    from anymask.masks import ChannelMix, ModelSpec
    from anymask.models.edge_refiner import EdgeRefiner

Runtime = Literal["auto", "onnx", "torch"]
EXPORTED = "bundle"  # in a training folder, next to its weights
ADAPTERS = "adapter_config.json"  # in a folder of low-rank adapters (`runtime.adapters`)
SAMED = {"w_a_000", "mask_decoder.mask_tokens.weight"}  # in the files of SAMed, of a plug-in
TRANSFORMERS = "model.safetensors"  # in a folder of transformers, next to its config.json


def open_runtime(
    name: str,
    weights: str | Path | None = None,
    device: str = "auto",
    precision: str = "fp32",
    runtime: str = "auto",
) -> ImageRuntime:
    """Open a model by name.

    Args:
        name: "nano", "small", another name of `anymask models list`, the folder of an exported
            model or of transformers (SAM, SAM-HQ, SAM 2, EdgeTAM), or the weights.safetensors of a
            training. Append @SIDE for another input side (`masks.spec.spec_at`).
        weights: Checkpoint file instead of the one in the store, or the folder of an exported
            model or of transformers.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        precision: "fp32", "bf16" or "fp16". Exported models have a fixed precision ("fp32").
        runtime: "onnx" for exported models, "torch" for checkpoints, "auto" for either; bundled
            models support both.

    Raises:
        ModelError: The name is unknown.
        WeightsError: The weights are missing or corrupted.
        InputError: The options cannot be combined.
        MissingExtra: torch is required and not installed.
    """
    texts: dict[str, object] = {"name": name, "device": device, "precision": precision}
    for what, value in texts.items():
        if not isinstance(value, str) or "\0" in value:
            raise InputError(f"{what} must be text, got {str(value)[:60]!r}")
    path: object = weights
    if path is not None and (not isinstance(path, str | Path) or "\0" in str(path)):
        raise InputError(f"Weights must be a path, got {str(path)[:60]!r}.")
    name, side = split_side(name)
    name, weights = named_weights(name, weights)
    beside = None
    if weights is not None and runtime != "torch" and precision == "fp32":
        beside = exported_beside(Path(weights)) if device in ("auto", "cpu") else None
    folder = beside or find_model(name, weights, runtime)
    if folder is None:
        sized = name if side is None else f"{name}@{side}"
        if runtime == "auto" and precision == "fp32" and side is None:
            from anymask.runtime.converted import ConvertedRuntime, find_converted, runs_on_cpu

            converted = find_converted(name, weights)
            if converted is not None and runs_on_cpu(device):
                again = (name, None if weights is None else Path(weights).absolute(), "cpu", "fp32")
                return ConvertedRuntime(
                    converted,
                    device="cpu",
                    open_torch=lambda: _open_torch(*again),
                    reopened=(open_runtime, (*again, "auto")),
                )
        return _open_torch(sized, weights, device, precision)
    if precision != "fp32":
        from anymask.runtime.protocol import check_precision

        check_precision(precision)
        raise InputError(
            f"Exported models have a fixed precision, so precision={precision!r} does not apply. "
            "Remove it, export with `--int8`, or load a checkpoint with runtime='torch'."
        )
    return OnnxRuntime(folder, device=device, side=side)


def split_side(name: str) -> tuple[str, int | None]:
    """Split a model's name from its input side, if there is one: "nano@768"."""
    model, _, side = name.rpartition("@")
    if not model or not side.isascii() or not side.isdecimal() or len(side) > 6:
        return name, None
    there = os.path.exists(Path(name).expanduser())  # noqa: PTH110 - False for any name
    return (name, None) if there else (model, int(side))


def find_model(name: str, weights: str | Path | None, runtime: str) -> Path | None:
    """Folder of the bundle that a runtime loads (`find_bundle`), None if it loads no bundle.

    Raises:
        InputError, ModelError: The runtime is unknown, or does not support the model.
    """
    if runtime not in get_args(Runtime):
        raise InputError(
            f"Invalid runtime {runtime!r}. Choose from: {', '.join(get_args(Runtime))}"
        )
    folder = find_bundle(name, weights)
    if folder is not None and runtime == "torch" and weights is None and name in BUNDLED_MODELS:
        return None
    if folder is None and runtime == "onnx":
        from anymask.runtime.converted import find_converted

        folder = find_converted(name, weights)
    if folder is None and runtime == "onnx":
        if weights is None:
            from anymask.runtime import entry

            entry(name)  # an unknown name is not a checkpoint
        raise ModelError(
            f"{name!r} is a checkpoint, but runtime='onnx' requires an exported "
            f"model. Run: anymask models convert {name if weights is None else weights}"
        )
    if folder is not None and runtime == "torch":
        raise ModelError(
            f"{folder} is an exported model, but runtime='torch' requires a "
            "checkpoint. Use runtime='auto', or pass the checkpoint as weights."
        )
    return folder


def exported_beside(weights: Path) -> Path | None:
    """Exported model that a training wrote next to its weights, or None if it is missing or has
    other weights."""
    path = weights.expanduser()
    folder = path.parent / EXPORTED
    if path.suffix != ".safetensors" or not (folder / MANIFEST).is_file() or not path.is_file():
        return None
    from anymask.runtime import file_hash

    return folder if read_manifest(folder).weights_hash == file_hash(path) else None


def find_bundle(name: str, weights: str | Path | None = None) -> Path | None:
    """Folder of the exported model for a name and weights, or None for a checkpoint."""
    if weights is not None:
        path = Path(weights).expanduser()
        adapters = os.path.isfile(path / ADAPTERS)  # noqa: PTH113 - False for any name
        if not os.path.isdir(path) or adapters:  # noqa: PTH112 - the same
            return None
        inside = not (path / MANIFEST).is_file() and (path / EXPORTED / MANIFEST).is_file()
        return path / EXPORTED if inside else path
    if name in (*BUNDLED_MODELS, *FIELD_MODELS):
        return ASSETS / name
    folder = Path(name).expanduser()
    for bundle in (folder, folder / EXPORTED):  # of a training
        if os.path.isfile(bundle / MANIFEST):  # noqa: PTH113 - the same
            return bundle
    return None


def named_weights(name: str, weights: str | Path | None) -> tuple[str, str | Path | None]:
    """Resolve a training folder, a file in it, or a folder of adapters to the network's name and
    the weights; other names are returned unchanged. So are folders of transformers.

    Raises:
        ModelError: A folder of transformers contains another network.
    """
    if weights is not None:
        return name, transformers_file(weights) or weights
    if (file := transformers_file(name)) is not None:
        from anymask.runtime.checkpoints import variant_of

        variant = variant_of(file)
        if variant is None:
            raise ModelError(
                f"{name!r} contains a network of transformers that is not supported. Supported are "
                "SAM, SAM-HQ, SAM 2 and EdgeTAM in the published sizes."
            )
        return variant, file
    path = Path(name).expanduser()
    if (path / WEIGHTS).is_file() and not (path / MANIFEST).is_file():
        path = path / WEIGHTS  # of a training folder
    if os.path.isfile(path / ADAPTERS):  # noqa: PTH113 - False for any name
        from anymask.runtime.adapters import base_of

        return base_of(path), path
    if path.suffix not in (".safetensors", ".pt", ".pth") or not os.path.isfile(path):  # noqa: PTH113
        from anymask import runtime  # its catalogue is not loaded for bundles

        return (name if find_bundle(name) else runtime.catalogue.plain_name(name)), None
    from anymask.runtime.weight_files import about_weights

    about = about_weights(path) if path.suffix == ".safetensors" else None
    variant = _detected(path) if about is None else about["variant"]
    if variant is None:
        raise ModelError(
            f"{path} does not contain the name of its model, and its tensors are not those of a "
            "published model. Pass the model name, and the file as weights."
        )
    return variant, path


def _detected(path: Path) -> str | None:
    """Return the model of a checkpoint by its tensors, or None."""
    from anymask.runtime.protocol import import_torch

    import_torch()
    from anymask.runtime import read_checkpoint
    from anymask.runtime.checkpoints import detect_variant

    return detect_variant(read_checkpoint(path))


def stated_model(weights: str | Path | None) -> str:
    """Model name that weights state, else the default model for them.

    Results of a training, adapters, and folders that transformers saved state their model. Raises
    WeightsError if the header of a file is corrupted.
    """
    if weights is None:
        return default_model()
    try:
        name, file = named_weights(str(weights), None)
    except ModelError:
        file = None
    return default_model(weights) if file is None else name


def transformers_file(path: str | Path) -> Path | None:
    """Weights in a folder that transformers has saved, or None for other paths."""
    folder = Path(path).expanduser()
    there = [os.path.isfile(folder / name) for name in (MANIFEST, "config.json", TRANSFORMERS)]  # noqa: PTH113 - False for any name
    return folder / TRANSFORMERS if there == [False, True, True] else None


def stated_channels(name: str, weights: str | Path | None = None) -> ChannelMix | None:
    """Channels of a model's images, without opening it, or None for RGB.

    Raises:
        WeightsError: A file is corrupted.
    """
    name, _ = split_side(name)
    folder = find_bundle(name, weights)
    if folder is not None:
        return read_manifest(folder).spec.channels
    from anymask.runtime.weight_files import channels_of_weights

    path = Path(named_weights(name, weights)[1] or name).expanduser()
    return channels_of_weights(path) if os.path.isfile(path) else None  # noqa: PTH113 - as above


def load_module(name: str, weights: str | Path | None = None) -> tuple[nn.Module, str]:
    """Load a checkpoint as a module in eval mode, with the hash of its weights.

    Raises:
        ModelError, WeightsError, MissingExtra: The errors of `open_runtime`.
        MissingPlugin: The plug-in of the model or of the weights is not installed.
    """
    from anymask.runtime import entry, file_hash
    from anymask.runtime.protocol import import_torch

    name, side = split_side(name)
    name, weights = named_weights(name, weights)
    variant = entry(name).variant
    path, adapters = _checkpoint_of(name, weights)
    if path.is_dir():
        kind = "an exported model" if (path / MANIFEST).is_file() else "a folder"
        raise ModelError(
            f"{path} is {kind}, but a checkpoint file is required. Pass one: {name} "
            "with weights=FILE"
        )
    import_torch()
    from anymask import models
    from anymask.models.bottlenecks import add_bottlenecks, has_bottlenecks
    from anymask.models.class_head import add_class_head, holds_prompts
    from anymask.runtime import load_official, read_checkpoint
    from anymask.runtime.weight_files import channels_of_weights, classes_of_weights

    classes, state = classes_of_weights(path), read_checkpoint(path)
    if state.keys() >= SAMED:
        loaded: tuple[nn.Module, str] = load_plugin("families", "samed").read(
            name, state, path, side
        )
        return loaded
    module = models.build(variant)
    if has_bottlenecks(state):
        add_bottlenecks(module)
    if classes:
        add_class_head(module, len(classes), prompts=holds_prompts(state))
    load_official(module, state)
    # Bundled tensors are those of the graphs, independent of the bytes of their file.
    ours = path.parent.parent == ASSETS
    weights_hash = read_manifest(path.parent).weights_hash if ours else file_hash(path)
    if adapters is not None:
        from anymask.runtime.adapters import adapters_hash, check_base, merge_files, read_adapters

        learned = read_adapters(adapters)
        check_base(learned, name)
        merge_files(module, learned)
        weights_hash = adapters_hash(adapters, weights_hash)
    spec = replace(
        models.spec(variant), name=name, channels=channels_of_weights(path), classes=classes
    )
    module.spec = cast(Any, spec if side is None else spec_at(spec, side))
    return module.eval(), weights_hash


def _checkpoint_of(name: str, weights: str | Path | None) -> tuple[Path, Path | None]:
    """Weights file of a model, and the folder of adapters, or None."""
    from anymask.runtime import find
    from anymask.runtime.adapters import adapter_folder
    from anymask.runtime.store import trainable_weights

    adapters = adapter_folder(weights)
    own = weights is None or adapters is not None
    return (trainable_weights(name) if own else find(name, weights)), adapters


def load_refiner(folder: Path) -> EdgeRefiner | None:
    """Load the edge network in a checkpoint's folder, or None if it has none.

    Raises WeightsError if its weights are invalid.
    """
    from anymask.models.edge_refiner import EdgeRefiner
    from anymask.runtime import read_checkpoint

    path = folder / REFINER_WEIGHTS
    if not path.is_file():
        return None
    refiner = EdgeRefiner()
    try:
        refiner.load_state_dict(
            {name: tensor.float() for name, tensor in read_checkpoint(path).items()}
        )
    except RuntimeError as error:
        raise WeightsError(
            f"{path}: Not valid weights of an edge network. Delete the file, or train it again."
        ) from error
    return refiner


def _open_torch(name: str, weights: str | Path | None, device: str, precision: str) -> ImageRuntime:
    from anymask.runtime import entry

    network, _ = split_side(name)
    entry(network).check_input("images")  # an unknown name is reported before a missing file
    path, adapters = _checkpoint_of(network, weights)
    module, weights_hash = load_module(name, adapters or path)
    from anymask.runtime.torch import TorchRuntime  # load_module imported torch

    source = None if weights is None else Path(weights).absolute()
    again = (open_runtime, (name, source, device, precision, "torch"))  # for another process
    shared = shared_folder(cast("ModelSpec", module.spec))
    edges = load_refiner(path.parent) or (load_refiner(shared) if shared else None)
    names = OnnxRuntime(shared).naming if shared else None
    from anymask.runtime.adapters import license_of_weights

    runtime = TorchRuntime(module, weights_hash, device, precision, again, edges, names)
    given = None if weights is None and adapters is None else adapters or path
    licence = license_of_weights(network, given, weights_hash)
    data = entry(network).data if given is None else ""
    runtime.origin = replace(runtime.origin, licence=licence, data=data)
    return runtime
