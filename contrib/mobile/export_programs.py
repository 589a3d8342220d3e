"""Write encoder and decoder of a model as torch programs with fixed shapes, for `convert.py`.

Run it in the environment of anymask: `python export_programs.py nano -o programs`. Each program has
an example with the outputs of PyTorch, which `convert.py` compares with those of the converted
model. The decoder has one prompt of `POINTS` points; pad fewer points with the label -1.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from anymask.runtime import load_module
from anymask.training.export_graphs import DecoderGraph, EncoderGraph

POINTS = 4
GIVEN = (1, 0, 2, 3)  # labels of the example: a click on and one off the object, a box


def write(name: str, graph: nn.Module, given: tuple[Tensor, ...], out: Path) -> tuple[Tensor, ...]:
    """Write a program and its example, and return the outputs."""
    with torch.no_grad():
        outputs = tuple(graph(*given))
        program = torch.export.export(graph, given)
    torch.export.save(program, out / f"{name}.pt2")
    arrays = {f"input_{i}": one.numpy() for i, one in enumerate(given)}
    arrays |= {f"output_{i}": one.numpy() for i, one in enumerate(outputs)}
    np.savez(out / f"{name}.npz", **arrays)
    print(out / f"{name}.pt2", [tuple(one.shape) for one in (*given, *outputs)])
    return outputs


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("-o", dest="out", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    module, _ = load_module(args.model, args.weights)
    spec = module.spec
    side = spec.image_side
    images = torch.randn(1, 3, side, side)
    maps = write("encoder", EncoderGraph(module).eval(), (images,), args.out)
    coords = torch.rand(1, POINTS, 2) * side
    labels = torch.tensor([GIVEN])
    masks = torch.randn(1, 1, spec.mask_side, spec.mask_side)
    maps = tuple(one.contiguous() for one in maps)
    prompts = (coords, labels, masks, torch.ones(1))
    write("decoder", DecoderGraph(module).eval(), (*maps, *prompts), args.out)


if __name__ == "__main__":
    main()
