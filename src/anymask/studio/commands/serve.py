"""`anymask serve`: the model over HTTP, with the page for the browser; or both as plain files."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.cli import (
    add_model_options,
    add_options,
    need_server,
    new_folder,
    read_default_model,
    read_model,
    read_options,
    say,
)
from anymask.studio.limits import Limits

if TYPE_CHECKING:
    from anymask.studio.start import ServerSettings

TOKEN = "ANYMASK_TOKEN"
PORT = 8765
OF_LIMITS = ("upload_bytes", "pixels", "volume_bytes", "volume_seconds")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--static", metavar="OUT", type=new_folder,
        help="write page and model into a folder for any web server, and do not serve",
    )  # fmt: skip
    group = parser.add_argument_group("as a backend of Label Studio")
    group.add_argument(
        "--label-studio", metavar="URL", default="",
        help="of the Label Studio whose pictures may be fetched; $LABEL_STUDIO_API_KEY is its key",
    )  # fmt: skip
    group.add_argument(
        "--photos", metavar="DIR", type=Path, help="or the folder in which its pictures lie"
    )
    add_server_options(parser)
    add_model_options(parser)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Where the server listens and what it allows; shared by the commands that start one."""
    group = parser.add_argument_group("the server")
    group.add_argument("--host", default="127.0.0.1", help="(default: 127.0.0.1, this machine)")
    group.add_argument(
        "--port", type=int, default=PORT, help=f"0 takes a free one (default: {PORT})"
    )
    group.add_argument(
        "--token", metavar="SECRET", default=os.environ.get(TOKEN, ""),
        help=f"that every request must bring (default: ${TOKEN}); needed for any other host",
    )  # fmt: skip
    group.add_argument(
        "--allow-origin", metavar="URL", action="append", default=[],
        help="a web page elsewhere that may ask, too (CORS), such as https://tool.example; may be "
        "given several times; '*' for any, with a token",
    )  # fmt: skip
    group.add_argument(
        "--allow-frame", metavar="URL", action="append", default=[],
        help="a web page elsewhere that may show the page in a frame; may be given several times",
    )  # fmt: skip
    group.add_argument(
        "--video", metavar="PATH", type=Path, action="append", default=[],
        help="a video file or a folder of frames that the page offers; may be given several times",
    )  # fmt: skip
    group.add_argument(
        "--volume", metavar="PATH", type=Path, action="append", default=[],
        help="a scan that the page offers (NIfTI, NRRD, a folder of DICOM); may be given several "
        "times",
    )  # fmt: skip
    group.add_argument(
        "--detector", metavar="NAME|FOLDER",
        help="what finding reads words with, as for anymask find (default: names that the model "
        "knows)",
    )  # fmt: skip
    group.add_argument(
        "--memory", metavar="N", type=float, default=512,
        help="megabytes of encoded photos that are kept (512)",
    )  # fmt: skip
    group.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="warning",
        help="of what is logged to standard error; info: each request (default: warning)",
    )  # fmt: skip
    group.add_argument(
        "--log-format", choices=("text", "json"), default="text",
        help="json: one JSON object a line (default: text)",
    )  # fmt: skip
    add_options(group, Limits, OF_LIMITS)


def run(args: argparse.Namespace) -> None:
    """Serve until Ctrl-C. Raises AnymaskError for what the user can mend."""
    need_server()
    from anymask.studio import start

    if args.static is not None:
        choice = read_default_model(args)
        from anymask.runtime import find_bundle
        from anymask.studio.pages import write_static

        with tempfile.TemporaryDirectory(prefix="anymask-static-") as folder:
            choice = start.exported_choice(choice, Path(folder))
            start.check_model(choice)
            size = write_static(args.static, find_bundle(choice.model, choice.weights))
        say(f"wrote {args.static} ({size / 1e6:.1f} MB); any web server can serve it")
        return
    start.serve(
        read_model(args).model, label_studio=args.label_studio, photos=args.photos,
        label_studio_key=os.environ.get("LABEL_STUDIO_API_KEY", ""), **read_server(args),
    )  # fmt: skip


def read_server(args: argparse.Namespace) -> ServerSettings:
    """The words of the server and the model as settings, and logging as it is wanted."""
    from anymask.studio.server import log_to_stderr

    log_to_stderr(args.log_level, args.log_format)
    choice, token = read_model(args), "?token=..." if args.token else ""
    return {
        "weights": choice.weights, "device": choice.device, "precision": choice.precision,
        "runtime": choice.runtime, "host": args.host, "port": args.port, "token": args.token,
        "origins": args.allow_origin, "frames": args.allow_frame, "detector": args.detector,
        "memory": args.memory, "videos": args.video, "volumes": args.volume,
        "limits": Limits(**read_options(args, Limits, OF_LIMITS)),
        "ready": lambda address: print(f"serving on {address}/{token}; Ctrl-C stops", flush=True),
    }  # fmt: skip
