"""Converts the colours of an image with an ICC profile to sRGB, as viewers show them.

Display P3 (phones), Adobe RGB (cameras) and CMYK (print) state in a profile what their numbers
mean. Everything that is written is sRGB without a profile, so colours are converted on reading. An
image without a profile, or with one of sRGB, keeps every byte.
"""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image

_MODES = {"RGB ": "RGB", "CMYK": "CMYK", "GRAY": "L"}  # of ICC.1, and Pillow's
ToSrgb = Callable[[Image.Image], Image.Image]


def to_srgb(picture: Image.Image) -> ToSrgb | None:
    """What converts parts of an image to sRGB (mode RGB); None where nothing is to be converted.

    A profile that is damaged, or of another colour space than the pixels, is left out of account,
    as browsers do.
    """
    profile = picture.info.get("icc_profile")
    if not isinstance(profile, bytes) or not profile:
        return None
    try:
        from PIL import ImageCms

        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return None
        mode = _MODES[source.profile.xcolor_space]
        if (mode == "CMYK") != (picture.mode == "CMYK") or (
            (mode == "L") != (picture.mode in ("1", "L", "LA", "La"))
        ):
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except Exception:  # LittleCMS and its wrapper raise almost anything on damaged profiles
        return None

    def convert(part: Image.Image) -> Image.Image:
        plain = part if part.mode == mode else part.convert(mode)
        return ImageCms.applyTransform(plain, transform) or plain

    return convert
