"""`anymask serve`: run the HTTP server with the page, or write both as static files."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

from anymask.base import say
from anymask.cli.command import Argument, Command, Group, Settings
from anymask.cli.options import MODEL, read_default_model, read_model, read_options
from anymask.cli.outputs import new_folder
from anymask.studio.limits import Limits
from anymask.studio.options import need_server
from anymask.studio.server_options import TOKEN, ServerOptions

if TYPE_CHECKING:
    from anymask.keywords import ServerSettings

OF_LIMITS = ("upload_bytes", "pixels", "volume_bytes")


# fmt: off
SERVER = Group("server options", (
    Settings(ServerOptions, common=("host", "port", "token", "detector")),
    Argument("--log-level", choices=("debug", "info", "warning", "error"), default="warning",
        help="level of the log on standard error; info logs each request (default: warning)"),
    Argument("--log-format", choices=("text", "json"), default="text",
        help="log format; json writes one JSON object per line (default: text)"),
    Settings(Limits, only=OF_LIMITS),
))
# fmt: on


def run(args: argparse.Namespace) -> None:
    """Serve until Ctrl-C. Raises AnymaskError for user errors."""
    from anymask.studio import serve

    if args.static is not None:
        choice = read_default_model(args)
        from anymask.runtime import find_bundle
        from anymask.studio.pages import write_static

        with tempfile.TemporaryDirectory(prefix="anymask-static-") as folder:
            choice = serve.exported_choice(choice, Path(folder))
            serve.check_model(choice)
            size = write_static(args.static, find_bundle(choice.model, choice.weights))
        say(f"wrote {args.static} ({size / 1e6:.1f} MB); any web server can serve it")
        return
    serve.serve(read_model(args).model, **read_server(args))


def read_server(args: argparse.Namespace) -> ServerSettings:
    """Parse the server and model options, and configure logging."""
    from anymask.studio.server import log_to_stderr

    log_to_stderr(args.log_level, args.log_format)
    choice = read_model(args)
    options = {"token": os.environ.get(TOKEN, "")} | read_options(args, ServerOptions)
    token = "?token=..." if options["token"] else ""
    return cast("ServerSettings", options | {
        "weights": choice.weights, "device": choice.device, "precision": choice.precision,
        "runtime": choice.runtime, "limits": Limits(**read_options(args, Limits, OF_LIMITS)),
        "ready": lambda address: print(
            f"serving on {address}/{token}; press Ctrl-C to stop", flush=True
        ),
    })  # fmt: skip


# fmt: off
COMMAND = Command(run, (
    Argument("--static", metavar="OUT", type=new_folder,
        help="write the page and the model to a folder that any web server can serve, and exit"),
    SERVER,
    MODEL,
), needs=need_server)
# fmt: on
