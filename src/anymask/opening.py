"""`anymask.load`: a name or files and a device in, a `Model` out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from anymask.segment import Model

if TYPE_CHECKING:
    from anymask.track import TrackOptions, VideoSession


def load(
    name: str | Path | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    precision: str = "fp32",
    runtime: str = "auto",
) -> Model:
    """Open a model.

    name       a name of `anymask models list`, or the folder of an exported model; None: what the
               environment variable ANYMASK_MODEL names, else "nano". "nano" and "small" ship
               with the package. "nano@768": it sees pictures
               with a longer side of 768 pixels instead of its usual 512
    weights    a checkpoint file instead of the one in the store
    device     "auto", "cpu", "cuda", "cuda:1" or "mps"
    precision  "fp32", "bf16" or "fp16"
    runtime    "auto", "onnx" or "torch"

    Raises ModelError for an unknown name, WeightsError for weights that are absent or broken (the
    text says how to get them), InputError for options that do not go together, MissingExtra where
    torch is needed and not installed. Nothing is ever downloaded here.
    """
    from anymask.models.rules import default_model
    from anymask.runtime import open_runtime

    name = default_model() if name is None else str(name) if isinstance(name, Path) else name
    opened = open_runtime(name, weights, device, precision, runtime)
    return Model(opened, begin=_begin_session)


def _begin_session(model: Model, source: Any, **settings: Unpack[TrackOptions]) -> VideoSession:
    """What `Model.track` does; the sessions' floor lies above the model's."""
    from anymask.track import open_session

    return open_session(model, source, **settings)
