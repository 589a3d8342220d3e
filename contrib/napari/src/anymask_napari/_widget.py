"""A dock widget that segments objects from a points layer and a boxes layer into a labels layer.

Letters: Z slices of a stack, Y X a slice, P points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QComboBox, QLabel, QPushButton, QVBoxLayout, QWidget

import anymask
from anymask.base import AnymaskError

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels, Points, Shapes

CLICKS, BOXES, FOUND = "anymask clicks", "anymask boxes", "anymask"
MODELS = ("small", "nano")
COLORS = {True: "lime", False: "red"}


class AnymaskWidget(QWidget):
    """Segment objects from points and boxes, label all objects, or track through a stack."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self._models: dict[str, anymask.Model] = {}
        self._seen: tuple[Any, Any] = (None, None)  # which slice was encoded, and its features
        self.choice = QComboBox()
        self.choice.addItems(MODELS)
        self.says = QLabel("Open an image, then press New prompts.")
        self.says.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.addWidget(self.choice)
        for text, does in (
            ("New prompts", self.new_prompts),
            ("Segment", self.segment),
            ("Everything", self.everything),
            ("Track", self.track),
        ):
            button = QPushButton(text)
            button.clicked.connect(lambda _=False, does=does: self._run(does))
            layout.addWidget(button)
        layout.addWidget(self.says)

    def _run(self, does: Any) -> None:
        """Run an action and show its result or its error message in the widget."""
        try:
            self.says.setText(does())
        except AnymaskError as error:
            self.says.setText(str(error))

    # --- layers

    def source_image(self) -> Image:
        """The selected image layer, or the topmost one. Raises AnymaskError if there is none."""
        images = [one for one in self.viewer.layers if one.__class__.__name__ == "Image"]
        chosen = [one for one in images if one in self.viewer.layers.selection] or images
        if not chosen:
            raise AnymaskError("There is no image layer. Open an image first.")
        layer: Image = chosen[-1]
        if self._axes(layer) > 3:
            raise AnymaskError(
                f"{layer.name} has {self._axes(layer)} axes. Expected an image (Y, X) or a stack "
                "(Z, Y, X). Split channels and time points into separate layers."
            )
        return layer

    @staticmethod
    def _axes(layer: Image) -> int:
        return layer.data.ndim - int(layer.rgb)

    def number(self, layer: Image) -> int:
        """The index of the displayed slice; 0 for a single image."""
        if self._axes(layer) == 2:
            return 0
        return int(layer.world_to_data(self.viewer.dims.point[-3:])[0])

    def slice_of(self, layer: Image, number: int) -> np.ndarray:
        """A slice as displayed: 8 bits within the contrast limits, (Y, X, 3)."""
        pixels = np.asarray(layer.data if self._axes(layer) == 2 else layer.data[number])
        if layer.rgb:
            return np.ascontiguousarray(pixels[..., :3], np.uint8)
        low, high = layer.contrast_limits
        gray = (pixels.astype(np.float64) - low) / max(high - low, 1e-12)
        return np.repeat(np.rint(gray.clip(0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)

    def new_prompts(self) -> str:
        """Add empty layers for points and boxes, and a labels layer if there is none."""
        layer = self.source_image()
        for name in (CLICKS, BOXES):
            if name in self.viewer.layers:
                self.viewer.layers.remove(name)
        place = {"scale": layer.scale, "translate": layer.translate}
        self.labels(layer)
        axes = self._axes(layer)
        self.viewer.add_shapes(name=BOXES, ndim=axes, face_color="transparent", **place)
        clicks = self.viewer.add_points(
            name=CLICKS, ndim=axes, size=8, face_color=COLORS[True], **place
        )
        clicks.bind_key("n", self.turn, overwrite=True)
        clicks.mode = "add"
        return "Click an object or draw a box, then press Segment."

    @staticmethod
    def turn(clicks: Points) -> None:
        """Toggle the selected points between positive and negative."""
        colors = np.array(clicks.face_color)
        for place in clicks.selected_data:
            red = colors[place, 0] > colors[place, 1]
            colors[place] = (0, 1, 0, 1) if red else (1, 0, 0, 1)
        clicks.face_color = colors

    def labels(self, layer: Image) -> Labels:
        """The labels layer for the results."""
        if FOUND not in self.viewer.layers:
            shape = layer.data.shape[: self._axes(layer)]
            self.viewer.add_labels(
                np.zeros(shape, np.int32), name=FOUND, scale=layer.scale, translate=layer.translate
            )
        found: Labels = self.viewer.layers[FOUND]
        return found

    def prompt(self, number: int) -> dict[str, Any]:
        """The points and the box on a slice, as keywords of `segment`. Raises AnymaskError."""
        asked: dict[str, Any] = {}
        if CLICKS in self.viewer.layers:
            clicks: Points = self.viewer.layers[CLICKS]
            here = [n for n, at in enumerate(clicks.data) if self._is_on(at, number)]
            if here:
                colors = np.array(clicks.face_color)[here]
                asked["points"] = (
                    clicks.data[here][:, [-1, -2]] + 0.5
                )  # of napari's pixels' middles
                asked["point_labels"] = [int(one[1] >= one[0]) for one in colors]
        if BOXES in self.viewer.layers:
            boxes: Shapes = self.viewer.layers[BOXES]
            here = [one for one in boxes.data if self._is_on(one[0], number)]
            if here:  # the newest
                (y0, x0), (y1, x1) = here[-1].min(axis=0)[-2:], here[-1].max(axis=0)[-2:]
                asked["box"] = (x0 + 0.5, y0 + 0.5, x1 + 0.5, y1 + 0.5)
        if not asked:
            raise AnymaskError("This slice has no point and no box. Add one first.")
        return asked

    @staticmethod
    def _is_on(place: np.ndarray, number: int) -> bool:
        return len(place) == 2 or round(float(place[0])) == number

    # --- answers

    def model(self) -> anymask.Model:
        """The selected model, loaded once."""
        name = self.choice.currentText()
        if name not in self._models:
            self._models[name] = anymask.load(name)
        return self._models[name]

    def features(self, layer: Image, number: int) -> Any:
        """The features of a slice; those of the last slice are cached for the next prompt."""
        key = (self.choice.currentText(), id(layer.data), number, tuple(layer.contrast_limits))
        if self._seen[0] != key:
            self._seen = key, self.model().encode(self.slice_of(layer, number))
        return self._seen[1]

    def segment(self) -> str:
        """Segment the prompted object and write it to the labels layer with the selected label."""
        layer = self.source_image()
        number, labels = self.number(layer), self.labels(layer)
        answer = self.model().segment(self.features(layer, number), **self.prompt(number))
        label = labels.selected_label
        whole = labels.data if labels.data.ndim == 2 else labels.data[number]
        whole[whole == label] = 0
        whole[answer.masks[0] & (whole == 0)] = label
        labels.refresh()
        return f"label {label}: {int((whole == label).sum())} pixels, score {answer.scores[0]:.2f}"

    def everything(self) -> str:
        """Label all objects of the slice and replace its labels."""
        layer = self.source_image()
        number, labels = self.number(layer), self.labels(layer)
        found = self.model().everything(self.slice_of(layer, number))
        whole = labels.data if labels.data.ndim == 2 else labels.data[number]
        whole[:] = 0
        for label, one in enumerate(sorted(found, key=lambda one: -one.area), start=1):
            whole[one.mask] = label  # small objects are drawn over large ones
        labels.refresh()
        return f"{len(found)} objects"

    def track(self) -> str:
        """Track the prompted object from this slice through the stack, in both directions."""
        layer = self.source_image()
        if self._axes(layer) != 3:
            raise AnymaskError(f"{layer.name} is a single image. Track requires a stack (Z, Y, X).")
        number, labels = self.number(layer), self.labels(layer)
        asked, label = self.prompt(number), labels.selected_label
        asked = {{"point_labels": "labels"}.get(name, name): one for name, one in asked.items()}
        frames = [self.slice_of(layer, n) for n in range(len(layer.data))]
        labels.data[labels.data == label] = 0
        with self.model().track(frames) as session:
            session.add(frame=number, id=1, **asked)
            for frame in session.propagate("both"):
                mask = frame.objects[1].mask if 1 in frame.objects else None
                if mask is not None:
                    whole = labels.data[frame.index]
                    whole[mask & (whole == 0)] = label
        labels.refresh()
        slices = int((labels.data == label).any(axis=(1, 2)).sum())
        return f"label {label}: on {slices} of {len(frames)} slices"
