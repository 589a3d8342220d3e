"""`anymask names`: learn custom class names from labelled masks, or list the known names."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.base import InputError, say
from anymask.cli.command import Argument, Command, Settings
from anymask.cli.options import MODEL, read_count, read_model, read_options
from anymask.formats import ReadSettings

MAX_MASKS_PER_LABEL = 200  # maximum number of masks per label


def run(args: argparse.Namespace) -> None:
    """Learn or list names. Raises InputError, DataError or ModelError."""
    from anymask.formats import read
    from anymask.jobs import learn_names
    from anymask.runtime import require

    if bool(args.sources) != (args.output is not None):
        raise InputError(
            "To learn names, pass labeled masks and -o FILE.json. To list names, omit both."
        )
    if args.output is not None and Path(args.output).suffix.lower() != ".json":
        raise InputError(f"-o {args.output} is not a .json file. Use a name ending in .json.")
    model = read_model(args).load()
    if not args.sources:
        table = require(model.runtime, model.runtime.naming, "mask naming").name_table()
        learned = set(table.chosen(None).labels)
        untrained = sorted(set(table.words) - learned)
        print(f"{len(learned)} built-in names with training images:", *sorted(learned), sep="\n")
        print(f"\n{len(untrained)} names known from text only, found less accurately:")
        print(*untrained, sep="\n")
        return
    settings = read_options(args, ReadSettings)
    streams = [
        read(path, args.origin, args.images, **settings).with_sizes_checked()
        for path in args.sources
    ]
    counts = learn_names(model, streams, args.output, args.limit)
    for line in (line for stream in streams for line in stream.unread_lines()):
        say(line)
    summary = ", ".join(f"{label} ({count})" for label, count in sorted(counts.items()))
    say(f"wrote {args.output}: {summary}")


# fmt: off
COMMAND = Command(run, (
    Argument("sources", metavar="DATASET", nargs="*", type=Path,
        help="files or folders of labeled masks in any format of `anymask convert`. Without "
             "datasets, the known names are printed"),
    Argument("-o --output", metavar="FILE.json", type=Path,
        help="output file for the learned names; pass it as --names to segment and everything"),
    Argument("--from", dest="origin", metavar="FORMAT",
        help="format of the datasets (default: detected)"),
    Argument("--images", metavar="DIR", type=Path,
        help="folder or archive of the images; required if the annotations contain no image paths"),
    Argument("--limit", metavar="N", type=read_count, default=MAX_MASKS_PER_LABEL,
        help=f"maximum number of masks per label (default: {MAX_MASKS_PER_LABEL})"),
    Settings(ReadSettings),
    MODEL,
))
# fmt: on
