"""Strict loading: a checkpoint's tensors and a model in, the loaded model or an error out.

Our modules carry the official names, so nothing is renamed. Two sorts of tensors are dropped when
the model does not have them, because they are constants that it computes itself: SAM's `pixel_mean`
and `pixel_std`, which some trainers save, and TinyViT's `attention_bias_idxs`, which versions of
timm save.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from anymask.primitives.errors import MissingExtra, WeightsError

try:
    import torch
except ImportError as error:  # pragma: no cover - the core installs without torch
    raise MissingExtra("torch", "torch", "loading weights into a model") from error

from anymask.weights.checkpoints import without_prefix

Shapes = dict[str, tuple[int, ...]]

LINES = 12
CONSTANTS = re.compile(r"(^|\.)(pixel_mean|pixel_std|attention_bias_idxs)$")
TRANSFORMERS = ("vision_encoder.", "shared_image_embedding.")


def load_official(model: torch.nn.Module, state_dict: Mapping[str, torch.Tensor]) -> None:
    """Copy a checkpoint's tensors into a model, strictly.

    state_dict  from `read_checkpoint`, or anything with the official names; prefixes that every
                name carries are taken off
    Raises WeightsError when a tensor is missing, left over or of another shape: at most a dozen
    lines of difference and, where the shapes tell, whose weights they are. The model is unchanged
    then.
    """
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    weights = without_prefix(dict(state_dict))
    weights = {  # a number may lie in a list of one, as torch takes it, too
        name: value.reshape(()) if wanted.get(name) == () and value.shape == (1,) else value
        for name, value in weights.items()
        if name in wanted or not CONSTANTS.search(name)
    }
    got = {name: tuple(value.shape) for name, value in weights.items()}
    if got != wanted:
        spec = getattr(model, "spec", None)
        raise WeightsError(difference(wanted, got, getattr(spec, "name", type(model).__name__)))
    model.load_state_dict(weights, strict=True)


def detect_variant(state_dict: Mapping[str, torch.Tensor]) -> str | None:
    """Whose weights these are, by names and shapes; None when no known network fits exactly.

    Networks that share an architecture answer with the first name (MedSAM: sam_vit_b).
    """
    got = {name: tuple(value.shape) for name, value in without_prefix(dict(state_dict)).items()}
    return _whose(got)


def difference(wanted: Shapes, got: Shapes, name: str) -> str:
    """What keeps weights from fitting a network, in at most a dozen lines and a hint."""
    missing = [key for key in wanted if key not in got]
    left_over = [key for key in got if key not in wanted]
    misshapen = [key for key in wanted if key in got and got[key] != wanted[key]]
    lines = [
        f"  shape     {key}: the file has {_x(got[key])}, {name} wants {_x(wanted[key])}"
        for key in misshapen
    ]
    lines += [f"  missing   {key} {_x(wanted[key])}" for key in missing]
    lines += [f"  left over {key} {_x(got[key])}" for key in left_over]
    shown = lines if len(lines) <= LINES else _sample(lines)
    return (
        f"the weights do not fit {name}: {len(misshapen)} of another shape, {len(missing)} missing,"
        f" {len(left_over)} left over\n" + "\n".join(shown) + f"\n{_hint(got, name)}"
    )


def _sample(lines: list[str]) -> list[str]:
    """A few lines of each sort, and how many more there are."""
    sorts = [
        [line for line in lines if line.startswith(f"  {sort}")]
        for sort in ("shape", "missing", "left over")
    ]
    present = [lines_of for lines_of in sorts if lines_of]
    share = (LINES - 1) // len(present)
    shown = [line for lines_of in present for line in lines_of[:share]]
    return [*shown, f"  ... and {len(lines) - len(shown)} more"]


def _hint(got: Shapes, name: str) -> str:
    """What to do about weights that do not fit."""
    if any(key.startswith(TRANSFORMERS) for key in got):
        return (
            "the names are those of transformers; take the original checkpoint: anymask models "
            f"get {name}"
        )
    whose = _whose(got)
    if whose is not None and whose != name:
        return f"the file looks like weights of {whose}; load it with that name"
    return (
        f"check that the file belongs to {name}; anymask models info {name} says where it is from"
    )


def _whose(got: Shapes) -> str | None:
    from anymask import models

    got = {key: shape for key, shape in got.items() if not CONSTANTS.search(key)}
    for name in models.names():
        if {k: s for k, s in shapes_of(name).items() if not CONSTANTS.search(k)} == got:
            return name
    return None


@cache
def shapes_of(name: str) -> Shapes:
    """The names and shapes of a network's weights, without allocating them."""
    from anymask import models

    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in models.build(name).state_dict().items()}


def _x(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
