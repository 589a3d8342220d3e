"""Encode images, and keep the last of them, so that the next prompt on an image only decodes.

Letters: H W the image.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace

import numpy as np

from anymask.base import InputError, RecentValues, UintImage, brief
from anymask.masks import Features, ModelSpec, Picture, geometry, image_to_model
from anymask.runtime import ImageRuntime
from anymask.segment.postprocess import photo_for_edges

CACHE_MEGABYTES = "ANYMASK_CACHE_MEGABYTES"  # environment variable
DEFAULT_MEGABYTES = 256


def encode_image(
    runtime: ImageRuntime,
    image: UintImage,
    *,
    mirror: bool = False,
    recent: EmbeddingCache | None = None,
) -> Features:  # (H, W, 3)
    """Encode one image, and optionally its mirror image, or take them from a cache."""
    if recent is None:
        features = _encode(runtime, image, image_hash(image))
    else:
        features = recent.encode(runtime, image).embedding
    return with_mirror_image(features, runtime, image, recent) if mirror else features


def with_mirror_image(
    features: Features, runtime: ImageRuntime, image: UintImage, recent: EmbeddingCache | None
) -> Features:
    """Add the encoded mirror image of an image (H, W, 3)."""
    turned = np.ascontiguousarray(image[:, ::-1])
    return replace(features, mirrored=encode_image(runtime, turned, recent=recent).seen)


def _encode(runtime: ImageRuntime, image: UintImage, pixels: str) -> Features:
    spec = runtime.spec
    return Features(
        seen=runtime.encode_images(image_to_model(image, spec)[None])[0],
        geometry=geometry((image.shape[0], image.shape[1]), spec),
        model=spec.name,
        model_hash=runtime.weights_hash,
        image_hash=pixels,
    )


def image_hash(image: UintImage) -> str:
    """Hash of the pixels and the shape: 32 hexadecimal digits of a SHA-256."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()[:32]


@brief
@dataclass(frozen=True)
class EncodedPhoto:
    """Embedding of an image, optionally with the image.

    Attributes:
        embedding: Embedding of the image.
        photo: Image (H, W, 3), possibly smaller than the image of the embedding.
        picture: Reference to the image, stored in predictions.
        recent: Cache for crops of the image.
    """

    embedding: Features
    photo: UintImage | None = None
    picture: Picture | None = None
    recent: EmbeddingCache | None = None

    @property
    def nbytes(self) -> int:
        """Size of features and pixels in bytes."""
        return self.embedding.nbytes + (0 if self.photo is None else self.photo.nbytes)


class EmbeddingCache(RecentValues[tuple[ModelSpec, str, str], EncodedPhoto]):
    """Cache of encoded images, with the pixels for edge refinement. Threads can share it.

    The key is a hash of the pixels, so an array that was changed is another image.

    Args:
        memory_bytes: Maximum size of features and pixels.
    """

    def __init__(self, memory_bytes: int) -> None:
        super().__init__(memory_bytes, lambda seen: seen.nbytes)

    def get(self, runtime: ImageRuntime, pixels: str) -> EncodedPhoto | None:
        """Return an encoded image by the hash of its pixels, or None."""
        return self.recall((runtime.spec, runtime.weights_hash, pixels))

    def encode(
        self, runtime: ImageRuntime, image: UintImage, georeferenced: bool = False
    ) -> EncodedPhoto:  # (H, W, 3)
        """Return an encoded image, and encode it first if it is not stored.

        Once marked as georeferenced, it stays so.
        """
        pixels = image_hash(image)
        seen = self.get(runtime, pixels)
        if seen is None:
            features = _encode(runtime, image, pixels)
            photo = None  # edges are refined on RGB images only
            if runtime.spec.channels is None:
                photo = np.array(photo_for_edges(image, features.geometry))  # may be `image`
            seen = EncodedPhoto(features, photo)
        if georeferenced:
            seen = replace(seen, embedding=replace(seen.embedding, georeferenced=True))
        self.keep((runtime.spec, runtime.weights_hash, pixels), seen)
        return seen


def default_cache() -> EmbeddingCache | None:
    """Create the cache of a model, or None if the environment variable is 0.

    Raises InputError if the environment variable is invalid.
    """
    text = os.environ.get(CACHE_MEGABYTES, "")
    try:
        megabytes = float(text or DEFAULT_MEGABYTES)
        if not 0 <= megabytes < 1e12:
            raise ValueError
    except ValueError:
        raise InputError(
            f"{CACHE_MEGABYTES} must be a number of megabytes of at least 0, got {text!r}."
        ) from None
    return EmbeddingCache(int(megabytes * 1e6)) if megabytes else None
