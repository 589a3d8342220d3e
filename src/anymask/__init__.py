"""anymask, the public surface: a photo and clicks, boxes or masks in, masks of objects out.

    model = anymask.load()
    answer = model.segment("photo.jpg", points=[(500, 375)])
    answer.masks[0]  # (H, W) bool

Importing this package loads nothing heavy; every name is fetched when it is first used.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anymask import jobs, models, sam, weights
    from anymask.data.images import load_image
    from anymask.data.photo_sources import list_photos
    from anymask.data.record_list import MaskRecords
    from anymask.data.samples import sample
    from anymask.predictors.image import Model
    from anymask.predictors.settings import Retry
    from anymask.primitives import errors
    from anymask.primitives.candidates import Candidates, Mask
    from anymask.primitives.prompts import Prompt
    from anymask.primitives.records import MaskRecord
    from anymask.primitives.types import Embedding

__version__ = "0.1.0"
__all__ = [
    "Candidates",
    "Embedding",
    "Mask",
    "MaskRecord",
    "MaskRecords",
    "Model",
    "Prompt",
    "Retry",
    "__version__",
    "errors",
    "jobs",
    "list_photos",
    "load",
    "load_image",
    "models",
    "sam",
    "sample",
    "weights",
]

_HOMES = {
    "Candidates": "anymask.primitives.candidates",
    "Embedding": "anymask.primitives.types",
    "Mask": "anymask.primitives.candidates",
    "MaskRecord": "anymask.primitives.records",
    "MaskRecords": "anymask.data.record_list",
    "Model": "anymask.predictors.image",
    "Prompt": "anymask.primitives.prompts",
    "Retry": "anymask.predictors.settings",
    "list_photos": "anymask.data.photo_sources",
    "load_image": "anymask.data.images",
    "sample": "anymask.data.samples",
}
_MODULES = {
    "errors": "anymask.primitives.errors",
    "jobs": "anymask.jobs",
    "models": "anymask.models",
    "sam": "anymask.sam",
    "weights": "anymask.weights",
}


def load(
    name: str | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    precision: str = "fp32",
    runtime: str = "auto",
) -> Model:
    """Open a model.

    name       a name of `anymask models list`, or the folder of an exported model; None: the model
               that ships with the package, `families.DEFAULT_MODEL`
    weights    a checkpoint file instead of the one in the store
    device     "auto", "cpu", "cuda", "cuda:1" or "mps"
    precision  "fp32", "bf16" or "fp16"
    runtime    "auto", "onnx" or "torch"

    Raises ModelError for an unknown name, WeightsError for weights that are absent or broken (the
    text says how to get them), InputError for options that do not go together, MissingExtra where
    torch is needed and not installed. Nothing is ever downloaded here.
    """
    from anymask.families import DEFAULT_MODEL
    from anymask.predictors.image import Model
    from anymask.runtimes.open import open_runtime

    name = DEFAULT_MODEL if name is None else name
    opened = open_runtime(name, weights, device, precision, runtime)
    return Model(opened, begin=_begin_session)


def _begin_session(model: Model, source: Any, **settings: Any) -> Any:
    """What `Model.track` does; the sessions' floor lies above the model's."""
    from anymask.video.opening import open_session

    return open_session(model, source, **settings)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(_MODULES[name])
    else:
        raise AttributeError(f"module 'anymask' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
