"""Video steps on ONNX Runtime: frames, prompts and banks of SAM 2's families in, answers out.

The graphs (`training/export_video_graphs.py`) hold the networks. What stands between them is here:
which memories are read, what tells their age, which of the decoder's masks is the object's. It says
what `models/video_model.py` says, and a test compares the two.

Letters: S the model's input side, N objects, P points, T masks of the decoder, m side of a mask, K
tokens of memories, Cm their channels, C channels of a pointer.
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
    OVERLAPPED,
    SURE,
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
from anymask.runtime.protocol import MemoryChoice, VideoAnswer

ATTENTION, TRACK_DECODER, TRACK_MEMORY = "video_attention", "video_decoder", "video_memory"
Run = Callable[[str, Mapping[str, NDArray[Any]]], list[FloatArray]]  # a graph's name, its inputs


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoConstants:
    """What is added to memories and pointers before a frame reads them.

    Attributes:
        ages: (frames, Cm) of memories, by how many places back they are, less one.
        no_object: (1, C) the pointer of an object that is not seen.
        no_memory: (C,) what a frame's features hold more, as the encoder's graph gives them.
        mask_weight: (4, 4), (1,) from a given mask to the decoder's mask prompt.
        mask_bias: (4, 4), (1,) from a given mask to the decoder's mask prompt.
        places: (1, tokens, Cm) of a memory's tokens.
        cosine: (tokens, C / 2) how their keys are turned.
        sine: (tokens, C / 2) how their keys are turned.
        times_weight: (Cm, C), (Cm,) of pointers' ages; None: pointers have none.
        times_bias: (Cm, C), (Cm,) of pointers' ages; None: pointers have none.
    """

    settings: TrackingSettings
    ages: FloatArray
    no_object: FloatArray
    no_memory: FloatArray
    mask_weight: FloatArray
    mask_bias: FloatArray
    places: FloatArray
    cosine: FloatArray
    sine: FloatArray
    times_weight: FloatArray | None = None
    times_bias: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class OnnxFrame:
    """What the encoder saw of one frame: (1, C, h, w) each, by the names of its graph."""

    maps: Mapping[str, FloatArray]

    @property
    def features(self) -> FloatArray:
        """The first map."""
        return self.maps["features"]

    @property
    def fine(self) -> dict[str, FloatArray]:
        """The others."""
        return {name: values for name, values in self.maps.items() if name != "features"}


@dataclass(frozen=True, eq=False)
class OnnxObject:
    """One object on a frame: `models.video_model.ObjectAnswer` of N = 1, without torch."""

    logits: FloatArray  # (1, 1, m, m)
    quality: float
    score: float
    pointer: FloatArray  # (1, C)


class OnnxVideo:
    """The steps of one exported model. See `VideoSteps` for each method.

    Args:
        see: The maps of an image (3, S, S).
        run: Runs one of the graphs.
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

    def see_frame(self, image: FloatArray) -> OnnxFrame:
        return OnnxFrame(self._see(image))

    def answer_points(
        self, frame: OnnxFrame, coords: FloatArray, labels: IntArray, earlier: FloatArray | None
    ) -> VideoAnswer:
        given = None if earlier is None else earlier[None, None].clip(-MASK_LIMIT, MASK_LIMIT)
        coords = np.concatenate([coords, np.zeros((1, 2), np.float32)])[None]
        labels = np.append(labels, NO_POINT)[None]
        decoded = self._decode(frame, frame.features, coords, labels, given)
        low, high = self._settings.several_points
        return self._told(self._chosen(decoded, low <= labels.shape[1] - 1 <= high))

    def answer_mask(self, frame: OnnxFrame, mask: FloatArray) -> VideoAnswer:
        about, m = self._about, mask.shape[0] // 4
        cells = mask.reshape(m, 4, m, 4)
        given = np.einsum("yaxb,ab->yx", cells, about.mask_weight) + about.mask_bias
        features = frame.features - about.no_memory[None, :, None, None]
        points, none = np.zeros((1, 2, 2), np.float32), np.full((1, 2), NO_POINT)
        decoded = self._decode(frame, features, points, none, given[None, None].astype(np.float32))
        there = bool((mask > 0).any())
        own = there and bool(decoded.score[0, 0] > 0)
        pointer = decoded.pointers[:, 0] if own else about.no_object
        logits = _shrunk((2 * mask - 1) * SURE, m)[None, None]
        return self._told([OnnxObject(logits, 1.0, SURE if there else -SURE, pointer)])

    def step_video(
        self, frame: OnnxFrame, banks: Sequence[MemoryBank], number: int, backward: bool
    ) -> VideoAnswer:
        at = VideoMoment(number, backward)
        selections = [bank.select(at, self._settings) for bank in banks]
        coords, labels = (
            np.zeros((len(banks), 2, 2), np.float32),
            np.full((len(banks), 2), NO_POINT),
        )
        conditioned = self._condition(frame, selections, at)
        decoded = self._decode(frame, conditioned, coords, labels, None)
        low, high = self._settings.several_points
        return self._told(self._chosen(decoded, low <= 0 <= high))

    def remember(
        self,
        frame: OnnxFrame,
        bank: MemoryBank | None,
        handle: OnnxObject,
        moment: tuple[int, bool],
        prompted: bool,
    ) -> MemoryBank:
        at, settings = VideoMoment(*moment), self._settings
        given = {
            "features": frame.features,
            "logits": handle.logits,
            "sharp": np.array([prompted and settings.sharp_prompted], np.float32),
            "absent": np.array([handle.score <= 0], np.float32),
        }
        (tokens,) = self._run(TRACK_MEMORY, given)
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
        """The features as each object's memories change them: (N, C, h, w)."""
        if not any(selection.memories for selection in selections):
            return np.repeat(frame.features, len(selections), axis=0)
        conditioned: dict[int, FloatArray] = {}
        for places in group_alike(selections):
            recalled = self._recall([selections[place] for place in places], at)
            (read,) = self._run(ATTENTION, {"features": frame.features, **recalled})
            conditioned |= dict(zip(places, read, strict=True))
        return np.stack([conditioned[place] for place in range(len(selections))])

    def _recall(
        self, selections: Sequence[MemorySelection], at: VideoMoment
    ) -> dict[str, FloatArray]:
        """What N objects of the same layout remember, as the graph's inputs."""
        about, memories = self._about, [s.memories for s in selections]
        tokens = [
            np.concatenate([m.tokens for _, m in same]) for same in zip(*memories, strict=True)
        ]
        # The oldest memory's time is stored first but one; a prompted frame's last.
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
        given = {
            "conditioned": features,
            **frame.fine,
            "coords": coords.astype(np.float32),
            "labels": labels.astype(np.int64),
            "masks": np.zeros((n, 1, m, m), np.float32) if masks is None else masks,
            "has_mask": np.full(n, masks is not None, np.float32),
        }
        return _Decoded(*self._run(TRACK_DECODER, given))

    def _chosen(self, decoded: _Decoded, several: bool) -> list[OnnxObject]:
        """The mask of each object: `models.video_model.choose`."""
        found, stability = [], self._settings.stability
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
            found.append(OnnxObject(logits[None, None], float(quality[mask]), score, pointer))
        return found

    def _told(self, found: list[OnnxObject]) -> VideoAnswer:
        planes = [one.logits[0, 0] for one in found]
        if self._settings.hole_area:
            planes = [fill_plane(plane, self._settings.hole_area) for plane in planes]
        logits = np.stack(planes)
        if self._settings.exclusive and len(planes) > 1:
            own = logits.argmax(axis=0) == np.arange(len(planes))[:, None, None]
            logits = np.where(own, logits, logits.clip(max=OVERLAPPED))
        quality = np.array([one.quality for one in found], np.float32)
        score = np.array([one.score for one in found], np.float32)
        return VideoAnswer(logits.astype(np.float32), quality, score, tuple(found))


@dataclass(frozen=True, eq=False)
class _Decoded:
    """What the decoder's graph says: (N, T, m, m), (N, T), (N, 1), (N, T, C)."""

    logits: FloatArray
    quality: FloatArray
    score: FloatArray
    pointers: FloatArray


def _stability(plane: FloatArray, delta: float) -> float:
    """IoU of the masks at thresholds of + and - delta; 1 where both are empty."""
    inner, outer = (np.count_nonzero(plane > at) for at in (delta, -delta))
    return inner / outer if outer else 1.0


def _shrunk(plane: FloatArray, side: int) -> FloatArray:  # (S, S) -> (side, side)
    """As torch's interpolate(bilinear, antialias=True) makes it."""
    picture = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR), np.float32)


def to_bfloat16(values: FloatArray) -> FloatArray:
    """The nearest numbers that 16 bits of a float hold, ties to even, as float32."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return np.asarray(rounded & np.uint32(0xFFFF0000)).view(np.float32)


def settings_to_bytes(settings: TrackingSettings) -> NDArray[np.uint8]:
    """Settings as JSON in an array, to lie beside the constants."""
    return np.frombuffer(json.dumps(asdict(settings)).encode(), np.uint8)


def read_constants(path: Path) -> VideoConstants:
    """The constants of a bundle. Raises WeightsError for a file that does not hold them."""
    try:
        with path.open("rb") as file:
            arrays = read_arrays(file)
        told = parse_json(arrays.pop("settings").tobytes(), path)
        known = {one.name for one in fields(TrackingSettings)}
        values: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in told.items()
        }
        if values.get("stability") is not None:
            values["stability"] = MultimaskStability(**values["stability"])
        settings = TrackingSettings(**{n: v for n, v in values.items() if n in known})
        return VideoConstants(settings=settings, **arrays)
    except (DataError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is corrupted. Export the model again.") from error
