"""Semantic-SAM with a small network: levels, prompts, image shapes, attention by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import anymask
from anymask.base import InputError, ModelError, PromptError
from anymask.masks import Features, geometry, pad_input
from anymask.runtime import TorchRuntime, needs_conversion
from anymask.segment import Model
from anymask.training import check_method, convert
from anymask.training.export_folder import export
from anymask_families.deformable import DeformableAttention
from anymask_families.semantic_sam import TINY, TINY_SPEC, SemanticSam
from anymask_families.swin import from_windows, hidden_pairs, to_windows

IMAGE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    module = SemanticSam(TINY_SPEC, TINY)
    with torch.no_grad():  # scores of random weights near 0.8
        head = "sem_seg_head.predictor.iou_prediction_head.layers.2.bias"
        module.get_parameter(head).fill_(0.8)
    return Model(TorchRuntime(module, "0" * 64, "cpu"))


def test_granularity_selects_each_of_the_six_levels_by_size(model: Model) -> None:
    features = model.encode(IMAGE)
    answer = model.segment(features, points=[(30, 40)])
    assert sorted(answer.order.tolist()) == [0, 1, 2, 3, 4, 5]
    assert (np.diff(answer.scores) <= 0).all()
    sizes = np.sort(answer.cells()[answer.cells() > 0])
    steps = np.linspace(0, 1, len(sizes))
    chosen = [model.segment(features, points=[(30, 40)], granularity=float(at)) for at in steps]
    assert [int(one.cells()[0]) for one in chosen] == sizes.tolist()
    assert len({int(one.order[0]) for one in chosen}) == len(sizes) >= 2
    part = model.segment(features, points=[(30, 40)], granularity="part")
    assert part.cells()[0] == sizes[0]


def test_a_level_is_selected_whatever_its_score(model: Model) -> None:
    answer = model.segment(IMAGE, points=[(30, 40)])
    place = answer.granularity_of(len(answer) - 1)  # the worst score
    again = model.segment(IMAGE, points=[(30, 40)], granularity=place)
    assert again.order[0] == answer.order[-1]


def test_prompts_of_one_call_do_not_depend_on_each_other(model: Model) -> None:
    prompts = [anymask.Prompt.of(points=[at]) for at in ((30, 40), (100, 10), (60, 80))]
    features = model.encode(IMAGE)
    together = model.segment(features, prompts=prompts)
    for prompt, one in zip(prompts, together, strict=True):
        alone = model.segment(features, prompts=[prompt])[0]
        np.testing.assert_allclose(one.logits, alone.logits, atol=1e-4)


@pytest.mark.parametrize(
    "asked",
    [
        {"points": [(3, 4), (9, 9)]}, {"points": [(3, 4)], "point_labels": [0]},
        {"box": (3, 4, 50, 60)}, {"points": [(3, 4)], "mask": IMAGE[..., 0] > 99},
    ],
)  # fmt: skip
def test_other_prompts_are_refused(model: Model, asked: dict[str, object]) -> None:
    with pytest.raises(PromptError, match=r"supports (at most 1 points|positive points\.)"):
        model.segment(IMAGE, **asked)  # type: ignore[call-overload]


@pytest.mark.parametrize("hw", [(90, 120), (120, 90), (20, 200), (1, 1), (7, 3)])
def test_images_of_any_shape(model: Model, hw: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*hw, 3), np.uint8)
    features = model.encode(image)
    covered, spec = geometry(hw, model.spec).input_hw, model.spec
    assert max(covered) <= spec.image_side
    assert min(covered) <= spec.image_side / 2
    rows, columns = pad_input(covered, spec)
    assert features.maps[0].values.shape[-2:] == (rows // 4, columns // 4)
    answer = model.segment(features, points=[(hw[1] / 2, hw[0] / 2)])
    assert answer.masks.shape == (6, *hw)


def test_an_embedding_survives_a_file(model: Model, tmp_path: Path) -> None:
    features = model.encode(IMAGE)
    features.save(tmp_path / "photo.npz")
    again = Features.load(tmp_path / "photo.npz")
    first, second = (model.segment(one, points=[(30, 40)]) for one in (features, again))
    np.testing.assert_allclose(first.logits, second.logits, atol=0.05)  # stored in 16 bits


def test_everything_keeps_masks_of_all_levels(model: Model) -> None:
    found = model.everything(
        IMAGE, grid=3, score=0.0, stability=0.0, nms_iou=1.0, max_containment=1.0
    )
    assert len(found) > 0
    assert all(one.rle.size == IMAGE.shape[:2] for one in found)


def test_it_is_never_converted(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(SemanticSam(TINY_SPEC, TINY).state_dict(), path)
    assert not needs_conversion("semantic_sam_swint", path)
    with pytest.raises(ModelError, match="exported to ONNX"):
        convert("semantic_sam_swint", path)
    with pytest.raises(ModelError, match="exported to ONNX"):
        export("semantic_sam_swint@640", tmp_path / "exported", weights=path)


def test_it_cannot_be_trained() -> None:
    with pytest.raises(InputError, match="does not support training"):
        check_method("semantic_sam_swint", "decoder")


def test_deformable_attention_reads_the_reference_of_each_map() -> None:
    torch.manual_seed(0)
    layer = DeformableAttention(dim=8, maps=2, heads=2, places=3)
    for part in (layer.sampling_offsets, layer.attention_weights):
        torch.nn.init.zeros_(part.weight)
        torch.nn.init.zeros_(part.bias)
    for part in (layer.value_proj, layer.output_proj):
        torch.nn.init.eye_(part.weight)
        torch.nn.init.zeros_(part.bias)
    maps = [torch.randn(1, 4, 6, 8), torch.randn(1, 2, 3, 8)]  # (1, h, w, C)
    memory = torch.cat([one.flatten(1, 2) for one in maps], dim=1)
    at = torch.tensor([[[0.75, 0.375]]])  # the centre of cell (1, 4) of the first map
    found = layer(torch.zeros(1, 1, 8), at, memory, [(4, 6), (2, 3)])[0, 0]
    # In the second map it is at row 0.25 and column 1.75, between four cells.
    shares = torch.outer(torch.tensor([0.75, 0.25]), torch.tensor([0.25, 0.75]))
    coarse = torch.einsum("hw,hwc->c", shares, maps[1][0, :, 1:])
    torch.testing.assert_close(found, (maps[0][0, 1, 4] + coarse) / 2)


def test_shifted_windows_hide_other_regions() -> None:
    hidden = hidden_pairs(10, 9, 7, torch.zeros(()))
    assert hidden.shape == (4, 49, 49)
    assert not hidden[0].any()  # the first window is in one region
    x = torch.arange(14 * 14.0).view(1, 14, 14, 1)
    torch.testing.assert_close(from_windows(to_windows(x, 7), 7, 14, 14), x)
    last = hidden[3] == 0  # four regions of 4 x 4, 4 x 3, 3 x 4 and 3 x 3 places
    assert int(last.sum()) == 16**2 + 2 * 12**2 + 9**2
