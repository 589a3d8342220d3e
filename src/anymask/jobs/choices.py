"""The choices of a job in plain values that travel to workers: model, picture, arrangement."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from anymask.families import DEFAULT_MODEL
from anymask.primitives.errors import InputError
from anymask.primitives.setting import Setting, describe_settings

if TYPE_CHECKING:
    from anymask.predictors.arrangement import ArrangementDict
    from anymask.predictors.image import Model
    from anymask.predictors.large import Tile
    from anymask.predictors.settings import Retry
    from anymask.primitives.types import UintImage


@describe_settings
@dataclass(frozen=True)
class ModelChoice:
    """Which model answers, and where it runs: the arguments of `anymask.load`."""

    model: Annotated[str, Setting("of `anymask models list`, or an exported folder")] = (
        DEFAULT_MODEL
    )
    weights: Annotated[
        Path | None,
        Setting("a checkpoint of that model instead of the one in the store", default="none"),
    ] = None
    device: Annotated[str, Setting("auto, cpu, cuda, cuda:1 or mps")] = "auto"
    precision: Annotated[str, Setting("fp32, bf16 or fp16")] = "fp32"
    runtime: Annotated[str, Setting("auto, onnx or torch")] = "auto"

    def load(self) -> Model:
        """Open it. Raises what `anymask.load` raises."""
        import anymask

        return anymask.load(self.model, self.weights, self.device, self.precision, self.runtime)


def model_choice(model: str | ModelChoice) -> ModelChoice:
    """A choice, or a model's name as one. Raises InputError for anything else."""
    if isinstance(model, ModelChoice):
        return model
    if not isinstance(model, str):
        raise InputError(
            f"model must be a name or a ModelChoice, got {type(model).__name__}; a loaded model "
            "cannot be sent to workers, name it instead"
        )
    return ModelChoice(model)


@dataclass(frozen=True)
class PictureChoice:
    """How photos are read: the arguments of `anymask.load_image`."""

    bands: tuple[int, ...] | None = None
    page: int = 0
    stretch: tuple[float, ...] | None = None

    def load(self, path: Path) -> UintImage:
        """(H, W, 3). Raises ImageError."""
        from anymask.data.images import load_image

        return load_image(path, bands=self.bands, page=self.page, stretch=self.stretch)

    @property
    def mark(self) -> str:
        """What to write beside a file's hash, so that other settings are other pictures."""
        return "" if self == PictureChoice() else f" {self.bands} {self.page} {self.stretch}"


@dataclass(frozen=True)
class ArrangementChoice:
    """How large photos are looked at, and what becomes of the masks.

    given           settings of `Arrangement`
    tile            as `Model.everything` takes it
    retry_seconds   for each photo; 0: never
    retry_quality   of masks that are asked for again
    retry_model     a larger model's name, or None

    Raises InputError for values out of range.
    """

    given: ArrangementDict = field(default_factory=lambda: cast("ArrangementDict", {}))
    tile: Tile = "auto"
    retry_seconds: float = 0.0
    retry_quality: float | None = None
    retry_model: str | None = None

    def __post_init__(self) -> None:
        from anymask.predictors.arrangement import Arrangement
        from anymask.predictors.large import tile_side

        Arrangement(**self.given)
        tile_side(self.tile, (1, 1))
        self._retry()
        if not self.retry_seconds and (self.retry_quality, self.retry_model) != (None, None):
            raise InputError("retry_quality and retry_model need a time; give retry_seconds")

    def about(self) -> dict[str, Any]:
        """What the records depend on, ready for JSON."""
        return asdict(self)

    def open(self) -> dict[str, Any]:
        """The keyword arguments of `Model.everything`. Raises AnymaskError."""
        asked: dict[str, Any] = {"tile": self.tile, **self.given}
        if not self.retry_seconds:
            return asked
        import anymask

        larger = None if self.retry_model is None else anymask.load(self.retry_model)
        return asked | {"retry": replace(self._retry(), larger=larger)}

    def _retry(self) -> Retry:
        from anymask.predictors.settings import Retry

        if self.retry_quality is None:
            return Retry(seconds=self.retry_seconds)
        return Retry(seconds=self.retry_seconds, quality=self.retry_quality)
