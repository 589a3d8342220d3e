"""The result of a training: a module in, one safetensors file that says what it is out.

The file's metadata has a key "anymask" with JSON: format, variant, licence, data, recipe, figures,
and channels where pictures are no photos.
`anymask.load(FILE)` opens it; nothing in it is executed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from anymask.primitives.errors import AnymaskError
from anymask.primitives.storage import whole_file
from anymask.weights.formats import ABOUT

FORMAT = 1


def write_result(path: Path, module: nn.Module, variant: str, about: dict[str, Any]) -> None:
    """Write the weights whole or not at all.

    variant  the network's name
    about    "licence", "data", "recipe", "figures": plain values; "channels": the mix in front of
             the network, where pictures are no photos (`primitives.channel_mix`)
    """
    from safetensors.torch import save

    tensors = {name: t.detach().cpu().contiguous() for name, t in module.state_dict().items()}
    text = json.dumps({"format": FORMAT, "variant": variant, **about})
    with whole_file(path) as file:
        file.write(save(tensors, metadata={"format": "pt", ABOUT: text}))


def check_result(path: Path, module: nn.Module) -> None:
    """Raises AnymaskError where a written file does not hold the very tensors of the module."""
    from safetensors.torch import load_file

    kept, wanted = load_file(path), module.state_dict()
    wrong = [
        name
        for name in sorted(kept.keys() | wanted.keys())
        if name not in kept
        or name not in wanted
        or not torch.equal(kept[name], wanted[name].detach().cpu())
    ]
    if wrong:
        raise AnymaskError(
            f"{path}: {len(wrong)} of {len(wanted)} tensors are not as they were learned, such as "
            f"{wrong[0]}; run the same command again, and report it where it stays so"
        )
