"""Writers of tracked frames: masks of frames in; RLE lines, SA-V JSON, PNGs or videos out.

    .json        SA-V: the run-lengths of every object in every frame
    .ytvis.json  COCO of videos, as YouTube-VIS has it: an annotation an object, with its mask,
                 area and box in every frame
    .jsonl       a line a frame, with COCO run-lengths, scores, states and doubts
    a folder     DAVIS: a palette PNG a frame, whose values are the objects' numbers; it is called
                 as the frame's picture is, or by the frame's number: 00012.png
    a film       the video with the masks drawn on it, with its frame rate and sound

With `cutout`, a folder holds RGBA pictures, a film has alpha; with a backdrop, both show the
objects before it. All are written as the frames come, but SA-V's and YouTube-VIS's files, which
want the last frame first; none is held.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol

import numpy as np
from PIL import Image

from anymask.data.label_pictures import voc_palette
from anymask.primitives.draw import colours, overlay
from anymask.primitives.errors import InputError
from anymask.primitives.records import UNLABELLED
from anymask.primitives.rle import empty_rle, rle_box_xywh, rle_to_coco
from anymask.primitives.storage import whole_file
from anymask.primitives.suffixes import file_suffix
from anymask.primitives.types import BoolArray, UintImage
from anymask.video.backdrop import Backdrop
from anymask.video.film import FILMS, FilmWriter, Look, check_film
from anymask.video.records import ObjectMask, TrackedFrame

MOST_NUMBERS = 255  # objects of a palette PNG
YTVIS = ".ytvis.json"
DOCUMENTS = (".json", ".jsonl")  # without pictures
Drawing = Callable[[TrackedFrame, UintImage], UintImage]
Picture = Callable[[], UintImage]  # reads the frame (H, W, 3) where a writer needs it


@dataclass(frozen=True)
class VideoFacts:
    """What writers have to know of a video: name, size, frames a second, objects, and its file.

    sound  the file whose sound goes along, or None
    begin  seconds of that file at which the first frame is shown
    end    and at which the first frame is that is left out at its end; None: there is none
    """

    name: str
    hw: tuple[int, int]
    rate: float
    objects: tuple[int, ...]
    sound: Path | None = None
    begin: float = 0.0
    end: float | None = None


class MaskWriter(Protocol):
    """Something that frames are written to, in order."""

    def write(self, frame: TrackedFrame, picture: Picture) -> None:
        """One frame."""
        ...

    def close(self) -> None:
        """All frames are written."""
        ...

    def abandon(self) -> None:
        """No more frames come: let go of files, without drafts left behind."""
        ...


class LineWriter:
    """.jsonl: a line a frame."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = path.open("w", encoding="utf-8")

    def write(self, frame: TrackedFrame, picture: Picture) -> None:
        """See `MaskWriter`."""
        self._file.write(json.dumps(frame_to_json(frame)) + "\n")
        self._file.flush()

    def close(self) -> None:
        """See `MaskWriter`."""
        self._file.close()

    abandon = close


class PaletteWriter:
    """A folder of palette PNGs; where objects overlap, the surer one is on top."""

    def __init__(self, folder: Path, facts: VideoFacts) -> None:
        if max(facts.objects, default=0) > MOST_NUMBERS or min(facts.objects, default=1) < 1:
            raise InputError(
                f"palette pictures hold objects 1 to {MOST_NUMBERS}, got {list(facts.objects)}; "
                "number them so, or write .jsonl"
            )
        self.folder, self._palette = folder, voc_palette().tobytes()
        folder.mkdir(parents=True, exist_ok=True)
        self._hw = facts.hw

    def write(self, frame: TrackedFrame, picture: Picture) -> None:
        """See `MaskWriter`."""
        found = sorted(frame.objects.items(), key=lambda pair: pair[1].score)
        values = np.zeros(found[0][1].rle.size if found else self._hw, np.uint8)
        for number, one in found:
            values[one.mask] = number
        drawn = Image.fromarray(values, "P")
        drawn.putpalette(self._palette)
        _save(drawn, self.folder / f"{frame.stem}.png")

    def close(self) -> None:
        """See `MaskWriter`."""

    abandon = close


class PictureWriter:
    """A folder of PNGs, RGB or RGBA, drawn from the frames."""

    def __init__(self, folder: Path, draw: Drawing) -> None:
        self.folder, self._draw = folder, draw
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, frame: TrackedFrame, picture: Picture) -> None:
        """See `MaskWriter`."""
        drawn = Image.fromarray(self._draw(frame, picture()))
        _save(drawn, self.folder / f"{frame.stem}.png")

    def close(self) -> None:
        """See `MaskWriter`."""

    abandon = close


class FilmOutput:
    """A film drawn from the frames, with alpha or without."""

    def __init__(self, path: Path, facts: VideoFacts, draw: Drawing, alpha: bool = False) -> None:
        look: Look = "cutout" if alpha else "picture"
        self._film = FilmWriter(path, facts.rate, look, facts.sound, facts.begin, facts.end)
        self.note = None if self._film.silence is None else f"{path}: {self._film.silence}"
        self._draw, self._begin = draw, facts.begin

    def write(self, frame: TrackedFrame, picture: Picture) -> None:
        """See `MaskWriter`."""
        self._film.write(self._draw(frame, picture()), frame.seconds - self._begin)

    def close(self) -> None:
        """See `MaskWriter`."""
        self._film.close()

    def abandon(self) -> None:
        """See `MaskWriter`."""
        self._film.abandon()


class SavWriter:
    """SA-V's JSON: rows go to a file beside it, which becomes its middle."""

    def __init__(self, path: Path, facts: VideoFacts) -> None:
        self.path, self.facts = path, facts
        path.parent.mkdir(parents=True, exist_ok=True)
        self._rows = path.with_name(f".{path.name}.rows")
        self._file: IO[str] = self._rows.open("w", encoding="utf-8")
        self._count, self._seconds = 0, 0.0
        self._areas = dict.fromkeys(facts.objects, 0)
        self._first: dict[int, int] = {}

    def write(self, frame: TrackedFrame, picture: Picture) -> None:
        """See `MaskWriter`."""
        row = []
        for number in self.facts.objects:
            one = frame.objects.get(number)
            row.append(rle_to_coco(empty_rle(self.facts.hw) if one is None else one.rle))
            if one is not None and one.area:
                self._areas[number] += one.area
                self._first.setdefault(number, self._count)
        self._file.write(("," if self._count else "") + json.dumps(row))
        self._count, self._seconds = self._count + 1, frame.seconds

    def close(self) -> None:
        """See `MaskWriter`."""
        self._file.close()
        (height, width), count = self.facts.hw, max(self._count, 1)
        about = {
            "video_id": self.facts.name,
            "video_duration": self._seconds + 1 / self.facts.rate,
            "video_frame_count": self._count,
            "video_height": height,
            "video_width": width,
            "video_resolution": height * width,
            "video_environment": "",
            "video_split": "",
            "masklet_id": list(self.facts.objects),
            "masklet_num": len(self.facts.objects),
            "masklet_size_abs": [area / count for area in self._areas.values()],
            "masklet_first_appeared_frame": [self._first.get(n, -1) for n in self._areas],
            "masklet_frame_count": [self._count] * len(self._areas),
            "masklet_type": ["auto"] * len(self._areas),
        }
        with whole_file(self.path) as out:
            out.write(json.dumps(about)[:-1].encode() + b', "masklet": [')
            copy_rows(self._rows, out)
            out.write(b"]}\n")
        self._rows.unlink()

    def abandon(self) -> None:
        """See `MaskWriter`."""
        self._file.close()
        self._rows.unlink()


class VideoCocoWriter:
    """YouTube-VIS's JSON: each object's masks go to a file beside it, which becomes its middle."""

    def __init__(self, path: Path, facts: VideoFacts) -> None:
        self.path, self.facts = path, facts
        path.parent.mkdir(parents=True, exist_ok=True)
        self._rows = {n: path.with_name(f".{path.name}.{n}.rows") for n in facts.objects}
        self._files: dict[int, IO[str]] = {
            number: rows.open("w", encoding="utf-8") for number, rows in self._rows.items()
        }
        self._names: list[str] = []
        self._areas: dict[int, list[int | None]] = {number: [] for number in facts.objects}
        self._boxes: dict[int, list[list[int] | None]] = {number: [] for number in facts.objects}

    def write(self, frame: TrackedFrame, picture: Picture) -> None:
        """See `MaskWriter`."""
        comma = "," if self._names else ""
        self._names.append(f"{self.facts.name}/{frame.name or frame.stem + '.jpg'}")
        for number, file in self._files.items():
            one = frame.objects.get(number)
            seen = one if one is not None and one.area else None
            file.write(comma + json.dumps(None if seen is None else rle_to_coco(seen.rle)))
            self._areas[number].append(None if seen is None else seen.area)
            box = None if seen is None else [int(side) for side in rle_box_xywh(seen.rle)]
            self._boxes[number].append(box)

    def close(self) -> None:
        """See `MaskWriter`."""
        ends = dict(zip(("height", "width"), self.facts.hw, strict=True))
        video = {"id": 1, "file_names": self._names, "length": len(self._names), **ends}
        about = {
            "info": {"description": "written by anymask"},
            "videos": [video],
            "categories": [{"id": 1, "name": UNLABELLED}],
        }
        with whole_file(self.path) as out:
            out.write(json.dumps(about)[:-1].encode() + b', "annotations": [')
            for place, (number, file) in enumerate(self._files.items()):
                file.close()
                row = {
                    "id": number, "video_id": 1, "category_id": 1, "iscrowd": 0, **ends,
                    "areas": self._areas[number], "bboxes": self._boxes[number],
                }  # fmt: skip
                out.write((", " if place else "").encode() + json.dumps(row)[:-1].encode())
                out.write(b', "segmentations": [')
                copy_rows(self._rows[number], out)
                out.write(b"]}")
            out.write(b"]}\n")
        self.abandon()

    def abandon(self) -> None:
        """See `MaskWriter`."""
        for number, file in self._files.items():
            file.close()
            self._rows[number].unlink(missing_ok=True)


def copy_rows(rows: Path, out: BinaryIO) -> None:
    """Append a file to another, a part at a time."""
    with rows.open("rb") as file:
        shutil.copyfileobj(file, out)


def frame_to_json(frame: TrackedFrame) -> dict[str, Any]:
    """A frame's masks as COCO run-lengths, with scores, states and doubts."""
    objects = [object_to_json(number, one) for number, one in frame.objects.items()]
    named = {"file": frame.name} if frame.name else {}
    about = {"frame": frame.source_frame, **named, "seconds": round(frame.seconds, 6)}
    return {**about, "objects": objects}


def object_to_json(number: int, one: ObjectMask) -> dict[str, Any]:
    """One object of a frame."""
    return {
        "object": number,
        "segmentation": rle_to_coco(one.rle),
        "area": one.area,
        "score": round(one.score, 4),
        "quality": round(one.quality, 4),
        "state": one.state,
        "doubts": list(one.doubts),
        "prompted": one.prompted,
    }


def cut_objects(frame: TrackedFrame, image: UintImage) -> UintImage:  # (H, W, 3) -> (H, W, 4)
    """The objects of a frame with alpha around them."""
    shown = _shown(frame, image.shape[:2])
    return np.dstack([image, np.where(shown, 255, 0).astype(np.uint8)])


def draw_objects(frame: TrackedFrame, image: UintImage, objects: Sequence[int]) -> UintImage:
    """A frame (H, W, 3) with the masks on it, each of the video's objects in its own colour."""
    if not frame.objects:
        return image
    palette = dict(zip(objects, colours(len(objects)), strict=True))
    chosen = [palette.get(number, (255, 255, 255)) for number in frame.objects]
    return overlay(image, np.stack(list(frame.masks.values())), palette=chosen)


def _shown(frame: TrackedFrame, hw: tuple[int, ...]) -> BoolArray:
    shown: BoolArray = np.zeros(hw, np.bool_)
    for mask in frame.masks.values():
        shown |= mask
    return shown


def open_writers(
    paths: Sequence[Path], facts: VideoFacts, cutout: bool = False, behind: Backdrop | None = None
) -> list[MaskWriter]:
    """A writer for each path, by its ending. Raises InputError for one that is not known.

    cutout  films and folders show the objects on nothing
    behind  or before this
    """
    draw: Drawing | None = cut_objects if cutout else None
    if behind is not None:

        def draw(frame: TrackedFrame, image: UintImage) -> UintImage:
            return behind.put_behind(image, _shown(frame, image.shape[:2]))

    return [_open_writer(path, facts, draw, cutout) for path in paths]


def check_paths(paths: Sequence[Path], cutout: bool = False, behind: str | None = None) -> None:
    """Raises InputError for an ending that is not known, before anything is opened; and where
    nothing would show cut-outs, or what is put behind them."""
    if cutout and behind is not None:
        raise InputError("a cut-out has no background; give --cutout or --background")
    if (cutout or behind is not None) and all(file_suffix(path) in DOCUMENTS for path in paths):
        raise InputError(
            f"--{'cutout' if cutout else 'background'} is for films and folders, got "
            f"{paths[0].name!r}; add one, such as -o objects{'.webm' if cutout else '.mp4'}"
        )
    for path in paths:
        ending = file_suffix(path)
        if path.name == "-" or path.name.startswith("-."):
            raise InputError(
                f"tracks are not written to standard output, got {path.name!r}; name a file, such "
                "as masks.jsonl"
            )
        if ending in FILMS:
            check_film(path, "cutout" if cutout else "picture")
        elif ending not in ("", *DOCUMENTS):
            raise InputError(
                f"{str(path)!r}: outputs are .json (SA-V), {YTVIS} (COCO of videos), .jsonl, "
                f"{', '.join(sorted(FILMS))} or a folder"
            )


def _open_writer(path: Path, facts: VideoFacts, draw: Drawing | None, cutout: bool) -> MaskWriter:
    match file_suffix(path):
        case ".json":
            vis = path.name.lower().endswith(YTVIS)
            return VideoCocoWriter(path, facts) if vis else SavWriter(path, facts)
        case ".jsonl":
            return LineWriter(path)
        case "":
            return PaletteWriter(path, facts) if draw is None else PictureWriter(path, draw)
        case _:
            return FilmOutput(
                path, facts, draw or partial(draw_objects, objects=facts.objects), alpha=cutout
            )


def _save(picture: Image.Image, path: Path) -> None:
    with whole_file(path) as file:
        picture.save(file, "PNG", compress_level=3)
