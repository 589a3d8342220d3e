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
    from anymask import jobs, models, runtime, sam
    from anymask.base import errors
    from anymask.evaluation import evaluate
    from anymask.evaluation.auditing import audit
    from anymask.formats import convert, read
    from anymask.images import list_photos, load_image, sample
    from anymask.masks import Features, Mask, Masks, Prompt
    from anymask.opening import load
    from anymask.segment import Model, Prediction, Retry
    from anymask.studio import Project, annotate, serve
    from anymask.training import distil, export, finetune
    from anymask.training.by_recipe import train

__version__ = "0.1.0"
__all__ = [
    "Features",
    "Mask",
    "Masks",
    "Model",
    "Prediction",
    "Project",
    "Prompt",
    "Retry",
    "__version__",
    "annotate",
    "audit",
    "convert",
    "distil",
    "errors",
    "evaluate",
    "export",
    "finetune",
    "jobs",
    "list_photos",
    "load",
    "load_image",
    "models",
    "read",
    "runtime",
    "sam",
    "sample",
    "serve",
    "train",
]

_HOMES = {
    "Prediction": "anymask.segment.prediction",
    "Features": "anymask.masks.spec",
    "Mask": "anymask.masks.mask",
    "Masks": "anymask.masks.mask",
    "Model": "anymask.segment.model",
    "Project": "anymask.studio.project",
    "Prompt": "anymask.masks.prompts",
    "Retry": "anymask.segment.requests",
    "export": "anymask.training.export_folder",
    "annotate": "anymask.studio.start",
    "audit": "anymask.evaluation.auditing",
    "evaluate": "anymask.evaluation.evaluating",
    "convert": "anymask.formats.conversion",
    "distil": "anymask.training.distillation",
    "finetune": "anymask.training.finetuning",
    "list_photos": "anymask.images.sources",
    "load": "anymask.opening",
    "load_image": "anymask.images.load",
    "read": "anymask.formats.conversion",
    "sample": "anymask.images.sources",
    "serve": "anymask.studio.start",
    "train": "anymask.training.by_recipe",
}
_MODULES = {
    "errors": "anymask.base.errors",
    "jobs": "anymask.jobs",
    "models": "anymask.models",
    "sam": "anymask.sam",
    "runtime": "anymask.runtime",
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
