"""PyTorch backend, on any device.

Edges, sweeps of many clicks and videos are features of the same module. The module is
read-only, so threads can share one runtime.

Letters: B images, S the model's input side, N prompts or objects, P points, T mask tokens, K
candidates, m the side of a low-resolution mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from anymask.base import AnymaskError, FloatArray, InputError, IntArray, UintImage, brief
from anymask.masks import (
    EncoderOutput,
    FeatureMap,
    Geometry,
    ModelPrompts,
    ModelSpec,
    Origin,
    logits_used,
)
from anymask.models.class_head import class_logits
from anymask.models.edge_refiner import EdgeRefiner
from anymask.models.fast import ClickSweep, Foldable, SweepTokens, fits, fuse, single_thread_pool
from anymask.models.image_model import ImageModel
from anymask.models.rules import Family, MemoryBank, VideoMoment, for_users, open_family
from anymask.models.video_model import DTYPES, Frame, FramePrompts, ObjectAnswer, VideoModel
from anymask.runtime.protocol import (
    Decoded,
    ImageRuntime,
    MaskNaming,
    MemoryChoice,
    SweepOutput,
    SweepPrecision,
    VideoOutput,
    drawn_answer,
    failure_of,
    fast_halves,
    pick_device,
    pick_dtype,
)


class TorchRuntime(ImageRuntime):
    """Runtime of an ImageModel of `anymask.models`.

    The module is moved to the device and the precision, and set to eval mode: do not use it
    elsewhere.

    Args:
        module: The network.
        weights_hash: Hash of the weights.
        device: Name of the device, as for `open_runtime`.
        precision: "fp32", "bf16" or "fp16".
        reopened: Function and arguments that open the model again, required for pickling.
        edges: Edge network, or None.
        names: Name model, or None.

    Raises:
        InputError: The device or precision is not available.
        MissingExtra: torch is not installed.
    """

    def __init__(
        self,
        module: nn.Module,
        weights_hash: str = "",
        device: str = "auto",
        precision: str = "fp32",
        reopened: tuple[Callable[..., Any], tuple[Any, ...]] | None = None,
        edges: EdgeRefiner | None = None,
        names: MaskNaming | None = None,
    ) -> None:
        self._reopened = reopened
        self.device = pick_device(device)
        self.dtype, self.precision = pick_dtype(precision), precision
        self.weights_hash = weights_hash
        self.origin = Origin(cast(ModelSpec, module.spec).name, weights_hash)
        self.spec = cast(ModelSpec, module.spec)
        self.family: Family = open_family(self.spec, weights_hash=weights_hash)
        self._module: Any = for_inference(module, self.device, self.dtype)
        if isinstance(self._module, VideoModel):
            self.video = TorchVideo(self._module, self.device)
        if isinstance(self._module, ImageModel):
            # SAM's decoder accepts any number of tokens, such as text in its paper.
            self.decode_guided = self._decode_guided
            if not self.spec.fixed_points:
                self.vector_length = lambda: int(self._module.prompt_encoder.config.dim)
        if edges is not None:
            self.refine_edge = TorchEdges(edges, self.device).refine_edge
        if self.spec.classes:
            self.label_cells = self._label_cells
        if fits(self._module):
            self.sweep = self._sweep
        self.naming = names

    def __repr__(self) -> str:
        return f"<TorchRuntime: {self.spec.name}, {self.device}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by name and weights: unpickling loads them again."""
        if self._reopened is None:
            raise TypeError(
                "A TorchRuntime created from a module in memory cannot be pickled. Load "
                "it from a file."
            )
        return self._reopened

    def encode_images(self, images: FloatArray) -> list[EncoderOutput]:
        with _computing(f"the encoder of {self.spec.name}"):
            maps = self._module.encode(_to_tensor(images, self.device, self.dtype))
        return [FeatureTensors(tuple(part[i : i + 1] for part in maps)) for i in range(len(images))]

    def decode(self, features: EncoderOutput, prompts: ModelPrompts) -> Decoded:
        with _computing(f"the decoder of {self.spec.name}"):
            return self._decode_by(self._module, features, prompts)

    def _decode_guided(
        self,
        features: EncoderOutput,
        prompts: ModelPrompts,
        attention: FloatArray,
        target: FloatArray,
    ) -> Decoded:
        from anymask.models.guided import Guidance, guided

        with _computing(f"the decoder of {self.spec.name}"):
            flat = _to_tensor(attention.reshape(-1), self.device, self.dtype)
            guidance = Guidance(flat, _to_tensor(target, self.device, self.dtype))
            return self._decode_by(guided(self._module, guidance), features, prompts)

    def _decode_by(self, module: Any, features: EncoderOutput, prompts: ModelPrompts) -> Decoded:
        vectors = prompts.vectors
        more = [] if vectors is None else [_to_tensor(vectors, self.device, self.dtype)]
        logits, quality = module.decode(
            self._maps(features),
            # Coordinates stay float32: bf16 is off by half a pixel at 1024.
            _to_tensor(prompts.coords, self.device, torch.float32),
            _to_tensor(prompts.labels, self.device, torch.int64),
            _to_tensor(prompts.masks, self.device, self.dtype),
            _to_tensor(prompts.has_mask, self.device, self.dtype),
            *more,
        )
        return _to_numpy(logits), _to_numpy(quality)

    def _label_cells(self, features: EncoderOutput) -> FloatArray:
        with _computing(f"the classes of {self.spec.name}"):
            return _to_numpy(class_logits(self._module, self._maps(features))[0])

    def _sweep(
        self, features: EncoderOutput, geometry: Geometry, precision: SweepPrecision = "model"
    ) -> TorchSweep:
        mixed = precision == "mixed" and fast_halves(self.device)
        # Rows and columns of the feature map that the image covers.
        rows, columns = logits_used(self.spec.mask_side, geometry)
        with _computing(f"the decoder of {self.spec.name}"):
            dtype = torch.bfloat16 if mixed else self.dtype
            shown = -(-rows // 4), -(-columns // 4)
            inner = ClickSweep(self._module, self._maps(features)[0], dtype, shown)
        return TorchSweep(inner, self.device)

    def _maps(self, features: EncoderOutput) -> tuple[Tensor, ...]:
        """Feature maps (1, C, h, w); only maps from elsewhere are copied."""
        if isinstance(features, FeatureTensors) and features.is_at(self.device, self.dtype):
            return features.tensors
        return tuple(
            _to_tensor(level.values[None], self.device, self.dtype) for level in features.maps()
        )


def for_inference(module: nn.Module, device: torch.device, dtype: torch.dtype) -> Any:
    """Prepare a module for inference: device, precision, eval mode, no gradients.

    On a CPU, memory format is channels-last. Batch norms and parallel branches are folded in a
    copy, because training, loading and saving require the official parameter names. The trunk of a
    video model stays in 32 bits: rounding errors of its hundred convolutions accumulate, and
    convolutions gain least.
    """
    module = module.eval().requires_grad_(False)
    if device.type != "cpu":
        return module.to(device, dtype)
    folds = any(isinstance(part, Foldable) for part in module.modules())
    ready: Any = fuse(module).requires_grad_(False) if folds else module
    ready.to(memory_format=torch.channels_last)
    if not (folds and isinstance(module, VideoModel)):
        return ready.to(dtype)
    trunk = ready.image_encoder
    ready.image_encoder = nn.Identity()
    ready.to(dtype)
    ready.image_encoder = trunk
    return ready


@brief
@dataclass(frozen=True, eq=False)
class FeatureTensors:
    """Encoder output on its device: maps (1, C, h, w)."""

    tensors: tuple[Tensor, ...]

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors)

    def is_at(self, device: torch.device, dtype: torch.dtype) -> bool:
        """Whether all maps have this device and dtype."""
        return all(tensor.device == device and tensor.dtype == dtype for tensor in self.tensors)

    def maps(self) -> tuple[FeatureMap, ...]:
        return tuple(
            FeatureMap(name, _to_numpy(tensor[0]))
            for name, tensor in zip(map_names(len(self.tensors)), self.tensors, strict=True)
        )


def map_names(count: int) -> list[str]:
    """Names of an encoder's maps, as in exported graphs."""
    return ["features", *(f"extras_{index}" for index in range(count - 1))]


@contextmanager
def _computing(what: str) -> Iterator[None]:
    """Disable gradients, and convert exceptions."""
    try:
        with torch.inference_mode():
            yield
    except (AnymaskError, MemoryError):
        raise
    except Exception as error:
        raise failure_of(what, error) from error


def _to_tensor(
    array: NDArray[Any], device: torch.device, dtype: torch.dtype | None = None
) -> Tensor:
    # Copies read-only arrays (memory-mapped embeddings), about which torch warns.
    return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(device, dtype)


def _to_numpy(tensor: Tensor) -> FloatArray:
    return tensor.float().cpu().numpy()


class TorchEdges:
    """Edge refinement by a PyTorch module, always in float32."""

    def __init__(self, module: EdgeRefiner, device: torch.device) -> None:
        self._module = module.eval().requires_grad_(False).to(device)
        self._device = device

    def refine_edge(self, image: UintImage, logits: FloatArray, prompt: FloatArray) -> FloatArray:
        planes = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
        with _computing("the edge network"):
            inputs = (
                torch.from_numpy(array[None]).to(self._device)
                for array in (planes, np.ascontiguousarray(logits)[None], prompt)
            )
            return _to_numpy(self._module(*inputs)[0, 0])


# Sweeps.
#
# The operations of a click are small, so threads within them wait for each other longer than they
# compute. Each thread processes separate clicks instead.


class TorchSweep:
    """Sweep over the clicks of one image in PyTorch.

    Args:
        sweep: Sweep with the work per image done.
        device: Its device. Only a CPU uses several threads.
    """

    def __init__(self, sweep: ClickSweep, device: torch.device) -> None:
        self._sweep, self._device = sweep, device
        self.bytes_per_prompt = sweep.bytes_per_prompt
        self._threads = torch.get_num_threads() if device.type == "cpu" else 1
        self._pool = single_thread_pool(self._threads, "anymask-sweep")
        self._rooms: list[Any] = [None] * self._threads

    def decode(self, prompts: ModelPrompts) -> SweepOutput:
        bounds = np.linspace(0, len(prompts.coords), self._threads + 1).astype(int).tolist()
        parts = [
            (thread, slice(*ends))
            for thread, ends in enumerate(pairwise(bounds))
            if ends[0] < ends[1]
        ]
        answers = list(self._pool.map(lambda part: self._decode(prompts, *part), parts))
        quality = np.concatenate([numbers for numbers, _ in answers])[:, 1:]
        rows = [(answered, row) for numbers, answered in answers for row in range(len(numbers))]
        return drawn_answer(quality, rows, self.draw)

    def _decode(
        self, prompts: ModelPrompts, thread: int, part: slice
    ) -> tuple[FloatArray, SweepTokens]:
        with torch.inference_mode():
            quality, answered = self._sweep.decode(
                _to_tensor(prompts.coords[part], self._device, torch.float32),
                _to_tensor(prompts.labels[part], self._device, torch.int64),
                self._rooms[thread],
            )
            self._rooms[thread] = answered.view.shares
            return _to_numpy(quality), answered

    def draw(self, prompts: list[tuple[SweepTokens, int, list[int]]]) -> Iterator[FloatArray]:
        """Yield mask tokens of prompts as logits (m, m), computed a few ahead."""
        ahead = 2 * self._threads
        for start in range(0, len(prompts), ahead):
            for planes in self._pool.map(self._draw, prompts[start : start + ahead]):
                yield from planes

    def _draw(self, prompt: tuple[SweepTokens, int, list[int]]) -> FloatArray:
        with torch.inference_mode():
            return _to_numpy(self._sweep.draw(*prompt))


# Videos.


class TorchVideo:
    """A `models.VideoModel` on a device, with its settings `for_users`. See `VideoRuntime`."""

    def __init__(self, module: VideoModel, device: torch.device) -> None:
        self._module, self._device = module, device
        self._settings = for_users(module.config.settings)

    def choosing(self, choice: MemoryChoice) -> TorchVideo:
        if choice.pool > 1 and self._module.config.perceiver is not None:
            raise InputError(
                f"{self._module.spec.name} does not support pool_memory, because its memory "
                "already has few tokens. Omit pool_memory."
            )
        other = TorchVideo(self._module, self._device)
        other._settings = choice.applied_to(self._settings)
        return other

    def encode_frame(self, image: FloatArray) -> Frame:
        with self._computing("encoder"):
            return self._module.encode_frame(_to_tensor(image[None], self._device))

    def answer_points(
        self, frame: Frame, coords: FloatArray, labels: IntArray, earlier: FloatArray | None
    ) -> VideoOutput:
        with self._computing("decoder"):
            prompts = FramePrompts(
                _to_tensor(coords[None], self._device),
                _to_tensor(labels[None], self._device),
                None if earlier is None else _to_tensor(earlier[None, None], self._device),
            )
            at, banks = VideoMoment(0), [MemoryBank()]
            return self._video_answer(self._module.step(frame, banks, at, prompts, self._settings))

    def answer_mask(self, frame: Frame, mask: FloatArray) -> VideoOutput:
        with self._computing("decoder"):
            masks = _to_tensor(mask[None, None], self._device)
            return self._video_answer(self._module.given(frame, masks))

    def step_video(
        self, frame: Frame, banks: Sequence[MemoryBank], number: int, backward: bool
    ) -> VideoOutput:
        at = VideoMoment(number, backward)
        with self._computing("memory attention"):
            return self._video_answer(self._module.step(frame, banks, at, None, self._settings))

    def remember(
        self,
        frame: Frame,
        bank: MemoryBank | None,
        handle: ObjectAnswer,
        moment: tuple[int, bool],
        prompted: bool,
    ) -> MemoryBank:
        at = VideoMoment(*moment)
        with self._computing("memory encoder"):
            (memory,) = self._module.remember(frame, handle, at, prompted, self._settings)
        return (bank or MemoryBank()).grown(memory, at, self._settings, prompted)

    def bank_to_arrays(self, bank: MemoryBank) -> Mapping[str, NDArray[Any]]:
        return bank.to_arrays(_to_numpy)

    def arrays_to_bank(self, arrays: Mapping[str, NDArray[Any]]) -> MemoryBank:
        return MemoryBank.of_arrays(
            arrays,
            lambda one: _to_tensor(one, self._device, DTYPES[self._settings.memory_dtype]),
            lambda one: _to_tensor(one, self._device, self._module.dtype),
        )

    def _video_answer(self, answer: ObjectAnswer) -> VideoOutput:
        logits = self._module.finished(answer, self._settings)[:, 0]
        parts = (answer.logits, answer.quality, answer.object_score, answer.pointer)
        return VideoOutput(
            _to_numpy(logits),
            _to_numpy(answer.quality[:, 0]),
            _to_numpy(answer.object_score[:, 0]),
            tuple(
                ObjectAnswer(*(part[row : row + 1] for part in parts)) for row in range(len(logits))
            ),
        )

    def _computing(self, part: str) -> Any:
        return _computing(f"the {part} of {self._module.spec.name}")
