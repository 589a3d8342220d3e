"""`anymask models`: list, download, convert, verify and remove model weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.cli.model_facts import (
    convert,
    get,
    remove,
    show_info,
    show_list,
    show_verify,
    warn_of_licence,
)
from anymask.runtime import SAYS, catalogue, split_side, store

EXAMPLES = (
    "examples:\n  anymask models list\n  anymask models info mobile_sam\n  anymask models "
    "info runs/mine/weights.safetensors\n  anymask models get mobile_sam\n  anymask models "
    "add sam_vit_b sam_vit_b_01ec64.pth\n  anymask models verify\n  anymask models "
    "remove mobile_sam\n\nWeights are stored in "
    "ANYMASK_HOME, by default the cache folder of the platform. ANYMASK_MIRROR, a\nURL or "
    "folder with the published files, is tried first. No other command downloads "
    "anything.\n"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    parser.epilog = EXAMPLES
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    listing = commands.add_parser("list", help="list all models, and whether each is installed")
    listing.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the list to a JSON file"
    )

    get = commands.add_parser(
        "get", help="download published weights; resumes interrupted downloads"
    )
    get.add_argument("names", nargs="+", metavar="NAME")
    get.add_argument("--again", action="store_true", help="download the file even if it exists")

    get.add_argument(
        "--no-convert", action="store_true", help="do not convert the weights for ONNX Runtime"
    )

    converting = commands.add_parser(
        "convert", help="convert a checkpoint for ONNX Runtime, which runs faster on a CPU"
    )
    converting.add_argument(
        "name", metavar="NAME|FILE", help="name of a downloaded model, or a checkpoint file"
    )
    converting.add_argument(
        "--model",
        metavar="NAME",
        help="name of the model in the checkpoint file (default: detected)",
    )

    removal = commands.add_parser("remove", help="delete downloaded weights and their conversion")
    removal.add_argument("names", nargs="+", metavar="NAME")
    removal.add_argument("--converted", action="store_true", help="delete only the conversion")

    add = commands.add_parser("add", help="verify a downloaded file and add it to ANYMASK_HOME")
    add.add_argument("name", metavar="NAME")
    add.add_argument("file", type=Path, metavar="FILE")
    add.add_argument(
        "--link", action="store_true", help="create a link to the file instead of a copy"
    )

    verify = commands.add_parser("verify", help="verify the hashes of installed files")
    verify.add_argument(
        "names", nargs="*", metavar="NAME", help="models to verify (default: all installed models)"
    )
    verify.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the result to a JSON file"
    )

    info = commands.add_parser("info", help="show the source, licence and hashes of a model")
    info.add_argument(
        "name",
        metavar="NAME|FILE|DIR",
        help="name of a listed model, or a folder written by training or export",
    )


def run(args: argparse.Namespace) -> None:
    """Run one action. Raises AnymaskError for user errors.

    A name with an input side, such as "nano@640", uses the weights of the plain name.
    """
    names = [split_side(name)[0] for name in getattr(args, "names", [])]
    match args.action:
        case "list":
            show_list(args.json)
        case "get":
            for name in names:
                catalogue.entry(name)  # report unknown names before any download
            for name in names:
                get(name, again=args.again, converts=not args.no_convert)
        case "convert":
            convert(args.name, args.model)
        case "remove":
            for name in names:
                remove(name, converted_only=args.converted)
        case "add":
            name = split_side(args.name)[0]
            state = store.add(name, args.file, link=args.link)
            print(f"{name}: {state.path}\n  {SAYS[state.status]}")
            warn_of_licence(catalogue.entry(name))
        case "verify":
            show_verify(names, args.json)
        case "info":
            show_info(split_side(args.name)[0])
