"""Cut-outs: an object with soft alpha on transparency, a color, an image or its blurred image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, Unpack

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from anymask.base import (
    BoolArray,
    FloatArray,
    InputError,
    PromptError,
    Setting,
    UintImage,
    check_keywords,
    describe_settings,
    whole_file,
)
from anymask.edit.alpha import WIDE_BLUR, foreground_colors, size_error, soft_alpha, surroundings
from anymask.edit.subject import prompted_object
from anymask.images import ImageSource, display_image, load_image, strips
from anymask.masks import TRANSPARENT, Masks, image_format, save_image

if TYPE_CHECKING:
    from anymask.find import Phrases
    from anymask.keywords import CutoutDict, CutoutKeywords
    from anymask.segment import Model

Background = str | Path | UintImage | Literal["blur"] | None

BACKGROUND_BLUR = 0.02  # sigma of a background blur, relative to the image's longest side
SHADOW = 0.015  # sigma and offset of a shadow, relative to the image's longest side
SHADE = 0.45  # opacity of a shadow, 0..1


def parse_background(text: str) -> Background:
    """Parse a color, `blur`, or an image file by its suffix. Raises InputError."""
    suffix = Path(text).suffix.lower()
    chosen = Path(text).expanduser().absolute() if suffix and image_format(suffix) else text
    check_background(chosen)
    return chosen


def check_background(background: object) -> None:
    """Raise InputError unless it is None, a color, "blur", the Path of an image, or an image.

    A color is a name or code, an image an array (H, W, 3) of type uint8.
    """
    remedy = "Use a color (white, #20a0ff), `blur`, or an image file."
    if isinstance(background, Path):
        if not background.is_file():
            raise InputError(f"The background file {str(background)!r} does not exist. {remedy}")
    elif isinstance(background, np.ndarray):
        if background.ndim != 3 or background.shape[2] < 3 or background.dtype != np.uint8:
            raise InputError(
                f"Invalid background of shape {background.shape} and type {background.dtype}. "
                "Pass an array (H, W, 3) of uint8."
            )
    elif background not in (None, "blur"):
        try:
            ImageColor.getrgb(str(background))
        except ValueError:
            raise InputError(
                f"Invalid background {str(background)[:60]!r}. {remedy} In Python, pass a Path."
            ) from None


@describe_settings
@dataclass(frozen=True, kw_only=True)
class CutoutSettings:
    """Settings of cut-outs.

    Raises:
        InputError: A value is out of range.
    """

    soft: Annotated[
        bool,
        Setting(
            "estimate soft alpha at the object boundary, and remove the background "
            "color from the edge pixels"
        ),
    ] = True
    background: Annotated[
        Background,
        Setting(
            "new background: a color (white, #20a0ff), an image file (scaled to cover "
            "the output), or `blur` (the original background, blurred)",
            check=check_background,
            metavar="COLOR|FILE|blur",
            parse=parse_background,
            default="transparent",
        ),
    ] = None
    shadow: Annotated[bool, Setting("add a soft shadow below the object")] = False
    crop: Annotated[bool, Setting("crop the result to the box of the object")] = False
    margin: Annotated[int, Setting("margin around the box of the object", unit="pixels")] = 0

    def __post_init__(self) -> None:
        if self.margin and not self.crop:
            raise InputError("margin= requires crop=. Set crop, or omit margin.")

    @property
    def about(self) -> dict[str, object]:
        """The settings as JSON types."""
        behind = self.background
        background = "picture" if isinstance(behind, np.ndarray) else behind and str(behind)
        return asdict(self) | {"background": background}


def cut_image(
    model: Model,
    image: ImageSource,
    prompt: Mapping[str, Any],
    words: Phrases | None = None,
    **settings: Unpack[CutoutKeywords],
) -> Image.Image:
    """Implementation of `Model.cutout`.

    Args:
        model: The model.
        image: The image.
        prompt: Values of points, point_labels, box and mask, or None.
        words: Text prompt, or None.
        settings: Keywords of `Model.cutout`.
    """
    names = sorted(["like", "unlike", "bgr", "allow_url", *CutoutSettings.__dataclass_fields__])
    check_keywords(settings, [*prompt, "words", *names])
    rest: dict[str, Any] = dict(settings)
    sought = {"words": words, "like": rest.pop("like", None), "unlike": rest.pop("unlike", None)}
    source = {name: rest.pop(name) for name in ("bgr", "allow_url") if name in rest}
    CutoutSettings(**rest)  # validates before the image is read
    pixels = load_image(image, alpha=True, **source)
    mask = object_pixels(model, display_image(pixels), prompt, sought)
    return Image.fromarray(cut_out(pixels, mask, **rest))


def object_pixels(
    model: Model, image: UintImage, prompt: Mapping[str, Any], sought: Mapping[str, Any]
) -> BoolArray:  # (H, W, 3) -> (H, W)
    """Pixels of a prompt, of all matches of a text or exemplar, or of the main subject.

    Args:
        model: The model.
        image: Image (H, W, 3).
        prompt: Prompt arguments of `Model.segment`, or None.
        sought: Arguments words, like and unlike of `Model.find`, or None.

    Raises:
        PromptError: Nothing is found, or both kinds of prompts are given.
    """
    given = {name: part for name, part in prompt.items() if part is not None}
    search = any(part is not None for part in sought.values())
    if given and search:
        raise PromptError(
            "Prompts for one object cannot be combined with a text prompt or an exemplar."
        )
    if search:
        return objects_sought(model, image, sought).union().mask
    if (cut := prompted_object(model, image, image, given)) is None:
        raise PromptError(
            "No main subject found in this image. Pass points, a box or a text prompt."
        )
    return cut.mask


def objects_sought(model: Model, image: UintImage, sought: Mapping[str, Any]) -> Masks:
    """All matches of a text or exemplar in an image (H, W, 3).

    Raises:
        PromptError: Nothing is found.
    """
    given = {name: value for name, value in sought.items() if value is not None}
    masks: Masks = model.find(image, **given)
    if not masks:
        relation = (
            f"matches {given['words']!r}" if "words" in given else "is similar to the exemplar"
        )
        raise PromptError(f"No object in this image {relation}. Pass a box, or another prompt.")
    return masks


def cut_out(
    image: UintImage, mask: BoolArray, *, empty: bool = False, **settings: Unpack[CutoutDict]
) -> UintImage:  # (H, W, 3 or 4), (H, W)
    """Cut out the object of a mask: (H, W, 4) RGBA, or (H, W, 3) with a background.

    Args:
        image: Image (H, W, 3), or (H, W, 4) whose alpha is multiplied with that of the object.
        mask: Mask (H, W).
        empty: Whether the mask may be empty, as on video frames without the object.
        settings: Fields of `CutoutSettings`. Without a background, a shadow is part of the alpha.

    Raises:
        InputError: The mask is empty, sizes differ, or a setting is out of range.
    """
    how = CutoutSettings(**settings)
    if image.shape[:2] != mask.shape:
        raise size_error(image, mask)
    if not empty and not mask.any():
        raise InputError("The mask is empty. Pass a point, a box or a non-empty mask.")
    here = _window(mask, how)
    part, inside = image[here], mask[here]
    alpha = soft_alpha(display_image(part), inside) if how.soft else inside.astype(np.float32)
    colors = np.ascontiguousarray(part[..., :3])
    colors = foreground_colors(colors, alpha) if how.soft else colors
    if part.shape[2] == 4:
        alpha *= part[..., 3] / np.float32(255)
    shade = np.zeros_like(alpha)
    if how.shadow:  # a little below the object
        down = SHADOW * max(mask.shape)
        shade = np.roll(alpha, round(down), axis=0)
        shade[: round(down)] = 0
        shade = cv2.GaussianBlur(shade, (0, 0), max(down, 0.5)) * SHADE
    # Only what remains of the image is drawn: most of a large image is often cropped away.
    beyond = how.margin if how.crop and alpha.any() else max(mask.shape)
    top, left = (max(0, span.start - beyond) for span in here)
    drawn = slice(top, here[0].stop + beyond), slice(left, here[1].stop + beyond)
    if how.background is None:
        behind, source_image = None, np.zeros((*mask[drawn].shape, 4), np.uint8)
    else:
        behind = _behind(image, mask, how.background)[drawn]
        source_image = np.rint(behind).astype(np.uint8)
    corner = here[0].start - top, here[1].start - left
    inner = tuple(slice(low, low + size) for low, size in zip(corner, alpha.shape, strict=True))
    for rows in strips(alpha.shape):
        layers = colors[rows], alpha[rows], shade[rows]
        source_image[inner][rows] = (
            _transparent(*layers) if behind is None else _on(behind[inner][rows], *layers)
        )
    return source_image[box_slices(alpha > 0, how.margin, corner)] if how.crop else source_image


def _window(mask: BoolArray, how: CutoutSettings) -> tuple[slice, slice]:
    """Rows and columns that a cut-out can differ in from its background."""
    if not mask.any():
        return slice(0, 1), slice(0, 1)
    top, left, bottom, right, _ = surroundings(mask)
    far = WIDE_BLUR + (5 * math.ceil(SHADOW * max(mask.shape)) + 4 if how.shadow else 0)
    return slice(max(0, top - far), min(bottom + far, mask.shape[0])), slice(
        max(0, left - far), min(right + far, mask.shape[1])
    )


def save_cutout(
    path: Path, image: UintImage, mask: BoolArray, **settings: Unpack[CutoutDict]
) -> None:
    """Write the cut-out of a mask to a file; formats without alpha have a white background.

    Raises:
        InputError: The errors of `cut_out`.
    """
    with whole_file(path) as file:
        write_cutout(file, path.suffix.lower(), image, mask, **settings)


def write_cutout(
    file: BinaryIO,
    suffix: str,
    image: UintImage,
    mask: BoolArray,
    *,
    empty: bool = False,
    **settings: Unpack[CutoutDict],
) -> None:
    """Write the cut-out of a mask to an open file, as `save_cutout` does.

    Args:
        file: Binary file.
        suffix: Suffix of the format, with its dot.
        image: Image (H, W, 3).
        mask: Mask (H, W).
        empty: As for `cut_out`.
        settings: Fields of `CutoutSettings`.

    Raises:
        InputError: The errors of `cut_out`.
    """
    settings = {**settings}
    if suffix not in TRANSPARENT and settings.get("background") is None:
        settings["background"] = "white"
    save_image(file, cut_out(image, mask, empty=empty, **settings), suffix)


def box_slices(
    mask: BoolArray, margin: int = 0, corner: tuple[int, int] = (0, 0)
) -> tuple[slice, slice]:
    """Rows and columns of the mask's box with a margin in pixels; all if the mask is empty.
    `corner` is the first row and column of the mask in the image."""
    rows, columns = (np.flatnonzero(mask.any(axis=1 - n)) + corner[n] for n in (0, 1))
    if not rows.size:
        return slice(None), slice(None)
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + 1 + margin),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + 1 + margin),
    )


def _transparent(colors: UintImage, alpha: FloatArray, shade: FloatArray) -> UintImage:
    """RGBA; a shadow is black behind the object, not premultiplied."""
    whole = alpha + shade * (1 - alpha)
    share = np.where(whole > 0, alpha / np.maximum(whole, 1e-6), 0)
    rgb = np.round(colors * share[..., None] if shade.any() else colors).astype(np.uint8)
    shown = np.round(whole * 255).astype(np.uint8)
    rgb[shown == 0] = 0
    return np.dstack([rgb, shown])


def _on(behind: NDArray[Any], colors: UintImage, alpha: FloatArray, shade: FloatArray) -> UintImage:
    """RGB of the object and its shadow on a background."""
    behind = behind * (1 - shade[..., None])
    mixed = colors * alpha[..., None] + behind * (1 - alpha[..., None])
    return np.clip(np.round(mixed), 0, 255).astype(np.uint8)


def _behind(image: UintImage, mask: BoolArray, background: str | Path | UintImage) -> NDArray[Any]:
    """Background (H, W, 3) in 0..255. Raises ImageError if its file is invalid."""
    if isinstance(background, Path):
        background = load_image(background)
    if isinstance(background, np.ndarray):
        return covering(background, mask.shape)
    if background != "blur":
        color = np.array(ImageColor.getrgb(background)[:3], np.uint8)
        return np.broadcast_to(color, (*mask.shape, 3))
    # The blurred image, without the colors of the object.
    image, width = display_image(image), BACKGROUND_BLUR * max(mask.shape)
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    outside = (~grown).astype(np.float32)
    total = cv2.GaussianBlur(image * outside[..., None], (0, 0), width)
    weight = cv2.GaussianBlur(outside, (0, 0), width)[..., None]
    whole = cv2.GaussianBlur(image.astype(np.float32), (0, 0), width)
    return np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), whole)


def covering(image: UintImage, hw: tuple[int, int]) -> UintImage:
    """Scale an image to cover (H, W), and crop it to the centre."""
    scale = max(hw[0] / image.shape[0], hw[1] / image.shape[1])
    size = [max(n, round(m * scale)) for n, m in zip(hw, image.shape[:2], strict=True)]
    shrinks = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    large = cv2.resize(image[..., :3], (size[1], size[0]), interpolation=shrinks)
    top, left = (size[0] - hw[0]) // 2, (size[1] - hw[1]) // 2
    return np.asarray(large[top : top + hw[0], left : left + hw[1]], np.uint8)
