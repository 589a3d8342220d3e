"""Tiny data sets of mask pictures in folders, and of videos; see `published.py`."""

from pathlib import Path

import numpy as np

from tests.formats.truth import (
    DOT,
    HW,
    RING,
    TWO_PARTS,
    Truth,
    coco_rle,
    photo,
    plain_counts,
    png,
    write_json,
)

# Videos.


def write_davis(root: Path) -> list[Truth]:
    values = (RING * 1 + TWO_PARTS * 2).astype(np.uint8)
    values[DOT] = 255
    found = []
    for index, moved in enumerate((0, 3)):
        name = f"480p/bear/{index:05d}"
        photo(root / "JPEGImages" / f"{name}.jpg")
        frame = np.roll(values, moved, axis=0)
        png(root / "Annotations" / f"{name}.png", frame, palette=True)
        masks = [(frame == 1, None), (frame == 2, None)]
        found.append(Truth(f"JPEGImages/{name}.jpg", masks, frame == 255))
    for year in ("2016", "2017"):
        listed = root / "ImageSets" / year / "val.txt"
        listed.parent.mkdir(parents=True)
        listed.write_text("bear\n")
    return found


def write_davis_2016(root: Path) -> list[Truth]:
    found = []
    for index, mask in enumerate((RING, TWO_PARTS)):
        name = f"480p/blackswan/{index:05d}"
        photo(root / "JPEGImages" / f"{name}.jpg")
        png(root / "Annotations" / f"{name}.png", (mask * 255).astype(np.uint8))
        found.append(Truth(f"JPEGImages/{name}.jpg", [(mask, None)]))
    rows = [
        f"/JPEGImages/480p/blackswan/{n:05d}.jpg /Annotations/480p/blackswan/{n:05d}.png"
        for n in (0, 1)
    ]
    listed = root / "ImageSets" / "480p" / "val.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text("\n".join(rows) + "\n")
    return found


def write_youtube_vos(root: Path) -> list[Truth]:
    for name in ("00000", "00005"):
        photo(root / "valid" / "JPEGImages" / "0a49f5265b" / f"{name}.jpg")
    values = (RING * 1 + TWO_PARTS * 2).astype(np.uint8)
    png(root / "valid" / "Annotations" / "0a49f5265b" / "00000.png", values, palette=True)
    objects = {"1": {"category": "ape", "frames": ["00000"]}, "2": {"frames": ["00000"]}}
    write_json(root / "valid" / "meta.json", {"videos": {"0a49f5265b": {"objects": objects}}})
    masks = [(RING, "ape"), (TWO_PARTS, None)]
    return [Truth("valid/JPEGImages/0a49f5265b/00000.jpg", masks)]


def write_mose(root: Path) -> list[Truth]:
    found = []
    for index, moved in enumerate((0, 3)):
        name = f"0a1b2c3d/{index:05d}"
        photo(root / "valid" / "JPEGImages" / f"{name}.jpg")
        frame = np.roll((RING * 1 + TWO_PARTS * 2).astype(np.uint8), moved, axis=0)
        png(root / "valid" / "Annotations" / f"{name}.png", frame, palette=True)
        masks = [(frame == 1, None), (frame == 2, None)]
        found.append(Truth(f"valid/JPEGImages/{name}.jpg", masks))
    return found


def write_sav(root: Path) -> list[Truth]:
    """Two objects that overlap, the second one hidden on the later annotated frame."""
    top, found = root / "sav_val", []
    for index in range(5):
        photo(top / "JPEGImages_24fps" / "sav_000001" / f"{index:05d}.jpg")
    for index, second in ((0, TWO_PARTS), (4, np.zeros_like(RING))):
        masks = {"000": np.ones_like(RING), "001": second}
        for number, mask in masks.items():
            path = top / "Annotations_6fps" / "sav_000001" / number / f"{index:05d}.png"
            png(path, (mask * 255).astype(np.uint8))
        seen = [(mask, None) for mask in masks.values() if mask.any()]
        found.append(Truth(f"sav_val/JPEGImages_24fps/sav_000001/{index:05d}.jpg", seen))
    (top / "sav_val.txt").write_text("sav_000001\n")
    return found


def write_ovis(root: Path) -> list[Truth]:
    names = [f"001ca3cb/img_000000{n}.jpg" for n in (1, 2)]
    for name in names:
        photo(root / "train" / name)
    sizes = {"id": 1, "height": HW[0], "width": HW[1], "length": 2, "file_names": names}
    tracks = [
        {"id": 1, "video_id": 1, "category_id": 2, "segmentations": [plain_counts(RING), None]},
        {"id": 2, "video_id": 1, "category_id": 1,
         "segmentations": [plain_counts(DOT), coco_rle(TWO_PARTS)]},
    ]  # fmt: skip
    categories = [{"id": 1, "name": "Person"}, {"id": 2, "name": "Bird"}]
    document = {"videos": [sizes], "annotations": tracks, "categories": categories}
    write_json(root / "annotations_train.json", document)
    return [
        Truth(f"train/{names[0]}", [(RING, "Bird"), (DOT, "Person")]),
        Truth(f"train/{names[1]}", [(TWO_PARTS, "Person")]),
    ]
