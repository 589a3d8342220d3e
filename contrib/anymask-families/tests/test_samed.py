"""SAMed's files: the change of the encoder is that of its formula, and the tokens are classes."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from anymask import models
from anymask.base import WeightsError
from anymask.models.class_head import class_logits
from anymask.runtime import load_official, read_checkpoint
from anymask_families.samed import samed_model

RANK, CLASSES, SIDE = 2, 3, 32


@pytest.fixture
def base() -> dict[str, torch.Tensor]:
    """Random weights of the tiny SAM."""
    torch.manual_seed(0)
    return {
        name: torch.randn_like(one) * 0.2 for name, one in models.build("tiny").state_dict().items()
    }


@pytest.fixture
def changes(base: dict[str, torch.Tensor], tmp_path: Path) -> dict[str, torch.Tensor]:
    """File with the names that SAMed saves, read again."""
    C = base["image_encoder.blocks.0.attn.qkv.weight"].shape[1]
    depth = 1 + max(int(name.split(".")[2]) for name in base if "blocks." in name)
    made = {name: one for name, one in base.items() if not name.startswith("image_encoder.")}
    for name in [name for name in made if "output_hypernetworks_mlps.0." in name]:
        for number in range(1 + CLASSES):
            made[name.replace("mlps.0", f"mlps.{number}")] = torch.randn_like(made[name])
    for name in ("mask_tokens.weight", "iou_prediction_head.layers.2.weight",
                 "iou_prediction_head.layers.2.bias"):  # fmt: skip
        one = made[f"mask_decoder.{name}"]
        made[f"mask_decoder.{name}"] = torch.randn(1 + CLASSES, *one.shape[1:])
    for number in range(2 * depth):
        made[f"w_a_{number:03d}"] = torch.randn(RANK, C)
        made[f"w_b_{number:03d}"] = torch.randn(C, RANK)
    torch.save(made, tmp_path / "epoch_159.pth")
    return read_checkpoint(tmp_path / "epoch_159.pth")


def test_the_change_of_queries_and_values_is_that_of_the_formula(
    base: dict[str, torch.Tensor], changes: dict[str, torch.Tensor]
) -> None:
    model, state = samed_model("tiny", changes, base, 64)  # the side of SAM: no resizing
    load_official(model, state)
    plain = models.build("tiny")
    load_official(plain, base)
    for number, block in enumerate(plain.image_encoder.blocks):
        block.attn.qkv.register_forward_hook(low_rank(changes, number))
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = model.encode(image)[0], plain.encode(image)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def low_rank(changes: dict[str, torch.Tensor], block: int):
    """Hook that adds B A x to the queries and to the values, as in the paper."""

    def add(layer: torch.nn.Linear, inputs: tuple[torch.Tensor], output: torch.Tensor):
        C = layer.in_features
        parts = list(output.split(C, dim=-1))
        for which, number in ((0, 2 * block), (2, 2 * block + 1)):
            inner = inputs[0] @ changes[f"w_a_{number:03d}"].T
            parts[which] = parts[which] + inner @ changes[f"w_b_{number:03d}"].T
        return torch.cat(parts, dim=-1)

    return add


def test_tokens_are_classes_and_positions_are_resized(
    base: dict[str, torch.Tensor], changes: dict[str, torch.Tensor]
) -> None:
    model, state = samed_model("tiny", changes, base, SIDE)
    load_official(model, state)
    assert model.spec.classes == ("class 1", "class 2", "class 3")
    with torch.no_grad():
        maps = model.encode(torch.randn(1, 3, SIDE, SIDE))
        logits = class_logits(model, maps)
    assert logits.shape == (1, 1 + CLASSES, SIDE // 2, SIDE // 2)
    whole = base["image_encoder.pos_embed"]  # halved bilinearly: means of 2 x 2 cells
    mean = F.avg_pool2d(whole.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    torch.testing.assert_close(state["image_encoder.pos_embed"], mean)


@pytest.mark.parametrize("name", ["tiny_edge", "sam_vit_l"])
def test_another_encoder_is_an_error(
    name: str, base: dict[str, torch.Tensor], changes: dict[str, torch.Tensor]
) -> None:
    with pytest.raises(WeightsError, match="24 channels"):
        samed_model(name, changes, base, SIDE)


def test_a_missing_block_is_an_error(
    base: dict[str, torch.Tensor], changes: dict[str, torch.Tensor]
) -> None:
    del changes["w_b_003"]
    with pytest.raises(WeightsError, match="w_b_003"):
        samed_model("tiny", changes, base, SIDE)
