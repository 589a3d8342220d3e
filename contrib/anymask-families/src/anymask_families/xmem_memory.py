"""Memories of XMem: frames of an object, their consolidation into prototypes, and reading them.

Each object has its own memories. Objects that remember the same frames share one affinity. Source:
Cheng and Schwing 2022 (XMem, arXiv:2207.07115), sections 3.3 and 3.4.

Differences to the reference code: objects that appear later have complete long-term memories of
their own instead of a part of the first objects' cells. A correction starts again from the prompted
frames. Masks of other objects are inputs only if they are prompted or tracked on the same frame.

Letters: N objects, W the width of the network, n memory cells, L cells of a frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from anymask.base import FloatArray
from anymask_families.xmem import EncodedFrame, XMem, aggregate

PROMPTED = 4  # maximum number of prompted frames that a corrected object starts from
NEW = 1e-7  # initial age of a cell, so that its usage is defined


@dataclass(frozen=True, kw_only=True)
class XMemSettings:
    """Sizes of the memories; the defaults are those of the published model.

    Attributes:
        every: Distance of remembered frames.
        nearest: Number of cells that a query reads.
        most_frames: Number of remembered frames from which frames are consolidated.
        kept_frames: Number of frames left then: the first, and the latest ones.
        prototypes: Cells that one consolidation adds to the long-term memory.
        most_cells: Maximum number of long-term cells.
    """

    every: int = 5
    nearest: int = 30
    most_frames: int = 10
    kept_frames: int = 5
    prototypes: int = 128
    most_cells: int = 10_000


@dataclass(frozen=True, eq=False)
class MemoryCells:
    """Memory cells: keys (W, n), shrinkage (1, n), selection (W, n), values (8 W, n), usage (n,)
    and age in frames (n,)."""

    keys: Tensor
    shrinkage: Tensor
    selection: Tensor
    values: Tensor
    used: Tensor
    ages: Tensor

    def __len__(self) -> int:
        return self.keys.shape[1]

    def at(self, places: Tensor | slice) -> MemoryCells:
        """The cells at some places."""
        return MemoryCells(*(getattr(self, one.name)[..., places] for one in fields(self)))

    def read(self, usage: Tensor) -> MemoryCells:
        """The cells after a frame has read them."""
        return replace(self, used=self.used + usage, ages=self.ages + 1)

    @classmethod
    def new(cls, keys: Tensor, shrinkage: Tensor, selection: Tensor, values: Tensor) -> MemoryCells:
        """MemoryCells that no frame has read."""
        unused = torch.zeros_like(shrinkage[0])
        return cls(keys, shrinkage, selection, values, unused, unused + NEW)


def joined(parts: Sequence[MemoryCells]) -> MemoryCells:
    """Concatenate cells."""
    return MemoryCells(
        *(torch.cat([getattr(one, name.name) for one in parts], -1) for name in fields(MemoryCells))
    )


@dataclass(frozen=True, eq=False)
class PromptedFrame:
    """An encoded frame with the prompted mask (h, w) of an object."""

    number: int
    frame: EncodedFrame
    mask: Tensor


@dataclass(frozen=True, eq=False)
class ObjectMemory:
    """Memories of an object.

    Attributes:
        prompted: Frames with prompts.
        work: Cells of remembered frames, the first one first; None until a frame reads them.
        long: Long-term cells; None before the first consolidation.
        hidden: Hidden state (W, h16, w16).
        last: Latest remembered frame.
        history: Hash of the remembered frames. Objects with the same history have the same keys.
    """

    prompted: tuple[PromptedFrame, ...]
    work: MemoryCells | None = None
    long: MemoryCells | None = None
    hidden: Tensor | None = None
    last: int = 0
    history: int = 0

    def cells(self) -> MemoryCells:
        """All cells, long-term ones first."""
        assert self.work is not None
        return self.work if self.long is None else joined([self.long, self.work])

    def after(self, usage: Tensor) -> ObjectMemory:
        """The memories after a frame has read `cells` with this usage (n,)."""
        assert self.work is not None
        if self.long is None:
            return replace(self, work=self.work.read(usage))
        old, new = usage[: len(self.long)], usage[len(self.long) :]
        return replace(self, work=self.work.read(new), long=self.long.read(old))


@dataclass(frozen=True, eq=False)
class XMemAnswer:
    """Result of one object on one frame.

    Attributes:
        probability: Probability of the object (h, w).
        rival: Highest probability of the background and all other objects (h, w).
        others: Sum of the other objects' probabilities (h, w).
        hidden: Hidden state after the frame.
        memory: The memories that were read, with their usage.
    """

    probability: Tensor
    rival: Tensor
    others: Tensor
    hidden: Tensor
    memory: ObjectMemory


def similarity(cells: MemoryCells, keys: Tensor, selection: Tensor) -> Tensor:  # -> (n, L)
    """Negative weighted squared distance of memory keys to queries (equation 2)."""
    squares = cells.keys.square().T @ selection
    products = cells.keys.T @ (keys * selection)
    own = (selection * keys.square()).sum(0)
    scale = cells.shrinkage[0, :, None] / len(keys) ** 0.5
    return (2 * products - squares - own) * scale


class XMemSteps:
    """Tracking steps of the network on one device. Frames are normalized, unpadded images."""

    def __init__(self, model: XMem, settings: XMemSettings | None = None) -> None:
        self.model, self.settings = model, settings or XMemSettings()
        self._device = next(model.parameters()).device

    def tensor(self, array: NDArray[Any]) -> Tensor:
        """Copy an array to the device of the network."""
        return torch.tensor(array, device=self._device)

    @torch.inference_mode()
    def encode_frame(self, image: FloatArray) -> EncodedFrame:  # (3, h, w), sides multiples of 16
        """Encode a frame."""
        return self.model.encode(self.tensor(image)[None])

    @torch.inference_mode()
    def begin(
        self, frame: EncodedFrame, number: int, mask: FloatArray, known: ObjectMemory | None
    ) -> ObjectMemory:
        """Memories of an object that is prompted on a frame; they are encoded when first read.

        Args:
            frame: The encoded frame.
            number: Its number.
            mask: Mask (h, w) of 0 to 1, padded as the frame.
            known: Memories of the object from earlier prompts.
        """
        new = PromptedFrame(number, frame, self.tensor(mask))
        kept = [] if known is None else [one for one in known.prompted if one.number != number]
        return ObjectMemory((*kept[:1], *kept[1:][-(PROMPTED - 2) :], new))

    @torch.inference_mode()
    def step(self, frame: EncodedFrame, memories: Sequence[ObjectMemory]) -> list[XMemAnswer]:
        """Segment a frame for all objects that have memories."""
        readings: dict[int, Reading] = {}
        values, read = [], []
        for memory in self._with_prompted_frames(memories):
            cells = memory.cells()
            if memory.history not in readings:
                readings[memory.history] = read_cells(
                    cells, frame.keys, frame.selection, self.settings.nearest
                )
            reading = readings[memory.history]
            values.append(reading.of(cells.values))
            read.append(memory.after(reading.usage))
        found = torch.stack(values).unflatten(-1, frame.grid)
        hidden = torch.stack([known(one.hidden) for one in read])
        logits, hidden = self.model.decoder(frame.maps, found, hidden)
        whole = aggregate(logits.sigmoid())
        return [
            XMemAnswer(
                whole[place],
                torch.cat([whole[:place], whole[place + 1 :]]).amax(0),
                whole[1:].sum(0) - whole[place],
                hidden[place - 1],
                memory,
            )
            for place, memory in enumerate(read, 1)
        ]

    @torch.inference_mode()
    def remember(
        self, frame: EncodedFrame, number: int, answer: XMemAnswer, *, add: bool
    ) -> ObjectMemory:
        """Memories after a frame. Every few frames its cells are added, if `add` is set."""
        memory = answer.memory
        if not add or abs(number - memory.last) < self.settings.every:
            return replace(memory, hidden=answer.hidden)
        masks = answer.probability[None], answer.others[None]
        values, hidden = self.model.value_encoder(
            frame.image, frame.maps[0], *masks, known(memory.hidden)[None]
        )
        return self._with_frame(memory, number, frame, values[0], hidden[0])

    def _with_prompted_frames(self, memories: Sequence[ObjectMemory]) -> list[ObjectMemory]:
        """Encode the prompted frames of objects that have no cells yet, frame by frame."""
        found = list(memories)
        fresh = [place for place, memory in enumerate(found) if memory.work is None]
        numbers = {one.number for place in fresh for one in found[place].prompted}
        for number in sorted(numbers, reverse=_is_backward([found[place] for place in fresh])):
            here = [
                (place, one)
                for place in fresh
                for one in found[place].prompted
                if one.number == number
            ]
            frame = here[0][1].frame
            masks = aggregate(torch.stack([one.mask for _, one in here]))[1:]
            before = [found[place].hidden for place, _ in here]
            none = masks.new_zeros(self.model.width, *frame.grid)
            hidden = torch.stack([none if one is None else one for one in before])
            values, hidden = self.model.value_encoder(
                frame.image, frame.maps[0], masks, masks.sum(0) - masks, hidden
            )
            for (place, _), *encoded in zip(here, values, hidden, strict=True):
                found[place] = self._with_frame(found[place], number, frame, *encoded)
        return found

    def _with_frame(
        self, memory: ObjectMemory, number: int, frame: EncodedFrame, values: Tensor, hidden: Tensor
    ) -> ObjectMemory:
        """Memories with the cells of a frame, consolidated if there are too many frames."""
        cells = MemoryCells.new(frame.keys, frame.shrinkage, frame.selection, values.flatten(1))
        work = cells if memory.work is None else joined([memory.work, cells])
        long, length = memory.long, len(cells)
        if len(work) >= self.settings.most_frames * length:
            work, long = self._consolidated(work, long, length)
        history = hash((memory.history, number))
        return ObjectMemory(memory.prompted, work, long, hidden, number, history)

    def _consolidated(
        self, work: MemoryCells, long: MemoryCells | None, length: int
    ) -> tuple[MemoryCells, MemoryCells]:
        """Move all frames between the first and the latest ones to the long-term memory."""
        end = len(work) - (self.settings.kept_frames - 1) * length
        new = prototypes(work.at(slice(length, end)), self.settings.prototypes)
        work = joined([work.at(slice(length)), work.at(slice(end, None))])
        if long is None:
            return work, new
        most = self.settings.most_cells - self.settings.prototypes
        if len(long) >= most:  # the reference, too, keeps only cells above the last dropped usage
            usage = long.used / long.ages
            least = usage.sort().values[len(long) - most]
            long = long.at(usage > least)
        return work, joined([long, new])


@dataclass(frozen=True, eq=False)
class Reading:
    """Cells that each query reads (L, k), their weights (L, k), and the usage of all cells (n,)."""

    places: Tensor
    weights: Tensor
    usage: Tensor

    def of(self, values: Tensor) -> Tensor:  # (V, n) -> (V, L)
        """Weighted sum of the values."""
        return F.embedding_bag(
            self.places, values.T.contiguous(), per_sample_weights=self.weights, mode="sum"
        ).T


def read_cells(cells: MemoryCells, keys: Tensor, selection: Tensor, nearest: int) -> Reading:
    """Find the most similar cells of each query, weighted by a softmax."""
    alike = similarity(cells, keys, selection)
    best, places = alike.topk(min(nearest, len(cells)), dim=0)
    weights = best.softmax(0)
    usage = torch.zeros_like(cells.used).scatter_add_(0, places.flatten(), weights.flatten())
    return Reading(places.T.contiguous(), weights.T.contiguous(), usage)


def prototypes(cells: MemoryCells, count: int) -> MemoryCells:
    """The most used cells, whose values are read from all cells (section 3.3, potentiation)."""
    usage = cells.used / cells.ages
    chosen = cells.at(usage.topk(min(count, len(cells))).indices)
    weights = similarity(cells, chosen.keys, chosen.selection).softmax(0)
    return MemoryCells.new(
        chosen.keys, cells.shrinkage @ weights, chosen.selection, cells.values @ weights
    )


def _is_backward(memories: Sequence[ObjectMemory]) -> bool:
    """Whether prompts were added from later to earlier frames."""
    orders = [[one.number for one in memory.prompted] for memory in memories]
    return any(len(order) > 1 and order[0] > order[-1] for order in orders)


def known(hidden: Tensor | None) -> Tensor:
    """The hidden state of an object that has cells."""
    assert hidden is not None
    return hidden


# Storage of memories.


def memory_to_arrays(memory: ObjectMemory) -> dict[str, NDArray[Any]]:
    """Convert memories to arrays; `arrays_to_memory` restores them."""
    arrays: dict[str, NDArray[Any]] = {"about": np.array([memory.last, memory.history], np.int64)}
    for place, one in enumerate(memory.prompted):
        arrays[f"prompted/{place}/number"] = np.array(one.number)
        arrays[f"prompted/{place}/image"] = one.frame.image[0].cpu().numpy()
        arrays[f"prompted/{place}/mask"] = one.mask.cpu().numpy()
    for kind, cells in (("work", memory.work), ("long", memory.long)):
        if cells is not None:
            for name in fields(cells):
                arrays[f"{kind}/{name.name}"] = getattr(cells, name.name).cpu().numpy()
    if memory.hidden is not None:
        arrays["hidden"] = memory.hidden.cpu().numpy()
    return arrays


def arrays_to_memory(arrays: Mapping[str, NDArray[Any]], steps: XMemSteps) -> ObjectMemory:
    """Restore memories; the prompted frames are encoded again."""
    prompted: list[PromptedFrame] = []
    while (number := arrays.get(f"prompted/{len(prompted)}/number")) is not None:
        begin = f"prompted/{len(prompted)}"
        frame, mask = steps.encode_frame(arrays[f"{begin}/image"]), arrays[f"{begin}/mask"]
        prompted.append(PromptedFrame(int(number), frame, steps.tensor(mask)))
    work, long = (_arrays_to_cells(arrays, kind, steps) for kind in ("work", "long"))
    hidden = None if "hidden" not in arrays else steps.tensor(arrays["hidden"])
    last, history = (int(one) for one in arrays["about"])
    return ObjectMemory(tuple(prompted), work, long, hidden, last, history)


def _arrays_to_cells(
    arrays: Mapping[str, NDArray[Any]], kind: str, steps: XMemSteps
) -> MemoryCells | None:
    names = [f"{kind}/{one.name}" for one in fields(MemoryCells)]
    return (
        MemoryCells(*(steps.tensor(arrays[name]) for name in names)) if names[0] in arrays else None
    )
