"""Encoding of a video's frames: a frame in, what an image model sees of it at a chosen side out.

A model that takes rectangles (`ModelSpec.pad_multiple`) fills its maps with what it makes of a
blank picture. A frame that is shrunk fills a smaller part of the maps, and the rest is filled
alike, so that the decoder sees a frame with much padding: time falls with the area.

Letters: S the model's input side, H W a frame, h w a map.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from anymask.predictors.image import Model
from anymask.predictors.pipeline import image_hash
from anymask.primitives.errors import InputError
from anymask.primitives.resize import geometry, image_to_model
from anymask.primitives.types import Embedding, FeatureMap, FloatArray, SeenMaps, UintImage

BLANK_SIDE = 64  # of the picture of nothing but padding


class FrameEncoder:
    """What a model sees of frames.

    side  of a frame's longer side in the model's space, a multiple of `ModelSpec.pad_multiple`; S
          where it is larger, or where the model takes squares alone

    Raises InputError for a side that no map of the model fits.
    """

    def __init__(self, model: Model, side: int) -> None:
        whole, step = model.spec.image_side, model.spec.pad_multiple
        if step and (side < step or (side < whole and side % step)):
            raise InputError(
                f"side must be a multiple of {step} from {step} to {whole} for {model.name}, got "
                f"{side}; take {min(whole, max(step, round(side / step) * step))}"
            )
        self.model, self.side = model, min(side, whole) if step else whole
        self._filling: list[FloatArray] | None = None

    def see(self, image: UintImage) -> Embedding:
        """Look at a frame (H, W, 3). Raises ImageError for what is no picture."""
        runtime, spec = self.model.runtime, self.model.spec
        small = replace(spec, image_side=self.side)
        where = geometry((image.shape[0], image.shape[1]), small)
        seen = runtime.see(image_to_model(image, small)[None])[0]
        if self.side < spec.image_side:
            seen = SeenMaps(tuple(map(self._filled, seen.maps(), self._blank())))
        return Embedding(
            seen=seen,
            geometry=replace(where, side=spec.image_side),
            model=spec.name,
            model_hash=runtime.weights_hash,
            image_hash=image_hash(image),
        )

    def _filled(self, one: FeatureMap, blank: FloatArray) -> FeatureMap:  # (C, h, w), (C,)
        """A map of the whole square."""
        filled = one.values.shape[-1]
        whole = filled * self.model.spec.image_side // self.side
        values = np.empty((len(one.values), whole, whole), np.float32)
        values[:] = blank[:, None, None]
        values[:, :filled, :filled] = one.values
        return FeatureMap(one.name, values)

    def _blank(self) -> list[FloatArray]:
        """The mean of each map of a blank picture, (C,)."""
        if self._filling is None:
            empty = np.zeros((1, 3, BLANK_SIDE, BLANK_SIDE), np.float32)
            maps = self.model.runtime.see(empty)[0].maps()
            self._filling = [one.values.mean(axis=(1, 2)) for one in maps]
        return self._filling
