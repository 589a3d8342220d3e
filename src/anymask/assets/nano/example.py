"""Run this exported model: python example.py PHOTO X Y MASK.png (numpy, Pillow, onnxruntime)."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def main(photo: str, x: str, y: str, answer: str) -> None:
    """Click at x, y (pixels of the photo) and write the best mask."""
    folder = Path(__file__).parent
    spec = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["spec"]
    encoder, decoder = (
        onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
        for name in ("encoder.onnx", "decoder.onnx")
    )
    image = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
    images, (w, h) = fit(image, spec)
    maps = encoder.run(None, {"images": images})  # once for a photo; decode as often as you like

    # The click in pixels of the input: label 1 is on the object, 0 off it, -1 no point.
    click = (float(x) * w / image.width, float(y) * h / image.height, 1.0)
    padding = max(spec["fixed_points"] - 1, int(spec["pad_point"]))
    points = np.array([click] + [(0.0, 0.0, -1.0)] * padding, np.float32)
    side, m = spec["image_side"], spec["mask_side"]
    prompt = {
        "coords": points[None, :, :2],
        "labels": points[None, :, 2].astype(np.int64),
        "masks": np.zeros((1, 1, m, m), np.float32),  # or earlier logits, and has_mask 1
        "has_mask": np.zeros(1, np.float32),
    }
    names = [node.name for node in encoder.get_outputs()]
    logits, quality = decoder.run(None, {**dict(zip(names, maps, strict=True)), **prompt})

    # Token 0 is for clear prompts such as a box; the three after it for a click.
    first, last = {"all": (0, 3), "four": (0, 4)}.get(spec["answer"], (1, 4))
    best = first + int(quality[0, first:last].argmax())
    low = logits[0, best] + (logits[0, -1] if spec["answer"] == "sam_hq" else 0)
    whole = Image.fromarray(low).resize((side, side), Image.Resampling.BILINEAR)
    mask = whole.crop((0, 0, w, h)).resize(image.size, Image.Resampling.BILINEAR)
    Image.fromarray(np.asarray(mask) > spec["mask_threshold"]).save(answer)
    print(f"{answer}: quality {quality[0, best]:.3f}")


def fit(image: Image.Image, spec: dict[str, Any]) -> tuple[Any, tuple[int, int]]:
    """The photo as (1, 3, S, S) float32, normalised and padded, and the w, h that it fills.

    Models with a `pad_multiple` are content with less than S x S.
    """
    side = spec["image_side"]
    scale = side / max(image.size)
    w, h = (side, side) if spec["fit"] == "square" else (round(n * scale) for n in image.size)
    pixels = np.asarray(image.resize((w, h), Image.Resampling.BILINEAR))
    step = spec["pad_multiple"] or side
    images = np.zeros((1, 3, -(-h // step) * step, -(-w // step) * step), np.float32)
    images[0, :, :h, :w] = ((pixels - np.array(spec["mean"])) / spec["std"]).transpose(2, 0, 1)
    return images, (w, h)


if __name__ == "__main__":
    main(*sys.argv[1:])
