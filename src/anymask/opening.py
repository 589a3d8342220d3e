"""`anymask.load`: a name or files and a device in, a `Model` out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from anymask.base import explain_keywords, refuse_text
from anymask.segment import Model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anymask.find import Phrases
    from anymask.keywords import TrackOptions, VideoFindKeywords, VolumeOptions
    from anymask.masks import Masks
    from anymask.track import VideoSession
    from anymask.volumes import VolumeSession


@explain_keywords
def load(
    name: str | Path | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    precision: str = "fp32",
    runtime: str = "auto",
    convert: bool | None = None,
) -> Model:
    """Load a model. Never downloads anything.

    On a CPU, the first load of a downloaded checkpoint converts it for ONNX Runtime, which takes
    about a minute and as much disk space as the weights. Later loads use the conversion.

    Args:
        name: Name from `anymask models list`, or an exported folder. Default: the model that
            `weights` state, else ANYMASK_MODEL if set, otherwise "small", or "nano" if `weights`
            are given. "nano@768" resizes images to 768 pixels instead of 512.
        weights: Checkpoint file to use instead of the downloaded one.
        device: Device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: Precision: "fp32", "bf16" or "fp16".
        runtime: Runtime: "auto", "onnx" or "torch".
        convert: Convert the checkpoint for ONNX Runtime if this has not been done. By default,
            downloaded checkpoints are converted, and files passed as `weights` are not.

    Raises:
        ModelError: The name is unknown.
        WeightsError: The weights are missing or corrupted; the message states how to get them.
        InputError: The options cannot be combined.
        MissingExtra: PyTorch is required but not installed.
    """
    from anymask.runtime import open_runtime
    from anymask.runtime.open import stated_model

    refuse_text("True or False", convert=convert)
    name = stated_model(weights) if name is None else str(name) if isinstance(name, Path) else name
    if weights is None if convert is None else convert:
        convert_once(name, weights, device, precision, runtime)
    opened = open_runtime(name, weights, device, precision, runtime)
    return Model(opened, begin=_begin_session, follow=_follow_words, scan=_begin_volume)


def convert_checkpoint(name: str, weights: str | Path | None = None) -> Path:
    """Convert a checkpoint again; see `training.conversion`."""
    from anymask.training import convert

    return convert(name, weights, again=True)


def convert_once(
    name: str,
    weights: str | Path | None = None,
    device: str = "auto",
    precision: str = "fp32",
    runtime: str = "auto",
) -> None:
    """Convert a checkpoint if these options of `load` would use the conversion."""
    from anymask.runtime import find_bundle

    if runtime not in ("auto", "onnx") or precision != "fp32" or not isinstance(name, str):
        return
    if find_bundle(name, weights) is not None:
        return
    from anymask.runtime import needs_conversion, runs_on_cpu

    if device in ("auto", "cpu") and needs_conversion(name, weights) and runs_on_cpu(device):
        from anymask.training import convert_on_load

        convert_on_load(name, weights)


def _begin_session(
    model: Model, source: Any, named: Model | str | None, **settings: Unpack[TrackOptions]
) -> VideoSession:
    """What `Model.track` does; the sessions' floor lies above the model's."""
    from anymask.track import open_session, tracking_model

    tracker = settings.get("tracker", "auto")
    return open_session(tracking_model(model, named, tracker), source, **settings)


def _begin_volume(
    model: Model, scan: Any, named: Model | str | None, **settings: Unpack[VolumeOptions]
) -> VolumeSession:
    """What `Model.volume` does."""
    from anymask.track import tracking_model
    from anymask.volumes import open_volume_session

    chosen = tracking_model(model, named, settings.get("tracker", "auto"))
    return open_volume_session(chosen, scan, **settings)


def _follow_words(
    model: Model, source: Any, words: Phrases, **settings: Unpack[VideoFindKeywords]
) -> Iterator[Masks]:
    """What `Model.find` does of a video. What is wrong is told at once, not at the first frame."""
    from anymask.track import find_in_video, tracking_model

    finds = find_in_video(tracking_model(model), source, words, **settings)

    def frames() -> Iterator[Masks]:
        with finds:
            for frame in finds:
                yield finds.masks(frame)

    return frames()
