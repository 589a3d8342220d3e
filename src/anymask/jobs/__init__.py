"""Folders of photos: resumed, in worker processes or on Ray, with a summary of what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anymask.base import lazy_names

if TYPE_CHECKING:
    from anymask.jobs.boxes import BoxesTask, BoxLabels, segment_boxes
    from anymask.jobs.choices import (
        ArrangementChoice,
        LookChoice,
        ModelChoice,
        PictureChoice,
        parse_bands,
        parse_ranges,
    )
    from anymask.jobs.failures import PhotoFailure, failure_log
    from anymask.jobs.folder import (
        FIRST_FAILURES,
        FolderJob,
        JobProgress,
        Summary,
        check_summary,
        run_job,
        summary_to_json,
    )
    from anymask.jobs.masks import EverythingTask, everything
    from anymask.jobs.names import NamesChoice
    from anymask.jobs.photos import (
        Division,
        Naming,
        PhotoItem,
        find_items,
        output_names,
        place_number,
    )
    from anymask.jobs.pool import (
        ItemDone,
        ItemLost,
        ItemStep,
        PoolTask,
        ReportStep,
        WorkerReady,
        run_in_pool,
    )
    from anymask.jobs.processing import PhotoTask, PhotoWork, process_in_pool
    from anymask.jobs.verbs import EmbedTask, encode, run

__all__ = [
    "FIRST_FAILURES",
    "ArrangementChoice",
    "BoxLabels",
    "BoxesTask",
    "Division",
    "EmbedTask",
    "EverythingTask",
    "FolderJob",
    "ItemDone",
    "ItemLost",
    "ItemStep",
    "JobProgress",
    "LookChoice",
    "ModelChoice",
    "NamesChoice",
    "Naming",
    "PhotoFailure",
    "PhotoItem",
    "PhotoTask",
    "PhotoWork",
    "PictureChoice",
    "PoolTask",
    "ReportStep",
    "Summary",
    "WorkerReady",
    "check_summary",
    "encode",
    "everything",
    "failure_log",
    "find_items",
    "output_names",
    "parse_bands",
    "parse_ranges",
    "place_number",
    "process_in_pool",
    "run",
    "run_in_pool",
    "run_job",
    "segment_boxes",
    "summary_to_json",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "boxes": (
                "BoxLabels",
                "BoxesTask",
                "segment_boxes",
            ),
            "choices": (
                "ArrangementChoice",
                "LookChoice",
                "ModelChoice",
                "PictureChoice",
                "parse_bands",
                "parse_ranges",
            ),
            "failures": (
                "PhotoFailure",
                "failure_log",
            ),
            "folder": (
                "FIRST_FAILURES",
                "FolderJob",
                "JobProgress",
                "Summary",
                "check_summary",
                "run_job",
                "summary_to_json",
            ),
            "masks": (
                "EverythingTask",
                "everything",
            ),
            "names": ("NamesChoice",),
            "photos": (
                "Division",
                "Naming",
                "PhotoItem",
                "find_items",
                "output_names",
                "place_number",
            ),
            "pool": (
                "ItemDone",
                "ItemLost",
                "ItemStep",
                "PoolTask",
                "ReportStep",
                "WorkerReady",
                "run_in_pool",
            ),
            "processing": (
                "PhotoTask",
                "PhotoWork",
                "process_in_pool",
            ),
            "verbs": (
                "EmbedTask",
                "encode",
                "run",
            ),
        },
    )
