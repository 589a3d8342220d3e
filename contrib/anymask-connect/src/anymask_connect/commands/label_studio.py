"""`anymask label-studio`: run the server with the routes of a Label Studio backend."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import anymask
from anymask.base import InputError
from anymask.cli import MODEL, SERVER, Argument, Command, read_model, read_server

NOTE = """\
Add the address of this server as a model in the settings of a Label Studio project. The server also
has the labeling page and the routes of `anymask serve`.
"""


def run(args: argparse.Namespace) -> None:
    """Serve until Ctrl-C. Raises AnymaskError for user errors."""
    from anymask_connect import TaskImages, label_studio_routes

    if not args.url and args.images is None:
        raise InputError(
            "No location of the task images was given. Pass the URL of Label Studio, --images DIR, "
            "or both."
        )
    if args.images is not None and not args.images.is_dir():
        raise InputError(f"{args.images} is not a folder of images. Pass a folder.")
    key = os.environ.get("LABEL_STUDIO_API_KEY", "")
    routes = label_studio_routes(TaskImages(args.images, args.url, key))
    anymask.serve(read_model(args).model, routers=[routes], **read_server(args))


# fmt: off
COMMAND = Command(run, (
    Argument("url", metavar="URL", nargs="?", default="",
        help="address of a Label Studio server from which images may be downloaded; set its API "
             "key in $LABEL_STUDIO_API_KEY"),
    Argument("--images", metavar="DIR", type=Path,
        help="folder with the images of the tasks, to read them instead of downloading them"),
    SERVER,
    MODEL,
), epilog=NOTE)
# fmt: on
