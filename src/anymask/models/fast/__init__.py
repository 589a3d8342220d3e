"""The same blocks, computed faster on a CPU; property tests hold each to its slow twin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anymask.base import lazy_names

if TYPE_CHECKING:
    from anymask.models.fast.attention import attend, attend_in_blocks, open_lone_pool
    from anymask.models.fast.folding import ConvBn, Foldable, fold_batch_norm, fuse
    from anymask.models.fast.layers import (
        LEAST_ROWS,
        Activation,
        activated,
        by_default_library,
        convolved,
        projected,
        times_transposed,
    )
    from anymask.models.fast.sweep import ClickSweep, SweepTokens, fits

__all__ = [
    "LEAST_ROWS",
    "Activation",
    "ClickSweep",
    "ConvBn",
    "Foldable",
    "SweepTokens",
    "activated",
    "attend",
    "attend_in_blocks",
    "by_default_library",
    "convolved",
    "fits",
    "fold_batch_norm",
    "fuse",
    "open_lone_pool",
    "projected",
    "times_transposed",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "attention": (
                "attend",
                "attend_in_blocks",
                "open_lone_pool",
            ),
            "folding": (
                "ConvBn",
                "Foldable",
                "fold_batch_norm",
                "fuse",
            ),
            "layers": (
                "Activation",
                "LEAST_ROWS",
                "activated",
                "by_default_library",
                "convolved",
                "projected",
                "times_transposed",
            ),
            "sweep": (
                "ClickSweep",
                "SweepTokens",
                "fits",
            ),
        },
    )
