"""`anymask models`: list, download, convert, verify and remove model weights."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from anymask.cli.command import Argument, Command
from anymask.cli.model_facts import (
    convert,
    get,
    refuse_detector,
    remove,
    show_info,
    show_list,
    show_verify,
    warn_of_license,
)
from anymask.find import known_detectors
from anymask.runtime import SAYS, catalogue, split_side, store

EXAMPLES = (
    "examples:\n  anymask models list\n  anymask models info mobile_sam\n  anymask models "
    "info runs/mine/weights.safetensors\n  anymask models get mobile_sam\n  anymask models "
    "add sam_vit_b sam_vit_b_01ec64.pth\n  anymask models verify\n  anymask models "
    "remove mobile_sam\n\nWeights are stored in "
    "ANYMASK_HOME, by default the cache folder of the platform. Only\n`anymask "
    "models get` downloads files. It first tries ANYMASK_MIRROR, a URL or a folder\nwith the "
    "published files; detectors of `anymask find` come from huggingface.co or\nHF_ENDPOINT.\n"
)


def plain_names(args: Namespace) -> list[str]:
    """Return the models of a command line; "nano@640" uses the weights of the plain name."""
    return [catalogue.plain_name(split_side(name)[0]) for name in args.names]


def get_all(args: Namespace) -> None:
    """Download weights."""
    names, detectors = plain_names(args), known_detectors()
    for name in names:
        if name not in detectors:
            catalogue.entry(name)  # report unknown names before any download
    for name in names:
        if name in detectors:
            path, digest = detectors[name].download()
            print(f"{name}: {path}\n  sha256 {digest}")
        else:
            get(name, converts=not args.no_convert)


def remove_all(args: Namespace) -> None:
    """Delete weights."""
    for name in plain_names(args):
        remove(name, converted_only=args.converted)


def add(args: Namespace) -> None:
    """Verify a file and add it."""
    name = catalogue.plain_name(split_side(args.name)[0])
    refuse_detector(name, f"Download it: anymask models get {name}, or pass its folder: --detector")
    state = store.add(name, args.file, link=args.link)
    print(f"{name}: {state.path}\n  {SAYS[state.status]}")
    warn_of_license(catalogue.entry(name))


# fmt: off
ACTIONS = {
    "list": Command(lambda args: show_list(args.json), (
        Argument("--json", type=Path, metavar="FILE", help="also write the list to a JSON file"),
    ), summary="list all models and detectors, and whether each is installed"),
    "get": Command(get_all, (
        Argument("names", nargs="+", metavar="NAME", help="models or detectors to download"),
        Argument("--no-convert", action="store_true",
            help="do not convert the weights for ONNX Runtime"),
    ), summary="download published weights, also of detectors; resumes interrupted downloads"),
    "convert": Command(lambda args: convert(args.name, args.model), (
        Argument("name", metavar="NAME|FILE",
            help="name of a downloaded model, or a checkpoint file"),
        Argument("--model", metavar="NAME",
            help="name of the model in the checkpoint file (default: detected)"),
    ), summary="convert a checkpoint for ONNX Runtime, which runs faster on a CPU"),
    "remove": Command(remove_all, (
        Argument("names", nargs="+", metavar="NAME", help="models or detectors to delete"),
        Argument("--converted", action="store_true", help="delete only the conversion"),
    ), summary="delete downloaded weights, also of detectors, and their conversion"),
    "add": Command(add, (
        Argument("name", metavar="NAME", help="name of a listed model or detector"),
        Argument("file", type=Path, metavar="FILE", help="file that you downloaded"),
        Argument("--link", action="store_true", help="create a link to the file instead of a copy"),
    ), summary="verify a downloaded file and add it to ANYMASK_HOME"),
    "verify": Command(lambda args: show_verify(plain_names(args), args.json), (
        Argument("names", nargs="*", metavar="NAME",
            help="models to verify (default: all installed models)"),
        Argument("--json", type=Path, metavar="FILE", help="also write the result to a JSON file"),
    ), summary="verify the hashes of installed files"),
    "info": Command(lambda args: show_info(catalogue.plain_name(split_side(args.name)[0])), (
        Argument("name", metavar="NAME|FILE|DIR",
            help="name of a listed model, or a folder written by training or export"),
    ), summary="show the source, licence and hashes of a model"),
}
COMMAND = Command(actions=ACTIONS, epilog=EXAMPLES)
# fmt: on
