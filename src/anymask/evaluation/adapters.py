"""Open methods for evaluation: models by name, and functions as a `Segmenter`.

An object with `spec`, `encode` and `segment` is used directly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from anymask.base import BoolArray, InputError, UintImage, brief
from anymask.evaluation.protocols import PlainAnswer, Segmenter
from anymask.jobs import ModelSettings, model_settings
from anymask.masks import ModelSpec, Prompt, PromptKind
from anymask.segment import EncodedImage, Model, Prediction, encode_image

Method = Segmenter | ModelSettings | str | None  # an object, or a model's name


@brief
@dataclass(frozen=True, eq=False)
class FromFunction:
    """Adapter that makes a function of an image and one prompt a `Segmenter`."""

    name: str  # Name in tables
    accepts: frozenset[PromptKind]  # Supported prompt types
    function: Callable[[Any, Prompt], BoolArray]  # (H, W, 3) uint8 and a Prompt -> (H, W) bool
    # Function called once for each image; its result replaces the image in `function`
    prepare: Callable[[UintImage], Any] | None = None
    slow: bool = False  # Whether to evaluate only a part of the masks

    @property
    def spec(self) -> ModelSpec:
        """Model spec; only name and prompt types are meaningful."""
        return ModelSpec(name=self.name, accepts=self.accepts)

    def encode(self, image: UintImage) -> Any:
        """Prepare an image."""
        return self.prepare(image) if self.prepare else image

    def segment(
        self, embedding: Any, *, prompts: Sequence[Prompt], previous: object = None
    ) -> list[PlainAnswer]:
        return [PlainAnswer(self.function(embedding, prompt)[None]) for prompt in prompts]


class RenamedSegmenter:
    """Segmenter under another name, to compare two methods of the same name.

    All other attributes are those of the wrapped segmenter.
    """

    def __init__(self, inner: Segmenter, name: str) -> None:
        self._inner = inner
        self.spec = replace(inner.spec, name=name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class EdgesRefined:
    """Model that is evaluated with the image instead of the embedding alone.

    Like in normal use, it refines masks on crops and along edges, and optionally uses the mirrored
    image. Other evaluations pass only an embedding.
    """

    def __init__(self, model: Model, *, mirror: bool = False) -> None:
        self.words = "edges, mirror" if mirror else "edges"
        self.spec = replace(model.spec, name=f"{model.spec.name}, {self.words}")
        self.runtime = model.runtime
        self._model: Any = model  # accepts an EncodedPhoto like an image
        self._mirror = mirror

    def encode(self, image: UintImage) -> EncodedImage:
        """Encode an image and keep it with its embedding."""
        return EncodedImage(encode_image(self.runtime, image, mirror=self._mirror), image)

    def segment(
        self, embedding: EncodedImage, *, prompts: Sequence[Prompt], **options: Any
    ) -> list[Prediction]:
        """Segment with the image."""
        settings = {"mirror": self._mirror} | options
        return list(self._model.segment(embedding, prompts=prompts, **settings))


def open_methods(
    chosen: Sequence[Method], refine_edges: bool = False, mirror: bool = False
) -> list[Segmenter]:
    """Open methods, each under a unique name.

    Raises InputError for duplicates and for `mirror` without `refine_edges`; ModelError,
    WeightsError.

    Args:
        refine_edges: Also evaluate each named model as `EdgesRefined`.
        mirror: Use the mirrored image as well, in `EdgesRefined`.
    """
    if mirror and not refine_edges:
        raise InputError("Option mirror requires refine_edges. Set both, or omit mirror.")
    models: list[Segmenter] = []
    for index, method in enumerate(chosen):
        if method in chosen[:index]:
            title = (
                method.model
                if isinstance(method, ModelSettings)
                else getattr(method, "name", method)
            )
            raise InputError(f"Duplicate model {title}. Pass each model once.")
        if method is not None and not isinstance(method, (str, ModelSettings)):
            models.append(method)
            continue
        choice = model_settings(method)
        model = choice.load()
        taken = model.spec.name in [other.spec.name for other in models]
        word = f"{choice.model}={choice.weights.name}" if choice.weights else choice.model
        models.append(cast(Segmenter, RenamedSegmenter(model, word)) if taken else model)
        if refine_edges:
            refined = EdgesRefined(model, mirror=mirror)
            renamed = RenamedSegmenter(refined, f"{word}, {refined.words}")
            models.append(cast(Segmenter, renamed) if taken else refined)
    return models


def weights_hash(segmenter: Segmenter) -> str:
    """Return the hash of a model's weights; "" for other methods."""
    return str(getattr(getattr(segmenter, "runtime", None), "weights_hash", ""))
