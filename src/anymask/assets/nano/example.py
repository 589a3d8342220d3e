"""Run this exported model with numpy, Pillow, OpenCV and ONNX Runtime alone.

python example.py PHOTO X Y MASK.png            the object at X, Y (pixels of the photo)
python example.py PHOTO X0 Y0 X1 Y1 MASK.png    the object in a box

A model that was tuned on pictures of other channels takes those as .npy (H, W, C).
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import onnxruntime
from family import FAMILY, clean_logits
from PIL import Image, ImageOps

HERE = Path(__file__).parent
SMALL = 0.05  # of the mask: holes and islands of less go


@dataclass(frozen=True)
class DecoderInputs:
    """What the decoder takes: coords (1, P, 2), labels (1, P), masks (1, 1, m, m), has_mask (1,).

    labels: 1 on the object, 0 off it, 2 and 3 the corners of a box, -1 no point.
    """

    coords: Any
    labels: Any
    masks: Any  # earlier logits, or zeros
    has_mask: Any


class BundleModel:
    """The bundle in this file's folder."""

    def __init__(self) -> None:
        manifest = json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))
        tables = HERE / "tables.json"  # what the family learned, if it learned anything
        learned = json.loads(tables.read_text(encoding="utf-8")) if tables.exists() else {}
        self.spec = SimpleNamespace(**manifest["spec"])
        self.family = FAMILY(self.spec, manifest["grid"], learned)
        self.encoder, self.decoder = (
            onnxruntime.InferenceSession(
                HERE / manifest["graphs"][name]["file"], providers=["CPUExecutionProvider"]
            )
            for name in ("encoder", "decoder")
        )
        self.refiner: Any = None  # draws edges again, where the bundle has it
        if "refiner" in manifest["graphs"]:
            file = HERE / manifest["graphs"]["refiner"]["file"]
            self.refiner = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        closer = manifest.get("closer")  # how a window around the object is looked at
        self.closer: Any = None if closer is None else SimpleNamespace(**closer)

    def open(self, photo: str) -> Image.Image:
        """A photo, or what the model makes of a picture of other channels (.npy: H, W, C)."""
        channels = getattr(self.spec, "channels", None)  # of a model that was tuned on such
        if channels is None:
            return opened(photo)
        array = np.load(photo) if photo.endswith(".npy") else np.asarray(Image.open(photo))
        low, high = np.array(channels["lows"]), np.array(channels["highs"])
        array = array.reshape(*array.shape[:2], -1)
        if array.shape[2] != len(low):
            raise SystemExit(f"wanted {len(low)} channels, {photo} has {array.shape[2]}")
        values = ((array.astype(float) - low) * (255 / (high - low))).clip(0, 255)
        mixed = np.nan_to_num(values) @ np.array(channels["weights"]).T + channels["bias"]
        return Image.fromarray(np.rint(mixed.clip(0, 255)).astype(np.uint8))

    def segment(self, image: Image.Image, points: Any, labels: list[int]) -> tuple[Any, float]:
        """The first mask (H, W) bool and its quality; a box is looked at twice where that helps."""
        seen = self.see(image)
        logits, quality = self.answer(seen, points, labels)
        mask, number = self.draw(logits[0], seen[1], points, labels), quality[0]
        if self.closer is not None and labels == [2, 3]:
            near, second = self.look_closer(image, seen, logits[0], points)
            if near.any():
                mask, number = near, second
        return mask, number

    def see(self, image: Image.Image) -> tuple[dict[str, Any], SimpleNamespace]:
        """The maps of a photo, once for all its prompts, and its place in the model's square."""
        spec, side = self.spec, self.spec.image_side
        scale = side / max(image.size)
        w, h = (max(1, int(n * scale + 0.5)) for n in image.size)
        if spec.fit == "square":
            w, h = side, side
        step = spec.pad_multiple or side
        images = np.zeros((1, 3, -(-h // step) * step, -(-w // step) * step), np.float32)
        pixels = (resized(image, (w, h), spec.resample) - np.array(spec.mean)) / spec.std
        images[0, :, :h, :w] = pixels.transpose(2, 0, 1)
        names = [node.name for node in self.encoder.get_outputs()]
        maps = dict(zip(names, self.encoder.run(None, {"images": images}), strict=True))
        return maps, SimpleNamespace(
            size=image.size,
            input_hw=(h, w),
            side=side,
            scale_xy=(w / image.size[0], h / image.size[1]),
            pixels=np.asarray(image),
        )

    def answer(self, seen: Any, points: Any, labels: list[int], logits: Any = None) -> Any:
        """Candidates for points (x, y in the photo), the first one first: logits, quality.

        Each candidate's logits may be handed back as `logits`, with a further click.
        """
        (maps, place), spec, m = seen, self.spec, self.spec.mask_side
        scale = np.array(place.input_hw[::-1]) / place.size
        places, given = (np.array(points) * scale).tolist(), list(labels)
        padded = spec.pad_point and (2 not in given or spec.pad_box)
        padding = max(spec.fixed_points - len(given), int(padded))
        prompts = DecoderInputs(
            np.array([places + [[0, 0]] * padding], np.float32),
            np.array([given + [-1] * padding], np.int64),
            np.zeros((1, 1, m, m), np.float32) if logits is None else logits.reshape(1, 1, m, m),
            np.array([logits is not None], np.float32),
        )

        def decode(asked: DecoderInputs) -> Any:
            return self.decoder.run(None, {**maps, **vars(asked)})

        return self.family.answer(decode, prompts, place, "auto", "expected")[0][:2]

    def look_closer(
        self, image: Image.Image, seen: Any, logits: Any, box: Any
    ) -> tuple[Any, float]:
        """The mean of a box's answer and of a window's around it: mask and quality; or nothing."""
        import closer

        place, threshold, corners = seen[1], self.spec.mask_threshold, [2, 3]
        mask = self.draw(logits, place, box, corners, fine=False)
        window = closer.closer_window(
            closer.object_box(to_prompt(box, corners), mask), mask.shape, self.closer
        )
        mask[:] = False
        if window is None:
            return mask, 0.0
        x0, y0, x1, y1 = window
        near, moved = self.see(image.crop(window)), box.clip((x0, y0), (x1, y1)) - (x0, y0)
        second, quality = self.answer(near, moved, corners)
        around = closer.logits_around(logits, place, window, near[1]) - threshold
        mean = closer.mean_chance(second[0] - threshold, around, self.closer.weight)
        mask[y0:y1, x0:x1] = self.draw(mean + threshold, near[1], moved, corners)
        return mask, quality[0]

    def draw(
        self, logits: Any, place: Any, points: Any, labels: list[int], fine: bool = True
    ) -> Any:
        """A mask (H, W) bool in the photo's pixels, without small holes and islands: (m, m) in.

        points and labels are those of the prompt: what a click speaks for stays as it is.
        """
        scale = np.array(place.input_hw[::-1]) / place.size * (len(logits) / place.side)
        cells = (np.floor(np.array(points)) + 0.5) * scale - 0.5
        clicks, threshold = (cells[:, ::-1], np.array(labels)), self.spec.mask_threshold
        clean = clean_logits(logits, place, clicks, (SMALL, SMALL), threshold)
        whole = cv2.resize(clean, (place.side, place.side))
        filled = whole[: place.input_hw[0], : place.input_hw[1]]
        drawn = cv2.resize(filled, place.size) - threshold
        if fine and self.refiner is not None and max(place.size) > len(logits):
            self.refine(drawn, clean - threshold, place, points, labels)
        return drawn > 0

    def refine(self, drawn: Any, logits: Any, place: Any, points: Any, labels: list[int]) -> None:
        """Add to the photo's logits (H, W) what the network of edges says of the object."""
        import edges

        window = edges.window_around(logits, place)
        if window is None:
            return
        given = {
            "photo": edges.window_photo(place.pixels, window).transpose(2, 0, 1).astype(np.float32),
            "logits": edges.window_logits(logits, window)[None],
            "prompt": edges.window_prompt(to_prompt(points, labels), window),
        }
        said = self.refiner.run(None, {name: one[None] for name, one in given.items()})
        edges.add_change(drawn, said[0][0, 0], window)


def opened(photo: str) -> Image.Image:
    """A photo upright in RGB, what is transparent on white. Raises ValueError for deep pixels."""
    image = ImageOps.exif_transpose(Image.open(photo))
    if image.mode.startswith(("I", "F")):
        raise ValueError(
            f"wanted a photo of 8 bits a channel, {photo} has mode {image.mode}; bring its values "
            "to 0..255 first"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def checked(numbers: list[str], size: tuple[int, int]) -> Any:
    """x, y pairs (P, 2) from words. Raises ValueError for what is no place in the photo."""
    points = np.array(numbers, float).reshape(-1, 2)
    if not ((points >= 0) & (points <= size)).all():
        raise ValueError(f"wanted places in the photo of {size[0]} x {size[1]}, got {numbers}")
    if len(points) == 2 and not (points[0] < points[1]).all():
        raise ValueError(f"wanted a box X0 Y0 X1 Y1 with X0 < X1 and Y0 < Y1, got {numbers}")
    return points


def to_prompt(points: Any, labels: list[int]) -> SimpleNamespace:
    """Clicks and the corners of a box apart."""
    places, told = np.array(points), np.array(labels)
    corners = places[told >= 2]
    box = corners.reshape(-1) if len(corners) else None
    return SimpleNamespace(points=places[told < 2], labels=told[told < 2], box=box)


def resized(image: Image.Image, size: tuple[int, int], resample: str) -> Any:
    """The photo in (w, h), by the filter that the model learned with."""
    if resample in ("pillow_bilinear", "torch_antialias"):
        return np.asarray(image.resize(size, Image.Resampling.BILINEAR))
    smaller = resample == "area" and max(size) < max(image.size)
    kind = np.uint8 if resample == "area" else np.float32
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(np.asarray(image).astype(kind), size, interpolation=how)


def main(arguments: list[str]) -> int:
    """Answer one click or box; returns the exit code."""
    if len(arguments) not in (4, 6):
        print(__doc__, file=sys.stderr)
        return 2
    photo, *numbers, target = arguments
    try:
        if Path(target).resolve() == Path(photo).resolve():
            raise ValueError(f"the mask would be written over the photo {photo}; name another file")
        model = BundleModel()
        image = model.open(photo)
        points = checked(numbers, image.size)
        labels = [1] if len(points) == 1 else [2, 3]
        mask, quality = model.segment(image, points, labels)
        Image.fromarray(mask).save(target)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        print(f"example.py: {error}", file=sys.stderr)
        return 2
    print(f"{target}: quality {quality:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
