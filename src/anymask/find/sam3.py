"""SAM 3 from local weights (extra [words]): text, exemplar box and click prompts.

Meta, "SAM 3: Segment Anything with Concepts" (2025), through transformers' `Sam3Model` and
`Sam3TrackerModel` (Apache-2.0); videos are in `sam3_video`. The weights are gated and under the SAM
License, which is logged when they are loaded; they are not bundled. Image features are computed
once for all phrases and clicks; each phrase is a separate pass through the decoder, as published.

Differences to transformers, each to match the published model: norms have eps 1e-5; a phrase
without exemplar boxes keeps the class token of the geometry encoder; for clicks the "no memory"
embedding is added twice; images are resized by torch from uint8, and features of exemplar boxes are
pooled by `roi_align` below, as torchvision does.

Letters: B boxes, Q queries, P phrases, C channels, H W the image, h w a map, R bins of a box.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import (
    FloatArray,
    InputError,
    MissingExtra,
    UintImage,
    WeightsError,
    import_offline,
)
from anymask.find.byte_pairs import BytePairs
from anymask.find.grounding import SegmentedBoxes, sigmoid
from anymask.find.official_names import official_file
from anymask.find.sam3_names import PATTERN, read_official
from anymask.find.sam3_video import Sam3Video
from anymask.find.torch_detector import as_numpy, silent
from anymask.masks import Prompt, Rle, mask_to_rle
from anymask.runtime import pick_device

log = logging.getLogger("anymask.find")

SAM3_FILE = "model.safetensors"  # of transformers' folders; else the official checkpoint
TOKENS = 32  # per phrase
EXAMPLES_ONLY = "visual"  # phrase for exemplar boxes without a text
PADDED = -10  # label of a padding box
LICENCE = (
    "SAM 3 uses the SAM License of Meta (19 November 2025), which is not an open-source licence. "
    "Use, modification and redistribution of code and weights are allowed, also commercially, "
    "under the same agreement with a copy of it. Military, weapons, nuclear or espionage use and "
    "reverse engineering are not allowed. The licence ends if you file a patent suit. Full text: "
    "https://huggingface.co/facebook/sam3"
)


class Sam3:
    """SAM 3 from a local folder, as a `Detector` with its own masks.

    The folder is that of transformers (facebook/sam3), or has the official `sam3.pt` and CLIP's
    `bpe_simple_vocab_16e6.txt.gz`.

    Raises MissingExtra without transformers or torch, WeightsError if the files are invalid.
    """

    def __init__(self, name: str, folder: Path, threshold: float, device: str = "auto") -> None:
        try:
            import torch

            transformers = import_offline("transformers")
            network = import_offline("transformers.models.sam3.modeling_sam3").Sam3Model
        except ImportError as error:
            raise MissingExtra(error.name or "transformers", "words", "SAM 3") from None
        log.warning(LICENCE)
        self.name, self.threshold, self._folder = name, threshold, folder
        self._torch, self._device = torch, pick_device(device)
        self._official = None if (folder / SAM3_FILE).is_file() else official_file(folder, PATTERN)
        try:
            self._config = (
                transformers.Sam3VideoConfig()
                if self._official is not None and not (folder / "config.json").is_file()
                else transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            )
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise WeightsError(
                f"{folder} is incomplete. Copy all files of facebook/sam3 into it."
            ) from error
        self._tokenizer = BytePairs.read(folder)
        set_eps(self._config)
        self._model: Any = self._load(network)
        encoder = self._model.geometry_encoder
        encoder._encode_boxes = lambda *given: encode_boxes(encoder, *given)
        self._clicker: Any = None
        self._tracker: Any = None
        self._seen: tuple[str, Any] | None = None  # feature maps of the last image
        self._clicked: tuple[str, list[Any]] | None = None
        self._lock = threading.RLock()
        self.about: dict[str, Any] = {"detector": name, "kind": "sam3"}

    def __repr__(self) -> str:
        return f"Sam3({self.name!r}, on {self._device})"

    def detect(
        self, image: UintImage, phrases: Sequence[str], side: int | None = None
    ) -> SegmentedBoxes:
        """Detect phrases in an image of a fixed size, so `side` must be None."""
        if side is not None:
            raise InputError(f"SAM 3 has a fixed image size, but side={side} was given. Omit side.")
        return join_answers([self._ask(image, phrase, (), ()) for phrase in phrases])

    def detect_like(
        self,
        image: UintImage,
        boxes: Sequence[Sequence[float]],
        unlike: Sequence[Sequence[float]] = (),
        phrase: str | None = None,
    ) -> SegmentedBoxes:  # P = 1
        """Detect every object similar to those in some boxes of the same image.

        Args:
            image: Image (H, W, 3).
            boxes: Boxes x0, y0, x1, y1 in pixels around exemplars.
            unlike: Boxes around objects to exclude.
            phrase: Optional name of the objects.

        Raises InputError if there are no boxes, or a box is invalid.
        """
        if not len(boxes) and not len(unlike):
            raise InputError("No exemplar box was given. Pass boxes=.")
        return join_answers([self._ask(image, phrase or EXAMPLES_ONLY, boxes, unlike)])

    def segment(
        self, image: UintImage, prompt: Prompt, multimask: bool = True
    ) -> tuple[FloatArray, FloatArray]:  # -> (K, h, w), (K,)
        """Segment an object from clicks or a box, in the model's order.

        Returns logits (K, h, w) of the whole image at the model's resolution, and uncalibrated
        scores. K is 3, or 1 without `multimask`. Raises InputError for a mask prompt.
        """
        if prompt.mask is not None:
            raise InputError(
                "SAM 3 does not support mask prompts for images. Pass points or boxes."
            )
        torch, side = self._torch, self._side
        scale = side / np.array([image.shape[1], image.shape[0]], np.float64)
        inputs: dict[str, Any] = {}
        if prompt.points is not None and prompt.labels is not None:
            points = torch.tensor(prompt.points * scale, dtype=torch.float32)
            inputs["input_points"] = points[None, None].to(self._device)
            inputs["input_labels"] = torch.tensor(prompt.labels)[None, None].to(self._device)
        if prompt.box is not None:
            box = torch.tensor(prompt.box * np.tile(scale, 2), dtype=torch.float32)
            inputs["input_boxes"] = box[None, None].to(self._device)
        with self._lock, torch.inference_mode():
            # Feature maps for clicks: the tracker's own neck on the same trunk
            if self._clicker is None:
                clicks = import_offline("transformers.models.sam3_tracker.modeling_sam3_tracker")
                self._clicker = self._load(clicks.Sam3TrackerModel)
                self._clicker.vision_encoder.backbone = self._model.vision_encoder.backbone
            key = key_of(image)
            if self._clicked is None or self._clicked[0] != key:
                *fine, coarse = self._clicker.get_image_embeddings(self._pixels(image))
                nothing = self._clicker.no_memory_embedding.reshape(1, -1, 1, 1)
                self._clicked = (key, [*fine, coarse + nothing])
            maps = self._clicked[1]
            answer = self._clicker(image_embeddings=maps, multimask_output=multimask, **inputs)
        return as_numpy(answer.pred_masks[0, 0]), as_numpy(answer.iou_scores[0, 0])

    def follow(self, frames: Sequence[UintImage]) -> Sam3Video:
        """Start a video session of SAM 3's tracker.

        Args:
            frames: Frames (H, W, 3) of the same size.

        Raises InputError if there are no frames.
        """
        with self._lock:
            if self._tracker is None:
                video = import_offline(
                    "transformers.models.sam3_tracker_video.modeling_sam3_tracker_video"
                )
                self._tracker = self._load(video.Sam3TrackerVideoModel)
                self._tracker.vision_encoder.backbone = self._model.vision_encoder.backbone
        return Sam3Video(self._tracker, frames, self._lock)

    @property
    def _side(self) -> int:
        size = self._model.config.vision_config.backbone_config.image_size
        return int(size if isinstance(size, int) else size[0])

    def _load(self, kind: Any) -> Any:
        official = self._official
        weights = None if official is None else read_official(official)
        try:
            with silent():
                model, loaded = kind.from_pretrained(
                    self._folder if weights is None else None,
                    config=self._config, state_dict=weights, local_files_only=True,
                    use_safetensors=True, output_loading_info=True,
                )  # fmt: skip
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise WeightsError(
                f"Cannot load SAM 3 from {self._folder}. Copy its files again."
            ) from error
        if missing := sorted(loaded["missing_keys"]):
            raise WeightsError(
                f"{self._folder} is incomplete: {missing[0]} is missing. Copy it again."
            )
        return model.eval().requires_grad_(False).to(self._device)

    def _pixels(self, image: UintImage) -> Any:  # -> (1, 3, side, side)
        torch, side = self._torch, self._side
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))[None])
        small = torch.nn.functional.interpolate(
            pixels, size=(side, side), mode="bilinear", antialias=True
        )
        return (small.to(self._device).float() / 255 - 0.5) / 0.5

    def _ask(
        self,
        image: UintImage,
        phrase: str,
        boxes: Sequence[Sequence[float]],
        unlike: Sequence[Sequence[float]],
    ) -> Sam3Answer:
        torch = self._torch
        tokens = self._tokenizer.tokens([phrase], TOKENS)[0]
        ids = torch.zeros(1, TOKENS, dtype=torch.long)
        ids[0, : len(tokens)] = torch.from_numpy(tokens)
        examples, labels = example_boxes(boxes, unlike, image.shape[:2])
        with self._lock, torch.inference_mode():
            key = key_of(image)
            if self._seen is None or self._seen[0] != key:
                self._seen = (key, self._model.vision_encoder(self._pixels(image)))
            answer = self._model(
                vision_embeds=self._seen[1],
                input_ids=ids.to(self._device),
                attention_mask=(torch.arange(TOKENS)[None] < len(tokens)).long().to(self._device),
                input_boxes=torch.from_numpy(examples)[None].to(self._device),
                input_boxes_labels=torch.from_numpy(labels)[None].to(self._device),
            )
        chances = sigmoid(as_numpy(answer.pred_logits[0])) * sigmoid(
            as_numpy(answer.presence_logits[0])
        )
        height, width = image.shape[:2]
        corners = as_numpy(answer.pred_boxes[0]) * np.array([width, height] * 2, np.float32)
        return Sam3Answer(corners, chances, answer.pred_masks[0].float().cpu(), (height, width))


def key_of(image: UintImage) -> str:
    """Identifier of an image."""
    return f"{image.shape} {hashlib.sha256(image.tobytes()).hexdigest()}"


@dataclass(frozen=True, eq=False)
class Sam3Answer:
    """Result of one phrase: boxes (Q, 4) in pixels, scores (Q,), mask logits (Q, h, w)."""

    boxes: FloatArray
    scores: FloatArray
    logits: Any
    hw: tuple[int, int]

    def mask(self, query: int) -> Rle:
        """Mask of a query: logits resized to the image, thresholded at 0."""
        import torch

        wide = torch.nn.functional.interpolate(
            self.logits[query][None, None], size=self.hw, mode="bilinear", align_corners=False
        )
        return mask_to_rle((wide[0, 0] > 0).numpy())


def join_answers(answers: Sequence[Sam3Answer]) -> SegmentedBoxes:
    """Join the results of several phrases; a box has score 0 for other phrases."""
    counts = [len(answer.scores) for answer in answers]
    scores = np.zeros((sum(counts), len(answers)), np.float32)
    starts = np.cumsum([0, *counts])
    for column, answer in enumerate(answers):
        scores[starts[column] : starts[column + 1], column] = answer.scores

    def mask(row: int) -> Rle:
        index = int(np.searchsorted(starts, row, side="right")) - 1
        return answers[index].mask(row - int(starts[index]))

    return SegmentedBoxes(np.concatenate([answer.boxes for answer in answers]), scores, mask)


def example_boxes(
    boxes: Sequence[Sequence[float]], unlike: Sequence[Sequence[float]], hw: tuple[int, ...]
) -> tuple[FloatArray, Any]:  # -> (B, 4), (B,)
    """Relative centre and size of exemplar boxes, and labels (1 include, 0 exclude).

    Without boxes, a padding box is returned, which keeps the class token. Raises InputError."""
    rows: FloatArray = np.array([*boxes, *unlike], np.float32).reshape(-1, 4)
    if not np.isfinite(rows).all() or (rows[:, 2:] <= rows[:, :2]).any():
        raise InputError(
            "Invalid exemplar box. Use x0, y0, x1, y1 in pixels, with x0 < x1 and y0 < y1."
        )
    if not len(rows):
        return np.full((1, 4), 0.5, np.float32), np.array([PADDED])
    rows = np.asarray(rows / np.array([hw[1], hw[0]] * 2, np.float32), np.float32)
    center, size = (rows[:, :2] + rows[:, 2:]) / 2, rows[:, 2:] - rows[:, :2]
    labels = np.array([1] * len(boxes) + [0] * len(unlike))
    return np.concatenate([center, size], axis=1).astype(np.float32), labels


def set_eps(config: Any) -> None:
    """Set the published eps of the detector's and the trunk's norms, in all parts of a config."""
    for name, part in vars(config).items():
        if hasattr(part, "to_dict") and name not in (
            "prompt_encoder_config",
            "mask_decoder_config",
        ):
            set_eps(part)
    if hasattr(config, "layer_norm_eps"):
        config.layer_norm_eps = 1e-5


# Exemplar boxes.


def encode_boxes(encoder: Any, boxes: Any, encoded: Any, labels: Any, maps: Any) -> tuple[Any, Any]:
    """Token (256,) for each box: the sum of its coordinates, features and position encodings.

    Args:
        encoder: Geometry encoder of transformers.
        boxes: Relative centre and size (N, B, 4).
        encoded: Mask (N, B) of valid boxes, returned unchanged.
        labels: Labels (N, B): 1 include, 0 exclude.
        maps: Normalized features (N, 256, h, w).
    """
    import torch

    count, several = boxes.shape[:2]
    half = boxes[..., 2:] / 2
    size = boxes.new_tensor([maps.shape[-1], maps.shape[-2]])
    x0y0, x1y1 = (boxes[..., :2] - half) * size, (boxes[..., :2] + half) * size
    bins = encoder.roi_size
    pooled: list[Any] = [
        roi_align(maps[row].float(), x0y0[row, box].tolist(), x1y1[row, box].tolist(), bins)
        for row in range(count)
        for box in range(several)
    ]
    features = encoder.boxes_pool_project(torch.stack(pooled).to(maps.dtype))
    positions = encoder._encode_box_coordinates(*boxes.reshape(-1, 4).unbind(-1))
    tokens = (
        encoder.boxes_direct_project(boxes)
        + features.view(count, several, -1)
        + encoder.boxes_pos_enc_project(positions.view(count, several, -1))
        + encoder.label_embed(labels.long())
    )
    return tokens, encoded


def roi_align(maps: Any, low: Sequence[float], high: Sequence[float], bins: int) -> Any:
    """Features of a box: (C, h, w) -> (C, R, R), the mean of bilinear samples in each bin.

    He et al., "Mask R-CNN" (2017), as torchvision's with `aligned=False` and `sampling_ratio=-1`:
    cell i is at i, not at i + 0.5; a box has at least one cell; a bin has ceil(side / R) samples
    per side. Sampling is separable, so it is two matrix products.

    Args:
        maps: Feature map (C, h, w).
        low: Upper left corner (x, y), in cells of the map.
        high: Lower right corner (x, y), in cells of the map.
        bins: Number of bins R.
    """
    columns = _bin_weights(low[0], high[0], bins, maps.shape[-1])
    rows = _bin_weights(low[1], high[1], bins, maps.shape[-2])
    return maps.new_tensor(rows) @ maps @ maps.new_tensor(columns).T


def _bin_weights(low: float, high: float, bins: int, cells: int) -> FloatArray:  # -> (R, cells)
    """Weight of each cell of an axis for each bin."""
    side = max(high - low, 1.0)
    samples = max(1, int(np.ceil(side / bins)))
    places = low + (np.arange(bins * samples) + 0.5) * side / (bins * samples)
    inside = (places >= -1) & (places <= cells)
    places = places.clip(0, cells - 1)
    below = np.floor(places).astype(int)
    above = np.minimum(below + 1, cells - 1)
    weights, rows = np.zeros((bins, cells)), np.arange(bins * samples) // samples
    np.add.at(weights, (rows, below), (1 - (places - below)) * inside / samples)
    np.add.at(weights, (rows, above), (places - below) * inside / samples)
    return weights.astype(np.float32)
