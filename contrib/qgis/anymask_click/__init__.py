"""A plugin of QGIS that segments objects of a raster layer from clicks and boxes."""

from typing import Any


def classFactory(iface: Any) -> Any:  # noqa: N802 - QGIS calls it so
    """Create the plugin."""
    from anymask_click.plugin import AnymaskPlugin

    return AnymaskPlugin(iface)
