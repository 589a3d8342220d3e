"""The runtime protocols: what every image model does, and what only some models support.

A runtime encodes images and decodes prompts. All other features are attributes of `ImageRuntime`,
which are None if the model lacks the feature.

Letters: B images, K classes, S the model's input side, N prompts or objects, P points, T the masks
that the decoder predicts for a prompt, m the side of its low-resolution masks, W that of a window
around an edge, n its cells, s the side of an object crop, D the length of a name's vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from anymask.base import (
    AnymaskError,
    BoolArray,
    FloatArray,
    InputError,
    IntArray,
    ModelError,
    UintImage,
    brief,
    need_packages,
)
from anymask.masks import EncoderOutput, Geometry, ModelPrompts, ModelSpec, Rle
from anymask.models.rules import (
    Family,
    MemoryOutput,
    MemoryQuery,
    NameTable,
    TrackingSettings,
    close_up,
)

if TYPE_CHECKING:
    import torch


T = TypeVar("T")
SweepPrecision = Literal["model", "mixed"]
Decoded = tuple[FloatArray, FloatArray]  # logits (N, T, m, m) and quality (N, T), float32
# Function of a window: image (W, W, 3), logits (n, n), prompt (2, W, W) -> correction of the logits
# (W, W), see `segment.postprocess`.
RefineEdge = Callable[[UintImage, FloatArray, FloatArray], FloatArray]
# Function that finds objects on one frame, see `models.rules.memory`. Objects with the same memory
# cells (the same array) are processed together.
ReadMemory = Callable[[Sequence[MemoryQuery]], list[MemoryOutput]]

CLOSE_UPS_AT_ONCE = 256  # masks whose crops are in memory at once


class MaskNaming(Protocol):
    """Names masks, by an additional network."""

    def name_table(self) -> NameTable:
        """The available names."""
        ...

    def embed_crops(
        self, images: UintImage, masks: UintImage
    ) -> FloatArray:  # (n, s, s, 3), (n, s, s)
        """Unit vectors (n, D) of object crops (`models.rules.crops`)."""
        ...


@brief
@dataclass(frozen=True, eq=False)
class SweepOutput:
    """Predictions for N prompts. Masks are read before the next call of the sweep."""

    # Predicted IoU (N, K) of the candidates of an ambiguous prompt, as in `Family.candidates`
    quality: FloatArray
    # Function that yields logits (m, m) float32 for each True of (N, K), row by row
    logits: Callable[[BoolArray], Iterator[FloatArray]]


class Sweep(Protocol):
    """Decodes many prompts on one image; not thread-safe."""

    @property
    def bytes_per_prompt(self) -> int:
        """Approximate memory per prompt of a batch."""
        ...

    def decode(self, prompts: ModelPrompts) -> SweepOutput:
        """Decode N prompts without mask prompts."""
        ...


class ImageRuntime:
    """A thread-safe image model. Features that it lacks are None."""

    spec: ModelSpec  # Specification of the model
    family: Family  # Rules of the model, with learned parameters
    weights_hash: str  # Hash of the weights; models with equal hashes share embeddings
    threads: int = 0  # Threads per call. 0: not configurable

    # Guided decoding (`models.guided`): decode prompts, with the similarity (h, w) of each feature
    # cell to a target, 0..1, and the feature vector (C,) of the target
    decode_guided: (
        Callable[[EncoderOutput, ModelPrompts, FloatArray, FloatArray], Decoded] | None
    ) = None
    # Length D of vectors as prompts (`ModelPrompts.vectors`)
    vector_length: Callable[[], int] | None = None
    # Semantic segmentation (`ModelSpec.classes`): logits (1 + K, m, m) of "no class" and each class
    label_cells: Callable[[EncoderOutput], FloatArray] | None = None
    # Instances without prompts: foreground, center distance and boundary distance (3, n, n) of
    # every cell, in 0..1 (`models.instance_head`)
    instance_planes: Callable[[EncoderOutput], FloatArray] | None = None
    refine_edge: RefineEdge | None = None
    read_memory: ReadMemory | None = None
    naming: MaskNaming | None = None
    # Faster decoding of many prompts on one image. Masks may be wrong in the padding. With "mixed",
    # large matrix products are in 16 bits if the machine is faster with them.
    sweep: Callable[[EncoderOutput, Geometry, SweepPrecision], Sweep] | None = None
    video: VideoRuntime | None = None

    def encode_images(self, images: FloatArray) -> list[EncoderOutput]:
        """Encode images (B, 3, S, S) float32, normalized; the outputs stay on the device."""
        raise NotImplementedError

    def decode(self, features: EncoderOutput, prompts: ModelPrompts) -> Decoded:
        """Decode N prompts on one image.

        All mask tokens are returned; the family selects the candidates. `features` may come from
        another runtime of the same weights; its feature maps are then copied.
        """
        raise NotImplementedError

    def with_threads(self, threads: int) -> ImageRuntime:
        """Runtime of the same weights with this number of threads per call, if configurable."""
        return self


# Videos. Memory banks are handles of the runtime, like `EncoderOutput`: they stay on the device,
# and are copied only to be saved.


@brief
@dataclass(frozen=True, eq=False)
class VideoOutput:
    """N objects on one frame."""

    # Final logits (N, m, m), with holes filled and overlaps removed if the model does so
    logits: FloatArray
    quality: NDArray[np.float32]  # Predicted IoU (N,)
    score: NDArray[np.float32]  # Logit of the object's presence (N,)
    handles: tuple[Any, ...]  # Handle of each object, for `VideoRuntime.remember`


@dataclass(frozen=True, kw_only=True)
class MemoryChoice:
    """Selection of a video model's memories: see `TrackingSettings`."""

    stride: int | None = None
    pool: int = 1
    fill_gaps: bool = False

    def applied_to(self, settings: TrackingSettings) -> TrackingSettings:
        """Settings of a family with this selection."""
        stride = self.stride or settings.stride
        return replace(settings, stride=stride, fill_gaps=self.fill_gaps, pool=self.pool)


class VideoRuntime(Protocol):
    """Stateless steps of a video model."""

    def choosing(self, choice: MemoryChoice) -> VideoRuntime:
        """Steps with another selection of memories.

        Raises:
            InputError: The model does not support it.
        """
        ...

    def encode_frame(self, image: FloatArray) -> Any:
        """Encode a frame (3, S, S) float32, normalized, and return its handle."""
        ...

    def answer_points(
        self, frame: Any, coords: FloatArray, labels: IntArray, earlier: FloatArray | None
    ) -> VideoOutput:
        """Prompt one object by points (P, 2) in model pixels; `earlier` (m, m) to correct."""
        ...

    def answer_mask(self, frame: Any, mask: FloatArray) -> VideoOutput:
        """Prompt one object with a mask (S, S), 1 for foreground."""
        ...

    def step_video(
        self, frame: Any, banks: Sequence[Any], number: int, backward: bool
    ) -> VideoOutput:
        """Predict the objects of memory banks on a frame."""
        ...

    def remember(
        self, frame: Any, bank: Any | None, handle: Any, moment: tuple[int, bool], prompted: bool
    ) -> Any:
        """Add an object to a bank, or to a new one; `moment`: frame number, whether backwards."""
        ...

    def bank_to_arrays(self, bank: Any) -> Mapping[str, NDArray[Any]]:
        """Copy a bank to memory, to save it."""
        ...

    def arrays_to_bank(self, arrays: Mapping[str, NDArray[Any]]) -> Any:
        """Restore the bank of `bank_to_arrays`."""
        ...


def require(runtime: ImageRuntime, feature: T | None, name: str) -> T:
    """Return a feature of a runtime, called `name`.

    Raises:
        ModelError: The model does not support it.
    """
    if feature is None:
        raise ModelError(
            f"{runtime.spec.name} does not support {name}. Choose another model from `anymask "
            "models list`."
        )
    return feature


def mask_vectors(
    runtime: ImageRuntime,
    image: UintImage,
    rles: Sequence[Rle],
    alone: bool = False,
    naming: MaskNaming | None = None,
) -> FloatArray:  # -> (n, D)
    """Vectors of the masks of an image.

    Args:
        runtime: Runtime of the model.
        image: Image (H, W, 3).
        rles: n masks.
        alone: Whether to replace everything outside the mask by gray.
        naming: Name model. Defaults to that of the runtime.

    Raises:
        ModelError: The model does not support names.
    """
    naming = naming or require(runtime, runtime.naming, "mask naming")
    vectors = []
    for start in range(0, len(rles), CLOSE_UPS_AT_ONCE):
        crops = [close_up(image, rle) for rle in rles[start : start + CLOSE_UPS_AT_ONCE]]
        crops = [crop.alone() for crop in crops] if alone else crops
        images, masks = ([crop[part] for crop in crops] for part in (0, 1))
        vectors.append(naming.embed_crops(np.stack(images), np.stack(masks)))
    return np.concatenate(vectors) if vectors else np.zeros((0, 0), np.float32)


def open_sweep(
    runtime: ImageRuntime,
    features: EncoderOutput,
    geometry: Geometry,
    precision: SweepPrecision = "model",
) -> Sweep:
    """Create the runtime's sweep of an image, or a generic one that uses the decoder."""
    if runtime.sweep is not None:
        return runtime.sweep(features, geometry, precision)
    return DecodingSweep(runtime, features)


class DecodingSweep:
    """Generic sweep: decodes all masks and keeps them until the next call."""

    # Arrays inside a decoder, each as large as the image's maps; measured with nano.
    _ARRAYS = 12

    def __init__(self, runtime: ImageRuntime, features: EncoderOutput) -> None:
        self._runtime, self._seen = runtime, features
        masks = 4 * 4 * runtime.spec.mask_side**2
        self.bytes_per_prompt = self._ARRAYS * features.nbytes + 4 * masks

    def decode(self, prompts: ModelPrompts) -> SweepOutput:
        masks, quality = self._runtime.family.candidates(*self._runtime.decode(self._seen, prompts))
        return SweepOutput(
            quality, lambda chosen: (masks[row, mask] for row, mask in np.argwhere(chosen))
        )


def drawn_answer(
    quality: FloatArray,
    rows: list[tuple[T, int]],
    draw: Callable[[list[tuple[T, int, list[int]]]], Iterator[FloatArray]],
) -> SweepOutput:
    """Answer whose masks are drawn from decoder outputs; token 0 is not a candidate.

    Args:
        quality: Predicted IoU (N, K).
        rows: Outputs of each prompt's batch, and its row there.
        draw: Yields the logits of (outputs of a batch, row, mask tokens).
    """

    def logits(chosen: BoolArray) -> Iterator[FloatArray]:
        prompts = np.flatnonzero(chosen.any(axis=1)).tolist()
        tokens = [(np.flatnonzero(chosen[prompt]) + 1).tolist() for prompt in prompts]
        return draw([(*rows[prompt], masks) for prompt, masks in zip(prompts, tokens, strict=True)])

    return SweepOutput(quality, logits)


def failure_of(name: str, error: Exception) -> AnymaskError:
    """Error for an exception of a runtime, whose classes are not public."""
    return AnymaskError(
        f"{name} failed to run ({type(error).__name__}). If the system is out of memory, "
        "pass fewer points or prompts at once. Otherwise encode the image again."
    )


# Torch devices.

Precision = Literal["fp32", "bf16", "fp16"]
Device = Literal["auto", "cpu", "cuda", "mps"]


def pick_device(device: str = "auto") -> torch.device:
    """Select a torch device: "auto" is cuda, else mps, else cpu.

    Raises:
        InputError: The device is not available.
        MissingExtra: torch is not installed.
    """
    torch = import_torch()
    devices = available_devices()
    if device == "auto":
        return torch.device(devices[0])
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise InputError(
            f"Invalid device {device!r}. Choose from: {', '.join(get_args(Device))}, "
            "or a CUDA device such as 'cuda:1'"
        )
    if kind not in devices:
        raise InputError(
            f"Device {device!r} is not available: PyTorch finds only {', '.join(devices)}. Use "
            "device='auto', or install the PyTorch build for that device."
        )
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise InputError(
            f"Device {device!r} does not exist: this machine has "
            f"{torch.cuda.device_count()} CUDA devices, numbered from 0."
        )
    return torch.device(device)


def available_devices() -> tuple[str, ...]:
    """Device types available to torch, fastest first, ending with "cpu"."""
    torch = import_torch()
    devices = ["cuda"] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        devices.append("mps")
    return (*devices, "cpu")


def check_precision(precision: str) -> None:
    """Raises InputError if the precision is unknown."""
    if precision not in get_args(Precision):
        raise InputError(
            f"Invalid precision {precision!r}. Choose from: {', '.join(get_args(Precision))}"
        )


def pick_dtype(precision: str) -> torch.dtype:
    """Torch dtype of "fp32", "bf16" or "fp16". Raises InputError for other values."""
    check_precision(precision)
    torch = import_torch()
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def import_torch() -> Any:
    """Import torch.

    Raises:
        MissingExtra: torch is not installed.
    """
    need_packages(("torch",), "torch", "running a checkpoint")
    import torch

    return torch


def fast_halves(device: torch.device) -> bool:
    """Whether bf16 products are faster than float32 there: GPUs and recent processors."""
    if device.type != "cpu":
        return device.type == "cuda"
    return bool(import_torch().ops.mkldnn._is_mkldnn_bf16_supported())
