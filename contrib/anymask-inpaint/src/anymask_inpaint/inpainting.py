"""Inpainting by LaMa.

Around each hole, a square of the image is cropped, downscaled to at most 512 pixels, filled, and
pasted into the hole; all other pixels are unchanged. Nothing is downloaded: weights are local.

Letters: H W an image, h w a square of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from anymask.base import (
    BoolArray,
    FloatArray,
    InputError,
    UintImage,
    WeightsError,
    import_offline,
    pick_threads,
)
from anymask.runtime import download_command, home, import_torch

Filler = Callable[[UintImage, BoolArray], UintImage]  # (H, W, 3), (H, W) -> (H, W, 3)
Network = Callable[[FloatArray, FloatArray], FloatArray]  # (3, h, w), (h, w) of 0..1 -> (3, h, w)

SIDE = 512  # maximum side of the network's input in pixels
AROUND = 2.0  # side of a square, relative to the hole's longest side
NEAR = 64  # holes with a smaller distance in pixels are filled together
STEP = 8  # input sides are multiples of it
FIRST = "model.1.ffc.convl2l.weight"  # a parameter of the generator
FILES = ("big-lama.safetensors", "big-lama.ckpt", "best.ckpt", "big-lama.pth", "lama_fp32.onnx")


def open_lama(file: str | Path | None = None) -> Filler:
    """Load LaMa as an inpainting function.

    Args:
        file: Checkpoint of advimman/lama (.ckpt, .pth, .safetensors; requires torch), or a graph
            with the inputs image and mask of 512 x 512 (.onnx). Defaults to one of `FILES` in the
            folder `lama` of ANYMASK_HOME.

    Raises:
        WeightsError: The file is missing or not a LaMa model.
        MissingExtra: torch is required and not installed.
    """
    path = _own_file() if file is None else Path(file).expanduser()
    if not path.is_file():
        raise WeightsError(f"The LaMa weights {str(path)!r} do not exist. Check the path.")
    network = _open_graph(path) if path.suffix.lower() == ".onnx" else _open_checkpoint(path)
    return lambda image, hole: inpaint_hole(image, hole, network)


def _own_file() -> Path:
    """Weights in the store. Raises WeightsError with the download command."""
    folder = home() / "lama"
    found = [folder / name for name in FILES if (folder / name).is_file()]
    if found:
        return found[0]
    raise WeightsError(
        "LaMa is not downloaded (Apache-2.0, by advimman/lama). Download it with: "
        f"{download_command('Carve/LaMa-ONNX', 'lama_fp32.onnx', folder)}. Or pass a weights file "
        "(best.ckpt of big-lama, or an .onnx file)."
    )


def _open_checkpoint(path: Path) -> Network:
    torch = import_torch()
    from anymask.runtime import read_checkpoint
    from anymask_inpaint.lama import Lama, LamaConfig

    weights = read_checkpoint(path)
    start = next((name.removesuffix(FIRST) for name in weights if name.endswith(FIRST)), None)
    if start is None:
        raise WeightsError(
            f"{path} is not a LaMa checkpoint: the parameter generator.{FIRST} is missing. Use "
            "best.ckpt of big-lama."
        )
    generator = {  # training checkpoints also contain losses and a discriminator
        f"generator.{name.removeprefix(start)}": value
        for name, value in weights.items()
        if name.startswith(f"{start}model.")
    }
    model = Lama(LamaConfig.of({name: value.shape for name, value in generator.items()})).eval()
    try:
        model.load_state_dict(generator, strict=True)
    except RuntimeError as error:
        raise WeightsError(
            f"{path} is not a checkpoint of big-lama. Other LaMa versions are not supported."
        ) from error

    def fill(image: FloatArray, hole: FloatArray) -> FloatArray:
        with torch.inference_mode():
            out = model(torch.from_numpy(image)[None], torch.from_numpy(hole)[None, None])
        return np.asarray(out[0].numpy(), np.float32)

    return fill


def _open_graph(path: Path) -> Network:
    onnxruntime = import_offline("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = pick_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's exception classes have no public base class
        raise WeightsError(
            f"Cannot load {path}: the file is corrupted or incomplete. Download it again."
        ) from error
    inputs = {one.name: one for one in session.get_inputs()}
    masks = [name for name in inputs if "mask" in name.lower()]
    if len(inputs) != 2 or len(masks) != 1:
        raise WeightsError(
            f"{path} is not a LaMa model: expected the inputs image and mask, found "
            f"{', '.join(inputs)}. Use lama_fp32.onnx."
        )
    (mask,) = masks
    (source_image,) = inputs.keys() - {mask}

    def fill(pixels: FloatArray, hole: FloatArray) -> FloatArray:
        height, width = hole.shape
        more = ((0, SIDE - height), (0, SIDE - width))
        given: dict[str, Any] = {
            source_image: np.pad(pixels, ((0, 0), *more), mode="symmetric")[None],
            mask: np.pad(hole, more, mode="symmetric")[None, None],
        }
        (out,) = session.run(None, given)[:1]
        shown = np.asarray(out[0][:, :height, :width], np.float32)
        in_bytes = shown.max(initial=0) > 2  # output of some exports
        return np.asarray(shown / 255 if in_bytes else shown, np.float32)

    return fill


def inpaint_hole(image: UintImage, hole: BoolArray, network: Network) -> UintImage:
    """Fill the holes of an image; pixels outside are unchanged.

    Raises InputError if the hole covers the whole image.
    """
    if hole.all():
        raise InputError(
            "The mask covers the whole image, so there are no other pixels from which "
            "to fill it. Pass a smaller mask."
        )
    out = image.copy()
    joined = cv2.dilate(hole.astype(np.uint8), np.ones((NEAR + 1,) * 2, np.uint8))
    count, labels = cv2.connectedComponents(joined)
    for number in range(1, count):
        part = hole & (labels == number)
        here = _square(part)
        filled = _inpaint_square(out[here], hole[here], network)
        shown = np.clip(np.round(filled), 0, 255)
        out[here] = np.where(part[here][..., None], shown, out[here]).astype(np.uint8)
    return out


def _square(part: BoolArray) -> tuple[slice, slice]:
    """Square around a part with enough surroundings, clipped to the image."""
    x, y, width, height = cv2.boundingRect(part.astype(np.uint8))
    side = max(SIDE, round(AROUND * max(width, height)))
    ranges = []
    for first, length, whole in ((y, height, part.shape[0]), (x, width, part.shape[1])):
        start = max(0, min(first + length // 2 - side // 2, whole - side))
        ranges.append(slice(start, min(whole, start + side)))
    return ranges[0], ranges[1]


def _inpaint_square(image: UintImage, hole: BoolArray, network: Network) -> FloatArray:
    """Inpaint a square in the size of the network; resize the result to (h, w, 3), 0..255."""
    height, width = hole.shape
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    covered = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    more = tuple((0, -length % STEP) for length in covered.shape)
    pixels = np.pad(small, (*more, (0, 0)), mode="symmetric").transpose(2, 0, 1)
    empty = np.pad(covered.astype(np.float32), more, mode="symmetric")
    seen = network(np.ascontiguousarray(pixels), empty)[:, : size[1], : size[0]]
    large = cv2.resize(
        np.ascontiguousarray(seen.transpose(1, 2, 0)),
        (width, height),
        interpolation=cv2.INTER_CUBIC,
    )
    return np.asarray(large, np.float32) * 255
