"""One call for every kind of folder job: `anymask.jobs.run(verb, folder, out)`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from anymask.base import InputError
from anymask.jobs.boxes import segment_boxes
from anymask.jobs.embeddings import encode
from anymask.jobs.folder import Summary
from anymask.jobs.masks import everything

Verb = Literal["everything", "boxes", "encode"]

_JOBS: dict[str, Any] = {"everything": everything, "boxes": segment_boxes, "encode": encode}


def run(
    verb: Verb,
    folder: str | Path,
    out: str | Path,
    workers: int = 1,
    engine: Literal["local", "ray"] = "local",
    *,
    resume: bool = True,
    **settings: Any,
) -> Summary:
    """Do one thing with every photo of a folder; what is done already is not done again.

    verb      "everything": all masks of each photo; "boxes": masks for the boxes of labels, where
              `folder` holds the labels; "encode": the features of each photo
    folder    photos with their sub-folders, or the labels
    out       the folder of the results
    workers   1 works in this process; more are processes of this machine, or workers of Ray
    engine    "local": this machine; "ray": a cluster of Ray
    resume    False refuses a folder of results that holds something already
    settings  the other keyword arguments of `everything`, `segment_boxes` or `encode`

    Raises InputError for arguments out of range, and what `run_job` raises.
    """
    if verb not in _JOBS:
        raise InputError(f"verb must be one of {', '.join(_JOBS)}, got {verb!r}")
    if engine not in get_args(Literal["local", "ray"]):
        raise InputError(f'engine must be "local" or "ray", got {engine!r}')
    if workers < 1:
        raise InputError(f"workers must be 1 or more, got {workers!r}")
    if not resume and Path(out).is_dir() and any(Path(out).iterdir()):
        raise InputError(
            f"{str(out)!r} holds files already; name a new folder, or take resume=True to go on"
        )
    beside = workers if engine == "ray" or workers > 1 else 0
    how = {"workers": beside, "engine": "ray" if engine == "ray" else "processes"}
    summary: Summary = _JOBS[verb](folder, out, **how, **settings)
    return summary
