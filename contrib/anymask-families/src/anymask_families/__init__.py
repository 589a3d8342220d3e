"""Rarely used models for anymask: Semantic-SAM, SAM-Med3D, SAMed, SEEM, and XMem as a tracker."""

from anymask_families.cubes import load_cube_model

__all__ = ["load_cube_model"]
