"""A tiny random SAM and SAM-HQ against transformers' independent implementations."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu
from transformers import (
    SamConfig,
    SamHQConfig,
    SamHQMaskDecoderConfig,
    SamHQModel,
    SamHQPromptEncoderConfig,
    SamHQVisionConfig,
    SamMaskDecoderConfig,
    SamModel,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

from anymask import models
from anymask.models.variants import TINY, TINY_VIT
from anymask.runtime.checkpoints import load_official

TOLERANCE = 2e-5

VISION = {
    "hidden_size": TINY_VIT.dim,
    "num_hidden_layers": TINY_VIT.depth,
    "num_attention_heads": TINY_VIT.heads,
    "image_size": TINY_VIT.image_side,
    "patch_size": TINY_VIT.patch,
    "window_size": TINY_VIT.window,
    "global_attn_indexes": list(TINY_VIT.global_blocks),
    "output_channels": TINY_VIT.out_dim,
    "num_pos_feats": TINY_VIT.out_dim // 2,
    "mlp_dim": 4 * TINY_VIT.dim,
}
PROMPT = {
    "hidden_size": TINY_VIT.out_dim,
    "image_size": TINY_VIT.image_side,
    "patch_size": TINY_VIT.patch,
}
DECODER = {
    "hidden_size": TINY_VIT.out_dim,
    "num_attention_heads": TINY.decoder.transformer.heads,
    "mlp_dim": TINY.decoder.transformer.mlp_dim,
    "iou_head_hidden_dim": TINY_VIT.out_dim,
}


def same_weights(theirs: torch.nn.Module, name: str) -> torch.nn.Module:
    """Our tiny model with random weights that are also put into `theirs`."""
    torch.manual_seed(7)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    ours = models.build(name)
    load_official(ours, theirs.state_dict())
    return ours


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def sam() -> SamModel:
    config = SamConfig(
        vision_config=SamVisionConfig(**VISION),
        prompt_encoder_config=SamPromptEncoderConfig(**PROMPT),
        mask_decoder_config=SamMaskDecoderConfig(**DECODER),
    )
    return SamModel(config).eval()


def sam_hq() -> SamHQModel:
    config = SamHQConfig(
        vision_config=SamHQVisionConfig(**VISION),
        prompt_encoder_config=SamHQPromptEncoderConfig(**PROMPT),
        mask_decoder_config=SamHQMaskDecoderConfig(**DECODER, vit_dim=TINY_VIT.dim),
    )
    return SamHQModel(config).eval()


# N = 2 prompts: (points, labels, boxes), as the official predictor combines them
CASES = {
    "points": (torch.tensor([[[9.0, 30.0]], [[50.5, 7.0]]]), torch.tensor([[1], [0]]), None),
    "boxes": (None, None, torch.tensor([[4.0, 8.0, 40.0, 50.0], [20.0, 1.0, 60.0, 33.0]])),
    "both": (
        torch.tensor([[[9.0, 30.0], [3.0, 3.0]], [[50.5, 7.0], [60.0, 60.0]]]),
        torch.tensor([[1, 0], [1, 1]]),
        torch.tensor([[4.0, 8.0, 40.0, 50.0], [20.0, 1.0, 60.0, 33.0]]),
    ),
}


def as_labeled_points(
    points: Tensor | None, labels: Tensor | None, boxes: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Our prompts: box corners are points 2 and 3, and prompts without a box get a "no point"."""
    coords = torch.zeros(2, 0, 2) if points is None else points
    kinds = torch.zeros(2, 0, dtype=torch.int64) if labels is None else labels
    if boxes is None:
        more, names = torch.zeros(2, 1, 2), torch.full((2, 1), -1)
    else:
        more, names = boxes.reshape(2, 2, 2), torch.tensor([[2, 3], [2, 3]])
    return torch.cat([coords, more], dim=1), torch.cat([kinds, names], dim=1)


def prompts_of(case: str, mask: Tensor | None) -> dict[str, Tensor]:
    """The same prompts for transformers: a batch of one image."""
    points, labels, boxes = CASES[case]
    given = {"input_points": points, "input_labels": labels, "input_boxes": boxes}
    prompts = {name: value[None] for name, value in given.items() if value is not None}
    return prompts if mask is None else prompts | {"input_masks": mask}


def answer(
    model: torch.nn.Module, images: Tensor, case: str, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    masks = torch.zeros(1, 1, 32, 32) if mask is None else mask
    has_mask = torch.tensor([0.0 if mask is None else 1.0])
    return model.decode(model.encode(images), *as_labeled_points(*CASES[case]), masks, has_mask)


@pytest.fixture(scope="module")
def mask() -> Tensor:
    return torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(2)) * 5


@torch.inference_mode()
def test_the_tiny_vit_encodes_as_transformers_does(images: Tensor) -> None:
    theirs = sam()
    ours = same_weights(theirs, "tiny")
    expected = theirs.get_image_embeddings(images)
    assert (ours.encode(images)[0] - expected).abs().max() <= TOLERANCE * expected.abs().max()


@pytest.mark.parametrize("with_mask", [False, True], ids=["no mask", "mask"])
@pytest.mark.parametrize("case", CASES)
@torch.inference_mode()
def test_sam_answers_as_transformers_does(
    images: Tensor, mask: Tensor, case: str, with_mask: bool
) -> None:
    theirs = sam()
    ours = same_weights(theirs, "tiny")
    given = mask if with_mask else None
    logits, quality = answer(ours, images, case, given)
    for multimask, kept in ((True, slice(1, 4)), (False, slice(0, 1))):
        expected = theirs(images, **prompts_of(case, given), multimask_output=multimask)
        assert_near(logits[:, kept], expected.pred_masks[0])
        assert_near(quality[:, kept], expected.iou_scores[0])


# transformers 5.23 draws SAM-HQ's masks from the image as it was before the two-way transformer, so
# only what comes before that is an oracle; the golden tests compare the masks with sam-hq itself.


@torch.inference_mode()
def test_sam_hq_makes_the_fine_map_as_transformers_does(images: Tensor) -> None:
    theirs = sam_hq()
    ours = same_weights(theirs, "tiny_hq")
    features, intermediate = theirs.get_image_embeddings(images)
    early = intermediate[0].permute(0, 3, 1, 2)
    parts = theirs.mask_decoder
    expected = parts.encoder_conv2(gelu(parts.encoder_norm(parts.encoder_conv1(features))))
    squeezed = gelu(parts.compress_vit_norm(parts.compress_vit_conv1(early)))
    expected = expected + parts.compress_vit_conv2(squeezed)
    encoded = ours.encode(images)
    assert_near(encoded[0], features)
    assert_near(encoded[1], expected)


@pytest.mark.parametrize("case", CASES)
@torch.inference_mode()
def test_sam_hq_judges_as_transformers_does(images: Tensor, case: str) -> None:
    theirs = sam_hq()
    ours = same_weights(theirs, "tiny_hq")
    logits, quality = answer(ours, images, case, None)
    expected = theirs(images, **prompts_of(case, None), multimask_output=False)
    assert logits.shape[1] == quality.shape[1] == 5
    assert_near(quality[:, :1], expected.iou_scores[0])
    assert_near(quality[:, 4:], expected.iou_scores[0])


def assert_near(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= TOLERANCE * max(1.0, float(theirs.abs().max()))
