"""How a map is seen and what is written of it: the settings that its commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from anymask.base import InputError, Setting, check_settings, describe_settings


@describe_settings
@dataclass(frozen=True, kw_only=True)
class MapSettings:
    """The settings; all of them are about maps (files with a place on earth) alone.

    Raises InputError for values out of range.
    """

    gsd: Annotated[
        float | None,
        Setting(
            "metres of a pixel on the ground in which the map is looked at",
            above=0,
            unit="metres",
            default="the file's own pixels",
        ),
    ] = None
    colours: Annotated[
        str,
        Setting(
            "the bands that are seen: auto, rgb, nir-r-g, swir-nir-r, ndvi, ndwi, or with their "
            "numbers, nir-r-g=4,1,2",
            form="PRESET",
        ),
    ] = "auto"
    crs: Annotated[
        str | None,
        Setting(
            "of the coordinates of --point, --box and --prompts: EPSG:NUMBER, or map for the map's "
            "own",
            default="pixels; for a layer its own",
            form="EPSG:N|map",
        ),
    ] = None
    prompts: Annotated[
        Path | None,
        Setting(
            "a layer (.gpkg, .geojson, .fgb, .shp) with a point, or with a shape whose box is "
            "taken, for each object",
            default="none",
        ),
    ] = None
    simplify: Annotated[
        float | None,
        Setting(
            "metres that outlines may move to have fewer corners; 0: along the pixels' borders",
            least=0,
            unit="metres",
            default="one pixel",
        ),
    ] = None
    right_angles: Annotated[
        bool, Setting("make right angles of outlines, as of buildings, where that fits")
    ] = False
    min_area: Annotated[
        float, Setting("leave out what is smaller on the ground", least=0, unit="m2")
    ] = 0.0

    def __post_init__(self) -> None:
        check_settings(self)
        if self.crs is not None and not self.crs.strip():
            raise InputError("wanted a CRS such as EPSG:4326, got an empty word")
