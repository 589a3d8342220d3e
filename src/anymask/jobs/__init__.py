"""Folder jobs: many photos in, files for each and a summary out; resumed, in workers or on Ray.

    summary = anymask.jobs.everything("photos/", "out/", workers=2)

`PhotoTask` and `run_job` are for work of your own on each photo.
"""

from anymask.jobs.choices import ModelChoice, PictureChoice
from anymask.jobs.embeddings import embed
from anymask.jobs.failures import PhotoFailure
from anymask.jobs.folder import FolderJob, JobProgress, Summary, run_job
from anymask.jobs.masks import everything
from anymask.jobs.photos import PhotoItem
from anymask.jobs.processing import PhotoTask, PhotoWork

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
    "run_job",
]
