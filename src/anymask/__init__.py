"""anymask, the public surface: a photo and clicks, boxes or masks in, masks of objects out.

    model = anymask.load()
    answer = model.segment("photo.jpg", points=[(500, 375)])
    answer.masks[0]  # (H, W) bool

Importing this package loads nothing heavy; every name is fetched when it is first used.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anymask import jobs, models, sam, weights
    from anymask.data.conversion import convert, read
    from anymask.data.images import load_image
    from anymask.data.photo_sources import list_photos
    from anymask.data.record_list import MaskRecords
    from anymask.data.samples import sample
    from anymask.export.folder import export
    from anymask.engine.project import Project
    from anymask.opening import load
    from anymask.predictors.image import Model
    from anymask.predictors.settings import Retry
    from anymask.primitives import errors
    from anymask.primitives.candidate_mask import Mask
    from anymask.primitives.candidates import Candidates
    from anymask.primitives.prompts import Prompt
    from anymask.primitives.records import MaskRecord
    from anymask.primitives.types import Embedding
    from anymask.serving.start import annotate, serve

__version__ = "0.1.0"
__all__ = [
    "Candidates",
    "Embedding",
    "Mask",
    "MaskRecord",
    "MaskRecords",
    "Model",
    "Project",
    "Prompt",
    "Retry",
    "__version__",
    "annotate",
    "convert",
    "errors",
    "export",
    "jobs",
    "list_photos",
    "load",
    "load_image",
    "models",
    "read",
    "sam",
    "sample",
    "serve",
    "weights",
]

_HOMES = {
    "Candidates": "anymask.primitives.candidates",
    "Embedding": "anymask.primitives.types",
    "Mask": "anymask.primitives.candidate_mask",
    "MaskRecord": "anymask.primitives.records",
    "MaskRecords": "anymask.data.record_list",
    "Model": "anymask.predictors.image",
    "Project": "anymask.engine.project",
    "Prompt": "anymask.primitives.prompts",
    "Retry": "anymask.predictors.settings",
    "export": "anymask.export.folder",
    "annotate": "anymask.serving.start",
    "convert": "anymask.data.conversion",
    "list_photos": "anymask.data.photo_sources",
    "load": "anymask.opening",
    "load_image": "anymask.data.images",
    "read": "anymask.data.conversion",
    "sample": "anymask.data.samples",
    "serve": "anymask.serving.start",
}
_MODULES = {
    "errors": "anymask.primitives.errors",
    "jobs": "anymask.jobs",
    "models": "anymask.models",
    "sam": "anymask.sam",
    "weights": "anymask.weights",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(_MODULES[name])
    else:
        text = f"module 'anymask' has no attribute {name!r}"
        raise AttributeError(text, name=name, obj=sys.modules[__name__])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
