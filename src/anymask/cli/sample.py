"""`anymask sample`: write a sample image."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.base import InputError, say, write_whole
from anymask.cli.command import Argument, Command
from anymask.cli.outputs import STDOUT, write_stdout
from anymask.images import SAMPLES, sample

ALL = "all"


def run(args: argparse.Namespace) -> None:
    """Write one image, or all. Raises InputError for an unknown name, or if another file exists."""
    if args.name != ALL:
        _write(sample(args.name), args.output or Path("photo.jpg"))
        return
    folder = args.output or Path("photos")
    if str(folder) == STDOUT:
        raise InputError("'all' writes several images. Choose a folder with -o FOLDER.")
    for name in SAMPLES:
        _write(sample(name), folder / f"{name}.jpg")


def _write(source: Path, target: Path) -> None:
    data = source.read_bytes()
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
        help=f"{', '.join(SAMPLES)}, or {ALL} of them (default: coffee)"),
    Argument("-o --output", metavar="FILE|FOLDER", type=Path,
        help="output file, .jpg, or - for standard output; for `all`, a folder (default: photo.jpg "
             "or photos/ in the current folder)"),
), stdout=True)
# fmt: on
