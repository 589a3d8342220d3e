"""Hundreds of steps of the bundled model: an object is followed, what a session holds stays."""

from __future__ import annotations

import anymask
from anymask.masks import iou
from anymask.segment import Model
from anymask.track import FrameSampling, MonitorSettings, SessionStore, VideoSession, open_source
from anymask.track.image_tracker import ImageTracker
from anymask.track.sources import SampledFrames
from tests.track.holdings import held_by
from tests.track.made_scene import MadeScene, resident_memory

STEPS, EARLY, SAMPLE = 400, 100, 50
SMALL = (144, 192)  # pixels of a frame, which is not enlarged for the encoder
FRONT = 2  # the object that nothing hides
APART = 20  # a frame on which it hides no other object
MIN_IOU = 0.8
ROOM = 16 << 20  # bytes: what an allocator may keep back; the keys alone of 300 frames: 23 MB


def test_four_hundred_steps_of_nano_follow_an_object_and_hold_what_a_hundred_do() -> None:
    scene, model = MadeScene(SMALL), anymask.load("nano@384")
    with small_session(model, scene) as session:
        session.add(frame=APART, mask=scene.mask(FRONT, APART))
        for frame in session:
            if frame.index % SAMPLE == 0:
                found = frame.masks[1]
                assert iou(found, scene.mask(FRONT, frame.index)) >= MIN_IOU, frame.index
            if frame.index == EARLY:
                early, memory = held_by(session), resident_memory()
        late, memory_late = held_by(session), resident_memory()
    assert frame.index == STEPS - 1
    assert early.count > 10
    assert late == early
    if memory is not None and memory_late is not None:
        assert memory_late - memory < ROOM


def small_session(model: Model, scene: MadeScene) -> VideoSession:
    frames = SampledFrames(open_source(scene.images(STEPS)), FrameSampling())
    watching = MonitorSettings(write_unsure=True)  # every frame is learned from
    tracker = ImageTracker(model)
    return VideoSession(tracker, frames, SessionStore(None), watching)
