"""Things followed through made scans: they end where they end, and corrections stay local."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from anymask.base import InputError, PromptError
from anymask.masks import mask_to_rle
from anymask.segment import Model
from anymask.track import ObjectMask
from anymask.volumes import Volume, VolumeSession, VolumeSettings, open_volume_session
from anymask.volumes.ending import END_SLICES, MaskStatistics, Past, judge, measure_mask
from anymask.volumes.session import (
    MIN_TRACK_CONFIDENCE,
    TRACK_STEP,
    AxisTracks,
    fill_slices,
    mix_masks,
    signed_distance,
)
from anymask.volumes.volume import scaled_affine
from tests.evaluation.small_sets import rectangle
from tests.segment.fakes import ColorRuntime

SHAPE = (16, 64, 80)


def made(first: int = 4, last: int = 10) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """A disc that drifts through slices `first` to `last`, and an equal one beside it throughout;
    the ground is noisy."""
    y, x = np.ogrid[:64, :80]
    truth = np.zeros(SHAPE, np.bool_)
    other = np.zeros(SHAPE, np.bool_)
    for z in range(SHAPE[0]):
        other[z] = (y - 50) ** 2 + (x - 64) ** 2 < 9**2
        if first <= z <= last:
            truth[z] = (y - 24) ** 2 + (x - 20 - z) ** 2 < 11**2
    noise = np.random.default_rng(0).normal(0, 6, SHAPE)
    return (100 + 400 * truth + 250 * other + noise).astype(np.int16), truth


def begin(array: Any = None, **settings: Any) -> VolumeSession:
    scan = Volume(made()[0] if array is None else array, scaled_affine((3.0, 1.0, 1.0)))
    return open_volume_session(Model(ColorRuntime()), scan, **settings)


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def slices_of(mask: NDArray[np.bool_]) -> list[int]:
    return np.flatnonzero(mask.any(axis=(1, 2))).tolist()


def test_a_thing_is_followed_both_ways_and_ends_where_it_ends() -> None:
    _, truth = made()
    with begin() as session:
        session.add(7, box=(16, 13, 39, 36))
        seen = [one.index for one in session.propagate()]
        assert slices_of(session.mask()) == slices_of(truth)
        assert dice(session.mask(), truth) > 0.9
        assert max(seen) <= 12, "behind the end nothing is looked at"
        assert min(seen) >= 2
        assert (session.labels({1: "disc"}).array == session.mask()).all()
        assert [(one.name, one.voxels) for one in session.measure({1: "disc"})] == [
            ("disc", session.mask().sum())
        ]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_axis_can_be_spoken_of(axis: int) -> None:
    array, truth = made(0, 15)
    turned = np.moveaxis(array, 0, axis)
    with begin(turned) as session:
        session.add(7, axis=axis, box=(16, 13, 39, 36))
        found = session.follow().mask()
        assert found.shape == turned.shape
        assert dice(found, np.moveaxis(truth, 0, axis)) > 0.9
        assert session.prompts(1) == [(axis, 7)]
        assert session.slice(7, axis).masks[1].shape == (64, 80)


def test_several_objects_are_labels_by_their_numbers() -> None:
    array, truth = made()
    with begin(array) as session:
        session.add(7, 1, box=(16, 13, 39, 36))
        session.add(2, 5, points=[(64, 50)])
        labels = session.follow().labels().array
        assert dice(labels == 1, truth) > 0.9
        assert slices_of(labels == 5) == list(range(16))
        assert set(np.unique(labels)) == {0, 1, 5}
        session.remove(1)
        assert session.objects == [5]


def test_a_correction_leaves_the_slices_beyond_the_next_prompt() -> None:
    with begin() as session:
        session.add(7, box=(16, 13, 39, 36))
        session.add(5, mask=np.zeros((64, 80), np.bool_) | _disc(25))
        list(session.propagate())
        before = {z: session.slice(z).objects[1] for z in range(4, 11)}
        drawn = _disc(29)
        session.add(9, mask=drawn)
        after = {one.index: one.objects[1] for one in session.propagate()}
        assert all(session.slice(z).objects[1] == after[z] for z in range(4, 11))
        assert all(before[z] == after[z] for z in range(4, 8))
        assert (after[9].mask == drawn).all()
        session.remove_prompts(1, 9)
        assert session.prompts(1) == [(0, 5), (0, 7)]
        assert all(session.slice(z).objects[1] == before[z] for z in before)


@pytest.mark.parametrize(
    ("x", "lost", "quality", "shown"),
    [
        (45, False, 1.0, "ooooo"),
        (45, True, 1.0, "o..oo"),  # half way both are equal, and the earlier one stays
        (45, False, 0.6, "o...o"),  # the mask of slice 4 is not trusted
        (20.5, False, 1.0, "o...o"),  # the IoU on slice 4 is above 0.9
    ],
)
def test_a_slice_keeps_its_mask_unless_a_later_track_agrees_better(
    x: float, lost: bool, quality: float, shown: str
) -> None:
    """The track of slice 0 leaves the object; that of slice 4 keeps it, or leaves it on slice 0."""
    right, wrong = (mask_to_rle(_disc(one)) for one in (20, x))
    masks = {
        1 + TRACK_STEP: {z: right if z == 0 else wrong for z in range(5)},
        1 + 5 * TRACK_STEP: {z: wrong if lost and z == 0 else right for z in range(5)},
    }
    tracks = {
        number: {z: ObjectMask(one, 1, quality, "visible") for z, one in row.items()}
        for number, row, quality in zip(masks, masks.values(), (1.0, quality), strict=True)
    }
    video: Any = SimpleNamespace(
        objects=list(tracks),
        prompts=lambda track: [track // TRACK_STEP - 1],
        frame_ranges=lambda _: [(0, 4)],
        result=lambda z: SimpleNamespace(objects={n: row[z] for n, row in tracks.items()}),
    )
    found = dict(AxisTracks(video).shown(1))
    assert "".join(".o"[one.mask.rle == right] for one in found.values()) == shown
    assert (found[2].confidence < MIN_TRACK_CONFIDENCE) is lost, "else it is interpolated"


def _disc(x: float, radius: float = 11) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[:64, :80]
    return (rows - 24) ** 2 + (columns - x) ** 2 < radius**2


def test_where_two_axes_speak_the_nearest_drawn_slice_decides() -> None:
    with begin() as session:
        session.add(7, mask=_disc(27))
        session.follow()
        side = rectangle((16, 80), (20, 6, 30, 9))
        session.add(24, axis=1, mask=side)
        found = session.mask()
        assert (found[:, 24] == side)[np.arange(16) != 7].all()
        assert (found[7] == _disc(27)).all(), "the first axis wins where both are as near"


def test_a_thing_known_along_one_axis_is_corrected_on_another() -> None:
    with begin() as session:
        session.add(7, mask=_disc(27))
        session.follow()
        cut = session.mask()[:, 24]
        one = session.add(24, axis=1, points=[(27, 7)])
        assert dice(one.mask, cut) > 0.5


def test_a_negative_click_removes_a_part_of_a_tracked_slice_only() -> None:
    with begin() as session:
        session.add(7, mask=_disc(27))
        session.follow()
        tracked, away = session.slice(8).objects[1].mask, ~_disc(27 - 9, 5)
        for _ in range(2):  # the page sends all clicks of a slice again
            found = session.add(8, points=[(27 - 9, 24)], labels=[0], replace=True).mask
            assert not found[24, 27 - 9]
            assert (found == tracked)[away].all()
            assert not (found & ~tracked).any()


def test_a_session_goes_on_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "scan.session"
    with begin(session=path) as session:
        session.add(7, box=(16, 13, 39, 36))
        for one in session.propagate():
            if one.index == 9:
                break
    with begin(session=path) as session:
        assert session.objects == [1]
        again = session.follow().mask()
    with begin() as session:
        session.add(7, box=(16, 13, 39, 36))
        assert (session.follow().mask() == again).all()
    with pytest.raises(InputError, match="another scan or window"):
        begin(session=path, window=(0, 100))


def test_a_video_model_follows_slices_and_goes_on(tmp_path: Path) -> None:
    from tests.track.test_memory_tracker import tiny

    array, model = made()[0][:8], tiny()
    path = tmp_path / "x.session"
    with open_volume_session(model, array) as session:
        session.add(4, mask=_disc(24))
        expected = session.follow().mask()
    with open_volume_session(model, array, session=path) as session:
        session.add(4, mask=_disc(24))
        next(session.propagate("forward"))
    with open_volume_session(model, array, session=path) as session:
        assert (session.follow().mask() == expected).all()


def test_a_thing_that_is_gone_between_two_drawn_slices_is_filled_there() -> None:
    array, truth = made()
    array[6:9] = 100  # three slices without anything, more than end an object
    with begin(array) as session:
        session.add(4, mask=truth[4])
        session.add(10, mask=truth[10])
        for fill, there in (("auto", True), ("never", False)):
            session.settings = VolumeSettings(fill=fill)
            found = session.follow().mask()
            assert found[6:9].any() == there
            assert slices_of(found)[0] == 4
        assert slices_of(found)[-1] == 10


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"slice": 16, "points": [(3, 3)]}, "Slice 16 is out of range"),
        ({"slice": 3, "axis": 3, "points": [(3, 3)]}, "axis"),
        ({"slice": 3, "id": 0, "points": [(3, 3)]}, "65535"),
        ({"slice": -1, "points": [(3, 3)]}, "whole number"),
        ({"slice": 3}, "points"),
    ],
)
def test_what_is_wrong_is_said(said: dict[str, Any], match: str) -> None:
    with begin() as session, pytest.raises((InputError, PromptError), match=match):
        session.add(**said)


# Ends.

ON_GRAY = MaskStatistics(area=400, inside=200.0, around=120.0, deviation=20.0)


@pytest.mark.parametrize(
    ("statistics", "ends"),
    [
        (ON_GRAY, False),
        (replace(ON_GRAY, area=60), False),  # 15 % of 400
        (replace(ON_GRAY, area=59), True),
        (replace(ON_GRAY, area=0), True),
        (replace(ON_GRAY, around=168.0), False),  # 40 % of the contrast of 80
        (replace(ON_GRAY, around=169.0), True),
        (replace(ON_GRAY, around=300.0), True),  # the other way round
        (replace(ON_GRAY, inside=229.0), False),  # 1.5 times the deviation are 30
        (replace(ON_GRAY, inside=231.0), True),
        (replace(ON_GRAY, inside=240.0, around=160.0), False),  # the whole slice is brighter
    ],
)
def test_a_slice_is_compared_with_the_past_by_hand(statistics: MaskStatistics, ends: bool) -> None:
    past = judge(Past(ON_GRAY, (500, 400, 300), 200.0, 80.0), statistics, 7)
    assert (past.failed == 1) is ends
    assert (past.first is not None and past.first.slice == 7) is ends
    assert past.areas == ((500, 400, 300) if ends else (500, 400, 300, statistics.area))
    assert (judge(past, replace(ON_GRAY, area=0), 8).failed == END_SLICES) is ends


def test_what_does_not_stand_out_is_not_told_by_its_contrast() -> None:
    faint = replace(ON_GRAY, around=181.0)
    past = Past(faint, (400,), 200.0, 19.0)
    assert not judge(past, replace(faint, around=210.0), 8).failed


def test_a_contrast_that_fades_slowly_is_followed_down_to_a_fifth() -> None:
    """80, 56, 39, 27, 19: each .7 of the one before; the next one, 13, is a sixth of the first."""
    past = Past(ON_GRAY, (400,), 200.0, 80.0)
    for number, contrast in enumerate((56.0, 39.2, 27.4, 19.2)):
        past = judge(past, replace(ON_GRAY, around=200.0 - contrast), number)
        assert past.failed == 0
    past = judge(past, replace(ON_GRAY, around=200.0 - 13.4), 4)
    assert past.first.describe() == "the contrast is 17% of the contrast on the prompted slice"
    at_once = judge(Past(ON_GRAY, (400,), 200.0, 80.0), replace(ON_GRAY, around=173.0), 4)
    assert at_once.failed, "the same contrast of 27, but from one slice to the next"


def test_where_and_why_an_object_ends_is_told(tmp_path: Path) -> None:
    with begin(session=tmp_path / "x") as session:
        session.add(7, box=(16, 13, 39, 36))
        ends = session.follow().ends(1)
    assert [end.partition(":")[0] for end in ends] == ["z 4 (z 3", "z 10 (z 11"]
    with begin(session=tmp_path / "x") as session:
        assert session.ends(1) == ends, "from the file"
    with begin(made(0, 15)[0]) as session:
        session.add(7, box=(16, 13, 39, 36))
        assert session.follow().ends(1) == []
    with begin(stop=False) as session:
        session.add(7, box=(16, 13, 39, 36))
        assert {one.index for one in session.propagate()} == set(range(16))
        assert session.ends(1) == []


def test_a_look_leaves_out_the_mixed_pixels_of_the_edge() -> None:
    gray = np.full((40, 40), 50, np.uint8)
    mask = rectangle((40, 40), (10, 10, 30, 30))
    gray[mask] = 200
    gray[9:31, 9:31][np.pad(np.zeros((20, 20), np.bool_), 1, constant_values=True)] = 120
    gray[mask ^ np.pad(mask[1:-1, 1:-1] & mask[2:, 1:-1] & mask[:-2, 1:-1], 1)] = 160
    statistics = measure_mask(mask, gray)
    assert (statistics.area, statistics.inside, statistics.around) == (400, 200.0, 50.0)
    assert measure_mask(np.zeros((4, 4), np.bool_), gray[:4, :4]) == MaskStatistics(
        0, 0.0, 0.0, 0.0
    )


# Filling.


def test_signed_distance_is_that_to_the_outline_between_pixels() -> None:
    mask = rectangle((5, 7), (3, 0, 7, 5))
    assert signed_distance(mask)[2].tolist() == [-2.5, -1.5, -0.5, 0.5, 1.5, 1.5, 0.5]


def test_half_way_between_two_discs_is_the_disc_between_them() -> None:
    assert dice(mix_masks(_disc(20, 8), _disc(50, 14), 0.5), _disc(35, 11)) > 0.98
    assert (mix_masks(_disc(20), _disc(50), 0.0) == _disc(20)).all()


def test_only_unsure_slices_and_small_gaps_are_filled() -> None:
    stack = np.stack([_disc(20)] * 12)
    stack[[3, 8, 9]] = False
    stack[5] = _disc(60, 3)
    filled = fill_slices(stack.copy(), [1, 6], [5], "auto")
    assert (filled[:10] == _disc(20)).all()
    untouched = fill_slices(stack.copy(), [1, 6], [], "auto")
    assert (untouched[5] == _disc(60, 3)).all()
    assert not fill_slices(stack.copy(), [1, 6], [5], "never")[3].any()


def test_of_two_objects_on_one_voxel_the_smaller_one_has_it() -> None:
    with begin() as session:
        session.add(7, 1, mask=_disc(27))
        session.add(7, 2, mask=_disc(27, 4))
        assert (session.labels().array[7] == _disc(27).astype(int) + _disc(27, 4)).all()
