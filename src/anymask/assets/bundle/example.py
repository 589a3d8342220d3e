"""Run this exported model with numpy, Pillow and ONNX Runtime alone.

python example.py PHOTO X Y MASK.png            the object at X, Y (pixels of the photo)
python example.py PHOTO X0 Y0 X1 Y1 MASK.png    the object in a box

The mask has the highest score of the decoder. Images of other channels are .npy files (H, W, C).
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).parent
BILINEAR = Image.Resampling.BILINEAR
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "JPEG2000", "AVIF")  # as anymask's
FILTERS = {"area": Image.Resampling.BOX, "pillow_bicubic": Image.Resampling.BICUBIC}


class BundleModel:
    """The graphs in this file's folder. S is the model's input side, m the side of its masks."""

    def __init__(self) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read during the import
        import onnxruntime

        self.spec = json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))["spec"]
        self.encoder, self.decoder = (
            onnxruntime.InferenceSession(HERE / file, providers=["CPUExecutionProvider"])
            for file in ("encoder.onnx", "decoder.onnx")
        )

    def open(self, path: str) -> Image.Image:
        """A photo upright in RGB, what is transparent on white; other channels mixed to RGB."""
        if channels := self.spec.get("channels"):
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

    def encode(self, image: Image.Image) -> tuple[dict[str, Any], Any]:
        """A photo's maps for the decoder, by name, and model pixels per photo pixel (x, y)."""
        spec, side = self.spec, self.spec["image_side"]
        sizes = (side, side) if spec["fit"] == "square" else image.size
        w, h = (max(1, int(n * side / max(sizes) + 0.5)) for n in sizes)
        step = spec.get("pad_multiple") or side
        images = np.zeros((1, 3, -(-h // step) * step, -(-w // step) * step), np.float32)
        pixels = np.asarray(resized(image, (w, h), spec["resample"]), float)
        if spec["resample"] == "medsam":  # the picture's own range becomes 0..255
            pixels = (pixels - pixels.min()) * (255 / max(np.ptp(pixels), 1e-8))
        images[0, :, :h, :w] = ((pixels - spec["mean"]) / spec["std"]).transpose(2, 0, 1)
        names = [node.name for node in self.encoder.get_outputs()]
        maps = self.encoder.run(names, {"images": images})
        return dict(zip(names, maps, strict=True)), np.array([w, h]) / image.size

    def segment(self, image: Image.Image, points: Any, labels: list[int]) -> tuple[Any, float]:
        """The mask (H, W) bool that scores highest, and its score; points (P, 2) in the photo."""
        spec, m = self.spec, self.spec["mask_side"]
        maps, scale = self.encode(image)
        padded = spec["pad_point"] and (2 not in labels or spec["pad_box"])
        padding = max(spec["fixed_points"] - len(labels), int(padded))
        prompt = {  # labels: 1 on the object, 0 off it, 2 and 3 corners of a box, -1 no point
            "coords": np.array([[*(np.array(points) * scale), *[(0, 0)] * padding]], np.float32),
            "labels": np.array([[*labels, *[-1] * padding]], np.int64),
            "masks": np.zeros((1, 1, m, m), np.float32),  # logits of an earlier answer,
            "has_mask": np.zeros(1, np.float32),  # where this is 1
        }
        logits, scores = (one[0] for one in self.decoder.run(None, {**maps, **prompt}))
        if spec["family"] == "sam_hq":  # its last mask is a correction of the others
            logits, scores = logits[:-1] + logits[-1], scores[: len(logits) - 1]
        best = int(scores.argmax())
        drawn = stretched(Image.fromarray(logits[best]), image.size, scale * m / spec["image_side"])
        return np.asarray(drawn) > spec["mask_threshold"], float(scores[best])


def opened(path: str) -> Image.Image:
    """A photo, by a decoder of the list: another of Pillow's runs Ghostscript."""
    return Image.open(path, formats=FORMATS)


def stretched(image: Image.Image, size: tuple[int, int], step: Any) -> Image.Image:
    """Bilinear between pixels: an image of (w, h), each `step` (x, y) pixels of the given one."""
    return image.transform(size, Image.Transform.AFFINE, (step[0], 0, 0, 0, step[1], 0), BILINEAR)


def resized(image: Image.Image, size: tuple[int, int], kind: str) -> Image.Image:
    """The photo in (w, h), by the filter that the model learned with."""
    if kind == "torch_bilinear" or (kind == "area" and size > image.size):
        return stretched(image, size, np.array(image.size) / size)
    return image.resize(size, FILTERS.get(kind, BILINEAR))


def main(arguments: list[str]) -> None:
    """Answer one click or box."""
    if len(arguments) not in (4, 6):
        sys.exit(__doc__)
    photo, *numbers, target = arguments
    try:
        if Path(target).resolve() == Path(photo).resolve():
            raise ValueError(f"The mask would overwrite {photo}. Choose another file name.")
        image = (model := BundleModel()).open(photo)
        points = np.array(numbers, float).reshape(-1, 2)
        ordered = (np.diff(points, axis=0) > 0).all()  # the corners of a box
        if not ordered or not ((points >= 0) & (points <= image.size)).all():
            raise ValueError(f"Invalid prompt {numbers}. Use X Y or X0 Y0 X1 Y1 in {image.size}.")
        mask, score = model.segment(image, points, [1] if len(points) == 1 else [2, 3])
        Image.fromarray(mask).save(target)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        sys.exit(f"example.py: {error}")
    print(f"{target}: score {score:.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
