"""Hundreds of steps of the bundled model: what a session holds does not grow."""

from __future__ import annotations

import anymask
from anymask.cli.bench_long_video import MadeScene, resident_memory
from anymask.predictors.image import Model
from anymask.video.holdings import held_by
from anymask.video.image_tracker import ImageTracker
from anymask.video.picks import FramePicks, PickedFrames
from anymask.video.session import VideoSession
from anymask.video.sources import open_source
from anymask.video.store import SessionStore
from anymask.video.watch import WatchSettings

STEPS, EARLY = 500, 60
SMALL = (48, 64)  # pixels of a frame, which is not enlarged for the encoder
ROOM = 24 << 20  # bytes: what an allocator may keep back; the maps of 440 frames would be 400 MB


def test_five_hundred_steps_of_nano_hold_what_sixty_do() -> None:
    scene, model = MadeScene(SMALL), anymask.load()
    with small_session(model, scene) as session:
        session.add(frame=0, mask=scene.mask(0))
        found = 0
        for frame in session:
            found += frame.objects[1].area > 0
            if frame.index == EARLY:
                early, memory = held_by(session), resident_memory()
        late, memory_late = held_by(session), resident_memory()
    assert frame.index == STEPS - 1
    assert found > STEPS / 4  # real work was done
    assert early.count > 10
    assert late == early
    if memory is not None and memory_late is not None:
        assert memory_late - memory < ROOM


def small_session(model: Model, scene: MadeScene) -> VideoSession:
    frames = PickedFrames(open_source(scene.pictures(STEPS)), FramePicks())
    watching = WatchSettings(write_unsure=True)  # every frame is learned from
    tracker = ImageTracker(model, side=SMALL[1])
    return VideoSession(tracker, frames, SessionStore(None), watching)
