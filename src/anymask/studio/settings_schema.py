"""Settings that clients may choose: their declarations in, JSON schemas for /openapi.json out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import NoneType
from typing import Any

from anymask.base import DeclaredSetting, Setting, list_settings
from anymask.masks import LEAST_SIDE
from anymask.segment import Arrangement, Grid, SegmentSettings
from anymask.track import GROUPS

_SERVERS_OWN = frozenset({"memory_limit", "points_per_batch"})  # its memory and slices
_OF_FILES = frozenset({"session", "start", "end", "every", "fps"})  # on the client's side
_UNLIKE_JSON = frozenset({"retry"})  # a model and a clock may be in it
_TILE = DeclaredSetting(
    "tile",
    (int, "auto", NoneType),
    "auto",
    Setting(
        'search a large photo in tiles of so many pixels a side; "auto": where it is very large; '
        "null: never",
        least=LEAST_SIDE,
    ),
)


def _chosen(groups: Iterable[type], left_out: frozenset[str]) -> tuple[DeclaredSetting, ...]:
    listed = (setting for group in groups for setting in list_settings(group))
    return tuple(setting for setting in listed if setting.name not in left_out)


EVERYTHING = (*_chosen((Grid, Arrangement), _SERVERS_OWN), _TILE)
TRACK = _chosen(GROUPS, _OF_FILES)
SEGMENT = {one.name: one.about.does for one in _chosen((SegmentSettings,), _UNLIKE_JSON)}


def settings_schema(settings: Iterable[DeclaredSetting]) -> dict[str, Any]:
    """An object of these settings, each of which may be left out, and no others."""
    named = sorted(settings, key=lambda setting: setting.name)
    return {
        "type": "object",
        "properties": {setting.name: _schema_of(setting) for setting in named},
        "additionalProperties": False,
    }


def _schema_of(setting: DeclaredSetting) -> dict[str, Any]:
    ways: list[dict[str, Any]] = []
    if setting.words:
        ways.append({"type": "string", "enum": list(setting.words)})
    if str in setting.members:
        ways.append({"type": "string"})
    if bool in setting.members:
        ways.append({"type": "boolean"})
    if setting.number is not None:
        kind = "integer" if setting.number is int else "number"
        ways.append({"type": kind} | _range(setting.about))
    if NoneType in setting.members:
        ways.append({"type": "null"})
    told = {"description": setting.about.does}
    return (ways[0] if len(ways) == 1 else {"anyOf": ways}) | told


def _range(about: Setting) -> dict[str, float]:
    low = {"minimum": about.least} if about.above is None else {"exclusiveMinimum": about.above}
    high = {"maximum": about.most} if about.most != math.inf else {}
    if about.below not in (None, math.inf):
        high["exclusiveMaximum"] = about.below
    return low | high
