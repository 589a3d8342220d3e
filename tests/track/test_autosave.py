"""When a session's file is written: by frames where they are quick, by time where they are not."""

import pytest

from anymask.track import FRAMES, SECONDS, Autosave


@pytest.mark.parametrize(
    ("seconds", "frames"),
    [(0.0, FRAMES), (SECONDS / FRAMES / 2, FRAMES), (SECONDS / 4, 4), (SECONDS * 3, 1)],
)
def test_a_checkpoint_comes_after_frames_or_seconds(seconds: float, frames: int) -> None:
    now = [7.0]
    pace = Autosave(lambda: now[0])
    for _ in range(3):
        for number in range(1, frames + 1):
            now[0] += seconds
            assert pace.is_due() == (number == frames)
        pace.written()
