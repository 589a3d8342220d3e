"""A module of 3D Slicer that segments slices of a volume from points, by a local anymask server.

Only the standard library, NumPy, VTK and Slicer are imported, so the module runs in the Python of
Slicer without anymask. Start the server with: anymask serve
"""

from __future__ import annotations

import json
import struct
import urllib.error
import urllib.request
import zlib
from typing import Any

import ctk
import numpy as np
import qt
import slicer
import vtk
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)

SERVER = "http://127.0.0.1:8765"
AXES = ("axial (K)", "coronal (J)", "sagittal (I)")
TIMEOUT_S = 120


class Client:
    """Client of an anymask server, with the standard library only."""

    def __init__(self, server: str = SERVER, token: str = "") -> None:
        self.server, self.token = server.rstrip("/"), token

    def segment(self, gray: np.ndarray, clicks: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Mask (H, W) of the points (x, y) on an image (H, W). Raises ValueError."""
        answer, headers = self._send("/api/encode", png_bytes(gray), "image/png")
        prompt = {
            "image": headers["X-Image-Hash"], "points": clicks.tolist(), "labels": labels.tolist(),
        }  # fmt: skip
        body = json.dumps(prompt).encode()
        answer, _ = self._send("/api/segment", body, "application/json")
        return decoded(json.loads(answer)["answers"][0]["masks"][0])

    def _send(self, route: str, body: bytes, kind: str) -> tuple[bytes, Any]:
        headers = {"Content-Type": kind}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.server + route, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            told = json.loads(error.read() or b"{}").get("error", {})
            raise ValueError(f"The server refused: {told or error.reason}") from error
        except OSError as error:
            raise ValueError(
                f"No server answers at {self.server}. Start it with: anymask serve"
            ) from error


class AnymaskSegment(ScriptedLoadableModule):
    """Description of the module."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        parent.title = "anymask: segment slices"
        parent.categories = ["Segmentation"]
        parent.contributors = ["anymask"]
        parent.helpText = (
            "Place points on an object in one slice, then press Segment. A point whose label "
            "starts with - is negative. Start the server with: anymask serve"
        )


class AnymaskSegmentWidget(ScriptedLoadableModuleWidget):
    """Panel with the inputs and the button."""

    def setup(self) -> None:
        super().setup()
        self.logic = AnymaskSegmentLogic()
        panel = ctk.ctkCollapsibleButton()
        panel.text = "Segment"
        self.layout.addWidget(panel)
        form = qt.QFormLayout(panel)
        self.server, self.token = qt.QLineEdit(SERVER), qt.QLineEdit()
        self.nodes = {
            kind: self._selector(kind)
            for kind in ("ScalarVolume", "MarkupsFiducial", "Segmentation")
        }
        self.axis = qt.QComboBox()
        self.axis.addItems(list(AXES))
        button = qt.QPushButton("Segment")
        button.connect("clicked()", self.on_segment)
        self.told = qt.QLabel("")
        for name, widget in (
            ("Server", self.server), ("Token", self.token),
            ("Volume", self.nodes["ScalarVolume"]), ("Points", self.nodes["MarkupsFiducial"]),
            ("Segmentation", self.nodes["Segmentation"]), ("Slices", self.axis),
            ("", button), ("", self.told),
        ):  # fmt: skip
            form.addRow(name, widget)

    @staticmethod
    def _selector(kind: str) -> Any:
        box = slicer.qMRMLNodeComboBox()
        box.nodeTypes = [f"vtkMRML{kind}Node"]
        box.addEnabled = box.removeEnabled = kind != "ScalarVolume"
        box.setMRMLScene(slicer.mrmlScene)
        return box

    def on_segment(self) -> None:
        """Segment and report the result, or what went wrong."""
        volume, points, segmentation = (
            self.nodes[kind].currentNode()
            for kind in ("ScalarVolume", "MarkupsFiducial", "Segmentation")
        )
        try:
            count = self.logic.segment(
                volume, points, segmentation, self.axis.currentIndex,
                Client(self.server.text, self.token.text),
            )  # fmt: skip
            self.told.text = f"{count} pixels"
        except ValueError as error:
            self.told.text = str(error)


class AnymaskSegmentLogic(ScriptedLoadableModuleLogic):
    """Segmentation of one slice, without a user interface."""

    def segment(
        self, volume: Any, points: Any, segmentation: Any, axis: int, client: Client
    ) -> int:
        """Segment the slice of the first point and write its mask to the first segment.

        Args:
            axis: Axis of the array (K, J, I) that is perpendicular to the slices.

        Returns:
            Pixels of the mask. Points on other slices are ignored.

        Raises:
            ValueError: An input is missing, or the server does not answer.
        """
        if volume is None or points is None or segmentation is None:
            raise ValueError("Select a volume, points and a segmentation.")
        places, labels = self.places(volume, points)
        voxels = slicer.util.arrayFromVolume(volume)
        if not len(places):
            raise ValueError("There is no point. Place a point on the object.")
        number = int(places[0, axis])
        if not 0 <= number < voxels.shape[axis]:
            raise ValueError("The first point is outside the volume. Place it on the object.")
        here = places[:, axis].astype(int) == number
        flat = [one for one in range(3) if one != axis]
        clicks = places[here][:, flat[::-1]]  # x, y of the slice
        image = np.take(voxels, number, axis)
        found = client.segment(self.displayed(volume, image), clicks, labels[here])
        target = segmentation.GetSegmentation()
        if not target.GetNumberOfSegments():
            segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
            target.AddEmptySegment("anymask")
        segment = target.GetNthSegmentID(0)
        whole = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume)
        whole = np.zeros(voxels.shape, np.uint8) if whole is None else np.array(whole)
        place: list[Any] = [slice(None)] * 3
        place[axis] = number
        whole[tuple(place)] = found
        slicer.util.updateSegmentBinaryLabelmapFromArray(whole, segmentation, segment, volume)
        return int(np.count_nonzero(found))

    @staticmethod
    def places(volume: Any, points: Any) -> tuple[np.ndarray, np.ndarray]:
        """Places (n, 3) of the points in the array (K, J, I), with borders at whole numbers."""
        to_voxels = vtk.vtkMatrix4x4()
        volume.GetRASToIJKMatrix(to_voxels)
        found, labels = [], []
        for number in range(points.GetNumberOfControlPoints()):
            world = [0.0, 0.0, 0.0]
            points.GetNthControlPointPositionWorld(number, world)
            ijk = to_voxels.MultiplyPoint([*world, 1.0])[:3]
            found.append([value + 0.5 for value in ijk[::-1]])
            labels.append(0 if points.GetNthControlPointLabel(number).startswith("-") else 1)
        return np.array(found).reshape(-1, 3), np.array(labels, int)

    @staticmethod
    def displayed(volume: Any, image: np.ndarray) -> np.ndarray:
        """Slice in 8 bits with the window and level of the display."""
        shown = volume.GetDisplayNode()
        low, high = float(image.min()), float(image.max())
        if shown is not None:
            low, high = shown.GetWindowLevelMin(), shown.GetWindowLevelMax()
        gray = (image.astype(np.float64) - low) / max(high - low, 1e-12)
        return np.rint(gray.clip(0, 1) * 255).astype(np.uint8)


def png_bytes(gray: np.ndarray) -> bytes:
    """Encode an image (H, W) uint8 as PNG."""
    height, width = gray.shape
    rows = np.hstack([np.zeros((height, 1), np.uint8), gray]).tobytes()
    found = b"\x89PNG\r\n\x1a\n"
    for name, data in (
        (b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)), (b"IEND", b""),
    ):  # fmt: skip
        check = struct.pack(">I", zlib.crc32(name + data))
        found += struct.pack(">I", len(data)) + name + data + check
    return found


def decoded(rle: dict[str, Any]) -> np.ndarray:
    """Decode a compressed run-length encoding of COCO to a mask (H, W)."""
    runs: list[int] = []
    value = shift = 0
    for letter in rle["counts"].encode():
        part = letter - 48
        value |= (part & 31) << shift
        shift += 5
        if not part & 32:
            if part & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    height, width = rle["size"]
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T
