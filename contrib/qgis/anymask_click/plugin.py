"""The toolbar button and the map tool of the plugin.

The active raster layer is rendered as it is displayed, for the visible extent, and sent to the
server. The polygons of the answer are converted to map coordinates and added to a memory layer.
"""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsFeature,
    QgsGeometry,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsSettings,
    QgsVectorLayer,
)
from qgis.gui import QgsMapTool
from qgis.PyQt.QtCore import QBuffer, QIODevice, Qt
from qgis.PyQt.QtWidgets import QAction

from anymask_click.client import SERVER, Client, Prompt, Ring

TITLE = "anymask"
DRAG = 5  # minimum side of a box in pixels of the screen


class AnymaskPlugin:
    """Adds a button that selects the map tool."""

    def __init__(self, iface: Any) -> None:
        self.iface = iface
        self.action: Any = None
        self.tool: Any = None

    def initGui(self) -> None:  # noqa: N802 - QGIS calls it so
        self.action = QAction("Segment by clicks (anymask)", self.iface.mainWindow())
        self.action.setCheckable(True)
        self.action.triggered.connect(self.select)
        self.iface.addToolBarIcon(self.action)
        self.iface.addPluginToRasterMenu(TITLE, self.action)
        self.tool = SegmentTool(self.iface)
        self.tool.setAction(self.action)

    def unload(self) -> None:
        self.iface.mapCanvas().unsetMapTool(self.tool)
        self.iface.removePluginRasterMenu(TITLE, self.action)
        self.iface.removeToolBarIcon(self.action)

    def select(self) -> None:
        """Make the tool the tool of the map."""
        self.iface.mapCanvas().setMapTool(self.tool)


class SegmentTool(QgsMapTool):
    """Segments the clicked or boxed object.

    A left click or a drawn box begins an object. Shift and a left click adds a point to it, a right
    click a negative point.
    """

    def __init__(self, iface: Any) -> None:
        super().__init__(iface.mapCanvas())
        self.iface = iface
        self.begun: Any = None  # map point at which the button was pressed
        self.places: list[tuple[Any, int]] = []  # map points of the object, and their labels
        self.corners: tuple[Any, Any] | None = None  # map points of its box
        self.feature: int | None = None
        self.layer: Any = None
        self.seen: tuple[bytes, str] = b"", ""  # last image, and its hash

    def canvasPressEvent(self, event: Any) -> None:  # noqa: N802
        self.begun = event.mapPoint()

    def canvasReleaseEvent(self, event: Any) -> None:  # noqa: N802
        start, end = self.begun or event.mapPoint(), event.mapPoint()
        self.begun = None
        negative = event.button() == Qt.MouseButton.RightButton
        adds = negative or bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        to_pixel = self.canvas().mapSettings().mapToPixel()
        first, last = to_pixel.transform(start), to_pixel.transform(end)
        is_box = min(abs(first.x() - last.x()), abs(first.y() - last.y())) >= DRAG
        if not adds:
            self.places, self.corners, self.feature = [], None, None
        if is_box and not adds:
            self.corners = start, end
        else:
            self.places.append((end, 0 if negative else 1))
        self.run()

    def run(self) -> None:
        """Segment the object and show it, or what went wrong."""
        try:
            self.draw()
        except ValueError as error:
            self.iface.messageBar().pushWarning(TITLE, str(error))

    def draw(self) -> None:
        """Segment the object and draw its polygons. Raises ValueError."""
        raster = self.iface.activeLayer()
        if not isinstance(raster, QgsRasterLayer):
            raise ValueError("Select a raster layer in the panel of layers.")
        if self.corners is None and not any(label for _, label in self.places):
            raise ValueError("Click the object before you add a negative point.")
        settings = QgsMapSettings(self.canvas().mapSettings())
        settings.setLayers([raster])
        to_pixel = settings.mapToPixel()

        def pixel(point: Any) -> tuple[float, float]:
            found = to_pixel.transform(point)
            return float(found.x()), float(found.y())

        prompt = Prompt(
            [pixel(point) for point, _ in self.places], [label for _, label in self.places]
        )
        if self.corners is not None:
            (x0, y0), (x1, y1) = map(pixel, self.corners)
            prompt.box = min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
        stored = QgsSettings()
        client = Client(stored.value("anymask/server", SERVER), stored.value("anymask/token", ""))
        png = rendered(settings)
        if png != self.seen[0]:
            self.seen = png, client.encode(png)
        polygons, score = client.segment(self.seen[1], prompt)
        if not polygons:
            raise ValueError("No object was found there. Click another place.")

        def corners(ring: Ring) -> list[Any]:
            points = [to_pixel.toMapCoordinates(x, y) for x, y in ring]
            return [QgsPointXY(point.x(), point.y()) for point in points]

        rings = [[corners(ring) for ring in one] for one in polygons]
        self.keep(QgsGeometry.fromMultiPolygonXY(rings), score, settings.destinationCrs())

    def keep(self, geometry: Any, score: float, crs: Any) -> None:
        """Write the geometry of the object to the layer, which is created if it is missing."""
        known = QgsProject.instance().mapLayers().values()
        if self.layer is None or self.layer not in known or self.layer.crs() != crs:
            self.layer = QgsVectorLayer("MultiPolygon?field=score:double", TITLE, "memory")
            self.layer.setCrs(crs)
            QgsProject.instance().addMapLayer(self.layer, False)
            QgsProject.instance().layerTreeRoot().insertLayer(0, self.layer)
            self.feature = None
        provider = self.layer.dataProvider()
        if self.feature is None:
            new = QgsFeature(self.layer.fields())
            new.setGeometry(geometry)
            new.setAttributes([score])
            _, added = provider.addFeatures([new])
            self.feature = added[0].id()
        else:
            provider.changeGeometryValues({self.feature: geometry})
            provider.changeAttributeValues({self.feature: {0: score}})
        self.layer.updateExtents()
        self.layer.triggerRepaint()


def rendered(settings: Any) -> bytes:
    """Render a map as PNG."""
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    job.renderedImage().save(buffer, "PNG")
    return bytes(buffer.data())
