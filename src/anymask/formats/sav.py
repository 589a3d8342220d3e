"""SA-V: a JSON file per video with run-lengths of each object in, annotated frames out, and back.

Layout: the readme of the data set (segment-anything-2, `sav_dataset`). Videos have 24 frames per
second and every fourth one is annotated: list entry i is frame 4 i, with the image name
<video>/<frame>.jpg. A mask's group is its object. Empty masks mean that an object is not visible;
they are added in writing and dropped in reading. The val and test splits, a PNG per object and
frame, are read too; an image is named by the number of its frame there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import DataError, parse_json
from anymask.formats.annotations import (
    AnnotatedImage,
    LossReport,
    SequencePlace,
    report_unsupported_fields,
)
from anymask.formats.documents import (
    OutFile,
    checked_hw,
    find_files,
    located,
    output_stems,
    read_json,
    read_text,
    to_json,
)
from anymask.formats.fields import as_list, as_number, as_record, as_whole, held
from anymask.formats.mask_numbers import binary_mask
from anymask.formats.metadata import report_dataset_fields
from anymask.formats.outlines import Policy
from anymask.masks import (
    Mask,
    Masks,
    Rle,
    coco_to_rle,
    empty_rle,
    mask_to_rle,
    rle_area,
    rle_to_coco,
)

_OF_VIDEO = ("video_environment",)
SPLIT_FOLDER = "Annotations_6fps"
ANNOTATED_EVERY = 4  # frames from one annotated frame to the next
FRAME_RATE = 24  # frames a second
_SMALL, _MEDIUM = 32**2, 96**2  # pixels, of the size buckets


def read(source: Path, report: LossReport, image_root: Path | None = None) -> list[AnnotatedImage]:
    """Read a video's file, a folder of them, or a val or test split with Annotations_6fps.

    The .jsonl of `anymask track` is read as well. Raises DataError that names file, frame and
    object.
    """
    if (source / SPLIT_FOLDER).is_dir():
        return _split(source / SPLIT_FOLDER)
    if source.suffix.lower() == ".jsonl":
        return _lines(source, report)
    images = []
    for path in find_files(source, ".json"):
        document = read_json(path)
        with located(path):
            video = str(document["video_id"])
            hw = checked_hw(document["video_height"], document["video_width"])
            ids = [int(number) for number in document["masklet_id"]]
            metadata = {key: document[key] for key in _OF_VIDEO if document.get(key)}
            for number, frame in enumerate(document["masklet"]):
                with located(f"frame {number}"):
                    place = SequencePlace(video, ANNOTATED_EVERY * number)
                    images.append(
                        AnnotatedImage(
                            file_name=f"{video}/{place.index:05d}.jpg",
                            hw=hw,
                            masks=_masks(frame, ids),
                            place=place,
                            extra=metadata,
                        )
                    )
    return images


def _lines(path: Path, report: LossReport) -> list[AnnotatedImage]:
    """Read a line per frame, as `anymask track` writes it."""
    frames = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        with report.record(f"line {number}"):
            row = as_record(parse_json(line, "the line"), "the line")
            place = SequencePlace(path.stem, as_whole(row["frame"], "frame"))
            masks = [
                Mask(
                    coco_to_rle(record["segmentation"]),
                    score=as_number(record["score"], "score"),
                    id=as_whole(record["object"], "object"),
                )
                for record in as_list(row["objects"], "objects")
            ]
            name = row.get("file") or f"{place.sequence}/{place.index:05d}.jpg"
            frames.append((str(name), place, [mask for mask in masks if mask.area]))
    sizes = {mask.rle.size for _, _, masks in frames for mask in masks}
    if len(sizes) != 1:
        raise DataError(f"{path}: The masks have {len(sizes)} sizes, but one is required.")
    return [
        AnnotatedImage(file_name=name, hw=next(iter(sizes)), masks=Masks(masks), place=place)
        for name, place, masks in frames
    ]


def _masks(frame: Any, ids: list[int]) -> Masks:
    if len(frame) != len(ids):
        raise DataError(f"The frame has {len(frame)} masks, but there are {len(ids)} objects.")
    masks = Masks()
    for group, row in zip(ids, frame, strict=True):
        with located(f"object {group}"):
            rle = coco_to_rle(row)
        if rle_area(rle):
            masks.append(Mask(rle, id=group))
    return masks


def _split(folder: Path) -> list[AnnotatedImage]:
    """Read <video>/<object>/<frame>.png, an image of one object each, white on black."""
    frames: dict[tuple[str, str], dict[int, Rle]] = {}
    for path in find_files(folder, ".png"):
        with located(path):
            parent = path.relative_to(folder).parent
            if len(parent.parts) < 2 or not parent.name.isdecimal():
                raise DataError("The path does not match <video>/<object number>/<frame>.png.")
            rles = frames.setdefault((parent.parent.as_posix(), path.stem), {})
            rles[int(parent.name)] = mask_to_rle(binary_mask(path))
    return [
        AnnotatedImage(
            file_name=f"{video}/{stem}.jpg",
            hw=next(iter(rles.values())).size,
            masks=Masks(Mask(rle, id=n) for n, rle in rles.items() if rle_area(rle)),
            place=SequencePlace(video, int(stem)) if stem.isdecimal() else None,
        )
        for (video, stem), rles in sorted(frames.items())
    ]


# Writing.


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """Yield a file per video; images in one folder are the frames of one video, in name order."""
    videos: dict[str, list[AnnotatedImage]] = {}
    for image in sorted(images, key=lambda image: image.file_name):
        folder = PurePosixPath(image.file_name).parent.as_posix()
        videos.setdefault("video" if folder == "." else folder, []).append(image)
    one_file = target.suffix.lower() == ".json"
    if one_file and len(videos) != 1:
        raise DataError(f"{target}: The format holds one video, not {len(videos)}. Pass a folder.")
    for frames, stem in zip(videos.values(), output_stems([*videos]), strict=True):
        path = target if one_file else target.joinpath(stem.parent, f"{stem.name}_manual.json")
        sizes = {image.hw for image in frames}
        if len(sizes) > 1:
            raise DataError(f"The frames of {stem.name!r} have different sizes: {sorted(sizes)}.")
        (hw,) = sizes
        tracks = _tracks(frames, report)
        areas = np.array([[rle_area(rle) for rle in row] for row in tracks.values()], np.int64)
        count = ANNOTATED_EVERY * (len(frames) - 1) + 1
        document = (
            video_facts(stem.name, hw, len(frames) * ANNOTATED_EVERY / FRAME_RATE, count)
            | {
                "video_split": "train",
                "masklet": [
                    [rle_to_coco(track[number]) for track in tracks.values()]
                    for number in range(len(frames))
                ],
                "masklet_id": list(tracks),
                "masklet_num": len(tracks),
                "video_environment": "",
            }
            | held(frames[0].extra, _OF_VIDEO)
            | _statistics(areas.reshape(len(tracks), len(frames)), hw[0] * hw[1])
        )
        yield path, to_json(document)
    report_dataset_fields(report, images, policy)


def video_facts(name: str, hw: tuple[int, int], seconds: float, count: int) -> dict[str, Any]:
    """Return SA-V's metadata of a video: its id, duration, number of frames and size."""
    height, width = hw
    return {
        "video_id": name,
        "video_duration": seconds,
        "video_frame_count": count,
        "video_height": height,
        "video_width": width,
        "video_resolution": height * width,
    }


def _tracks(frames: list[AnnotatedImage], report: LossReport) -> dict[int, list[Rle]]:
    """Return the mask in every frame for each object number."""
    tracks: dict[int, list[Rle]] = {}
    for number, image in enumerate(frames):
        report_unsupported_fields(report, image, frozenset({"ids"}), (), _OF_VIDEO)
        stem = PurePosixPath(image.file_name).stem
        if not stem.isdecimal() or int(stem) != ANNOTATED_EVERY * number:
            report.add("frames", image.file_name, None, f"becomes frame {ANNOTATED_EVERY * number}")
        groups = [mask.id for mask in image.masks]
        if None in groups or len(set(groups)) < len(groups):
            reason = "the format has no groups, so masks are numbered by position"
            report.add("ids", image.file_name, None, reason)
            groups = list(range(len(groups)))
        for index, (mask, group) in enumerate(zip(image.masks, groups, strict=True)):
            if not rle_area(mask.rle):
                report.add("empty", image.file_name, index, "an empty mask is a hidden object")
            track = tracks.setdefault(int(group or 0), [empty_rle(image.hw)] * len(frames))
            track[number] = mask.rle
    return dict(sorted(tracks.items()))


def _statistics(areas: NDArray[np.int64], pixels: int) -> dict[str, Any]:  # (objects, frames)
    """Return SA-V's statistics of each object."""
    visible = areas > 0
    means = [
        float(row[there].mean()) if there.any() else 0.0
        for row, there in zip(areas, visible, strict=True)
    ]
    first = [int(there.argmax()) for there in visible]
    changes = [
        int(np.count_nonzero(there[start + 1 :] != there[start:-1]))
        for there, start in zip(visible, first, strict=True)
    ]
    return {
        "masklet_size_rel": [mean / pixels for mean in means],
        "masklet_size_abs": means,
        "masklet_size_bucket": [
            "small" if mean < _SMALL else "medium" if mean < _MEDIUM else "large" for mean in means
        ],
        "masklet_visibility_changes": changes,
        "masklet_first_appeared_frame": first,
        "masklet_frame_count": [areas.shape[1]] * len(means),
        "masklet_edited_frame_count": [0] * len(means),
        "masklet_type": ["manual"] * len(means),
        "masklet_stability_score": None,
    }
