"""Entry points of the plug-in: models by name, and rules. Networks are imported when built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.masks import CHOICES, GridDefaults, ModelSpec, Tables, TokenRoles
from anymask.models import FamilyPlugin, RegistryEntry, SamFamily

if TYPE_CHECKING:
    from torch import Tensor, nn

# The published demo of Semantic-SAM resizes images to a shorter side of 640 pixels.
SEMANTIC_SAM = ModelSpec(
    name="semantic_sam_swint",
    image_side=1280,
    mask_side=320,
    fit="short_side",
    pad_multiple=32,
    resample="pillow_bicubic",
    accepts=frozenset({"point"}),
    family="semantic_sam",
    pad_point=False,
    fixed_points=1,
)
SEMANTIC_GRID = GridDefaults(score=0.7, stability=0.9)  # of its published demo

SAM_MED3D = ModelSpec(
    name="sam_med3d_b",
    image_side=128,
    mask_side=32,
    accepts=frozenset({"point", "negative_point", "mask"}),
    family="sam_med3d",
)

XMEM = ModelSpec(name="xmem", image_side=480, mask_side=30)


def semantic_rules(spec: ModelSpec, tables: Tables) -> SamFamily:
    """The masks of all six levels for every click."""
    all_levels = TokenRoles(clear=(0, 1, 2), ambiguous=(0, 1, 2))
    several, single = CHOICES["efficient_sam"]
    return SamFamily(spec, SEMANTIC_GRID, tables, several, single, all_levels, graded=True)


def _semantic_sam() -> nn.Module:
    from anymask_families.semantic_sam import SemanticSam

    return SemanticSam(SEMANTIC_SAM).eval()


def _sam_med3d() -> nn.Module:
    from anymask_families.sam_med3d import CubeModel

    return CubeModel(SAM_MED3D).eval()


def _xmem() -> nn.Module:
    from anymask_families.xmem import XMem

    return XMem().eval()


def _read_samed(
    name: str, changes: Mapping[str, Tensor], path: Path, side: int | None
) -> tuple[nn.Module, str]:
    from anymask_families.samed import load_samed

    return load_samed(name, changes, path, side)


SEMANTIC = FamilyPlugin(
    variants={SEMANTIC_SAM.name: RegistryEntry(SEMANTIC_SAM, _semantic_sam)}, rules=semantic_rules
)
CUBES = FamilyPlugin(variants={SAM_MED3D.name: RegistryEntry(SAM_MED3D, _sam_med3d)})
TRACKING = FamilyPlugin(variants={XMEM.name: RegistryEntry(XMEM, _xmem)})
LOW_RANK = FamilyPlugin(read=_read_samed)
