"""`small`'s numbers as they ship: the parts and a run's learned weights in, one file out.

    python research/small/pack.py parts.safetensors learned.safetensors weights.safetensors

parts    what `convert_parts.py` wrote, or what ships; of it the vision transformer is taken
learned  averaged weights of a run, without the transformer

The transformer's matrices become 8-bit numbers with a scale for each output channel, under
NAME_scale; all else becomes float16. The file's order is that of the library: scales, then the
decoder, then the encoder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from anymask.models.nano import SMALL, Nano
from anymask.runtime import read_checkpoint

VIT = "encoder.backbone.vit."
CNN = "encoder.backbone.cnn."


def whole_state(parts: Path, learned: Path) -> dict[str, Tensor]:
    """Both files' numbers by the names of the model, float32."""
    state = {}
    for name, one in load_file(learned).items():
        plain = name.removeprefix("encoder.backbone.")
        known = name == plain or plain.startswith(("cnn.", "vit."))
        if not plain.startswith("dino."):  # the transformer under the names of an earlier trainer
            state[name if known else CNN + plain] = one.float()
    for name, one in read_checkpoint(parts).items():
        plain = name.removeprefix("encoder.backbone.")
        if plain.startswith("vit."):
            state[f"encoder.backbone.{plain}"] = one.float()
    Nano(SMALL).load_state_dict(state)  # strictly: nothing is missing, nothing left over
    return state


def packed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As they ship; see the module."""
    out = {}
    for name, one in state.items():
        if name.startswith(VIT + "blocks.") and one.dim() == 2:
            scale = one.abs().amax(dim=1) / 127
            out[name] = torch.round(one / scale[:, None]).to(torch.int8)
            out[f"{name}_scale"] = scale
        else:
            out[name] = one.half()
    return out


def main(parts: Path, learned: Path, target: Path) -> None:
    """Write the packed weights of `small`."""
    about = {"model": "small", "licence": "Apache-2.0"}
    save_file(packed(whole_state(parts, learned)), target, metadata=about)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
