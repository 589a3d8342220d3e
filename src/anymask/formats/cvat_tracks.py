"""CVAT for video 1.1: tracks of an XML file, read as an annotated image for each frame.

A track has elements for some frames; `outside` ends it until the next element. Frames between two
elements are interpolated like in CVAT: boxes, ellipses and polygons with the same number of points
linearly, masks and other polygons are repeated. The last element of a track is repeated until the
end of its task. Frames are named frame_000012.png, as in CVAT's exports. Layout: "XML annotation
format" of CVAT's documentation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from anymask.base import DataError
from anymask.formats.annotations import AnnotatedImage, LossReport, SequencePlace, add_part
from anymask.formats.documents import checked_hw, photo_beside, picture_hw
from anymask.formats.fields import as_number, as_whole, checked_frames
from anymask.images import SUFFIXES
from anymask.masks import Mask, Masks

ShapeReader = Callable[[ET.Element, tuple[int, int], LossReport], Mask | None]
_MOVED = {
    "box": ("xtl", "ytl", "xbr", "ybr", "rotation"),
    "ellipse": ("cx", "cy", "rx", "ry", "rotation"),
}
_CHANGED = (
    "Polygons with different numbers of points are not interpolated. The frames "
    "between two such polygons repeat the earlier polygon."
)


@dataclass
class _Task:
    """Task: number of frames, their size, and masks by frame."""

    name: str
    frames: int
    hw: tuple[int, int] | None
    masks: defaultdict[int, dict[object, Mask]] = field(default_factory=lambda: defaultdict(dict))


def nearest_last(masks: Iterable[Mask]) -> Masks:
    """Order masks by their z_order."""
    return Masks(sorted(masks, key=lambda mask: int(mask.extra.get("z_order", 0))))


def read_tracks(
    root: ET.Element, path: Path, report: LossReport, pictures: Path | None, read: ShapeReader
) -> list[AnnotatedImage]:
    """Read the frames of all tasks of a file. Raises DataError that names track, frame and reason.

    Args:
        read: Function that reads the mask of an element; None for an element without area.
    """
    tasks, numbers = _tasks(root, path, pictures), dict[object, int]()
    for number, track in enumerate(root.iter("track"), start=1):
        with report.record(f"track {number - 1} ({track.get('label')})"):
            task = tasks.get(track.get("task_id", "")) or next(iter(tasks.values()))
            if task.hw is None:
                raise DataError(
                    "The size of the frames is unknown: `original_size` and the frames are "
                    "missing. Pass the folder of the frames with --images DIR."
                )
            group = as_whole(track.get("group_id", 0), "group_id")
            key = (id(task), track.get("label"), group) if group else number
            object_number = numbers.setdefault(key, number)
            named = {"source": track.get("source"), "track_group": track.get("group_id")}
            about = {key: text for key, text in named.items() if text}
            about |= {"label": track.attrib["label"], "group_id": str(object_number)}
            last, mask = None, None
            for frame, element in _frames(track, task.frames, report):
                with report.record(f"frame {frame}"):
                    if element is not last:
                        last, mask = element, None
                        element.attrib.update(about)
                        mask = read(element, task.hw, report)
                    if mask is not None:
                        add_part(task.masks[frame], object_number, mask)
    return [image for task in tasks.values() for image in _images(task, path, pictures)]


def _tasks(root: ET.Element, path: Path, pictures: Path | None) -> dict[str, _Task]:
    """Return the tasks or jobs of a file by id; one without an id if the file describes none."""
    found = {}
    for about in [*root.iterfind("meta//task"), *root.iterfind("meta//job")]:
        name = about.findtext("source") or about.findtext("name") or path.stem
        count = checked_frames(as_whole(about.findtext("size") or 0, "size"))
        found[about.findtext("id") or ""] = _Task(name, count, _size(root, about))
    found = found or {"": _Task(path.stem, 0, _size(root, root))}
    checked_frames(sum(task.frames for task in found.values()))
    for task in found.values():
        if task.hw is None:
            photo = photo_beside(path, frame_name(0), pictures)
            task.hw = None if photo is None else picture_hw(photo)
    return found


def _size(root: ET.Element, about: ET.Element) -> tuple[int, int] | None:
    size = about.find("original_size")
    size = root.find("meta//original_size") if size is None else size
    if size is None:
        return None
    return checked_hw(size.findtext("height"), size.findtext("width"))


def frame_name(frame: int) -> str:
    """Return the name of a frame in CVAT's exports."""
    return f"frame_{frame:06d}.png"


def _images(task: _Task, path: Path, pictures: Path | None) -> Iterator[AnnotatedImage]:
    if task.hw is None:
        return
    folders = [path.parent / "images", path.parent] if pictures is None else [pictures]
    beside = (one for folder in folders if folder.is_dir() for one in sorted(folder.iterdir()))
    photos = {one.stem: one.name for one in beside if one.suffix.lower() in SUFFIXES}
    for frame in sorted({*range(task.frames), *task.masks}):
        name = frame_name(frame)
        yield AnnotatedImage(
            file_name=photos.get(Path(name).stem, name),
            hw=task.hw,
            masks=nearest_last(task.masks.get(frame, {}).values()),
            place=SequencePlace(task.name, frame),
            layered=True,
        )


def _frames(track: ET.Element, frames: int, report: LossReport) -> Iterator[tuple[int, ET.Element]]:
    """Yield the visible elements of a track, including interpolated ones."""
    elements = dict[int, ET.Element]()
    for number, element in enumerate(track):
        with report.record(f"element {number} ({element.tag})"):
            elements[checked_frames(as_whole(element.attrib["frame"], "frame"))] = element
    ordered = sorted(elements)
    ends = [*ordered[1:], max([frames, *(frame + 1 for frame in ordered)])]
    for frame, end in zip(ordered, ends, strict=True):
        element = elements[frame]
        if element.get("outside") == "1":
            continue
        yield frame, element
        after = elements.get(end)
        repeated = _between(element, None, 0, report)
        for between in range(frame + 1, end):
            with report.record(f"frame {between}"):
                share = (between - frame) / (end - frame)
                is_moved = after is not None and after.tag == element.tag
                yield between, _between(element, after, share, report) if is_moved else repeated


def _between(
    before: ET.Element, after: ET.Element | None, share: float, report: LossReport
) -> ET.Element:
    """Interpolate between two elements."""
    found = ET.Element(before.tag, before.attrib | {"keyframe": "0"})
    found.extend(before.iterfind("attribute"))
    if after is None:
        return found
    for key in _MOVED.get(before.tag, ()):
        if key in before.attrib or key in after.attrib:
            start, end = (as_number(one.get(key, 0), key) for one in (before, after))
            found.set(key, _mixed(start, end, share))
    if before.tag == "polygon":
        pairs = [_corners(one) for one in (before, after)]
        if len(pairs[0]) != len(pairs[1]):
            report.note(_CHANGED)
            return found
        corners = (
            ",".join(_mixed(start, end, share) for start, end in zip(*both, strict=True))
            for both in zip(*pairs, strict=True)
        )
        found.set("points", ";".join(corners))
    return found


def _corners(element: ET.Element) -> list[list[float]]:
    pairs = [pair.split(",") for pair in element.attrib["points"].split(";")]
    return [[as_number(one, "points") for one in pair] for pair in pairs]


def _mixed(start: float, end: float, share: float) -> str:
    return repr(start + (end - start) * share)
