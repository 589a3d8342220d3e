"""Open methods for evaluation: models by name, and code of other projects as a `Segmenter`.

A peer is named `module:name`; the module is imported as by `python -m`, from the working folder
first.

    def name(image, points, labels, box):   # (H, W, 3) uint8 RGB, (P, 2) x y or None,
        ...                                 # (P,) 1 on and 0 off the object or None, (4,) xyxy or
        return masks, scores                # None -> (K, H, W) bool best first, (K,) or None

Optional attributes of the callable: `accepts`, a set of "point", "negative_point", "box" (default:
all three), and `encode`, a callable that runs once for each image and whose result replaces the
image in the calls. An object with `spec`, `encode` and `segment` is used directly.
Letters: H W the image, P points, K masks.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from anymask.base import BoolArray, ConfigError, InputError, UintImage, brief
from anymask.evaluation.protocols import PlainAnswer, Segmenter
from anymask.jobs import ModelChoice, model_choice
from anymask.masks import ModelSpec, Prompt, PromptKind
from anymask.segment import EncodedPhoto, Model, Prediction, encode_image

PEER_PROMPTS: frozenset[PromptKind] = frozenset({"point", "negative_point", "box"})
Method = Segmenter | ModelChoice | str | None  # an object, a model's name, or "module:name"


@brief
@dataclass(frozen=True, eq=False)
class FromFunction:
    """Adapter that makes a function of an image and one prompt a `Segmenter`.

    Attributes:
        name: Name in tables.
        accepts: Supported prompt types.
        function: (H, W, 3) uint8 and a Prompt -> (H, W) bool.
        prepare: Function called once for each image; its result replaces the image in `function`.
        slow: Whether to evaluate only a part of the masks.
    """

    name: str
    accepts: frozenset[PromptKind]
    function: Callable[[Any, Prompt], BoolArray]
    prepare: Callable[[UintImage], Any] | None = None
    slow: bool = False

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
        """Predict one mask for each prompt."""
        return [PlainAnswer(self.function(embedding, prompt)[None]) for prompt in prompts]


@brief
@dataclass(frozen=True, eq=False)
class Peer:
    """Adapter that makes a peer callable a `Segmenter`.

    Attributes:
        name: Name in tables.
        function: Callable that predicts masks for one prompt.
        accepts: Supported prompt types.
        prepare: Function called once for each image.
    """

    name: str
    function: Callable[..., Any]
    accepts: frozenset[PromptKind] = PEER_PROMPTS
    prepare: Callable[[UintImage], Any] | None = None

    @property
    def spec(self) -> ModelSpec:
        """Model spec; only name and prompt types are meaningful."""
        return ModelSpec(name=self.name, accepts=self.accepts)

    def encode(self, image: UintImage) -> Any:
        """Return the size of an image and the prepared image."""
        return image.shape[:2], self.prepare(image) if self.prepare else image

    def segment(
        self, embedding: Any, *, prompts: Sequence[Prompt], previous: object = None
    ) -> list[PlainAnswer]:
        """Call the peer for each prompt.

        Raises:
            InputError: A result has the wrong shape.
        """
        (height, width), image = embedding
        wanted = (
            f"Peer {self.name!r} must return (masks, scores) with masks of shape (K, {height}, "
            f"{width})"
        )
        answers = []
        for prompt in prompts:
            result = self.function(image, prompt.points, prompt.labels, prompt.box)
            if not isinstance(result, tuple) or len(result) != 2:
                raise InputError(
                    f"{wanted}, but it returned a value of type {type(result).__name__}."
                )
            masks = np.asarray(result[0])
            if masks.ndim != 3 or masks.shape[1:] != (height, width) or not len(masks):
                raise InputError(f"{wanted}, but it returned masks of shape {masks.shape}.")
            scores = None if result[1] is None else np.asarray(result[1], np.float64).reshape(-1)
            if scores is not None and len(scores) != len(masks):
                raise InputError(
                    f"{wanted}, but it returned {len(masks)} masks and {len(scores)} scores."
                )
            answers.append(PlainAnswer(masks > 0, scores))
        return answers


class RenamedSegmenter:
    """Segmenter under another name, to compare two methods of the same name.

    All other attributes are those of the wrapped segmenter.
    """

    def __init__(self, inner: Segmenter, name: str) -> None:
        self._inner = inner
        self.spec = replace(inner.spec, name=name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def encode(self, image: UintImage) -> Any:
        """Encode with the wrapped segmenter."""
        return self._inner.encode(image)

    def segment(self, embedding: Any, **options: Any) -> Any:
        """Segment with the wrapped segmenter, including options such as `ranking`."""
        return self._inner.segment(embedding, **options)


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

    def encode(self, image: UintImage) -> EncodedPhoto:
        """Encode an image and keep it with its embedding."""
        return EncodedPhoto(encode_image(self.runtime, image, mirror=self._mirror), image)

    def segment(
        self, embedding: EncodedPhoto, *, prompts: Sequence[Prompt], **options: Any
    ) -> list[Prediction]:
        """Segment with the image."""
        settings = {"mirror": self._mirror} | options
        answers: list[Prediction] = self._model.segment(embedding, prompts=prompts, **settings)
        return answers


def open_peer(name: str) -> Segmenter:
    """Import a peer `module:name`; `name` is also its name in tables.

    Raises ConfigError if the name has no colon, the module cannot be imported, it lacks the name,
    or the object cannot be called with four arguments.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ConfigError(f"Invalid peer {name!r}. Use the form module:callable.")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found = getattr(import_module(module), attribute)
    except ImportError as error:
        raise ConfigError(
            f"Cannot import the peer module {module}. Run the command in its folder, or add that "
            "folder to PYTHONPATH."
        ) from error
    except AttributeError as error:
        raise ConfigError(
            f"The peer module {module} has no {attribute!r}. Check the name after the colon."
        ) from error
    finally:
        sys.path.remove(here)
    if all(hasattr(found, part) for part in ("spec", "encode", "segment")):
        return RenamedSegmenter(cast(Segmenter, found), name)
    if not callable(found):
        raise ConfigError(
            f"Invalid peer {name!r}: expected a callable, but it is of type {type(found).__name__}."
        )
    with suppress(ValueError):  # built-in functions may have no signature
        try:
            inspect.signature(found).bind("image", "points", "labels", "box")
        except TypeError:
            raise ConfigError(
                f"{name} does not accept four arguments. A peer is called as peer(image, "
                "points, labels, box) and returns (masks, scores)."
            ) from None
    accepts = frozenset(getattr(found, "accepts", PEER_PROMPTS))
    unknown = sorted(str(kind) for kind in accepts - set(get_args(PromptKind)))
    if unknown:
        raise ConfigError(
            f"Invalid peer {name!r}: its `accepts` contains {unknown[0]!r}. Supported values: "
            f"{', '.join(sorted(PEER_PROMPTS))}."
        )
    return Peer(name, found, accepts, getattr(found, "encode", None))


def open_methods(
    chosen: Sequence[Method], refine_edges: bool = False, mirror: bool = False
) -> list[Segmenter]:
    """Open methods, each under a unique name.

    Raises InputError for duplicates and for `mirror` without `refine_edges`; ConfigError,
    ModelError, WeightsError.

    Args:
        refine_edges: Also evaluate each named model as `EdgesRefined`.
        mirror: Use the mirrored image as well, in `EdgesRefined`.
    """
    if mirror and not refine_edges:
        raise InputError("Option mirror requires refine_edges. Set both, or omit mirror.")
    found: list[Segmenter] = []
    for place, one in enumerate(chosen):
        if one in chosen[:place]:
            title = one.model if isinstance(one, ModelChoice) else getattr(one, "name", one)
            raise InputError(f"Duplicate model {title}. Pass each model once.")
        if isinstance(one, str) and ":" in one and not Path(one).exists():
            found.append(open_peer(one))
            continue
        if one is not None and not isinstance(one, (str, ModelChoice)):
            found.append(one)
            continue
        choice = model_choice(one)
        model = choice.load()
        taken = model.spec.name in [other.spec.name for other in found]
        word = f"{choice.model}={choice.weights.name}" if choice.weights else choice.model
        found.append(RenamedSegmenter(model, word) if taken else model)
        if refine_edges:
            refined = EdgesRefined(model, mirror=mirror)
            name = f"{word}, {refined.words}"
            found.append(RenamedSegmenter(refined, name) if taken else refined)
    return found


def weights_hash(segmenter: Segmenter) -> str:
    """Return the hash of a model's weights; "" for other methods."""
    return str(getattr(getattr(segmenter, "runtime", None), "weights_hash", ""))
