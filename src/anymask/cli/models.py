"""`anymask models`: what there is, what is here, and whether it is what its authors published."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.cli.model_facts import get, show_info, show_list, show_verify, warn_of_licence
from anymask.runtime import SAYS, catalogue, split_side, store

EXAMPLES = (
    "examples:\n  anymask models list\n  anymask models info mobile_sam\n  anymask models "
    "info runs/mine/weights.safetensors\n  anymask models get mobile_sam\n  anymask models "
    "add sam_vit_b sam_vit_b_01ec64.pth\n  anymask models verify\n\nWeights are stored in "
    "ANYMASK_HOME, by default the cache folder of the platform. ANYMASK_MIRROR, a\nURL or "
    "folder with the published files, is tried first. No other command downloads "
    "anything.\n"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands."""
    parser.epilog = EXAMPLES
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    listing = commands.add_parser("list", help="list all models and whether they are installed")
    listing.add_argument("--json", type=Path, metavar="FILE", help="also write the list as JSON")

    get = commands.add_parser(
        "get", help="download published weights; resumes interrupted downloads"
    )
    get.add_argument("names", nargs="+", metavar="NAME")
    get.add_argument("--again", action="store_true", help="download again even if the file exists")

    add = commands.add_parser("add", help="verify a downloaded file and add it to the store")
    add.add_argument("name", metavar="NAME")
    add.add_argument("file", type=Path, metavar="FILE")
    add.add_argument("--link", action="store_true", help="link the file instead of copying it")

    verify = commands.add_parser(
        "verify", help="compute the hashes of stored files again and compare them"
    )
    verify.add_argument("names", nargs="*", metavar="NAME", help="default: all installed models")
    verify.add_argument("--json", type=Path, metavar="FILE", help="also write the result as JSON")

    info = commands.add_parser("info", help="show the source, licence and hashes of a model")
    info.add_argument(
        "name",
        metavar="NAME|FILE|DIR",
        help="a listed model, or a folder written by a training or an export",
    )


def run(args: argparse.Namespace) -> None:
    """Do one action; raises AnymaskError when the user has to change something.

    A name with an input side, "nano@640", has the weights of the one without.
    """
    names = [split_side(name)[0] for name in getattr(args, "names", [])]
    match args.action:
        case "list":
            show_list(args.json)
        case "get":
            for name in names:
                catalogue.entry(name)  # a wrong name stops before the first byte
            for name in names:
                get(name, again=args.again)
        case "add":
            name = split_side(args.name)[0]
            state = store.add(name, args.file, link=args.link)
            print(f"{name}: {state.path}\n  {SAYS[state.status]}")
            warn_of_licence(catalogue.entry(name))
        case "verify":
            show_verify(names, args.json)
        case "info":
            show_info(split_side(args.name)[0])
