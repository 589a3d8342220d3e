"""Video sessions: prompts on any frame in, masks of objects in every frame out.

The newest prompt of an object counts from its frame on to the object's next prompt, and only what
that changes is computed again. What is known is kept in a file (`store`), the frames are read when
they are needed, and of each object one state in each direction is held: memory does not grow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import ArrayLike

from anymask.primitives.errors import InputError
from anymask.primitives.prompts import Prompt
from anymask.primitives.types import UintImage
from anymask.video.lookout import FrameLook, Lookout
from anymask.video.pace import CheckpointPace
from anymask.video.picks import PickedFrames, no_such_frame
from anymask.video.prompting import merged_prompts, nearest_prompt, read_way, read_whole, rests_on
from anymask.video.records import Direction, ObjectMask, TrackedFrame
from anymask.video.store import SessionStore, SpokenPrompt, StoredState
from anymask.video.taking_up import check_known, write_known
from anymask.video.tracker import Finding, Tracker, TrackMoment
from anymask.video.watch import Judgement, Watch, WatchSettings, watch_prompted, watch_tracked

NOWHERE = -10  # the frame of a state whose place in the video does not count any more


@dataclass(frozen=True, eq=False)
class _Live:
    """An object's state after a frame, and its past."""

    frame: int
    state: Any
    watch: Watch


class VideoSession:
    """What is known of some objects in one video. Made by `Model.track`; use it in a `with`.

    One thread at a time, whichever.
    """

    def __init__(
        self,
        tracker: Tracker,
        frames: PickedFrames,
        store: SessionStore,
        watching: WatchSettings,
    ) -> None:
        self.tracker, self.frames, self.watching, self._store = tracker, frames, watching, store
        self._live: dict[tuple[int, bool], _Live] = {}
        self._lookout = Lookout(tracker, frames)
        self._pace, self._closed = CheckpointPace(), False
        store.check_tracker(tracker.name)
        self._stepped = int(store.about("stepped") or -1)
        for number, backward, held in store.states():
            state = tracker.unpack(held.arrays)
            self._live[number, backward] = _Live(held.frame, state, held.watch)

    def __enter__(self) -> VideoSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[TrackedFrame]:
        return self.propagate()

    # ---------------------------------------------------------------------------------- prompts

    @property
    def objects(self) -> list[int]:
        """The numbers of the objects."""
        return self._store.objects()

    def add(
        self,
        *,
        frame: int = 0,
        object: int = 1,  # noqa: A002 - what everybody calls it
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        anew: bool = False,
    ) -> ObjectMask:
        """Say which object is meant on a frame, or correct its mask there; its mask on the frame.

        frame          counted from 0 in what the session looks at
        object         a number of your own choice; a new one begins a new object
        points, labels, box, mask
                       as for `Model.segment`; further points are added to those that were given on
                       the frame, a box or a mask takes the place of the earlier one; a mask alone
                       is taken as it is
        anew           forget what was said of the object on this frame before

        What was found of the object from this frame on, up to its next prompt, is forgotten: the
        next `propagate` finds it anew. Other objects are left alone. Of a generator or a camera
        the frames before this one are read and cannot be asked for any more.

        Raises PromptError, and InputError for a frame that is not there.
        """
        frame, object = read_whole(frame=frame, object=object)  # noqa: A001
        said = Prompt.of(points, labels, box, mask)
        look = self._look_at(frame)
        spoken = self._spoken(object, frame, said, anew)
        finding = self.tracker.answer(look.seen, spoken.prompt, spoken.earlier)
        self._store.write_prompt(object, frame, spoken)
        self._forget_around(object, frame)
        if frame == self._stepped:  # the next step goes on from here
            return self._begin(look.seen, TrackMoment(frame), object)
        return self._write(object, frame, finding, watch_prompted(finding), prompted=True)

    def _spoken(self, number: int, frame: int, said: Prompt, anew: bool) -> SpokenPrompt:
        """All that was said of an object on a frame, and its mask before that."""
        before = self._store.prompt(number, frame)
        if before is not None:
            whole = said if anew else merged_prompts(before.prompt, said)
            return SpokenPrompt(whole, before.earlier)
        known = self._store.masks(frame).get(number)
        return SpokenPrompt(said, known.rle if known is not None and known.area else None)

    def _look_at(self, frame: int) -> FrameLook:
        look = self._lookout.look(frame)
        if look is None:
            raise no_such_frame(frame, self.frames.length)
        return look

    def take_back(self, object: int, frame: int) -> None:  # noqa: A002
        """Undo what was said of an object on a frame. Raises InputError where nothing was said."""
        self._prompted(object, frame)
        self._store.drop_prompt(object, frame)
        self._forget_around(object, frame)
        others = self._store.prompted_frames(object)
        if not others:
            self.remove(object)
        self._store.drop_masks(object, frame, frame)
        for backward in (False, True):
            self._live.pop((object, backward), None)
        for other in others:  # their stretches reach over this frame now
            self._forget_around(object, other)

    def remove(self, object: int) -> None:  # noqa: A002
        """Forget an object; the others are left alone."""
        self._store.remove_object(object)
        for backward in (False, True):
            self._live.pop((object, backward), None)

    def take_up(self, object: int, masks: Mapping[int, ObjectMask]) -> None:  # noqa: A002
        """Know an object by masks from elsewhere, by frame, in place of what was known of it; see
        `taking_up`. Raises PromptError for a number that is none, InputError for the masks."""
        (object,) = read_whole(object=object)  # noqa: A001
        check_known(masks, self.frames.length)
        self.remove(object)
        write_known(self._store, object, masks)

    def prompts(self, object: int) -> list[int]:  # noqa: A002
        """The frames on which somebody spoke of an object."""
        return self._store.prompted_frames(object)

    def known(self, object: int) -> list[tuple[int, int]]:  # noqa: A002
        """The frames on which an object's mask is known, as (first, last) of each stretch."""
        return self._store.stretches(object)

    def forget_before(self, object: int, frame: int) -> None:  # noqa: A002
        """Forget what was found of an object before a prompted frame, up to the prompt before it;
        `propagate("backward")` finds it anew. Raises InputError where nothing was said."""
        earlier = [one for one in self._prompted(object, frame) if one < frame]
        self._store.drop_masks(object, max(earlier, default=-1) + 1, frame - 1)
        self._live.pop((object, True), None)

    def _prompted(self, number: int, frame: int) -> list[int]:
        if frame in (prompted := self._store.prompted_frames(number)):
            return prompted
        raise InputError(f"object {number} has no prompt on frame {frame}, it has on {prompted}")

    def _forget_around(self, number: int, frame: int) -> None:
        """Forget what was found from a prompt's frame on, up to the next prompt; and before the
        prompt where nobody had spoken earlier."""
        prompted = self._store.prompted_frames(number)
        after = min((one for one in prompted if one > frame), default=None)
        self._store.drop_masks(number, frame + 1, None if after is None else after - 1)
        if not any(one < frame for one in prompted):
            self._store.drop_masks(number, 0, frame - 1)
        for backward in (False, True):
            live = self._live.get((number, backward))
            if live is not None and rests_on(frame, live.frame, prompted, backward):
                self._live[number, backward] = replace(live, frame=NOWHERE)

    # ------------------------------------------------------------------------------------ frames

    def propagate(
        self, direction: Direction = "forward", start: int | None = None, stop: int | None = None
    ) -> Iterator[TrackedFrame]:
        """Follow the objects from frame to frame; frames that are known already cost nothing.

        direction  "forward" from the first prompt, "backward" from the last one, or "both":
                   forward and then backward
        start      the frame to begin with instead
        stop       the last frame, inclusive

        Leave the loop to pause; the next call goes on where work is left. Raises InputError where
        nobody has spoken of an object, PromptError for frames that are no number from 0 on.
        """
        start, stop = read_way(direction, start, stop)
        prompted = self._store.prompted_frames()
        if not prompted:
            raise InputError(
                "nothing says which object is meant; session.add(frame=0, points=[(x, y)]) first"
            )
        try:
            if direction in ("forward", "both"):
                yield from self._pass(False, prompted[0] if start is None else start, stop)
            if direction in ("backward", "both"):
                last = prompted[-1] if start is None or direction == "both" else start
                yield from self._pass(True, last, stop if direction == "backward" else None)
        finally:
            self.checkpoint()

    def _pass(self, backward: bool, start: int, stop: int | None) -> Iterator[TrackedFrame]:
        self._catch_up(backward, start)
        frame, step = start, -1 if backward else 1
        while frame >= 0 and (stop is None or (frame >= stop if backward else frame <= stop)):
            found = self._work(TrackMoment(frame, backward))
            if found is None:
                return
            yield found
            frame += step

    def _catch_up(self, backward: bool, start: int) -> None:
        """Do what is left to do before a frame, from where each object's work stands."""
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

    def step(self, image: UintImage | None = None) -> TrackedFrame | None:
        """The next frame forwards; None behind the last one.

        image  (H, W, 3), where the session was begun without a source: `track(None)`
        """
        if image is not None:
            push = getattr(self.frames.source, "push", None)
            if push is None:
                raise InputError(
                    "this session reads its own source: call step() without an image, or begin "
                    "the session with track(None)"
                )
            push(image)
        found = self._work(TrackMoment(self._stepped + 1))
        if found is not None:
            self._stepped += 1
            self._store.tell("stepped", str(self._stepped))
        return found

    def result(self, frame: int) -> TrackedFrame:
        """What is known of a frame; nothing is computed."""
        return TrackedFrame(
            index=frame,
            source_frame=self.frames.source_frame(frame),
            seconds=self.frames.seconds(frame),
            objects=self._store.masks(frame),
            name=self.frames.name(frame),
        )

    def results(self) -> Iterator[TrackedFrame]:
        """What is known of every frame, in order."""
        for frame in self._store.frames():
            yield self.result(frame)

    def picture(self, frame: int) -> UintImage | None:
        """A frame (H, W, 3). Raises InputError where a stream has passed it."""
        return self._lookout.read(frame)

    def note(self, name: str, value: str | None = None) -> str | None:
        """A word that is kept with the session; `value` writes it."""
        if value is not None:
            self._store.tell(f"note {name}", value)
        return self._store.about(f"note {name}")

    def doubtful(self) -> list[tuple[int, int, tuple[str, ...]]]:
        """(frame, object, doubts) of what a person should look at."""
        return list(self._store.doubtful())

    # -------------------------------------------------------------------------------------- work

    def _work(self, at: TrackMoment) -> TrackedFrame | None:
        """Find what is missing on one frame: the only way to a mask of a tracked frame."""
        step = -1 if at.backward else 1
        known, ahead = self._store.followed(at.frame), self._store.followed(at.frame + step)
        begun = [
            number
            for number in self.objects
            if number not in ahead
            and self._store.prompt(number, at.frame) is not None
            and not self._is_live(number, at)
        ]
        before = replace(at, frame=at.frame - step)
        tracked = [n for n in self.objects if n not in known and self._is_live(n, before)]
        if not (begun or tracked) and self._is_there(at.frame):
            return self.result(at.frame)
        earlier = self._lookout.last
        look = self._lookout.look(at.frame)
        if look is None:
            return None
        if not ahead:
            self._lookout.expect(at.frame + step)
        for number in begun:
            self._begin(look.seen, at, number)
        if tracked:
            cut = self._lookout.is_cut(look, before.frame, earlier)
            self._track(look.seen, replace(at, cut=cut), tracked)
        if self._pace.is_due():
            self.checkpoint()
        return self.result(at.frame)

    def _is_there(self, frame: int) -> bool:
        """Whether a frame is known to be in the video, so that it need not be read."""
        length = self.frames.length
        return (length is not None and frame < length) or bool(self._store.followed(frame))

    def _begin(self, seen: Any, at: TrackMoment, number: int) -> ObjectMask:
        spoken = self._store.prompt(number, at.frame)
        assert spoken is not None
        finding = self.tracker.answer(seen, spoken.prompt, spoken.earlier)
        before = self._live.get((number, at.backward))
        known = self._remembered(at, number) if before is None else before.state
        state = self.tracker.begin(seen, at, finding, known)
        judged = watch_prompted(finding)
        self._live[number, at.backward] = _Live(at.frame, state, judged.watch)
        return self._write(number, at.frame, finding, judged, prompted=True)

    def _remembered(self, at: TrackMoment, number: int) -> Any | None:
        """The state of an object that was taken up, by the prompt that time brings before this one;
        None where there is none, or where it cannot be looked at any more."""
        nearest = nearest_prompt(at, self._store.prompted_frames(number))
        if nearest is None or self.frames.length is None:
            return None
        spoken, look = self._store.prompt(number, nearest), self._lookout.look(nearest)
        assert spoken is not None
        assert look is not None
        finding = self.tracker.answer(look.seen, spoken.prompt, spoken.earlier)
        return self.tracker.begin(look.seen, replace(at, frame=nearest), finding, None)

    def _track(self, seen: Any, at: TrackMoment, numbers: list[int]) -> None:
        lives = [self._live[number, at.backward] for number in numbers]
        found = self.tracker.track(seen, at, [live.state for live in lives])
        for number, live, finding in zip(numbers, lives, found, strict=True):
            judged = watch_tracked(live.watch, finding, at.cut, self.watching)
            state = self.tracker.remember(seen, at, live.state, finding, judged.sure)
            self._live[number, at.backward] = _Live(at.frame, state, judged.watch)
            self._write(number, at.frame, finding, judged, prompted=False)
            self._store.revise_masks(number, finding.revised)

    def _write(
        self, number: int, frame: int, finding: Finding, judged: Judgement, *, prompted: bool
    ) -> ObjectMask:
        one = ObjectMask(
            finding.rle, finding.score, finding.quality, judged.state, judged.doubts, prompted
        )
        self._store.write_mask(number, frame, one)
        return one

    def _is_live(self, number: int, at: TrackMoment) -> bool:
        live = self._live.get((number, at.backward))
        return live is not None and live.frame == at.frame

    # ------------------------------------------------------------------------------------ keeping

    def checkpoint(self) -> None:
        """Write what is known to the session's file, with the states from which it goes on."""
        if self._closed:
            return  # a generator that is left unfinished ends after its session
        self._store.drop_states()
        for (number, backward), live in self._live.items():
            arrays = self.tracker.pack(live.state)
            self._store.write_state(number, backward, StoredState(live.frame, arrays, live.watch))
        self._store.commit()
        self._pace.written()

    def close(self) -> None:
        """Write what is known, and let go of the video."""
        self.checkpoint()
        self._lookout.close()
        self._store.close()
        self.frames.close()
        self._closed = True
        self._live.clear()
