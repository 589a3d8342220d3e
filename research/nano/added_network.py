"""Trainings of networks beside a model: options in, the bundle with the graph out."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from anymask.base import InputError


def open_places(args: argparse.Namespace, stored: str, what: str) -> tuple[Path, Path]:
    """The folders of the bundle that is asked and of the run, which is made.

    Raises InputError without `-o`, and for a model that is no bundle.
    """
    from anymask.runtime import find_bundle

    folder: Path | None = args.output
    if folder is None:
        raise InputError(f"-o FOLDER is needed: where {stored}, weights and the result go")
    source = find_bundle(args.model, args.weights)
    if source is None:
        raise InputError(
            f"--model {args.model}: {what} for exported models; "
            f"run: anymask export {args.model} -o FOLDER, then give --model FOLDER"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return source, folder


def tell_step(row: dict[str, float]) -> None:
    """A line about the steps since the last one."""
    print(f"step {row['step']:.0f}  {row['minutes']:.1f} min  loss {row['loss']:.4f}", flush=True)


def write_bundle_with(source: Path, target: Path, add: Callable[[Path], None]) -> None:
    """A copy of the bundle (or itself), to which `add` adds a graph."""
    from anymask.training import copy_bundle

    if target.resolve() != source.resolve():
        copy_bundle(source, target)
    add(target)
