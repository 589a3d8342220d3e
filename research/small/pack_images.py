"""Training sets made small enough to be carried to a machine with a GPU.

    python -m research.small.pack_images ../shared/data/train PLACE --first 22

Photos become AVIF of at most 480 pixels a side (400 where a photo shows one thing), masks stay the
run-lengths that they are, 40 of a photo at most. All photos are shuffled and go into two pairs of
files, `a.bin` (the bytes of the photos, behind each other) and `a.json.xz` (a line of facts each),
then `b`: a first part, to try the machine with, and the rest.
"""

from __future__ import annotations

import argparse
import io
import json
import lzma
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from anymask.base import DataError

SIDE, FEW_SIDE = 480, 400  # pixels of a photo's longest side at most
QUALITY, FEW_QUALITY = 46, 42  # of AVIF
MAX_MASKS, MIN_AREA = 40, 48  # of a photo; pixels of a mask in the set's own photo
FEW_OBJECTS = (
    "accelerator", "building_facade", "caltech", "class5", "coco_person", "dog_cat", "fire_trucks",
    "pets",
)  # fmt: skip


@dataclass(frozen=True)
class PackedImage:
    """A photo of a set.

    Attributes:
        hw: Size of the masks in the dataset.
        size: Size of the image file in bytes.
        masks: Compressed COCO run-lengths.
    """

    set: str
    hw: tuple[int, int]
    size: int
    masks: tuple[str, ...]


def read_images(place: Path, part: str) -> list[PackedImage]:
    """The facts of a part, in the order of its bytes."""
    rows = json.loads(lzma.decompress((place / f"{part}.json.xz").read_bytes()))
    return [PackedImage(name, tuple(hw), size, tuple(masks)) for name, hw, size, masks in rows]


def _rows(data: Path) -> Iterator[tuple[Path, dict[str, object]]]:
    """Photos with masks, of the sets whose weights may ship."""
    for info in sorted(data.glob("*/set.json")):
        if not json.loads(info.read_text()).get("ships"):
            continue
        for line in (info.parent / "masks.jsonl").read_text().splitlines():
            row = json.loads(line)
            if row["masks"]:
                yield info.parent, row


def _encoded(path: Path) -> bytes:
    """One photo as AVIF."""
    few = path.parent.parent.name.startswith(FEW_OBJECTS)
    side = FEW_SIDE if few else SIDE
    with Image.open(path) as pixels:
        image = pixels.convert("RGB")
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "AVIF", quality=FEW_QUALITY if few else QUALITY, speed=8)
    return buffer.getvalue()


def _kept(masks: object, chance: random.Random) -> list[str]:
    """Run-lengths of masks that are large enough, some of them where they are many."""
    assert isinstance(masks, list)
    large = [one["rle"] for one in masks if one["area"] >= MIN_AREA]
    return large if len(large) <= MAX_MASKS else chance.sample(large, MAX_MASKS)


def pack(data: Path, place: Path, first: float) -> None:
    """Write both parts; `first` is the size of the first one's photos in MB. Raises DataError."""
    rows = list(_rows(data))
    if not rows:
        raise DataError(f"{data}: wanted folders with set.json and masks.jsonl, found none")
    random.Random(3).shuffle(rows)
    chance = random.Random(4)
    with ProcessPoolExecutor() as pool:
        images = list(pool.map(_encoded, [f / str(r["image"]) for f, r in rows], chunksize=32))
    cut, size = 0, 0
    while cut < len(images) and size < first * 1e6:
        size += len(images[cut])
        cut += 1
    place.mkdir(parents=True, exist_ok=True)
    for part, span in (("a", slice(0, cut)), ("b", slice(cut, None))):
        facts = [
            (folder.name, row["hw"], len(image), _kept(row["masks"], chance))
            for (folder, row), image in zip(rows[span], images[span], strict=True)
        ]
        (place / f"{part}.json.xz").write_bytes(lzma.compress(json.dumps(facts).encode()))
        (place / f"{part}.bin").write_bytes(b"".join(images[span]))
        print(f"{part}: {len(facts)} photos, {sum(map(len, images[span])) / 1e6:.1f} MB")


def main() -> None:
    """Read the words and pack."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("data", type=Path, help="a folder of sets")
    parser.add_argument("place", type=Path, help="folder of the files")
    parser.add_argument("--first", type=float, default=22.0, help="MB of photos in the first part")
    args = parser.parse_args()
    pack(args.data, args.place, args.first)


if __name__ == "__main__":
    main()
