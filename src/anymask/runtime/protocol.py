"""What a predictor needs of a model, whatever runs it: pictures in, handles and capabilities out.

A runtime sees pictures. What else it can do is a capability: a small protocol (`PromptDecoding`,
`EdgeRefining`, `MaskNaming`, `Remembering`, `Sweeps`, `VideoSteps`) that is asked for by type.

Letters: B images, K classes, S the model's input side, N prompts or objects, P points, T the masks
that the decoder makes for a prompt, m the side of its low-resolution masks, W that of a window
around an edge, n its cells, s the side of a close-up, D the length of a name's vector.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import (
    TYPE_CHECKING,
    Any,
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
    MissingExtra,
    ModelError,
    UintImage,
    brief,
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
SweepPrecision = Literal["model", "mixed"]

CLOSE_UPS_AT_ONCE = 256  # masks whose close-ups are held


@runtime_checkable
class ImageRuntime(Protocol):
    """An image model that can be asked from any number of threads at once.

    Attributes:
        spec: How the model sees a picture.
        family: The model's rules, with what was learned beside its weights.
        weights_hash: Names the weights; equal hashes may read each other's embeddings.
    """

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def family(self) -> Family: ...

    @property
    def weights_hash(self) -> str: ...

    def see(self, images: FloatArray) -> list[EncoderOutput]:
        """(B, 3, S, S) float32, normalised -> for each image what was seen, left where it is."""
        ...

    def capability(self, kind: type[C]) -> C | None:
        """This model's way to do what a protocol describes, or None."""
        ...


@runtime_checkable
class PromptDecoding(Protocol):
    """The capability of answering prompts about a picture that was seen."""

    def decode(self, seen: EncoderOutput, prompts: ModelPrompts) -> tuple[FloatArray, FloatArray]:
        """One picture and N prompts -> logits (N, T, m, m) and quality (N, T), float32.

        Every mask token is answered; the family keeps the candidates. `seen` may be another
        runtime's of the same weights: its maps are read then.
        """
        ...


@runtime_checkable
class GuidedDecoding(Protocol):
    """The capability of answering prompts while looking for something (`models.guided`)."""

    def decode_guided(
        self, seen: EncoderOutput, prompts: ModelPrompts, attention: FloatArray, target: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """As `PromptDecoding.decode`.

        Args:
            attention: (h, w) 0..1, how alike each cell of the features is to what is looked
                for.
            target: (C,) its feature.
        """
        ...


@runtime_checkable
class EdgeRefining(Protocol):
    """The capability of refining a mask's edge in the photo, learned beside the model's weights."""

    def refine_edge(
        self, photo: UintImage, logits: FloatArray, prompt: FloatArray
    ) -> FloatArray:  # (W, W, 3), (n, n), (2, W, W) -> (W, W)
        """What to add to the logits of one window: see `models.rules.edges`."""
        ...


@runtime_checkable
class ClassLabelling(Protocol):
    """The capability of telling classes apart without a prompt (`ModelSpec.classes`)."""

    def label_cells(self, seen: EncoderOutput) -> FloatArray:  # -> (1 + K, m, m)
        """Logits of "none of them" and of each class, for every cell of a low-resolution mask."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """The capability of reading an object's earlier frames, learned beside the model's weights."""

    def read_memory(self, questions: Sequence[MemoryQuestion]) -> list[MemoryAnswer]:
        """Objects on one frame: see `models.rules.memory`. Those that remember the same
        cells (the same array) are answered together."""
        ...


@runtime_checkable
class VectorPrompts(Protocol):
    """The capability of taking vectors as prompts: `ModelPrompts.vectors`."""

    def vector_length(self) -> int:
        """D, the numbers of a vector."""
        ...


@runtime_checkable
class MaskNaming(Protocol):
    """The capability of naming masks, learned beside the model's weights."""

    def name_table(self) -> NameTable:
        """The names."""
        ...

    def look(self, photos: UintImage, masks: UintImage) -> FloatArray:  # (n, s, s, 3), (n, s, s)
        """Vectors (n, D) of length 1 of close-ups (`models.rules.crops`)."""
        ...


@runtime_checkable
class ThreadSharing(Protocol):
    """A runtime whose calls may use fewer threads, where several go on at once."""

    threads: int

    def with_threads(self, threads: int) -> ImageRuntime:
        """The same weights, so many threads a call."""
        ...


# Many prompts on one picture.


@runtime_checkable
class SweepAnswer(Protocol):
    """What N prompts were answered with.

    Attributes:
        quality: (N, K) of the candidates of an ambiguous prompt, as `Family.candidates` gives
            them.
    """

    @property
    def quality(self) -> FloatArray: ...

    def logits(self, chosen: BoolArray) -> Iterator[FloatArray]:
        """(N, K) bool -> (m, m) float32 of each chosen candidate, row by row.

        To be read before the sweep is asked again.
        """
        ...


def chosen_tokens(chosen: BoolArray) -> list[tuple[int, list[int]]]:  # (N, K)
    """Each prompt with a chosen candidate, and the mask tokens of these; token 0 is none."""
    prompts = np.flatnonzero(chosen.any(axis=1)).tolist()
    return [(prompt, (np.flatnonzero(chosen[prompt]) + 1).tolist()) for prompt in prompts]


@runtime_checkable
class Sweep(Protocol):
    """A sweep over one image, for one thread at a time.

    Attributes:
        bytes_per_prompt: Memory that a batch needs for each of its prompts, about.
    """

    @property
    def bytes_per_prompt(self) -> int: ...

    def ask(self, prompts: ModelPrompts) -> SweepAnswer:
        """Answer N prompts without masks of their own."""
        ...


@runtime_checkable
class Sweeps(Protocol):
    """The capability of a faster way for many prompts on one picture."""

    def sweep(
        self, seen: EncoderOutput, geometry: Geometry, precision: SweepPrecision
    ) -> Sweep | None:
        """One picture -> its sweep, or None where this model has no faster way.

        Args:
            geometry: Of the photo: masks need not be true beyond it.
            precision: "model": as the model was loaded; "mixed": large products in 16 bits
                where the machine multiplies them faster.
        """
        ...


# Objects through a video. Banks of memories are handles of the runtime, as `EncoderOutput` is: they
# stay where they were computed, and are copied out only to be saved.


@brief
@dataclass(frozen=True, eq=False)
class VideoAnswer:
    """N objects on one frame.

    Attributes:
        logits: (N, m, m) as users get them: holes filled, overlaps taken away where the model
            does so.
        quality: (N,) predicted IoU.
        score: (N,) the logit of "the object is there".
        handles: One of each object, for `VideoSteps.remember`.
    """

    logits: FloatArray
    quality: NDArray[np.float32]
    score: NDArray[np.float32]
    handles: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class MemoryChoice:
    """Which memories a video model reads beside the published choice: see `TrackingSettings`."""

    stride: int | None = None
    pool: int = 1
    fill_gaps: bool = False

    def applied_to(self, settings: TrackingSettings) -> TrackingSettings:
        """A family's settings with this choice."""
        stride = self.stride or settings.stride
        return replace(settings, stride=stride, fill_gaps=self.fill_gaps, pool=self.pool)


@runtime_checkable
class VideoSteps(Protocol):
    """A video model's steps; nothing is kept between them."""

    def choosing(self, choice: MemoryChoice) -> VideoSteps:
        """The same steps with another choice of memories. Raises InputError for one that the model
        cannot make."""
        ...

    def see_frame(self, image: FloatArray) -> Any:
        """(3, S, S) float32, normalised -> the frame's handle."""
        ...

    def answer_points(
        self, frame: Any, coords: FloatArray, labels: IntArray, earlier: FloatArray | None
    ) -> VideoAnswer:
        """One object's prompt (P, 2), (P,) in model pixels; `earlier` (m, m): what is corrected."""
        ...

    def answer_mask(self, frame: Any, mask: FloatArray) -> VideoAnswer:
        """A mask that a person gave, (S, S) with 1 for the object."""
        ...

    def step_video(
        self, frame: Any, banks: Sequence[Any], number: int, backward: bool
    ) -> VideoAnswer:
        """Find the objects of some banks on a frame."""
        ...

    def remember(
        self, frame: Any, bank: Any | None, handle: Any, moment: tuple[int, bool], prompted: bool
    ) -> Any:
        """A bank, or a new one, with one object of an answer; `moment`: the frame, backwards."""
        ...

    def bank_to_arrays(self, bank: Any) -> Mapping[str, NDArray[Any]]:
        """A bank in memory, to be saved."""
        ...

    def arrays_to_bank(self, arrays: Mapping[str, NDArray[Any]]) -> Any:
        """The bank that `bank_to_arrays` gave."""
        ...


# Asking for capabilities.


def require(runtime: ImageRuntime, kind: type[C]) -> C:
    """A capability that must be there. Raises ModelError where it is not."""
    found = runtime.capability(kind)
    if found is None:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()
        raise ModelError(
            f"{runtime.spec.name} does not support {words}. Choose another model from `anymask "
            "models list`."
        )
    return found


def mask_vectors(
    runtime: ImageRuntime, photo: UintImage, rles: Sequence[Rle], alone: bool = False
) -> FloatArray:  # -> (n, D)
    """The vectors of masks of a photo. Raises ModelError for a model without names.

    Args:
        alone: Each with everything outside of the mask gray.
    """
    naming = require(runtime, MaskNaming)
    found = []
    for start in range(0, len(rles), CLOSE_UPS_AT_ONCE):
        seen = [close_up(photo, rle) for rle in rles[start : start + CLOSE_UPS_AT_ONCE]]
        seen = [one.alone() for one in seen] if alone else seen
        photos, masks = ([one[part] for one in seen] for part in (0, 1))
        found.append(naming.look(np.stack(photos), np.stack(masks)))
    return np.concatenate(found) if found else np.zeros((0, 0), np.float32)


def open_sweep(
    runtime: ImageRuntime,
    seen: EncoderOutput,
    geometry: Geometry,
    precision: SweepPrecision = "model",
) -> Sweep:
    """The runtime's own sweep over one picture, or one that decodes everything."""
    sweeps = runtime.capability(Sweeps)
    faster = None if sweeps is None else sweeps.sweep(seen, geometry, precision)
    return DecodingSweep(runtime, seen) if faster is None else faster


class DecodingSweep:
    """A sweep of any runtime: all masks are made, and kept until the next question."""

    # Of the arrays inside a decoder, each as large as the image's maps; measured with nano.
    _ARRAYS = 12

    def __init__(self, runtime: ImageRuntime, seen: EncoderOutput) -> None:
        self._clicks = require(runtime, PromptDecoding)
        self._family = runtime.family
        self._seen = seen
        masks = 4 * 4 * runtime.spec.mask_side**2
        self.bytes_per_prompt = self._ARRAYS * seen.nbytes + 4 * masks

    def ask(self, prompts: ModelPrompts) -> KeptMasks:
        """Answer N prompts."""
        decoded = self._clicks.decode(self._seen, prompts)
        return KeptMasks(*self._family.candidates(*decoded))


@brief
@dataclass(frozen=True, eq=False)
class KeptMasks:
    """Answers whose masks are there already: (N, K, m, m) and (N, K)."""

    masks: FloatArray
    quality: FloatArray

    def logits(self, chosen: BoolArray) -> Iterator[FloatArray]:
        """(N, K) bool -> (m, m) of each chosen one."""
        for row, mask in np.argwhere(chosen):
            yield self.masks[row, mask]


# Failures of a runtime.


@contextmanager
def running(name: str) -> Iterator[None]:
    """Explain what a runtime raises inside the `with`; MemoryError stays what it is."""
    try:
        yield
    except (AnymaskError, MemoryError):
        raise
    except Exception as error:  # the runtimes' own classes are not public
        raise AnymaskError(
            f"{name} failed to run ({type(error).__name__}). If the system is out of memory, "
            "pass fewer points or prompts at once. Otherwise encode the image again."
        ) from error


def check_maps(
    maps: Sequence[FeatureMap], wanted: Mapping[str, tuple[int | str, ...]], name: str
) -> None:
    """Whether an image's maps, (C, h, w) each, have the names and shapes that a decoder takes.

    Raises DataError.

    Args:
        wanted: (1, C, h, w) by name; a letter stands for any number.
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


# Devices of torch.

Precision = Literal["fp32", "bf16", "fp16"]
Device = Literal["auto", "cpu", "cuda", "mps"]


def pick_device(device: str = "auto") -> torch.device:
    """The torch device for a name: "auto" takes cuda, else mps, else cpu.

    Raises InputError where the asked device is not there ("cuda:1" on a machine with one GPU too),
    and MissingExtra without torch.
    """
    torch = import_torch()
    found = available_devices()
    if device == "auto":
        return torch.device(found[0])  # type: ignore[no-any-return]  # torch comes in as Any
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
    return torch.device(device)  # type: ignore[no-any-return]  # torch comes in as Any


def available_devices() -> tuple[str, ...]:
    """The kinds of device that torch can use here, fastest first; "cpu" is always the last."""
    torch = import_torch()
    found = ["cuda"] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        found.append("mps")
    return (*found, "cpu")


def check_precision(precision: str) -> None:
    """Raises InputError for a word that is no precision."""
    if precision not in get_args(Precision):
        raise InputError(
            f"Invalid precision {precision!r}. Choose from: {', '.join(get_args(Precision))}"
        )


def pick_dtype(precision: str) -> torch.dtype:
    """The torch dtype of "fp32", "bf16" or "fp16"; InputError for anything else."""
    check_precision(precision)
    torch = import_torch()
    names = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    return names[precision]  # type: ignore[no-any-return]  # torch comes in as Any


def import_torch() -> Any:
    """The torch module, or MissingExtra that names the extra."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", "torch", "running a checkpoint") from error
    return torch


def fast_halves(device: torch.device) -> bool:
    """Whether bf16 products are faster than float32 ones there: GPUs and newer processors."""
    if device.type != "cpu":
        return device.type == "cuda"
    return bool(import_torch().ops.mkldnn._is_mkldnn_bf16_supported())


# A runtime whose every computing call goes through one function, which may let the call wait for
# its turn, count it, or answer it from memory; whatever the runtime can do (its capabilities, and
# the sweeps that they open) is forwarded alike.

# Is told the method's name and what it was given, and makes the call (or does without it).
Interceptor = Callable[[str, tuple[Any, ...], Callable[[], Any]], Any]


class WrappedRuntime:
    """The same model as the runtime inside.

    Args:
        around: Makes each call of a method that computes.
    """

    def __init__(self, inside: ImageRuntime, around: Interceptor) -> None:
        self._inside, self._around = inside, around

    @property
    def spec(self) -> ModelSpec:
        """How the model sees a picture."""
        return self._inside.spec

    @property
    def family(self) -> Family:
        """The model's rules."""
        return self._inside.family

    @property
    def weights_hash(self) -> str:
        """Names the weights."""
        return self._inside.weights_hash

    def see(self, images: FloatArray) -> list[EncoderOutput]:
        seen: list[EncoderOutput] = self._around("see", (images,), lambda: self._inside.see(images))
        return seen

    def capability(self, kind: type[C]) -> C | None:
        found = self._inside.capability(kind)
        return None if found is None else cast(C, RuntimeProxy(found, self._around))


class RuntimeProxy:
    """An object whose methods are called through `around`; other attributes are its own.

    A sweep, an answer or steps that a method returns are forwarded as well; a generator is read to
    its end inside the call, as its work is done there.
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
