"""`anymask annotate DIR`: annotate a folder of images in the browser."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from anymask.cli.command import Argument, Command, Settings
from anymask.cli.options import MODEL, read_images
from anymask.cli.project import PROJECT_OPTIONS, login, make_project
from anymask.cli.serve import SERVER, read_server
from anymask.jobs import ImageSettings
from anymask.studio.options import Stage, need_engine, need_server
from anymask.studio.server_options import ServerOptions


def run(args: argparse.Namespace) -> None:
    """Serve page and project until Ctrl-C. Raises AnymaskError for user errors."""
    need_server()
    need_engine()
    from anymask.studio.serve import annotate

    server, image_settings, model = read_server(args), read_images(args), args.model
    ServerOptions(**server)  # before the project is created
    annotate(
        make_project(args), model, user=args.user,
        stage=args.stage, images=image_settings, **server,
    )  # fmt: skip


# fmt: off
COMMAND = Command(run, (
    Argument("folder", metavar="DIR", type=Path, reads=True,
        help="folder with images, which becomes a project"),
    Argument("--user", metavar="NAME", default=login,
        help="annotator name stored with the masks (default: your login name)"),
    Argument("--stage", choices=get_args(Stage),
        help="annotation mode to start in (default: the last one used)"),
    PROJECT_OPTIONS,
    Settings(ImageSettings, "input options"),
    SERVER,
    MODEL,
))
# fmt: on
