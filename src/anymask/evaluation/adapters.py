"""What is measured, opened: models by name, other projects' code as a `Segmenter`.

A peer is named `module:name`; the module is found as by `python -m`, the working folder first.

    def name(image, points, labels, box):   # (H, W, 3) uint8 RGB, (P, 2) x y or None,
        ...                                 # (P,) 1 on and 0 off the object or None, (4,) xyxy or
        return masks, scores                # None -> (K, H, W) bool best first, (K,) or None

Attributes of the callable say more: `accepts`, a set of "point", "negative_point", "box" (without
it: all three), and `encode`, a callable that is given each photo once and whose result takes its
place in the calls. An object with `spec`, `encode` and `segment` is used as it is.
Letters: H W the photo, P points, K masks.
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
Method = Segmenter | ModelChoice | str | None  # a loaded one, a model's name, or "module:name"


@brief
@dataclass(frozen=True, eq=False)
class FromFunction:
    """Any function of a photo and one prompt as a `Segmenter`.

    Attributes:
        name: In the tables.
        accepts: The prompt kinds that it understands.
        function: (H, W, 3) uint8 and a Prompt -> (H, W) bool.
        prepare: What to do once a photo; its result takes the photo's place in `function`.
        slow: Whether it takes so long that a run asks it for a part of the masks.
    """

    name: str
    accepts: frozenset[PromptKind]
    function: Callable[[Any, Prompt], BoolArray]
    prepare: Callable[[UintImage], Any] | None = None
    slow: bool = False

    @property
    def spec(self) -> ModelSpec:
        """Only the name and what it accepts mean something."""
        return ModelSpec(name=self.name, accepts=self.accepts)

    def encode(self, image: UintImage) -> Any:
        """The photo, prepared."""
        return self.prepare(image) if self.prepare else image

    def segment(
        self, embedding: Any, *, prompts: Sequence[Prompt], previous: object = None
    ) -> list[PlainAnswer]:
        """One mask a prompt."""
        return [PlainAnswer(self.function(embedding, prompt)[None]) for prompt in prompts]


@brief
@dataclass(frozen=True, eq=False)
class Peer:
    """A callable (see the module) as a `Segmenter`.

    Attributes:
        name: In the tables.
        function: What answers one prompt.
        accepts: The prompt kinds that it understands.
        prepare: What to do once a photo.
    """

    name: str
    function: Callable[..., Any]
    accepts: frozenset[PromptKind] = PEER_PROMPTS
    prepare: Callable[[UintImage], Any] | None = None

    @property
    def spec(self) -> ModelSpec:
        """Only the name and what it accepts mean something."""
        return ModelSpec(name=self.name, accepts=self.accepts)

    def encode(self, image: UintImage) -> Any:
        """The photo's size, and the photo as the callable wants it."""
        return image.shape[:2], self.prepare(image) if self.prepare else image

    def segment(
        self, embedding: Any, *, prompts: Sequence[Prompt], previous: object = None
    ) -> list[PlainAnswer]:
        """One call a prompt. Raises InputError for an answer of another shape."""
        (height, width), image = embedding
        wanted = (
            f"Peer {self.name!r} must return (masks, scores) with masks of shape (K, {height}, "
            f"{width})"
        )
        answers = []
        for prompt in prompts:
            said = self.function(image, prompt.points, prompt.labels, prompt.box)
            if not isinstance(said, tuple) or len(said) != 2:
                raise InputError(
                    f"{wanted}, but it returned a value of type {type(said).__name__}."
                )
            masks = np.asarray(said[0])
            if masks.ndim != 3 or masks.shape[1:] != (height, width) or not len(masks):
                raise InputError(f"{wanted}, but it returned masks of shape {masks.shape}.")
            scores = None if said[1] is None else np.asarray(said[1], np.float64).reshape(-1)
            if scores is not None and len(scores) != len(masks):
                raise InputError(
                    f"{wanted}, but it returned {len(masks)} masks and {len(scores)} scores."
                )
            answers.append(PlainAnswer(masks > 0, scores))
        return answers


class RenamedSegmenter:
    """A segmenter under another name, so that two of one name stand side by side.

    What the inner one can do, this one can.
    """

    def __init__(self, inner: Segmenter, name: str) -> None:
        self._inner = inner
        self.spec = replace(inner.spec, name=name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def encode(self, image: UintImage) -> Any:
        """As the inner one."""
        return self._inner.encode(image)

    def segment(self, embedding: Any, **asked: Any) -> Any:
        """As the inner one, with settings of its own such as `ranking`."""
        return self._inner.segment(embedding, **asked)


class EdgesRefined:
    """A model that is asked with the photo at hand, as a user asks: it looks closer, and edges are
    refined; where it is wanted, it looks into the mirror, too.

    The other measurements hand an embedding over, from which masks have the model's own edges.
    """

    def __init__(self, model: Model, *, mirror: bool = False) -> None:
        self.words = "edges, mirror" if mirror else "edges"
        self.spec = replace(model.spec, name=f"{model.spec.name}, {self.words}")
        self.runtime = model.runtime
        self._model: Any = model  # which takes an EncodedPhoto as it takes a photo
        self._mirror = mirror

    def encode(self, image: UintImage) -> EncodedPhoto:
        """The photo beside what the model saw."""
        return EncodedPhoto(encode_image(self.runtime, image, mirror=self._mirror), image)

    def segment(
        self, embedding: EncodedPhoto, *, prompts: Sequence[Prompt], **asked: Any
    ) -> list[Prediction]:
        """As the model with the photo."""
        settings = {"mirror": self._mirror} | asked
        answers: list[Prediction] = self._model.segment(embedding, prompts=prompts, **settings)
        return answers


def open_peer(name: str) -> Segmenter:
    """What `module:name` means, ready to be measured; `name` is also its name in the tables.

    Raises ConfigError for a word without a colon, a module that cannot be imported, a name that it
    does not have, or something that cannot be called with four arguments.
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
    with suppress(ValueError):  # functions in C have no signature
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
    """Open what is measured, each under a name of its own.

    Raises InputError for the same one twice and for `mirror` alone; ConfigError, ModelError,
    WeightsError.

    Args:
        refine_edges: Each model that is opened by its name stands there a second time, as
            `EdgesRefined`; with `mirror` about the mirror image, too.
    """
    if mirror and not refine_edges:
        raise InputError("Option mirror requires refine_edges. Set both, or omit mirror.")
    found: list[Segmenter] = []
    for place, one in enumerate(chosen):
        if one in chosen[:place]:
            told = one.model if isinstance(one, ModelChoice) else getattr(one, "name", one)
            raise InputError(f"Duplicate model {told}. Pass each model once.")
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
    """The hash of a model's weights; "" of anything else."""
    return str(getattr(getattr(segmenter, "runtime", None), "weights_hash", ""))
