"""The runtime protocol: encoding images, and capabilities such as decoding prompts.

A runtime encodes images. All other features are capabilities: small protocols (`PromptDecoding`,
`EdgeRefining`, `MaskNaming`, `Remembering`, `Sweeps`, `VideoSteps`) that are requested by type.

Letters: B images, K classes, S the model's input side, N prompts or objects, P points, T the masks
that the decoder predicts for a prompt, m the side of its low-resolution masks, W that of a window
around an edge, n its cells, s the side of an object crop, D the length of a name's vector.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    Protocol,
    TypeVar,
    cast,
    get_args,
    runtime_checkable,
)

import numpy as np
from numpy.typing import NDArray

from anymask.base import (
    AnymaskError,
    BoolArray,
    DataError,
    FloatArray,
    InputError,
    IntArray,
    ModelError,
    UintImage,
    brief,
    need_packages,
)
from anymask.masks import EncoderOutput, FeatureMap, Geometry, ModelPrompts, ModelSpec, Rle
from anymask.models.rules import (
    Family,
    MemoryAnswer,
    MemoryQuestion,
    NameTable,
    TrackingSettings,
    close_up,
)

if TYPE_CHECKING:
    import torch


C = TypeVar("C")
D = TypeVar("D")  # outputs of a decoder for a batch
SweepPrecision = Literal["model", "mixed"]

CLOSE_UPS_AT_ONCE = 256  # masks whose crops are in memory at once


@runtime_checkable
class ImageRuntime(Protocol):
    """A thread-safe image model.

    Attributes:
        spec: Specification of the model.
        family: Rules of the model, with learned parameters.
        weights_hash: Hash of the weights; models with equal hashes share embeddings.
    """

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def family(self) -> Family: ...

    @property
    def weights_hash(self) -> str: ...

    def encode_images(self, images: FloatArray) -> list[EncoderOutput]:
        """Encode images (B, 3, S, S) float32, normalized; the outputs stay on the device."""
        ...

    def capability(self, kind: type[C]) -> C | None:
        """Implementation of a capability, or None if it is not supported."""
        ...


@runtime_checkable
class PromptDecoding(Protocol):
    """Capability: decode prompts on an encoded image."""

    def decode(self, seen: EncoderOutput, prompts: ModelPrompts) -> tuple[FloatArray, FloatArray]:
        """Decode N prompts on one image: logits (N, T, m, m) and quality (N, T), float32.

        All mask tokens are returned; the family selects the candidates. `seen` may come from
        another runtime of the same weights; its feature maps are then copied.
        """
        ...


@runtime_checkable
class GuidedDecoding(Protocol):
    """Capability: decode prompts with guided attention (`models.guided`)."""

    def decode_guided(
        self, seen: EncoderOutput, prompts: ModelPrompts, attention: FloatArray, target: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Decode prompts as `PromptDecoding.decode`, with guidance by a target.

        Args:
            seen: Encoder output of the image.
            prompts: N prompts.
            attention: Similarity (h, w) of each feature cell to the target, 0..1.
            target: Feature vector (C,) of the target.
        """
        ...


@runtime_checkable
class EdgeRefining(Protocol):
    """Capability: refine a mask's edge on the image, by an additional network."""

    def refine_edge(
        self, photo: UintImage, logits: FloatArray, prompt: FloatArray
    ) -> FloatArray:  # (W, W, 3), (n, n), (2, W, W) -> (W, W)
        """Correction of the logits of one window: see `segment.postprocess`."""
        ...


@runtime_checkable
class ClassLabelling(Protocol):
    """Capability: semantic segmentation without prompts (`ModelSpec.classes`)."""

    def label_cells(self, seen: EncoderOutput) -> FloatArray:  # -> (1 + K, m, m)
        """Logits of "no class" and of each class, for every cell of a low-resolution mask."""
        ...


@runtime_checkable
class InstancePlanes(Protocol):
    """Capability: find instances without prompts, by an additional head."""

    def instance_planes(self, seen: EncoderOutput) -> FloatArray:  # -> (3, n, n)
        """Foreground, center distance and boundary distance of every cell, in 0..1: see
        `models.instance_head`."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """Capability: read an object's earlier frames, by an additional network."""

    def read_memory(self, questions: Sequence[MemoryQuestion]) -> list[MemoryAnswer]:
        """Find objects on one frame: see `models.rules.memory`. Objects with the same memory
        cells (the same array) are processed together."""
        ...


@runtime_checkable
class VectorPrompts(Protocol):
    """Capability: vectors as prompts (`ModelPrompts.vectors`)."""

    def vector_length(self) -> int:
        """Length D of a vector."""
        ...


@runtime_checkable
class MaskNaming(Protocol):
    """Capability: name masks, by an additional network."""

    def name_table(self) -> NameTable:
        """The available names."""
        ...

    def embed_crops(
        self, photos: UintImage, masks: UintImage
    ) -> FloatArray:  # (n, s, s, 3), (n, s, s)
        """Unit vectors (n, D) of object crops (`models.rules.crops`)."""
        ...


@runtime_checkable
class ThreadSharing(Protocol):
    """A runtime with a configurable number of threads, for concurrent calls."""

    threads: int

    def with_threads(self, threads: int) -> ImageRuntime:
        """Runtime of the same weights with this number of threads per call."""
        ...


# Many prompts on one image.


@runtime_checkable
class SweepAnswer(Protocol):
    """Predictions for N prompts.

    Attributes:
        quality: Predicted IoU (N, K) of the candidates of an ambiguous prompt, as in
            `Family.candidates`.
    """

    @property
    def quality(self) -> FloatArray: ...

    def logits(self, chosen: BoolArray) -> Iterator[FloatArray]:
        """Yield logits (m, m) float32 for each True of (N, K), row by row.

        Read them before the next call of the sweep.
        """
        ...


@dataclass(frozen=True, eq=False)
class DrawnCandidates(Generic[D]):
    """`SweepAnswer` whose masks are drawn from decoder outputs; token 0 is not a candidate."""

    quality: FloatArray  # Predicted IoU (N, K)
    # Function that yields the logits of (outputs of a batch, row, mask tokens)
    draw: Callable[[list[tuple[D, int, list[int]]]], Iterator[FloatArray]]
    rows: list[tuple[D, int]]  # Outputs of each prompt's batch, and its row there

    def logits(self, chosen: BoolArray) -> Iterator[FloatArray]:
        """Yield logits (m, m) for each True of (N, K)."""
        prompts = np.flatnonzero(chosen.any(axis=1)).tolist()
        tokens = [(np.flatnonzero(chosen[prompt]) + 1).tolist() for prompt in prompts]
        rows = zip(prompts, tokens, strict=True)
        return self.draw([(*self.rows[prompt], masks) for prompt, masks in rows])


@runtime_checkable
class Sweep(Protocol):
    """Decodes many prompts on one image; not thread-safe.

    Attributes:
        bytes_per_prompt: Approximate memory per prompt of a batch.
    """

    @property
    def bytes_per_prompt(self) -> int: ...

    def decode(self, prompts: ModelPrompts) -> SweepAnswer:
        """Decode N prompts without mask prompts."""
        ...


@runtime_checkable
class Sweeps(Protocol):
    """Capability: decode many prompts on one image faster."""

    def sweep(
        self, seen: EncoderOutput, geometry: Geometry, precision: SweepPrecision
    ) -> Sweep | None:
        """Create the sweep of an image, or None if this model has no faster implementation.

        Args:
            seen: Encoder output of the image.
            geometry: Position of the image; masks may be wrong in the padding.
            precision: "model": as the model was loaded; "mixed": large matrix products in 16 bits
                if the machine is faster with them.
        """
        ...


# Videos. Memory banks are handles of the runtime, like `EncoderOutput`: they stay on the device,
# and are copied only to be saved.


@brief
@dataclass(frozen=True, eq=False)
class VideoAnswer:
    """N objects on one frame."""

    # Final logits (N, m, m), with holes filled and overlaps removed if the model does so
    logits: FloatArray
    quality: NDArray[np.float32]  # Predicted IoU (N,)
    score: NDArray[np.float32]  # Logit of the object's presence (N,)
    handles: tuple[Any, ...]  # Handle of each object, for `VideoSteps.remember`


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


@runtime_checkable
class VideoSteps(Protocol):
    """Stateless steps of a video model."""

    def choosing(self, choice: MemoryChoice) -> VideoSteps:
        """Steps with another selection of memories.

        Raises:
            InputError: The model does not support it.
        """
        ...

    def see_frame(self, image: FloatArray) -> Any:
        """Encode a frame (3, S, S) float32, normalized, and return its handle."""
        ...

    def answer_points(
        self, frame: Any, coords: FloatArray, labels: IntArray, earlier: FloatArray | None
    ) -> VideoAnswer:
        """Prompt one object by points (P, 2) in model pixels; `earlier` (m, m) to correct."""
        ...

    def answer_mask(self, frame: Any, mask: FloatArray) -> VideoAnswer:
        """Prompt one object with a mask (S, S), 1 for foreground."""
        ...

    def step_video(
        self, frame: Any, banks: Sequence[Any], number: int, backward: bool
    ) -> VideoAnswer:
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


# Access to capabilities.


def require(runtime: ImageRuntime, kind: type[C]) -> C:
    """Return a capability.

    Raises:
        ModelError: The model does not support it.
    """
    found = runtime.capability(kind)
    if found is None:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()
        raise ModelError(
            f"{runtime.spec.name} does not support {words}. Choose another model from `anymask "
            "models list`."
        )
    return found


def mask_vectors(
    runtime: ImageRuntime,
    photo: UintImage,
    rles: Sequence[Rle],
    alone: bool = False,
    naming: MaskNaming | None = None,
) -> FloatArray:  # -> (n, D)
    """Vectors of the masks of an image.

    Args:
        runtime: Runtime of the model.
        photo: Image (H, W, 3).
        rles: n masks.
        alone: Whether to replace everything outside the mask by gray.
        naming: Name model. Defaults to that of the runtime.

    Raises:
        ModelError: The model does not support names.
    """
    naming = require(runtime, MaskNaming) if naming is None else naming
    found = []
    for start in range(0, len(rles), CLOSE_UPS_AT_ONCE):
        seen = [close_up(photo, rle) for rle in rles[start : start + CLOSE_UPS_AT_ONCE]]
        seen = [one.alone() for one in seen] if alone else seen
        photos, masks = ([one[part] for one in seen] for part in (0, 1))
        found.append(naming.embed_crops(np.stack(photos), np.stack(masks)))
    return np.concatenate(found) if found else np.zeros((0, 0), np.float32)


def open_sweep(
    runtime: ImageRuntime,
    seen: EncoderOutput,
    geometry: Geometry,
    precision: SweepPrecision = "model",
) -> Sweep:
    """Create the runtime's sweep of an image, or a generic one that uses the decoder."""
    sweeps = runtime.capability(Sweeps)
    faster = None if sweeps is None else sweeps.sweep(seen, geometry, precision)
    return DecodingSweep(runtime, seen) if faster is None else faster


class DecodingSweep:
    """Generic sweep: decodes all masks and keeps them until the next call."""

    # Arrays inside a decoder, each as large as the image's maps; measured with nano.
    _ARRAYS = 12

    def __init__(self, runtime: ImageRuntime, seen: EncoderOutput) -> None:
        self._clicks = require(runtime, PromptDecoding)
        self._family = runtime.family
        self._seen = seen
        masks = 4 * 4 * runtime.spec.mask_side**2
        self.bytes_per_prompt = self._ARRAYS * seen.nbytes + 4 * masks

    def decode(self, prompts: ModelPrompts) -> KeptMasks:
        decoded = self._clicks.decode(self._seen, prompts)
        return KeptMasks(*self._family.candidates(*decoded))


@brief
@dataclass(frozen=True, eq=False)
class KeptMasks:
    """Decoded predictions: masks (N, K, m, m) and quality (N, K)."""

    masks: FloatArray
    quality: FloatArray

    def logits(self, chosen: BoolArray) -> Iterator[FloatArray]:
        """Yield logits (m, m) for each True of (N, K)."""
        for row, mask in np.argwhere(chosen):
            yield self.masks[row, mask]


# Runtime errors.


@contextmanager
def running(name: str) -> Iterator[None]:
    """Convert exceptions of a runtime to AnymaskError; MemoryError is passed on."""
    try:
        yield
    except (AnymaskError, MemoryError):
        raise
    except Exception as error:  # exception classes of the runtimes are not public
        raise AnymaskError(
            f"{name} failed to run ({type(error).__name__}). If the system is out of memory, "
            "pass fewer points or prompts at once. Otherwise encode the image again."
        ) from error


def check_maps(
    maps: Sequence[FeatureMap], wanted: Mapping[str, tuple[int | str, ...]], name: str
) -> None:
    """Raises DataError unless feature maps (C, h, w) match the inputs of a decoder.

    Args:
        maps: Feature maps of the image.
        wanted: Shapes (1, C, h, w) by name; a letter is a variable dimension.
        name: Name of the model, for messages.
    """
    shapes = {one.name: (1, *one.values.shape) for one in maps}
    fits = shapes.keys() == wanted.keys() and all(
        len(shape) == len(wanted[key])
        and all(isinstance(a, str) or a == b for a, b in zip(wanted[key], shape, strict=True))
        for key, shape in shapes.items()
    )
    if not fits:
        listed = ", ".join(f"{key} {sides[1:]}" for key, sides in wanted.items())
        found = ", ".join(f"{one.name} {one.values.shape}" for one in maps)
        raise DataError(
            f"{name} requires the feature maps {listed}, but this embedding has "
            f"{found}. Encode the image again."
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
    found = available_devices()
    if device == "auto":
        return torch.device(found[0])  # type: ignore[no-any-return]  # torch is Any
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise InputError(
            f"Invalid device {device!r}. Choose from: {', '.join(get_args(Device))}, "
            "or a CUDA device such as 'cuda:1'"
        )
    if kind not in found:
        raise InputError(
            f"Device {device!r} is not available: PyTorch finds only "
            f"{', '.join(found)}. Use device='auto', or install the PyTorch build for "
            "that device."
        )
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise InputError(
            f"Device {device!r} does not exist: this machine has "
            f"{torch.cuda.device_count()} CUDA devices, numbered from 0."
        )
    return torch.device(device)  # type: ignore[no-any-return]  # torch is Any


def available_devices() -> tuple[str, ...]:
    """Device types available to torch, fastest first, ending with "cpu"."""
    torch = import_torch()
    found = ["cuda"] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        found.append("mps")
    return (*found, "cpu")


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
    names = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    return names[precision]  # type: ignore[no-any-return]  # torch is Any


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


# A runtime that passes every computing call through one function, which may queue, count or cache
# it. Capabilities and the sweeps that they open are also wrapped.

# Receives the method's name, its arguments, and a function that makes the call.
Interceptor = Callable[[str, tuple[Any, ...], Callable[[], Any]], Any]


class WrappedRuntime:
    """A runtime whose computing calls pass through an interceptor.

    Args:
        inside: The wrapped runtime.
        around: Interceptor of each call.
    """

    def __init__(self, inside: ImageRuntime, around: Interceptor) -> None:
        self._inside, self._around = inside, around

    @property
    def spec(self) -> ModelSpec:
        """Specification of the model."""
        return self._inside.spec

    @property
    def family(self) -> Family:
        """Rules of the model."""
        return self._inside.family

    @property
    def weights_hash(self) -> str:
        """Hash of the weights."""
        return self._inside.weights_hash

    def encode_images(self, images: FloatArray) -> list[EncoderOutput]:
        seen: list[EncoderOutput] = self._around(
            "encode_images", (images,), lambda: self._inside.encode_images(images)
        )
        return seen

    def capability(self, kind: type[C]) -> C | None:
        found = self._inside.capability(kind)
        return None if found is None else cast(C, RuntimeProxy(found, self._around))


class RuntimeProxy:
    """A proxy whose method calls pass through `around`; other attributes are unchanged.

    Returned sweeps, predictions and steps are also wrapped. A generator is consumed inside the
    call, because it computes lazily.
    """

    def __init__(self, inside: object, around: Interceptor) -> None:
        self._inside, self._around = inside, around

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inside, name)
        if not callable(method):
            return method

        def call(*given: Any, **named: Any) -> Any:
            def compute() -> Any:
                found = method(*given, **named)
                return iter(list(found)) if isinstance(found, Iterator) else found

            found = self._around(name, (*given, *named.values()), compute)
            opened = isinstance(found, Sweep | SweepAnswer | VideoSteps | RuntimeProxy)
            return RuntimeProxy(found, self._around) if opened else found

        return call
