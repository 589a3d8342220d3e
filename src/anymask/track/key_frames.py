"""Key frames of masklets: match proposals to tracked, lost and new objects.

A proposal confirms a track whose mask it matches. A proposal that looks like an object whose track
is lost or has drifted corrects it. Each confirmed or corrected mask becomes a prompt (anchor) of
its object, so that the anchors split a track into segments. If a track had drifted, its segment is
also tracked backward from the anchor, and both directions are compared (`masklets`).

The order (masks, then appearance, the rest is new) is that of tracking by detection: SORT (Bewley
et al. 2016) and DeepSORT (Wojke et al. 2017), as in `words`.

Letters: K objects, N proposals, C values of an appearance vector.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import numpy as np

from anymask.base import FloatArray, parse_json
from anymask.formats import located
from anymask.masks import Rle, coco_to_rle, rle_area, rle_iou, rle_to_coco, rle_to_mask
from anymask.segment import EncodedImage, Model
from anymask.track.appearance import MAX_APPEARANCES, MIN_COSINE, appearance, similarity
from anymask.track.matching import INSIDE_SHARE, compare_masks, maps_to_keys, match_best
from anymask.track.records import ObjectMask, TrackedFrame
from anymask.track.session import VideoSession, read_image

GRID_SIDE = 16  # grid points along each side of the image; smaller objects are not proposed
SAME_IOU = 0.5  # minimum IoU of a proposal and a tracked object that is the same
CORRECTED_IOU = 0.3  # minimum IoU of a proposal and a track that it corrects
DRIFTED_IOU = 0.7  # IoU of a track and its anchor below which the track has drifted
MAX_PROPOSAL_SHARE = 0.5  # of the frame; larger proposals are background
GROWTH = 2.5  # maximum ratio of the areas of one object on two anchors
KEYS_NOTE = "masklet keys"  # note of a session: indices of the finished key frames


class KeyFrames:
    """Key frames of one session. Each finished one is stored in the session.

    Args:
        least: Minimum area of a new object, as a share of the frame.
        most: Start no further objects if this many are visible.
    """

    def __init__(self, session: VideoSession, model: Model, least: float, most: int) -> None:
        self.session, self.model, self.least, self.most = session, model, least, most
        self.finished = finished_keys(session)
        self._looks: dict[int, list[FloatArray]] = defaultdict(list)
        self._areas: dict[int, int] = {}
        for at in self.finished:  # a resumed call
            frame = session.result(at)
            view = _View(session, model, at)
            for number, mask in frame.objects.items():
                if mask.prompted and mask.area:
                    self._remember(number, mask.rle, view.look(mask.rle))

    def process(self, frame: TrackedFrame) -> None:
        """Match the proposals on a frame that the session has just processed."""
        view = _View(self.session, self.model, frame.index)
        masks = self.model.everything(view.encoded, grid=GRID_SIDE, refine_edges=False)
        proposals = [mask.rle for mask in masks]
        vectors = [view.look(rle) for rle in proposals]
        tracks = {number: mask.rle for number, mask in frame.objects.items() if mask.area}
        views = {number: view.look(rle) for number, rle in tracks.items()}
        anchors: dict[int, Rle] = {}  # of the proposal and the track, the more similar one
        # Confirm tracks by proposals.
        ious = compare_masks(proposals, [*tracks.values()])[0]
        for n, column in match_best(np.asarray(ious, np.float32), CORRECTED_IOU).items():
            number = [*tracks][column]
            known, iou = self._looks[number], ious[n, column]
            mine, theirs = similarity(views[number], known), similarity(vectors[n], known)
            if theirs >= max(mine, MIN_COSINE) and self._fits(number, proposals[n]):
                anchors[number] = proposals[n]
            elif mine >= MIN_COSINE and iou >= SAME_IOU and self._fits(number, tracks[number]):
                anchors[number] = tracks[number]
        # Recognize lost objects by appearance and area.
        free = _free(proposals, [*anchors.values()])
        lost = [
            number
            for number in self._looks
            if number not in anchors
            and not (
                number in tracks
                and self._fits(number, tracks[number])
                and similarity(views[number], self._looks[number]) >= MIN_COSINE
            )
        ]
        alike = np.array(
            [
                [self._fits(number, proposals[n]) * similarity(vectors[n], self._looks[number])
                 for number in lost] for n in free
            ],
            np.float32,
        ).reshape(len(free), len(lost))  # fmt: skip
        for row, column in match_best(alike, MIN_COSINE).items():
            anchors[lost[column]] = proposals[free[row]]
        for number, rle in anchors.items():
            self._anchor(frame, number, rle, view.look(rle))
        for number in set(lost) & set(tracks) - set(anchors):
            if similarity(views[number], self._looks[number]) < MIN_COSINE:  # shows another object
                self.session.add(
                    frame.index, number, mask=np.zeros(view.hw, np.bool_), replace=True
                )
                del tracks[number]
        # Start objects from the other proposals.
        tracks |= anchors
        for n in free:
            rle, area = proposals[n], rle_area(proposals[n])
            fits = self.least <= area / (view.hw[0] * view.hw[1]) <= MAX_PROPOSAL_SHARE
            is_new = _free([rle], [*tracks.values()], parts=False) and _free(
                [rle], [*anchors.values()]
            )
            if len(tracks) >= self.most or not fits or not is_new:
                continue
            number = max(self.session.objects, default=0) + 1
            self._anchor(frame, number, rle, vectors[n])
            tracks[number] = anchors[number] = rle
        self.finished.append(frame.index)
        self.session.metadata(KEYS_NOTE, json.dumps(self.finished))

    def _fits(self, number: int, rle: Rle) -> bool:
        return is_similar_area(rle_area(rle), self._areas[number])

    def _anchor(self, frame: TrackedFrame, number: int, rle: Rle, vector: FloatArray) -> None:
        """Prompt an object with its mask. If its track had drifted, track it again backward."""
        track = frame.objects.get(number)
        self.session.add(frame.index, number, mask=rle_to_mask(rle), replace=True)
        self._remember(number, rle, vector)
        if track is not None and rle_iou([track.rle], [rle])[0, 0] < DRIFTED_IOU:
            store_forward(self.session, number, frame.index)
            self.session.forget_before(number, frame.index)

    def _remember(self, number: int, rle: Rle, vector: FloatArray) -> None:
        self._looks[number] = [*self._looks[number], vector][-MAX_APPEARANCES:]
        self._areas[number] = rle_area(rle)


class _View:
    """Image (H, W, 3) and cells of one frame."""

    def __init__(self, session: VideoSession, model: Model, frame: int) -> None:
        image = read_image(session, frame)
        features = model.encode(image)
        self.image = image
        self.encoded = EncodedImage(features, image)
        self.hw = image.shape[0], image.shape[1]
        self._keys = maps_to_keys(features.maps, features.geometry)

    def look(self, rle: Rle) -> FloatArray:  # -> (C,)
        return appearance(self._keys, self.image, rle)


def finished_keys(session: VideoSession) -> list[int]:
    """Indices of the finished key frames."""
    with located("the key frames of the session"):
        return [
            int(key) for key in parse_json(session.metadata(KEYS_NOTE) or "[]", "the key frames")
        ]


def is_similar_area(area: int, usual: int) -> bool:
    """Whether the ratio of two areas of one object is plausible."""
    return usual / GROWTH <= area <= usual * GROWTH


def _free(proposals: list[Rle], masks: list[Rle], parts: bool = True) -> list[int]:
    """Indices of the proposals that no mask covers.

    Args:
        parts: Whether a proposal inside a mask is covered.
    """
    ious, inside, _ = compare_masks(proposals, masks)
    covered = (ious >= SAME_IOU) | (parts & (inside >= INSIDE_SHARE))
    return [n for n in range(len(proposals)) if not covered[n].any()]


# Forward masks of segments that are tracked again backward.


def store_forward(session: VideoSession, number: int, frame: int) -> None:
    """Store the masks of an object between its previous prompt and a prompted frame."""
    before = max(at for at in session.prompts(number) if at < frame)
    masks = {at: session.result(at).objects.get(number) for at in range(before + 1, frame)}
    stored = {
        at: {"rle": rle_to_coco(mask.rle), "score": mask.score, "doubts": mask.doubts}
        for at, mask in masks.items()
        if mask is not None and mask.area
    }
    session.metadata(f"masklet {number} before {frame}", json.dumps(stored))


def read_forward(session: VideoSession, number: int, frame: int) -> dict[int, ObjectMask] | None:
    """Masks that `store_forward` stored; None if the track had not drifted."""
    stored: Any = session.metadata(f"masklet {number} before {frame}")
    if stored is None:
        return None
    with located("the masks of a key frame of the session"):
        masks = dict[int, ObjectMask]()
        for at, record in parse_json(stored, "the masks").items():
            score = +record["score"]  # TypeError for text
            rle, doubts = coco_to_rle(record["rle"]), tuple(record["doubts"])
            masks[int(at)] = ObjectMask(rle, score, score, "visible", doubts)
        return masks
