"""The registry: every family by name, with the official parameter names."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from anymask import models
from anymask.base import MissingExtra, ModelError

# name -> whose shapes in ../shared/golden
OFFICIAL = {
    "sam_vit_b": "sam_vit_b",
    "sam_vit_l": "sam_vit_l",
    "sam_vit_h": "sam_vit_h",
    "medsam": "sam_vit_b",
    "sam_med2d_b": "sam_med2d_b",
    "mobile_sam": "mobile_sam",
    "tinysam": "mobile_sam",
    "sam_hq_vit_b": "sam_hq_vit_b",
    "sam_hq_vit_l": "sam_hq_vit_l",
    "sam_hq_vit_h": "sam_hq_vit_h",
    "sam_hq_vit_tiny": "sam_hq_vit_tiny",
    "edge_sam": "edge_sam",
    "edge_sam_3x": "edge_sam",
    "efficient_sam_ti": "efficient_sam_ti",
    "efficient_sam_s": "efficient_sam_s",
    "sam2_hiera_t": "sam2_hiera_t",
    "sam2_hiera_s": "sam2_hiera_s",
    "sam2_hiera_b+": "sam2_hiera_b+",
    "sam2_hiera_l": "sam2_hiera_l",
    "sam2.1_hiera_t": "sam2.1_hiera_t",
    "sam2.1_hiera_s": "sam2.1_hiera_s",
    "sam2.1_hiera_b+": "sam2.1_hiera_b+",
    "sam2.1_hiera_l": "sam2.1_hiera_l",
    "medsam2": "sam2.1_hiera_t",
    "edgetam": "edgetam",
    "efficienttam_ti": "efficienttam_ti",
    "efficienttam_s": "efficienttam_s",
    "efficienttam_ti_512x512": "efficienttam_ti_512x512",
    "efficienttam_s_512x512": "efficienttam_s_512x512",
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_parameter_names_and_shapes_are_the_official_ones(name: str, shared: Path) -> None:
    stored = json.loads((shared / "golden" / f"{OFFICIAL[name]}.shapes.json").read_text("utf-8"))
    with torch.device("meta"):
        model = models.build(name)
    ours = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert ours == {key.removeprefix("model."): shape for key, shape in stored.items()}


@pytest.mark.parametrize("name", [*OFFICIAL, "tiny", "tiny_hq", "tiny_video", "tiny_edge"])
def test_a_model_knows_its_own_spec_and_is_ready_to_use(name: str) -> None:
    with torch.device("meta"):
        model = models.build(name)
    assert model.spec == models.spec(name)
    assert model.spec.name == name
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("call", [models.build, models.spec])
def test_an_unknown_name_is_told_what_was_wanted_what_came_and_the_nearest(call: object) -> None:
    assert callable(call)
    for name, told in (
        ("sam_vit_bb", r"'sam_vit_bb'. Did you mean 'sam_vit_b'\? Available"),
        ("yolo", "'yolo'.*mobile_sam"),
    ):
        with pytest.raises(ModelError, match=f"Unknown model {told}"):
            call(name)


def test_without_torch_a_model_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(MissingExtra, match=r"pip install 'anymask\[torch\]'"):
        models.names()
