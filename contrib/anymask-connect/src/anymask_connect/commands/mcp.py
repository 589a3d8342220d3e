"""`anymask mcp`: run an MCP server on standard input and output."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.cli import MODEL, Argument, Command, read_model

NOTE = """\
An assistant starts this command and communicates with it over standard input and output (Model
Context Protocol). The assistant can read images in these folders and their subfolders, and nothing
else.
"""


def run(args: argparse.Namespace) -> None:
    """Serve until the assistant disconnects. Raises AnymaskError for user errors."""
    from anymask_connect import assistant_server

    model = read_model(args).load()
    assistant_server(model, args.folders, detector=args.detector, out=args.output).run("stdio")


# fmt: off
COMMAND = Command(run, (
    Argument("folders", metavar="FOLDER", nargs="+", type=Path,
        help="folders with images that the assistant may read"),
    Argument("-o --output", metavar="DIR", type=Path,
        help="existing folder in which cut-outs are saved in full size (default: cut-outs are not "
             "saved)"),
    Argument("--detector", metavar="NAME|FOLDER",
        help="detector for text prompts, as in `anymask find` (default: none; only the known "
             "names of the model)"),
    MODEL,
), epilog=NOTE)
# fmt: on
