"""`anymask names`: labelled masks in, a file of one's own names out; or which names are known."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.base import InputError
from anymask.cli.options import (
    add_model_options,
    add_options,
    read_count,
    read_model,
    read_options,
)
from anymask.cli.streams import say
from anymask.formats import ReadSettings

MOST = 200  # masks of a label


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    add("sources", metavar="DATASET", nargs="*", type=Path,
        help="files or folders of labelled masks in any format of `anymask convert`; none: print "
        "the names that were learned")  # fmt: skip
    add("-o", "--output", metavar="FILE.json", type=Path,
        help="where your names go, for --names of segment and everything")  # fmt: skip
    add("--from", dest="origin", metavar="FORMAT",
        help="the data sets' format; recognised when left out")  # fmt: skip
    add("--images", metavar="DIR", type=Path,
        help="where the pictures lie, for formats that do not say it")  # fmt: skip
    add("--most", metavar="N", type=read_count, default=MOST,
        help=f"masks of a label at most (default: {MOST})")  # fmt: skip
    add_options(parser, ReadSettings)
    add_model_options(parser)


def run(args: argparse.Namespace) -> None:
    """Learn, or list. Raises InputError, DataError, ModelError."""
    from anymask.formats import read
    from anymask.jobs import learn_names
    from anymask.runtime import MaskNaming, require

    if bool(args.sources) != (args.output is not None):
        raise InputError("labelled masks and -o FILE.json belong together; give both, or none")
    model = read_model(args).load()
    if not args.sources:
        table = require(model.runtime, MaskNaming).name_table()
        words = sorted(table.chosen(None).labels)
        print(f"{len(words)} names were learned, {len(table.words)} are known by their words:")
        print(", ".join(words))
        return
    settings = read_options(args, ReadSettings)
    streams = [
        read(one, args.origin, args.images, **settings).with_sizes_checked() for one in args.sources
    ]
    counts = learn_names(model, streams, args.output, args.most)
    for line in (line for stream in streams for line in stream.unread_lines()):
        say(line)
    told = ", ".join(f"{label} ({count})" for label, count in sorted(counts.items()))
    say(f"wrote {args.output}: {told}")
