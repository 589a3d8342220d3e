"""Packs of training sets: a recipe's sets in, one tar file out, and back.

Photos are recompressed, masks scaled with them. What must shrink shrinks in this order: the photos'
quality and side (`LEVELS`), then the number of photos of every set alike.

    SET/set.json, SET/masks.jsonl, SET/images/00000.avif, ...   as `data.sets` reads them
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import cv2
import numpy as np
from PIL import Image, features

from anymask.data.annotations import AnnotatedImage
from anymask.data.sets import INFO_FILE, MASKS_FILE, SetInfo
from anymask.primitives.errors import DataError, InputError
from anymask.primitives.rle import mask_to_rle, rle_to_mask, rle_to_string
from anymask.primitives.storage import whole_file
from anymask.primitives.types import BoolArray
from anymask.training.recipe import Recipe
from anymask.training.samples import training_sets

ENCODERS = 2  # threads; Pillow's encoders release the interpreter lock
TRIED = 60  # photos by which a level is judged before all are encoded
BLOCK = 64  # photos encoded before they are collected
MOST_BYTES = 64 * 10**9  # of a pack's files, unpacked
MOST_TIMES = 50  # as many bytes as the pack has; photos hardly shrink, lists of masks do
FREE_BYTES = 64 * 10**6  # of small packs
MOST_FILES = 2_000_000
UNPACKED = "data"  # folder of a pack's sets in a run's folder, followed by the pack's hash


@dataclass(frozen=True)
class Level:
    """How small a photo becomes: its long side in pixels, at most, and Pillow's quality."""

    side: int
    quality: int


LEVELS = (Level(480, 60), Level(480, 45), Level(384, 50), Level(384, 38))


@dataclass(frozen=True)
class Packed:
    """A photo and its masks as they go into the tar: the row without the picture's name."""

    photo: bytes
    row: dict[str, object]


@dataclass(frozen=True)
class Contents:
    """What a pack holds."""

    photos: int
    photos_in_all: int
    side: int


def pack(recipe: Recipe, data: Path, file: Path, max_bytes: int) -> Contents:
    """Write the recipe's sets into `file`, a .tar or .tar.gz of at most `max_bytes`.

    Raises InputError for another suffix or a limit that holds not even a photo of each set,
    DataError and ImageError for sets and photos that cannot be read.
    """
    mode: Literal["w", "w:gz"] = "w:gz" if file.suffix in (".gz", ".tgz") else "w"
    if mode == "w" and file.suffix != ".tar":
        raise InputError(f"--pack {file}: wanted a name that ends in .tar or .tar.gz")
    sets = training_sets(recipe, data)
    level = choose_level([one for _, samples in sets for one in samples], max_bytes)
    packed = [
        (info, [one for one in encoded(samples, level) if one.row["masks"]])
        for info, samples in sets
    ]
    part = 1.0
    while len(whole := tar_of(kept := thin_photos(packed, part, recipe.seed), mode)) > max_bytes:
        if all(len(photos) <= 1 for _, photos in kept):
            raise InputError(
                f"--max-mb {max_bytes / 1e6:g} is too little: one photo of each of {len(kept)} "
                f"sets takes {len(whole) / 1e6:.2f} MB; allow more, or name fewer sets"
            )
        part *= min(0.99, max_bytes / len(whole))
    with whole_file(file) as target:
        target.write(whole)
    in_all = sum(len(samples) for _, samples in sets)
    return Contents(sum(len(photos) for _, photos in kept), in_all, level.side)


def thin_photos(
    sets: list[tuple[SetInfo, list[Packed]]], part: float, seed: int
) -> list[tuple[SetInfo, list[Packed]]]:
    """A part of the photos of every set, at least one; a smaller part is a part of a larger one."""
    kept = []
    for number, (info, photos) in enumerate(sets):
        order = np.random.default_rng([seed, number]).permutation(len(photos))
        chosen = sorted(order[: max(1, int(part * len(order)))])
        kept.append((info, [photos[i] for i in chosen]))
    return kept


def choose_level(samples: list[AnnotatedImage], max_bytes: int) -> Level:
    """The first level at which all photos fit, judged by some of them; else the smallest."""
    some = samples[:: max(1, len(samples) // TRIED)]
    for level in LEVELS[:-1]:
        sizes = [len(one.photo) + len(json.dumps(one.row)) for one in encoded(some, level)]
        if sum(sizes) / len(some) * len(samples) <= 0.95 * max_bytes:
            return level
    return LEVELS[-1]


def encoded(samples: list[AnnotatedImage], level: Level) -> Iterator[Packed]:
    """The samples at one level, in order."""
    with ThreadPoolExecutor(ENCODERS) as pool:
        for start in range(0, len(samples), BLOCK):
            block = samples[start : start + BLOCK]
            yield from pool.map(lambda sample: encode(sample, level), block)


def encode(sample: AnnotatedImage, level: Level) -> Packed:
    """One photo at most `level.side` long; masks that vanish at this size are left out."""
    image = sample.image()
    h, w = image.shape[:2]
    scale = min(1.0, level.side / max(h, w))
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    buffer = io.BytesIO()
    Image.fromarray(small.astype(np.uint8, copy=False)).save(
        buffer, "AVIF" if _has_avif() else "WEBP", quality=level.quality
    )
    masks = []
    for one in sample.objects:
        mask = scaled(rle_to_mask(one.rle), size)
        if mask.any():
            row = {"rle": rle_to_string(mask_to_rle(mask)), "area": int(mask.sum())}
            masks.append(row if one.label is None else {**row, "label": one.label})
    return Packed(buffer.getvalue(), {"hw": [size[1], size[0]], "masks": masks})


def scaled(mask: BoolArray, size: tuple[int, int]) -> BoolArray:  # (H, W) -> (h, w)
    """A mask at another size (w, h): the cells of which more than half is covered."""
    if size == (mask.shape[1], mask.shape[0]):
        return mask
    covered = cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
    return np.asarray(covered > 127)


def tar_of(sets: list[tuple[SetInfo, list[Packed]]], mode: Literal["w", "w:gz"]) -> bytes:
    """The tar's bytes."""
    suffix = ".avif" if _has_avif() else ".webp"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for info, photos in sets:
            folder, lines = info.folder.name, []
            for number, one in enumerate(photos):
                name = f"images/{number:05}{suffix}"
                _add(archive, f"{folder}/{name}", one.photo)
                lines.append(json.dumps({"image": name, **one.row}))
            _add(archive, f"{folder}/{MASKS_FILE}", "\n".join(lines).encode())
            described = info.folder / INFO_FILE
            if described.is_file():
                _add(archive, f"{folder}/{INFO_FILE}", described.read_bytes())
    return buffer.getvalue()


def unpack(file: Path, folder: Path) -> Path:
    """The folder of sets of a pack, unpacked below `folder` unless it is there already.

    Raises DataError for a file that is no pack, or that holds anything but files below itself;
    InputError for one that unpacks to more than a pack can hold, by its headers, before it does.
    """
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
        target = folder / f"{UNPACKED}-{digest}"
        if target.is_dir():
            return target
        draft = target.with_name(f".{target.name}.part")
        shutil.rmtree(draft, ignore_errors=True)
        unpack_members(file, draft)
        draft.rename(target)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(
            f"{file}: not a file of `anymask train --pack` ({error}); write it anew"
        ) from error
    return target


def unpack_members(file: Path, draft: Path) -> None:
    """Write the files of a pack below a folder, which goes where they are too many or too large.

    Raises as `unpack` does, and what `tarfile` and its decoders raise.
    """
    left = min(MOST_BYTES, FREE_BYTES + MOST_TIMES * file.stat().st_size)
    with tarfile.open(file, "r:*") as archive:
        for number, member in enumerate(archive, start=1):
            place = draft / checked_name(member)
            left -= member.size
            if left < 0 or number > MOST_FILES:
                shutil.rmtree(draft, ignore_errors=True)
                raise too_large(file)
            place.parent.mkdir(parents=True, exist_ok=True)
            content = archive.extractfile(member)
            if content is not None:  # as long as its header says, or an error
                with place.open("wb") as target:
                    shutil.copyfileobj(content, target)


def too_large(file: Path) -> InputError:
    """What is said of a pack that unpacks to more than is allowed."""
    return InputError(
        f"{file}: wanted a pack that unpacks to at most {MOST_TIMES} times its size, "
        f"{MOST_BYTES // 10**9} GB and {MOST_FILES} files, its headers say more; write it anew "
        "with `anymask train --pack`"
    )


def checked_name(member: tarfile.TarInfo) -> PurePosixPath:
    """Where a member goes, below the folder. Raises DataError for all but SET/... files."""
    name = PurePosixPath(member.name)
    if not member.isfile() or name.is_absolute() or ".." in name.parts or len(name.parts) < 2:
        raise DataError(
            f"wanted files SET/..., the pack has a member {member.name[:60]!r}; write it anew "
            "with `anymask train --pack`"
        )
    return name


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _has_avif() -> bool:
    return bool(features.check("avif"))
