"""Writers of tracked frames: masks of frames in; RLE lines, SA-V JSON, PNGs or videos out.

    .json        SA-V: the run-lengths of every object in every frame
    .jsonl       a line a frame, with COCO run-lengths, scores, states and doubts
    a folder     DAVIS: a palette PNG a frame, whose values are the objects' numbers
    a film       the video with the masks drawn on it, with its frame rate and sound

and with `cutout`, a folder of RGBA pictures or a film with alpha. All but SA-V's file, which needs
the last frame first, are written as the frames come; none is held.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from PIL import Image

from anymask.data.label_pictures import voc_palette
from anymask.primitives.draw import colours, overlay
from anymask.primitives.errors import InputError
from anymask.primitives.rle import empty_rle, rle_to_coco
from anymask.primitives.storage import whole_file
from anymask.primitives.types import UintImage
from anymask.video.film import FILMS, FilmWriter, check_film
from anymask.video.records import ObjectMask, TrackedFrame

MOST_NUMBERS = 255  # objects of a palette PNG
Picture = Callable[[], UintImage]  # reads the frame (H, W, 3) where a writer needs it


@dataclass(frozen=True)
class VideoFacts:
    """What writers have to know of a video: name, size, frames a second, objects, and its file.

    sound  the file whose sound goes along, or None
    begin  seconds of that file at which the first frame is shown
    """

    name: str
    hw: tuple[int, int]
    rate: float
    objects: tuple[int, ...]
    sound: Path | None = None
    begin: float = 0.0


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
        _save(drawn, self.folder / f"{frame.source_frame:05d}.png")

    def close(self) -> None:
        """See `MaskWriter`."""

    abandon = close


class CutoutWriter:
    """A folder of RGBA PNGs: the objects on nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, frame: TrackedFrame, picture: Picture) -> None:
        """See `MaskWriter`."""
        drawn = Image.fromarray(cut_objects(frame, picture()))
        _save(drawn, self.folder / f"{frame.source_frame:05d}.png")

    def close(self) -> None:
        """See `MaskWriter`."""

    abandon = close


class FilmOutput:
    """A film with the masks drawn on it, or of the objects on nothing."""

    def __init__(self, path: Path, facts: VideoFacts, cutout: bool) -> None:
        look: Any = "cutout" if cutout else "picture"
        self._film = FilmWriter(path, facts.rate, look, facts.sound, facts.begin)
        self._cutout, self._begin, self._objects = cutout, facts.begin, facts.objects

    def write(self, frame: TrackedFrame, picture: Picture) -> None:
        """See `MaskWriter`."""
        image = picture()
        if self._cutout:
            image = cut_objects(frame, image)
        elif frame.objects:
            palette = dict(zip(self._objects, colours(len(self._objects)), strict=True))
            chosen = [palette.get(number, (255, 255, 255)) for number in frame.objects]
            image = overlay(image, np.stack(list(frame.masks.values())), palette=chosen)
        self._film.write(image, frame.seconds - self._begin)

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
        with whole_file(self.path) as out, self._rows.open("rb") as rows:
            out.write(json.dumps(about)[:-1].encode() + b', "masklet": [')
            while part := rows.read(1 << 20):
                out.write(part)
            out.write(b"]}\n")
        self._rows.unlink()

    def abandon(self) -> None:
        """See `MaskWriter`."""
        self._file.close()
        self._rows.unlink()


def frame_to_json(frame: TrackedFrame) -> dict[str, Any]:
    """A frame's masks as COCO run-lengths, with scores, states and doubts."""
    objects = [object_to_json(number, one) for number, one in frame.objects.items()]
    return {"frame": frame.source_frame, "seconds": round(frame.seconds, 6), "objects": objects}


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
    alpha = np.zeros(image.shape[:2], np.uint8)
    for mask in frame.masks.values():
        alpha[mask] = 255
    return np.dstack([image, alpha])


def open_writers(
    paths: Sequence[Path], facts: VideoFacts, cutout: bool = False
) -> list[MaskWriter]:
    """A writer for each path, by its ending. Raises InputError for one that is not known."""
    return [_open_writer(path, facts, cutout) for path in paths]


def check_paths(paths: Sequence[Path], cutout: bool = False) -> None:
    """Raises InputError for an ending that is not known, before anything is opened."""
    for path in paths:
        ending = path.suffix.lower()
        if path.name == "-" or path.name.startswith("-."):
            raise InputError(
                f"tracks are not written to standard output, got {path.name!r}; name a file, such "
                "as masks.jsonl"
            )
        if ending in FILMS:
            check_film(path, "cutout" if cutout else "picture")
        elif ending not in ("", ".json", ".jsonl"):
            raise InputError(
                f"{str(path)!r}: outputs are .json (SA-V), .jsonl, {', '.join(sorted(FILMS))} or a "
                "folder"
            )


def _open_writer(path: Path, facts: VideoFacts, cutout: bool) -> MaskWriter:
    match path.suffix.lower():
        case ".json":
            return SavWriter(path, facts)
        case ".jsonl":
            return LineWriter(path)
        case "":
            return CutoutWriter(path) if cutout else PaletteWriter(path, facts)
        case _:
            return FilmOutput(path, facts, cutout)


def _save(picture: Image.Image, path: Path) -> None:
    with whole_file(path) as file:
        picture.save(file, "PNG", compress_level=3)
