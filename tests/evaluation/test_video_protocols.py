"""Following by protocol: which frames get clicks, and what counts, with a tracker that is scripted.

The scripted session finds the true square up to a frame, from there on a square of half the size,
or nothing; clicks on a frame make it right from there to the frame where the next error begins.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anymask.cli.main import main
from anymask.evaluation.video_protocols import (
    CLICKS_A_FRAME,
    follow_given,
    follow_offline,
    follow_online,
    read_tracks,
    worst_frame,
)
from anymask.formats import Clip
from anymask.masks import mask_to_rle
from anymask.segment import Model
from tests.evaluation.small_sets import rectangle
from tests.segment.fakes import ColorRuntime
from tests.track.clips import moving_discs

HW, FRAMES = (40, 60), 8
WHOLE = rectangle(HW, (10, 10, 30, 30))
HALF = WHOLE.copy()
HALF[20:] = False
NOTHING = np.zeros(HW, np.bool_)


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    """A square that never moves, in eight frames, of which every second one is annotated."""
    frames, masks = [], {}
    for index in range(FRAMES):
        frames.append(tmp_path / f"{index}.png")
        Image.fromarray(np.dstack([WHOLE] * 3).astype(np.uint8) * 200).save(frames[-1])
        if index % 2 == 0:
            masks[index] = tmp_path / f"mask{index}.png"
            Image.fromarray(WHOLE.astype(np.uint8)).save(masks[index])
    return Clip(name="square", frames=tuple(frames), annotations=masks)


class Scripted:
    """A session whose errors are known.

    Args:
        errors: Frame -> mask from that frame on, unless a later frame is clicked.
    """

    def __init__(self, errors: dict[int, np.ndarray]) -> None:
        self.errors, self.clicked = errors, {}  # type: ignore[var-annotated]

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None: ...

    def add(self, *, frame: int, id: int, **said: Any) -> Any:  # noqa: A002
        if "mask" in said:
            self.clicked.setdefault(frame, []).append("mask")
            return None
        label = said["labels"][0]
        self.clicked.setdefault(frame, []).append((said["points"][0], label))
        mask = WHOLE if len(self.clicked[frame]) > 1 else HALF
        return SimpleNamespace(mask=mask)

    def is_missing(self, frame: int) -> bool:
        return False

    def prompts(self, id: int) -> list[int]:  # noqa: A002
        return sorted(self.clicked)

    def mask_at(self, frame: int) -> np.ndarray:
        last = max(one for one in self.clicked if one <= frame)
        begun = [start for start in self.errors if last < start <= frame]
        return self.errors[max(begun)] if begun else WHOLE

    def result(self, frame: int) -> Any:
        if not any(one <= frame for one in self.clicked):
            return SimpleNamespace(objects={})
        mask = self.mask_at(frame)
        return SimpleNamespace(
            index=frame, objects={1: SimpleNamespace(mask=mask, rle=mask_to_rle(mask))}
        )

    def propagate(self, start: int = 0) -> Any:
        return (self.result(frame) for frame in range(start, FRAMES))


def test_the_first_mask_is_given_and_the_ends_do_not_count(clip: Clip) -> None:
    """Of frames 0, 2, 4, 6 two count: frame 2 is right, frame 4 half right."""
    session = Scripted({4: HALF})
    (scores,) = follow_given(clip, lambda _: session)  # type: ignore[arg-type,return-value]
    assert session.clicked == {0: ["mask"]}
    assert scores.j.tolist() == [1, 0.5]
    (all_frames,) = follow_given(clip, lambda _: Scripted({4: HALF}), "all-frames")  # type: ignore[arg-type,return-value]
    assert all_frames.j.tolist() == [1, 1, 0.5, 0.5]


def test_offline_the_worst_frame_of_all_gets_the_next_clicks(clip: Clip) -> None:
    """Half is found from frame 2 on, nothing from frame 6 on: 6 first, then 2, then none is left.

    The mask of a frame is right after two clicks, so that a third one has nothing to mend.
    """
    session = Scripted({2: HALF, 6: NOTHING})
    rounds = list(follow_offline(clip, lambda _: session, 4))  # type: ignore[arg-type,return-value]
    assert [one[0].j.tolist() for one in rounds] == [
        [1, 0.5, 0.5, 0], [1, 0.5, 0.5, 1], [1, 1, 1, 1], [1, 1, 1, 1],
    ]  # fmt: skip
    assert list(session.clicked) == [0, 6, 2]
    assert all(len(clicks) == 2 < CLICKS_A_FRAME for clicks in session.clicked.values())
    assert [label for _, label in session.clicked[0]] == [1, 1]
    (x, y), _ = session.clicked[0][1]
    assert WHOLE[int(y), int(x)]
    assert not HALF[int(y), int(x)]


def test_online_time_never_goes_back(clip: Clip) -> None:
    """The same errors in one pass: it stops at frame 2 first, and at frame 6 where it may."""
    sessions = [Scripted({2: HALF, 6: NOTHING}) for _ in range(3)]
    waiting = iter(sessions)
    rounds = list(follow_online(clip, lambda _: next(waiting), 3))  # type: ignore[arg-type,return-value]
    assert [one[0].j.tolist() for one in rounds] == [
        [1, 0.5, 0.5, 0], [1, 1, 1, 0], [1, 1, 1, 1],
    ]  # fmt: skip
    assert [list(session.clicked) for session in sessions] == [[0], [0, 2], [0, 2, 6]]


def test_a_mask_that_is_good_enough_is_not_corrected_online(clip: Clip) -> None:
    nearly = WHOLE.copy()
    nearly[26:] = False  # IoU .8
    session = Scripted({2: nearly})
    ((scores,),) = follow_online(clip, lambda _: session, 1)  # type: ignore[arg-type,return-value]
    assert scores.j.tolist() == [1, 0.8, 0.8, 0.8]
    list(follow_online(clip, lambda _: session, 2))  # type: ignore[arg-type,return-value]
    assert list(session.clicked) == [0]


def test_an_object_counts_from_the_frame_on_which_it_is_first_seen(tmp_path: Path) -> None:
    masks = {}
    for index, values in enumerate(([1], [1, 2], [2])):
        image = np.zeros(HW, np.uint8)
        for number in values:
            image[:, 20 * number : 20 * number + 10] = number
        image[0] = 255
        masks[index] = tmp_path / f"{index}.png"
        Image.fromarray(image).save(masks[index])
    first, second = read_tracks(Clip(name="two", frames=tuple(masks.values()), annotations=masks))
    assert (first.number, first.first, sorted(first.masks)) == (1, 0, [0, 1, 2])
    assert (second.number, second.first, sorted(second.masks)) == (2, 1, [1, 2])
    assert not first.at(2).mask.any()
    assert first.at(0).ignore is not None
    assert worst_frame(first, {0: first.masks[0], 1: first.masks[1]}) is None
    assert worst_frame(first, {0: first.masks[0], 2: first.masks[0]}) == 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images, truth = moving_discs(6)
    for part in ("images", "masks"):
        (tmp_path / "discs" / part).mkdir(parents=True)
    for number, (image, (mask, _)) in enumerate(zip(images, truth, strict=True)):
        Image.fromarray(image).save(tmp_path / "discs" / "images" / f"{number}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(
            tmp_path / "discs" / "masks" / f"{number}.png"
        )
    return tmp_path


@pytest.mark.parametrize("protocol", ["semi", "offline", "online"])
def test_videos_are_evaluated_from_the_command_line(
    protocol: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One click a frame: the fake model's object has the mean colour of all of them."""
    monkeypatch.setattr("anymask.evaluation.video_protocols.CLICKS_A_FRAME", 1)
    monkeypatch.setattr("anymask.cli.options.ModelSettings.load", lambda _: Model(ColorRuntime()))
    out = folder / "a.json"
    words = ["evaluate", "videos", str(folder), "--json", str(out)]
    words += ["--protocol", protocol, "--rounds", "2"]
    assert main(words) == 0
    found = json.loads(out.read_text("utf-8"))
    assert found["memory"] == {}
    assert len(found["rounds"]) == (1 if protocol == "semi" else 2)
    assert found["rounds"][0]["j_and_f"] > 0.8
    assert f"| {protocol}, 1 objects, tracker auto" in capsys.readouterr().out
