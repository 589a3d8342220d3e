"""Convert the programs of `export_programs.py` to TFLite or Core ML, and compare the outputs.

Run it in a separate environment, because the converters require other versions of packages:
`python convert.py programs --to tflite -o mobile`. It does not require anymask. It prints the
largest difference from PyTorch, relative to the largest value of the output, and exits with 1 if
one exceeds `LIMIT`. Core ML models run only on macOS: elsewhere they are written, not compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

NAMES = ("encoder", "decoder")
LIMIT = 1e-3


def example(folder: Path, name: str, kind: str) -> list[Any]:
    """Inputs or outputs of a program's example."""
    with np.load(folder / f"{name}.npz") as arrays:
        count = sum(key.startswith(kind) for key in arrays.files)
        return [arrays[f"{kind}_{number}"] for number in range(count)]


def difference(found: Sequence[Any], expected: Sequence[Any]) -> float:
    """Largest difference of all outputs, relative to the largest value of each."""
    return max(
        float(np.abs(np.asarray(one) - two).max() / np.abs(two).max())
        for one, two in zip(found, expected, strict=True)
    )


def to_tflite(folder: Path, name: str, out: Path) -> float:
    """Write NAME.tflite, and return its difference from PyTorch."""
    import litert_torch
    import torch
    from ai_edge_litert.interpreter import Interpreter

    given = example(folder, name, "input")
    program = torch.export.load(folder / f"{name}.pt2")
    converted = litert_torch.convert(program.module(), tuple(map(torch.from_numpy, given)))
    path = out / f"{name}.tflite"
    converted.export(str(path))
    interpreter = Interpreter(model_path=str(path))
    run = interpreter.get_signature_runner()
    details = run.get_input_details()
    inputs = zip(sorted(details, key=place), given, strict=True)
    found = run(**{key: value.astype(details[key]["dtype"]) for key, value in inputs})
    outputs = [found[key] for key in sorted(found, key=place)]
    return difference(outputs, example(folder, name, "output"))


def place(key: str) -> int:
    """Number at the end of the name of an input or output."""
    return int(key.rpartition("_")[2])


def to_coreml(folder: Path, name: str, out: Path) -> float | None:
    """Write NAME.mlpackage, and return its difference from PyTorch, None except on macOS."""
    import coremltools as ct
    import torch

    similarity = torch.ops.aten.cosine_similarity.default  # not supported with its default epsilon
    table = {similarity: torch.export.default_decompositions()[similarity]}
    program = torch.export.load(folder / f"{name}.pt2").run_decompositions(table)
    model = ct.convert(
        program, minimum_deployment_target=ct.target.iOS16, compute_precision=ct.precision.FLOAT32
    )
    model.save(str(out / f"{name}.mlpackage"))
    if sys.platform != "darwin":
        return None
    spec = model.get_spec().description
    given = zip((one.name for one in spec.input), example(folder, name, "input"), strict=True)
    found = model.predict(dict(given))
    return difference([found[one.name] for one in spec.output], example(folder, name, "output"))


TARGETS = {"tflite": to_tflite, "coreml": to_coreml}


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", type=Path)
    parser.add_argument("--to", choices=TARGETS, required=True)
    parser.add_argument("-o", dest="out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    far = 0.0
    for name in NAMES:
        found = TARGETS[args.to](args.programs, name, args.out)
        print(name, "written, not run here" if found is None else f"difference {found:.1e}")
        far = max(far, found or 0.0)
    return int(far > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
