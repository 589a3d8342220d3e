"""Granularity: candidates in, those of the wanted level (part or whole) first out.

A click on a wheel may mean the bolt, the wheel or the car (Segment Anything, section 3, "resolving
ambiguity"): models answer it with several masks, and rank them by quality. Somebody who cuts out
cars, or labels wheels, knows which it is, and says so once.

Letters: K candidates.

Settings of one answer.

The keyword arguments of `Model`.

What callers hand to a model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypedDict, cast

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from anymask.base import (
    InputError,
    PromptError,
    Setting,
    UintImage,
    check_keywords,
    check_settings,
    describe_settings,
    name_all_keywords,
)
from anymask.images import ImageSource, is_address, list_photos, load_image, picture_of
from anymask.masks import (
    CLEAN,
    Features,
    LeastArea,
    ModelSpec,
    Picture,
    Prompt,
    RegionSize,
    parse_region_size,
)
from anymask.models.rules import Multimask, Ranking
from anymask.segment.prediction import Prediction

if TYPE_CHECKING:
    from anymask.masks import ChannelMix


Level = Literal["part", "whole", "all"]
Granularity = Level | float

LEVELS = ("part", "whole", "all")
COMPARABLE = 0.1  # of quality: candidates so far below the best one are no choice


def check_granularity(granularity: object) -> None:
    """Raises InputError for what is neither a level nor a place between part and whole."""
    if granularity in LEVELS and isinstance(granularity, str):
        return
    if isinstance(granularity, bool) or not isinstance(granularity, int | float):
        place = math.nan
    else:
        place = float(granularity)
    if not 0 <= place <= 1:
        raise InputError(
            'granularity must be "part", "whole", "all" or a number from 0 (part) to 1 (whole), '
            f"got {granularity!r}"
        )


def order_by_granularity(answer: Prediction, granularity: Granularity) -> Prediction:
    """The same candidates, the one that the granularity means first, then by quality.

    Among the candidates that have an object and whose quality is within `COMPARABLE` of the best
    one's, "part" means the smallest, "whole" the largest, and a number the one at that place
    between them. "all" leaves the order as it is.
    """
    if granularity == "all" or len(answer) < 2:
        return answer
    sizes = answer.cells()
    good = answer.scores >= answer.scores.max() - np.float32(COMPARABLE)
    choice = np.flatnonzero(good & (sizes > 0))
    if not len(choice):
        return answer
    by_size = choice[np.argsort(sizes[choice], kind="stable")]
    place = {"part": 0.0, "whole": 1.0}.get(str(granularity), granularity)
    first = int(by_size[math.floor(float(place) * (len(by_size) - 1) + 0.5)])
    return answer.picked([first, *(index for index in range(len(answer)) if index != first)])


Zoom = bool | Literal["auto"]
RefineEdges = bool | Literal["auto"]
RetryStep = Literal["shift", "zoom", "tile", "larger"]

RETRY_STEPS: tuple[RetryStep, ...] = ("zoom", "tile", "larger", "shift")


class LargerModel(Protocol):
    """What asking again needs of another model (`Model` is one)."""

    @property
    def spec(self) -> ModelSpec: ...

    def encode(self, image: UintImage) -> Features: ...

    @property
    def segment(self) -> Callable[..., Any]: ...


def _check_steps(steps: object) -> None:
    listed = steps if isinstance(steps, tuple | list) else (steps,)
    strange = [step for step in listed if step not in RETRY_STEPS]
    if strange:
        raise InputError(f"steps are {', '.join(RETRY_STEPS)}; got {strange[0]!r}")


@name_all_keywords
@describe_settings
@dataclass(frozen=True, kw_only=True)
class Retry:
    """When and how long to ask again. Raises InputError for values out of range."""

    seconds: Annotated[
        float, Setting("for one call, however many prompts or masks it is about", below=None)
    ] = 2.0
    quality: Annotated[float, Setting("answers of at least this quality are left alone")] = 0.7
    steps: Annotated[
        tuple[RetryStep, ...], Setting("which ways, in this order", check=_check_steps)
    ] = RETRY_STEPS
    larger: Annotated[
        LargerModel | None,
        Setting('a model for the step "larger"; its quality is compared as it is'),
    ] = None
    clock: Annotated[
        Callable[[], float], Setting("tells the time in seconds", default="time.monotonic")
    ] = field(default=time.monotonic, repr=False)

    def __post_init__(self) -> None:
        check_settings(self)


def check_retry(retry: object) -> Retry | None:
    """Raises InputError for what is neither a `Retry` nor None."""
    if retry is None or isinstance(retry, Retry):
        return retry
    raise InputError(f"retry must be anymask.Retry(...) or None, got {retry!r}")


def _check_area(name: str) -> Callable[[object], object]:
    return lambda given: given == "auto" or parse_region_size(given, name)


class SegmentSettingsDict(TypedDict, total=False):
    """The keyword arguments of `SegmentSettings`; a test says that the two agree."""

    multimask: Multimask
    zoom: Zoom
    mirror: bool
    granularity: Granularity
    ranking: Ranking
    max_hole_area: RegionSize
    min_island_area: RegionSize
    refine_edges: RefineEdges
    retry: Retry | None


@describe_settings
@dataclass(frozen=True, kw_only=True)
class SegmentSettings:
    """How prompts are answered. Raises InputError for values out of range."""

    multimask: Annotated[
        Multimask,
        Setting(
            '"auto": three masks for a lone click, which may mean a part or the whole, '
            "one mask for a clearer prompt, and negative clicks are always obeyed; True or "
            "False: the three or the one, untouched, as the model's own reference code answers"
        ),
    ] = "auto"
    zoom: Annotated[
        Zoom,
        Setting(
            '"auto": with multimask="auto", by models that gain by it: answer once more in '
            "a window around the first answer, where that shows the object larger; True: by every "
            "model, where others keep the second answer only when its quality is higher; False: "
            "never; it needs the photo, from an embedding answers stay as they are"
        ),
    ] = "auto"
    mirror: Annotated[
        bool,
        Setting(
            "ask about the photo's mirror image, too, and answer with the mean of both: better "
            "masks for twice the time; it needs the photo, not its embedding"
        ),
    ] = False
    granularity: Annotated[
        Granularity,
        Setting(
            'which of several masks comes first: "all": that of the highest quality; "part" or '
            '"whole": the smallest or the largest of those of comparable quality; or a number from '
            "0 (part) to 1 (whole), such as `Prediction.granularity_of` gives",
            check=check_granularity,
        ),
    ] = "all"
    ranking: Annotated[
        Ranking,
        Setting(
            'what orders the masks of a lone click: "expected": what the model\'s family '
            'learned of their order, where it did; "own": the network\'s own number'
        ),
    ] = "expected"
    max_hole_area: Annotated[
        RegionSize,
        Setting(
            'fill enclosed holes of less: pixels (50) or a share of the mask (0.05, "5%"), 0 for '
            'none; "auto": 5% of the mask with multimask="auto", else 0; a negative click keeps '
            "its hole",
            check=_check_area("max_hole_area"),
            form="PIXELS|SHARE",
        ),
    ] = "auto"
    min_island_area: Annotated[
        RegionSize,
        Setting(
            "remove parts of less, in the same units; the largest part and those of positive "
            "clicks stay",
            check=_check_area("min_island_area"),
            form="PIXELS|SHARE",
        ),
    ] = "auto"
    refine_edges: Annotated[
        RefineEdges,
        Setting(
            "True: where the model's cells are coarser than the photo, put the mask's edge where "
            "the photo has it, by a network that was trained for the model; without one, and from "
            "an embedding, masks stay as they are; "
            '"auto": with multimask="auto"; False: never'
        ),
    ] = "auto"
    retry: Annotated[
        Retry | None,
        Setting(
            "when and how long to ask again for a better answer; None: never", check=check_retry
        ),
    ] = None

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def least_areas(self) -> tuple[LeastArea, LeastArea]:
        """Below which holes are filled and islands removed."""
        usual = CLEAN if self.multimask == "auto" else 0
        holes, islands = (
            parse_region_size(usual if given == "auto" else given, "area")
            for given in (self.max_hole_area, self.min_island_area)
        )
        return holes, islands


class SourceDict(TypedDict, total=False):
    """How a photo is read: see `images.load_image`."""

    bgr: bool
    allow_url: bool


class SegmentKeywords(SegmentSettingsDict, SourceDict, total=False):
    """The keyword arguments of `Model.segment` beside the prompt."""


class BatchKeywords(SegmentKeywords, total=False):
    """The same with boxes of several objects, (N, 4)."""

    boxes: ArrayLike | None


SOURCE_WORDS = frozenset(SourceDict.__optional_keys__)
PROMPT_WORDS = ("points", "labels", "box", "boxes", "mask", "prompts")
_SEGMENT_WORDS = tuple(SegmentSettingsDict.__optional_keys__)

_PREDICTOR = "segment(photo, points=...); segment-anything's own: anymask.sam.SamPredictor(model)"
_LOAD = 'anymask.load(name, device="cuda")'
OTHER_METHODS = {
    "set_image": "embed(photo), then segment(embedding, ...); segment-anything's own: "
    "anymask.sam.SamPredictor(model)",
    "predict": _PREDICTOR,
    "predict_torch": _PREDICTOR,
    "generate": "everything(photo); segment-anything's own: "
    "anymask.sam.SamAutomaticMaskGenerator(model)",
    "to": _LOAD,
    "cpu": _LOAD,
    "cuda": _LOAD,
    "half": 'anymask.load(name, precision="fp16")',
    "eval": "nothing: a model is always ready to answer",
    "add_new_points_or_box": "track(video), then its session's prompts",
    "propagate_in_video": "track(video), then its session's masks",
}


NOT_CALLED = (
    "a Model is not called itself, for there are two questions to ask: model.segment(photo, "
    "points=[(x, y)]) or box=(x0, y0, x1, y1) for one object, model.everything(photo) for all "
    "masks; segment-anything's own: anymask.sam"
)


def no_method(name: str) -> str:
    """What to tell of a method that a Model lacks: also what to call here instead of it."""
    here = f"; here it is {OTHER_METHODS[name]}" if name in OTHER_METHODS else ""
    return f"a Model has no {name!r}{here}"


def read_source(given: Mapping[str, Any], also: Collection[str] = ()) -> SourceDict:
    """The keyword arguments of a call that takes nothing else. Raises InputError.

    also  the arguments that it has beside these, for the hint
    """
    check_keywords(given, [*also, *sorted(SOURCE_WORDS)])
    return cast(SourceDict, given)


def split_segment(
    given: Mapping[str, Any], also: Collection[str] = ()
) -> tuple[SourceDict, SegmentSettings]:
    """What a call was given beside the prompt: how the photo is read, and the settings.

    also  the arguments that the call has beside these, for the hint

    Raises InputError for a name that nobody knows, or a value out of range.
    """
    source, rest = split_source(given)
    check_keywords(rest, [*also, *sorted(_SEGMENT_WORDS), *sorted(SOURCE_WORDS)])
    return source, SegmentSettings(**rest)


def split_source(given: Mapping[str, Any]) -> tuple[SourceDict, dict[str, Any]]:
    """How the photo is read, and the rest."""
    source = {name: value for name, value in given.items() if name in SOURCE_WORDS}
    rest = {name: value for name, value in given.items() if name not in SOURCE_WORDS}
    return cast(SourceDict, source), rest


Images = str | Path | Iterable[ImageSource | Features]
Request = tuple[ImageSource | Features, Prompt | Sequence[Prompt]]
Reply = Prediction | list[Prediction]

_PHOTOS = (str, Path, bytes, Image.Image, Features)  # what is a photo in a list, and no number


@dataclass(frozen=True)
class EncodedPhoto:
    """An embedding, and the photo where it is there.

    picture  what the answers remember of the photo
    """

    embedding: Features
    photo: UintImage | None = None
    picture: Picture | None = None


def list_images(images: Images) -> list[ImageSource | Features]:
    """The photos of a folder, a pattern or a list. Raises ImageError where none is meant."""
    listed = [images] if isinstance(images, str | Path) else images
    found: list[ImageSource | Features] = []
    for image in listed:
        if isinstance(image, str | Path) and not is_address(image):
            found += list_photos(image)
        else:
            found.append(image)
    return found


def load_one(
    image: ImageSource, source: SourceDict, channels: ChannelMix | None = None
) -> UintImage:
    """Read a photo; `channels` are the model's, where it sees others than a photo's.

    Raises ImageError, InputError for several photos or another number of channels.
    """
    several = _several(image)
    if several:
        raise InputError(
            f"wanted one photo, got {several}; for several photos there are encode_many, "
            "segment_many and everything_many, which give an answer for each"
        )
    if channels is None:
        return load_image(image, **source)
    if source:
        raise InputError(
            f"{' and '.join(source)} is about photos, this model takes pictures of "
            f"{channels.count} channels as they were recorded; leave it out"
        )
    from anymask.images.channels import load_mixed  # few models need its modules

    return load_mixed(image, channels)


def load_shown(
    image: ImageSource, source: SourceDict, channels: ChannelMix | None
) -> tuple[UintImage, Picture]:
    """As `load_one`; also what drawings show: the source, or what a model of channels sees."""
    photo = load_one(image, source, channels)
    return photo, picture_of(image if channels is None else photo, photo)


def _several(image: object) -> str:
    """What a source is that means more than one photo; nothing for one photo."""
    if isinstance(image, str | Path):
        return "" if is_address(image) else _several_files(Path(image))
    if isinstance(image, list | tuple | set | frozenset):
        first = next(iter(image), None)
        photos = isinstance(first, _PHOTOS) or (isinstance(first, np.ndarray) and first.ndim > 1)
        return f"a {type(image).__name__} of {len(image)}" if photos else ""
    listed = isinstance(image, Iterator) and not hasattr(image, "read")  # a file is a photo
    return f"a {type(image).__name__}" if listed else ""


def _several_files(path: Path) -> str:
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, ValueError):  # no name that a disk can have
        return ""
    if is_folder:
        return f"the folder {str(path)!r}"
    is_pattern = not is_file and set(str(path)) & set("*?[")  # a file may be called [1].jpg
    return f"the pattern {str(path)!r}" if is_pattern else ""


def asked_prompts(
    one: tuple[ArrayLike | None, ...],
    boxes: ArrayLike | None,
    prompts: Sequence[Prompt] | None,
) -> list[Prompt]:
    """The prompts of a call.

    one  points, labels, box and mask of one object

    Raises PromptError where several ways are mixed.
    """
    ways = [prompts is not None, boxes is not None, any(part is not None for part in one)]
    if sum(ways) > 1:
        raise PromptError(
            "give points, labels, box and mask for one object, or boxes or prompts for several; "
            "got both; put them into one of the prompts"
        )
    if prompts is not None:
        return prompt_list(prompts)
    return [Prompt.of(*one)] if boxes is None else box_prompts(boxes)


def box_prompts(boxes: ArrayLike) -> list[Prompt]:  # (N, 4)
    """A prompt for each box. Raises PromptError for another shape."""
    try:
        rows = np.asarray(boxes, np.float64)
    except (TypeError, ValueError):
        rows = np.zeros(0)
    if rows.ndim != 2 or rows.shape[1] != 4:
        if rows.size == 0 and isinstance(boxes, list | tuple | np.ndarray) and not len(boxes):
            return []
        raise PromptError(
            "boxes must be (N, 4) numbers, one x0, y0, x1, y1 an object, got "
            f"{str(boxes)[:80]}; for one object give box=(x0, y0, x1, y1)"
        )
    return [Prompt.of(box=row) for row in rows]


def request_parts(request: Request) -> tuple[ImageSource | Features, list[Prompt], bool]:
    """The photo of a request, its prompts, and whether one prompt came alone.

    Raises InputError for what is no pair, PromptError as `prompt_list` does.
    """
    given: Any = request
    if not isinstance(given, tuple | list) or len(given) != 2:
        count = f" of {len(given)}" if isinstance(given, tuple | list) else ""
        raise InputError(
            "requests must be pairs (photo, Prompt or list of Prompts), got "
            f"{type(given).__name__}{count}; write "
            "segment_many([(photo, Prompt.of(points=[(x, y)]))])"
        )
    image, prompts = given
    return image, prompt_list(prompts), isinstance(prompts, Prompt)


def prompt_list(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    """One prompt or several, as a list. Raises PromptError for anything else."""
    if isinstance(prompts, Prompt):
        return [prompts]
    if not isinstance(prompts, Iterable):
        raise PromptError(
            f"prompts must be a list of anymask.Prompt objects, got {type(prompts).__name__}; for "
            "one object give points, box or mask"
        )
    several: list[Any] = list(prompts)
    for prompt in several:
        if not isinstance(prompt, Prompt):
            raise PromptError(
                f"prompts must be anymask.Prompt objects, one an object; got "
                f"{type(prompt).__name__}; write Prompt.of(points=[(x, y)]) or "
                "Prompt.of(box=(x0, y0, x1, y1))"
            )
    return several
