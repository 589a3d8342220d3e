"""Video sessions: prompt objects in a video and track them from frame to frame.

While objects are tracked on a frame, a background thread decodes and encodes the next one. Results
are the same as without it. Only one thread at a time reads the source.

A prompt applies from its frame to the object's next prompt, a correction also back to the previous
one. Only results that it affects are recomputed. Results are stored in a file (`store`), frames are
read on demand, and one state per object and direction is in memory: memory use is constant.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import cv2
import numpy as np
from numpy.typing import ArrayLike

from anymask.base import (
    DataError,
    InputError,
    PromptError,
    UintImage,
    check_keywords,
    explain_keywords,
    parse_json,
    preview_html,
    refuse_text,
)
from anymask.formats import located
from anymask.masks import ALL_KINDS, Prompt, merged_prompts, rle_iou, rle_to_mask, warn_of_cut_boxes
from anymask.segment import Model
from anymask.track.confidence import TrackCheck, TrackMonitor, check_prompted, check_tracked
from anymask.track.flow import is_cut, reduce_frame
from anymask.track.records import (
    Direction,
    FramePrediction,
    ObjectMask,
    TrackedFrame,
    Tracker,
    TrackMoment,
)
from anymask.track.settings import (
    GROUPS,
    FrameSampling,
    MemorySettings,
    MonitorSettings,
    TrackSettings,
)
from anymask.track.sources import FrameSource, SampledFrames, first_readable, open_source
from anymask.track.store import SessionStore, StoredState
from anymask.track.trackers import open_tracker

if TYPE_CHECKING:
    from anymask.keywords import TrackOptions


@dataclass(frozen=True, eq=False)
class PrefetchedFrame:
    """Decoded frame (H, W, 3), as encoded by the tracker, and reduced to grayscale."""

    frame: int
    image: UintImage
    features: Any
    gray: UintImage


class FramePrefetcher:
    """Decode and encode the frames of a source for a tracker. Not thread-safe."""

    def __init__(self, tracker: Tracker, frames: SampledFrames) -> None:
        self._tracker, self._frames, self._reading = tracker, frames, Lock()
        self._ahead: tuple[int, Future[PrefetchedFrame | None]] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self.last: PrefetchedFrame | None = None

    def fetch(self, frame: int) -> PrefetchedFrame | None:
        """Return a decoded and encoded frame; None after the end of the video."""
        if self.last is None or self.last.frame != frame:
            ahead, self._ahead = self._ahead, None
            entry = self._encode(frame) if ahead is None or ahead[0] != frame else ahead[1].result()
            if entry is None:
                return None
            self.last = entry
        return self.last

    def expect(self, frame: int) -> None:
        """Start encoding a frame in the background, if the source supports random access."""
        length = self._frames.length
        if length is None or not 0 <= frame < length or self._ahead is not None:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "anymask-prefetch")
        self._ahead = (frame, self._pool.submit(self._encode, frame))

    def read(self, frame: int) -> UintImage | None:
        """Read the pixels of a frame. Raises InputError if a stream has passed it."""
        if self.last is not None and self.last.frame == frame:
            return self.last.image
        with self._reading:
            return self._frames.read(frame)

    def is_cut(
        self, prefetched: PrefetchedFrame, frame: int, earlier: PrefetchedFrame | None
    ) -> bool:
        """Whether a frame and the previous one, in tracking order, belong to different shots.

        Args:
            earlier: The last encoded frame before `prefetched`.
        """
        if earlier is not None and earlier.frame == frame:
            return is_cut(prefetched.gray, earlier.gray)
        try:  # the previous frame is no longer cached
            image = self.read(frame)
        except InputError:  # streams cannot be read backward
            return False
        return image is not None and is_cut(prefetched.gray, reduce_frame(image))

    def close(self) -> None:
        """Release all frames. The owner of the source closes it."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self.last = self._ahead = self._pool = None

    def _encode(self, frame: int) -> PrefetchedFrame | None:
        with self._reading:
            image = self._frames.read(frame)
        if image is None:
            return None
        gray = reduce_frame(image)
        return PrefetchedFrame(frame, image, self._tracker.encode_frame(image, gray), gray)


# Sessions.

LOG = logging.getLogger("anymask.track.session")
CHECKPOINT_FRAMES = 50  # maximum number of frames between checkpoints
CHECKPOINT_SECONDS = 10.0  # maximum time between checkpoints
SAME_CORRECTION_IOU = 0.8  # of a correction and the tracked mask: below, earlier frames change, too
INVALID_FRAME = -10  # frame of a state that is no longer valid at its position


class PromptKeywords(TypedDict, total=False):
    """Keyword arguments of a prompt on a frame or slice."""

    points: ArrayLike | None
    labels: ArrayLike | None
    box: ArrayLike | None
    mask: ArrayLike | None
    scribble: ArrayLike | None
    lasso: ArrayLike | None
    replace: bool


@explain_keywords
class VideoSession:
    """Prompts and masks of objects in one video. Created by `Model.track`; not thread-safe."""

    def __init__(
        self,
        tracker: Tracker,
        frames: SampledFrames,
        store: SessionStore,
        monitoring: MonitorSettings,
    ) -> None:
        self.tracker, self.frames, self.monitoring, self._store = tracker, frames, monitoring, store
        self._live: dict[tuple[int, bool], StoredState] = {}
        self._prefetcher = FramePrefetcher(tracker, frames)
        self._closed, self._unsaved, self._saved = False, 0, time.monotonic()
        store.check_tracker(tracker.name)
        with located("the session"):
            self._stepped = int(store.about("stepped") or -1)
            # Indices of sampled frames; corrections to track back, as (object, frame)
            self._missing = set(map(int, parse_json(store.about("missing") or "[]", "frames")))
            corrections = parse_json(store.about("corrections") or "[]", "the corrections")
            self._corrections = {(int(number), int(frame)) for number, frame in corrections}
        for number, backward, held in store.states():
            self._live[number, backward] = replace(held, state=tracker.unpack(held.state))

    def __repr__(self) -> str:
        length = self.frames.length
        of = "frames" if length is None else f"{length} frames"
        state = "closed" if self._closed else f"objects {self.objects}"
        return f"<VideoSession on {of}: {state}>"

    def _repr_html_(self) -> str:
        """Preview with the frame ranges of each object."""
        known = [] if self._closed else [(n, self.frame_ranges(n)) for n in self.objects]
        return preview_html(repr(self), [f"object {n}: {at}" for n, at in known], None)

    def __enter__(self) -> VideoSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[TrackedFrame]:
        return self.propagate()

    @property
    def tracker_id(self) -> str:
        """Tracking method, model and weights hash, such as "memory:nano:2597a89abaa9eb98"."""
        return self.tracker.name

    @property
    def last_step(self) -> int:
        """Index of the last frame of `step`; -1 before the first."""
        return self._stepped

    @property
    def objects(self) -> list[int]:
        """Numbers of all objects."""
        return self._store.objects()

    def add(
        self,
        frame: int = 0,
        id: int = 1,  # noqa: A002 - what everybody calls it
        **prompt: Unpack[PromptKeywords],
    ) -> ObjectMask:
        """Prompt an object on a frame, or correct its mask there, and return the mask.

        A negative point removes the part of a tracked mask that it is on, a positive one adds a
        part; a box is a new prompt. Masks up to the object's next prompted frame are discarded, and
        computed again by `propagate`, which also improves those since its previous prompt, but not
        of a generator or camera, which cannot go back.

        Args:
            frame: Index of the frame, from 0.
            id: Number of the object. A new number starts a new object.
            prompt: points (P, 2) in pixels, added to those already given on this frame, and their
                labels (P,), 1 foreground, 0 background; box (4,), which replaces an earlier box;
                mask, used unchanged without other prompts; scribble and lasso, lines (K, 2) along
                or around the object, in pixels; replace=True discards the earlier prompts of this
                object on this frame.

        Raises:
            PromptError: The prompt is invalid.
            InputError: The frame does not exist.
        """
        frame, id = read_whole(frame=frame, id=id)  # noqa: A001
        check_keywords(prompt, PromptKeywords.__annotations__)
        drawn: dict[str, Any] = dict(prompt)
        replace = bool(drawn.pop("replace", False))
        given = Prompt.of(**drawn)
        prefetched = self._prefetcher.fetch(frame)
        if prefetched is None:
            length = self.frames.length
            end = "the next" if length is None else length - 1
            raise InputError(
                f"Frame {frame} of the video is damaged and cannot be decoded. Add the prompt on "
                "another frame."
                if self.is_missing(frame)
                else f"Frame {frame} is not available: frames 0 to {end} can be prompted."
            )
        self._record_fingerprint(prefetched)
        hw = prefetched.image.shape[0], prefetched.image.shape[1]
        given = given.drawn_in(hw, ALL_KINDS)
        warn_of_cut_boxes([given], hw)
        if (before := self._store.prompt(id, frame)) is not None:
            whole = given if replace else merged_prompts(before[0], given)
            earlier = before[1]
        else:
            known = self._store.masks(frame).get(id)
            whole, earlier = given, known.rle if known is not None and known.area else None
        prediction = self.tracker.answer(prefetched.features, whole, earlier)
        self._store.write_prompt(id, frame, whole, earlier)
        self._forget_around(id, frame)
        if (
            earlier is not None
            and self.prompts(id)[0] < frame
            and rle_iou([earlier], [prediction.rle])[0, 0] < SAME_CORRECTION_IOU
        ):
            self._note_corrections(self._corrections | {(id, frame)})
        if frame == self._stepped:  # the next step continues from this frame
            return self._begin(prefetched.features, TrackMoment(frame), id)
        return self._write(id, frame, prediction, check_prompted(prediction), prompted=True)

    def _record_fingerprint(self, prefetched: PrefetchedFrame) -> None:
        """Store the fingerprint of a frame, to recognize its video again."""
        self._store.write_fingerprint(
            prefetched.frame,
            *_fingerprint(prefetched.image.shape, prefetched.gray, FINGERPRINT_SIDE),
        )

    def remove_prompts(self, id: int, frame: int) -> None:  # noqa: A002
        """Delete the prompt of an object on a frame. Raises InputError if it does not exist."""
        self._prompted(id, frame)
        self._store.drop_prompt(id, frame)
        self._forget_around(id, frame)
        others = self._store.prompted_frames(id)
        if not others:
            self.remove(id)
        self._store.drop_masks(id, frame, frame)
        self._live = {key: live for key, live in self._live.items() if key[0] != id}
        for other in others:  # their tracks now extend across this frame
            self._forget_around(id, other)

    def remove(self, id: int) -> None:  # noqa: A002
        """Delete an object. Other objects do not change."""
        (id,) = read_whole(id=id)  # noqa: A001
        self._store.remove_object(id)
        self._live = {key: live for key, live in self._live.items() if key[0] != id}

    def import_masks(self, id: int, masks: Mapping[int, ObjectMask]) -> None:  # noqa: A002
        """Replace the masks of an object with imported ones, by frame.

        Masks of prompted frames, or else the first non-empty mask, become mask prompts. A later
        click on such a frame corrects the imported mask. Raises PromptError, InputError.
        """
        (id,) = read_whole(id=id)  # noqa: A001
        sizes, length = {mask.rle.size for mask in masks.values()}, self.frames.length
        seen = [frame for frame in sorted(masks) if masks[frame].area]
        if len(sizes) != 1 or not seen:
            raise InputError(
                f"Invalid masks: {len(masks)} masks with {len(sizes)} different sizes. "
                "Pass masks of the size of the video, with at least one non-empty "
                "mask."
            )
        if min(masks) < 0 or (length is not None and max(masks) >= length):
            raise InputError(
                f"The masks are on frames {min(masks)} to {max(masks)}, but the video has frames "
                f"0 to {'...' if length is None else length - 1}."
            )
        self.remove(id)
        prompted = [frame for frame in seen if masks[frame].prompted] or seen[:1]
        for frame in prompted:
            rle = masks[frame].rle
            self._store.write_prompt(id, frame, Prompt.of(mask=rle_to_mask(rle)), rle)
        for frame, mask in masks.items():
            self._store.write_mask(id, frame, replace(mask, prompted=frame in prompted))

    def prompts(self, id: int) -> list[int]:  # noqa: A002
        """Frames on which an object has prompts."""
        return self._store.prompted_frames(*read_whole(id=id))

    def frame_ranges(self, id: int) -> list[tuple[int, int]]:  # noqa: A002
        """Frame ranges with masks of an object, as (first, last)."""
        return self._store.stretches(*read_whole(id=id))

    def forget_before(self, id: int, frame: int) -> None:  # noqa: A002
        """Delete masks before a prompted frame, up to the previous prompt, to track them again."""
        earlier = [at for at in self._prompted(id, frame) if at < frame]
        self._store.drop_masks(id, max(earlier, default=-1) + 1, frame - 1)
        self._live.pop((id, True), None)

    def _prompted(self, number: int, frame: int) -> list[int]:
        number, frame = read_whole(id=number, frame=frame)
        if frame in (prompted := self._store.prompted_frames(number)):
            return prompted
        raise InputError(
            f"Object {number} has no prompt on frame {frame}. It has prompts on {prompted}."
        )

    def _forget_around(self, number: int, frame: int) -> None:
        """Delete the masks from a prompt to the next one, and those before a first prompt."""
        prompted = self._store.prompted_frames(number)
        after = min((at for at in prompted if at > frame), default=None)
        self._store.drop_masks(number, frame + 1, None if after is None else after - 1)
        if not any(at < frame for at in prompted):
            self._store.drop_masks(number, 0, frame - 1)
        for backward in (False, True):
            live = self._live.get((number, backward))
            if live is not None and rests_on(frame, live.frame, prompted, backward):
                self._live[number, backward] = replace(live, frame=INVALID_FRAME)

    def propagate(
        self, direction: Direction = "forward", start: int | None = None, stop: int | None = None
    ) -> Iterator[TrackedFrame]:
        """Track the objects from frame to frame. Frames with results are not computed again.

        Args:
            direction: "forward" from the first prompt, "backward" from the last one, or "both".
            start: First frame, instead of the prompted one.
            stop: Last frame, inclusive.

        Raises:
            InputError: No object has a prompt.
            PromptError: A frame is not a number from 0.
        """
        if direction not in ("forward", "backward", "both"):
            raise InputError(
                f'Invalid direction {direction!r}. Use "forward", "backward" or "both".'
            )
        start = None if start is None else read_whole(start=start)[0]
        stop = None if stop is None else read_whole(stop=stop)[0]
        if not (prompted := self._store.prompted_frames()):
            raise InputError("No object to track. Use session.add(frame=0, points=[(x, y)]).")
        try:
            if direction in ("forward", "both"):
                yield from self._pass(False, prompted[0] if start is None else start, stop)
            if direction in ("backward", "both"):
                last = prompted[-1] if start is None or direction == "both" else start
                yield from self._pass(True, last, stop if direction == "backward" else None)
        finally:
            self.checkpoint()

    def _pass(self, backward: bool, start: int, stop: int | None) -> Iterator[TrackedFrame]:
        # Process pending frames before `start`, from the current position of each object.
        step, known, behind = -1 if backward else 1, self._store.followed(start), []
        for number in self.objects:
            live = self._live.get((number, backward))
            stands = self._store.prompted_frames(number)
            stands += [] if live is None or live.frame < 0 else [live.frame + step]
            passed = [frame for frame in stands if step * frame <= step * start]
            if number not in known and passed:
                behind.append(min(passed) if backward else max(passed))
        first = (max if backward else min)(behind, default=start)
        for frame in range(first, start, step):
            self._work(TrackMoment(frame, backward))
        frame, step = start, -1 if backward else 1
        while frame >= 0 and (stop is None or (frame >= stop if backward else frame <= stop)):
            tracked = self._work(TrackMoment(frame, backward))
            if tracked is not None:
                yield tracked
                if not backward and self.frames.length is not None:
                    self._settle_corrections(frame, stop)
            elif not self.is_missing(frame):
                return
            frame += step

    def _note_corrections(self, corrections: set[tuple[int, int]]) -> None:
        self._corrections = corrections
        self._store.tell("corrections", json.dumps(sorted(corrections)))

    def _settle_corrections(self, first: int, stop: int | None) -> None:
        for number, last in sorted(self._corrections):
            if (stop is None or last <= stop) and [
                frame for frame in self.prompts(number) if frame <= last
            ][-2:] == [first, last]:
                self._track_back(number, first, last)
                self._note_corrections(self._corrections - {(number, last)})

    def _track_back(self, number: int, first: int, last: int) -> None:
        """Track an object from a correction to its previous prompt, and keep the trusted masks.

        A direction is trusted by the predicted IoU of the mask at which it begins, by the distance
        to it, by the IoU of its mask with the prompt that it reaches, and by its score.
        """
        for frame in range(first + 1, last + 1):
            self._work(TrackMoment(frame))
        stored = self._store.prompt(number, last)
        assert stored is not None
        back = VideoSession(self.tracker, self.frames, SessionStore(None), self.monitoring)
        back._prefetcher, back._missing = self._prefetcher, self._missing
        back._store.write_prompt(number, last, *stored)
        back._live[number, True] = StoredState(
            INVALID_FRAME, self._remembered(TrackMoment(last), number), TrackMonitor()
        )
        masks = {
            frame.index: frame.objects[number] for frame in back.propagate("backward", last, first)
        }
        back._store.close()
        begun, given = (self.result(frame).objects[number] for frame in (first, last))
        agreed = rle_iou(
            (masks.pop(first).rle, stored[1] or given.rle), (begun.rle, given.rle)
        ).diagonal()
        for frame, mask in masks.items():
            forward, way = self.result(frame).objects.get(number), (frame - first) / (last - first)
            trust = (
                given.quality * (1 - (1 - agreed[0]) * (1 - way)),
                begun.quality * (1 - (1 - agreed[1]) * way),
            )
            if forward is None or trust[0] * mask.score > trust[1] * forward.score:
                self._store.write_mask(number, frame, mask)

    def step(self, image: UintImage | None = None) -> TrackedFrame | None:
        """Track into the next frame. Returns None after the last one.

        Args:
            image: (H, W, 3) frame of a session without a source, `track(None)`.
        """
        if image is not None:
            if (push := getattr(self.frames.source, "push", None)) is None:
                raise InputError(
                    "This session already has a video source. Call step() without an "
                    "image, or open a session with track(None)."
                )
            push(image)
        following = self._stepped + 1
        frame = self._work(TrackMoment(following))
        while frame is None and self.is_missing(following):
            following += 1
            frame = self._work(TrackMoment(following))
        if frame is not None:
            self._stepped = following
            self._store.tell("stepped", str(self._stepped))
        return frame

    def result(self, frame: int) -> TrackedFrame:
        """Return the stored masks of a frame, without computing any."""
        (frame,) = read_whole(frame=frame)
        return TrackedFrame(
            index=frame,
            source_frame=self.frames.source_frame(frame),
            seconds=self.frames.seconds(frame),
            objects=self._store.masks(frame),
            name=self.frames.name(frame),
        )

    def results(self) -> Iterator[TrackedFrame]:
        """Yield the stored masks of every frame, in order."""
        yield from map(self.result, self._store.frames())

    def is_missing(self, frame: int) -> bool:
        """Whether a frame has turned out to be damaged and is skipped; False if it was not read."""
        return frame in self._missing or self.frames.is_missing(frame)

    def _beyond(self, frame: int, step: int) -> int:
        frame += step
        while frame >= 0 and self.is_missing(frame):
            frame += step
        return frame

    def image(self, frame: int) -> UintImage | None:
        """Read a frame (H, W, 3). Raises InputError if a stream has passed it."""
        return self._prefetcher.read(*read_whole(frame=frame))

    def metadata(self, name: str, value: str | None = None) -> str | None:
        """Return a stored note of the session. `value` sets it first."""
        if value is not None:
            self._store.tell(f"note {name}", value)
        return self._store.about(f"note {name}")

    def frames_to_review(self) -> list[tuple[int, int, tuple[str, ...]]]:
        """Low-confidence masks to review, as (frame, object, doubts)."""
        return list(self._store.frames_to_review())

    def _work(self, at: TrackMoment) -> TrackedFrame | None:
        """Compute the missing masks of one frame. All tracked masks are computed here."""
        if self.is_missing(at.frame):
            self._note_missing(at.frame)
            return None
        step = -1 if at.backward else 1
        following = self._beyond(at.frame, step)
        known, ahead = self._store.followed(at.frame), self._store.followed(following)
        begun = [
            number
            for number in self.objects
            if number not in ahead
            and self._store.prompt(number, at.frame) is not None
            and not self._is_live(number, at)
        ]
        before = replace(at, frame=self._beyond(at.frame, -step))
        tracked = [n for n in self.objects if n not in known and self._is_live(n, before)]
        within = self.frames.length is not None and at.frame < self.frames.length
        if not (begun or tracked) and (within or self._store.followed(at.frame)):  # it exists
            return self.result(at.frame)
        earlier, begins = self._prefetcher.last, time.monotonic()
        prefetched = self._prefetcher.fetch(at.frame)
        if prefetched is None:
            self._note_missing(at.frame)
            return None
        if not ahead:
            self._prefetcher.expect(following)
        if at.frame % FINGERPRINT_INTERVAL == 0:
            self._record_fingerprint(prefetched)
        for number in begun:
            self._begin(prefetched.features, at, number)
        if tracked:
            now = replace(at, cut=self._prefetcher.is_cut(prefetched, before.frame, earlier))
            lives = [self._live[number, at.backward] for number in tracked]
            answers = self.tracker.track(prefetched.features, now, [live.state for live in lives])
            for number, live, answer in zip(tracked, lives, answers, strict=True):
                check = check_tracked(live.monitor, answer, now.cut, self.monitoring)
                state = self.tracker.remember(
                    prefetched.features, now, live.state, answer, check.sure
                )
                self._live[number, at.backward] = StoredState(at.frame, state, check.monitor)
                self._write(number, at.frame, answer, check, prompted=False)
        spent = time.monotonic() - begins
        LOG.info("frame %d: %d objects in %.2f s", at.frame, len({*begun, *tracked}), spent)
        self._unsaved += 1
        if (
            self._unsaved >= CHECKPOINT_FRAMES
            or time.monotonic() - self._saved >= CHECKPOINT_SECONDS
        ):
            self.checkpoint()
        return self.result(at.frame)

    def _note_missing(self, frame: int) -> None:
        """Store that a frame is damaged, so that the next run skips it."""
        if frame not in self._missing and self.frames.is_missing(frame):
            self._missing.add(frame)
            self._store.tell("missing", json.dumps(sorted(self._missing)))

    def _begin(self, features: Any, at: TrackMoment, number: int) -> ObjectMask:
        stored = self._store.prompt(number, at.frame)
        assert stored is not None
        prediction = self.tracker.answer(features, *stored)
        before = self._live.get((number, at.backward))
        known = self._remembered(at, number) if before is None else before.state
        state = self.tracker.begin(features, at, prediction, known)
        check = check_prompted(prediction)
        self._live[number, at.backward] = StoredState(at.frame, state, check.monitor)
        return self._write(number, at.frame, prediction, check, prompted=True)

    def _remembered(self, at: TrackMoment, number: int) -> Any | None:
        """State of an imported object from its previous prompt in tracking order, or None."""
        prompted = self._store.prompted_frames(number)
        passed = [i for i in prompted if (i > at.frame if at.backward else i < at.frame)]
        nearest = (min if at.backward else max)(passed, default=None)
        if nearest is None or self.frames.length is None:
            return None
        stored, prefetched = self._store.prompt(number, nearest), self._prefetcher.fetch(nearest)
        assert stored is not None
        if prefetched is None:  # damaged frame
            return None
        prediction = self.tracker.answer(prefetched.features, *stored)
        return self.tracker.begin(prefetched.features, replace(at, frame=nearest), prediction, None)

    def _write(
        self, number: int, frame: int, found: FramePrediction, check: TrackCheck, *, prompted: bool
    ) -> ObjectMask:
        mask = ObjectMask(
            found.rle, found.score, found.quality, check.state, check.doubts, prompted
        )
        self._store.write_mask(number, frame, mask)
        return mask

    def state_of(self, id: int, *, backward: bool) -> object | None:  # noqa: A002
        """Return the tracker's state of an object after its last frame; None before the first."""
        refuse_text("True or False", backward=backward)
        live = self._live.get((read_whole(id=id)[0], backward))
        return None if live is None else live.state

    def _is_live(self, number: int, at: TrackMoment) -> bool:
        live = self._live.get((number, at.backward))
        return live is not None and live.frame == at.frame

    def checkpoint(self) -> None:
        """Write results and tracker states to the session file."""
        if self._closed:
            return  # an unfinished generator is finalized after its session
        if self._prefetcher.last is not None:
            self._record_fingerprint(self._prefetcher.last)
        self._store.drop_states()
        for (number, backward), live in self._live.items():
            packed = replace(live, state=self.tracker.pack(live.state))
            self._store.write_state(number, backward, packed)
        self._store.commit()
        self._unsaved, self._saved = 0, time.monotonic()

    def close(self) -> None:
        """Write all results and release the video."""
        self.checkpoint()
        self._prefetcher.close()
        self._store.close()
        self.frames.close()
        self._closed = True
        self._live.clear()


def rests_on(frame: int, live: int, prompted: list[int], backward: bool) -> bool:
    """Whether a state after the frame `live` depends on the prompt of `frame`."""
    if backward:
        return live <= frame and not any(live <= at < frame for at in prompted)
    return live >= frame and not any(frame < at <= live for at in prompted)


def read_image(session: VideoSession, frame: int) -> UintImage:
    """Read a tracked frame again. Raises DataError if that fails."""
    if (image := session.image(frame)) is None:
        raise DataError(
            f"Frame {frame} can no longer be read. Check that the video was not changed."
        )
    return image


def read_whole(**numbers: object) -> list[int]:
    """Convert frame and object numbers to int. Raises PromptError for other values."""
    for name, value in numbers.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 0:
            raise PromptError(f"Invalid {name} {value!r}. Use a whole number of at least 0.")
    return [int(value) for value in numbers.values()]  # type: ignore[call-overload]  # checked


# Opening sessions.

FINGERPRINT_SIDE = 32  # side of a frame fingerprint, in cells
MAX_CELL_DIFFERENCE = 8  # of two fingerprints of the same frame, of 255
FINGERPRINT_INTERVAL = 10  # frames from one stored fingerprint to the next
MAX_FINGERPRINTS = 16  # maximum number of fingerprints to compare
MAX_HASHED, HASH_BLOCK = 64 << 20, 1 << 16  # bytes of a video that are hashed: in total, at a time
Fingerprint = tuple[int, str, bytes]  # fingerprint of a frame: number, size and gray cells
# A video: (H, W), number of frames, rate; hash, fingerprints; first frame that differs, or None
ClipFacts = tuple[
    tuple[tuple[int, int], int | None, float], tuple[str | None, list[Fingerprint]], int | None
]


def open_session(
    model: Model,
    source: Any,
    around: Callable[[Tracker], Tracker] | None = None,
    **settings: Unpack[TrackOptions],
) -> VideoSession:
    """Start tracking objects through a video, or resume a saved session.

    Args:
        source: Video file, folder of images, list or generator of frames, or camera number. None:
            frames are passed to `VideoSession.step`.
        around: Function that wraps the model's tracker.
        settings: Fields of `TrackSettings`, `FrameSampling`, `MonitorSettings`, `MemorySettings`.

    Raises:
        InputError: A setting is invalid, or the session was created with other frames.
        ModelError: The model does not support this tracker.
        DataError: The source or session cannot be read.
        MissingExtra: A video file requires PyAV.
    """
    known = {name: group for group in GROUPS for name in group.__dataclass_fields__}
    check_keywords(settings, known)
    given: dict[type, dict[str, Any]] = {group: {} for group in GROUPS}
    for name, value in settings.items():
        given[known[name]][name] = value
    track, sampling = TrackSettings(**given[TrackSettings]), FrameSampling(**given[FrameSampling])
    monitoring = MonitorSettings(**given[MonitorSettings])
    memory = MemorySettings(**given[MemorySettings])
    runtime = model.runtime
    if runtime.threads and runtime.video is None:
        # The next frame is encoded while the current one is tracked, with half the threads each:
        # waiting threads would busy-wait on cores of the other call.
        model = Model(runtime.with_threads(-(-runtime.threads // 2)))
    tracker = open_tracker(model, track.tracker, memory, track.refine_edges, track.tracker_weights)
    tracker = tracker if around is None else around(tracker)
    frames = SampledFrames(open_source(source), sampling)
    with ExitStack() as opened:  # closes both after an error
        opened.callback(frames.close)
        store = SessionStore(None if track.session is None else Path(track.session).expanduser())
        opened.callback(store.close)
        if store.path is not None:
            check_same_video(store, frames.source, sampling)
        session = VideoSession(tracker, frames, store, monitoring)
        opened.pop_all()
        return session


def check_same_video(store: SessionStore, source: FrameSource, sampling: FrameSampling) -> None:
    """Store which frames a session uses. Raises InputError if it was started with other frames."""
    frames = SampledFrames(source, sampling)
    # The options that determine the source frame of an index
    options = {name: getattr(sampling, name) for name in ("every", "fps", "start")}
    numbering = ", ".join(f"{k}={v}" if v is None else f"{k}={v:g}" for k, v in options.items())
    if (held := store.about("frames")) not in (None, numbering):
        raise InputError(
            f"{store.path} was created with {held}, but this run uses {numbering}. Use the same "
            "frames, or choose another session file."
        )
    store.tell("frames", numbering)
    content = content_hash(getattr(source, "files", ()))
    if frames.length is not None and (content is None or content != store.about("content")):
        other = _first_other_frame(frames, store.looks())
        if other is not None:
            raise InputError(
                f"{store.path} was created for another video: frame {other} differs. Use that "
                "video, or choose another session file."
            )
    store.tell("content", content or "")


def _first_other_frame(frames: SampledFrames, fingerprints: Sequence[Fingerprint]) -> int | None:
    """First frame that differs from its fingerprint, at most MAX_FINGERPRINTS of them, or None."""
    count = len(fingerprints)
    some = np.linspace(0, count - 1, min(count, MAX_FINGERPRINTS)).round().astype(int)
    for frame, size, cells in [fingerprints[number] for number in some]:
        index = first_readable(frames) if frame < 0 else frame
        image = None if index is None else frames.read(index)
        if image is None and index is not None and frames.is_missing(index):
            continue
        if image is None:
            return index or 0
        now = _fingerprint(image.shape, reduce_frame(image), max(math.isqrt(len(cells)), 1))
        if size != now[0] or len(cells) != len(now[1]):
            return index
        both = [np.frombuffer(values, np.uint8).astype(np.int16) for values in (cells, now[1])]
        if np.abs(np.subtract(*both)).max() > MAX_CELL_DIFFERENCE:
            return index
    return None


def read_facts(path: Path, content: str | None, fingerprints: list[Fingerprint]) -> ClipFacts:
    """Read the properties of a video file, and compare its frames if its hash is not `content`.

    Raises DataError if the file has no frames, MissingExtra without PyAV.
    """
    now, changed = content_hash([path]), None
    with closing(SampledFrames(open_source(path), FrameSampling())) as source:
        first = first_readable(source)
        image = None if first is None else source.read(first)
        if image is None:
            raise DataError(f"{str(path)!r} contains no frames. Choose another video.")
        length = source.length
        if now != content:
            changed = _first_other_frame(source, fingerprints)
            some = np.linspace(0, (length or 1) - 1, MAX_FINGERPRINTS).round().astype(int)
            images = ((frame, source.read(frame)) for frame in np.unique(some).tolist())
            fingerprints = [
                (frame, *_fingerprint(image.shape, reduce_frame(image), FINGERPRINT_SIDE))
                for frame, image in images
                if image is not None
            ]
    return ((image.shape[0], image.shape[1]), length, source.rate), (now, fingerprints), changed


def content_hash(files: Sequence[Path]) -> str | None:
    """Hash of the sizes and contents of files, and of the names of several.

    Of large files, blocks at equal distances are read: at most about MAX_HASHED bytes of all.
    Returns None without files, or if one is missing.
    """
    count = max(2, MAX_HASHED // HASH_BLOCK // max(len(files), 1))  # blocks of each file
    digest = hashlib.sha256()
    for path in files:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            digest.update(json.dumps([path.name if len(files) > 1 else "", size]).encode())
            for offset in np.linspace(
                0, max(0, size - HASH_BLOCK), min(count, size // HASH_BLOCK + 1)
            ):
                file.seek(int(offset))
                digest.update(file.read(HASH_BLOCK))
    return digest.hexdigest() if files else None


def _fingerprint(hw: tuple[int, ...], gray: UintImage, side: int) -> tuple[str, bytes]:
    """Size of a frame, and a small version of its reduced image."""
    cells = cv2.resize(gray, (side, side), interpolation=cv2.INTER_AREA)
    return f"{hw[0]} {hw[1]}", cells.tobytes()
