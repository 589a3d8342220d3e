"""What a training starts from: a model's name or a file of weights in, network and file out."""

from __future__ import annotations

from pathlib import Path

from anymask.primitives.errors import InputError


def named(word: str, weights: Path | None) -> tuple[str, str]:
    """A model's variant and the file of its weights, "" for those in the store.

    word     a name of `anymask models list`, or a weights.safetensors or a folder of adapters of
             `anymask train`
    weights  of a model that was named

    Raises InputError, ModelError, WeightsError.
    """
    from anymask.weights import entry
    from anymask.weights.adapters import adapter_folder, base_of
    from anymask.weights.formats import about_weights

    adapters = adapter_folder(word) if weights is None else None
    if adapters is not None:
        return entry(base_of(adapters)).variant, str(adapters.absolute())
    if weights is None and Path(word).suffix == ".safetensors" and not Path(word).is_file():
        raise InputError(f"there is no file {word!r} of weights; check the path")
    if weights is None and Path(word).is_file():
        about = about_weights(Path(word))
        if about is None:
            raise InputError(
                f"{word} does not say of which network it is; give the network's name, and the "
                "file as its weights"
            )
        return str(about["variant"]), str(Path(word).absolute())
    return entry(word).variant, "" if weights is None else str(weights.absolute())


def variant_of(path: Path) -> str:
    """The network that a weights.safetensors or a run's checkpoint is of. Raises WeightsError."""
    from anymask.training.checkpoint import read_state
    from anymask.weights.formats import about_weights

    about = about_weights(path)
    return str(read_state(path)["recipe"]["model"] if about is None else about["variant"])
