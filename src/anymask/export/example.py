"""Run this exported model: python example.py PHOTO X Y MASK.png (numpy, Pillow, onnxruntime)."""

import json
import sys
from pathlib import Path

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

    # The photo: fit it into the square input, normalise, pad right and bottom with zeros.
    image = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
    side, scale = spec["image_side"], spec["image_side"] / max(image.size)
    w, h = (round(length * scale) for length in image.size)
    if spec["fit"] == "square":
        w = h = side
    pixels = np.asarray(image.resize((w, h), Image.Resampling.BILINEAR), np.float32)
    images = np.zeros((1, 3, side, side), np.float32)
    normalised = (pixels - np.float32(spec["mean"])) / np.float32(spec["std"])
    images[0, :, :h, :w] = normalised.transpose(2, 0, 1)
    maps = encoder.run(None, {"images": images})  # once for a photo; decode as often as you like

    # The click, in pixels of the input; label 1 is on the object, 0 off it, -1 no point.
    points = [(float(x) * w / image.width, float(y) * h / image.height, 1)]
    padding = max(spec["fixed_points"] - 1, int(spec["pad_point"]))
    points = np.float32(points + [(0, 0, -1)] * padding)
    m = spec["mask_side"]
    prompt = {
        "coords": points[None, :, :2],
        "labels": points[None, :, 2].astype(np.int64),
        "masks": np.zeros((1, 1, m, m), np.float32),  # earlier logits of the same object
        "has_mask": np.zeros(1, np.float32),
    }
    names = [node.name for node in decoder.get_inputs()]
    logits, quality = decoder.run(None, {**dict(zip(names, maps, strict=False)), **prompt})

    # The best mask: token 0 answers clear prompts, the others the ambiguous ones such as a click.
    first, last = (0, 3) if spec["answer"] == "all" else (1, 4)
    best = first + int(quality[0, first:last].argmax())
    low = logits[0, best] + (logits[0, -1] if spec["answer"] == "sam_hq" else 0)
    whole = Image.fromarray(low).resize((side, side), Image.Resampling.BILINEAR)
    mask = whole.crop((0, 0, w, h)).resize(image.size, Image.Resampling.BILINEAR)
    Image.fromarray(np.asarray(mask) > spec["mask_threshold"]).save(answer)
    print(f"{answer}: quality {quality[0, best]:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
