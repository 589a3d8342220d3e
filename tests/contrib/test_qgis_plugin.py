"""The plugin of QGIS on mocks of its packages, with a real server."""

import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")

FOLDER = Path(__file__).parents[2] / "contrib/qgis/anymask_click"
SIDE, METERS, LEFT, TOP = 120, 0.5, 1000.0, 5000.0  # a map of 60 m
CENTER, RADIUS = (60, 50), 24  # of the disc on the map, in pixels
LEFT_BUTTON, RIGHT_BUTTON, SHIFT = 1, 2, 4


class Point:
    def __init__(self, x: float, y: float) -> None:
        self._x, self._y = x, y

    def x(self) -> float:
        return self._x

    def y(self) -> float:
        return self._y


class ToPixel:
    """`QgsMapToPixel`: y of the map goes up, y of the image down."""

    def transform(self, point: Point) -> Point:
        return Point((point.x() - LEFT) / METERS, (TOP - point.y()) / METERS)

    def toMapCoordinates(self, x: float, y: float) -> Point:  # noqa: N802
        return Point(LEFT + x * METERS, TOP - y * METERS)


class MapSettings:
    def __init__(self, other: Any = None) -> None:
        self.layers: list[Any] = []

    def setLayers(self, layers: list[Any]) -> None:  # noqa: N802
        self.layers = layers

    def mapToPixel(self) -> ToPixel:  # noqa: N802
        return ToPixel()

    def destinationCrs(self) -> str:  # noqa: N802
        return "EPSG:32633"


class Job:
    rendered = 0

    def __init__(self, settings: MapSettings) -> None:
        (self.layer,) = settings.layers

    def start(self) -> None:
        type(self).rendered += 1

    def waitForFinished(self) -> None:  # noqa: N802
        pass

    def renderedImage(self) -> Any:  # noqa: N802
        return SimpleNamespace(save=lambda buffer, kind: self.layer.pixels.save(buffer.file, kind))


class Buffer:
    def __init__(self) -> None:
        self.file = io.BytesIO()

    def open(self, mode: Any) -> None:
        pass

    def data(self) -> bytes:
        return self.file.getvalue()


class RasterLayer:
    """A bright disc on dark ground."""

    def __init__(self) -> None:
        y, x = np.mgrid[:SIDE, :SIDE] + 0.5
        self.truth = (x - CENTER[0]) ** 2 + (y - CENTER[1]) ** 2 < RADIUS**2
        noise = np.random.default_rng(0).normal(0, 6, (SIDE, SIDE, 1))
        colors = np.where(self.truth[..., None], (220, 90, 60), (40, 90, 60)) + noise
        self.pixels = Image.fromarray(colors.clip(0, 255).astype(np.uint8))


class Feature:
    def __init__(self, fields: Any) -> None:
        self.values: list[Any] = []
        self.number = 0

    def setGeometry(self, geometry: Any) -> None:  # noqa: N802
        self.geometry = geometry

    def setAttributes(self, values: list[Any]) -> None:  # noqa: N802
        self.values = values

    def id(self) -> int:
        return self.number


class VectorLayer:
    def __init__(self, *_: str) -> None:
        self.features: list[Feature] = []

    def setCrs(self, crs: Any) -> None:  # noqa: N802
        self.known_crs = crs

    def crs(self) -> Any:
        return self.known_crs

    def dataProvider(self) -> "VectorLayer":  # noqa: N802
        return self

    def fields(self) -> None:
        pass

    updateExtents = triggerRepaint = fields  # noqa: N815

    def addFeatures(self, features: list[Feature]) -> tuple[bool, list[Feature]]:  # noqa: N802
        for one in features:
            one.number = len(self.features)
            self.features.append(one)
        return True, features

    def changeGeometryValues(self, values: dict[int, Any]) -> None:  # noqa: N802
        for number, geometry in values.items():
            self.features[number].geometry = geometry

    def changeAttributeValues(self, values: dict[int, Any]) -> None:  # noqa: N802
        for number, held in values.items():
            self.features[number].values = [held[0]]


class MapTool:
    def __init__(self, canvas: Any) -> None:
        self._canvas = canvas

    def canvas(self) -> Any:
        return self._canvas

    def setAction(self, action: Any) -> None:  # noqa: N802
        pass


class Qgis:
    """The mocked program: its project, settings and messages."""

    def __init__(self) -> None:
        self.layers: dict[str, Any] = {}
        self.settings: dict[str, str] = {}
        self.warnings: list[str] = []
        self.active: Any = RasterLayer()
        self.tool: Any = None
        tree = SimpleNamespace(insertLayer=lambda place, layer: None)
        self.project = SimpleNamespace(
            mapLayers=lambda: self.layers, layerTreeRoot=lambda: tree,
            addMapLayer=lambda layer, shown: self.layers.update({str(id(layer)): layer}),
        )  # fmt: skip

    def activeLayer(self) -> Any:  # noqa: N802
        return self.active

    def mapCanvas(self) -> Any:  # noqa: N802
        def select(tool: Any) -> None:
            self.tool = tool

        return SimpleNamespace(
            mapSettings=MapSettings, setMapTool=select, unsetMapTool=lambda tool: select(None)
        )

    def messageBar(self) -> Any:  # noqa: N802
        return SimpleNamespace(pushWarning=lambda title, text: self.warnings.append(text))

    def mainWindow(self) -> None:  # noqa: N802
        pass

    def addToolBarIcon(self, *_: Any) -> None:  # noqa: N802
        pass

    addPluginToRasterMenu = removePluginRasterMenu = removeToolBarIcon = addToolBarIcon  # noqa: N815


class Action:
    def __init__(self, *_: Any) -> None:
        self.triggered = SimpleNamespace(connect=lambda function: setattr(self, "run", function))

    def setCheckable(self, value: bool) -> None:  # noqa: N802
        pass


@pytest.fixture
def qgis(monkeypatch: pytest.MonkeyPatch) -> Qgis:
    program = Qgis()
    core = {
        "QgsFeature": Feature, "QgsMapRendererSequentialJob": Job, "QgsMapSettings": MapSettings,
        "QgsPointXY": Point, "QgsRasterLayer": RasterLayer, "QgsVectorLayer": VectorLayer,
        "QgsGeometry": SimpleNamespace(fromMultiPolygonXY=lambda rings: rings),
        "QgsProject": SimpleNamespace(instance=lambda: program.project),
        "QgsSettings": lambda: SimpleNamespace(value=program.settings.get),
    }  # fmt: skip
    qt = SimpleNamespace(
        MouseButton=SimpleNamespace(RightButton=RIGHT_BUTTON),
        KeyboardModifier=SimpleNamespace(ShiftModifier=SHIFT),
    )
    device = SimpleNamespace(OpenModeFlag=SimpleNamespace(WriteOnly=2))
    for name, content in {
        "qgis": {}, "qgis.core": core, "qgis.gui": {"QgsMapTool": MapTool}, "qgis.PyQt": {},
        "qgis.PyQt.QtCore": {"QBuffer": Buffer, "QIODevice": device, "Qt": qt},
        "qgis.PyQt.QtWidgets": {"QAction": Action},
    }.items():  # fmt: skip
        mock = ModuleType(name)
        vars(mock).update(content)
        monkeypatch.setitem(sys.modules, name, mock)
    Job.rendered = 0
    return program


@pytest.fixture
def plugin(qgis: Qgis, monkeypatch: pytest.MonkeyPatch) -> Any:
    where = [str(FOLDER)]
    spec = importlib.util.spec_from_file_location(
        "anymask_click", FOLDER / "__init__.py", submodule_search_locations=where
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    for name in ("anymask_click.plugin", "anymask_click.client"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "anymask_click", package)
    spec.loader.exec_module(package)
    found = package.classFactory(qgis)
    found.initGui()
    found.action.run()
    return found


def click(tool: Any, x: float, y: float, button: int = LEFT_BUTTON, keys: int = 0) -> None:
    drag(tool, (x, y), (x, y), button, keys)


def drag(
    tool: Any, start: tuple[float, float], end: tuple[float, float],
    button: int = LEFT_BUTTON, keys: int = 0,
) -> None:  # fmt: skip
    def event(place: tuple[float, float]) -> Any:
        return SimpleNamespace(
            mapPoint=lambda: ToPixel().toMapCoordinates(*place), button=lambda: button,
            modifiers=lambda: keys,
        )  # fmt: skip

    tool.canvasPressEvent(event(start))
    tool.canvasReleaseEvent(event(end))


def area(rings: list[list[Point]]) -> float:
    """Area of a polygon in square meters, by the shoelace formula, without its holes."""
    found = []
    for ring in rings:
        x, y = np.array([(point.x(), point.y()) for point in ring]).T
        found.append(abs(float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())) / 2)
    return found[0] - sum(found[1:])


def test_clicks_and_boxes_give_polygons_of_the_map(plugin: Any, qgis: Qgis, server: str) -> None:
    qgis.settings["anymask/server"] = server
    click(qgis.tool, *CENTER)
    assert not qgis.warnings
    (layer,) = qgis.layers.values()
    assert layer.crs() == "EPSG:32633"
    expected = np.pi * (RADIUS * METERS) ** 2
    polygons = layer.features[0].geometry
    assert sum(map(area, polygons)) == pytest.approx(expected, rel=0.15)
    corners = [(point.x(), point.y()) for ring in polygons[0] for point in ring]
    middle = np.add(np.min(corners, 0), np.max(corners, 0)) / 2
    assert middle == pytest.approx(
        (LEFT + CENTER[0] * METERS, TOP - CENTER[1] * METERS), abs=3 * METERS
    )
    assert 0 < layer.features[0].values[0] <= 1
    click(qgis.tool, CENTER[0] - 10, CENTER[1], keys=SHIFT)
    click(qgis.tool, 5, 110, RIGHT_BUTTON)
    assert len(layer.features) == 1  # the same object
    x, y, r = *CENTER, RADIUS
    drag(qgis.tool, (x + r, y + r), (x - r, y - r))
    assert len(layer.features) == 2
    assert sum(map(area, layer.features[1].geometry)) == pytest.approx(expected, rel=0.15)
    plugin.unload()
    assert qgis.tool is None


def test_an_image_is_encoded_once(plugin: Any, qgis: Qgis, server: str) -> None:
    from anymask_click.client import Client

    qgis.settings["anymask/server"] = server
    sent: list[str] = []
    send = Client._send
    try:
        Client._send = lambda self, route, *more: sent.append(route) or send(self, route, *more)
        click(qgis.tool, *CENTER)
        click(qgis.tool, 10, 10)
    finally:
        Client._send = send
    assert sent == ["/api/encode", *["/api/segment?format=polygons"] * 2]


def test_errors_are_messages(plugin: Any, qgis: Qgis, server: str) -> None:
    qgis.settings["anymask/server"] = "http://127.0.0.1:1"
    click(qgis.tool, *CENTER)
    assert "Start it with: anymask serve" in qgis.warnings.pop()
    qgis.settings["anymask/server"] = server
    click(qgis.tool, SIDE + 40, 10)
    assert "The server refused: " in qgis.warnings.pop()
    qgis.tool.places = []
    click(qgis.tool, 5, 5, RIGHT_BUTTON)
    assert "before you add a negative point" in qgis.warnings.pop()
    qgis.active = object()
    click(qgis.tool, *CENTER)
    assert qgis.warnings == ["Select a raster layer in the panel of layers."]
    assert not qgis.layers
