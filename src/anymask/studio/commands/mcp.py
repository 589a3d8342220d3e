"""`anymask mcp`: folders in, the tools of a server for assistants on standard input and output."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.base import need_packages
from anymask.cli import add_model_options, read_model

NOTE = """\
The assistant's program starts this command and speaks to it over standard input and output, as the
Model Context Protocol says. It can read photos in these folders and below, and nothing else.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = NOTE
    parser.add_argument(
        "folders", metavar="FOLDER", nargs="+", type=Path, help="photos that it may see"
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path,
        help="a folder that is there, for cut-outs in full size (default: they are only shown)",
    )  # fmt: skip
    parser.add_argument(
        "--detector", metavar="NAME|FOLDER",
        help="what reads any words, as for `anymask find` (default: none; words are names that the "
        "model knows)",
    )  # fmt: skip
    add_model_options(parser)


def run(args: argparse.Namespace) -> None:
    """Serve until the assistant leaves. Raises AnymaskError for what the user can mend."""
    need_packages(("mcp",), "mcp", "a server for assistants")
    from anymask.studio.assistants import assistant_server

    model = read_model(args).load()
    assistant_server(model, args.folders, detector=args.detector, out=args.output).run("stdio")
