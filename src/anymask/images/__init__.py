"""Reading pictures of any kind: paths, addresses, arrays, stacks, bands and channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anymask.base import lazy_names

if TYPE_CHECKING:
    from anymask.images.channels import (
        load_channels,
        load_for_mix,
        load_for_model,
        load_mixed,
        read_values,
        shown_picture,
    )
    from anymask.images.decoding import (
        PictureView,
        Ranges,
        array_to_image,
        check_size,
        open_picture,
        strips,
        value_range,
    )
    from anymask.images.deep_pictures import needs_tifffile
    from anymask.images.fingerprints import fingerprint, first_alike
    from anymask.images.load import (
        SUFFIXES,
        VIDEO_SUFFIXES,
        ImageSource,
        fetch_picture,
        find_images,
        image_hw,
        is_address,
        load_image,
        load_mask,
    )
    from anymask.images.planes import (
        TIFF,
        PixelSize,
        count_pages,
        load_page,
        load_plane,
        page_as_png,
        page_times,
        read_pages,
        read_planes,
    )
    from anymask.images.sources import SAMPLES, PictureFile, list_photos, picture_of, sample

__all__ = [
    "SAMPLES",
    "SUFFIXES",
    "TIFF",
    "VIDEO_SUFFIXES",
    "ImageSource",
    "PictureFile",
    "PictureView",
    "PixelSize",
    "Ranges",
    "array_to_image",
    "check_size",
    "count_pages",
    "fetch_picture",
    "find_images",
    "fingerprint",
    "first_alike",
    "image_hw",
    "is_address",
    "list_photos",
    "load_channels",
    "load_for_mix",
    "load_for_model",
    "load_image",
    "load_mask",
    "load_mixed",
    "load_page",
    "load_plane",
    "needs_tifffile",
    "open_picture",
    "page_as_png",
    "page_times",
    "picture_of",
    "read_pages",
    "read_planes",
    "read_values",
    "sample",
    "shown_picture",
    "strips",
    "value_range",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "channels": (
                "load_channels",
                "load_for_mix",
                "load_for_model",
                "load_mixed",
                "read_values",
                "shown_picture",
            ),
            "decoding": (
                "PictureView",
                "Ranges",
                "array_to_image",
                "check_size",
                "open_picture",
                "strips",
                "value_range",
            ),
            "deep_pictures": ("needs_tifffile",),
            "fingerprints": (
                "fingerprint",
                "first_alike",
            ),
            "load": (
                "ImageSource",
                "SUFFIXES",
                "VIDEO_SUFFIXES",
                "fetch_picture",
                "find_images",
                "image_hw",
                "is_address",
                "load_image",
                "load_mask",
            ),
            "planes": (
                "PixelSize",
                "TIFF",
                "count_pages",
                "load_page",
                "load_plane",
                "page_as_png",
                "page_times",
                "read_pages",
                "read_planes",
            ),
            "sources": (
                "PictureFile",
                "SAMPLES",
                "list_photos",
                "picture_of",
                "sample",
            ),
        },
    )
