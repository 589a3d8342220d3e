"""Merge low-rank adapters (PEFT format) into a network, and state licences of weights.

Hu et al. 2021, "LoRA" (arXiv 2106.09685, 4.1): W + (alpha / r) * B A. The folder contains
adapter_config.json and adapter_model.safetensors, with the parameter names of PEFT.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import DataError, InputError, ModelError, WeightsError, parse_json
from anymask.runtime.catalogue import entry
from anymask.runtime.store import file_hash
from anymask.runtime.weight_files import about_weights

if TYPE_CHECKING:
    from torch import Tensor, nn


CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
PEFT_PREFIX = "base_model.model."


@dataclass(frozen=True, eq=False)
class AdapterFiles:
    """Adapters read from a folder."""

    folder: Path  # The folder
    base: str  # Name of the base model
    rank: int  # Rank r
    alpha: float  # Scaling alpha
    pairs: dict[str, tuple[Tensor, Tensor]]  # Layer name -> A (r, columns) and B (rows, r)

    @property
    def scale(self) -> float:
        """Factor alpha / r of B A."""
        return self.alpha / self.rank


def adapter_folder(place: str | Path | None) -> Path | None:
    """The folder if the path is a folder of adapters, else None."""
    folder = None if place is None else Path(place).expanduser()
    return folder if folder is not None and (folder / CONFIG).is_file() else None


def base_of(folder: Path) -> str:
    """Name of the base model of a folder of adapters.

    Raises:
        WeightsError: The folder contains no valid adapters.
    """
    return _config_of(folder)[0]


def read_adapters(folder: Path) -> AdapterFiles:
    """Read the adapters of a folder.

    Raises:
        WeightsError: The folder contains no valid adapters, or other tensors.
    """
    from anymask.runtime.checkpoints import read_checkpoint  # requires torch

    base, rank, alpha = _config_of(folder)
    layers: dict[str, dict[str, Tensor]] = {}
    for key, tensor in read_checkpoint(folder / TENSORS).items():
        name, _, letter = key.removeprefix(PEFT_PREFIX).removesuffix(".weight").rpartition(".lora_")
        if not key.startswith(PEFT_PREFIX) or letter not in ("A", "B"):
            raise WeightsError(
                f"{folder / TENSORS}: Expected PEFT's lora_A and lora_B tensors, but "
                f"found {key!r}. Save only the adapters."
            )
        layers.setdefault(name, {})[letter] = tensor.reshape(tensor.shape[0], -1)
    for name, pair in layers.items():
        if set(pair) != {"A", "B"} or not pair["A"].shape[0] == pair["B"].shape[1] == rank:
            shapes = ", ".join(f"{letter} {tuple(tensor.shape)}" for letter, tensor in pair.items())
            raise WeightsError(
                f"{folder / TENSORS}: Expected lora_A and lora_B of rank {rank} for {name}, "
                f"but the shapes are {shapes}. Save the adapters again."
            )
    pairs = {name: (pair["A"], pair["B"]) for name, pair in layers.items()}
    return AdapterFiles(folder, base, rank, alpha, pairs)


def merge_files(model: nn.Module, adapters: AdapterFiles) -> None:
    """Add adapters to the weights of a network.

    Raises:
        WeightsError: A layer is missing or has another shape.
    """
    layers = dict(model.named_modules())
    for name, (first, second) in adapters.pairs.items():
        weight = getattr(layers.get(name), "weight", None)
        if weight is None or (weight.shape[0], weight[0].numel()) != (
            second.shape[0],
            first.shape[1],
        ):
            raise WeightsError(
                f"{adapters.folder / TENSORS}: These adapters do not fit this model, which has "
                f"no layer {name} of shape {second.shape[0]} x {first.shape[1]}. Use adapters "
                "that were trained for this model."
            )
    for name, (first, second) in adapters.pairs.items():
        weight = layers[name].get_parameter("weight")
        change = (second.float() @ first.float()).view_as(weight)
        weight.data += (adapters.scale * change).to(weight)


def check_base(adapters: AdapterFiles, name: str) -> None:
    """Raise InputError if the adapters belong to another model.

    Raises:
        InputError: The adapters belong to another model.
    """
    if adapters.base != name:
        raise InputError(
            f"{adapters.folder}: These adapters were trained for {adapters.base}, not for "
            f"{name}. Load {adapters.base} with them."
        )


def adapters_hash(folder: Path, base_hash: str) -> str:
    """SHA-256 that identifies a base model with a folder of adapters."""
    return hashlib.sha256(f"{base_hash} {file_hash(folder / TENSORS)}".encode()).hexdigest()


def _config_of(folder: Path) -> tuple[str, int, float]:
    """Read base model, rank and alpha. Raises WeightsError."""
    try:
        config = parse_json((folder / CONFIG).read_bytes(), folder / CONFIG)
        base, rank = str(config["base_model_name_or_path"]), int(config["r"])
        alpha = float(config["lora_alpha"])
        if rank < 1:
            raise ValueError(f"r is {rank}")
    except (OSError, KeyError, TypeError, ValueError, DataError) as error:
        raise WeightsError(
            f"{folder}: Not a valid PEFT adapter folder. {CONFIG} must contain "
            "base_model_name_or_path, r (a whole number of at least 1) and lora_alpha."
        ) from error
    return base, rank, alpha


def license_of_weights(name: str, weights: Path | None = None, sha256: str = "") -> str:
    """Licence of the published weights, or the licence stated in a trained weights file.

    Args:
        name: Name of the model.
        weights: Weights file or folder of adapters, or None for the published weights.
        sha256: Hash of the file, if already computed.

    Returns:
        The licence, or a text that starts with "unknown".

    Raises:
        WeightsError: The file cannot be read.
    """
    try:
        published = entry(name)
    except ModelError:  # a network without published weights
        known, digest = "", None
    else:
        known, digest = published.licence.name, published.sha256
    if weights is None:
        return known or f"unknown (no published weights of {name})"
    beside = (
        f"the licence of the published weights of {name} is {known}"
        if known
        else f"{name} has no published weights"
    )
    if adapter_folder(weights) is not None:
        return f"unknown (from the adapters in {weights.name}; {beside})"
    if not weights.is_file():
        return f"unknown (from {weights.name}, which no longer exists; {beside})"
    if digest is not None and (sha256 or file_hash(weights)) == digest:
        return known
    stated = (about_weights(weights) or {}).get("licence")
    if not isinstance(stated, str) or not stated:
        return f"unknown (from {weights.name}; {beside})"
    return stated
