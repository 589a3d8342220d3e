"""Chooses the clicks of a grid that are worth asking, and logs what they found.

Every fourth click along each side goes first. Then the clicks with the largest expected gain, after
all that was answered so far, are asked a few at a time (`Frontier`).

A click is worth asking when it finds a mask that no other one found. Sixteen numbers of each click
(`ExpectedGain.facts`) say how likely that is: what the encoder sees there (`Saliency`), how
worthwhile the answers were of clicks nearby and of those that look alike (means weighted by a
kernel, as in Nadaraya 1964, "On estimating regression"), which masks lie on it already, and how
much was asked. A network with four hidden units makes one number of them. Its weights are the table
"adaptive" of the model's bundle, learned from training photos by `research/fit_adaptive.py`. They
know score and stability in units of what the settings want, so other models can use them.

Letters: n clicks along a side or asked at once, N clicks of the grid, C channels, h w a map, M
maps, F facts, H hidden units, m the side of a low-resolution mask.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import (
    BoolArray,
    DataError,
    FloatArray,
    Floats,
    IntArray,
    brief,
    ledger,
    parse_json,
)
from anymask.masks import Canvas, Geometry, Mask, Window, points_to_model
from anymask.segment.settings import Grid

FORMAT = 1
KEY_DIGITS = 32


@dataclass(frozen=True)
class CropView:
    """The part of a photo that the model sees at once, and how it lies in model space.

    Attributes:
        window: x0, y0, x1, y1 in the photo, x1 and y1 exclusive.
        image_hw: The whole photo.
        geometry: Of the window.
        threshold: Logits above it are object.
        canvas: Of one mask after the other.
    """

    window: Window
    image_hw: tuple[int, int]
    geometry: Geometry
    threshold: float
    canvas: Canvas = field(default_factory=Canvas, repr=False, compare=False)


@brief
@dataclass(frozen=True)
class Observation:
    """What adaptive mode learns from one mask.

    Attributes:
        on: (N,) which clicks of the grid lie on it.
        place: Of the click that found it.
        value: 0..1, how much of what is wanted it has.
        area: Of the picture, 0..1.
    """

    on: BoolArray
    place: int
    value: float
    area: float


@brief
@dataclass(frozen=True)
class LoggedBatch:
    """What the clicks of one batch led to."""

    records: list[Mask]
    lessons: list[Observation]


class SearchLog:
    """The batches of one search, in memory and in a file from which a killed search resumes.

    The file has a line of JSON that says what is searched, how and by which model, then a line for
    each batch: the masks that passed, and what adaptive mode learned of its grid. It is removed
    when the search is done. A line that was cut off by the kill is asked again.

    Args:
        path: Of the file, which appears with the first batch.
        about: What the search depends on; a file of another search is begun anew.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self._ledger = ledger.Ledger(path)
        self._head = json.loads(json.dumps({"format": FORMAT, **about}, sort_keys=True))
        self._known: dict[str, dict[str, Any]] = {}
        if self._ledger.head != json.dumps(self._head).encode():
            self._ledger.restart()
        for line in self._ledger.rows:
            with contextlib.suppress(DataError, LookupError, TypeError):
                row = parse_json(line, path)
                self._known[str(row["key"])] = row

    def recall(self, key: str) -> LoggedBatch | None:
        """A batch that was kept; None for one that was not, or that cannot be read."""
        if key not in self._known:
            return None
        row, lessons = self._known[key], []
        try:
            records = [Mask.from_sa1b(record) for record in row["records"]]
            for one in row["lessons"]:
                bits = np.frombuffer(base64.b64decode(one["on"]), np.uint8)
                on = np.unpackbits(bits, count=int(one["count"])).astype(np.bool_)
                about = int(one["place"]), float(one["value"]), float(one["area"])
                lessons.append(Observation(on, *about))
        except (DataError, ValueError, LookupError, TypeError):
            return None
        return LoggedBatch(records, lessons)

    def keep(self, key: str, batch: LoggedBatch) -> None:
        """Write a batch down. Raises OSError."""
        lessons = [
            {
                "on": base64.b64encode(np.packbits(lesson.on).tobytes()).decode(),
                "count": len(lesson.on),
                "place": lesson.place,
                "value": lesson.value,
                "area": lesson.area,
            }
            for lesson in batch.lessons
        ]
        records = [record.to_sa1b() for record in batch.records]
        self._ledger.add({"key": key, "records": records, "lessons": lessons}, self._head)

    def close(self, *, done: bool) -> None:
        """Remove the file where the search is done."""
        if done:
            self._ledger.path.unlink(missing_ok=True)


def batch_key(image_hash: str, window: Window, clicks: Floats) -> str:
    """Names the clicks (N, 2) of a batch and the pixels that they are about."""
    digest = hashlib.sha256(f"{image_hash} {window}".encode())
    digest.update(np.ascontiguousarray(clicks).tobytes())
    return digest.hexdigest()[:KEY_DIGITS]


MAPS = 2  # the first maps of an embedding; later ones show edges and colors more than objects


class Saliency:
    """What the encoder's maps say of the clicks of one grid.

    Small objects are met by few clicks of a grid, often by one alone, and nothing that the other
    clicks find tells of them. The encoder does: where something small lies, its maps differ from
    those of the rest of the photo, and from those at the clicks that were asked already. The first
    is old (salience as the distance from the mean of a picture's colors: Achanta et al. 2009,
    "Frequency-tuned salient region detection"), taken here in units of each channel's deviation.

    Attributes:
        maps: (C, h, w) each, on the model's square; one alone counts for both, and without any
            all clicks are alike.
        clicks: (N, 2) in pixels of the view.
        unusual: (M, N) squared distance of each click from the mean of all, a channel.
        new: (M, N) squared distance from the nearest click that was asked; infinite at first.
    """

    def __init__(self, maps: Sequence[FloatArray], clicks: Floats, geometry: Geometry) -> None:
        places = points_to_model(clicks, geometry) / geometry.side
        seen = [values_at(one, places) for one in maps[:MAPS]]
        seen = seen or [np.zeros((len(clicks), 1), np.float32)]
        for values in seen:
            values -= values.mean(0)
            values /= np.maximum(values.std(0), np.float32(1e-6))  # 0 where all are the same
        self._seen = [seen[min(index, len(seen) - 1)] for index in range(MAPS)]
        self.unusual = np.stack([np.square(values).mean(1) for values in self._seen])
        self.new = np.full_like(self.unusual, np.inf)

    def notice(self, asked: IntArray) -> FloatArray:  # (n,) -> (N, n)
        """Take notice of clicks that are asked: how unlike each of them every click is, 0 and up.

        The squared distances, a channel, as the mean of the maps.
        """
        each = np.stack([squares(seen, seen[asked]) / seen.shape[1] for seen in self._seen])
        np.minimum(self.new, each.min(2, initial=np.inf), out=self.new)
        unlike: FloatArray = each.mean(0)
        return unlike


def values_at(one: FloatArray, places: Floats) -> FloatArray:
    """A map (C, h, w) at places (N, 2) in 0..1 of its width and height -> (N, C), bilinear."""
    corner, share = [], []
    for along, length in enumerate((one.shape[2], one.shape[1])):
        at = np.clip(places[:, along] * length - 0.5, 0, length - 1)
        first = np.minimum(at.astype(np.intp), max(length - 2, 0))
        corner.append((first, np.minimum(first + 1, length - 1)))
        share.append((at - first).astype(np.float32))
    (left, right), (upper, lower) = corner
    to_right, down = share
    above = one[:, upper, left] * (1 - to_right) + one[:, upper, right] * to_right
    below = one[:, lower, left] * (1 - to_right) + one[:, lower, right] * to_right
    values: FloatArray = (above * (1 - down) + below * down).T
    return values


def squares(places: FloatArray, others: FloatArray) -> FloatArray:  # (N, C), (n, C) -> (N, n)
    """Squared distances."""
    lengths = np.square(places).sum(1)[:, None] + np.square(others).sum(1)
    apart: FloatArray = np.maximum(lengths - 2 * places @ others.T, 0)
    return apart


CELLS = 32  # distances are in 32nds of the photo's sides, the grid that the weights were learned on
NEAR, WIDE = 1.5, 3.0  # deviations of the kernels in the photo
CLOSE = 2.0  # and of how far from its click a mask that nearly passed promises something
ALIKE, ABOUT = 0.15, 10.0  # variance of the kernel of the maps, and its deviation in the photo
DOUBT = 0.3  # what the mean of all answers weighs among those of clicks that look alike
FEWEST = 1e-3  # the least sum of weights
SMALL = 50.0  # a mask of 1 / SMALL of the photo is worth 0.7 of a tiny one
APART = 0.02  # what a squared distance in the photo adds to the squared distance of the maps
LEAST, TINY, CROWD = 0.05, 1e-3, 0.1  # added before logarithms
RIM = 4.0  # from so far inside, the photo's rim does not matter


@brief
@dataclass(frozen=True, eq=False)
class TanhNetwork:
    """One hidden layer of tanh on the first f facts, as a model's tables have it.

    Attributes:
        into: (f, H).
        bias: (H,).
        out: (H,).
        level: Of all alike.
    """

    into: Floats
    bias: Floats
    out: Floats
    level: float = 0.0

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> TanhNetwork:
        """From lists and a number."""
        into, bias, out = (np.array(table[name], np.float64) for name in ("into", "bias", "out"))
        return cls(into, bias, out, float(table.get("level", 0.0)))

    def scores(self, facts: Floats) -> Floats:  # (n, F) -> (n,)
        """One number of each row of facts."""
        found: Floats = np.tanh(facts[:, : len(self.into)] @ self.into + self.bias) @ self.out
        return found + self.level


class ExpectedGain:
    """Estimates how likely each click of a grid finds a mask that is still missing.

    Args:
        clicks: (N, 2) in pixels of the view, row by row.
        maps: The encoder's, (C, h, w) each.
        weights: Of the facts in the order of `facts`.
    """

    def __init__(
        self,
        clicks: Floats,
        geometry: Geometry,
        maps: Sequence[FloatArray],
        weights: TanhNetwork,
    ) -> None:
        count = len(clicks)
        self._weights = weights
        at = np.divmod(np.arange(count), round(count**0.5))
        self._at = (np.stack(at, 1) * (CELLS / count**0.5)).astype(np.float32)
        self._salience = Saliency(maps, clicks, geometry)
        self._far = np.full(count, np.inf, np.float32)
        self._smallest = np.ones(count)
        self._nearly, self._passed = np.zeros(count), np.zeros(count)
        self._seen = np.zeros(count, np.bool_)
        self._worth, self._value = np.zeros(count), np.zeros(count)
        self._sums = np.zeros((7, count))
        self._asked, self._total = 0, 0.0

    def see(self, on: BoolArray, click: int, value: float, area: float) -> None:
        """A mask worth a look: the clicks (N,) that lie on it, and who found it.

        Args:
            value: 0..1, and 1 only where it passed.
            area: Of the photo.
        """
        self._seen |= on
        self._smallest[on] = np.minimum(self._smallest[on], area)
        self._value[click] = max(self._value[click], value)
        self._worth[click] = max(self._worth[click], value / np.sqrt(1 + SMALL * area))
        if value >= 1:
            self._passed += on
        else:
            apart = squares(self._at[on], self._at[[click]])[:, 0]
            nearly = value * np.exp(-apart / (2 * CLOSE**2))
            self._nearly[on] = np.maximum(self._nearly[on], nearly)

    def notice(self, asked: IntArray) -> None:
        """Clicks (n,) that were answered, after `see` of all that they found."""
        apart = squares(self._at, self._at[asked])
        unlike = self._salience.notice(asked)
        np.minimum(self._far, apart.min(1, initial=np.inf), out=self._far)
        worth, value = self._worth[asked], self._value[asked]
        near, wide = (np.exp(-apart / (2 * width**2)) for width in (NEAR, WIDE))
        alike = np.exp(-unlike / (2 * ALIKE) - apart / (2 * ABOUT**2))
        for total, weights, of in zip(
            self._sums,
            (near, near, near, wide, wide, alike, alike),
            (None, worth, value, None, worth, None, worth),
            strict=True,
        ):
            total += weights.sum(1) if of is None else weights @ of
        self._asked += len(asked)
        self._total += float(worth.sum())

    def of_clicks(self) -> Floats:  # (N,)
        """The larger, the likelier a click finds a new mask; once some answers were noticed."""
        return self._weights.scores(self.facts())

    def facts(self) -> Floats:  # (N, F)
        """Sixteen numbers of each click."""
        near, near_worth, near_value, wide, wide_worth, alike, alike_worth = self._sums
        mean = self._total / max(self._asked, 1)
        count = len(self._at)
        rim = np.minimum(self._at, self._at.max(0) - self._at).min(1)
        return np.stack(
            [
                *np.log(self._salience.new + APART * self._far + LEAST),
                *np.log(self._salience.unusual + LEAST),
                np.where(self._seen, 0.0, 1.0),
                np.log(self._smallest + TINY),
                np.minimum(rim, RIM),
                np.full(count, self._asked / count),
                np.log1p(self._passed),
                near_worth / (near + FEWEST),
                self._nearly,
                near_value / (near + FEWEST),
                wide_worth / (wide + FEWEST),
                np.log(near + CROWD),
                np.full(count, mean),
                (alike_worth + DOUBT * mean) / (alike + DOUBT),
            ],
            axis=1,
        )


STEP = 4  # of the first clicks along each side
SHARE = 3  # at most one click of so many is asked
AT_ONCE = 8  # clicks between two looks at what they found
PROMISING = 0.5  # of the wanted quality: masks of less are not looked at


def most_clicks(count: int) -> int:
    """Of a grid of N clicks, how many are asked at most."""
    side = round(count**0.5)
    return max(len(_first(side)), count // SHARE)


def _first(side: int) -> IntArray:
    axis = np.arange(min(1, side - 1), side, STEP)
    return (axis[:, None] * side + axis[None, :]).reshape(-1).astype(np.int64)


class Frontier:
    """State of an adaptive search: which clicks of a grid were asked, and what they found.

    Args:
        clicks: (N, 2) in pixels of the view, row by row.
        weights: What judges them.
        maps: The encoder's, (C, h, w) each.
    """

    def __init__(
        self,
        clicks: Floats,
        view: CropView,
        settings: Grid,
        weights: TanhNetwork,
        maps: Sequence[FloatArray] = (),
    ) -> None:
        self._clicks, self._view, self._settings = clicks, view, settings
        self._places = points_to_model(clicks, view.geometry)
        self._gain = ExpectedGain(clicks, view.geometry, maps, weights)
        self._asked = np.zeros(len(clicks), np.bool_)
        self._last = np.zeros(0, np.int64)
        self._left = most_clicks(len(clicks))

    def next(self) -> IntArray:
        """The next clicks to ask, by their place in the grid; none at the end."""
        if not self._asked.any():
            chosen = _first(round(len(self._clicks) ** 0.5))
        elif not self._left:
            return np.zeros(0, np.int64)
        else:
            self._gain.notice(self._last)
            gain = np.where(self._asked, -np.inf, self._gain.of_clicks())
            chosen = np.argsort(-gain, kind="stable")[: min(AT_ONCE, self._left)]
        self._asked[chosen] = True
        self._left -= len(chosen)
        self._last = chosen
        return chosen

    def facts(self) -> Floats:  # (N, F)
        """What the choice of the next clicks rests on; see `research/fit_adaptive.py`."""
        return self._gain.facts()

    def worth_a_look(self, quality: FloatArray) -> BoolArray:
        """Prediction whose quality is near enough to what is asked for to learn from."""
        looked: BoolArray = quality > PROMISING * self._settings.score
        return looked

    def lesson(self, plane: FloatArray, quality: float, click: Floats) -> Observation:
        """What is to be learned of a candidate (m, m) and of the click (2,) that found it."""
        settings, view = self._settings, self._view
        step = view.geometry.side / len(plane)
        height, width = (max(1, round(side / step)) for side in view.geometry.input_hw)
        seen, middle = plane[:height, :width], view.threshold
        offset = settings.stability_score_offset
        inner, outer = (int((seen > middle + step).sum()) for step in (offset, -offset))
        value = _part(quality, settings.score)
        value *= _part(inner / max(outer, 1), settings.stability)
        inside = seen > middle
        cells = (self._places / step).astype(np.intp)
        on = inside[np.minimum(cells[:, 1], height - 1), np.minimum(cells[:, 0], width - 1)]
        place = int(np.abs(self._clicks - click).sum(1).argmin())
        return Observation(on, place, value, np.count_nonzero(inside) / inside.size)

    def learn(self, lesson: Observation) -> None:
        """Take notice of a candidate."""
        self._gain.see(lesson.on, lesson.place, lesson.value, lesson.area)


def _part(value: float, wanted: float) -> float:
    """How much of what is wanted is there, 0..1."""
    return min(max(value, 0.0) / wanted, 1.0) if wanted > 0 else 1.0
