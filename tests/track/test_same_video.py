"""A session's masks are not shown on frames that they are not of."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from anymask.base import InputError, PromptError
from anymask.track import SessionStore, VideoSession, open_session
from anymask.track.flow import reduce_frame
from tests.track.clips import write_video
from tests.track.test_session import IMAGES, MODEL, START, rles

OTHERS = [255 - picture for picture in IMAGES]


def followed(path: Path, source: object, **settings: object) -> list[dict[int, object]]:
    with open_session(MODEL, source, session=path, **settings) as session:
        if not session.objects:
            session.add(frame=0, points=[START])
        return rles(list(session))


@pytest.mark.parametrize(
    "chosen", [{"every": 2}, {"start": 3}, {"fps": 5.0}, {"every": 3, "start": 1}]
)
def test_masks_do_not_move_to_other_frames(tmp_path: Path, chosen: dict[str, object]) -> None:
    path = tmp_path / "clip.session"
    expected = followed(path, IMAGES)
    with pytest.raises(InputError, match="but this run uses every="):
        followed(path, IMAGES, **chosen)
    assert followed(path, IMAGES) == expected  # nothing of it was lost


def square_at(column: int) -> np.ndarray:
    image = np.full((96, 128, 3), 90, np.uint8)
    image[30:50, column : column + 20] = (200, 60, 60)
    return image


SQUARE = [square_at(10 + 4 * step) for step in range(6)]
TAKES = [SQUARE[0], *(np.roll(picture, 40, axis=1) for picture in SQUARE[1:])]


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (IMAGES, OTHERS),
        (IMAGES, [image[:-2] for image in IMAGES]),
        (SQUARE, TAKES),
        (SQUARE, [*SQUARE[:5], TAKES[5]]),
        (SQUARE, SQUARE[:4]),
    ],
)
def test_another_video_does_not_go_on(
    tmp_path: Path, first: list[np.ndarray], other: list[np.ndarray]
) -> None:
    path = tmp_path / "clip.session"
    sources: list[object] = [first, other]
    for place, images in enumerate((first, other)):
        sources.append(folder := tmp_path / f"frames{place}")
        folder.mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{number:02d}.png")
    for held, another in (sources[:2], sources[2:]):
        kept = followed(path, held)
        with pytest.raises(InputError, match="another video"):
            followed(path, another)
        assert followed(path, held) == kept
        path.unlink()


def test_a_session_of_version_0_1_opens_for_its_video_only(tmp_path: Path) -> None:
    path = tmp_path / "clip.session"
    kept = followed(path, IMAGES)
    store = SessionStore(path)
    store._execute("drop table looks")
    store._execute("delete from about where name = 'content'")
    cells = cv2.resize(reduce_frame(IMAGES[0]), (16, 16), interpolation=cv2.INTER_AREA)
    store.tell("look", json.dumps([*IMAGES[0].shape[:2], *cells.ravel().tolist()]))
    store.commit()
    store.close()
    with pytest.raises(InputError, match="another video"):
        followed(path, OTHERS)
    assert followed(path, IMAGES) == kept


def test_the_same_video_goes_on_where_it_was_moved_encoded_anew_or_grew(tmp_path: Path) -> None:
    path = tmp_path / "clip.session"
    first = followed(path, IMAGES, end=5)
    lossy = write_video(tmp_path / "moved.mp4", IMAGES, codec="libx264", pix_fmt="yuv420p")
    longer = followed(path, lossy)
    assert longer[:5] == first
    assert len(longer) == len(IMAGES)


def closed() -> VideoSession:
    with open_session(MODEL, IMAGES) as session:
        session.add(frame=0, points=[START])
    return session


@pytest.mark.parametrize(
    "call",
    [
        lambda session: session.add(frame=1, points=[START]),
        lambda session: list(session),
        lambda session: session.objects,
        lambda session: session.result(0),
        lambda session: session.image(3),
        lambda session: session.step(),
        lambda session: session.remove(1),
    ],
)
def test_a_closed_session_says_so(call: object) -> None:
    with pytest.raises(InputError, match="is closed"):
        call(closed())  # type: ignore[operator]


@pytest.mark.parametrize("wrong", [-1, 1.5, "3"])
def test_frames_to_follow_are_whole_numbers(wrong: object) -> None:
    with open_session(MODEL, IMAGES) as session:
        session.add(frame=0, points=[START])
        with pytest.raises((InputError, PromptError), match="start"):
            list(session.propagate(start=wrong))
        with pytest.raises((InputError, PromptError), match="stop"):
            list(session.propagate(stop=wrong))


def test_a_frame_that_did_not_come_is_told() -> None:
    told = "Frame 0 is not available"
    for source in (None, iter(())):
        with open_session(MODEL, source) as session, pytest.raises(InputError, match=told):
            session.add(frame=0, points=[START])
