"""`anymask export`: write a model as two ONNX graphs that run without torch and without anymask."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from anymask.cli.output_names import new_folder
from anymask.families import DEFAULT_MODEL
from anymask.primitives.errors import ModelError
from anymask.primitives.storage import write_json

if TYPE_CHECKING:
    from torch import nn

    from anymask.export.verify import Verification
    from anymask.primitives.spec import ModelSpec
    from anymask.runtimes.manifest import Manifest

SUMMARY = "write a model as ONNX graphs with a manifest and an example that runs them"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("name", metavar="NAME", help="a model of `anymask models list`")
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=new_folder, required=True, help="the folder to write"
    )
    parser.add_argument(
        "--weights", metavar="FILE", type=Path, help="a checkpoint instead of the one in the store"
    )
    parser.add_argument(
        "--int8", action="store_true", help="the encoder's matrix products in 8 bits"
    )
    parser.add_argument(
        "--video", action="store_true",
        help="the graphs of a video's steps too, for `anymask track --model DIR` without torch",
    )  # fmt: skip
    parser.add_argument(
        "--verify",
        action="store_true",
        help="compare with the checkpoint on several pictures and prompts; exit code 2 if it fails",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here too")


def run(args: argparse.Namespace) -> None:
    """Export, report, and verify where asked.

    Raises ModelError when the exported graphs do not agree with the checkpoint.
    """
    from anymask.runtimes.open import split_side

    if args.int8 and split_side(args.name)[0] == DEFAULT_MODEL:
        raise ModelError(
            f"{DEFAULT_MODEL} is not offered in 8 bits: its work is convolutions, which --int8 "
            "leaves in float32, so nothing would be gained; export it without --int8"
        )
    name, side = split_side(args.name)
    shipped = name == DEFAULT_MODEL and args.weights is None and not args.video
    manifest = _copy(args, side) if shipped else _export(args)
    report = describe(manifest, args.output)
    print(report_to_text(report))
    verification = _verify(args) if args.verify else None
    if args.json:
        report["verification"] = verification.to_dict() if verification else None
        write_json(args.json, report, indent=2)
    if verification and not verification.passed:
        raise ModelError(
            f"the graphs in {args.output} do not agree with the checkpoint: "
            f"{'; '.join(verification.complaints())}; do not use them"
            + (", export without --int8" if args.int8 else "")
        )


def describe(manifest: Manifest, folder: Path) -> dict[str, Any]:
    """The figures of a written bundle."""
    return {
        "name": manifest.spec.name,
        "folder": str(folder),
        "licence": manifest.licence,
        "precision": manifest.precision,
        "opset": manifest.opset,
        "weights_hash": manifest.weights_hash,
        "bytes": {name: (folder / name).stat().st_size for name in manifest.sha256},
        "sha256": dict(manifest.sha256),
    }


def report_to_text(report: dict[str, Any]) -> str:
    """What `run` prints after writing."""
    lines = [f"{report['name']} ({report['precision']}) -> {report['folder']}"]
    lines += [f"  {name:<14} {size / 1e6:8.1f} MB" for name, size in report["bytes"].items()]
    lines += [f"  {'licence':<14} {report['licence']}", "  how to run it:  README.md, example.py"]
    return "\n".join(lines)


def _copy(args: argparse.Namespace, side: int | None) -> Manifest:
    """The model of the package has been exported already, for any side."""
    from anymask.export.folder import copy_bundle
    from anymask.weights.store import bundled

    folder = bundled().path
    assert folder is not None
    return copy_bundle(folder, args.output, side)


def _export(args: argparse.Namespace) -> Manifest:
    from anymask.export.graphs import export_bundle
    from anymask.runtimes.open import load_module, named_weights, split_side
    from anymask.weights.licences import licence_of_weights

    print(f"reading {args.name} ...", file=sys.stderr)
    module, weights_hash = load_module(args.name, args.weights)
    _check_video(args, module)
    print("writing the graphs ...", file=sys.stderr)
    name, file = named_weights(split_side(args.name)[0], args.weights)
    manifest = export_bundle(
        module,
        cast("ModelSpec", module.spec),
        args.output,
        licence=licence_of_weights(name, None if file is None else Path(file), weights_hash),
        weights_hash=weights_hash,
        int8=args.int8,
    )
    return _add_video(args, module) if args.video else manifest


def _check_video(args: argparse.Namespace, module: nn.Module) -> None:
    """Raises ModelError for --video with a model of single photos."""
    from anymask.models.video_model import VideoModel

    if args.video and not isinstance(module, VideoModel):
        raise ModelError(
            f"{args.name} is no video model, and --video needs one (SAM 2, EdgeTAM, EfficientTAM); "
            "leave it out: `anymask track` follows objects with image models, too"
        )


def _add_video(args: argparse.Namespace, module: nn.Module) -> Manifest:
    from anymask.export.video_graphs import add_video_graphs
    from anymask.models.video_model import VideoModel

    return add_video_graphs(cast(VideoModel, module), args.output)


def _verify(args: argparse.Namespace) -> Verification:
    from anymask.export.verify import verify_bundle
    from anymask.runtimes.open import load_module

    module, _ = load_module(args.name, args.weights)
    print("verifying ...", file=sys.stderr)
    verification = verify_bundle(module, args.output)
    print(verification.to_table())
    print("verified" if verification.passed else "NOT verified")
    return verification
