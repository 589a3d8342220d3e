"""Learned tables: a family's name in, the numbers that it learned beside its weights out.

`tables.json` of a bundle holds them, with its hash in the manifest: "ranking" orders the masks of
a lone click (learned by `recipes/fit_ranking.py`), "adaptive" chooses the next clicks of automatic
mask generation (see `predictors.expected_gain`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from anymask.families.family import Tables
from anymask.primitives.notation import parse_json

SHIPPED = Path(__file__).parents[1] / "assets"


@cache
def shipped_tables(family: str) -> Tables:
    """The tables in the package for a family; none for a family that learned nothing."""
    path = SHIPPED / family / "tables.json"
    if not path.is_file():
        return {}
    tables: Tables = parse_json(path.read_bytes(), path)
    return tables
