"""Export of a video model: a model of SAM 2's families in, its further ONNX graphs out.

Letters: N objects, P points, T masks of the decoder, C channels, h w features, m side of a mask, K
tokens of memories, Cm their channels. `features` are the encoder graph's, as a picture has them.

video_attention.onnx  features (1, C, h, w), tokens (N, K, Cm), places (1, K, Cm), cosine and sine
                      (K, C / 2) -> conditioned (N, C, h, w)
video_decoder.onnx    conditioned, extras_0, ..., coords (N, P, 2), labels (N, P), masks
                      (N, 1, m, m), has_mask (N,) -> logits (N, T, m, m), quality (N, T), score
                      (N, 1), pointers (N, T, C)
video_memory.onnx     features, logits (N, 1, m, m), sharp (N,), absent (N,) -> tokens (N, K, Cm)
video.npz             what is added to memories and pointers: `runtime.onnx_video.VideoConstants`
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from anymask.base import InputError
from anymask.models.memory_attention import RecalledMemories
from anymask.models.positions import RotaryAngles
from anymask.models.video_model import Frame, VideoModel
from anymask.runtime import (
    ATTENTION,
    CONSTANTS,
    ENCODER,
    TRACK_DECODER,
    TRACK_MEMORY,
    GraphInfo,
    Manifest,
    read_manifest,
    settings_to_bytes,
)
from anymask.training.export_folder import enter_graphs
from anymask.training.export_graphs import Letters, example_prompts, write_graph


class AttentionGraph(nn.Module):
    """A frame reads its memories."""

    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, features: Tensor, tokens: Tensor, places: Tensor, cosine: Tensor, sine: Tensor
    ) -> Tensor:
        """See the module."""
        h, w = features.shape[-2:]
        frame = plain_features(self.model, features).flatten(2).transpose(1, 2)
        positions, turns = self.model._of_frame(h, w)
        recalled = RecalledMemories(tokens, places, RotaryAngles(cosine, sine))
        read: Tensor = self.model.memory_attention(frame, positions, turns, recalled)
        return read.transpose(1, 2).unflatten(2, (h, w))


class TrackDecoderGraph(nn.Module):
    """Every mask of each object, with what the choice between them needs."""

    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See the module."""
        *maps, coords, labels, masks, has_mask = inputs
        decoded = self.model._decode(tuple(maps), coords, labels, masks, has_mask)
        pointers = self.model.obj_ptr_proj(decoded.tokens)
        return decoded.logits, decoded.quality, decoded.object_score, pointers


class TrackMemoryGraph(nn.Module):
    """What a frame leaves in memory of each object."""

    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, logits: Tensor, sharp: Tensor, absent: Tensor) -> Tensor:
        """See the module."""
        frame = Frame(plain_features(self.model, features), ())
        return self.model.memory_tokens(frame, logits, sharp, absent)


def plain_features(model: VideoModel, features: Tensor) -> Tensor:
    """The features as they are without the mark of a picture that has no memory."""
    return features - model.no_mem_embed.reshape(1, -1, 1, 1)


@torch.no_grad()
def add_video_graphs(model: VideoModel, folder: Path) -> Manifest:
    """Write the graphs of a video into a bundle that `export_bundle` wrote; its new manifest.

    Raises InputError for settings that the graphs do not have.
    """
    settings, spec = model.config.settings, model.spec
    if settings.exclusive_memory or model.dtype != torch.float32:
        raise InputError(
            f"{spec.name} cannot be exported with exclusive_memory={settings.exclusive_memory} in "
            f"{model.dtype}; export it in float32 and without"
        )
    manifest, model = read_manifest(folder), model.cpu().eval()
    maps = _example_maps(manifest)
    graphs = [
        _write_attention(model, maps, folder),
        _write_decoder(model, maps, folder),
        _write_memory(model, maps, folder),
    ]
    with (folder / CONSTANTS).open("wb") as file:
        np.savez(file, **video_constants(model))  # type: ignore[arg-type]  # stub mixes up allow_pickle
    return enter_graphs(folder, *graphs, further=(CONSTANTS,))


def _example_maps(manifest: Manifest) -> dict[str, Tensor]:
    """One frame's maps, by their names."""
    return {
        one.name: torch.zeros(1, *(int(side) for side in one.shape[1:]))
        for one in manifest.graph(ENCODER).outputs
    }


def _write_attention(model: VideoModel, maps: dict[str, Tensor], folder: Path) -> GraphInfo:
    features = maps["features"]
    places, turns = model._of_memory(features.shape[-2], features.shape[-1], pool=1)
    tokens = torch.zeros(2, places.shape[1], places.shape[2])
    given = (features, tokens, places, turns.cosine, turns.sine)
    takes: dict[str, Letters] = {"features": "", "tokens": "NK", "places": (1, "K")}
    takes |= {"cosine": "K", "sine": "K"}
    dims, graph = {"K": torch.export.Dim("K", min=2)}, AttentionGraph(model).eval()
    return write_graph(ATTENTION, graph, given, takes, {"conditioned": "N"}, folder, dims)


def _write_decoder(model: VideoModel, maps: dict[str, Tensor], folder: Path) -> GraphInfo:
    features, *fine = maps.values()
    prompts = example_prompts(model.spec, 2, 2)
    given = (features.repeat(2, 1, 1, 1), *fine, *prompts)
    takes = {"conditioned": "N", **dict.fromkeys(list(maps)[1:], "")}
    takes |= {"coords": "NP", "labels": "NP", "masks": "N", "has_mask": "N"}
    gives = dict.fromkeys(("logits", "quality", "score", "pointers"), "N")
    return write_graph(TRACK_DECODER, TrackDecoderGraph(model).eval(), given, takes, gives, folder)


def _write_memory(model: VideoModel, maps: dict[str, Tensor], folder: Path) -> GraphInfo:
    graph, m = TrackMemoryGraph(model).eval(), model.spec.mask_side
    given = (maps["features"], torch.zeros(2, 1, m, m), torch.zeros(2), torch.zeros(2))
    takes = {"features": "", "logits": "N", "sharp": "N", "absent": "N"}
    return write_graph(TRACK_MEMORY, graph, given, takes, {"tokens": "N"}, folder)


def video_constants(model: VideoModel) -> dict[str, NDArray[Any]]:
    """What the graphs leave to their runner, by name, with the family's settings."""
    side = model.spec.image_side // 16
    places, turns = model._of_memory(side, side, pool=1)
    tensors = {
        "ages": model.maskmem_tpos_enc[:, 0, 0],
        "no_object": model.no_obj_ptr,
        "no_memory": model.no_mem_embed[0, 0],
        "mask_weight": model.mask_downsample.weight[0, 0],
        "mask_bias": model.mask_downsample.bias,
        "places": places,
        "cosine": turns.cosine,
        "sine": turns.sine,
    }
    if model.config.settings.pointer_times != "none":
        tensors |= {
            "times_weight": model.obj_ptr_tpos_proj.weight,
            "times_bias": model.obj_ptr_tpos_proj.bias,
        }
    arrays: dict[str, NDArray[Any]] = {
        name: tensor.detach().float().numpy()
        for name, tensor in tensors.items()
        if tensor is not None
    }
    return arrays | {"settings": settings_to_bytes(model.config.settings)}
