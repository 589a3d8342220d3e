"""`anymask annotate DIR`: annotate a folder of images in the browser."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from anymask.cli import (
    add_model_options,
    add_picture_options,
    need_engine,
    need_server,
    read_pictures,
)
from anymask.studio.commands.project import add_init_options, login, make_project
from anymask.studio.commands.serve import add_server_options, read_server
from anymask.studio.options import Stage


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "folder", metavar="DIR", type=Path, help="folder with images, which becomes a project"
    )
    parser.add_argument(
        "--user",
        metavar="NAME",
        default=login(),
        help="annotator name stored with the masks (default: your login name)",
    )
    parser.add_argument(
        "--stage",
        choices=get_args(Stage),
        help=("annotation mode to start in (default: the last one used)"),
    )
    add_init_options(parser)
    add_picture_options(parser)
    add_server_options(parser)
    add_model_options(parser)


def run(args: argparse.Namespace) -> None:
    """Serve page and project until Ctrl-C. Raises AnymaskError for user errors."""
    need_server()
    need_engine()
    from anymask.studio.start import annotate, check_server

    server, pictures, model = read_server(args), read_pictures(args), args.model
    check_server(**server)
    annotate(
        make_project(args), model, user=args.user,
        stage=args.stage, pictures=pictures, **server,
    )  # fmt: skip
