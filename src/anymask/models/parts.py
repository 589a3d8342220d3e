"""Parts of a model for training: prefixes of the parameter names of each part."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelParts:
    """Prefixes of parameter names.

    encoder     of everything that sees the picture
    pretrained  of what learns at a lower rate, as it has learned elsewhere before
    frozen      of what never learns
    quality     of the head that estimates the quality
    hq          of what SAM-HQ adds to SAM, where the model has it
    """

    encoder: str
    pretrained: str
    frozen: tuple[str, ...] = ()
    quality: str
    hq: tuple[str, ...] = ()
