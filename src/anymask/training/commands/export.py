"""`anymask export`: write a model as graphs that run without torch and anymask."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.base import need_packages, write_json
from anymask.cli import Argument, Command, new_folder

if TYPE_CHECKING:
    from anymask.runtime import Manifest


def run(args: argparse.Namespace) -> None:
    """Export, report, and verify if requested. Raises as `training.export`."""
    if args.verify:
        need_packages(("torch",), "torch", "--verify")
    from anymask.runtime import read_manifest
    from anymask.training.export_folder import export

    print(f"Exporting {args.name} to {args.output} ...", file=sys.stderr)
    options = {name: getattr(args, name) for name in ("weights", "int8", "video")}
    export(args.name, args.output, **options)
    report = describe(read_manifest(args.output), args.output)
    print(report_to_text(report))
    verification = None
    if args.verify:
        from anymask.training.export_verify import verify_export

        print("verifying ...", file=sys.stderr)
        verification = verify_export(args.name, args.output, args.weights)
        print(verification.to_table())
        print("verified" if verification.passed else "NOT verified")
    if args.json:
        report["verification"] = verification.to_dict() if verification else None
        write_json(args.json, report, indent=2)
    if verification:
        verification.check(args.output)


def describe(manifest: Manifest, folder: Path) -> dict[str, Any]:
    """Return licence, settings, file sizes and hashes of a written bundle."""
    taken = ("licence", "precision", "opset", "weights_hash")
    return {"name": manifest.spec.name, "folder": str(folder)} | {
        **{name: getattr(manifest, name) for name in taken},
        "bytes": {name: (folder / name).stat().st_size for name in manifest.sha256},
        "sha256": dict(manifest.sha256),
    }


def report_to_text(report: dict[str, Any]) -> str:
    """Return the text that `run` prints after writing."""
    lines = [f"{report['name']} ({report['precision']}) -> {report['folder']}"]
    facts = {"licence": report["licence"], "usage": "README.md"}
    width = max(map(len, [*report["bytes"], "licence"]))
    lines += [f"  {name:<{width}} {size / 1e6:8.1f} MB" for name, size in report["bytes"].items()]
    lines += [f"  {key:<{width}} {text}" for key, text in facts.items()]
    return "\n".join(lines)


# fmt: off
COMMAND = Command(run, (
    Argument("name", metavar="NAME", help="model name (see `anymask models list`)"),
    Argument("-o --output", metavar="DIR", type=new_folder, required=True, help="output folder"),
    Argument("--weights", metavar="FILE", type=Path,
        help="checkpoint file (default: the downloaded weights)"),
    Argument("--int8", action="store_true",
        help="quantize the matrix multiplications of the encoder to 8 bits"),
    Argument("--video", action="store_true",
        help="also export the video graphs, for `anymask track --model DIR` without PyTorch"),
    Argument("--verify", action="store_true",
        help="compare the exported model with the checkpoint on several images and prompts "
             "(requires PyTorch); the exit code is 2 if they differ"),
    Argument("--json", metavar="FILE", type=Path,
        help="also write the comparison report to this JSON file"),
))
# fmt: on
