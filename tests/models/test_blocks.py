"""The small layers, the prompt encoder and the two-way transformer, piece by piece."""

import pytest
import torch
from torch import Tensor, nn

from anymask.models.layers import LayerNorm2d, Mlp, add_submodule
from anymask.models.prompt_encoder import (
    EFFICIENT_SAM_NAMES,
    PromptEncoder,
    PromptEncoderConfig,
)
from anymask.models.two_way import DownscaledAttention, TwoWayConfig, TwoWayTransformer

SAM_PROMPTS = PromptEncoderConfig(dim=8, image_side=64)
EFFICIENT_PROMPTS = PromptEncoderConfig(
    dim=8, image_side=64, mask_channels=0, label_names=EFFICIENT_SAM_NAMES, no_point="outside"
)


def test_a_planted_layer_is_found_under_its_dotted_name() -> None:
    root = nn.Module()
    add_submodule(root, "a.0.b", nn.Linear(1, 1))
    add_submodule(root, "a.1", nn.Linear(1, 1))
    assert list(root.state_dict()) == ["a.0.b.weight", "a.0.b.bias", "a.1.weight", "a.1.bias"]


@pytest.mark.parametrize("names", [("lin1", "lin2"), ("layers.0.0", "fc")])
def test_an_mlp_computes_the_same_under_any_names(names: tuple[str, str]) -> None:
    torch.manual_seed(0)
    mlp = Mlp((3, 4, 2), names, "relu")
    first, second = (mlp.get_submodule(name) for name in names)
    x = torch.randn(5, 3)
    assert torch.equal(mlp(x), second(first(x).relu()))


def test_layer_norm_2d_is_over_the_channels_of_each_place() -> None:
    torch.manual_seed(0)
    norm, x = LayerNorm2d(6), torch.randn(2, 6, 3, 4)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    expected = (x - mean) / (variance + 1e-6).sqrt()
    expected = expected * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), expected)


def embed(encoder: PromptEncoder, x: float, y: float, label: int) -> Tensor:
    tokens: Tensor = encoder.embed_points(torch.tensor([[[x, y]]]), torch.tensor([[label]]))
    return tokens[0, 0]


@pytest.mark.parametrize("label", [0, 1, 2, 3])
def test_a_point_is_its_place_plus_what_its_label_means(label: int) -> None:
    encoder = PromptEncoder(SAM_PROMPTS)
    place = encoder.pe_layer(torch.tensor([10.5 / 64, 20.5 / 64]))
    expected = place + encoder.state_dict()[f"point_embeddings.{label}.weight"][0]
    torch.testing.assert_close(embed(encoder, 10, 20, label), expected)


def test_no_point_stands_nowhere_for_sam() -> None:
    encoder = PromptEncoder(SAM_PROMPTS)
    assert torch.equal(embed(encoder, 10, 20, -1), embed(encoder, 30, 5, -1))
    assert torch.equal(embed(encoder, 10, 20, -1), encoder.not_a_point_embed.weight[0])


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


def test_an_absent_mask_adds_the_learned_nothing_everywhere() -> None:
    encoder = PromptEncoder(SAM_PROMPTS)
    masks = torch.randn(2, 1, 16, 16)
    added = encoder.embed_masks(masks, torch.tensor([0.0, 1.0]))
    assert added.shape == (2, 8, 4, 4)
    nothing = encoder.no_mask_embed.weight[0][:, None, None]
    assert torch.equal(added[0], nothing.expand(8, 4, 4))
    torch.testing.assert_close(added[1:], encoder.mask_downscaling(masks[1:]))


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
