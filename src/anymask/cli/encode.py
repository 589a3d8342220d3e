"""`anymask encode`: compute and cache image embeddings, so that later prompts are fast."""

from __future__ import annotations

import argparse

from anymask.base import say
from anymask.cli.command import Argument, Command
from anymask.cli.folders import FOLDER_OPTIONS, read_job, run_folder, run_image
from anymask.cli.options import IMAGES, MODEL, open_sources, read_images, read_model, sources
from anymask.jobs import EncodeTask


def run(args: argparse.Namespace) -> None:
    """Encode all images. Raises DataError at the end if some failed."""
    task = EncodeTask(read_model(args), read_images(args))
    with open_sources(args.sources, allow_url=args.allow_url) as paths:
        job = read_job(args, paths, args.outputs, ("", "-embeddings"), ".npz")
        if not job.one:
            run_folder(job, task, args.json)
            return
        item = job.item()
        say(f"{'wrote' if run_image(job, task, args.json) else 'exists:'} {item.output('.npz')}")


# fmt: off
COMMAND = Command(run, (
    *sources("IMAGE|FOLDER", "; or folders, including subfolders"),
    Argument("-o --output", metavar="DIR|FILE", dest="outputs", default=[], action="append",
        help="folder for the .npz files, or one .npz file for one image; an image is skipped if "
             "its embedding by the same model exists (default: IMAGE.npz in the current folder, "
             "FOLDER-embeddings/ for a folder)"),
    FOLDER_OPTIONS,
    IMAGES,
    MODEL,
))
# fmt: on
