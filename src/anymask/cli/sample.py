"""`anymask sample`: write a sample image."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.base import InputError, write_whole
from anymask.cli.command import Argument, Command
from anymask.cli.outputs import STDOUT
from anymask.cli.streams import say, write_stdout
from anymask.images import SAMPLES, sample


def run(args: argparse.Namespace) -> None:
    """Write the image. Raises InputError for an unknown name, or if another file exists."""
    data, target = sample(args.name).read_bytes(), args.output
    if str(target) == STDOUT:
        write_stdout(data)
        return
    if target.is_file() and target.read_bytes() == data:
        say(f"exists: {target}")
        return
    if target.exists():
        raise InputError(f"{str(target)!r} already exists. Choose another name with -o FILE.")
    if target.suffix.lower() not in (".jpg", ".jpeg"):
        raise InputError(f"Sample images are JPEG. Use a name ending in .jpg, got {str(target)!r}.")
    write_whole(target, data)
    say(f"wrote {target}")


# fmt: off
COMMAND = Command(run, (
    Argument("name", metavar="NAME", nargs="?", default="coffee",
        help=f"{', '.join(SAMPLES)} (default: coffee)"),
    Argument("-o --output", metavar="FILE", type=Path, default=Path("photo.jpg"),
        help="output file, .jpg, or - for standard output (default: photo.jpg in the current "
             "folder)"),
), stdout=True)
# fmt: on
