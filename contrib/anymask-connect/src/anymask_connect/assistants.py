"""MCP server: tools to segment images in given folders (Model Context Protocol).

An assistant opens an image, requests masks, and receives reduced images, measurements and
run-length encoded masks. Masks of an image are numbered from 1 and kept until the image is evicted
(`KEPT` images stay open). Files outside the folders cannot be read, neither by `..`, an absolute
path nor a symbolic link. Only cut-outs are written, if an output folder was given.

The protocol is implemented by the official SDK.
"""

from __future__ import annotations

import base64
import functools
import inspect
import io
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, ImageContent, TextContent, ToolAnnotations

from anymask import __version__
from anymask.base import AnymaskError, InputError, UintImage, write_whole
from anymask.edit import cut_out
from anymask.find import Detector, open_detector
from anymask.images import list_images, load_image
from anymask.masks import Mask, Masks, Prompt, merged_prompts, rle_to_coco, save_image
from anymask.segment import EncodedImage, Prediction

if TYPE_CHECKING:
    from anymask import Model

KEPT = 4  # number of open images with embeddings and masks
SIDE = 512  # longer side of returned images, in pixels
LISTED = 200  # maximum number of image names per response
MAX_BYTES = 200_000_000  # maximum size of an image file
OUTSIDE = "This image is not in the shared folders. Call list_images to get the available names."

INSTRUCTIONS = """\
Segment objects in the user's images. Use the image names that list_images returns. Points are
(x, y) and boxes (x0, y0, x1, y1), in pixels of the original image from its upper left corner.
Returned images may be smaller: multiply coordinates that you read from them by
pixels_per_shown_pixel. Each mask has a number; pass it to refine or cut_out. Run lengths use
the COCO encoding."""


def assistant_server(
    model: Model,
    folders: Sequence[str | Path],
    *,
    detector: str | Path | Detector | None = None,
    out: str | Path | None = None,
) -> MCPServer:
    """Create an MCP server. `.run("stdio")` serves one assistant until it disconnects.

    Args:
        folders: Folders whose images may be read, including subfolders.
        detector: Detector for text prompts, as for `Model.find`. None: the known names of the
            model.
        out: Folder for cut-outs. None: cut-outs are not saved.

    Raises:
        InputError: A folder cannot be opened, or the detector is invalid.
    """
    reader = None if detector is None else open_detector(detector)
    desk = McpSession(model, Folders(folders), reader, None if out is None else read_folder(out))
    server = MCPServer("anymask", version=__version__, instructions=INSTRUCTIONS)
    for method in (
        desk.list_images, desk.open_image, desk.find, desk.click, desk.box, desk.everything,
        desk.refine, desk.cut_out,
    ):  # fmt: skip
        reads = method != desk.cut_out or out is None
        about = ToolAnnotations(read_only_hint=reads, destructive_hint=False, open_world_hint=False)
        server.add_tool(as_tool(method), annotations=about)
    return server


def as_tool(method: Callable[..., Answer]) -> Callable[..., CallToolResult]:
    """Convert a session method to an SDK tool. The assistant receives anymask errors as text."""

    @functools.wraps(method)
    def tool(**given: Any) -> CallToolResult:
        try:
            return method(**given).as_result()
        except AnymaskError as error:
            raise ToolError(str(error)) from error

    signature = inspect.signature(method, eval_str=True)
    tool.__signature__ = signature.replace(return_annotation=CallToolResult)  # type: ignore[attr-defined]
    return tool


@dataclass(frozen=True)
class Answer:
    """Response to an assistant: JSON data, and optionally an image (H, W, 3 or 4)."""

    facts: dict[str, Any]
    source_image: UintImage | None = None

    def as_result(self) -> CallToolResult:
        """Text without run-lengths, a reduced image, and structured content with all data."""
        facts, content = dict(self.facts), list[TextContent | ImageContent]()
        if self.source_image is not None:
            small = shrink(self.source_image)
            text = base64.b64encode(png_bytes(small)).decode()
            content.append(ImageContent(type="image", data=text, mime_type="image/png"))
            share = self.source_image.shape[1] / small.shape[1]
            facts["pixels_per_shown_pixel"] = round(share, 4)
        short = {
            name: [{k: v for k, v in one.items() if k != "rle"} for one in value]
            if name == "masks" else value
            for name, value in facts.items()
        }  # fmt: skip
        content.insert(0, TextContent(type="text", text=json.dumps(short)))
        return CallToolResult(content=list(content), structured_content=facts)


def shrink(image: UintImage) -> UintImage:
    """Reduce an image to a longer side of at most SIDE."""
    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def png_bytes(image: UintImage) -> bytes:
    """Encode an image (H, W, 3 or 4) as PNG."""
    data = io.BytesIO()
    save_image(data, image)
    return data.getvalue()


# Readable folders.


def read_folder(folder: str | Path) -> Path:
    """Resolve a folder. Raises InputError if it cannot be opened."""
    try:
        place = Path(folder).expanduser().resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{str(folder)!r} cannot be opened. Pass a readable folder.") from error
    if not place.is_dir():
        raise InputError(f"{str(folder)!r} is a file. Pass a folder.")
    return place


class Folders:
    """Folders whose images may be read. Raises InputError if there are none, or one is invalid."""

    def __init__(self, folders: Sequence[str | Path]) -> None:
        if not folders:
            raise InputError(
                "No folder was given. Pass a folder with images that the assistant may read."
            )
        self.roots = tuple(dict.fromkeys(map(read_folder, folders)))

    def images(self) -> list[str]:
        """Image names: relative to the folder, or absolute if there are several folders."""
        found = []
        for root in self.roots:
            for path in list_images(root):
                if self._is_inside(path):
                    name = path.relative_to(root) if len(self.roots) == 1 else path
                    found.append(name.as_posix())
        return found

    def read(self, name: str) -> tuple[Path, bytes]:
        """Read an image file. Returns its resolved path and content.

        Raises InputError if it is too large. Files outside the folders and missing files raise the
        same error, which reveals nothing about other files.
        """
        for root in self.roots:
            try:
                path = (root / name).resolve(strict=True)
                if not self._is_inside(path):
                    continue
                with path.open("rb") as file:
                    # Detects a link that replaced the file after the check.
                    same = os.path.samestat(os.fstat(file.fileno()), path.lstat())
                    data = file.read(MAX_BYTES + 1) if same else b""
            except (OSError, ValueError, RuntimeError):
                continue
            if len(data) > MAX_BYTES:
                raise InputError(
                    f"{name} is larger than the limit of {MAX_BYTES // 10**6} MB. Use a "
                    "smaller image."
                )
            if same:
                return path, data
        raise InputError(OUTSIDE)

    def _is_inside(self, path: Path) -> bool:
        """Whether a path is a file in the folders, with links resolved."""
        try:
            place = path.resolve(strict=True)
            return place.is_file() and any(place.is_relative_to(root) for root in self.roots)
        except (OSError, ValueError, RuntimeError):
            return False


# Open images.


@dataclass
class OpenImage:
    """An open image with its masks by number, and the predictions of prompted masks."""

    name: str
    data: bytes
    pixels: UintImage
    encoded: Any  # EncodedPhoto, a model input that replaces the image
    masks: dict[int, Mask] = field(default_factory=dict)
    made: dict[int, Prediction] = field(default_factory=dict)

    def keep(self, mask: Mask, made: Prediction | None = None) -> int:
        """Add a mask and return its number."""
        number = len(self.masks) + 1
        self.masks[number] = replace(mask, source_image=None)
        if made is not None:
            self.made[number] = replace(made, source_image=None)
        return number

    def mask(self, number: int) -> Mask:
        """Mask of a number. Raises InputError if it does not exist."""
        if number not in self.masks:
            known = f"1 to {len(self.masks)}" if self.masks else "none yet"
            raise InputError(f"Unknown mask number {number}. Mask numbers of this image: {known}.")
        return self.masks[number]

    def answer(self, numbers: Sequence[int], **more: Any) -> Answer:
        """Response with masks drawn on the image, and their data."""
        some = [self.masks[number] for number in numbers]
        hw = (self.pixels.shape[0], self.pixels.shape[1])
        facts = {
            "image": self.name, "width": hw[1], "height": hw[0], **more,
            "masks": [
                {
                    "mask": number,
                    "label": one.label,
                    "score": round(float(one.score), 4),
                    "box": [round(float(edge), 1) for edge in one.box],
                    "area": one.area,
                    "rle": rle_to_coco(one.rle),
                }
                for number, one in zip(numbers, some, strict=True)
            ],
        }  # fmt: skip
        return Answer(facts, Masks(some, image_hw=hw).draw(self.pixels))


class McpSession:
    """Tools of the server. Their docstrings are the tool descriptions for the assistant.

    One request is processed at a time.
    """

    def __init__(
        self, model: Model, folders: Folders, detector: Detector | None, out: Path | None
    ) -> None:
        self.model, self.folders, self.detector, self.out = model, folders, detector, out
        self._open: OrderedDict[Path, OpenImage] = OrderedDict()
        self._asking = threading.RLock()

    def list_images(self, start: int = 0) -> Answer:
        """List the image names, 200 at a time. start: how many images to skip."""
        names = self.folders.images()
        return Answer({"images": names[max(0, start) :][:LISTED], "count": len(names)})

    def open_image(self, image: str) -> Answer:
        """Return an image in reduced size, its original size, and its masks so far."""
        with self._asking:
            known = self._image(image)
            return known.answer([*known.masks])

    def find(
        self, image: str, words: list[str], score: float | None = None, most: int = 30
    ) -> Answer:
        """Find every instance of objects by text prompts, such as ["cat", "red cup"]. Each instance
        has a mask, a label and a score. score: minimum score, 0 to 1; most: maximum number of
        returned masks."""
        with self._asking:
            known = self._image(image)
            found = self.model.find(known.pixels, words, detector=self.detector, score=score)
            return self._list_masks(known, found, most)

    def everything(self, image: str, most: int = 30) -> Answer:
        """Segment all objects in an image, best first. most: maximum number of returned masks."""
        with self._asking:
            known = self._image(image)
            return self._list_masks(known, self.model.everything(known.encoded), most)

    def click(
        self, image: str, points: list[tuple[float, float]], labels: list[int] | None = None
    ) -> Answer:
        """Segment one object from points (x, y) in pixels of the image. labels: one per point, 1 on
        the object, 0 outside of it; default: all 1."""
        with self._asking:
            known = self._image(image)
            return self._respond(known, Prompt.of(points, labels))

    def box(self, image: str, box: tuple[float, float, float, float]) -> Answer:
        """Segment the object in a box x0, y0, x1, y1 in pixels of the image."""
        with self._asking:
            known = self._image(image)
            return self._respond(known, Prompt.of(box=box))

    def refine(
        self,
        image: str,
        mask: int,
        points: list[tuple[float, float]] | None = None,
        labels: list[int] | None = None,
    ) -> Answer:
        """Improve a mask and return it as a new mask. points and labels, as in click: on missing
        parts (label 1) or on wrong parts (label 0). Without points, the model refines the mask."""
        with self._asking:
            known = self._image(image)
            given = known.mask(mask)
            if points:
                made, prompt = known.made.get(mask), Prompt.of(points, labels)
                if made is None or made.prompt is None:  # use the mask itself as the prompt
                    prompt = merged_prompts(Prompt.of(mask=given.mask), prompt)
                    return self._respond(known, prompt, given.label)
                return self._respond(known, merged_prompts(made.prompt, prompt), given.label, made)
            better = self.model.refine(known.encoded, given.mask).best
            return known.answer([known.keep(replace(better, label=given.label))])

    def cut_out(self, image: str, mask: int, save_as: str | None = None) -> Answer:
        """Cut out the object of a mask with soft edges on a transparent background, cropped to its
        box. save_as: file name such as "cup.png" to save it in full size, if the user set an
        output folder."""
        with self._asking:
            known = self._image(image)
            source_image = cut_out(known.pixels, known.mask(mask).mask, crop=True)
            facts: dict[str, Any] = {
                "image": known.name, "mask": mask,
                "width": source_image.shape[1], "height": source_image.shape[0],
            }  # fmt: skip
            if save_as is not None:
                facts["saved"] = self._save(source_image, save_as)
            return Answer(facts, source_image)

    def _image(self, name: str) -> OpenImage:
        """Open image, encoded on first use. Raises InputError, ImageError."""
        path, data = self.folders.read(name)
        known = self._open.get(path)
        if known is None or known.data != data:
            pixels = load_image(data)
            encoded = EncodedImage(self.model.encode(pixels), pixels)
            known = OpenImage(name, data, pixels, encoded)
            self._open[path] = known
        self._open.move_to_end(path)
        while len(self._open) > KEPT:
            self._open.popitem(last=False)
        return known

    def _respond(
        self,
        known: OpenImage,
        prompt: Prompt,
        label: str | None = None,
        made: Prediction | None = None,
    ) -> Answer:
        """Response to a prompt, or to points added to an earlier prediction."""
        before = [made] if "mask" in self.model.spec.accepts and prompt.mask is None else None
        (answer,) = self.model.segment(known.encoded, prompts=[prompt], previous=before)
        return known.answer([known.keep(replace(answer.best, label=label), answer)])

    def _list_masks(self, known: OpenImage, found: Masks, most: int) -> Answer:
        numbers = [known.keep(one) for one in found[: max(1, most)]]
        return known.answer(numbers, found=len(found))

    def _save(self, image: UintImage, name: str) -> str:
        """Write a cut-out and return its name. Raises InputError if the name is unusable."""
        if self.out is None:
            raise InputError(
                "No output folder is configured, so cut-outs cannot be saved. Start the "
                "server with --output DIR."
            )
        if Path(name).name != name or Path(name).suffix.lower() != ".png" or "\0" in name:
            raise InputError(
                f"Invalid save_as {name!r}. Use a file name that ends in .png, without a folder."
            )
        target = self.out / name
        if os.path.lexists(target):
            raise InputError(f"{name} already exists. Choose another name.")
        write_whole(target, png_bytes(image))
        return name
