"""Images with a colour profile are read as sRGB, as Pillow's ImageCms converts them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage.color import deltaE_ciede2000, rgb2lab

from anymask.images import load_image

D50 = (0.9642, 1.0, 0.8249)
PRIMARIES = {  # red, green and blue in XYZ under D50
    "Display P3": ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)),
    "Adobe RGB": ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)),
}


def fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def icc(space: bytes, kind: bytes, name: str, tags: dict[bytes, bytes]) -> bytes:
    """A profile by hand (ICC.1:2001-04): header, table of tags, tags."""
    told = name.encode() + b"\0"
    text = b"desc" + bytes(4) + struct.pack(">I", len(told)) + told + bytes(4 + 4 + 2 + 1 + 67)
    tags = {b"desc": text, b"cprt": b"text" + bytes(4) + b"none\0", **tags}
    table, body = b"", b""
    for tag, data in tags.items():
        place = 128 + 4 + 12 * len(tags) + len(body)
        table += tag + struct.pack(">II", place, len(data))
        body += data + bytes(-len(data) % 4)
    size = 128 + 4 + len(table) + len(body)
    connection = b"Lab " if space == b"CMYK" else b"XYZ "
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02100000, kind, space, connection)
    head += bytes(12) + b"acsp" + bytes(28) + b"".join(map(fixed, D50)) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body


def matrix_profile(name: str) -> bytes:
    def xyz(values: tuple[float, float, float]) -> bytes:
        return b"XYZ " + bytes(4) + b"".join(map(fixed, values))

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.2 * 256))
    tags = {b"wtpt": xyz(D50)}
    for letter, primary in zip(b"rgb", PRIMARIES[name], strict=True):
        tags |= {bytes([letter]) + b"XYZ": xyz(primary), bytes([letter]) + b"TRC": curve}
    return icc(b"RGB ", b"mntr", name, tags)


def cmyk_profile() -> bytes:
    """Lab of the sixteen corners of inks; between them it is interpolated."""
    ramp = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    lut += b"".join(fixed(value) for value in (1, 0, 0, 0, 1, 0, 0, 0, 1)) + ramp * 4
    for corner in range(16):
        cyan, magenta, yellow, key = (corner >> 3 & 1, corner >> 2 & 1, corner >> 1 & 1, corner & 1)
        light = (
            95 * (1 - 0.35 * cyan) * (1 - 0.45 * magenta) * (1 - 0.08 * yellow) * (1 - 0.8 * key)
        )
        a = (-35 * cyan + 70 * magenta - 5 * yellow) * (1 - key)
        b = (-45 * cyan - 5 * magenta + 85 * yellow) * (1 - key)
        lut += bytes([round(light * 2.55), round(a + 128), round(b + 128)])
    return icc(b"CMYK", b"prtr", "inks", {b"A2B0": lut + ramp * 3})


def scene() -> np.ndarray:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC)


def right_of(image: Image.Image, profile: bytes) -> np.ndarray:
    shown = ImageCms.profileToProfile(
        image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert shown is not None
    return np.asarray(shown)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(deltaE_ciede2000(rgb2lab(one), rgb2lab(other)).mean())


def write(path: Path, kind: str) -> np.ndarray:
    """A file with a profile; what it shows in sRGB."""
    if kind == "CMYK":
        profile, image = cmyk_profile(), Image.fromarray(scene()).convert("CMYK")
    else:
        profile, image = matrix_profile(kind), Image.fromarray(scene())
    image.save(path, icc_profile=profile, **({"quality": 95} if path.suffix == ".jpg" else {}))
    stored = Image.open(path)
    return right_of(stored.convert(image.mode), profile)


CASES = [(kind, suffix) for kind in PRIMARIES for suffix in (".png", ".jpg", ".tif", ".webp")]
CASES += [("CMYK", ".jpg"), ("CMYK", ".tif")]


@pytest.mark.parametrize(("kind", "suffix"), CASES)
def test_colours_are_those_that_viewers_show(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    right = write(path, kind)
    found = load_image(path)
    assert apart(found, right) < 0.1
    assert apart(np.asarray(Image.open(path).convert("RGB")), right) > 1  # without the profile


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("profile", [None, "Display P3"])
def test_sixteen_bits_keep_their_colours(
    tmp_path: Path, channels: int, profile: str | None
) -> None:
    deep = scene().astype(np.uint16) * 200 + 3000  # neither black nor white is reached
    pixels = deep if channels == 3 else np.dstack([deep, np.full(deep.shape[:2], 65535, np.uint16)])
    order = [2, 1, 0, 3][:channels]
    data = cv2.imencode(".png", pixels[..., order])[1].tobytes()
    right = (deep / 257).round().astype(np.uint8)
    if profile is not None:
        held = matrix_profile(profile)
        buffer = io.BytesIO()
        Image.new("RGB", (1, 1)).save(buffer, "PNG", icc_profile=held)
        small = buffer.getvalue()
        begin = small.index(b"iCCP") - 4
        (size,) = struct.unpack_from(">I", small, begin)
        data = data[:33] + small[begin : begin + 12 + size] + data[33:]  # behind IHDR
        right = right_of(Image.fromarray(right), held)
    (tmp_path / "a.png").write_bytes(data)
    assert apart(load_image(tmp_path / "a.png"), right) < 0.5


def test_without_a_profile_or_with_srgb_every_byte_stays(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name, more in (("plain", {}), ("srgb", {"icc_profile": srgb})):
        Image.fromarray(scene()).save(tmp_path / f"{name}.png", **more)
        np.testing.assert_array_equal(load_image(tmp_path / f"{name}.png"), scene())


@pytest.mark.parametrize("profile", [b"no profile", bytes(200), matrix_profile("Adobe RGB")[:150]])
def test_a_damaged_profile_is_left_out_of_account(tmp_path: Path, profile: bytes) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.png", icc_profile=profile)
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), scene())
