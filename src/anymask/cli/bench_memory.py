"""Benchmark of a tracked frame: a video model in, times of the plain way and of ours in turns, out.

A frame with two objects whose memory banks are full: encoded, conditioned on the memories, decoded,
remembered. The plain way computes as the reference does: each object by itself, values as wide as
keys, float32, no layers fused. Without a checkpoint the weights are random (seed 0); speed does not
depend on them.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from anymask.cli.bench_encoder import open_module, torch_threads
from anymask.primitives.errors import InputError
from anymask.primitives.masks import iou
from anymask.primitives.memory_bank import Memory, MemoryBank, TrackingSettings, VideoMoment
from anymask.primitives.timing import Measurement
from anymask.runtimes.banks import for_users
from anymask.runtimes.devices import import_torch

if TYPE_CHECKING:
    from torch import Tensor

    from anymask.models.video_model import VideoModel
    from anymask.models.video_records import Frame

PLAIN = "plain"
OBJECTS = 2
AT = VideoMoment(16)  # pointers of 15 frames, memories of 6 and of the first


@dataclass(frozen=True, eq=False)
class _Way:
    """One way to compute a tracked frame."""

    name: str
    model: VideoModel
    settings: TrackingSettings

    def follow(self, image: Tensor, banks: list[MemoryBank]) -> list[Tensor]:
        """Logits of each object."""
        from anymask.models.fused_layers import by_default_library

        with by_default_library() if self.name == PLAIN else nullcontext():
            return self._follow(image, banks, self.name == PLAIN)

    def _follow(self, image: Tensor, banks: list[MemoryBank], plain: bool) -> list[Tensor]:
        frame = self.model.see(image)
        found = []
        for group in [[bank] for bank in banks] if plain else [banks]:
            features = self.model.condition(frame, group, AT, self.settings, plain)
            answer = self.model.answer(frame, features, len(group), None, self.settings)
            self.model.remember(frame, answer, AT, False, self.settings)
            found += list(answer.logits.float())
        return found


def memory_figures(
    name: str, weights: str | None, threads: int, rounds: int
) -> tuple[list[Measurement], list[str]]:
    """Medians of each way, by the clock and of all cores, and how many times faster than plain.

    Raises ModelError for an unknown name, InputError for a model that is none of videos.
    """
    torch = import_torch()
    with torch_threads(threads):
        module, origin = open_module(name, weights)
        with torch.inference_mode():
            figures, notes = _in_turns(_as_video(module, name), rounds)
    return figures, [f"{name}, {origin}, {threads} threads, {OBJECTS} objects", *notes]


def _as_video(module: object, name: str) -> VideoModel:
    from anymask.models.video_model import VideoModel

    if not isinstance(module, VideoModel):
        raise InputError(
            f"`bench memory` is for video models, {name} is none; name sam2.1_hiera_t or edgetam"
        )
    return module


def _in_turns(model: VideoModel, rounds: int) -> tuple[list[Measurement], list[str]]:
    import torch

    chance = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, model.spec.image_side, model.spec.image_side, generator=chance)
    frame, ways = model.see(image), list(_ways(model))
    banks = [_full_bank(model, frame, number) for number in range(OBJECTS)]
    spent: dict[str, list[tuple[float, float]]] = {way.name: [] for way in ways}
    logits: dict[str, list[Tensor]] = {}
    for turn in range(rounds + 1):  # the first one warms up
        for way in ways:
            begun, cores = time.perf_counter(), time.process_time()
            logits[way.name] = way.follow(image.to(way.model.dtype), banks)
            if turn:
                now = time.perf_counter() - begun, time.process_time() - cores
                spent[way.name].append(now)
    return list(_figures(spent)), list(_notes(logits))


def _ways(model: VideoModel) -> Iterator[_Way]:
    import torch

    from anymask.models.inference import for_inference

    def ready(dtype: torch.dtype) -> VideoModel:
        made: VideoModel = for_inference(copy.deepcopy(model), torch.device("cpu"), dtype)
        return made

    settings = for_users(model.config.settings)
    yield _Way(PLAIN, model, settings)
    yield _Way("ours", ready(torch.float32), settings)
    halves = ready(torch.bfloat16)
    yield _Way("bf16", halves, settings)
    if model.config.perceiver is None:
        pooled = replace(settings, pool=2)
        yield _Way("pool_memory=2", model, pooled)
        yield _Way("bf16, pool_memory=2", halves, pooled)


def _full_bank(model: VideoModel, frame: Frame, number: int) -> MemoryBank:
    """A click on the first frame, then frames of nearly the same memory."""
    import torch

    from anymask.models.video_records import FramePrompts

    chance, settings = torch.Generator().manual_seed(number + 1), for_users(model.config.settings)
    place = torch.rand(1, 1, 2, generator=chance) * model.spec.image_side
    prompt = FramePrompts(place, torch.tensor([[1]]))
    answer = model.step(frame, [MemoryBank()], VideoMoment(0), prompt, settings)
    (first,) = model.remember(frame, answer, VideoMoment(0), True, settings)
    bank = MemoryBank().with_prompted(first)
    for one in range(1, AT.frame):
        tokens, pointer = (
            held + 0.05 * torch.randn(held.shape, generator=chance).to(held)
            for held in (first.tokens, first.pointer)
        )
        bank = bank.with_tracked(Memory(one, tokens, pointer))
    return bank


def _figures(spent: dict[str, list[tuple[float, float]]]) -> Iterator[Measurement]:
    for place, what in enumerate(("a tracked frame", "the same, of all cores")):
        medians = {}
        for name, turns in spent.items():
            seconds = tuple(turn[place] for turn in turns)
            medians[name] = float(np.median(seconds))
            yield Measurement(what, name, medians[name], "s", seconds)
        for name, median in medians.items():
            if name != PLAIN:
                yield Measurement(f"{what}: times plain", name, medians[PLAIN] / median, "x")


def _notes(logits: dict[str, list[Tensor]]) -> Iterator[str]:
    """How like the plain way's masks are: masks of random weights say little of real ones."""
    for name, found in logits.items():
        if name != PLAIN:
            pairs = zip(logits[PLAIN], found, strict=True)
            least = min(iou((one > 0)[0].numpy(), (two > 0)[0].numpy()) for one, two in pairs)
            yield f"{name}: IoU with plain {least:.4f} at least"
