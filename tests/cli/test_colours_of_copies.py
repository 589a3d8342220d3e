"""Cut-outs and redactions have the colours that viewers show for the original.

The oracles are ImageCms for profiles, and 65535 as white for 16 bits.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from anymask.cli.main import main
from tests.images.test_profiles import apart, cmyk_profile, matrix_profile, right_of, scene

BOX = (50, 40, 100, 80)


def colors() -> np.ndarray:
    """A smooth scene with a plain object, so that every model finds the object."""
    image = cv2.GaussianBlur(scene(), (0, 0), 6)
    image[BOX[1] : BOX[3], BOX[0] : BOX[2]] = (208, 57, 21)
    return image


def eight_bits(path: Path, name: str) -> np.ndarray:
    profile = matrix_profile(name)
    more = {"quality": 98, "subsampling": 0} if path.suffix == ".jpg" else {}
    Image.fromarray(colors()).save(path, icc_profile=profile, **more)
    with Image.open(path) as stored:
        return right_of(stored.convert("RGB"), profile)


def cmyk(path: Path, _: str) -> np.ndarray:
    profile, image = cmyk_profile(), Image.fromarray(colors()).convert("CMYK")
    image.save(path, icc_profile=profile)
    with Image.open(path) as stored:
        return right_of(stored, profile)


def deep(channels: int = 3, low: int = 3000, step: int = 200) -> np.ndarray:
    """Neither black nor white is reached, so that a stretch would show."""
    pixels = colors().astype(np.uint16) * step + low
    opaque = np.full((*pixels.shape[:2], 1), 65535, np.uint16)
    return pixels if channels == 3 else np.concatenate([pixels, opaque], axis=2)


def deep_tiff(path: Path, how: str) -> np.ndarray:
    """A TIFF by tifffile, of a kind that Pillow opens, or of one that it does not."""
    channels = 4 if "RGBA" in how else 3
    pixels = deep(channels)
    right = (pixels[..., :3] / 257).round().astype(np.uint8)
    tags = []
    if "P3" in how:
        profile = matrix_profile("Display P3")
        tags = [(34675, 7, len(profile), profile, True)]
        right = right_of(Image.fromarray(right), profile)
    planar = "separate" if "planar" in how else "contig"
    tifffile.imwrite(
        path, np.moveaxis(pixels, -1, 0) if planar == "separate" else pixels, photometric="rgb",
        planarconfig=planar, compression="zlib" if "zlib" in how else None, extratags=tags,
        bigtiff="big" in how, extrasamples=[2] if channels == 4 else None,
    )  # fmt: skip
    return right


def deep_png(path: Path, how: str) -> np.ndarray:
    channels = 4 if "RGBA" in how else 3
    pixels = deep(channels)
    data = cv2.imencode(".png", pixels[..., [2, 1, 0, 3][:channels]])[1].tobytes()
    profile, buffer = matrix_profile("Adobe RGB"), io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG", icc_profile=profile)
    small = buffer.getvalue()
    begin = small.index(b"iCCP") - 4
    (size,) = struct.unpack_from(">I", small, begin)
    path.write_bytes(data[:33] + small[begin : begin + 12 + size] + data[33:])
    return right_of(Image.fromarray((pixels[..., :3] / 257).round().astype(np.uint8)), profile)


CASES = {
    "p3.jpg": (eight_bits, "Display P3"),
    "p3.png": (eight_bits, "Display P3"),
    "adobe.tif": (eight_bits, "Adobe RGB"),
    "adobe.webp": (eight_bits, "Adobe RGB"),
    "inks.jpg": (cmyk, ""),
    "inks.tif": (cmyk, ""),
    "deep.tif": (deep_tiff, "RGB"),
    "alpha.tif": (deep_tiff, "RGBA zlib"),
    "planar.tif": (deep_tiff, "RGB planar"),
    "big.tif": (deep_tiff, "RGBA big"),
    "p3.tif": (deep_tiff, "RGB P3 zlib"),
    "planes.tif": (deep_tiff, "RGB P3 planar"),
    "deep.png": (deep_png, "RGB"),
    "alpha.png": (deep_png, "RGBA"),
}


@pytest.fixture(params=CASES)
def photo(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, np.ndarray]:
    write, how = CASES[request.param]
    path = tmp_path / request.param
    return path, write(path, how)


def shown(path: Path) -> np.ndarray:
    """As a viewer that knows profiles shows it."""
    with Image.open(path) as image:
        profile = image.info.get("icc_profile")
        pixels = image.convert("RGB")
        return np.asarray(pixels) if profile is None else right_of(pixels, profile)


def outside() -> np.ndarray:
    kept = np.ones(scene().shape[:2], np.bool_)
    kept[BOX[1] - 12 : BOX[3] + 12, BOX[0] - 12 : BOX[2] + 12] = False
    return kept


def around() -> str:
    return ",".join(map(str, BOX))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_redaction_changes_no_colour_elsewhere(
    photo: tuple[Path, np.ndarray], suffix: str
) -> None:
    path, right = photo
    mask = np.zeros(right.shape[:2], np.uint8)
    mask[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 255
    Image.fromarray(mask).save(path.with_name("mask.png"))
    redacted = path.with_name(f"redacted{suffix}")
    labels = str(path.with_name("mask.png"))
    assert main(["redact", str(path), "--labels", labels, "-o", str(redacted)]) == 0
    assert apart(shown(redacted)[outside()][None], right[outside()][None]) <= 1


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_a_cutout_has_the_object_s_colours(photo: tuple[Path, np.ndarray], suffix: str) -> None:
    path, right = photo
    made = path.with_name(f"cut{suffix}")
    words = ["cutout", str(path), "--model", "nano", "--box", around(), "-o", str(made)]
    assert main(words) == 0
    with Image.open(made) as image:
        alpha = np.asarray(image.getchannel("A"))
    solid = cv2.erode((alpha == 255).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert solid.sum() > 800
    assert apart(shown(made)[solid][None], right[solid][None]) <= 1


def test_numbers_of_a_sensor_are_still_stretched(tmp_path: Path) -> None:
    """Below an eighth of white, and on a map, where 10000 is bright."""
    from anymask.images import load_image

    dim = (deep() // 16).astype(np.uint16)
    tifffile.imwrite(tmp_path / "dim.tif", dim, photometric="rgb")
    assert load_image(tmp_path / "dim.tif").max() == 255
    scale = [(33550, 12, 3, (0.5, 0.5, 0.0), True)]
    tifffile.imwrite(tmp_path / "map.tif", deep() // 3, photometric="rgb", extratags=scale)
    assert load_image(tmp_path / "map.tif").max() == 255
