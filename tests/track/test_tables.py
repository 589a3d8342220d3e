"""Tables of tracks, luma mattes and numbered sequences: read again by csv, PyAV and Pillow."""

import csv
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from anymask.base import InputError
from anymask.masks import mask_to_rle
from anymask.track import (
    CutoutStyle,
    ObjectMask,
    TrackedFrame,
    VideoFacts,
    check_paths,
    cut_objects,
)
from anymask.track.writers import open_writers
from tests.track.clips import moving_discs

IMAGES, TRUTH = moving_discs(8)
HW = IMAGES[0].shape[:2]
FEATURES = VideoFacts("clip", HW, 25.0, (1, 7))


def frames() -> list[TrackedFrame]:
    """The second object is not seen on frame 3, and frame 5 is left out, as a damaged one is."""
    found = []
    for place, (first, second) in enumerate(TRUTH):
        shown = np.zeros_like(second) if place == 3 else second
        objects = {
            1: ObjectMask(mask_to_rle(first), 0.98765, 0.9, "visible"),
            7: ObjectMask(mask_to_rle(shown), 0.5, 0.5, "visible" if shown.any() else "occluded"),
        }
        if place != 5:
            found.append(TrackedFrame(place, 10 + place, 0.04 * place, objects))
    return found


def write(path: Path, cutout: CutoutStyle | None = None, **keys: object) -> None:
    (writer,) = open_writers([path], FEATURES, cutout, **keys)  # type: ignore[arg-type]
    for frame in frames():
        writer.write(frame, lambda place=frame.index: IMAGES[place])
    writer.close()


def test_a_table_has_a_row_for_each_object_that_is_seen(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", names={7: "=ball"})
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7 + 6
    assert list(rows[0])[:8] == ["frame", "file", "seconds", "object", "label", "area", "x", "y"]
    for row in rows:
        place, number = int(row["frame"]) - 10, int(row["object"])
        truth = TRUTH[place][0 if number == 1 else 1]
        y, x = np.nonzero(truth)
        assert int(row["area"]) == truth.sum()
        assert float(row["x"]) == pytest.approx(x.mean() + 0.5, rel=1e-4)
        assert float(row["y"]) == pytest.approx(y.mean() + 0.5, rel=1e-4)
        assert [int(row[key]) for key in ("x0", "y0", "x1", "y1")] == [
            x.min(), y.min(), x.max(), y.max(),
        ]  # fmt: skip
        assert float(row["seconds"]) == pytest.approx(0.04 * place)
        assert float(row["score"]) == (0.9877 if number == 1 else 0.5)
        assert row["label"] == ("" if number == 1 else "'=ball")


@pytest.mark.parametrize(("ending", "codec"), [("mp4", "h264"), ("mov", "prores")])
def test_a_matte_film_is_the_alpha_of_the_cutouts(tmp_path: Path, ending: str, codec: str) -> None:
    path = tmp_path / f"m.mask.{ending}"
    write(path)
    with av.open(str(path)) as video:
        assert video.streams.video[0].codec_context.name == codec
        shown = [
            frame.to_ndarray(format="gray", dst_color_range=2) for frame in video.decode(video=0)
        ]
    for frame, image in zip(frames(), shown, strict=True):
        truth = cut_objects(frame, IMAGES[frame.index])[..., 3]
        assert np.abs(image.astype(int) - truth).mean() < 3


@pytest.mark.parametrize("cutout", [None, CutoutStyle()])
def test_a_sequence_is_numbered_in_step_with_the_video(
    tmp_path: Path, cutout: CutoutStyle | None
) -> None:
    write(tmp_path / "m" / "shot_{n}.png", cutout)
    names = sorted(path.name for path in (tmp_path / "m").iterdir())
    assert names == [f"shot_{place:05}.png" for place in (0, 1, 2, 3, 4, 6, 7)]
    for frame in frames():
        with Image.open(tmp_path / "m" / f"shot_{frame.index:05}.png") as image:
            values = np.asarray(image)
        truth = cut_objects(frame, IMAGES[frame.index])
        np.testing.assert_array_equal(values, truth[..., 3] if cutout is None else truth)
        assert len(np.unique(truth[..., 3])) > 2, "soft"


@pytest.mark.parametrize("name", ["a.png", "{n}_{n}.png"])
def test_a_png_without_a_number_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"Put \{n\} into the name once: .*_\{n\}\.png writes"):
        check_paths([Path(name)])
