"""`anymask embed`: see photos once, so that every later prompt costs only a decoding."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.cli.folders import add_folder_options, read_job, run_folder, run_photo
from anymask.cli.options import add_model_options, read_model
from anymask.cli.pictures import add_picture_options, read_pictures
from anymask.jobs.embeddings import EmbedTask
from anymask.jobs.photos import find_items

SUMMARY = "see photos once and keep the embeddings"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("source", metavar="PHOTO|FOLDER", type=Path)
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, required=True,
        help="where the .npz files go; those of the same pixels and model are not made again",
    )  # fmt: skip
    add_folder_options(parser)
    add_picture_options(parser)
    add_model_options(parser)


def run(args: argparse.Namespace) -> None:
    """Embed every photo. Raises DataError at the end when some failed."""
    task = EmbedTask(read_model(args), read_pictures(args))
    job = read_job(args)
    if job.source.is_dir():
        run_folder(job, task, args.json)
        return
    (item,) = find_items(job.source, job.output)
    made = run_photo(job, task, args.json)
    print(f"{'wrote' if made else 'there already:'} {item.output('.npz')}")
