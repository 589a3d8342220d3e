"""Weights with the names of transformers: SAM, SAM-HQ, SAM 2 and EdgeTAM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import anymask
from anymask import models
from anymask.base import ModelError, WeightsError
from anymask.runtime.checkpoints import detect_variant, from_transformers, load_official
from anymask.runtime.transformers_names import DUPLICATE_TENSOR, transformers_names

SAM = ("sam_vit_b", "sam_vit_l", "sam_vit_h", "sam_hq_vit_b", "sam_hq_vit_l", "sam_hq_vit_h")
SAM_2 = tuple(f"sam2{point}_hiera_{size}" for point in ("", ".1") for size in ("t", "s", "b+", "l"))
NAMED = (*SAM, *SAM_2, "edgetam")
Shapes = dict[str, tuple[int, ...]]


def to_transformers(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors under transformers' names: the table in the other direction."""
    found: dict[str, torch.Tensor] = {}
    rows: dict[str, dict[int, torch.Tensor]] = {}
    for name, part in transformers_names(state).items():
        if part.row is not None:
            rows.setdefault(part.names[0], {})[part.row] = state[name]
            continue
        pieces = state[name].chunk(len(part.names)) if len(part.names) > 1 else [state[name]]
        found |= {one: piece.clone() for one, piece in zip(part.names, pieces, strict=True)}
    return found | {
        name: torch.cat([one[row] for row in sorted(one)]) for name, one in rows.items()
    }


def meta(name: str) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return models.build(name).state_dict()


def shapes_of(state: dict[str, torch.Tensor]) -> Shapes:
    return {name: tuple(one.shape) for name, one in state.items()}


@pytest.mark.parametrize("name", NAMED)
def test_every_official_name_has_its_own_name_there(name: str, shared: Path) -> None:
    official = json.loads((shared / "golden" / f"{name}.shapes.json").read_text())
    named = transformers_names(official)
    assert list(named) == list(official)
    places = [(one, part.row) for part in named.values() for one in part.names]
    assert len(set(places)) == len(places)
    begins = {one.split(".")[0] for one, _ in places}
    assert not begins & {"image_encoder", "sam_mask_decoder", "sam_prompt_encoder"}


@pytest.mark.parametrize("name", ["sam_vit_b", "sam_hq_vit_b", "sam2.1_hiera_t", "sam2_hiera_s"])
def test_the_names_are_those_of_transformers_own_models(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        if name.startswith("sam2"):
            config: Any = transformers.Sam2VideoConfig()
            if name == "sam2_hiera_s":
                config.vision_config.backbone_config.blocks_per_stage = [1, 2, 11, 2]
                config.vision_config.backbone_config.global_attention_blocks = [7, 10, 13]
                config.enable_occlusion_spatial_embedding = False
                config.enable_temporal_pos_encoding_for_object_pointers = False
            model = transformers.Sam2VideoModel(config)
        elif "hq" in name:
            model = transformers.SamHQModel(transformers.SamHQConfig())
        else:
            model = transformers.SamModel(transformers.SamConfig())
    theirs = shapes_of(model.state_dict())
    theirs.pop(DUPLICATE_TENSOR)
    assert shapes_of(to_transformers(meta(name))) == theirs
    assert detect_variant(model.state_dict()) == name


def test_the_names_of_edgetam_are_those_of_transformers_own_parts() -> None:
    pytest.importorskip("transformers")
    from transformers import EdgeTamVideoConfig
    from transformers.models.edgetam_video import modeling_edgetam_video as theirs

    config: Any = EdgeTamVideoConfig()
    with torch.device("meta"):
        parts: dict[str, torch.nn.Module] = {
            "memory_attention": theirs.EdgeTamVideoMemoryAttention(config),
            "memory_encoder": theirs.EdgeTamVideoMemoryEncoder(config),
            "spatial_perceiver": theirs.EdgeTamVideoPerceiverResampler(config),
            "prompt_encoder": theirs.EdgeTamVideoPromptEncoder(config.prompt_encoder_config),
            "mask_decoder": theirs.EdgeTamVideoMaskDecoder(config.mask_decoder_config),
        }
    expected = {
        f"{begin}.{name}": shape
        for begin, part in parts.items()
        for name, shape in shapes_of(part.state_dict()).items()
    }
    found = shapes_of(to_transformers(meta("edgetam")))
    assert {name: one for name, one in found.items() if name.split(".")[0] in parts} == expected
    others = {name.split(".")[0] for name in found} - set(parts)
    assert others == {
        "vision_encoder", "mask_downsample", "object_pointer_proj", "no_memory_embedding",
        "no_memory_positional_encoding", "memory_temporal_positional_encoding",
        "no_object_pointer",
    }  # fmt: skip


def test_a_folder_of_transformers_is_a_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    official = models.build("edgetam").state_dict()
    folder = tmp_path / "EdgeTAM-hf"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "edgetam_video"}')
    save_file(to_transformers(official), folder / "model.safetensors")
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:30, 20:40] = 255
    found = [
        model.segment(image, points=[(30, 20)]).logits
        for model in (
            anymask.load(str(folder), runtime="torch"),
            anymask.load("edgetam", weights=folder, runtime="torch"),
        )
    ]
    np.testing.assert_array_equal(found[0], found[1])
    with pytest.raises(WeightsError, match="probably weights of edgetam"):
        anymask.load("sam2.1_hiera_t", weights=folder, runtime="torch")
    save_file({"vision_encoder.strange": torch.zeros(3)}, folder / "model.safetensors")
    with pytest.raises(ModelError, match="not supported"):
        anymask.load(str(folder))


def test_tensors_that_are_not_known_are_reported() -> None:
    model = models.build("tiny")
    state = to_transformers(model.state_dict())
    state["vision_encoder.more"] = torch.zeros(2)
    state.pop("vision_encoder.layers.0.mlp.lin1.weight")
    renamed = from_transformers(state, model.state_dict())
    assert "vision_encoder.more" in renamed
    with pytest.raises(WeightsError, match=r"missing +image_encoder\.blocks\.0\.mlp\.lin1\.weight"):
        load_official(model, state)
