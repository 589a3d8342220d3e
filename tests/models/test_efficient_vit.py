"""EfficientSAM's ViT: against transformers' SAM encoder; the reference is in tests/golden.

SAM's encoder with global attention everywhere and no relative positions is the same plain ViT, in
code that nobody here wrote.
"""

import pytest
import torch
from torch.nn import functional as F

from anymask.models.efficient_vit import TINY, EfficientVit, EfficientVitConfig, grid_positions
from tests.models.encoder_parity import noise, randomise, relative_error


def tiny(config: EfficientVitConfig = TINY) -> EfficientVit:
    model = randomise(EfficientVit(config))
    assert isinstance(model, EfficientVit)
    return model


TRANSFORMERS_NAMES = {
    "patch_embed.proj": "patch_embed.projection",
    "blocks.": "layers.",
    ".norm1.": ".layer_norm1.",
    ".norm2.": ".layer_norm2.",
    ".mlp.fc": ".mlp.lin",
    "neck.0": "neck.conv1",
    "neck.1": "neck.layer_norm1",
    "neck.2": "neck.conv2",
    "neck.3": "neck.layer_norm2",
}


def transformers_name(name: str) -> str:
    for ours, theirs in TRANSFORMERS_NAMES.items():
        name = name.replace(ours, theirs)
    return name


@pytest.mark.parametrize("grid", [3, 5])
def test_it_equals_the_independent_implementation(grid: int) -> None:
    sam = pytest.importorskip("transformers.models.sam.modeling_sam")
    model = tiny()
    side = grid * TINY.patch
    config = sam.SamVisionConfig(
        hidden_size=TINY.width,
        output_channels=TINY.out_channels,
        num_hidden_layers=TINY.depth,
        num_attention_heads=TINY.heads,
        image_size=side,
        patch_size=TINY.patch,
        mlp_dim=TINY.width * TINY.expansion,
        use_rel_pos=False,
        window_size=0,
        global_attn_indexes=list(range(TINY.depth)),
    )
    oracle = sam.SamVisionEncoder(config).eval()
    weights = {transformers_name(name): value for name, value in model.state_dict().items()}
    weights["pos_embed"] = grid_positions(model.pos_embed, (grid, grid)).permute(0, 2, 3, 1)
    oracle.load_state_dict(weights, strict=True)
    images = noise(2, 3, side, side)

    with torch.inference_mode():
        expected = oracle(images).last_hidden_state
        assert relative_error(model(images)[0], expected) <= 1e-5


def test_positions_of_the_pretraining_grid_are_taken_as_they_are() -> None:
    positions = noise(1, 10, 4)

    grid = grid_positions(positions, (3, 3))

    assert torch.equal(grid.flatten(2).transpose(1, 2), positions[:, 1:])


def test_resampled_positions_keep_a_constant_and_forget_the_class_token() -> None:
    positions = torch.full((1, 10, 4), 2.5)
    positions[:, 0] = 1e6

    grid = grid_positions(positions, (7, 4))

    assert grid.shape == (1, 4, 7, 4)
    assert torch.allclose(grid, torch.tensor(2.5))


def test_resampling_is_bicubic_between_pixel_centres() -> None:
    positions = noise(1, 10, 4)
    image = positions[0, 1:].T.reshape(1, 4, 3, 3)

    expected = F.interpolate(image, (6, 6), mode="bicubic", align_corners=False)

    assert torch.allclose(grid_positions(positions, (6, 6)), expected)
