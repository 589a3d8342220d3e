"""What a predictor needs of a model, whatever runs it: pictures in, handles and capabilities out.

A runtime sees pictures. What else it can do is a capability: a small protocol (`PromptDecoding`,
`EdgeRefining`, `MaskNaming`, `Remembering`, `sweep.Sweeps`) that is asked for by type.

Letters: B images, K classes, S the model's input side, N prompts, T the masks that the decoder
makes for a prompt, m the side of its low-resolution masks, W that of a window around an edge, n its
cells, s the side of a close-up, D the length of a name's vector.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from anymask.base import FloatArray, ModelError, UintImage
from anymask.masks import EncoderOutput, ModelPrompts, ModelSpec
from anymask.models.rules import Family

if TYPE_CHECKING:
    from anymask.models.rules import MemoryAnswer, MemoryQuestion, NameTable

C = TypeVar("C")


@runtime_checkable
class ImageRuntime(Protocol):
    """An image model that can be asked from any number of threads at once.

    spec          how the model sees a picture
    family        the model's rules, with what was learned beside its weights
    weights_hash  names the weights; equal hashes may read each other's embeddings
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
class EdgeRefining(Protocol):
    """The capability of refining a mask's edge in the photo, learned beside the model's weights."""

    def refine_edge(
        self, photo: UintImage, logits: FloatArray, prompt: FloatArray
    ) -> FloatArray:  # (W, W, 3), (n, n), (2, W, W) -> (W, W)
        """What to add to the logits of one window: see `primitives.edge_window`."""
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
        """Objects on one frame: see `primitives.memory_question`. Those that remember the same
        cells (the same array) are answered together."""
        ...


@runtime_checkable
class MaskNaming(Protocol):
    """The capability of naming masks, learned beside the model's weights."""

    def name_table(self) -> NameTable:
        """The names."""
        ...

    def look(
        self, photos: UintImage, masks: UintImage
    ) -> tuple[FloatArray, FloatArray]:  # (n, s, s, 3), (n, s, s) -> (n, D), (n,)
        """Vectors of close-ups (`primitives.close_up`), and logits of "it is an object"."""
        ...


@runtime_checkable
class ThreadSharing(Protocol):
    """A runtime whose calls may use fewer threads, where several go on at once."""

    threads: int

    def with_threads(self, threads: int) -> ImageRuntime:
        """The same weights, so many threads a call."""
        ...


def require(runtime: ImageRuntime, kind: type[C]) -> C:
    """A capability that must be there. Raises ModelError where it is not."""
    found = runtime.capability(kind)
    if found is None:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()
        raise ModelError(
            f"{runtime.spec.name} cannot do this: it has no {words}; "
            "take another model of `anymask models list`"
        )
    return found
