"""The small layers, the prompt encoder and the two-way transformer, piece by piece."""

import pytest
import torch
from torch import Tensor, nn

from anymask.models.prompt_encoder import EFFICIENT_SAM_NAMES, PromptEncoder, PromptEncoderConfig
from anymask.models.two_way import DownscaledAttention, TwoWayConfig, TwoWayTransformer

EFFICIENT_PROMPTS = PromptEncoderConfig(
    dim=8, image_side=64, mask_channels=0, label_names=EFFICIENT_SAM_NAMES, no_point="outside"
)


def embed(encoder: PromptEncoder, x: float, y: float, label: int) -> Tensor:
    tokens: Tensor = encoder.embed_points(torch.tensor([[[x, y]]]), torch.tensor([[label]]))
    return tokens[0, 0]


def test_no_point_stands_outside_for_efficient_sam() -> None:
    encoder = PromptEncoder(EFFICIENT_PROMPTS)
    place = encoder.pe_layer(torch.tensor([-0.5 / 64, -0.5 / 64]))
    expected = place + encoder.invalid_points.weight[0]
    torch.testing.assert_close(embed(encoder, 10, 20, -1), expected)
    torch.testing.assert_close(embed(encoder, 30, 5, -1), expected)


def test_a_family_without_a_mask_branch_adds_nothing() -> None:
    encoder = PromptEncoder(EFFICIENT_PROMPTS)
    added = encoder.embed_masks(torch.randn(2, 1, 64, 64), torch.ones(2))
    assert added.shape == (1, 1, 1, 1)
    assert not added.any()


def test_narrow_attention_equals_torchs_own_when_it_is_not_narrow() -> None:
    torch.manual_seed(0)
    ours, theirs = DownscaledAttention(8, heads=2), nn.MultiheadAttention(8, 2, batch_first=True)
    weights = [layer.weight for layer in (ours.q_proj, ours.k_proj, ours.v_proj)]
    biases = [layer.bias for layer in (ours.q_proj, ours.k_proj, ours.v_proj)]
    theirs.load_state_dict(
        {
            "in_proj_weight": torch.cat(weights),
            "in_proj_bias": torch.cat(biases),
            "out_proj.weight": ours.out_proj.weight,
            "out_proj.bias": ours.out_proj.bias,
        }
    )
    q, k, v = torch.randn(3, 4, 8), torch.randn(3, 6, 8), torch.randn(3, 6, 8)
    torch.testing.assert_close(ours(q, k, v, 3), theirs(q, k, v)[0])


@pytest.mark.parametrize("self_attention", ["sam", "plain"])
def test_one_image_for_all_prompts_equals_a_copy_for_each(self_attention: str) -> None:
    torch.manual_seed(0)
    config = TwoWayConfig(dim=8, heads=2, mlp_dim=16, self_attention=self_attention)  # type: ignore[arg-type]
    transformer = TwoWayTransformer(config).eval()
    tokens, image, places = torch.randn(3, 4, 8), torch.randn(1, 6, 8), torch.randn(1, 6, 8)
    shared = transformer(tokens, image, places)
    copied = transformer(tokens, image.expand(3, -1, -1).clone(), places)
    for one, other in zip(shared, copied, strict=True):
        torch.testing.assert_close(one, other)
