"""Folder jobs: many photos in, files for each and a summary out; resumed, in workers or on Ray.

    summary = anymask.jobs.everything("photos/", "out/", workers=2)

`PhotoTask` and `run_job` are for work of your own on each photo.

Every name is fetched when it is first used: a command that only declares options starts sooner.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anymask.jobs.boxes import segment_boxes
    from anymask.jobs.choices import ModelChoice, PictureChoice
    from anymask.jobs.embeddings import embed
    from anymask.jobs.failures import PhotoFailure
    from anymask.jobs.folder import FolderJob, JobProgress, Summary, run_job
    from anymask.jobs.masks import everything
    from anymask.jobs.photos import PhotoItem
    from anymask.jobs.processing import PhotoTask, PhotoWork
    from anymask.jobs.verbs import run

__all__ = [
    "FolderJob",
    "JobProgress",
    "ModelChoice",
    "PhotoFailure",
    "PhotoItem",
    "PhotoTask",
    "PhotoWork",
    "PictureChoice",
    "Summary",
    "embed",
    "everything",
    "run",
    "run_job",
    "segment_boxes",
]

_HOMES = {
    "FolderJob": "anymask.jobs.folder",
    "JobProgress": "anymask.jobs.folder",
    "ModelChoice": "anymask.jobs.choices",
    "PhotoFailure": "anymask.jobs.failures",
    "PhotoItem": "anymask.jobs.photos",
    "PhotoTask": "anymask.jobs.processing",
    "PhotoWork": "anymask.jobs.processing",
    "PictureChoice": "anymask.jobs.choices",
    "Summary": "anymask.jobs.folder",
    "embed": "anymask.jobs.embeddings",
    "everything": "anymask.jobs.masks",
    "run": "anymask.jobs.verbs",
    "run_job": "anymask.jobs.folder",
    "segment_boxes": "anymask.jobs.boxes",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'anymask.jobs' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
