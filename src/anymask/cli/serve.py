"""`anymask serve`: the model over HTTP, with the page for the browser; or both as plain files."""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.cli.extras import need_server
from anymask.cli.options import add_model_options, add_options, read_model, read_options
from anymask.cli.output_names import new_folder
from anymask.jobs.choices import ModelChoice
from anymask.primitives.errors import InputError
from anymask.primitives.threads import THREADS, pick_threads
from anymask.serving.limits import Limits

if TYPE_CHECKING:
    from fastapi import APIRouter

    from anymask.serving.guard import Access
    from anymask.serving.inference import Inference

SUMMARY = "answer clicks over HTTP, with a page for the browser"
TOKEN = "ANYMASK_TOKEN"
PORT = 8765
OF_LIMITS = ("upload_bytes", "pixels")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--static", metavar="OUT", type=new_folder,
        help="write page and model into a folder for any web server, and do not serve",
    )  # fmt: skip
    group = parser.add_argument_group("as a backend of Label Studio")
    group.add_argument(
        "--label-studio", metavar="URL",
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
        "--cache", metavar="DIR", type=Path,
        help="keep embeddings and photos there for the next start (default: a temporary folder)",
    )  # fmt: skip
    group.add_argument(
        "--video", metavar="PATH", type=Path, action="append", default=[],
        help="a video file or a folder of frames that the page offers; may be given several times",
    )  # fmt: skip
    for name, default, text in (
        ("memory", 512, "megabytes of embeddings and photos in memory"),
        ("disk", 2000, "megabytes of embeddings and photos on disk"),
    ):
        group.add_argument(
            f"--{name}", metavar="N", type=float, default=default, help=f"{text} ({default})"
        )
    add_options(group, Limits, OF_LIMITS)


def run(args: argparse.Namespace) -> None:
    """Serve until Ctrl-C. Raises AnymaskError for what the user can mend."""
    need_server()
    from anymask.runtimes.open import find_bundle
    from anymask.serving.pages import model_assets, page_assets, write_static

    with tempfile.TemporaryDirectory(prefix="anymask-serve-") as folder:
        choice = exported_choice(read_model(args), Path(folder))
        check_model(choice)
        bundle = find_bundle(choice.model, choice.weights)
        if args.static is not None:
            size = write_static(args.static, bundle)
            print(f"wrote {args.static} ({size / 1e6:.1f} MB); any web server can serve it")
            return
        from anymask.serving.app import ServerParts, create_app

        access, limits, clips = read_access(args), read_limits(args), read_clips(args)
        inference = make_inference(choice, args, Path(folder))
        assets = page_assets() | model_assets(bundle)
        routers, costly = read_backend(args, inference, limits)
        access = replace(access, costly=costly)
        served = ServerParts(inference, access, limits, assets, routers, clips)
        listen(create_app(served), args, inference)


def read_access(args: argparse.Namespace) -> Access:
    """Who may ask. Raises InputError."""
    from anymask.serving.guard import Access

    return Access(args.host, args.token, tuple(args.allow_origin), tuple(args.allow_frame))


def read_clips(args: argparse.Namespace) -> dict[str, Path]:
    """The videos that the page offers, by name. Raises InputError for what is not there, or for two
    of one name."""
    clips: dict[str, Path] = {}
    for path in args.video:
        if not path.exists():
            raise InputError(
                f"wanted a video file or a folder of frames, got --video {path}; name another"
            )
        name = path.resolve().name
        if name in clips:
            raise InputError(
                f"wanted videos of different names, got --video {clips[name]} and {path}; "
                "rename one"
            )
        clips[name] = path.resolve()
    return clips


def read_backend(
    args: argparse.Namespace, inference: Inference, limits: Limits
) -> tuple[list[APIRouter], frozenset[str]]:
    """The addresses that Label Studio asks, where it was named, and which of them need the model.

    Raises InputError for a folder that is none.
    """
    if args.label_studio is None and args.photos is None:
        return [], frozenset()
    from anymask.serving.label_studio import COSTLY, TaskPictures, label_studio_router

    if args.photos is not None and not args.photos.is_dir():
        raise InputError(f"wanted a folder of photos, got --photos {args.photos}; name another")
    key = os.environ.get("LABEL_STUDIO_API_KEY", "")
    pictures = TaskPictures(args.photos, args.label_studio or "", key)
    return [label_studio_router(inference, pictures, limits)], COSTLY


def read_limits(args: argparse.Namespace) -> Limits:
    """How much may be asked. Raises InputError."""
    return Limits(**read_options(args, Limits, OF_LIMITS))


def make_inference(choice: ModelChoice, args: argparse.Namespace, folder: Path) -> Inference:
    """The model, not loaded yet, with its cache.

    folder  for embeddings where --cache names none
    """
    from anymask.serving.cache import EmbeddingCache
    from anymask.serving.inference import Inference

    if args.memory < 0 or args.disk < 0:
        raise InputError(f"wanted megabytes of 0 or more, got {min(args.memory, args.disk):g}")
    if args.cache is not None and args.cache.exists() and not args.cache.is_dir():
        raise InputError(f"wanted a folder, got the file --cache {args.cache}; name another")
    import_heavy(choice)
    share_cores()
    cache = EmbeddingCache(int(args.memory * 1e6), args.cache or folder, int(args.disk * 1e6))
    return Inference(choice.load, choice.model, cache)


def exported_choice(choice: ModelChoice, folder: Path) -> ModelChoice:
    """An exported model of another side (NAME@SIDE) as a folder of its own, which the page can
    open, too; any other choice as it is.

    Raises InputError for a side that it does not see.
    """
    from anymask.export.folder import copy_bundle
    from anymask.runtimes.open import find_bundle, split_side

    name, side = split_side(choice.model)
    bundle = None if side is None else find_bundle(name, choice.weights)
    if bundle is None:
        return choice
    target = folder / Path(choice.model).name
    copy_bundle(bundle, target, side)
    return replace(choice, model=str(target), weights=None)


def check_model(choice: ModelChoice) -> None:
    """Raises InputError, ModelError, WeightsError for a model that is not there or takes no photos,
    before anything listens."""
    from anymask.runtimes.open import find_model, named_weights, split_side, stated_channels

    name, weights = named_weights(split_side(choice.model)[0], choice.weights)
    if find_model(name, weights, choice.runtime) is None:
        from anymask.weights import entry, find

        entry(name)
        find(name, weights)
    channels = stated_channels(choice.model, choice.weights)
    if channels is not None:
        raise InputError(
            f"wanted a model of photos for the page and the server, got {choice.model}, tuned on "
            f"pictures of {channels.count} channels; anymask segment and everything take those"
        )


def share_cores() -> None:
    """Give one call half of the cores: clicks and new photos run at the same time."""
    os.environ[THREADS] = os.environ.get(THREADS) or str(max(1, pick_threads() // 2))


def import_heavy(choice: ModelChoice) -> None:
    """Import the runtime's package now: that would hold up every answer later."""
    from anymask.runtimes.open import find_bundle

    if find_bundle(choice.model, choice.weights) is not None:
        import onnxruntime  # noqa: F401
    else:
        from anymask.runtimes.devices import import_torch

        import_torch()


def listen(app: object, args: argparse.Namespace, inference: Inference) -> None:
    """Say where, and serve until Ctrl-C.

    Raises InputError for an address that cannot be had, WeightsError for weights that are broken.
    """
    from anymask.serving.run import address_of, open_socket, serve

    bound = open_socket(args.host, args.port)
    address = address_of(bound)

    def told() -> None:
        print(
            f"serving on {address}/{'?token=...' if args.token else ''}; Ctrl-C stops", flush=True
        )

    with contextlib.suppress(KeyboardInterrupt):  # the ordinary end
        serve(app, bound, told, model=inference.model)  # type: ignore[arg-type]  # typed where starlette is installed
