"""Video steps of the SAM 2 family on ONNX Runtime.

The graphs (`training/export_graphs.py`) contain the networks. This module implements the
steps between them: selection of memories, their temporal encoding, and selection of the decoder's
mask. It is equivalent to `models/video_model.py`; a test compares both.

Letters: S the model's input side, N objects, P points, T masks of the decoder, m side of a mask, K
memory tokens, Cm their channels, C channels of a pointer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anymask.base import (
    DataError,
    FloatArray,
    InputError,
    IntArray,
    WeightsError,
    parse_json,
    read_arrays,
)
from anymask.masks import NO_POINT
from anymask.models.rules import (
    ABSENT,
    MASK_LIMIT,
    MASK_LOGIT,
    OVERLAP_MAX_LOGIT,
    Memory,
    MemoryBank,
    MemorySelection,
    MultimaskStability,
    TrackingSettings,
    VideoMoment,
    fill_plane,
    for_users,
    group_alike,
    longest_pointer,
)
from anymask.runtime.manifest import GraphNames
from anymask.runtime.protocol import MemoryChoice, VideoOutput

Run = Callable[[str, Mapping[str, NDArray[Any]]], list[FloatArray]]  # graph name, inputs -> outputs


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoConstants:
    """Constants added to memories and pointers."""

    settings: TrackingSettings  # Tracking settings of the model
    # Temporal encoding of memories (frames, Cm), by number of positions back minus 1
    ages: FloatArray
    no_object: FloatArray  # Pointer (1, C) of an absent object
    no_memory: FloatArray  # Embedding (C,) that the encoder's graph adds to the features
    mask_weight: FloatArray  # Weight (4, 4) from a given mask to the decoder's mask prompt
    mask_bias: FloatArray  # Bias (1,) from a given mask to the decoder's mask prompt
    places: FloatArray  # Position encoding (1, tokens, Cm) of a memory's tokens
    cosine: FloatArray  # Rotary encoding (tokens, C / 2) of their keys
    sine: FloatArray  # Rotary encoding (tokens, C / 2) of their keys
    # Weight (Cm, C) of the pointers' temporal encoding, or None
    times_weight: FloatArray | None = None
    times_bias: FloatArray | None = None  # Bias (Cm,) of the pointers' temporal encoding, or None


@dataclass(frozen=True, eq=False)
class OnnxFrame:
    """Encoder output of one frame: maps (1, C, h, w) by name."""

    maps: Mapping[str, FloatArray]

    @property
    def features(self) -> FloatArray:
        """First feature map."""
        return self.maps["features"]

    @property
    def fine(self) -> dict[str, FloatArray]:
        """Other feature maps."""
        return {name: values for name, values in self.maps.items() if name != "features"}


@dataclass(frozen=True, eq=False)
class OnnxObject:
    """One object on a frame: `models.video_model.ObjectAnswer` for N = 1, without torch."""

    logits: FloatArray  # (1, 1, m, m)
    quality: float
    score: float
    pointer: FloatArray  # (1, C)


class OnnxVideo:
    """Video steps of an exported model. See `VideoRuntime` for the methods.

    Args:
        see: Function that encodes an image (3, S, S).
        run: Function that runs a graph.
        about: Constants of the model.
    """

    def __init__(
        self, see: Callable[[FloatArray], Mapping[str, FloatArray]], run: Run, about: VideoConstants
    ) -> None:
        self._see, self._run, self._about = see, run, about
        self._settings = for_users(about.settings)

    def choosing(self, choice: MemoryChoice) -> OnnxVideo:
        if choice.pool > 1:
            raise InputError("Exported models do not support pool_memory. Remove it.")
        other = OnnxVideo(self._see, self._run, self._about)
        other._settings = choice.applied_to(self._settings)
        return other

    def encode_frame(self, image: FloatArray) -> OnnxFrame:
        return OnnxFrame(self._see(image))

    def answer_points(
        self, frame: OnnxFrame, coords: FloatArray, labels: IntArray, earlier: FloatArray | None
    ) -> VideoOutput:
        masks = None if earlier is None else earlier[None, None].clip(-MASK_LIMIT, MASK_LIMIT)
        coords = np.concatenate([coords, np.zeros((1, 2), np.float32)])[None]
        labels = np.append(labels, NO_POINT)[None]
        decoded = self._decode(frame, frame.features, coords, labels, masks)
        low, high = self._settings.several_points
        return self._video_answer(self._chosen(decoded, low <= labels.shape[1] - 1 <= high))

    def answer_mask(self, frame: OnnxFrame, mask: FloatArray) -> VideoOutput:
        about, m = self._about, mask.shape[0] // 4
        cells = mask.reshape(m, 4, m, 4)
        prompt = np.einsum("yaxb,ab->yx", cells, about.mask_weight) + about.mask_bias
        features = frame.features - about.no_memory[None, :, None, None]
        points, none = np.zeros((1, 2, 2), np.float32), np.full((1, 2), NO_POINT)
        decoded = self._decode(frame, features, points, none, prompt[None, None].astype(np.float32))
        there = bool((mask > 0).any())
        present = there and bool(decoded.score[0, 0] > 0)
        pointer = decoded.pointers[:, 0] if present else about.no_object
        # Equal to torch's interpolate(bilinear, antialias=True).
        plane = Image.fromarray(np.ascontiguousarray((2 * mask - 1) * MASK_LOGIT, np.float32))
        logits = np.asarray(plane.resize((m, m), Image.Resampling.BILINEAR), np.float32)
        score = MASK_LOGIT if there else -MASK_LOGIT
        return self._video_answer([OnnxObject(logits[None, None], 1.0, score, pointer)])

    def step_video(
        self, frame: OnnxFrame, banks: Sequence[MemoryBank], number: int, backward: bool
    ) -> VideoOutput:
        at = VideoMoment(number, backward)
        selections = [bank.select(at, self._settings) for bank in banks]
        coords, labels = (
            np.zeros((len(banks), 2, 2), np.float32),
            np.full((len(banks), 2), NO_POINT),
        )
        decoded = self._decode(frame, self._condition(frame, selections, at), coords, labels, None)
        low, high = self._settings.several_points
        return self._video_answer(self._chosen(decoded, low <= 0 <= high))

    def remember(
        self,
        frame: OnnxFrame,
        bank: MemoryBank | None,
        handle: OnnxObject,
        moment: tuple[int, bool],
        prompted: bool,
    ) -> MemoryBank:
        at, settings = VideoMoment(*moment), self._settings
        inputs = {
            "features": frame.features,
            "logits": handle.logits,
            "sharp": np.array([prompted and settings.sharp_prompted], np.float32),
            "absent": np.array([handle.score <= 0], np.float32),
        }
        (tokens,) = self._run(GraphNames.TRACK_MEMORY, inputs)
        if settings.memory_dtype == "bfloat16":
            tokens = to_bfloat16(tokens)
        memory = Memory(at.frame, tokens, handle.pointer)
        return (bank or MemoryBank()).grown(memory, at, settings, prompted)

    def bank_to_arrays(self, bank: MemoryBank) -> Mapping[str, NDArray[Any]]:
        return bank.to_arrays(np.asarray)

    def arrays_to_bank(self, arrays: Mapping[str, NDArray[Any]]) -> MemoryBank:
        return MemoryBank.of_arrays(arrays, np.asarray, np.asarray)

    def _condition(
        self, frame: OnnxFrame, selections: Sequence[MemorySelection], at: VideoMoment
    ) -> FloatArray:
        """Features conditioned on each object's memories: (N, C, h, w)."""
        if not any(selection.memories for selection in selections):
            return np.repeat(frame.features, len(selections), axis=0)
        conditioned: dict[int, FloatArray] = {}
        for places in group_alike(selections):
            recalled = self._recall([selections[index] for index in places], at)
            (read,) = self._run(GraphNames.ATTENTION, {"features": frame.features, **recalled})
            conditioned |= dict(zip(places, read, strict=True))
        return np.stack([conditioned[index] for index in range(len(selections))])

    def _recall(
        self, selections: Sequence[MemorySelection], at: VideoMoment
    ) -> dict[str, FloatArray]:
        """Memories of N objects with the same layout, as graph inputs."""
        about, memories = self._about, [s.memories for s in selections]
        tokens = [
            np.concatenate([m.tokens for _, m in same]) for same in zip(*memories, strict=True)
        ]
        # The temporal encoding of the oldest memory is stored last but one, that of prompted frames
        # last.
        places = [about.places + about.ages[steps - 1] for steps, _ in memories[0]]
        cosine, sine = [about.cosine] * len(places), [about.sine] * len(places)
        if selections[0].pointers:
            pointers = np.stack([np.concatenate([p for _, p in s.pointers]) for s in selections])
            parts = pointers.shape[-1] // about.ages.shape[1]
            tokens.append(pointers.reshape(len(selections), -1, about.ages.shape[1]))
            times = self._pointer_times([age for age, _ in selections[0].pointers], at)
            places.append(times.repeat(parts, axis=1))
            still = np.ones((tokens[-1].shape[1], about.cosine.shape[1]), np.float32)
            cosine, sine = [*cosine, still], [*sine, 0 * still]
        return {
            "tokens": np.concatenate(tokens, axis=1),
            "places": np.concatenate(places, axis=1),
            "cosine": np.concatenate(cosine),
            "sine": np.concatenate(sine),
        }

    def _pointer_times(self, ages: list[int], at: VideoMoment) -> FloatArray:  # (1, pointers, Cm)
        about = self._about
        if about.times_weight is None or about.times_bias is None:
            return np.zeros((1, len(ages), about.ages.shape[1]), np.float32)
        oldest = max(longest_pointer(at, self._settings), 1)
        share = np.array(ages, np.float32) / np.float32(oldest)
        half = about.times_weight.shape[1] // 2
        steps = np.arange(half, dtype=np.float32)
        angles = share[:, None] / np.float32(10000) ** (2 * (steps // 2) / half)
        sines = np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
        return np.asarray(sines @ about.times_weight.T + about.times_bias, np.float32)[None]

    def _decode(
        self,
        frame: OnnxFrame,
        features: FloatArray,
        coords: FloatArray,
        labels: NDArray[Any],
        masks: FloatArray | None,
    ) -> _Decoded:
        n, m = len(coords), 4 * features.shape[-1]
        inputs = {
            "conditioned": features,
            **frame.fine,
            "coords": coords.astype(np.float32),
            "labels": labels.astype(np.int64),
            "masks": np.zeros((n, 1, m, m), np.float32) if masks is None else masks,
            "has_mask": np.full(n, masks is not None, np.float32),
        }
        return _Decoded(*self._run(GraphNames.TRACK_DECODER, inputs))

    def _chosen(self, decoded: _Decoded, several: bool) -> list[OnnxObject]:
        """Select the mask of each object, as `models.video_model.choose` does."""
        objects, stability = [], self._settings.stability
        for row, (score,) in enumerate(decoded.score.tolist()):
            planes, quality = decoded.logits[row], decoded.quality[row]
            best = int(quality[1:].argmax()) + 1
            clear = stability is None or _stability(planes[0], stability.delta) >= (
                stability.threshold
            )
            mask = best if several or not clear else 0
            logits, pointer = np.full_like(planes[mask], ABSENT), self._about.no_object
            if score > 0:
                logits, pointer = planes[mask], decoded.pointers[row, best if several else 0][None]
            objects.append(OnnxObject(logits[None, None], float(quality[mask]), score, pointer))
        return objects

    def _video_answer(self, found: list[OnnxObject]) -> VideoOutput:
        planes = [handle.logits[0, 0] for handle in found]
        if self._settings.hole_area:
            planes = [fill_plane(plane, self._settings.hole_area) for plane in planes]
        logits = np.stack(planes)
        if self._settings.exclusive and len(planes) > 1:
            highest = logits.argmax(axis=0) == np.arange(len(planes))[:, None, None]
            logits = np.where(highest, logits, logits.clip(max=OVERLAP_MAX_LOGIT))
        quality = np.array([handle.quality for handle in found], np.float32)
        score = np.array([handle.score for handle in found], np.float32)
        return VideoOutput(logits.astype(np.float32), quality, score, tuple(found))


@dataclass(frozen=True, eq=False)
class _Decoded:
    """Outputs of the decoder's graph: (N, T, m, m), (N, T), (N, 1), (N, T, C)."""

    logits: FloatArray
    quality: FloatArray
    score: FloatArray
    pointers: FloatArray


def _stability(plane: FloatArray, delta: float) -> float:
    """IoU of the masks at thresholds of + and - delta; 1 if both are empty."""
    inner, outer = (np.count_nonzero(plane > at) for at in (delta, -delta))
    return inner / outer if outer else 1.0


def to_bfloat16(values: FloatArray) -> FloatArray:
    """Round to bfloat16, ties to even, and return float32."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return np.asarray(rounded & np.uint32(0xFFFF0000)).view(np.float32)


def settings_to_bytes(settings: TrackingSettings) -> NDArray[np.uint8]:
    """Encode settings as JSON in an array."""
    return np.frombuffer(json.dumps(asdict(settings)).encode(), np.uint8)


def read_constants(path: Path) -> VideoConstants:
    """Read the constants of a bundle. Raises WeightsError if the file is invalid."""
    try:
        with path.open("rb") as file:
            arrays = read_arrays(file)
        stored = parse_json(arrays.pop("settings").tobytes(), path)
        known = {field.name for field in fields(TrackingSettings)}
        values: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()
        }
        if values.get("stability") is not None:
            values["stability"] = MultimaskStability(**values["stability"])
        settings = TrackingSettings(**{n: v for n, v in values.items() if n in known})
        return VideoConstants(settings=settings, **arrays)
    except (DataError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is corrupted. Export the model again.") from error
