"""The parts of SAM 2's families against slow truths of a few lines."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask import models
from anymask.models.efficient_vit import EfficientVit, EfficientVitConfig
from anymask.models.fast import attend, attend_in_blocks
from anymask.models.memory_attention import RecalledMemories, log_counts, pool_map
from anymask.models.positions import RotaryAngles, grid_turns, in_halves, no_turns, turn, turned
from anymask.models.rules import Memory, MemoryBank, VideoMoment
from anymask.models.variants import TINY_VIDEO
from anymask.models.video_model import (
    Frame,
    FramePrompts,
    VideoModel,
    inpaint_hole,
    stability_of,
    without_overlaps,
)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("queries", [1, 3], ids=["shared", "own"])
@pytest.mark.parametrize(("L", "K"), [(1, 1), (7, 5), (300, 9000)])
def test_narrow_attention_is_softmax_weighting(queries: int, L: int, K: int) -> None:
    q, k, v = noise(queries, L, 16), noise(3, K, 16, seed=1), noise(3, K, 4, seed=2)
    truth = (q @ k.transpose(1, 2) / 4).softmax(dim=-1) @ v
    for ours in (attend(q, k, v), attend_in_blocks(q, k, v)):
        torch.testing.assert_close(ours, truth, rtol=0, atol=2e-6)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    torch.testing.assert_close(attend_in_blocks(q, k, v), truth, rtol=0, atol=2e-6)
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


@torch.inference_mode()
def test_half_precision_adds_its_weights_up_in_32_bits() -> None:
    q, k, v = noise(1, 5, 16), noise(2, 3000, 16, seed=1), noise(2, 3000, 4, seed=2) + 1
    truth = (q @ k.transpose(1, 2) / 4).softmax(dim=-1) @ v
    halves = q.bfloat16(), k.bfloat16(), v.bfloat16()
    for ours in (attend(*halves), attend_in_blocks(*halves)):
        assert ours.dtype == torch.bfloat16
        assert (ours.float() - truth).abs().max() < 0.05


@torch.inference_mode()
def test_what_is_added_to_all_keys_does_not_round_the_products_of_halves() -> None:
    """A common part of the keys, which decides nothing, would cost all the digits of bfloat16."""
    q, k, v = noise(1, 50, 16), noise(1, 300, 16, seed=1), noise(1, 300, 16, seed=2)
    truth = (q @ k.transpose(1, 2) / 4).softmax(dim=-1) @ v
    q16, k16, v16 = q.bfloat16(), (k + 16).bfloat16(), v.bfloat16()
    exact = (q16.float() @ k16.float().transpose(1, 2) / 4).softmax(dim=-1) @ v16.float()
    ours = attend_in_blocks(q16, k16, v16).float()
    assert (ours - exact).abs().max() < 0.05
    assert (truth - exact).abs().max() < 0.5  # what rounding the keys themselves did


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_a_key_with_a_count_weighs_as_much_as_so_many(dtype: torch.dtype) -> None:
    q, k, v = (
        one.to(dtype) for one in (noise(2, 30, 16), noise(2, 40, 16, seed=1), noise(2, 40, 4))
    )
    times = torch.where(torch.arange(40) < 25, 4, 1)
    truth = attend(
        *(one.float() for one in (q, k.repeat_interleave(times, 1))),
        v.repeat_interleave(times, 1).float(),
    )
    extra = times.log()
    limit = 1e-5 if dtype == torch.float32 else 0.02
    for ours in (attend(q, k, v, extra), attend_in_blocks(q, k, v, extra)):
        torch.testing.assert_close(ours.float(), truth, rtol=0, atol=limit)
    with torch.inference_mode(False), torch.enable_grad():  # by the library, as on a GPU
        library = attend(q.clone(), k.clone(), v.clone(), extra.clone())
    torch.testing.assert_close(library.float(), truth, rtol=0, atol=limit)


@torch.inference_mode()
def test_pooled_memories_are_read_as_if_each_place_had_the_mean_of_its_square() -> None:
    torch.manual_seed(0)
    model = TINY_VIDEO.build().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    side, at = TINY_VIDEO.spec.image_side, VideoMoment(3)
    frame = model.encode_frame(noise(1, 3, side, side))
    (h, w), dim = frame.features.shape[-2:], model.config.attention.memory_dim
    memories = [
        Memory(n, noise(1, h * w, dim, seed=n), noise(1, model.config.attention.dim, seed=9 + n))
        for n in range(3)
    ]
    bank = MemoryBank().with_prompted(memories[0]).with_tracked(memories[1])
    bank = bank.with_tracked(memories[2])
    settings = replace(model.config.settings, pool=2, memory_dtype="float32")
    pooled = model.recall([bank.select(at, settings)], (h, w), at, settings)
    times = pooled.extra.exp().round().long()
    assert times.tolist() == [4] * (3 * h * w // 4) + [1] * (len(times) - 3 * h * w // 4)
    as_many = RecalledMemories(
        pooled.tokens.repeat_interleave(times, 1),
        pooled.at.repeat_interleave(times, 1),
        RotaryAngles(
            pooled.turns.cosine.repeat_interleave(times, 0),
            pooled.turns.sine.repeat_interleave(times, 0),
        ),
    )
    tokens = frame.features.flatten(2).transpose(1, 2)
    truth = model.memory_attention(tokens, *model._of_frame(h, w), as_many, plain=True)
    found = model.condition(frame, [bank], at, settings)
    torch.testing.assert_close(found[0].flatten(1).t(), truth[0], rtol=1e-4, atol=1e-4)
    apart = model.condition(frame, [bank], at, model.config.settings)
    assert (apart - found).abs().max() > 1e-3


def test_pooled_places_are_means_and_lie_in_the_middle() -> None:
    tokens = noise(2, 24, 3)
    means = tokens.unflatten(1, (2, 2, 3, 2)).mean(dim=(2, 4)).flatten(1, 2)
    torch.testing.assert_close(pool_map(tokens, (4, 6), 2), means)
    assert pool_map(tokens, (4, 6), 1) is tokens
    angles = torch.atan2(*(getattr(grid_turns(4, 6, 8), part) for part in ("sine", "cosine")))
    slow = angles[:, [1, 3]]  # speeds of 1 / 100: no whole turn
    found = grid_turns(2, 3, 8, side=2)
    pooled = torch.atan2(found.sine, found.cosine)[:, [1, 3]]
    torch.testing.assert_close(pooled[None], pool_map(slow[None], (4, 6), 2), atol=1e-6, rtol=0)
    counts = log_counts(noise(1, 7, 2), 6, 2)
    assert counts.exp().round().tolist() == [4] * 6 + [1]


def test_turned_products_are_those_of_the_complex_numbers_of_the_reference() -> None:
    h, w, C = 3, 5, 16
    q, k = noise(h * w, C), noise(h * w, C, seed=1)
    turns = grid_turns(h, w, C)
    speeds = 1 / 10000 ** (torch.arange(0, C, 4) / C)
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    angles = torch.cat([x.reshape(-1, 1) * speeds, y.reshape(-1, 1) * speeds], dim=1)
    circle = torch.polar(torch.ones_like(angles), angles)
    pairs = (torch.view_as_complex(part.reshape(h * w, -1, 2)) * circle for part in (q, k))
    by_complex = [torch.view_as_real(part).flatten(1) for part in pairs]
    truth = by_complex[0] @ by_complex[1].t()
    order = in_halves(C)
    ours = turn(q[:, order], turns) @ turn(k[:, order], turns).t()
    torch.testing.assert_close(ours, truth, rtol=0, atol=1e-5)
    layer = nn.Linear(C, C)
    assert torch.equal(turned(q, layer, no_turns(h * w, C)), layer(q)[:, order])


def test_a_windowed_block_sees_each_window_by_itself() -> None:
    config = EfficientVitConfig(
        width=12, heads=3, depth=1, patch=4, pretrained=4, out_channels=0, window=2, windowed=(0,)
    )
    windowed, whole = EfficientVit(config), EfficientVit(replace(config, windowed=()))
    whole.load_state_dict(windowed.state_dict())
    x = noise(1, 4, 4, 12)
    seen = windowed.blocks[0](x)
    for top in (0, 2):
        for left in (0, 2):
            part = x[:, top : top + 2, left : left + 2]
            alone = whole.blocks[0](part)
            torch.testing.assert_close(seen[:, top : top + 2, left : left + 2], alone)


@pytest.mark.parametrize("name", ["tiny_video", "tiny_edge"])
@torch.inference_mode()
def test_the_fast_step_is_the_plain_one_and_objects_do_not_disturb_each_other(name: str) -> None:
    model = _random(name)
    frames = [model.encode_frame(noise(1, 3, 64, 64, seed=seed)) for seed in range(4)]
    banks = [_prompted(model, frames[0], 10.0), _prompted(model, frames[0], 40.0)]
    late = MemoryBank()  # its first prompt is on frame 1: another layout than the others'
    for number in (1, 2, 3):
        frame, at = frames[number], VideoMoment(number)
        everyone = [*banks, late] if late.prompted else banks
        settings = model.config.settings
        fast = model.condition(frame, everyone, at, settings)
        plain = model.condition(frame, everyone, at, settings, plain=True)
        torch.testing.assert_close(fast, plain, rtol=0, atol=1e-4)
        answer = model.step(frame, everyone, at)
        for which, bank in enumerate(everyone):
            alone = model.step(frame, [bank], at)
            torch.testing.assert_close(answer.logits[which], alone.logits[0], rtol=0, atol=1e-3)
        memories = model.remember(frame, answer, at)
        banks = [bank.with_tracked(m) for bank, m in zip(banks, memories, strict=False)]
        if number == 1:
            late = _prompted(model, frame, 25.0, number)
        else:
            late = late.with_tracked(memories[2])


def _random(name: str) -> VideoModel:
    torch.manual_seed(3)
    model = models.build(name)
    assert isinstance(model, VideoModel)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    model.sam_mask_decoder.pred_obj_score_head.get_parameter("layers.2.bias").data.fill_(9.0)
    return model.requires_grad_(False)


def _prompted(model: VideoModel, frame: Frame, x: float, number: int = 0) -> MemoryBank:
    prompts = FramePrompts(torch.tensor([[[x, 20.0]]]), torch.tensor([[1]]))
    at = VideoMoment(number)
    answer = model.step(frame, [MemoryBank()], at, prompts)
    return MemoryBank().with_prompted(model.remember(frame, answer, at, prompted=True)[0])


def test_a_masks_stability_is_the_iou_of_two_thresholds() -> None:
    logits = torch.tensor([[[1.0, 0.01], [-0.01, -1.0]], [[-1.0, -1.0], [-1.0, -1.0]]])
    assert stability_of(logits, 0.05).tolist() == [pytest.approx(1 / 3), 1.0]


def test_holes_up_to_the_limit_become_object_and_larger_ones_stay() -> None:
    logits = torch.full((1, 1, 8, 8), 3.0)
    logits[0, 0, 1, 1] = -2.0
    logits[0, 0, 4:7, 4:6] = -2.0
    filled = inpaint_hole(logits, 1)
    assert filled[0, 0, 1, 1] == pytest.approx(0.1)
    assert torch.equal(filled[0, 0, 4:7, 4:6], logits[0, 0, 4:7, 4:6])
    assert (inpaint_hole(logits, 6) > 0).all()
    assert logits[0, 0, 1, 1] == -2.0


def test_a_pixel_stays_with_the_likeliest_object() -> None:
    logits = torch.tensor([[[[2.0, -3.0]]], [[[1.0, -20.0]]]])
    assert without_overlaps(logits).flatten(1).tolist() == [[2.0, -3.0], [-10.0, -20.0]]
    assert torch.equal(without_overlaps(logits[1:]), logits[1:])


@torch.inference_mode()
def test_settings_change_what_a_person_gets_and_what_is_remembered() -> None:
    model = _random("tiny_video")
    frame = model.encode_frame(noise(1, 3, 64, 64))
    prompts = FramePrompts(torch.tensor([[[9.0, 9.0]], [[40.0, 9.0]]]), torch.ones(2, 1))
    answer = model.step(frame, [MemoryBank(), MemoryBank()], VideoMoment(0), prompts)
    settings = replace(model.config.settings, exclusive=True, hole_area=64)
    finished = model.finished(answer, settings)
    assert ((finished > 0).sum(dim=0) <= 1).all()
    assert torch.equal(model.finished(answer), answer.logits)
    tokens = [
        model.remember(
            frame, answer, VideoMoment(0), True, replace(model.config.settings, **change)
        )[0]
        for change in ({}, {"sharp_prompted": True}, {"exclusive_memory": True})
    ]
    assert all(not torch.equal(tokens[0].tokens, other.tokens) for other in tokens[1:])
    assert tokens[0].tokens.dtype == torch.bfloat16
    assert F.cosine_similarity(tokens[0].pointer, tokens[1].pointer).item() == pytest.approx(1)
