"""SA-Co: images or videos with noun phrases as queries, and the masks of each phrase.

Layout: the dataset cards of SA-Co Gold, Silver and VEval. Image files are COCO documents in which
an entry of `images` is a pair of an image and a phrase (`text_input`); a negative has no
annotation. Boxes and areas are fractions of the image. `is_instance_exhaustive` is 0 if objects of
the phrase have no mask. Video files are YouTube-VIS documents with a list `video_np_pairs`.

Phrases are labels. An image keeps its negatives as `absent_phrases`, phrases with exhaustive masks
as `complete_phrases`, and others as `partial_phrases` (`AnnotatedImage.extra`). Labels in none of
these lists were not confirmed, and are written as not exhaustive. Deviation: an image without any
phrase is written as an entry without `text_input`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from anymask.base import DataError
from anymask.formats.annotations import (
    IN_RECORDS,
    AnnotatedImage,
    LossReport,
    SequencePlace,
    report_unlabeled,
    report_unsupported_fields,
)
from anymask.formats.coco import (
    OF_IMAGE,
    OF_RECORD,
    annotation_row,
    document_facts,
    file_name,
    image_row,
    read_document,
    segmentation_to_rle,
    written_extra,
)
from anymask.formats.documents import (
    OutFile,
    file_target,
    find_files,
    located,
    names_in_dataset,
    read_json,
    to_json,
)
from anymask.formats.fields import (
    MOST_FRAMES,
    ExceptKeys,
    as_list,
    as_number,
    as_record,
    as_text,
    as_whole,
    checked_frames,
    checked_hw,
    held,
    other_keys,
)
from anymask.formats.metadata import (
    INFO,
    LICENSES,
    only_license,
    report_dataset_fields,
    with_origins,
)
from anymask.formats.outlines import Policy
from anymask.masks import UNLABELED, Mask, Masks, Rle, rle_area

ABSENT_PHRASES, PARTIAL_PHRASES, COMPLETE_PHRASES = PHRASES = (
    "absent_phrases",
    "partial_phrases",
    "complete_phrases",
)  # keys of `AnnotatedImage.extra`
PHRASE = "text_input"
VIDEO_PAIRS = "video_np_pairs"
_EXHAUSTIVE = ("is_instance_exhaustive", "is_pixel_exhaustive")
_OF_PAIR = (PHRASE, "queried_category", *_EXHAUSTIVE)
_CATEGORY = {"id": 1, "name": "object", "supercategory": "object"}

MaskTrack = tuple[Rle | None, ...]  # mask of an object in each frame; an image has one frame


@dataclass(frozen=True, kw_only=True)
class ConceptPair:
    """A phrase that was queried in an image or a video, with the masks of all its objects."""

    id: str  # Id of the pair, as text
    medium: str  # File name of the image, or name of the video
    phrase: str  # Noun phrase
    hw: tuple[int, int]  # (H, W) in pixels
    frames: int = 1  # Number of frames; 1 for an image
    tracks: Sequence[MaskTrack] = ()  # Masks of each object by frame. Empty for a negative.
    scores: Sequence[float | None] = ()  # Confidence score of each track; None if unknown
    exhaustive: bool = True  # Whether every object of the phrase has a mask
    is_video: bool = False  # Whether the medium is a video
    files: Sequence[str] = ()  # File name of each frame of a video
    key: tuple[str, ...] = ()  # Key by which result lists refer to the pair


@dataclass
class _Image:
    """An image of a document, and its phrases."""

    row: dict[str, Any]
    phrases: dict[str, bool] = field(default_factory=dict)  # phrase -> exhaustive


def read(source: Path, report: LossReport, image_root: Path | None = None) -> list[AnnotatedImage]:
    """Read a file or a folder of files. Raises DataError that names file, record and reason."""
    entries = list[tuple[Path, AnnotatedImage]]()
    for path in find_files(source, ".json"):
        with report.record(path):
            document = as_record(read_json(path), "the document")
            images = (
                _frames(_video_pairs(document, report))
                if VIDEO_PAIRS in document
                else _read_images(document, report, image_root)[0]
            )
            entries += [(path, image) for image in images]
    return names_in_dataset(source, entries)


def read_pairs(path: Path, report: LossReport) -> list[ConceptPair]:
    """Read the pairs of a file, of images or of videos.

    Raises:
        DataError: The file is not in this layout.
    """
    with located(path):
        document = as_record(read_json(path), "the document")
        if VIDEO_PAIRS in document:
            return _video_pairs(document, report)
        images, pairs = _read_images(document, report)
    by_name = {image.file_name: image for image in images}
    concepts = []
    for number, (name, phrase, exhaustive) in pairs.items():
        if name in by_name:
            masks = [mask for mask in by_name[name].objects if mask.label == phrase]
            concepts.append(
                ConceptPair(
                    id=str(number), medium=name, phrase=phrase, hw=by_name[name].hw,
                    tracks=[(mask.rle,) for mask in masks],
                    scores=[mask.score or None for mask in masks],
                    exhaustive=exhaustive, key=(str(number),),
                )
            )  # fmt: skip
    return concepts


def _read_images(
    document: Mapping[str, Any], report: LossReport, image_root: Path | None = None
) -> tuple[list[AnnotatedImage], dict[int, tuple[str, str, bool]]]:
    """Read the images of a document, and (image, phrase, exhaustive) of each pair by id."""
    merged, pairs = _merged_images(document, report)
    names = dict.fromkeys(phrase for _, phrase in pairs.values() if phrase is not None)
    ids = {phrase: number for number, phrase in enumerate(names, start=1)}
    rows = list[Any]()
    for row in as_list(document["annotations"], "annotations"):
        key = row.get("image_id") if isinstance(row, dict) else None
        key = int(key) if isinstance(key, str) and key.isdecimal() and len(key) < 20 else key
        if type(key) is not int or key not in pairs:
            rows.append(row)
            continue
        about, phrase = pairs[key]
        category = {} if phrase is None else {"category_id": ids[phrase]}
        rest = {k: v for k, v in row.items() if k not in ("bbox", "area", "category_id")}
        rows.append(rest | category | {"image_id": about.row["id"]})
    categories = [{"id": number, "name": phrase} for phrase, number in ids.items()]
    coco = {
        **document,
        "images": [about.row for about in merged.values()],
        "annotations": rows,
        "categories": categories,
    }
    images = []
    for _, image in read_document(coco, report, image_root):
        phrases = merged[image.file_name].phrases
        shown = {mask.label for mask in image.masks}
        absent = [phrase for phrase in phrases if phrase not in shown]
        partial = [phrase for phrase, exhaustive in phrases.items() if not exhaustive]
        complete = [phrase for phrase in phrases if phrase not in (*absent, *partial)]
        lists = dict(zip(PHRASES, (absent, partial, complete), strict=True))
        images.append(replace(image, extra={**image.extra, **other_keys(lists, ())}))
    return images, {
        number: (about.row["file_name"], phrase, about.phrases[phrase])
        for number, (about, phrase) in pairs.items()
        if phrase is not None
    }


def _merged_images(
    document: Mapping[str, Any], report: LossReport
) -> tuple[dict[str, _Image], dict[int, tuple[_Image, str | None]]]:
    """Merge the entries of `images`: the images by name, and (image, phrase) of entries by id."""
    images, pairs = dict[str, _Image](), dict[int, tuple[_Image, str | None]]()
    for number, row in enumerate(as_list(document["images"], "images")):
        with report.record(f"image {number}"):
            name = file_name(dict(as_record(row, "image")))
            phrase = as_text(row[PHRASE], PHRASE) if row.get(PHRASE) is not None else None
            if (entry_id := as_whole(row["id"], "id")) in pairs:
                raise DataError(f"Duplicate id {entry_id}: another entry has the same id.")
            hw = checked_hw(row["height"], row["width"])
            rest = {key: value for key, value in row.items() if key not in _OF_PAIR}
            image = images.setdefault(name, _Image(rest | {"id": entry_id, "file_name": name}))
            if hw != (known := (image.row["height"], image.row["width"])):
                raise DataError(
                    f"The image has the size (H, W) = {hw}, but {known} in another entry."
                )
            if phrase in image.phrases:
                raise DataError(f"The phrase {phrase!r} has two entries for the image {name}.")
            if phrase is not None:
                image.phrases[phrase] = row.get("is_instance_exhaustive", 1) not in (0, False)
            pairs[entry_id] = image, phrase
    return images, pairs


def _video_pairs(document: Mapping[str, Any], report: LossReport) -> list[ConceptPair]:
    """Read the pairs of videos, with all tracks of each."""
    videos, files = dict[Any, Any](), dict[Any, list[str]]()
    for number, row in enumerate(as_list(document["videos"], "videos")):
        with report.record(f"video {number}"):
            videos[row["id"]] = as_record(row, "video")
            files[row["id"]] = _files(row, MOST_FRAMES - sum(map(len, files.values())))
    tracks: dict[tuple[Any, Any], list[MaskTrack]] = {}
    for number, row in enumerate(as_list(document.get("annotations") or [], "annotations")):
        with report.record(f"annotation {number}"):
            about = as_record(row, "annotation")
            video = videos[about["video_id"]]
            hw, frames = checked_hw(video["height"], video["width"]), len(files[video["id"]])
            track = as_track(about["segmentations"], hw, frames)
            tracks.setdefault((about["video_id"], about["category_id"]), []).append(track)
    pairs = []
    for number, row in enumerate(as_list(document[VIDEO_PAIRS], VIDEO_PAIRS)):
        with report.record(f"pair {number}"):
            about = as_record(row, "pair")
            key = about["video_id"], about["category_id"]
            video = videos[key[0]]
            pairs.append(
                ConceptPair(
                    id=str(about["id"]), medium=str(video.get("video_name", key[0])),
                    phrase=as_text(about["noun_phrase"], "noun_phrase"),
                    hw=checked_hw(video["height"], video["width"]),
                    frames=len(files[key[0]]), tracks=tracks.get(key, []),
                    scores=[None] * len(tracks.get(key, [])), is_video=True,
                    files=files[key[0]],
                    key=(str(key[0]), str(key[1])),
                )
            )  # fmt: skip
    return pairs


def _files(video: Mapping[str, Any], most: int) -> list[str]:
    """Return the file name of each of at most `most` frames; default: VIDEO/00000.jpg."""
    files = as_list(video.get("file_names") or [], "file_names")
    length = as_whole(video.get("length", len(files)), "length")
    checked_frames(max(length, len(files)), most)
    if not files:
        name = video.get("video_name", video["id"])
        files = [f"{name}/{frame:05d}.jpg" for frame in range(length)]
    if len(files) != length:
        raise DataError(f"Expected {length} file names of frames, got {len(files)}.")
    return [as_text(file, "file_names") for file in files]


def as_track(rows: Any, hw: tuple[int, int], frames: int) -> MaskTrack:
    """Decode one mask or null for each frame. Raises DataError for another number or size."""
    rles = [
        None if row is None else segmentation_to_rle(row, hw)
        for row in as_list(rows, "segmentations")
    ]
    if len(rles) != frames:
        raise DataError(f"Expected one mask or null for each of {frames} frames, got {len(rles)}.")
    return tuple(None if rle is None or not rle_area(rle) else rle for rle in rles)


def _frames(pairs: Sequence[ConceptPair]) -> Iterator[AnnotatedImage]:
    """Yield every frame of the videos; objects are numbered from 1 in each video."""
    for medium in dict.fromkeys(pair.medium for pair in pairs):
        here = [pair for pair in pairs if pair.medium == medium]
        tracks = [(pair.phrase, track) for pair in here for track in pair.tracks]
        absent = [pair.phrase for pair in here if not pair.tracks]
        extra = {ABSENT_PHRASES: absent} if absent else {}
        for frame in range(here[0].frames):
            masks = [
                Mask(rle, phrase, id=number)
                for number, (phrase, track) in enumerate(tracks, start=1)
                if (rle := track[frame]) is not None
            ]
            yield AnnotatedImage(
                file_name=here[0].files[frame], hw=here[0].hw, masks=Masks(masks),
                place=SequencePlace(medium, frame), extra=extra,
            )  # fmt: skip


def read_pair_results(
    path: Path, pairs: Sequence[ConceptPair], report: LossReport
) -> dict[str, tuple[list[MaskTrack], list[float]]]:
    """Read predicted tracks and scores by the id of the pair that they belong to.

    The file is a result list of COCO (`image_id`, `segmentation`, `score`) or of YouTube-VIS
    (`video_id`, `category_id`, `segmentations`, `score`), or a file in this layout, whose masks are
    matched by file name and phrase. Masks without a score have 1.
    """
    document = read_json(path)
    results: dict[str, tuple[list[MaskTrack], list[float]]] = {}
    if isinstance(document, dict):
        ids = {(pair.medium, pair.phrase): pair.id for pair in pairs}
        for prediction in read_pairs(path, report):
            with report.record(f"pair {prediction.id}"):
                concept = prediction.medium, prediction.phrase
                if concept not in ids:
                    raise DataError(f"The ground truth has no pair {concept}.")
                scores = [1.0 if score is None else score for score in prediction.scores]
                results[ids[concept]] = list(prediction.tracks), scores
        return results
    by_key = {pair.key: pair for pair in pairs}
    for number, row in enumerate(as_list(document, "the document")):
        with report.record(f"record {number}"):
            about = as_record(row, "record")
            keys = ("video_id", "category_id") if "video_id" in about else ("image_id",)
            key = tuple(str(about[name]) for name in keys)
            if key not in by_key:
                named = " and ".join(f"{name} {row[name]!r}" for name in keys)
                raise DataError(f"The ground truth has no pair with {named}.")
            pair = by_key[key]
            rows = about["segmentations"] if pair.is_video else [about["segmentation"]]
            track = as_track(rows, pair.hw, pair.frames)
            tracks, scores = results.setdefault(pair.id, ([], []))
            scores.append(as_number(about.get("score", 1.0), "score"))
            tracks.append(track)
    return results


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """Write one file with an entry for each phrase of an image, and for each absent phrase."""
    entries, rows, masks = list[dict[str, Any]](), list[dict[str, Any]](), list[Mask]()
    licence = only_license(policy)
    for image in images:
        report_unsupported_fields(report, image, IN_RECORDS, OF_RECORD, OF_IMAGE)
        report_unlabeled(report, image)
        labels = dict.fromkeys(mask.label or UNLABELED for mask in image.masks)
        absent = [str(text) for text in image.extra.get(ABSENT_PHRASES, ()) if text not in labels]
        partial, complete = (image.extra.get(key, ()) for key in PHRASES[1:])
        confirmed = {*complete, *absent} - {*partial}
        for phrase in dict.fromkeys([*labels, *absent]) or (None,):
            entry = held(licence | image_row(len(entries) + 1, image), ExceptKeys(*PHRASES))
            if phrase is not None:
                is_exhaustive = dict.fromkeys(_EXHAUSTIVE, int(phrase in confirmed))
                entry |= {PHRASE: phrase, "queried_category": ""} | is_exhaustive
            entries.append(entry)
            for mask in image.masks:
                if (mask.label or UNLABELED) == phrase:
                    row = written_extra(mask) | annotation_row(mask, len(entries), 1)
                    row["bbox"] = [
                        number / side
                        for number, side in zip(row["bbox"], image.hw[::-1] * 2, strict=True)
                    ]
                    row["area"] /= image.hw[0] * image.hw[1]
                    rows.append(row | {"id": len(rows) + 1})
                    masks.append(mask)
    document = held(document_facts([], {}, policy), ("info", "licenses"))
    document |= {"images": entries, "annotations": rows, "categories": [_CATEGORY]}
    report_dataset_fields(report, images, policy, (INFO, LICENSES))
    yield file_target(target), to_json(with_origins(document, masks))
