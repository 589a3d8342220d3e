"""Video clips on disk, with frames and masks that are read on demand.

Data sets of videos (DAVIS, YouTube-VOS, MOSE, LVOS, SA-V, JSON of tracks): clips, or frames.

    DAVIS 2017 (davischallenge.org):  JPEGImages/480p/VIDEO/00000.jpg, Annotations/480p/VIDEO/
        00000.png with a palette: the number of an object, 0 background, 255 void;
        ImageSets/2017/val.txt lists the videos
    DAVIS 2016: the same folders; 0 and 255 are background and the one object. Its lists are
        ImageSets/480p/val.txt with two paths per line, or ImageSets/2016/val.txt inside DAVIS
        2017, where all objects count as one. The split is "2016/val"
    YouTube-VOS (youtube-vos.org): valid/JPEGImages/VIDEO/00000.jpg, valid/Annotations/VIDEO/
        00000.png, valid/meta.json: {"videos": {VIDEO: {"objects": {"1": {"category": ...}}}}}.
        Every fifth frame has masks, in `valid` only the first frame of each object
    MOSE (henghuiding.com/MOSE) and LVOS (lingyihongfd.github.io/lvos.github.io): the folders of
        YouTube-VOS, valid/JPEGImages/VIDEO/00000.jpg and valid/Annotations/VIDEO/00000.png, without
        a list; every folder below JPEGImages is a video
    SA-V, val and test (segment-anything-2, `sav_dataset`): sav_val/JPEGImages_24fps/VIDEO/00000.jpg
        and sav_val/Annotations_6fps/VIDEO/000/00000.png, white on black, a folder per object;
        sav_val/sav_val.txt lists the videos
    YouTube-VIS and OVIS (songbai.site/ovis): annotations_train.json: videos with `file_names`,
        annotations with `segmentations`, run-lengths or null per frame; images below train/

`Annotations_unsupervised` (DAVIS 2019) is read as the split "unsupervised/val".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from anymask.base import DataError, UintImage, brief
from anymask.formats.annotations import VOID_LABEL, AnnotatedImage, SequencePlace, annotated_image
from anymask.formats.coco import segmentation_to_rle
from anymask.formats.documents import (
    checked_hw,
    find_in_folders,
    find_place,
    located,
    read_json,
    read_text,
)
from anymask.formats.label_images import VOID
from anymask.formats.mask_numbers import binary_mask, label_values, value_rles
from anymask.images import SUFFIXES, load_image
from anymask.masks import Mask, Rle, mask_to_rle, rle_area


@brief
@dataclass(frozen=True, kw_only=True)
class Clip:
    """One video."""

    name: str  # Name of the video in its data set
    frames: tuple[Path, ...]  # Image files in order
    # Label image for each annotated frame index (8-bit, or with a palette)
    annotations: Mapping[int, Path]
    # Class of each object number, if the data set provides it
    labels: Mapping[int, str] = field(default_factory=dict)
    single: bool = False  # Whether all foreground is object 1 (DAVIS 2016); 255 is not void then
    # Folder of each object's own mask images, white on black (SA-V), so that objects may overlap;
    # `annotations` then hold only the file names
    layers: Mapping[int, Path] = field(default_factory=dict)

    def image(self, index: int) -> UintImage:  # (H, W, 3)
        """Decode a frame. Raises ImageError."""
        return load_image(self.frames[index])

    def frame(self, index: int) -> AnnotatedImage:
        """Read an annotated frame with its masks, whose ids are the object numbers.

        A hidden object has no mask. Raises DataError, also for a frame without annotations.
        """
        if index not in self.annotations:
            raise DataError(
                f"{self.name}: Frame {index} is not annotated. Clip.annotations lists the others."
            )
        path, rles, void = self.annotations[index], dict[int, Rle](), None
        for number, folder in self.layers.items():
            if (layer := folder / path.name).is_file():  # else the object is not visible
                with located(layer):
                    rles[number] = mask_to_rle(binary_mask(layer))
        if not self.layers:
            with located(path):
                values = binary_mask(path) if self.single else label_values(path)
                checked_hw(*values.shape)
            rles = value_rles(values)
            void = None if self.single else rles.pop(VOID, None)
        sizes = {rle.size for rle in (*rles.values(), void) if rle is not None}
        if len(sizes) != 1:
            raise DataError(
                f"{self.name}, frame {index}: The images differ in size: {sorted(sizes)}."
            )
        masks = [
            Mask(rle, self.labels.get(number), id=number)
            for number, rle in rles.items()
            if (number or self.layers) and rle_area(rle)
        ]
        if void is not None:
            masks.append(Mask(void, VOID_LABEL, crowd=True))
        return annotated_image(
            self.frames[index], sizes.pop(), masks, place=SequencePlace(self.name, index)
        )


def read_davis_clips(root: Path, split: str) -> list[Clip]:
    """Return the videos of a split of DAVIS. Raises DataError that names the file."""
    year, _, part = split.rpartition("/")
    top = find_place(root, ["JPEGImages", "DAVIS*/JPEGImages"], "frames of DAVIS").parent
    frames = find_place(top, ["JPEGImages/480p", "JPEGImages/Full-Resolution"], "frames of DAVIS")
    kind = "Annotations_unsupervised" if year == "unsupervised" else "Annotations"
    annotations = top / kind / frames.name
    lists = {
        "": [f"ImageSets/2017/{part}.txt", f"ImageSets/480p/{part}.txt"],
        "unsupervised": [f"ImageSets/2019/{part}.txt", f"ImageSets/2017/{part}.txt"],
        "2016": [f"ImageSets/2016/{part}.txt", f"ImageSets/480p/{part}.txt"],
    }.get(year, [f"ImageSets/{year}/{part}.txt"])
    listed = find_place(top, lists, f"list of DAVIS' {split!r}")
    names = dict.fromkeys(map(_video, read_text(listed).splitlines()))
    single = year == "2016" or listed.parent.name == "480p"
    with located(listed):
        return [
            _clip(name, frames / name, annotations / name, single=single) for name in names if name
        ]


def _video(line: str) -> str:
    """Return the video of a line: a name, or the paths of a frame and its masks."""
    first = line.split()[0] if line.split() else ""
    return Path(first).parent.name if "/" in first else first


def read_youtube_vos_clips(root: Path, split: str) -> list[Clip]:
    """Return the videos of a split of YouTube-VOS. Raises DataError that names the file."""
    path = find_place(root, [f"{split}/meta.json", "meta.json"], f"meta.json of {split!r}")
    clips = []
    with located(path):
        for name, video in read_json(path)["videos"].items():
            with located(f"video {name}"):
                labels = {
                    int(number): str(row["category"])
                    for number, row in video["objects"].items()
                    if "category" in row
                }
                frames, masks = (path.parent / folder for folder in ("JPEGImages", "Annotations"))
                clips.append(_clip(name, frames / name, masks / name, labels))
    return clips


def read_mose_clips(root: Path, split: str) -> list[Clip]:
    """Return the videos of a split of MOSE or LVOS. Raises DataError that names what is missing."""
    patterns = [f"{split}/JPEGImages", f"*/{split}/JPEGImages", "JPEGImages"]
    frames = find_place(root, patterns, f"frames of {split!r}")
    if not (names := sorted(path.name for path in frames.iterdir() if path.is_dir())):
        raise DataError(
            f"{frames}: The folder contains no video. Check that the dataset is complete."
        )
    return [_clip(name, frames / name, frames.parent / "Annotations" / name) for name in names]


def read_sav_clips(root: Path, split: str) -> list[Clip]:
    """Return the videos of SA-V's val or test. Raises DataError that names what is missing."""
    patterns = [f"sav_{split}/JPEGImages_24fps", "JPEGImages_24fps"]
    frames = find_place(root, patterns, f"frames of SA-V's {split!r}")
    listed = frames.parent / f"sav_{split}.txt"
    names = sorted(path.name for path in frames.iterdir() if path.is_dir())
    if listed.is_file():
        names = [line.strip() for line in read_text(listed).splitlines() if line.strip()]
    clips = []
    for name in names:
        folder = frames.parent / "Annotations_6fps" / name
        with located(listed):  # a name may be no file name
            layers = {int(p.name): p for p in sorted(folder.glob("*/")) if p.name.isdecimal()}
        if not layers:
            raise DataError(
                f"{folder}: The folder contains no masks, such as {name}/000/00000.png."
            )
        clip = _clip(name, frames / name, next(iter(layers.values())))
        clips.append(replace(clip, layers=layers))
    return clips


def _clip(
    name: str,
    frames: Path,
    annotations: Path,
    labels: dict[int, str] | None = None,
    single: bool = False,
) -> Clip:
    """Create a clip from two folders whose files have the same names."""
    files = frames.iterdir() if frames.is_dir() else ()
    if not (paths := sorted(path for path in files if path.suffix.lower() in SUFFIXES)):
        raise DataError(
            f"{frames}: The frames of this video are missing. Check that the dataset is complete."
        )
    masks = {index: annotations / f"{path.stem}.png" for index, path in enumerate(paths)}
    return Clip(
        name=name,
        frames=tuple(paths),
        annotations={index: path for index, path in masks.items() if path.is_file()},
        labels=labels or {},
        single=single,
    )


# YouTube-VIS and OVIS


def read_youtube_vis(root: Path, split: str) -> Iterator[AnnotatedImage]:
    """Yield all frames of a JSON with tracks. Raises DataError that names file and record."""
    patterns = [f"annotations_{split}.json", f"{split}/instances.json", f"annotations/{split}.json"]
    path = find_place(root, patterns, f"JSON of {split!r}")
    places = [root / split, root / split / "JPEGImages", root / "JPEGImages", root]
    document = read_json(path)
    with located(path):
        names = {int(row["id"]): str(row["name"]) for row in document["categories"]}
        tracks: dict[int, list[tuple[int, dict[str, Any]]]] = {}
        for number, row in enumerate(document["annotations"] or []):
            tracks.setdefault(int(row["video_id"]), []).append((number, row))
        for video in document["videos"]:
            hw = checked_hw(video["height"], video["width"])
            for index, name in enumerate(video["file_names"]):
                image = find_in_folders(str(name), places)
                masks = _frame_masks(tracks.get(int(video["id"]), []), index, hw, names)
                yield annotated_image(
                    image, hw, masks, place=SequencePlace(str(video["id"]), index)
                )


def _frame_masks(
    tracks: list[tuple[int, dict[str, Any]]], index: int, hw: tuple[int, int], names: dict[int, str]
) -> Iterator[Mask]:
    """Yield the masks of the objects visible in a frame; `id` is the place in `annotations`."""
    for number, row in tracks:
        with located(f"annotation {number} (id {row.get('id')}), frame {index}"):
            if row["segmentations"][index] is None:
                continue
            rle = segmentation_to_rle(row["segmentations"][index], hw)
            yield Mask(rle, names[int(row["category_id"])], id=number)
