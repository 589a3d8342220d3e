"""`anymask export`: write a model as graphs that run without torch and anymask."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import need_packages
from anymask.cli.command import Argument, Command
from anymask.cli.outputs import new_folder

if TYPE_CHECKING:
    from anymask.runtime import Manifest


def run(args: argparse.Namespace) -> None:
    """Export, report, and verify if requested. Raises as `training.export`."""
    if args.verify:
        need_packages(("torch",), "torch", "--verify")
    from anymask.runtime import read_manifest
    from anymask.training.export_folder import export

    print(f"Exporting {args.name} to {args.output} ...", file=sys.stderr)
    options = {name: getattr(args, name) for name in ("weights", "int8", "video", "runtime")}
    export(args.name, args.output, **options)
    print(describe(read_manifest(args.output), args.output))
    if args.verify:
        from anymask.training.export_verify import verify_export

        print("verifying ...", file=sys.stderr)
        verification = verify_export(args.name, args.output, args.weights)
        print(verification.to_table())
        print("verified" if verification.passed else "NOT verified")
        verification.check(args.output)


def describe(manifest: Manifest, folder: Path) -> str:
    """Return the files of a written bundle with their sizes, and its licence."""
    from anymask.models.rules import DEFAULT_VIDEO_MODEL

    width = max(map(len, [*manifest.sha256, "licence"]))
    sizes = {name: (folder / name).stat().st_size for name in manifest.sha256}
    lines = [f"{manifest.spec.name} ({manifest.precision}) -> {folder}"]
    lines += [f"  {name:<{width}} {size / 1e6:8.1f} MB" for name, size in sizes.items()]
    if manifest.refers:
        browser = f"not supported (separate weights). Export {DEFAULT_VIDEO_MODEL} for it"
        lines += [f"  {'browser':<{width}} {browser}"]
    lines += [f"  {'licence':<{width}} {manifest.licence}", f"  {'usage':<{width}} README.md"]
    return "\n".join(lines)


# fmt: off
COMMAND = Command(run, (
    Argument("name", metavar="NAME", help="model name (see `anymask models list`)"),
    Argument("-o --output", metavar="DIR", type=new_folder, required=True, help="output folder"),
    Argument("--weights", metavar="FILE", type=Path,
        help="checkpoint file (default: the downloaded weights)"),
    Argument("--int8", action="store_true",
        help="quantize the matrix multiplications of the encoder to 8 bits"),
    Argument("--runtime", choices=("onnxruntime", "any"), default="onnxruntime",
        help="program that runs the graphs: onnxruntime permits its fused operators, any writes "
             "standard ONNX operators only (default: onnxruntime)"),
    Argument("--video", action="store_true",
        help="also export the video graphs, for `anymask track --model DIR` without PyTorch"),
    Argument("--verify", action="store_true",
        help="compare the exported model with the checkpoint on several images and prompts "
             "(requires PyTorch); the exit code is 2 if they differ"),
))
# fmt: on
