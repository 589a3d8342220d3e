"""Video steps on torch: frames, prompts and memory banks of SAM 2's families in, answers out.

Letters: S the model's input side, N objects, P points, m the side of a mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anymask.primitives.errors import InputError
from anymask.primitives.memory_bank import Memory, MemoryBank, VideoMoment
from anymask.primitives.types import FloatArray, IntArray
from anymask.runtimes.banks import BANK_PARTS, for_users, grown_bank, with_choice
from anymask.runtimes.devices import import_torch
from anymask.runtimes.failures import running
from anymask.runtimes.video import BankArrays, MemoryChoice, VideoAnswer

if TYPE_CHECKING:
    import torch

    from anymask.models.object_answer import ObjectAnswer
    from anymask.models.video_model import VideoModel
    from anymask.models.video_records import Frame


class TorchVideo:
    """A `models.VideoModel` on a device, with `banks.for_users` of its settings."""

    def __init__(self, module: VideoModel, device: torch.device) -> None:
        self._torch: Any = import_torch()
        self._module, self._device = module, device
        self._settings = for_users(module.config.settings)

    def choosing(self, choice: MemoryChoice) -> TorchVideo:
        """See `VideoSteps`."""
        if choice.pool > 1 and self._module.config.perceiver is not None:
            raise InputError(
                f"pool_memory is for memories that are maps, those of {self._module.spec.name} are "
                "few tokens already; leave it out"
            )
        other = TorchVideo(self._module, self._device)
        other._settings = with_choice(self._settings, choice)
        return other

    def see_frame(self, image: FloatArray) -> Frame:
        """See `VideoSteps`."""
        with self._computing("encoder"):
            return self._module.see(self._tensor(image[None]))

    def answer_points(
        self, frame: Frame, coords: FloatArray, labels: IntArray, earlier: FloatArray | None
    ) -> VideoAnswer:
        """See `VideoSteps`."""
        from anymask.models.video_records import FramePrompts

        with self._computing("decoder"):
            prompts = FramePrompts(
                self._tensor(coords[None]),
                self._tensor(labels[None]),
                None if earlier is None else self._tensor(earlier[None, None]),
            )
            at, banks = VideoMoment(0), [MemoryBank()]
            return self._told(self._module.step(frame, banks, at, prompts, self._settings))

    def answer_mask(self, frame: Frame, mask: FloatArray) -> VideoAnswer:
        """See `VideoSteps`."""
        with self._computing("decoder"):
            return self._told(self._module.given(frame, self._tensor(mask[None, None])))

    def step_video(
        self, frame: Frame, banks: Sequence[MemoryBank], number: int, backward: bool
    ) -> VideoAnswer:
        """See `VideoSteps`."""
        at = VideoMoment(number, backward)
        with self._computing("memory attention"):
            return self._told(self._module.step(frame, banks, at, None, self._settings))

    def remember(
        self,
        frame: Frame,
        bank: MemoryBank | None,
        handle: ObjectAnswer,
        moment: tuple[int, bool],
        prompted: bool,
    ) -> MemoryBank:
        """See `VideoSteps`."""
        at = VideoMoment(*moment)
        with self._computing("memory encoder"):
            (memory,) = self._module.remember(frame, handle, at, prompted, self._settings)
        return grown_bank(bank, memory, at, self._settings, prompted)

    def bank_to_arrays(self, bank: MemoryBank) -> BankArrays:
        """See `VideoSteps`."""
        arrays: dict[str, NDArray[Any]] = {}
        for kind in BANK_PARTS:
            memories: Mapping[int, Memory] = getattr(bank, kind)
            for number, memory in memories.items():
                arrays[f"{kind}/{number}/tokens"] = memory.tokens.float().cpu().numpy()
                arrays[f"{kind}/{number}/pointer"] = memory.pointer.float().cpu().numpy()
        return arrays

    def arrays_to_bank(self, arrays: BankArrays) -> MemoryBank:
        """See `VideoSteps`."""
        from anymask.models.video_model import DTYPES

        bank = MemoryBank()
        kept = DTYPES[self._settings.memory_dtype]
        for name in arrays:
            kind, number, part = name.split("/")
            if part == "tokens":
                tokens = self._torch.from_numpy(arrays[name]).to(self._device, kept)
                pointer = self._tensor(arrays[f"{kind}/{number}/pointer"])
                memory = Memory(int(number), tokens, pointer.to(self._module.dtype))
                getattr(bank, kind)[int(number)] = memory
        return bank

    def _told(self, answer: ObjectAnswer) -> VideoAnswer:
        from anymask.models.object_answer import ObjectAnswer

        logits = self._module.finished(answer, self._settings)[:, 0]
        rows = [slice(place, place + 1) for place in range(len(logits))]
        return VideoAnswer(
            logits.float().cpu().numpy(),
            answer.quality[:, 0].float().cpu().numpy(),
            answer.object_score[:, 0].float().cpu().numpy(),
            tuple(
                ObjectAnswer(
                    answer.logits[row],
                    answer.quality[row],
                    answer.object_score[row],
                    answer.pointer[row],
                )
                for row in rows
            ),
        )

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        held: torch.Tensor = self._torch.from_numpy(np.require(array, requirements=["C", "W"]))
        return held.to(self._device)

    def _computing(self, part: str) -> Any:
        from contextlib import ExitStack

        stack = ExitStack()
        stack.enter_context(running(f"the {part} of {self._module.spec.name}"))
        stack.enter_context(self._torch.inference_mode())
        return stack
