"""Tables of tracks and numbered PNG sequences.

.csv             one row per visible object and frame
NAME_{n}.png     one PNG per frame, numbered NAME_00000.png, ... as After Effects imports them: a
                 luma matte, or with `cutout` the objects with alpha
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from anymask.base import InputError, UintImage, csv_text, file_suffix, whole_file
from anymask.masks import measure, save_image
from anymask.track.outputs import MaskWriter, ReadFrame, cut_objects, draw_matte
from anymask.track.records import ObjectMask, TrackedFrame

FRAME_PLACEHOLDER = "{n}"  # of the frame number, in a file name
STEM_PLACEHOLDER = "{stem}"  # of the name of the frame's image, as in a folder of palette PNGs
FRAME_DIGITS = 5
TRACK_COLUMNS = (
    "frame", "file", "seconds", "object", "label", "area", "x", "y", "x0", "y0", "x1", "y1",
    "score", "state",
)  # fmt: skip


class TableWriter(MaskWriter):
    """Writer of .csv files, one row per visible object and frame.

    As in tables of masks, x and y are the mean of the pixel centers; x0 to y1 are the first and
    last pixel.

    Args:
        names: Object number to label, for text prompts.
    """

    def __init__(self, path: Path, names: Mapping[int, str] | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._names = names or {}
        self._file: IO[str] = path.open("w", encoding="utf-8", newline="")
        self._file.write(csv_text([TRACK_COLUMNS]))

    def write(self, frame: TrackedFrame, image: ReadFrame) -> None:
        start = [frame.source_frame, frame.name, round(frame.seconds, 6)]
        visible = ((number, mask) for number, mask in frame.objects.items() if mask.area)
        rows = [[*start, number, *self._row(number, mask)] for number, mask in visible]
        self._file.write(csv_text(rows))
        self._file.flush()

    def _row(self, number: int, one: ObjectMask) -> list[object]:
        shape = measure.measure_mask(one.rle)
        center = [measure.table_cell(float(side)) for side in (shape.x, shape.y)]
        return [
            self._names.get(number, ""), one.area, *center, shape.x0, shape.y0, shape.x1, shape.y1,
            round(one.score, 4), one.state,
        ]  # fmt: skip

    def close(self) -> None:
        self._file.close()


class SequenceWriter(MaskWriter):
    """Writer of NAME_{n}.png, or of a folder with `STEM_PLACEHOLDER` as name, one PNG per frame.

    Damaged frames are skipped but keep their number, so that images stay in sync with the video.

    Args:
        style: Fields of `edit.CutoutSettings`. None: a luma matte.
    """

    shows_frames = True

    def __init__(self, path: Path, style: Mapping[str, Any] | None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._look = path, style

    def write(self, frame: TrackedFrame, image: ReadFrame) -> None:
        drawn: UintImage = (
            draw_matte(frame, image())[..., 0]
            if self._look is None
            else cut_objects(frame, image(), self._look)
        )
        name = self._path.name.replace(FRAME_PLACEHOLDER, f"{frame.index:0{FRAME_DIGITS}}").replace(
            STEM_PLACEHOLDER, frame.stem
        )
        with whole_file(self._path.with_name(name)) as file:
            save_image(file, drawn)


def is_sequence(path: Path) -> bool:
    """Whether an output is a numbered sequence. Raises InputError for a PNG without `{n}`."""
    if file_suffix(path) != ".png":
        return False
    if path.name.count(FRAME_PLACEHOLDER) != 1:
        example = f"{path.stem.replace(FRAME_PLACEHOLDER, '')}_{FRAME_PLACEHOLDER}.png"
        raise InputError(
            f"{path.name!r} is a single file, but a video has many frames. Put "
            f"{FRAME_PLACEHOLDER} into the name once: {example} writes "
            f"{example.replace(FRAME_PLACEHOLDER, '0' * FRAME_DIGITS)} and so on."
        )
    return True


def sequence_files(path: Path) -> list[Path]:
    """Existing files of a sequence."""
    begin, _, end = path.name.partition(FRAME_PLACEHOLDER)
    return sorted(
        file for file in (path.parent.iterdir() if path.parent.is_dir() else ())
        if file.name.startswith(begin) and file.name.endswith(end)
        and file.name[len(begin) : len(file.name) - len(end)].isdecimal()
    )  # fmt: skip
