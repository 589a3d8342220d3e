"""`Model`: the predictor for images, with masks in image pixels as results.

This layer validates the keywords, settings, images and prompts of a call. The layers below do not
validate again.

Letters: H W an image, N boxes, P clicks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, Unpack, cast, overload

import cv2
import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from anymask.base import (
    AnymaskError,
    BoolArray,
    InputError,
    ModelError,
    Progress,
    PromptError,
    UintImage,
    WeightsError,
    check_keywords,
    explain_keywords,
    report_progress,
    repr_html,
)
from anymask.images import ImageSource, describe_paths, is_georeferenced, load_referenced
from anymask.masks import (
    Features,
    ImageInMemory,
    ModelSpec,
    Origin,
    Prompt,
    Tile,
    box_prompts,
    center_click,
    check_features,
    counted,
    mask_iou,
    mask_to_model,
    open_box,
    prompt_list,
    warn_of_cut_boxes,
    without_pixels,
)
from anymask.models.rules import mask_on_image
from anymask.runtime import ImageRuntime
from anymask.segment.pipeline import (
    EmbeddingCache,
    EncodedImage,
    answer_prompts,
    default_cache,
    encode_image,
)
from anymask.segment.prediction import Prediction, Previous
from anymask.segment.settings import (
    DEFAULT_SETTINGS,
    Grid,
    MaskFilter,
    PartSettings,
    SegmentSettings,
)

if TYPE_CHECKING:
    from anymask.find import Examples, Phrases
    from anymask.keywords import (
        BatchKeywords,
        CutoutKeywords,
        EverythingDict,
        EverythingKeywords,
        FindKeywords,
        PartKeywords,
        SegmentKeywords,
        SourceDict,
        TextKeywords,
        TrackOptions,
        VolumeOptions,
    )
    from anymask.masks import LabelMap, LazyImage, Masks
    from anymask.models.rules import LabelSuggestion
    from anymask.segment.everything.log import SearchLog
    from anymask.segment.labels import FoundMasks, Nameable, Names
    from anymask.track import VideoSession
    from anymask.volumes import VolumeSession


GIVEN_MASK = -1  # in `Prediction.order`: the given mask, not a prediction
MAX_CLICKS = 3  # one in each of the largest parts
MIN_PART_SHARE = 0.1  # of the largest part's area: smaller parts get no click


def refining_prompts(mask: BoolArray, spec: ModelSpec) -> list[Prompt]:  # (H, W)
    """Prompts to refine a mask: clicks, box and mask together, clicks and box, and only the box.

    Raises PromptError if the mask is empty.
    """
    if not mask.any():
        raise PromptError(
            "The mask to refine is empty. Pass a point, a box or a mask that is not empty."
        )
    box = open_box(mask)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(mask).view(np.uint8), connectivity=8
    )
    areas = stats[1:count, cv2.CC_STAT_AREA]
    largest = np.argsort(-areas, kind="stable")[:MAX_CLICKS]
    parts = [part for part in largest if areas[part] >= MIN_PART_SHARE * areas.max()]
    clicks = [center_click(labels == part + 1) for part in parts]
    if "box" not in spec.accepts:
        return [Prompt.of(points=clicks)]
    if "point" not in spec.accepts:
        return [Prompt.of(box=box)]
    prompts = [Prompt.of(points=clicks, box=box), Prompt.of(box=box)]
    if "mask" in spec.accepts:
        prompts.insert(0, Prompt.of(points=clicks, box=box, mask=mask))
    return prompts


T = TypeVar("T")

SOURCE_WORDS = ("allow_url", "bgr")
PROMPT_WORDS = (
    "points", "point_labels", "box", "boxes", "names", "mask", "text", "prompts", "previous",
    "detector", "scribble", "lasso", "on_error", "progress",
)  # fmt: skip


def each_image(images: Iterable[T], progress: Progress) -> Iterator[T]:
    """Iterate over images, by default with a progress bar on a terminal."""
    return report_progress(images, sys.stderr.isatty() if progress is None else progress, "photos")


ImageOrFeatures = ImageSource | Features
Reply = Prediction | list[Prediction]


def split_source(given: Mapping[str, Any]) -> tuple[SourceDict, dict[str, Any]]:
    """Split keywords into image options and the rest."""
    source = {name: value for name, value in given.items() if name in SOURCE_WORDS}
    rest = {name: value for name, value in given.items() if name not in SOURCE_WORDS}
    return cast("SourceDict", source), rest


def split_segment(
    given: Mapping[str, Any], also: Sequence[str]
) -> tuple[SourceDict, SegmentSettings]:
    """Split keywords into image options and settings, without the arguments `also`.

    Raises InputError for an unknown keyword or an invalid value.
    """
    if not given:
        return {}, DEFAULT_SETTINGS
    source, rest = split_source(given)
    check_keywords(rest, [*also, *sorted(SegmentSettings.__dataclass_fields__), *SOURCE_WORDS])
    return source, SegmentSettings(**{name: rest[name] for name in rest if name not in also})


def is_several(image: object) -> bool:
    """Whether a source is a list or an iterator of images; lists of numbers are one array."""
    if isinstance(image, list | tuple | set | frozenset):
        if not image:
            return True
        first = next(iter(image))
        alone = str, Path, bytes, Image.Image, Features  # items that are images, not numbers
        return isinstance(first, alone) or getattr(first, "ndim", 0) > 1
    if getattr(image, "ndim", 0) == 4:  # (B, H, W, C)
        return True
    return isinstance(image, Iterator) and not hasattr(image, "read")  # files are single images


@explain_keywords
class Model:
    """A promptable segmentation model, returned by `anymask.load`. Threads can share it.

    `segment` keeps the last images encoded (`recent`): the next prompt on an image only decodes.

    Args:
        runtime: Runtime that encodes images and decodes prompts.
        begin: Opens the session of `track` from (model, source, settings).
        follow: Finds masks per frame for `find` from (model, source, words, settings).
        scan: Opens the session of `volume` from (model, scan, settings).
    """

    def __init__(
        self,
        runtime: ImageRuntime,
        begin: Callable[..., VideoSession] | None = None,
        follow: Callable[..., Iterator[Masks]] | None = None,
        scan: Callable[..., VolumeSession] | None = None,
    ) -> None:
        self.runtime = runtime
        self._begin, self._follow, self._scan = begin, follow, scan
        self.recent = default_cache()

    def __getstate__(self) -> dict[str, object]:
        held, sessions = self.runtime.weights_hash, (self._begin, self._follow, self._scan)
        return {"runtime": self.runtime, "weights_hash": held, "sessions": sessions}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Reopen the runtime by name and weights. Raises WeightsError if the weights differ."""
        self.runtime = state["runtime"]
        self._begin, self._follow, self._scan = state["sessions"]
        self.recent = default_cache()
        if self.runtime.weights_hash != state["weights_hash"]:
            raise WeightsError(
                f"{self.name} was pickled with the weights {state['weights_hash'][:12]}, but the "
                f"local weights are {self.runtime.weights_hash[:12]}. Install the weights with "
                "which it was pickled."
            )

    def __repr__(self) -> str:
        runtime = f"{type(self.runtime).__name__} on {self.device}, {self.precision}"
        return f"Model({self.name!r}, {runtime}, weights {self.runtime.weights_hash[:12]})"

    _repr_html_ = repr_html

    if not TYPE_CHECKING:  # type checkers report unknown names

        def __call__(self, *given: Any, **settings: Any) -> NoReturn:
            """Raises InputError, with the methods to use instead."""
            raise InputError(
                "A Model is not callable. Use model.segment(image, points=[(x, y)]) or box=(x0, "
                "y0, x1, y1) for one object, model.everything(image) for all masks, or "
                "anymask.sam for the segment-anything API."
            )

    @property
    def spec(self) -> ModelSpec:
        """Input size, preprocessing and supported prompts of the model."""
        return self.runtime.spec

    @property
    def name(self) -> str:
        """Name in `anymask models list`."""
        return self.spec.name

    @property
    def device(self) -> str:
        """Device that computes, such as "cpu" or "cuda:0"."""
        return str(getattr(self.runtime, "device", "unknown"))  # runtimes of tests have none

    @property
    def precision(self) -> str:
        """Precision of the weights: "fp32", "bf16", "fp16" or "int8"."""
        return str(getattr(self.runtime, "precision", "unknown"))

    @property
    def origin(self) -> Origin:
        """Origin of its masks: name, hash of the weights, licence, training data."""
        stated = getattr(self.runtime, "origin", None)  # runtimes of tests have none
        return stated or Origin(self.name, self.runtime.weights_hash)

    @overload
    def encode(  # type: ignore[overload-overlap]  # an array may also be a list
        self, image: ImageSource, **source: Unpack[SourceDict]
    ) -> Features: ...

    @overload
    def encode(
        self,
        image: Iterable[ImageOrFeatures],
        *,
        progress: Progress = None,
        **source: Unpack[SourceDict],
    ) -> Iterator[Features]: ...

    def encode(
        self, image: Any, *, progress: Progress = None, **source: Unpack[SourceDict]
    ) -> Features | Iterator[Features]:
        """Encode an image once for many prompts.

        Args:
            image: Path, bytes, file, Pillow image, or array (H, W[, C]) of any number type. For a
                list or iterator of images, an iterator of features is returned.
            progress: Progress of several images: True for a bar, or a callable (done, total).
            source: bgr=True for arrays of `cv2.imread`; allow_url=True for a web address.

        Raises:
            ImageError: The image cannot be read.
            InputError: A keyword is unknown.
        """
        check_keywords(source, ["progress", *SOURCE_WORDS])
        if is_several(image):
            return (
                im if isinstance(im, Features) else self.encode(im, **source)
                for im in each_image(image, progress)
            )
        pixels, source_image = self._open(image, source)
        return replace(encode_image(self.runtime, pixels), georeferenced=source_image.georeferenced)

    def label(self, image: ImageOrFeatures, **source: Unpack[SourceDict]) -> LabelMap:
        """Predict the class of every pixel.

        Args:
            image: Image as for `encode`, or `Features`.
            source: Keywords as for `encode`.

        Raises:
            ModelError: The model was not fine-tuned on classes.
        """
        from anymask.segment.labels import predict_classes

        features = self._view(image, source).embedding
        check_features(features, self.spec, self.runtime.weights_hash)
        return predict_classes(self.runtime, features)

    def suggest_labels(
        self,
        image: ImageSource,
        masks: Nameable,
        *,
        names: Names = None,
        top: int = 5,
        **source: Unpack[SourceDict],
    ) -> list[list[LabelSuggestion]]:
        """Suggest names for the masks of an image, best first.

        Args:
            masks: A prediction, masks, or an array (H, W) or (N, H, W) of masks of this image.
            names: Candidate names, or a file of `anymask names`. Defaults to all trained names.
            top: Number of names per mask.
            source: Keywords as for `encode`.

        Raises:
            ModelError, InputError: The model suggests no names, or a name is unknown.
            PromptError: The masks belong to another image.
        """
        from anymask.segment.labels import suggest_labels

        check_keywords(source, ["names", "top", *SOURCE_WORDS])
        return suggest_labels(self.runtime, self._open(image, source)[0], masks, names, top)

    def with_labels(
        self,
        image: ImageSource,
        found: FoundMasks,
        *,
        names: Names = None,
        **source: Unpack[SourceDict],
    ) -> FoundMasks:
        """Return a prediction or masks, with the most probable name of each mask as its label.

        Arguments and errors are those of `suggest_labels`.
        """
        from anymask.segment.labels import with_labels

        check_keywords(source, ["names", *SOURCE_WORDS])
        return with_labels(self.runtime, self._open(image, source)[0], found, names)

    @overload
    def segment(  # type: ignore[overload-overlap]  # as for `encode`
        self,
        image: ImageOrFeatures,
        *,
        prompts: Sequence[Prompt],
        previous: Sequence[Prediction | None] | None = None,
        **settings: Unpack[TextKeywords],
    ) -> list[Prediction]: ...

    @overload
    def segment(
        self,
        image: ImageOrFeatures,
        *,
        boxes: ArrayLike,
        names: Sequence[str | None] | None = None,
        **settings: Unpack[SegmentKeywords],
    ) -> Masks: ...

    @overload
    def segment(
        self,
        image: ImageOrFeatures,
        *,
        points: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        previous: Prediction | None = None,
        **settings: Unpack[TextKeywords],
    ) -> Prediction: ...

    @overload
    def segment(
        self,
        image: Iterable[ImageOrFeatures],
        *,
        prompts: Iterable[Prompt | Sequence[Prompt]],
        on_error: Literal["raise", "return"] = "raise",
        progress: Progress = None,
        **settings: Unpack[TextKeywords],
    ) -> Iterator[Reply | AnymaskError]: ...

    def segment(
        self,
        image: Any,
        *,
        points: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        prompts: Any = None,
        **settings: Unpack[BatchKeywords],
    ) -> Reply | Masks | Iterator[Reply | AnymaskError]:
        """Segment one or several objects from point, box, mask or text prompts.

        Args:
            image: Image as for `encode`, or `Features`, or a list or iterator of these.
            points: Points (P, 2), x and y in pixels.
            point_labels: Labels of the points (P,), 1 foreground, 0 background. Defaults to all 1.
            box: Box (4,) as x0, y0, x1, y1, clipped to the image.
            mask: Mask prompt: bool of any size, or `prediction.logits[i]`.
            prompts: List of `Prompt`, one object each; for several images, one list per image.
            settings: Fields of `segment.SegmentSettings`. Further prompts: scribble, lasso (K, 2);
                text with detector; boxes (N, 4) with names; previous. Options: bgr, allow_url, and
                for several images progress and on_error (docs/reference/python.md).

        Returns:
            Prediction: Candidate masks, best first; with `prompts` a list, with `boxes` `Masks`.

        Raises:
            PromptError: The prompt is invalid, outside the image, or not supported by this model.
            ImageError: The image cannot be read.
            InputError: A setting is invalid, or the features belong to another model.
        """
        boxes, previous = settings.get("boxes"), settings.get("previous")
        detector, on_error = settings.get("detector"), settings.get("on_error", "raise")
        others = (settings.get(name) for name in ("text", "scribble", "lasso"))
        parts: Any = points, point_labels, box, mask, *others
        source, chosen = split_segment(settings, PROMPT_WORDS)
        ways = [prompts is not None, boxes is not None, any(part is not None for part in parts)]
        if sum(ways) > 1:
            raise PromptError(
                "Options points=, box=, mask= and text= describe one object and cannot be combined "
                "with boxes= or prompts=. Pass one of these ways."
            )
        if previous is not None and (boxes is not None or is_several(image)):
            raise PromptError(
                "previous= is supported only for points or prompts of one image. Omit previous=."
            )
        if is_several(image):
            if prompts is None:
                raise PromptError(
                    "Several images require prompts=, one for each image: segment(images, prompts="
                    "[Prompt.of(points=[(x, y)]), Prompt.of(box=(x0, y0, x1, y1)), ...])."
                )
            sized = hasattr(image, "__len__") and hasattr(prompts, "__len__")
            if sized and len(image) != len(prompts):
                raise PromptError(
                    "Pass one entry of prompts= for each image. Got "
                    f"{len(prompts)} for {counted(len(image), 'image')}."
                )
            if on_error not in ("raise", "return"):
                raise InputError(f'Invalid on_error {on_error!r}. Use "raise" or "return".')
            pairs = zip(each_image(image, settings.get("progress")), prompts, strict=True)
            return self._segment_each(pairs, on_error, source, chosen, detector)
        if boxes is not None:
            return self._segment_boxes(image, boxes, settings.get("names"), source, chosen)
        requested = [Prompt.of(*parts)] if prompts is None else prompt_list(prompts)
        view = self._view(image, source, chosen, self.recent)
        answers = self._answers(requested, chosen, view, previous, detector)
        return answers[0] if prompts is None else answers

    def _answers(
        self,
        prompts: list[Prompt],
        settings: SegmentSettings,
        view: EncodedImage,
        previous: Previous = None,
        detector: Any = None,
    ) -> list[Prediction]:
        if any(prompt.words is not None for prompt in prompts):
            from anymask.segment.text_prompts import ground_words, with_words

            boxed = ground_words(self, view, prompts, detector)
            return with_words(self._answers(boxed, settings, view, previous), prompts)
        image, features = view.image, view.embedding
        warn_of_cut_boxes(prompts, features.image_hw)
        answers = answer_prompts(
            self.runtime, image, features, prompts, settings, previous, view.recent
        )
        return [replace(a, source_image=view.source_image, origin=self.origin) for a in answers]

    def _segment_boxes(
        self,
        image: ImageOrFeatures,
        boxes: ArrayLike,
        names: Sequence[str | None] | None,
        source: SourceDict,
        settings: SegmentSettings,
    ) -> Masks:
        from anymask.masks import Masks

        prompts = box_prompts(boxes)
        labels = [None] * len(prompts) if names is None else list(names)
        if len(labels) != len(prompts):
            raise InputError(
                f"{len(prompts)} boxes have {len(labels)} labels. Pass one label for each box."
            )
        view = self._view(image, source, settings, self.recent)
        answers = self._answers(prompts, settings, view)
        masks = [
            replace(answer.best, label=name) if name else answer.best
            for answer, name in zip(answers, labels, strict=True)
        ]
        return Masks(masks, image_hw=view.embedding.image_hw, source_image=view.source_image)

    def _segment_each(
        self,
        pairs: Iterable[tuple[ImageOrFeatures, Prompt | Sequence[Prompt]]],
        on_error: str,
        source: SourceDict,
        settings: SegmentSettings,
        detector: Any,
    ) -> Iterator[Reply | AnymaskError]:
        """Yield the predictions for several images one after the other."""
        for image, prompt in pairs:
            try:
                several = prompt_list(prompt)
                view = self._view(image, source, settings)  # limits memory for many images:
                view = replace(view, source_image=without_pixels(view.source_image))
                answers = self._answers(several, settings, view, None, detector)
            except AnymaskError as error:
                if on_error == "raise":
                    raise
                yield error
            else:
                yield answers[0] if isinstance(prompt, Prompt) else answers

    def refine(
        self, image: ImageOrFeatures, mask: ArrayLike, **settings: Unpack[SegmentKeywords]
    ) -> Prediction:
        """Improve a mask. The given mask is kept (`order` is `GIVEN_MASK`) if its IoU with the best
        prediction is at least the score (estimated IoU) of that prediction.

        Args:
            mask: Mask (h, w), stretched to the image: bool, integers, soft values 0..1, or logits.
            settings: Keywords as for `segment`.

        Raises:
            PromptError: The mask is empty or has a wrong shape. Also the errors of `segment`.
        """
        start = Prompt.of(mask=mask).mask
        assert start is not None
        source, chosen = split_segment(settings, ())
        chosen = replace(chosen, zoom=chosen.zoom is True)  # "auto" applies to single predictions
        view = self._view(image, source, chosen, self.recent)
        check_features(view.embedding, self.spec, self.runtime.weights_hash)
        given = mask_on_image(
            start, view.embedding.geometry, self.spec.mask_side, self.spec.mask_threshold
        )
        answers = self._answers(refining_prompts(given, self.spec), chosen, view)
        best = max(answers, key=lambda answer: answer.first.score)
        if float(mask_iou(given[None], best.masks[:1])[0, 0]) < best.first.score:
            return replace(best, prompt=None, source_image=view.source_image)
        logits = mask_to_model(given, best.geometry, best.logits.shape[-1])[0]
        kept = replace(best.first, logits=logits, order=GIVEN_MASK).with_pixels(given)
        return Prediction((kept,), source_image=view.source_image, origin=self.origin)

    @overload
    def everything(  # type: ignore[overload-overlap]  # as for `encode`
        self,
        image: ImageOrFeatures | EncodedImage,
        *,
        progress: Progress = None,
        tile: Tile = "auto",
        log: SearchLog | None = None,
        **settings: Unpack[EverythingKeywords],
    ) -> Masks: ...

    @overload
    def everything(
        self,
        image: Iterable[ImageOrFeatures],
        *,
        progress: Progress = None,
        tile: Tile = "auto",
        **settings: Unpack[EverythingKeywords],
    ) -> Iterator[Masks]: ...

    def everything(
        self,
        image: Any,
        *,
        progress: Progress = None,
        tile: Tile = "auto",
        log: SearchLog | None = None,
        **settings: Unpack[EverythingKeywords],
    ) -> Masks | Iterator[Masks]:
        """Segment all objects in an image with a grid of clicks, best first.

        Args:
            image: Image as for `encode`, or `Features`. For several images, an iterator of masks
                is returned.
            progress: True for a progress bar, or a callable (steps done, total steps).
            tile: Size in pixels of additional overlapping tiles, None for no tiles, or "auto" for
                tiles on large images only.
            log: `SearchLog` that stores the results so far, so that an interrupted call can resume.
            settings: Fields of `segment.Grid` (grid, score, ...) and of `segment.MaskFilter`
                (nms_iou, min_mask_area, dominant_kind, ...). bgr and allow_url as for `encode`.

        Raises:
            PromptError, InputError, ImageError: The model does not support clicks, or a setting or
                the image is not supported.
        """
        from anymask.masks import Masks
        from anymask.segment.everything.search import find_masks

        names = sorted(Grid.__dataclass_fields__ | MaskFilter.__dataclass_fields__)
        check_keywords(settings, ["progress", "tile", *names, *SOURCE_WORDS])
        if is_several(image):
            return (
                self.everything(im, tile=tile, **settings) for im in each_image(image, progress)
            )
        source, given = split_source(settings)
        pixels, features, source_image, image_hw = self._unencoded(image, source)
        if log is not None and not hasattr(log, "recall"):
            raise InputError(f"Invalid log. Expected a SearchLog, got {str(log)[:60]!r}.")
        requested = cast("EverythingDict", given)
        masks = find_masks(self.runtime, pixels, features, requested, tile, log, progress)
        return Masks(masks, image_hw=image_hw, source_image=source_image, origin=self.origin)

    def parts(
        self,
        image: ImageOrFeatures | EncodedImage,
        mask: Nameable,
        **settings: Unpack[PartKeywords],
    ) -> Masks:
        """Segment the parts inside a mask with a grid of clicks, best first.

        Args:
            image: Image as for `encode`, or `Features`. Small masks require the image.
            mask: A mask of this image: a prediction (its best mask), a `Mask`, or an array (H, W).
            settings: Fields of `segment.PartSettings`. bgr and allow_url as for `encode`.

        Returns:
            Masks: The parts, clipped to the mask; none if the mask has no distinct parts.

        Raises:
            PromptError, InputError, ImageError: The mask is empty or has another size than the
                image, the model does not support clicks, or a setting is invalid.
        """
        from anymask.masks import Masks
        from anymask.segment.parts import find_parts

        check_keywords(settings, [*sorted(PartSettings.__dataclass_fields__), *SOURCE_WORDS])
        source, given = split_source(settings)
        chosen = PartSettings(**given)
        pixels, features, source_image, image_hw = self._unencoded(image, source)
        parts = find_parts(self.runtime, pixels, features, mask, chosen)
        return Masks(parts, image_hw=image_hw, source_image=source_image, origin=self.origin)

    @overload
    def find(  # type: ignore[overload-overlap]  # as for `encode`
        self,
        image: ImageSource,
        words: Phrases | None = None,
        *,
        like: Examples | None = None,
        unlike: Examples | None = None,
        **settings: Unpack[FindKeywords],
    ) -> Masks: ...

    @overload
    def find(
        self,
        image: Iterable[ImageSource],
        words: Phrases | None = None,
        *,
        like: Examples | None = None,
        unlike: Examples | None = None,
        progress: Progress = None,
        **settings: Unpack[FindKeywords],
    ) -> Iterator[Masks]: ...

    @overload
    def find(
        self,
        image: Any,
        words: Phrases,
        *,
        every: int,
        tracking: TrackOptions = ...,
        **settings: Unpack[FindKeywords],
    ) -> Iterator[Masks]: ...

    def find(
        self,
        image: Any,
        words: Phrases | None = None,
        *,
        like: Examples | None = None,
        unlike: Examples | None = None,
        progress: Progress = None,
        every: int | None = None,
        **settings: Any,
    ) -> Masks | Iterator[Masks]:
        """Segment every object that matches a text or exemplar prompt, best first.

        Args:
            image: Image as for `encode`. Several images return an iterator of masks.
            words: Text prompts: "helmet, red cup", ["helmet", "red cup"], {phrase: label}, or the
                Path of a text or JSON file.
            like: Exemplar: (image, {"point": (x, y)}), or with {"box": ...} or {"mask": ...}, or
                "photo.jpg@click:320,200". A list contains several exemplars.
            unlike: Exemplars of objects to exclude.
            settings: detector, method, score (a number or {phrase: score}), nms_iou, top_k and side
                (`find.FindSettings`). bgr and allow_url as for `encode`.
            every: For a video, detect on every n-th frame and track in between. An iterator of
                `Masks` with `ids` is returned, one per frame. tracking={...} passes settings of
                `track`.

        Raises:
            InputError: A text prompt, exemplar or setting is invalid, or a name is unknown.
            ModelError, WeightsError, MissingExtra, ImageError: The detector or image is missing.
        """
        from anymask.find import ExampleFinder, find_words, one_question, split_settings

        one_question(words, like)
        if every is not None:
            if self._follow is None:
                raise ModelError("This model does not support videos. Open it with anymask.load.")
            if words is None:
                raise InputError("Exemplars are not supported for videos. Pass a text prompt.")
            return self._follow(self, image, words, every=every, **settings)
        if like is None:
            if is_several(image):
                return (self.find(im, words, **settings) for im in each_image(image, progress))
            assert words is not None  # checked by `one_question`
            return find_words(self, image, words, **settings)
        chosen, source = split_settings(image, settings)
        finder = ExampleFinder(self, like, unlike, chosen)
        if is_several(image):
            return (finder(im, source) for im in each_image(image, progress))
        return finder(image, source)

    def cutout(
        self,
        image: ImageSource,
        *,
        points: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        words: Phrases | None = None,
        **settings: Unpack[CutoutKeywords],
    ) -> Image.Image:
        """Cut out an object with a soft edge, or without a prompt the main subject of the image.

        Args:
            image: Image as for `encode`.
            points: Points (P, 2), as for `segment`.
            point_labels: Labels of the points (P,), as for `segment`.
            box: Box (4,), as for `segment`.
            mask: Mask prompt, as for `segment`.
            words: Text prompt as for `find`. All its instances are cut out.
            settings: Exemplars like and unlike as for `find`; soft, background, shadow, crop and
                margin (`edit.CutoutSettings`); bgr and allow_url as for `encode`.

        Returns:
            Pillow image in RGBA, or in RGB with a background; with `crop`, only the object's box.

        Raises:
            PromptError: There is no main subject or no instance. `cutout` also raises the errors of
                `segment` and `find`.
        """
        from anymask.edit import cut_image

        prompt = {"points": points, "point_labels": point_labels, "box": box, "mask": mask}
        return cut_image(self, image, prompt, words, **settings)

    def track(
        self, source: Any, *, model: Model | str | None = None, **settings: Unpack[TrackOptions]
    ) -> VideoSession:
        """Track objects through a video. Prompt with `add`, then iterate over the session.

        Args:
            source: Video file, folder, list or generator of frames, camera, or None (`step`).
            model: Model that tracks. Defaults to this model, or to `nano` for `small`.
            settings: Settings of `track.settings`, explained in docs/explanation/tracking.md.

        Raises:
            InputError, DataError, MissingExtra: The errors of `track.open_session`.
        """
        if self._begin is None:
            raise ModelError("This model does not support sessions. Open it with anymask.load.")
        return self._begin(self, source, model, **settings)

    def volume(
        self, scan: Any, *, model: Model | str | None = None, **settings: Unpack[VolumeOptions]
    ) -> VolumeSession:
        """Segment objects in a scan: prompts on slices (`add`) are propagated in both directions.

        Args:
            scan: `Volume`, array (Z, Y, X), or path as for `anymask.read_volume`.
            model: Model as for `track`.
            settings: Fields of `volumes.VolumeSettings`. The errors are those of
                `open_volume_session`.
        """
        if self._scan is None:
            raise ModelError("This model does not support sessions. Open it with anymask.load.")
        return self._scan(self, scan, model, **settings)

    def _view(
        self,
        image: ImageOrFeatures | EncodedImage,
        source: SourceDict,
        settings: SegmentSettings = DEFAULT_SETTINGS,
        recent: EmbeddingCache | None = None,
    ) -> EncodedImage:
        """The image, if available, and its embedding, which a cache may hold."""
        if not isinstance(image, Features | EncodedImage):
            pixels, source_image = self._open(image, source)
            features = encode_image(self.runtime, pixels, recent=recent)
            return EncodedImage(features, pixels, source_image, recent)
        if source:
            raise InputError(
                f"{' and '.join(source)} cannot be combined with an embedding. Pass it to "
                "encode() when you create the embedding."
            )
        if isinstance(image, EncodedImage):
            return image
        if settings.zoom is True or settings.mirror:
            word = "mirror" if settings.mirror else "zoom"
            raise InputError(
                f"{word}= requires the image, but only its embedding was passed. Pass the image."
            )
        return EncodedImage(image, source_image=image.source_image)

    def _unencoded(
        self, image: ImageOrFeatures | EncodedImage, source: SourceDict
    ) -> tuple[UintImage | None, Features | None, LazyImage | None, tuple[int, int]]:
        """The image or its embedding, the reference to the image, and its height and width."""
        if isinstance(image, Features | EncodedImage):
            view = self._view(image, source)
            return view.image, view.embedding, view.source_image, view.embedding.image_hw
        pixels, source_image = self._open(image, source)
        return pixels, None, source_image, (pixels.shape[0], pixels.shape[1])

    def _open(self, image: ImageSource, source: SourceDict) -> tuple[UintImage, LazyImage]:
        """Read one image, and make the reference to it.

        Models with other channels than RGB receive the raw channels.

        Raises ImageError, or InputError for several images or another number of channels.
        """
        several = "a list" if is_several(image) else describe_paths(image)
        if several:
            listed = f": anymask.list_images({str(image)!r})" if several != "a list" else "."
            raise InputError(
                f"Only one image is supported, but {several} was passed. Pass a list "
                f"of images{listed}"
            )
        channels = self.spec.channels
        if channels is None:
            return load_referenced(image, **source)
        if source:
            raise InputError(
                f"{' and '.join(source)} is only supported for RGB images, but this "
                f"model uses {channels.count} raw channels. Omit it."
            )
        from anymask.images import load_mixed  # rarely needed

        where, pixels = is_georeferenced(image), load_mixed(image, channels)
        return pixels, ImageInMemory(pixels, values=pixels, georeferenced=where)
