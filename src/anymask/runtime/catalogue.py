"""The catalogue of checkpoints: a model's name in; addresses, size, hash and licence out.

The facts stand in catalogue.toml beside this file. A hash or a size is there only where a public
source states it; what is not known is None, never guessed.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from anymask.base import ModelError, brief
from anymask.masks import Origin


@dataclass(frozen=True, kw_only=True)
class Licence:
    """Under which terms a checkpoint may be used.

    Attributes:
        commercial: Whether the licence allows commercial use.
    """

    name: str
    url: str
    commercial: bool


@brief
@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One published file of weights.

    Attributes:
        name: What the user types.
        variant: The network that takes it, a name of `anymask.models.names()`.
        file: The published file's name; "" for a model of the package.
        sources: Download addresses, the official one first.
        bytes: The published size, or None where no public source states it.
        sha256: 64 hexadecimal digits, or None where no public source states them.
        md5: 32 hexadecimal digits, or None; a check against accidents only.
        stated_by: Who states the size and the hashes.
        home: The project's page.
        volumes: Whether it sees scans in three dimensions, not pictures.
        data: What the weights learned from, and its terms; "" where nobody has looked them up.
    """

    name: str
    variant: str
    file: str = ""
    sources: tuple[str, ...] = ()
    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    stated_by: str = ""
    licence: Licence
    home: str
    notes: str = ""
    volumes: bool = False
    data: str = ""

    @property
    def bundled(self) -> bool:
        """Whether the weights ship inside the package."""
        return not self.file

    @property
    def published_hash(self) -> Literal["sha256", "md5", "none"]:
        """What a download can be verified with: `md5` detects accidents only."""
        return "sha256" if self.sha256 else "md5" if self.md5 else "none"


@cache
def stated_origin(model: str, weights: str) -> Origin:
    """What the package or the catalogue says of a model and the hash of its weights; no more than
    those where they are not the published ones."""
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
    """Every name of the catalogue, the bundled model first."""
    return tuple(catalogue())


def entry(name: str) -> Checkpoint:
    """Look a name up.

    Raises ModelError for an unknown name, with the nearest known ones.
    """
    known = catalogue()
    if name in known:
        return known[name]
    _refuse_path(name)
    plain = name.lower().replace("-", "_")
    begun = [other for other in reversed(known) if plain and other.startswith(plain)]
    near = begun[:3] or difflib.get_close_matches(plain, known, n=3)
    guess = f"Did you mean {' or '.join(near)}? " if near else ""
    raise ModelError(
        f"Unknown model {name!r}. {guess}List the models with: anymask models list. To "
        "load your own weights, pass the model name and weights=FILE."
    )


def _refuse_path(name: str) -> None:
    """Raises ModelError for a path, which is no model's name, with what to give instead."""
    path = Path(name).expanduser()
    there = bool(name) and os.path.exists(path)  # noqa: PTH110 - any name
    weights = path / "weights.safetensors"
    if path.suffix.lower() in (".pth", ".pt", ".safetensors", ".ckpt"):
        if not there:
            raise ModelError(f"Weights file not found: {name!r}. Check the path.")
        raise ModelError(
            f"{name!r} is a weights file, but the model name is missing. Pass both, "
            f"for example anymask.load('sam_vit_b', weights={name!r}) or --model "
            "sam_vit_b --weights FILE."
        )
    if there and weights.is_file():
        raise ModelError(
            f"{name!r} is a training folder, but a weights file is required. Use its "
            f"weights: {str(weights)!r}"
        )
    if there and (path / "last.pt").is_file():
        raise ModelError(
            f"{name!r} is a training folder without weights.safetensors. Run its "
            "training command again to finish the training."
        )
    if there:
        raise ModelError(
            f"{name!r} is a {'folder' if path.is_dir() else 'file'}, not a model. "
            "Expected a name listed by `anymask models list`, a folder written by "
            "`anymask export`, or the weights.safetensors of a training."
        )


@cache
def catalogue() -> dict[str, Checkpoint]:
    """The whole catalogue by name, in the file's order."""
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
