"""Export of tracks: what was accepted of a project's clips in, annotated frames and files out.

A frame is called CLIP/FRAME.jpg, an object's number is its group, so that every format of clips
(SA-V, MOTS, YouTube-VIS) has its objects through time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from anymask.data.annotations import AnnotatedImage, AnnotatedMask, SequencePlace
from anymask.data.formats import write_annotations
from anymask.engine.entries import Status
from anymask.engine.track_entries import ClipEntry
from anymask.engine.tracks import Tracks
from anymask.primitives.errors import InputError
from anymask.primitives.rle import Rle, rle_area


def clip_images(
    tracks: Tracks, clip: ClipEntry, statuses: Sequence[Status] = ("accepted",)
) -> list[AnnotatedImage]:
    """The frames of a clip from the first to the last that any of its tracks has."""
    found: dict[int, list[tuple[int, str | None, Rle]]] = {}
    for track in tracks.tracks(clip.id):
        if track.status in statuses:
            for mask in tracks.masks(track.id):
                found.setdefault(mask.frame, []).append((track.object, track.label, mask.rle))
    if not found:
        return []
    folder = PurePosixPath(clip.name).with_suffix("").as_posix()
    return [
        AnnotatedImage(
            file_name=f"{folder}/{frame:05d}.jpg",
            hw=clip.hw,
            masks=tuple(
                AnnotatedMask(rle, label, group=number)
                for number, label, rle in found.get(frame, [])
                if rle_area(rle)
            ),
            place=SequencePlace(folder, frame),
        )
        for frame in range(min(found), max(found) + 1)
    ]


def export_tracks(
    tracks: Tracks, target: Path, name: str, statuses: Sequence[Status] = ("accepted",)
) -> list[str]:
    """Write the tracks of all clips; what was written, and what the format could not keep.

    Raises InputError where there is none, or for an unknown format; DataError.
    """
    images = [image for clip in tracks.clips() for image in clip_images(tracks, clip, statuses)]
    if not images:
        raise InputError(
            f"no track is {' or '.join(statuses)}; look at them first, or export proposals too"
        )
    report = write_annotations(images, target, name)
    masks = sum(len(image.masks) for image in images)
    return [f"{masks} masks on {len(images)} frames", *report.lines()]
