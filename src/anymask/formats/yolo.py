"""YOLO-seg: a text file per image and `data.yaml` in, annotated images out, and back.

    <set>/data.yaml             train, val, test (folders, or lists of images), names
    <set>/labels/<stem>.txt     class x1 y1 x2 y2 ..., each 0..1 of the image width or height
    <set>/images/<stem>.jpg     the images; sizes are read from them
    <set>/<split>/labels, <set>/<split>/images   the same by splits, as in Roboflow exports
    <set>/classes.txt           one name per line, as Label Studio and labelImg write them
    <run>/labels/<stem>.txt     predictions of Ultralytics' `save_txt`
    <run>/<stem>.jpg            the images, or the video of labels/<stem>_12.txt

A line is one ring: holes and parts are bridged, filled or split by the policy, and the report
counts them. Layout: the segmentation page of the Ultralytics documentation (facts, no code).
"""

from __future__ import annotations

import glob
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from anymask.base import DataError, Floats
from anymask.formats.annotations import (
    AnnotatedImage,
    LossReport,
    SequencePlace,
    class_names,
    report_unlabeled,
    report_unsupported_fields,
)
from anymask.formats.documents import (
    SPLITS,
    OutFile,
    checked_hw,
    find_files,
    find_image,
    find_named,
    located,
    name_key,
    output_paths,
    output_stems,
    parts_of,
    read_hw,
    read_text,
    refuse_boxes,
    role_of,
)
from anymask.formats.fields import ExceptKeys, as_number, as_record, as_whole, held, other_keys
from anymask.formats.loss_report import as_licenses, license_text
from anymask.formats.metadata import (
    CLASSES,
    INFO,
    LICENSES,
    add_info,
    add_licenses,
    only_license,
    report_dataset_fields,
)
from anymask.formats.outlines import CornerCheck, Policy, box_to_mask, ring_to_rle, single_rings
from anymask.images import VIDEO_SUFFIXES
from anymask.masks import UNLABELED, Mask, Masks

# Detect the content of YOLO label lines: outlines, boxes or predictions of any task.
#
# A label has a class and numbers. Ultralytics' `save_txt` writes predictions in the same files,
# with further numbers: a confidence with `save_conf=True`, the number of a track, and for poses the
# keypoints after the box. All lines of a folder together determine their meaning.
#
#     class x y x y ... [confidence] [track]              outlines; rotated boxes have four corners
#     class x y width height [confidence] [track]         boxes
#     class x y width height x y visible ... [confidence] [track]     poses
#     0.93 name                                           classes of the whole image

BOX = 4  # count of numbers of a box
_MIN_OUTLINE_NUMBERS = 6  # least count of numbers of an outline
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
            pose = Line(label, box=numbers[:BOX], kind="a box with keypoints, without an outline")
            return self._ended(pose, numbers[BOX + self.keypoints :])
        one = self.confidence or self.track or (self.loose and count == BOX + 1)
        two = self.confidence and self.track and count != BOX
        last = int(one) if count % 2 else 2 * two
        inner, ended = numbers[: count - last], numbers[count - last :]
        parsed = Line(label, box=inner) if len(inner) == BOX else Line(label, inner)
        return self._ended(parsed, ended)

    def _ended(self, line: Line, numbers: list[str]) -> Line:
        """Return a line with a confidence and a track, or one of both."""
        if len(numbers) == 1 and (_above_one(numbers[0]) or (self.track and not self.confidence)):
            return replace(line, track=numbers[0])
        confidence, track, *_ = (*numbers, None, None)
        return replace(line, confidence=confidence, track=track)


def line_reader(
    files: Iterable[Path], keypoints: int | None = None, *, loose: bool = False
) -> LineReader:
    """Return the reader for the lines of files, determined from all of them.

    Args:
        keypoints: Count of keypoint numbers of a pose, if data.yaml states it.
        loose: Whether there is no data.yaml.
    """
    evidence = _Evidence()
    for path in files:
        with suppress(DataError):  # reported later
            for line in read_text(path).splitlines():
                if line.strip() and not is_class_line(line):
                    evidence.add(line.split()[1:])
    if keypoints is not None:
        return LineReader(keypoints=keypoints, loose=loose)
    if (count := evidence.keypoints()) and loose:
        return LineReader(keypoints=count, loose=loose)
    if evidence.even and evidence.even == evidence.even_tracks and evidence.above_one:
        return LineReader(confidence=True, track=True, loose=loose)
    if evidence.odd and evidence.odd == evidence.odd_tracks:
        return LineReader(track=True, loose=loose)
    return LineReader(confidence=bool(evidence.odd) and not evidence.even, loose=loose)


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
        if count < _MIN_OUTLINE_NUMBERS:
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
        counts = [count - BOX - last for last, fits in self.poses.items() if fits]
        return counts[0] if counts and (self.lines > 1 or 3 * _COCO_KEYPOINTS in counts) else 0


def _is_pose(numbers: list[str], last: int) -> bool:
    """Return whether numbers are a box and keypoints, with the visible keypoints in the box."""
    count = len(numbers) - BOX - last
    if count % 3 or count < 3 * _MIN_KEYPOINTS or not all(map(_is_share, numbers[: BOX + count])):
        return False
    x, y, width, height, *points = (float(number) for number in numbers[: BOX + count])
    if min(x - width / 2, y - height / 2) < -0.01 or max(x + width / 2, y + height / 2) > 1.01:
        return False
    visible = [number for number in range(0, count, 3) if points[number + 2] > _SEEN]
    return bool(visible) and all(
        abs(points[number] - x) <= _MARGIN * width
        and abs(points[number + 1] - y) <= _MARGIN * height
        for number in visible
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


_OF_YAML = ExceptKeys(  # the others state something of the set
    "path", "train", "val", "test", "names", "nc", "download", "channels", "license", "info",
)  # fmt: skip
_BY_ALIASES = 1_000_000  # values and characters that aliases may add to a data.yaml
_DIGITS = 1e-6  # share of a side; twice the rounding error of the last digit


def read(
    source: Path,
    report: LossReport,
    image_root: Path | None = None,
    *,
    boxes: bool = False,
    split: str | None = None,
) -> list[AnnotatedImage]:
    """Read a set's folder, or a folder of its labels.

    An image without a text file has no masks. Lines of a box alone and classes without names are
    reported. Raises DataError that names file, line and reason, also for a text file without its
    image, as only the image has the size.

    Args:
        image_root: Folder of the images; default: the images/ beside each labels/.
        boxes: Whether to return boxes without masks as rectangles, also those of predictions,
            whose lines have one more number.
        split: Name of `split_files`; default: all files.
    """
    if not source.is_dir():
        raise DataError(
            f"{source}: The folder has no data.yaml and labels/. Pass the folder that has them."
        )
    if names := _names_of(source, report):
        report.list_classes(dict.fromkeys(names))
    if (path := source / "data.yaml").is_file():
        with report.record(path):
            document = as_record(_read_yaml(path), "the document")
            info = document.get("info")
            info = {**info} if isinstance(info, dict) else {}
            add_info(report, info | held(document, _OF_YAML))
            add_licenses(report, as_licenses(document.get("license")))
    places = label_places(source)
    files = {labels: label_texts(labels, source) for labels, _ in places}
    if split is not None:
        chosen = split_files(source)[split]
        files = {labels: [path for path in few if path in chosen] for labels, few in files.items()}
    described = _yaml_of(source)
    every = chain.from_iterable(files.values())
    reader = line_reader(every, _keypoints_of(described), loose=boxes or described is None)
    lines = _Lines(reader, names, report, boxes)
    images = []
    for labels, folder in places:
        inside = f"{folder.parent.relative_to(source)}/" if source in folder.parents[1:] else ""
        folders = [image_root or folder]
        if described is None and image_root is None:  # predictions are beside their images
            folders += [labels.parent, labels]
        for path in files[labels]:
            with report.record(path):
                image = _image(path, labels, folders, lines)
                images.append(replace(image, file_name=inside + image.file_name))
    lines.corners.tell(report)
    if not boxes:
        refuse_boxes(source, images, report, "outline")
    return images


def label_texts(labels: Path, source: Path) -> list[Path]:
    """Return the label files of a source, without README files and class lists.

    Raises DataError.
    """
    return [
        path
        for path in find_files(source if source.is_relative_to(labels) else labels, ".txt")
        if path.name != "classes.txt" and not path.name.lower().startswith("readme")
    ]


def folder_of_yaml(path: Path) -> Path:
    """Return the folder of a set by its YAML file. Raises DataError if it has no labels.

    Raises DataError as well if another YAML file of the folder would be read.
    """
    folder = path.parent
    if (other := _yaml_of(folder)) is not None and other.name != path.name:
        raise DataError(
            f"{path}: The folder also contains {other.name}, which would be read instead. Move it."
        )
    if label_places(folder) == [(folder, folder / "images")]:
        raise DataError(f"{path}: The folder labels/ (or train/labels/) next to it is missing.")
    return folder


def label_places(source: Path) -> list[tuple[Path, Path]]:
    """Return the folders of labels, each with that of its images: one, or one per split."""
    if (source / "labels").is_dir():
        return [(source / "labels", source / "images")]
    splits = sorted(path for path in source.glob("*/labels") if path.is_dir())
    for labels in (source, source.parent):
        if not splits and labels.name == "labels":  # the set is the parent folder
            return [(labels, labels.with_name("images"))]
    return [(path, path.with_name("images")) for path in splits] or [(source, source / "images")]


def split_files(source: Path) -> dict[str, frozenset[Path]]:
    """Return the label files of each split: of train, val and test in the YAML file, which are
    folders or lists of images, else of the folders with these names.

    Raises DataError.
    """
    texts = [path for labels, _ in label_places(source) for path in label_texts(labels, source)]
    keys = {_key(path.relative_to(source).with_suffix("").as_posix()): path for path in texts}
    folders = dict.fromkeys(part for key in keys for part in key[:-1] if role_of(part) in SPLITS)
    splits = {name: {keys[key] for key in keys if name in key[:-1]} for name in folders}
    file = _yaml_of(source)
    document = as_record({} if file is None else _read_yaml(file), "the document")
    for split in SPLITS:
        stated, top = document.get(split) or [], str(document.get("path", ""))
        places = [str(place) for place in (stated if isinstance(stated, list) else [stated])]
        if files := {path for place in places for path in _files_at(source, top, place, keys)}:
            others = {name: few for name, few in splits.items() if role_of(name) != split}
            splits = others | {split: files}
    return {name: frozenset(few) for name, few in splits.items()}


def _key(path: str) -> tuple[str, ...]:
    """Return the parts of a path that images and their labels share."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    return tuple(part for part in parts if part not in ("images", "labels", "..", ".", "/"))


def _files_at(
    source: Path, top: str, place: str, keys: Mapping[tuple[str, ...], Path]
) -> set[Path]:
    """Return the label files of a folder of images, or of a list of images (.txt).

    The beginning of a path may be that of another computer, so the longest end with files counts.
    """
    if place.endswith(".txt"):
        text = read_text(next(source.rglob(glob.escape(PurePosixPath(place).name)), source / place))
        lines = [_key(line.strip().rpartition(".")[0]) for line in text.splitlines()]
        return {keys[line[n:]] for line in lines for n in range(len(line)) if line[n:] in keys}
    parts = _key(f"{top}/{place}")
    ends = [parts[n:] for n in range(len(parts) + (not _key(place)))]  # images/: one folder for all
    matches = ({path for key, path in keys.items() if key[: len(end)] == end} for end in ends)
    return next(filter(None, matches), set())


def _yaml_of(source: Path) -> Path | None:
    """Return the YAML file of a set, also for a folder of its labels; None if there is none."""
    for folder in (source, *source.absolute().parents[:2]):
        for path in (folder / "data.yaml", *sorted(folder.glob("*.y*ml"))):
            text = path.read_text("utf-8-sig", "replace") if path.is_file() else ""
            is_data = path.name == "data.yaml" and path.is_file()
            is_data = is_data or re.search(r"^names\s*:", text, re.MULTILINE) is not None
            named = ("labels", *re.split(r"[^\w-]+", text))
            if is_data and (folder == source or source.name in named):
                return path
    return None


def _keypoints_of(path: Path | None) -> int | None:
    """Return the count of keypoint numbers in a YAML file of poses; None for any other."""
    document = None if path is None else _read_yaml(path)
    shape = document.get("kpt_shape") if isinstance(document, dict) else None
    if not isinstance(shape, list) or len(shape) != 2:
        return None
    return as_whole(shape[0], "kpt_shape") * as_whole(shape[1], "kpt_shape")


def _names_of(source: Path, report: LossReport) -> list[str]:
    """Return the class names of a set, or of the set that the folder is a split of."""
    if (described := _yaml_of(source)) is not None:
        return read_names(described)
    if (path := source / "classes.txt").is_file():
        return [line.strip() for line in read_text(path).splitlines() if line.strip()]
    reason = "class names are missing, because there is no data.yaml or classes.txt"
    report.add("labels", source.name, None, f"{reason}; classes are named by their numbers")
    return []


@dataclass(frozen=True)
class _Lines:
    """Converts the lines of a set to masks; see `read`."""

    reader: LineReader
    names: list[str]
    report: LossReport
    boxes: bool
    corners: CornerCheck = field(
        default_factory=lambda: CornerCheck("x and y of the center, width and height")
    )

    def mask(self, line: str, image: str, hw: tuple[int, int]) -> Mask | None:
        """Return the mask of a line; None for a box alone, which is reported."""
        if "," in line and len(line.split()) <= BOX:
            raise DataError(
                "The values are separated by commas, but spaces are required, as in 0 0.1 0.2 0.3."
            )
        read, mask = self.reader.read(line), None
        if read.box is None and read.label:
            return _mask(read, hw, self.names)
        if read.box is not None:
            height, width = hw
            x, y, wide, high = _shares(read.box).tolist()
            left, top = (x - wide / 2) * width, (y - high / 2) * height
            box = (left, top, left + wide * width, top + high * height)
            self.corners.add(box, (x * width, y * height, wide * width, high * height), hw)
            if self.boxes:
                mask = box_to_mask(box, hw, _label_of(read.label, self.names))
        if mask is None:
            off = self.boxes and read.box is not None
            self.report.skip(image, "the box is outside the image" if off else read.kind)
        return mask


def _image(path: Path, labels: Path, folders: list[Path], lines: _Lines) -> AnnotatedImage:
    stem = path.relative_to(labels).with_suffix("").as_posix()
    if (about := _find_image(stem, folders) or _find_image(path.stem, folders)) is None:
        raise DataError(
            f"The image {stem!r} is missing from {str(folders[0])!r}. Pass the folder of images."
        )
    masks = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        with lines.report.record(f"line {number}"):
            if line.strip():
                masks.append(lines.mask(line, about.file_name, about.hw))
    return replace(about, masks=Masks(filter(None, masks)))


def _find_image(stem: str, folders: list[Path]) -> AnnotatedImage | None:
    """Return the image of a label without masks: a file, or a frame of a video (clip_12 of
    clip.mp4, counted from 1); None if there is none."""
    every = [(folder, find_image(folder, stem)) for folder in folders]
    every += [(folder, find_named(folder, f"{stem}.txt")) for folder in folders]
    for folder, image in every:
        if image is not None:
            name = image.relative_to(folder).as_posix()
            return AnnotatedImage(file_name=name, hw=read_hw(image))
    video, _, frame = stem.rpartition("_")
    for folder in folders if video and frame.isdecimal() and int(frame) else ():
        if (file := find_image(folder, video, VIDEO_SUFFIXES)) is not None:
            index = int(frame) - 1
            name = f"{video}/{index:05d}.jpg"
            return AnnotatedImage(
                file_name=name, hw=video_hw(file), place=SequencePlace(video, index)
            )
    return None


@lru_cache(maxsize=1)
def video_hw(path: Path) -> tuple[int, int]:
    """Return the size (H, W) of a video's frames after rotation. Raises DataError."""
    import cv2  # slow to load, and only videos need it

    video = cv2.VideoCapture(str(path))
    width, height = (
        int(video.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    )
    video.release()
    return checked_hw(height, width)


def _mask(line: Line, hw: tuple[int, int], names: list[str]) -> Mask:
    label, count = _label_of(line.label, names), len(line.corners)
    if count % 2:
        raise DataError(f"Odd count of numbers. Expected x and y of each point, given: {count}.")
    sides = np.array([hw[1], hw[0]])
    ring = _shares(line.corners).reshape(-1, 2) * sides
    # Files have seven digits: restore corners between pixels or at the middle of a pixel's side,
    # because slanted lines run through pixel centers, where rounding changes the result.
    near = (2 * ring).round() / 2
    ring = np.where(np.abs(ring - near) < _DIGITS * sides, near, ring)
    score = 0.0 if line.confidence is None else as_number(line.confidence, "confidence")
    track = None if line.track is None else as_whole(line.track, "track")
    return Mask(ring_to_rle(ring, hw), label, score=score, id=track)


def _shares(numbers: list[str]) -> Floats:
    """Parse the numbers of a line, 0..1 of the image sides. Raises DataError."""
    shares = np.array([as_number(number, "corner") for number in numbers])
    if not ((shares > -0.5) & (shares < 1.5)).all():
        raise DataError(
            "Corners must be 0 to 1, as fractions of the image sides. The values may be pixels."
        )
    return shares


def _label_of(number: str, names: list[str]) -> str:
    """Return the name of a class, or its number if there are no names. Raises DataError."""
    index = as_whole(number, "class")
    if index < 0 or (names and index >= len(names)):
        raise DataError(f"The class {index} is out of range: data.yaml has {len(names)} names.")
    return names[index] if names else str(index)


def read_names(path: Path) -> list[str]:
    """Read the class names of a data.yaml: a list, or numbers with names. Raises DataError."""
    with located(path):
        document = _read_yaml(path)
        if not isinstance(document, dict) or "names" not in document:
            raise DataError("The key `names` is missing.")
        names = document["names"]
        names = dict(enumerate(names)) if isinstance(names, list) else names
        if not isinstance(names, dict):
            raise DataError("`names` is neither a list nor a mapping of numbers to names.")
        by_number = {int(number): name for number, name in names.items()}
        if len(by_number) != len(names) or sorted(by_number) != list(range(len(names))):
            raise DataError("`names` must contain a name for each number, starting at 0.")
        if wrong := [name for name in by_number.values() if not isinstance(name, str)]:
            kind = type(wrong[0]).__name__
            raise DataError(f"The names must be text, but one is of type {kind}.")
        return [by_number[number] for number in range(len(names))]


def _read_yaml(path: Path) -> Any:
    """Read a YAML file with all scalars as strings: a class may be named `no`.

    Raises DataError, also if a few bytes hold gigabytes by aliases (*name).
    """
    text = read_text(path)
    try:
        loader = yaml.BaseLoader(text)
        root = loader.get_single_node()
        if root is not None and _expanded(root, {}) > len(text) + _BY_ALIASES:
            raise DataError("Not valid YAML: aliases (*name) repeat too much. Write the values.")
        return None if root is None else loader.construct_document(root)
    except (yaml.YAMLError, RecursionError) as error:
        parts = (getattr(error, name, None) for name in ("context", "problem"))
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark is not None else ""
        problem = " ".join(filter(None, parts)) or "a character, or the depth, is not allowed"
        raise DataError(f"Not valid YAML: {problem}{line}") from error


def _expanded(node: yaml.Node, sizes: dict[yaml.Node, float]) -> float:
    """Number of values and characters of a node if each alias is replaced by its value."""
    if node not in sizes:
        sizes[node] = math.inf  # of a node that contains itself
        parts = node.value
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in parts for part in pair]
        whole = isinstance(node, yaml.ScalarNode)
        sizes[node] = 1 + (len(parts) if whole else sum(_expanded(part, sizes) for part in parts))
    return sizes[node]


# Writing.


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """Yield labels/ and data.yaml; the user adds the images to images/.

    Images in train/, val/ or test/ form the splits of these names.
    """
    names, first = class_names(images, policy.classes), dict[str, str]()
    stems = output_stems([image.file_name for image in images])
    for image, stem in zip(images, stems, strict=True):
        other = first.setdefault(name_key(stem.with_suffix("")), image.file_name)
        if other != image.file_name:  # they would share a label file
            raise DataError(
                f"{other!r} and {image.file_name!r} differ only in the suffix, so their labels "
                "would have one name. Rename one of them."
            )
    paths, file = output_paths(images, target / "labels", ".txt"), target / "data.yaml"
    others = {*(target / "labels").rglob("*.txt")} - {*paths} if file.is_file() else ()
    if others and (known := read_names(file)) != names[: len(known)]:
        number = next(n for n, name in enumerate(known) if names[n : n + 1] != [name])
        raise DataError(
            f"{file} has another class list (class {number} is {known[number]!r}), which other "
            f"label files in its folder use, such as {min(others).name}. Choose a new folder, or "
            "convert both sets together."
        )
    for image, path in zip(images, paths, strict=True):
        report_unsupported_fields(report, image, frozenset({"labels"}), (), only_license(policy))
        report_unlabeled(report, image)
        lines = []
        for number, mask in enumerate(image.masks):
            index = names.index(mask.label or UNLABELED)
            for ring in single_rings(image, number, report, policy):
                shares = (ring / image.hw[::-1]).ravel().tolist()
                lines.append(" ".join([str(index), *(f"{share:.7g}" for share in shares)]) + "\n")
        yield path, "".join(lines).encode()
    report_dataset_fields(report, images, policy, (CLASSES, INFO, LICENSES))
    folders = {
        split: f"images/{few[0].file_name.split('/')[0]}" for split, few in parts_of(images).items()
    }
    usual = next(iter(folders.values()), "images")  # relative to the file, which has no `path`
    facts = {"license": license_text(policy.facts.licences), "info": policy.facts.info}
    about: dict[str, Any] = {"train": usual, "val": usual} | folders
    about |= {"names": dict(enumerate(names))} | other_keys(facts, ())
    yield file, yaml.safe_dump(about, sort_keys=False, allow_unicode=True, width=math.inf).encode()
