"""`anymask names`: labelled masks in, a file of one's own names out; or which names are known."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import InputError, follow
from anymask.cli.options import add_model_options, read_count, read_model

if TYPE_CHECKING:
    from anymask.base import FloatArray
    from anymask.formats import Dataset
    from anymask.segment import Model

SUMMARY = "learn your own names of masks from labelled ones, or list those known"
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
    add_model_options(parser)


def run(args: argparse.Namespace) -> None:
    """Learn, or list. Raises InputError, DataError, ModelError."""
    from anymask.runtime import MaskNaming, require
    from anymask.segment import write_own_names

    if bool(args.sources) != (args.output is not None):
        raise InputError("labelled masks and -o FILE.json belong together; give both, or none")
    model = read_model(args).load()
    table = require(model.runtime, MaskNaming).name_table()
    if not args.sources:
        words = sorted(table.chosen(None).labels)
        print(f"{len(words)} names were learned, {len(table.words)} are known by their words:")
        print(", ".join(words))
        return
    if args.output.suffix.lower() != ".json":
        raise InputError(f"-o {args.output}: wanted the name of a .json file")
    from anymask.formats import read

    streams = [read(source, args.origin, args.images, None) for source in args.sources]
    counts = write_own_names(args.output, table, labelled_vectors(model, streams, args.most))
    told = ", ".join(f"{label} ({count})" for label, count in sorted(counts.items()))
    print(f"wrote {args.output}: {told}")


def labelled_vectors(
    model: Model, streams: list[Dataset], most: int
) -> Iterator[tuple[str, FloatArray]]:
    """Labels and the vectors of some of their masks, (n, D), photo by photo."""
    from anymask.segment import mask_vectors

    counts: dict[str, int] = {}
    for stream in streams:
        for image in follow(stream, "photos", stream.length()):
            chosen = []
            for mask in image.objects:
                if mask.label is not None and counts.get(mask.label, 0) < most:
                    counts[mask.label] = counts.get(mask.label, 0) + 1
                    chosen.append(mask)
            if chosen:
                photo = stream.pixels(image)
                vectors = mask_vectors(model.runtime, photo, [one.rle for one in chosen])
                for mask, vector in zip(chosen, vectors, strict=True):
                    assert mask.label is not None
                    yield mask.label, vector[None]
