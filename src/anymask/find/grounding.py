"""Grounding by phrases: captions, preprocessing and scores of open-vocabulary detectors.

Liu et al., "Grounding DINO" (2023). The caption consists of all phrases, each followed by a full
stop; tokens attend only to their own phrase. The upstream demo splits the output into words (the
tokens above a threshold), so that "red cup, blue plate" may return "red plate". As in the papers'
evaluation, a phrase's score is the mean over its tokens, and phrases are independent.

Difference: images are resized by Pillow from uint8, as upstream and transformers' processor do it.

Letters: Q boxes, P phrases, T tokens, H W the image, h w the network's input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anymask.base import FloatArray, InputError, IntArray, UintImage, WeightsError, parse_json
from anymask.find.wordpiece import WordPiece
from anymask.masks import Rle

CPU_SIDE = 640  # maximum longer side on a CPU: half the time of 800 x 1066 pixels
SIDES = (64, 4096)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class ScoredBoxes(NamedTuple):
    """Detected boxes (Q, 4) as x0, y0, x1, y1 in pixels, and scores (Q, P) 0..1."""

    boxes: FloatArray
    scores: FloatArray


class SegmentedBoxes(ScoredBoxes):
    """Boxes of a detector that also segments; `mask` returns the mask of a box by row."""

    mask: Callable[[int], Rle]

    def __new__(
        cls, boxes: FloatArray, scores: FloatArray, mask: Callable[[int], Rle]
    ) -> SegmentedBoxes:
        """Create from the fields and the function."""
        made = super().__new__(cls, boxes, scores)
        made.mask = mask
        return made


class Detector(Protocol):
    """An open-vocabulary detector."""

    name: str  # Name in the catalogue, or of the folder
    threshold: float  # Default minimum score
    about: dict[str, Any]  # Values on which the results depend, as JSON types

    def detect(
        self, image: UintImage, phrases: Sequence[str], side: int | None = None
    ) -> ScoredBoxes:
        """Detect all phrases in an image (H, W, 3) in one call.

        Args:
            image: Image (H, W, 3).
            phrases: P phrases.
            side: Longer side of the network's input in pixels. Defaults to that of the network, on
                a CPU at most `CPU_SIDE` for networks with variable input size.

        Raises:
            InputError: The side is not supported.
        """


@runtime_checkable
class ExampleDetector(Protocol):
    """A detector that also supports exemplars: images with a box each."""

    name: str
    about: dict[str, Any]

    def learn_examples(
        self, examples: Sequence[tuple[UintImage, Sequence[float]]]
    ) -> FloatArray:  # -> (E, D)
        """Embed the contents of boxes. Raises ModelError for a network that supports only text."""

    def detect_examples(
        self, image: UintImage, learned: FloatArray, side: int | None = None
    ) -> ScoredBoxes:
        """Detect all exemplars in an image (H, W, 3): scores (Q, E)."""


class Caption(NamedTuple):
    """Token ids (T,), and the token range of each phrase: first, exclusive last."""

    tokens: list[int]
    spans: list[tuple[int, int]]


def write_captions(tokenizer: WordPiece, phrases: Sequence[str], most: int) -> list[Caption]:
    """Write all phrases in order into as few captions as possible.

    Args:
        tokenizer: The tokenizer.
        phrases: P phrases.
        most: Maximum number of tokens of a caption.

    Raises InputError if a phrase is too long or has no letter.
    """
    first, last, stop = (tokenizer.vocabulary[token] for token in ("[CLS]", "[SEP]", "."))
    captions = [Caption([first], [])]
    for phrase in phrases:
        # These characters end a phrase for the network.
        numbers = tokenizer.encode(phrase.replace(".", " ").replace("?", " "))
        if not 0 < len(numbers) <= most - 3:
            raise InputError(
                f"Phrase {phrase[:40]!r} must have 1 to {most - 3} tokens. Use a shorter one."
            )
        if len(captions[-1].tokens) + len(numbers) + 2 > most:
            captions.append(Caption([first], []))
        tokens, spans = captions[-1]
        spans.append((len(tokens), len(tokens) + len(numbers)))
        tokens += [*numbers, stop]
    for caption in captions:
        caption.tokens.append(last)
    return captions


def phrase_scores(logits: FloatArray, caption: Caption) -> FloatArray:  # (Q, T') -> (Q, P)
    """Mean probability of each phrase's tokens."""
    chances = sigmoid(logits)
    return np.stack([chances[:, a:b].mean(1) for a, b in caption.spans], axis=1)


def sigmoid(logits: FloatArray) -> FloatArray:
    """Sigmoid of logits, which may be infinite."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits.astype(np.float32), -50, 50))), np.float32)


def scale_boxes(boxes: FloatArray, hw: tuple[float, float]) -> FloatArray:  # (Q, 4) -> (Q, 4)
    """Convert relative centre and size to x0, y0, x1, y1 in pixels."""
    center, half = boxes[:, :2].astype(np.float32), boxes[:, 2:].astype(np.float32) / 2
    size = np.array([hw[1], hw[0]], np.float32)
    return np.concatenate([(center - half) * size, (center + half) * size], axis=1)


@dataclass(frozen=True)
class ResizeRule:
    """Image preprocessing of a network (preprocessor_config.json of its folder)."""

    shortest: int = 800  # Shorter side in pixels, with the aspect ratio kept
    longest: int = 1333  # Maximum longer side in pixels, with the aspect ratio kept
    exact: tuple[int, int] | None = None  # Size (h, w), without keeping the aspect ratio, or None
    square: bool = False  # Whether to pad the image to a square at its right and lower edge first
    mean: tuple[float, ...] = IMAGENET[0]  # Mean per channel, 0..1
    std: tuple[float, ...] = IMAGENET[1]  # Standard deviation per channel, 0..1
    resample: int = Image.Resampling.BILINEAR  # Pillow's resampling filter

    @classmethod
    def read(cls, folder: Path, square: bool = False) -> ResizeRule:
        """Read from a folder. Raises WeightsError if the file is missing or invalid."""
        path = folder / "preprocessor_config.json"
        if not path.is_file():
            raise WeightsError(
                f"{folder} has no preprocessor_config.json. Copy it from the detector."
            )
        config = parse_json(path.read_bytes(), path)
        try:
            size = config.get("size", {})
            if isinstance(size, int):  # first versions of the file
                size = {"shortest_edge": size, "longest_edge": config.get("max_size", 1333)}
            exact = (int(size["height"]), int(size["width"])) if "height" in size else None
            return cls(
                shortest=int(size.get("shortest_edge", 800)),
                longest=int(size.get("longest_edge", 1333)),
                exact=exact,
                square=square,
                mean=tuple(map(float, config.get("image_mean", IMAGENET[0]))),
                std=tuple(map(float, config.get("image_std", IMAGENET[1]))),
                resample=int(config.get("resample", Image.Resampling.BILINEAR)),
            )
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise WeightsError(
                f"{path} is not a valid image preprocessor configuration. Copy it again."
            ) from error

    def size(
        self, hw: tuple[int, int], side: int | None, most: int | None = None
    ) -> tuple[int, int]:
        """Input size (h, w) of the network for an image (H, W).

        Args:
            hw: Height and width of the image.
            side: Longer side chosen by the user, or None.
            most: Maximum longer side if none is chosen and the input size is variable.

        Raises InputError if the side is out of range.
        """
        if side is not None and (type(side) is not int or not SIDES[0] <= side <= SIDES[1]):
            raise InputError(
                f"Invalid side {side!r}. Use a size from {SIDES[0]} to {SIDES[1]} pixels."
            )
        if self.exact is not None:
            return (side, side) if side else self.exact
        short, long = min(hw), max(hw)
        reach = min(float(self.shortest), self.longest * short / long)  # of the shorter side
        if side is not None:
            reach = side * short / long
        elif most is not None:
            reach = min(reach, most * short / long)
        # Rounding of transformers' processor: the shorter side to nearest, the longer one down.
        sides = {long: int(reach * long / short + 1e-6), short: round(reach)}
        return max(32, sides[hw[0]]), max(32, sides[hw[1]])

    def apply(self, image: UintImage, hw: tuple[int, int]) -> FloatArray:  # -> (1, 3, h, w)
        """Resize and normalize an image."""
        if self.square:
            side = max(image.shape[:2])
            padded = np.zeros((side, side, 3), np.uint8)
            padded[: image.shape[0], : image.shape[1]] = image
            image = padded
        resized = Image.fromarray(image).resize(hw[::-1], Image.Resampling(self.resample))
        pixels = np.asarray(resized, np.float32) / 255
        normal = (pixels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(normal.transpose(2, 0, 1)[None], np.float32)


def caption_arrays(caption: Caption, length: int | None = None) -> dict[str, IntArray]:
    """Text inputs of a network, (1, T) each, with transformers' names.

    Args:
        caption: The caption.
        length: T if it is fixed, else None.
    """
    count = len(caption.tokens)
    ids: NDArray[np.int64] = np.zeros((1, length or count), np.int64)
    ids[0, :count] = caption.tokens
    mask = np.zeros_like(ids)
    mask[0, :count] = 1
    return {"input_ids": ids, "token_type_ids": np.zeros_like(ids), "attention_mask": mask}


def join_captions(boxes: Sequence[ScoredBoxes]) -> ScoredBoxes:
    """Join the boxes of several captions; a box has score 0 for phrases of other captions."""
    count = sum(group.scores.shape[1] for group in boxes)
    scores, start = [], 0
    for group in boxes:
        wide = np.zeros((len(group.boxes), count), np.float32)
        wide[:, start : start + group.scores.shape[1]] = group.scores
        scores.append(wide)
        start += group.scores.shape[1]
    return ScoredBoxes(np.concatenate([group.boxes for group in boxes]), np.concatenate(scores))
