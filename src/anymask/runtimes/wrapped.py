"""A runtime around another one, for those that change when or how often it is asked."""

from __future__ import annotations

from anymask.primitives.spec import ModelSpec
from anymask.runtimes.protocol import ImageRuntime


class WrappedRuntime:
    """The same model as the runtime inside."""

    def __init__(self, inside: ImageRuntime) -> None:
        self._inside = inside

    @property
    def spec(self) -> ModelSpec:
        """How the model sees a picture."""
        return self._inside.spec

    @property
    def weights_hash(self) -> str:
        """Names the weights."""
        return self._inside.weights_hash
