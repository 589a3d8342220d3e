"""`anymask models`: what there is, what is here, and whether it is what its authors published."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.cli.model_facts import get, show_info, show_list, show_verify, warn_of_licence
from anymask.runtime import SAYS, catalogue, split_side, store

EXAMPLES = """\
examples:
  anymask models list
  anymask models info mobile_sam
  anymask models info runs/mine/weights.safetensors
  anymask models get mobile_sam
  anymask models add sam_vit_b sam_vit_b_01ec64.pth
  anymask models verify

Weights lie in ANYMASK_HOME, or in the platform's cache folder. ANYMASK_MIRROR, an address or a
folder with the published files, is asked first. Nothing is ever downloaded by another command.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands."""
    parser.epilog = EXAMPLES
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    listing = commands.add_parser("list", help="every known model and its state here")
    listing.add_argument("--json", type=Path, metavar="FILE", help="also write the list as JSON")

    get = commands.add_parser("get", help="download published weights; resumes where it stopped")
    get.add_argument("names", nargs="+", metavar="NAME")
    get.add_argument("--again", action="store_true", help="download even if the file is here")

    add = commands.add_parser("add", help="put a downloaded file into the store, after a check")
    add.add_argument("name", metavar="NAME")
    add.add_argument("file", type=Path, metavar="FILE")
    add.add_argument("--link", action="store_true", help="point to the file instead of copying it")

    verify = commands.add_parser("verify", help="read files anew and compare their hashes")
    verify.add_argument("names", nargs="*", metavar="NAME", help="default: all that are here")
    verify.add_argument("--json", type=Path, metavar="FILE", help="also write the result as JSON")

    info = commands.add_parser("info", help="where a model is from, its licence, its hashes")
    info.add_argument(
        "name", metavar="NAME|FILE|DIR", help="of the list, or what a training or an export wrote"
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
