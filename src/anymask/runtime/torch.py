"""A model as it only answers: a loaded module in, an equal one that computes faster out.

What learns, loads or saves weights needs their official names; what only answers does not.

Edges refined on torch.

Sweeps on torch.

A click's steps are small: several threads in each of them would wait for each other more than they
work, and the more so the busier the machine is. So each thread takes clicks of its own.

Letters: N prompts, K candidates, m the side of a low-resolution mask.

Video steps on torch.

Letters: S the model's input side, N objects, P points, m the side of a mask.

A model on torch: normalised pictures and prompts in, float32 logits and quality out; any device.

Letters: B images, S the model's input side, N prompts, T mask tokens, m the side of a mask.
The module is only read, so that many threads may share one runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from anymask.base import BoolArray, FloatArray, InputError, IntArray, UintImage
from anymask.masks import EncoderOutput, FeatureMap, Geometry, ModelPrompts, ModelSpec, logits_used
from anymask.models.fast import Foldable, fuse
from anymask.models.image_model import ImageModel
from anymask.models.rules import Family, Memory, MemoryBank, VideoMoment, open_family
from anymask.models.video_model import VideoModel
from anymask.runtime.protocol import (
    ClassLabelling,
    EdgeRefining,
    GuidedDecoding,
    MaskNaming,
    fast_halves,
    import_torch,
    pick_device,
    pick_dtype,
    running,
)
from anymask.runtime.sweep import Sweep, SweepPrecision
from anymask.runtime.video import (
    BANK_PARTS,
    BankArrays,
    MemoryChoice,
    VideoAnswer,
    VideoSteps,
    for_users,
    grown_bank,
    with_choice,
)

if TYPE_CHECKING:
    from anymask.models.edge_refiner import EdgeRefiner
    from anymask.models.fast import ClickSweep, SweepTokens
    from anymask.models.video_model import Frame, ObjectAnswer


def for_inference(module: nn.Module, device: torch.device, dtype: torch.dtype) -> Any:
    """The module on a device, in a precision, in eval mode and without gradients.

    On a CPU a video model's batch norms and parallel branches are folded into a copy whose channels
    lie last. Its trunk of convolutions stays in 32 bits: what is rounded behind each of a hundred
    convolutions adds up, and convolutions gain least. Anything else is moved as it is.
    """
    module = module.eval().requires_grad_(False)
    if device.type != "cpu" or not isinstance(module, VideoModel) or not _folds(module):
        return module.to(device, dtype)
    folded: Any = fuse(module)
    folded.to(memory_format=torch.channels_last)
    trunk = folded.image_encoder
    folded.image_encoder = nn.Identity()
    folded.to(dtype)
    folded.image_encoder = trunk
    return folded


def _folds(module: nn.Module) -> bool:
    return any(isinstance(part, Foldable) for part in module.modules())


class TorchEdges:
    """See `runtime.protocol.EdgeRefining`; in float32, whatever precision the model has."""

    def __init__(self, module: EdgeRefiner, device: torch.device) -> None:
        self._module = module.eval().requires_grad_(False).to(device)
        self._device = device

    def refine_edge(self, photo: UintImage, logits: FloatArray, prompt: FloatArray) -> FloatArray:
        """See `EdgeRefining`."""
        import torch

        planes = np.ascontiguousarray(photo.transpose(2, 0, 1), np.float32)
        with running("the network of edges"), torch.inference_mode():
            given = (
                torch.from_numpy(one[None]).to(self._device)
                for one in (planes, np.ascontiguousarray(logits)[None], prompt)
            )
            change: FloatArray = self._module(*given)[0, 0].cpu().numpy()
            return change


class TorchSweep:
    """See `runtime.sweep.Sweep`.

    sweep   the image's share of the work, done
    device  where it lies; only on a processor do several threads help
    """

    def __init__(self, sweep: ClickSweep, device: torch.device) -> None:
        self._torch = import_torch()
        self._sweep, self._device = sweep, device
        self.bytes_per_prompt = sweep.bytes_per_prompt
        self._threads = self._torch.get_num_threads() if device.type == "cpu" else 1
        from anymask.models.fast import open_lone_pool

        self._pool = open_lone_pool(self._threads, "anymask-sweep")
        self._rooms: list[Any] = [None] * self._threads

    def ask(self, prompts: ModelPrompts) -> TorchSweepAnswer:
        """Answer N prompts without masks of their own."""
        bounds = np.linspace(0, len(prompts.coords), self._threads + 1).astype(int).tolist()
        parts = [
            (thread, slice(*ends))
            for thread, ends in enumerate(pairwise(bounds))
            if ends[0] < ends[1]
        ]
        answers = list(self._pool.map(lambda part: self._ask(prompts, *part), parts))
        quality = np.concatenate([numbers for numbers, _ in answers])[:, 1:]
        rows = [(answered, row) for numbers, answered in answers for row in range(len(numbers))]
        return TorchSweepAnswer(quality, self, rows)

    def _ask(
        self, prompts: ModelPrompts, thread: int, part: slice
    ) -> tuple[FloatArray, SweepTokens]:
        torch = self._torch
        with torch.inference_mode():
            coords = torch.from_numpy(np.ascontiguousarray(prompts.coords[part]))
            labels = torch.from_numpy(np.ascontiguousarray(prompts.labels[part]))
            quality, answered = self._sweep.ask(
                coords.to(self._device, torch.float32),
                labels.to(self._device, torch.int64),
                self._rooms[thread],
            )
            self._rooms[thread] = answered.view.shares
            numbers: FloatArray = quality.cpu().numpy()
        return numbers, answered

    def draw(self, asked: list[tuple[SweepTokens, int, list[int]]]) -> Iterator[FloatArray]:
        """Some mask tokens of some prompts: (m, m) one by one, a few of them ahead."""
        ahead = 2 * self._threads
        for start in range(0, len(asked), ahead):
            for planes in self._pool.map(self._draw, asked[start : start + ahead]):
                yield from planes

    def _draw(self, asked: tuple[SweepTokens, int, list[int]]) -> FloatArray:
        with self._torch.inference_mode():
            planes: FloatArray = self._sweep.draw(*asked).cpu().numpy()
        return planes


@dataclass(frozen=True, eq=False)
class TorchSweepAnswer:
    """See `runtime.sweep.SweepAnswer`; token 0 is no candidate.

    rows  of each prompt: with whom it was answered, and its row there
    """

    quality: FloatArray
    sweep: TorchSweep
    rows: list[tuple[SweepTokens, int]]

    def logits(self, chosen: BoolArray) -> Iterator[FloatArray]:
        """(N, K) bool -> (m, m) of each chosen one."""
        prompts = np.flatnonzero(chosen.any(axis=1)).tolist()
        tokens = [(np.flatnonzero(chosen[prompt]) + 1).tolist() for prompt in prompts]
        return self.sweep.draw(
            [(*self.rows[prompt], masks) for prompt, masks in zip(prompts, tokens, strict=True)]
        )


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
        from anymask.models.video_model import FramePrompts

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
        from anymask.models.video_model import ObjectAnswer

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


C = TypeVar("C")


class TorchRuntime:
    """An ImageModel of `anymask.models` behind the runtime protocol.

    reopened  name, weights, device and precision, as `open_runtime` takes them, where it can be had
              again from them; without them it cannot be pickled
    edges     refines edges of its masks, where that was learned
    names     names masks, where that was learned

    The module is moved to the device and the precision, and put in eval mode: hand it over.
    Raises InputError for a device or precision that is not there, MissingExtra without torch.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        weights_hash: str = "",
        device: str = "auto",
        precision: str = "fp32",
        reopened: tuple[Callable[..., Any], tuple[Any, ...]] | None = None,
        edges: EdgeRefiner | None = None,
        names: MaskNaming | None = None,
    ) -> None:
        self._reopened = reopened
        self._torch = import_torch()
        self.device = pick_device(device)
        self.dtype = pick_dtype(precision)
        self.weights_hash = weights_hash
        self.spec = cast(ModelSpec, module.spec)
        self.family: Family = open_family(self.spec, weights_hash=weights_hash)
        self._names = names
        self._edges = None if edges is None else TorchEdges(edges, self.device)
        self._module: Any = for_inference(module, self.device, self.dtype)

    def __repr__(self) -> str:
        return f"<TorchRuntime: {self.spec.name}, {self.device}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its name and weights: a process that unpickles it reads them anew."""
        if self._reopened is None:
            raise TypeError("a TorchRuntime of a module in memory cannot be pickled; use its file")
        return self._reopened

    def see(self, images: FloatArray) -> list[EncoderOutput]:
        """(B, 3, S, S) float32, normalised -> for each image its maps, on the device."""
        with running(f"the encoder of {self.spec.name}"), self._torch.inference_mode():
            maps = self._module.encode(self._tensor(images, self.dtype))
        return [SeenTensors(tuple(one[i : i + 1] for one in maps)) for i in range(len(images))]

    def capability(self, kind: type[C]) -> C | None:
        """See `ImageRuntime.capability`: it answers clicks, and sweeps, refines edges or follows
        objects through videos where the model can."""
        if kind is VideoSteps:
            return cast(C | None, self._video())
        if cast(object, kind) is EdgeRefining:
            return cast(C | None, self._edges)
        if cast(object, kind) is MaskNaming:
            return cast(C | None, self._names)
        if cast(object, kind) is ClassLabelling:
            return cast(C | None, TorchClasses(self) if self.spec.classes else None)
        if cast(object, kind) is GuidedDecoding and not isinstance(self._module, ImageModel):
            return None
        return self if isinstance(self, kind) else None

    def _video(self) -> VideoSteps | None:
        from anymask.models.video_model import VideoModel

        inside = self._module
        return TorchVideo(inside, self.device) if isinstance(inside, VideoModel) else None

    def decode(self, seen: EncoderOutput, prompts: ModelPrompts) -> tuple[FloatArray, FloatArray]:
        """One picture and N prompts -> logits (N, T, m, m) and quality (N, T), float32."""
        with running(f"the decoder of {self.spec.name}"), self._torch.inference_mode():
            return self._decode_by(self._module, seen, prompts)

    def decode_guided(
        self, seen: EncoderOutput, prompts: ModelPrompts, attention: FloatArray, target: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """See `GuidedDecoding`."""
        from anymask.models.guided import Guidance, guided

        with running(f"the decoder of {self.spec.name}"), self._torch.inference_mode():
            flat = self._tensor(attention.reshape(-1), self.dtype)
            guidance = Guidance(flat, self._tensor(target, self.dtype))
            return self._decode_by(guided(self._module, guidance), seen, prompts)

    def _decode_by(
        self, module: Any, seen: EncoderOutput, prompts: ModelPrompts
    ) -> tuple[FloatArray, FloatArray]:
        logits, quality = module.decode(
            self._maps(seen),
            # Coordinates stay float32: half a pixel of 1024 is lost in bf16.
            self._tensor(prompts.coords, self._torch.float32),
            self._tensor(prompts.labels, self._torch.int64),
            self._tensor(prompts.masks, self.dtype),
            self._tensor(prompts.has_mask, self.dtype),
        )
        return _to_numpy(logits), _to_numpy(quality)

    def label_cells_of(self, seen: EncoderOutput) -> FloatArray:
        """See `ClassLabelling`; of a model that has classes."""
        with running(f"the classes of {self.spec.name}"), self._torch.inference_mode():
            return _to_numpy(self._module.class_head(*self._maps(seen))[0])

    def sweep(
        self, seen: EncoderOutput, geometry: Geometry, precision: SweepPrecision = "model"
    ) -> Sweep | None:
        """See `runtime.sweep.Sweeps`."""
        from anymask.models.fast import ClickSweep, fits

        if not fits(self._module):
            return None
        mixed = precision == "mixed" and fast_halves(self.device)
        with running(f"the decoder of {self.spec.name}"), self._torch.inference_mode():
            maps = self._maps(seen)[0]
            dtype = self._torch.bfloat16 if mixed else self.dtype
            asked = ClickSweep(self._module, maps, dtype, self._shown(geometry))
        return TorchSweep(asked, self.device)

    def _maps(self, seen: EncoderOutput) -> tuple[torch.Tensor, ...]:
        """(1, C, h, w) each; only maps of another place are copied."""
        if isinstance(seen, SeenTensors) and seen.is_at(self.device, self.dtype):
            return seen.tensors
        return tuple(self._tensor(one.values[None], self.dtype) for one in seen.maps())

    def _shown(self, geometry: Geometry) -> tuple[int, int]:
        """Rows and columns of the feature map from which the photo's logits are drawn."""
        rows, columns = logits_used(self.spec.mask_side, geometry)
        return -(-rows // 4), -(-columns // 4)

    def _tensor(self, array: np.ndarray[Any, Any], dtype: torch.dtype) -> torch.Tensor:
        # Copied where numpy says read-only (a memory-mapped embedding): torch warns of it.
        safe = np.require(array, requirements=["C", "W"])
        return self._torch.from_numpy(safe).to(self.device, dtype)


@dataclass(frozen=True)
class TorchClasses:
    """Classes told apart by a runtime's own module."""

    runtime: TorchRuntime

    def label_cells(self, seen: EncoderOutput) -> FloatArray:
        """See `ClassLabelling`."""
        return self.runtime.label_cells_of(seen)


@dataclass(frozen=True, eq=False)
class SeenTensors:
    """What the encoder saw, on its device: (1, C, h, w) each."""

    tensors: tuple[torch.Tensor, ...]

    @property
    def nbytes(self) -> int:
        """See `masks.spec.EncoderOutput`."""
        return sum(one.nbytes for one in self.tensors)

    def is_at(self, device: torch.device, dtype: torch.dtype) -> bool:
        """Whether a model there can read it as it is."""
        return all(one.device == device and one.dtype == dtype for one in self.tensors)

    def maps(self) -> tuple[FeatureMap, ...]:
        """See `masks.spec.EncoderOutput`."""
        return tuple(
            FeatureMap(name, _to_numpy(tensor[0]))
            for name, tensor in zip(map_names(len(self.tensors)), self.tensors, strict=True)
        )


def map_names(count: int) -> list[str]:
    """The names of an encoder's maps, as exported graphs have them."""
    return ["features", *(f"extras_{index}" for index in range(count - 1))]


def _to_numpy(tensor: torch.Tensor) -> FloatArray:
    array: FloatArray = tensor.float().cpu().numpy()
    return array
