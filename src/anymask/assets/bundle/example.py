"""Run this exported model with only NumPy, Pillow and ONNX Runtime.

python example.py PHOTO X Y MASK.png            the object at X, Y (pixels of the image)
python example.py PHOTO X0 Y0 X1 Y1 MASK.png    the object in a box
python example.py PHOTO +X,Y -X,Y MASK.png      clicks on (+) and off (-) the object, or after a box

The mask is the first one that anymask returns without crops and edge refinement (README.md). For
a model with other channels than RGB, pass a .npy file (H, W, C).
"""

import json
import os
import re
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from answer import (
    MIN_REGION,
    Geometry,
    LearnedRules,
    ModelPrompts,
    Shapes,
    answer,
    apply_negative_points,
    bilinear_taps,
    cell_weights,
    clean_logits,
    click_steps,
    keep_previous,
    pixels_to_cells,
    point_pixels,
)
from PIL import Image, ImageOps
from shapes import chamfer_depths, connected_parts

HERE = Path(__file__).parent
BILINEAR = Image.Resampling.BILINEAR
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "JPEG2000", "AVIF")  # as anymask's
FILTERS = {"pillow_bicubic": Image.Resampling.BICUBIC}
SHAPES = Shapes(connected_parts, chamfer_depths)


class BundleModel:
    """The graphs in this file's folder. S is the model's input side, m the side of its masks."""

    def __init__(self) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read during the import
        import onnxruntime

        self.spec = SimpleNamespace(**read("manifest.json")["spec"])
        self.rules = LearnedRules(self.spec, read("tables.json"), SHAPES)
        self.encoder, self.decoder = (
            onnxruntime.InferenceSession(HERE / file, providers=["CPUExecutionProvider"])
            for file in ("encoder.onnx", "decoder.onnx")
        )

    def open(self, path: str) -> Image.Image:
        """A photo upright in RGB, what is transparent on white; other channels mixed to RGB."""
        if channels := vars(self.spec).get("channels"):
            array = np.load(path) if path.endswith(".npy") else np.asarray(opened(path))
            low, high = np.array(channels["lows"]), np.array(channels["highs"])
            if array.shape[2:] != low.shape:
                raise ValueError(f"{path} has shape {array.shape}. Use (H, W, {len(low)}).")
            values = ((array.astype(float) - low) * (255 / (high - low))).clip(0, 255)
            mixed = np.nan_to_num(values) @ np.array(channels["weights"]).T + channels["bias"]
            return Image.fromarray(np.rint(mixed.clip(0, 255)).astype(np.uint8))
        image = ImageOps.exif_transpose(opened(path))
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"{path} has mode {image.mode}. Use 8 bits per channel.")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")

    def encode(self, image: Image.Image) -> tuple[dict[str, Any], Geometry]:
        """An image's maps for the decoder, by name, and how it lies in the model's input."""
        spec, side = self.spec, self.spec.image_side
        sizes = (side, side) if spec.fit == "square" else image.size
        w, h = (max(1, int(n * side / max(sizes) + 0.5)) for n in sizes)
        step = spec.pad_multiple or side
        images = np.zeros((1, 3, -(-h // step) * step, -(-w // step) * step), np.float32)
        pixels = resized(image, (w, h), spec.resample)
        if spec.resample == "medsam":  # the image's own range becomes 0..255
            pixels = (pixels - pixels.min()) * (255 / max(np.ptp(pixels), 1e-8))
        images[0, :, :h, :w] = ((pixels - spec.mean) / spec.std).transpose(2, 0, 1)
        names = [node.name for node in self.encoder.get_outputs()]
        maps = self.encoder.run(names, {"images": images})
        return dict(zip(names, maps, strict=True)), Geometry(image.size[::-1], (h, w), side)

    def decode(self, maps: dict[str, Any], prompts: ModelPrompts) -> tuple[Any, Any]:
        """All masks of the decoder as logits (N, T, m, m), and their scores (N, T)."""
        names = ("coords", "labels", "masks", "has_mask")
        given = {name: getattr(prompts, name) for name in names}
        logits, scores = self.decoder.run(None, maps | given)
        return logits, scores

    def segment(
        self, image: Image.Image, points: Any = (), labels: Any = (), box: Any = ()
    ) -> tuple[Any, float]:
        """The first mask (H, W) bool and its score, as `Model.segment` of anymask returns them.

        Args:
            points: (P, 2) x, y in pixels; labels (P,) 1 on the object, 0 off it; box x0, y0,
                x1, y1.
        """
        (maps, place), threshold = self.encode(image), self.spec.mask_threshold
        points, labels = np.reshape(points, (-1, 2)), np.array(labels, np.int64)
        logits: Any = None
        before: list[int] = []  # clicks of the logits
        steps = [list(range(len(labels)))]
        if "ranking" in self.rules.tables:  # click by click, each with the logits of the last
            steps = click_steps(labels.tolist(), start="box" if len(box) else "click")
        for step in steps:
            prompts = self.prompts(points[step], labels[step], box, logits, place)
            decode, clicks = partial(self.decode, maps), (points[step], labels[step])
            [(masks, scores, _)] = answer(decode, prompts, place, self.spec.family, self.rules)
            masks = apply_negative_points(masks[:1], clicks, place, threshold, SHAPES)
            if logits is not None and labels[step].sum() == labels[before].sum():  # negative: new
                masks = keep_previous(masks, logits, clicks, place, threshold, SHAPES)
            logits, before = masks[0], step
        pixels = point_pixels(points, place.image_hw)
        cells = pixels_to_cells(pixels, logits.shape, place), labels
        logits = clean_logits(logits, place, cells, (MIN_REGION,) * 2, threshold, SHAPES)
        mask = drawn(logits, place) > threshold
        for label in (1, 0):  # of two clicks on one pixel the negative one counts
            mask[tuple(pixels[labels == label].T[::-1])] = label
        return mask, float(scores[0])

    def prompts(
        self, points: Any, labels: Any, box: Any, logits: Any, place: Geometry
    ) -> ModelPrompts:
        """One prompt in the model's pixels, with the logits (m, m) of an earlier mask or None."""
        spec, m = self.spec, self.spec.mask_side
        corners, kinds = np.reshape(box, (-1, 2)), [*labels, *[2, 3][: len(box)]]
        padded = spec.pad_point and (not len(box) or spec.pad_box)
        padding = max(spec.fixed_points - len(kinds), int(padded))
        coords = np.concatenate([points, corners]) * place.scale_xy
        return ModelPrompts(
            np.pad(coords, ((0, padding), (0, 0)))[None].astype(np.float32),
            np.array([[*kinds, *[-1] * padding]], np.int64),
            np.zeros((1, 1, m, m), np.float32) if logits is None else logits[None, None],
            np.array([logits is not None], np.float32),
        )


def read(name: str) -> Any:
    """A JSON file of the bundle, {} if it is missing."""
    path = HERE / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def drawn(logits: Any, place: Geometry) -> Any:  # (m, m) -> (H, W)
    """Logits in the pixels of the image, bilinear."""
    rows, columns = (
        cell_weights(np.arange(length), len(logits), place, axis)
        for axis, length in enumerate(place.image_hw)
    )
    return rows @ logits @ columns.T


def opened(path: str) -> Image.Image:
    """A photo, by a decoder of the list: another of Pillow's runs Ghostscript."""
    return Image.open(path, formats=FORMATS)


def resized(image: Image.Image, size: tuple[int, int], kind: str) -> Any:  # -> (h, w, 3)
    """The image in (w, h), by the filter that the model was trained with."""
    if kind not in ("area", "torch_bilinear", "nearest"):
        return np.asarray(image.resize(size, FILTERS.get(kind, BILINEAR)), float)
    pixels = np.asarray(image, float)
    for axis, length in enumerate(size[::-1]):
        pixels = np.swapaxes(resampled(np.swapaxes(pixels, 0, axis), length, kind), 0, axis)
    return np.rint(pixels) if kind == "area" else pixels


def resampled(pixels: Any, new: int, kind: str) -> Any:  # (n, ..) -> (new, ..)
    """Means of what each row covers (area, if they become fewer), nearest or bilinear rows."""
    old = len(pixels)
    if kind == "nearest":
        return pixels[np.arange(new) * old // new]
    if kind == "area" and new < old:
        edges = np.arange(new + 1) * (old / new)
        low = np.minimum(edges.astype(int), old - 1)
        sums = np.cumsum(pixels, axis=0) - pixels  # of the rows before each
        return np.diff(sums[low] + (edges - low)[:, None, None] * pixels[low], axis=0) * (new / old)
    first, second, share = bilinear_taps(np.arange(new), old, new)
    return pixels[first] + share[:, None, None] * (pixels[second] - pixels[first])


def parsed(words: list[str], size: tuple[int, int]) -> tuple[Any, list[int], Any]:
    """Points (P, 2), labels and box of the command line. Raises ValueError."""
    clicks = [word for word in words if re.fullmatch(r"[+-][^,]+,[^,]+", word)]
    numbers = np.array([word for word in words if word not in clicks], float)
    points = np.array([word[1:].split(",") for word in clicks], float).reshape(-1, 2)
    labels = [int(word[0] == "+") for word in clicks]
    if len(numbers) == 2:
        points, labels, numbers = np.vstack([numbers, points]), [1, *labels], numbers[:0]
    given = np.append(points, numbers).reshape(-1, 2) if len(numbers) in (0, 4) else points[:0]
    inside = len(given) and ((given >= 0) & (given <= size)).all()
    if not inside or not (numbers[:2] < numbers[2:]).all():
        raise ValueError(f"Invalid prompt {words}. Use X Y, X0 Y0 X1 Y1, +X,Y or -X,Y in {size}.")
    return points, labels, numbers


def main(arguments: list[str]) -> None:
    """Write the mask of one prompt."""
    if len(arguments) < 3:
        sys.exit(__doc__)
    photo, *words, target = arguments
    try:
        if Path(target).resolve() == Path(photo).resolve():
            raise ValueError(f"The mask would overwrite {photo}. Choose another file name.")
        image = (model := BundleModel()).open(photo)
        mask, score = model.segment(image, *parsed(words, image.size))
        Image.fromarray(mask).save(target)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        sys.exit(f"example.py: {error}")
    print(f"{target}: score {score:.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
