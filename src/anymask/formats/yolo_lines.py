"""Detect the content of YOLO label lines: outlines, boxes or predictions of any task.

A label has a class and numbers. Ultralytics' `save_txt` writes predictions in the same files, with
further numbers: a confidence with `save_conf=True`, the number of a track, and for poses the
keypoints after the box. All lines of a folder together determine their meaning.

    class x y x y ... [confidence] [track]              outlines; rotated boxes have four corners
    class x y width height [confidence] [track]         boxes
    class x y width height x y visible ... [confidence] [track]     poses
    0.93 name                                           classes of the whole image
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

BOX = 4  # count of numbers of a box
_LEAST = 6  # least count of numbers of an outline
_MIN_KEYPOINTS = 5
_COCO_KEYPOINTS = 17
_SEEN = 0.5  # a keypoint above this confidence lies in its box,
_MARGIN = 0.6  # which extends this far from its center, in its sides


@dataclass(frozen=True)
class Line:
    """The numbers of a line by their meaning, as text. Without corners it is a box alone."""

    label: str
    corners: list[str] = field(default_factory=list)
    box: list[str] | None = None
    confidence: str | None = None
    track: str | None = None
    kind: str = "boxes without an outline"


@dataclass(frozen=True)
class LineReader:
    """Reads the lines of a folder."""

    confidence: bool = False  # Whether outlines end with a confidence
    track: bool = False  # Whether outlines end with a track number
    keypoints: int = 0  # Count of keypoint numbers after a box; 0 without keypoints
    loose: bool = False  # Whether a box may have a confidence: there is no data.yaml

    def read(self, line: str) -> Line:
        """Split a line; numbers that do not fit become corners, which the caller rejects."""
        if is_class_line(line):
            return Line("", kind="a class of the whole image, without an outline")
        label, *numbers = line.split()
        count = len(numbers)
        if self.keypoints and 0 <= count - BOX - self.keypoints <= 2:
            kind = "a box with keypoints, without an outline"
            pose = Line(label, box=numbers[:BOX], kind=kind)
            return self._ended(pose, numbers[BOX + self.keypoints :])
        if count == BOX:
            return Line(label, box=numbers)
        if count == BOX + 1 and (self.loose or self.confidence or self.track):
            return self._ended(Line(label, box=numbers[:BOX]), numbers[BOX:])
        if self.confidence and self.track and count % 2 == 0:
            return self._outline(label, numbers, 2)
        if (self.confidence or self.track) and count % 2:
            return self._outline(label, numbers, 1)
        return Line(label, numbers)

    def _outline(self, label: str, numbers: list[str], last: int) -> Line:
        is_box = len(numbers) - last == BOX
        found = Line(label, box=numbers[:BOX]) if is_box else Line(label, numbers[:-last])
        return self._ended(found, numbers[-last:])

    def _ended(self, line: Line, numbers: list[str]) -> Line:
        """Return a line with a confidence and a track, or one of both."""
        if len(numbers) == 2:
            return replace(line, confidence=numbers[0], track=numbers[1])
        if not numbers:
            return line
        if _above_one(numbers[0]) or (self.track and not self.confidence):
            return replace(line, track=numbers[0])
        return replace(line, confidence=numbers[0])


def line_reader(
    lines: Iterable[str], keypoints: int | None = None, *, loose: bool = False
) -> LineReader:
    """Return the reader for lines, determined from all of them.

    Args:
        keypoints: Count of keypoint numbers of a pose, if data.yaml states it.
        loose: Whether there is no data.yaml.
    """
    seen = _Evidence()
    for line in lines:
        if line.strip() and not is_class_line(line):
            seen.add(line.split()[1:])
    if keypoints is not None:
        return LineReader(keypoints=keypoints, loose=loose)
    if (found := seen.keypoints()) and loose:
        return LineReader(keypoints=found, loose=loose)
    if seen.even and seen.even == seen.even_tracks and seen.above_one:
        return LineReader(confidence=True, track=True, loose=loose)
    if seen.odd and seen.odd == seen.odd_tracks:
        return LineReader(track=True, loose=loose)
    return LineReader(confidence=bool(seen.odd) and not seen.even, loose=loose)


def is_class_line(line: str) -> bool:
    """Return whether a line is a confidence and a name, as in classification: `0.93 tabby cat`."""
    first, _, name = line.strip().partition(" ")
    whole, dot, digits = first.partition(".")
    is_share = dot == "." and whole in ("0", "1") and len(digits) == 2 and digits.isdecimal()
    return is_share and bool(name) and not _is_number(name.split()[0])


@dataclass
class _Evidence:
    """Counts of the lines of a folder."""

    even: int = 0  # Number of lines with an outline's count of numbers, without an extra one
    odd: int = 0  # Number of lines with one number more
    even_tracks: int = 0  # Even lines that may end with a track: an integer after a share of 1
    odd_tracks: int = 0  # The same for odd lines, with a track above 1
    above_one: bool = False  # Whether a track of an even line exceeds 1, unlike a share
    counts: set[int] = field(default_factory=set)
    lines: int = 0
    poses: dict[int, bool] = field(default_factory=dict)

    def add(self, numbers: list[str]) -> None:
        """Add the numbers of one line to the statistics of the file."""
        count = len(numbers)
        self.lines += 1
        self.counts.add(count)
        if count in (BOX, BOX + 1):
            return
        if count < _LEAST:
            return
        shares = all(map(_is_share, numbers[:-1]))
        track = numbers[-1].isdecimal() and float(numbers[-1]) > 0 and shares
        if count % 2:
            self.odd += 1
            self.odd_tracks += track and _above_one(numbers[-1])
        else:
            self.even += 1
            self.even_tracks += track
            self.above_one |= track and _above_one(numbers[-1])
        if len(self.counts) == 1:
            for last in range(3):
                self.poses[last] = self.poses.get(last, True) and _is_pose(numbers, last)

    def keypoints(self) -> int:
        """Count of keypoint numbers after each box; 0 if the lines are not poses."""
        if len(self.counts) != 1:
            return 0
        count = next(iter(self.counts))
        found = [count - BOX - last for last, fits in self.poses.items() if fits]
        sure = self.lines > 1 or 3 * _COCO_KEYPOINTS in found
        return found[0] if found and sure else 0


def _is_pose(numbers: list[str], last: int) -> bool:
    """Return whether numbers are a box and keypoints, with the visible keypoints in the box."""
    count = len(numbers) - BOX - last
    if count % 3 or count < 3 * _MIN_KEYPOINTS or not all(map(_is_share, numbers[: BOX + count])):
        return False
    x, y, width, height, *points = (float(number) for number in numbers[: BOX + count])
    if min(x - width / 2, y - height / 2) < -0.01 or max(x + width / 2, y + height / 2) > 1.01:
        return False
    seen = [number for number in range(0, count, 3) if points[number + 2] > _SEEN]
    return bool(seen) and all(
        abs(points[number] - x) <= _MARGIN * width
        and abs(points[number + 1] - y) <= _MARGIN * height
        for number in seen
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_share(text: str) -> bool:
    """Return whether a number is a share with margin, or at most 2 (visible keypoints)."""
    return _is_number(text) and -0.5 < float(text) <= 2


def _above_one(text: str) -> bool:
    return text.isdecimal() and float(text) > 1
