"""Edges at the photo's resolution: candidates with coarse masks and the photo in, finer masks out.

A model draws its mask in cells of many pixels (nano: 128 of them along the photo), so an edge is
right to about a cell, while the photo itself shows where it runs. Where a model has a network of
edges beside it (`runtimes.protocol.EdgeRefining`), that says what to add to the logits around the
object. Where it has none, colours decide: the pixels within a cell of the edge whose logit is
undecided get another one: their own, plus how much likelier the colour is among the decided object
pixels nearby than among the decided background pixels nearby (two histograms of colours). That
needs no training; it is the idea of GrabCut (Rother et al. 2004) in one pass, without graph cut.
What a click or a box says of a pixel is not touched. Both leave crumbs along the edge: holes and
islands below the settings' sizes go once more.

Letters: H W the photo, h w the window around the object, n undecided pixels.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, FloatArray, UintImage
from anymask.masks import (
    Geometry,
    LeastArea,
    Prompt,
    Rle,
    enlarged_rle,
    logits_to_image,
    mask_to_rle,
    point_pixels,
    reduced,
)
from anymask.models.rules import (
    EdgeWindow,
    add_change,
    window_around,
    window_logits,
    window_photo,
    window_prompt,
)
from anymask.segment.prediction import Candidate, PixelsLater, Prediction
from anymask.segment.steps import PhotoClicks, Question, clean_kept, clicks_of

UNDECIDED = float(np.log(3))  # logits from the threshold: a probability of .25 to .75
EDGE, NEAR = 1.0, 2.0  # cells: how far from the edge pixels change, how far from those one looks
WEIGHT = 0.7  # of the colour's logit beside the model's own
MOST = 3.0  # logits that a colour, or a neighbour, counts at most
LEVELS = 16  # of each channel in a histogram
SPREAD = 0.5  # of a colour's count, to each neighbouring level
RARE = 1e-5  # chance of a colour that was never seen
FEWEST = 50  # decided pixels on each side, below which colours say nothing
SMALL = 36  # cells: a smaller object is nothing but edge, and stays as it is
LONGEST = 2048  # pixels: larger photos are looked at in this size


def refine_edges(answer: Prediction, question: Question) -> Prediction:
    """A step: every candidate that the logits draw, with the edge where the photo has it.

    That of the first one is decided at once; those of the others when their pixels are read, where
    a network decides.
    """
    photo, settings = question.photo, question.settings
    wanted = settings.refine_edges
    if wanted == "auto":
        wanted = settings.multimask == "auto"
    first = answer.first
    if photo is None or not wanted or (first.finished is not None and not first.tidied):
        return answer
    height, width = reduced(answer.geometry, LONGEST).image_hw
    if max(height, width) <= first.logits.shape[-1]:  # the mask is as fine as the photo
        return answer
    photo = photo_for_edges(photo, answer.geometry)
    view = _EdgeView(question, (height, width), width / answer.geometry.image_hw[1])
    if question.edges is None:
        decided: list[Rle | PixelsLater] = [view.by_colours(one, photo) for one in answer.items]
    else:
        later = [view.by_network(one, photo) for one in answer.items]
        decided = [later[0].rle, *later[1:]]
    items = zip(answer.items, decided, strict=True)
    return replace(
        answer, items=tuple(replace(one, finished=done, tidied=False) for one, done in items)
    )


def photo_for_edges(photo: UintImage, geometry: Geometry) -> UintImage:
    """A photo (H, W, 3) in the size in which its edges are looked at: itself, or a smaller one."""
    height, width = reduced(geometry, LONGEST).image_hw
    if photo.shape[:2] == (height, width):
        return photo
    return np.asarray(cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def scaled_prompt(prompt: Prompt, scale: float) -> Prompt:
    """The prompt for the photo in another size."""
    points, box = (
        None if given is None else given * np.float32(scale)
        for given in (prompt.points, prompt.box)
    )
    return replace(prompt, points=points, box=box)


def settled_pixels(prompt: Prompt, hw: tuple[int, int]) -> BoolArray:  # (H, W)
    """The pixels about which the prompt itself speaks: those clicked, those outside the box."""
    settled = np.zeros(hw, np.bool_)
    if prompt.box is not None:
        x0, y0, x1, y1 = np.rint(prompt.box).astype(int).tolist()
        settled[:] = True
        settled[max(y0, 0) : y1, max(x0, 0) : x1] = False
    if prompt.points is not None:
        for x, y in point_pixels(prompt.points, hw).tolist():
            settled[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = True
    return settled


class _EdgeView:
    """What a question says of a photo's edges. It keeps no photo: the caller may write it anew.

    hw     of the photo that is looked at
    scale  of that photo to the size that the user has
    """

    def __init__(self, question: Question, hw: tuple[int, int], scale: float) -> None:
        self.hw, self.network = hw, question.edges
        self.prompt = scaled_prompt(question.prompt, scale)
        holes, islands = question.settings.least_areas
        self.least = scaled_area(holes, scale), scaled_area(islands, scale)

    def by_colours(self, mask: Candidate, photo: UintImage) -> Rle:
        """The pixels of a candidate as `decide_edge` has them."""
        drawn, place = drawn_logits(mask)
        cell = place.side / mask.logits.shape[-1] / min(place.scale_xy)
        return self._finished(mask, decide_edge(drawn, photo, cell, self._settled()))

    def by_network(self, mask: Candidate, photo: UintImage) -> PixelsLater:
        """The pixels of a candidate, decided when they are read: the photo's window is cut now."""
        cells = mask.shown_logits - np.float32(mask.threshold)
        window = window_around(cells, reduced(mask.geometry, LONGEST))
        part = None if window is None else window_photo(photo, window)
        return PixelsLater(partial(self._changed, mask, window, part))

    def _changed(self, mask: Candidate, window: EdgeWindow | None, part: UintImage | None) -> Rle:
        drawn, _ = drawn_logits(mask)
        before = drawn > 0
        if window is None or part is None or self.network is None:
            return self._finished(mask, before)
        cells = window_logits(mask.shown_logits - np.float32(mask.threshold), window)
        change = self.network.refine_edge(part, cells, window_prompt(self.prompt, window))
        add_change(drawn, change, window)
        return self._finished(mask, np.where(self._settled(), before, drawn > 0))

    def _settled(self) -> BoolArray:
        return settled_pixels(self.prompt, self.hw)

    def _finished(self, mask: Candidate, fine: BoolArray) -> Rle:
        """Without crumbs, in the size of the user's photo."""
        rle = mask_to_rle(without_crumbs(fine, clicks_of(self.prompt), self.least))
        whole = mask.geometry.image_hw
        return rle if self.hw == whole else enlarged_rle(rle, whole)


def drawn_logits(mask: Candidate) -> tuple[FloatArray, Geometry]:
    """A mask's logits above its threshold, (H, W) of at most LONGEST a side, and how they lie."""
    place = reduced(mask.geometry, LONGEST)
    return logits_to_image(mask.shown_logits[None], place)[0] - np.float32(mask.threshold), place


def without_crumbs(
    mask: BoolArray, clicks: PhotoClicks, least: tuple[float, float]
) -> BoolArray:  # (H, W) -> (H, W)
    """The mask without holes and islands below shares of its area (below 1) or below so many
    pixels; a click keeps its own.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not any(least) or not len(rows):
        return mask
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    points, labels = clicks[0] - np.array([columns[0], rows[0]], np.float32), clicks[1]
    seen = ((points >= 0) & (points < mask[window].shape[::-1])).all(axis=1)
    mask[window] = clean_kept(mask[window], (points[seen], labels[seen]), *least)
    return mask


def scaled_area(least: LeastArea, scale: float) -> float:
    """The share of the mask, or the pixels of the photo in another size; none below a pixel."""
    pixels = least.pixels * scale**2
    return least.share or (pixels if pixels >= 1 else 0.0)


def decide_edge(
    logits: FloatArray, photo: UintImage, cell: float, settled: BoolArray
) -> BoolArray:  # (H, W), (H, W, 3), (H, W) -> (H, W)
    """The mask above 0, its edge moved by less than a cell to where colours part.

    cell     pixels of the photo that a low-resolution cell covers
    settled  pixels that stay as the logits have them
    """
    mask: BoolArray = logits > 0
    if np.count_nonzero(mask) < SMALL * cell**2:
        return mask
    edge, near = (max(1, round(cells * cell)) for cells in (EDGE, NEAR))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    pad = edge + near
    window = (
        slice(max(0, int(rows[0]) - pad), int(rows[-1]) + pad + 1),
        slice(max(0, int(columns[0]) - pad), int(columns[-1]) + pad + 1),
    )
    seen, inside = logits[window], mask[window].view(np.uint8)
    undecided = (
        _grown(inside, edge)
        & _grown((~mask[window]).view(np.uint8), edge)
        & (np.abs(seen) < UNDECIDED)
    )
    undecided &= ~settled[window]
    around = _grown(undecided.view(np.uint8), near)
    on, off = around & (seen >= UNDECIDED), around & (seen <= -UNDECIDED)
    if min(np.count_nonzero(on), np.count_nonzero(off)) < FEWEST:
        return mask
    colours = np.ascontiguousarray(photo[window])
    likelier = WEIGHT * np.log(_chances(colours, on) / _chances(colours, off))
    seen_here = colours.reshape(-1, 3).take(np.flatnonzero(undecided), axis=0)  # (n, 3)
    level = (seen_here // (256 // LEVELS)).astype(np.intp)
    place = (level[:, 0] * LEVELS + level[:, 1]) * LEVELS + level[:, 2]
    score = np.clip(seen, -MOST, MOST)
    score[undecided] += np.clip(likelier, -MOST, MOST)[place]
    smooth = cv2.blur(score, (3, 3))
    mask[window][undecided] = smooth[undecided] > 0
    return mask


def _grown(mask: NDArray[np.uint8], reach: int) -> BoolArray:  # (h, w) -> (h, w)
    """The pixels that have one of the mask within so many rows and columns."""
    return cv2.dilate(mask, np.ones((2 * reach + 1,) * 2, np.uint8)).view(np.bool_)


def _chances(colours: UintImage, chosen: BoolArray) -> FloatArray:  # (h, w, 3), (h, w)
    """How often each colour occurs, (LEVELS^3,), and those beside it; never quite 0."""
    sizes, ranges = [LEVELS] * 3, [0, 256] * 3
    found = cv2.calcHist([colours], [0, 1, 2], chosen.view(np.uint8), sizes, ranges)
    count = np.asarray(found, np.float32)
    for axis in range(3):
        line = np.moveaxis(count, axis, 0)
        wide = line.copy()
        wide[1:] += SPREAD * line[:-1]
        wide[:-1] += SPREAD * line[1:]
        count = np.moveaxis(wide, 0, axis)
    chances: FloatArray = count.ravel() / count.sum() + np.float32(RARE)
    return chances
