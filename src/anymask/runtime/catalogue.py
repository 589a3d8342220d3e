"""The catalogue of checkpoints: addresses, size, hash and licence by model name.

The entries are in catalogue.toml next to this file. Hashes and sizes are included only if a public
source states them; unknown values are None.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from anymask.base import ModelError, brief, load_plugin
from anymask.masks import Origin


@dataclass(frozen=True, kw_only=True)
class Licence:
    """Licence of a checkpoint."""

    name: str  # Name of the licence
    url: str  # Address of its text
    commercial: bool  # Whether it permits commercial use


Input = Literal["images", "scans", "points", "videos"]
# Kind of input, and how to open such a model.
_OPENED: dict[Input, tuple[str, str]] = {
    "images": ("2D images", "Load it with anymask.load({!r})."),
    "scans": ("3D scans", "Load it with anymask_families.load_cube_model({!r})."),
    "points": (
        "point clouds",
        "Load it with anymask_points.load_point_model({!r}), of the plug-in anymask-points.",
    ),
    "videos": ("tracking in videos", "Use it with: anymask track VIDEO --tracker {}"),
}


@brief
@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A published weights file."""

    name: str  # Name used by the user
    variant: str  # Network of the weights, for `anymask.models.build`
    file: str = ""  # Name of the published file; "" for a bundled model
    sources: tuple[str, ...] = ()  # Download addresses, the official one first
    bytes: int | None = None  # Published size, or None if no public source states it
    sha256: str | None = None  # 64 hexadecimal digits, or None if no public source states them
    md5: str | None = None  # 32 hexadecimal digits, or None. Detects accidental changes only.
    stated_by: str = ""  # Source of the size and the hashes
    licence: Licence  # Licence of the weights
    home: str  # Web page of the project
    notes: str = ""  # Remarks
    # Input of the model; models of other inputs than images have functions of their own
    input: Input = "images"
    exportable: bool = True  # Whether the model can be converted to ONNX
    data: str = ""  # Training data and its terms; "" if not researched
    plugin: str = ""  # Plug-in that contains the network; "" for none

    @property
    def bundled(self) -> bool:
        """Whether the weights are included in the package."""
        return not self.file

    @property
    def published_hash(self) -> Literal["sha256", "md5", "none"]:
        """Hash available to verify a download; `md5` detects accidental changes only."""
        return "sha256" if self.sha256 else "md5" if self.md5 else "none"

    def check_input(self, requested: Input) -> None:
        """Raise ModelError if the model is not for this input, MissingPlugin if it is missing."""
        if self.plugin:
            load_plugin("families", self.variant)
        if self.input != requested:
            (own, way), (given, _) = _OPENED[self.input], _OPENED[requested]
            raise ModelError(
                f"{self.name} is a model for {own}, not for {given}. {way.format(self.name)}"
            )


@cache
def stated_origin(model: str, weights: str) -> Origin:
    """Origin of a model by its name and weights hash; other weights than the published ones have
    no licence and data."""
    from anymask.runtime.manifest import ASSETS, read_manifest

    name, unknown = model.partition("@")[0], Origin(model, weights)
    published = catalogue().get(name)
    if published is None or not weights:
        return unknown
    if published.bundled:
        shipped = read_manifest(ASSETS / name)
        same, data = weights == shipped.weights_hash, shipped.data
    else:
        same, data = weights == published.sha256, published.data
    return Origin(model, weights, published.licence.name, data) if same else unknown


def names() -> tuple[str, ...]:
    """All names of the catalogue, bundled models first."""
    return tuple(catalogue())


def plain_name(name: str) -> str:
    """Return the name in the catalogue of a name or file name of Ultralytics, such as sam2_t.pt;
    other names are returned unchanged."""
    sam, _, size = name.removesuffix(".pt").rpartition("_")
    kind = "vit_" if sam == "sam" else "hiera_"
    official = f"{sam}_{kind}{'b+' if (kind, size) == ('hiera_', 'b') else size}"
    names = (plain for plain in (official, name.removesuffix(".pt")) if plain in catalogue())
    return name if name in catalogue() else next(names, name)


def entry(name: str) -> Checkpoint:
    """Look up a model, also by its name in Ultralytics.

    Raises:
        ModelError: The name is unknown. The message suggests similar names.
    """
    known, own = catalogue(), plain_name(name)
    if own in known:
        return known[own]
    path = Path(name).expanduser()
    there = bool(name) and os.path.exists(path)  # noqa: PTH110 - any name
    if path.suffix.lower() in (".pth", ".pt", ".safetensors", ".ckpt"):
        if not there:
            raise ModelError(f"Weights file not found: {name!r}. Check the path.")
        raise ModelError(
            f"{name!r} is a weights file, not the name of a model. To load it, pass it as weights."
        )
    if there:
        raise ModelError(
            f"{name!r} is a {'folder' if path.is_dir() else 'file'}, not a model. "
            "Expected a name listed by `anymask models list`, a folder written by "
            "`anymask export`, or the weights.safetensors of a training."
        )
    plain = name.lower().replace("-", "_")
    begun = [other for other in reversed(known) if plain and other.startswith(plain)]
    import difflib

    near = begun[:3] or difflib.get_close_matches(plain, known, 3, 0.7)
    guess = f"Did you mean {' or '.join(near)}? " if near else ""
    raise ModelError(
        f"Unknown model {name!r}. {guess}List the models with: anymask models list. To "
        "load your own weights, pass the model name and the weights file."
    )


@cache
def catalogue() -> dict[str, Checkpoint]:
    """The catalogue by name, in the order of the file."""
    text = resources.files("anymask.runtime").joinpath("catalogue.toml").read_text("utf-8")
    table: dict[str, Any] = tomllib.loads(text)
    licences = {key: Licence(**value) for key, value in table["licences"].items()}
    return {
        name: Checkpoint(
            name=name,
            sources=tuple(facts["sources"]),
            licence=licences[facts["licence"]],
            **{key: facts[key] for key in facts if key not in ("sources", "licence")},
        )
        for name, facts in table["models"].items()
    }
