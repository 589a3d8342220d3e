"""What a predictor needs of a model, whatever runs it.

Letters: B images, S the model's input side, C channels, h w a feature map, N prompts, T the masks
that the decoder makes for a prompt, m the side of its low-resolution masks.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from anymask.primitives.spec import ModelSpec
from anymask.primitives.types import FloatArray, ModelPrompts


@runtime_checkable
class ImageRuntime(Protocol):
    """An image model that can be asked from any number of threads at once.

    spec          how the model sees a picture
    weights_hash  names the weights; equal hashes may read each other's embeddings
    """

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def weights_hash(self) -> str: ...

    def encode(self, images: FloatArray) -> list[tuple[FloatArray, ...]]:
        """(B, 3, S, S) float32, normalised -> for each image its maps, features (C, h, w) first."""
        ...

    def decode(
        self, features: tuple[FloatArray, ...], prompts: ModelPrompts
    ) -> tuple[FloatArray, FloatArray]:
        """The maps of one image and N prompts -> logits (N, T, m, m) and quality (N, T), float32.

        Every mask token is answered; `answers.choose` keeps the candidates.
        """
        ...
