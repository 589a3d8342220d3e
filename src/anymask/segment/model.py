"""Refinement of a given mask: its pixels in; prompts (mask, box, clicks), then a better mask out.

The model cannot judge a mask that it did not make, only its own answers. Let q be the quality of
its best answer, that is its estimate of the answer's IoU with the truth, and a the answer's IoU
with the given mask. Where a >= q the given mask lies closer to the answer than the answer, as the
model sees it, to the truth: there is no ground for a change, and the given mask is kept. Otherwise
the answer replaces it.

`Model`: the public predictor for photos; numpy images and prompts in, masks in image pixels out.

Letters: H W a photo, K candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Unpack, overload

import cv2
import numpy as np
from numpy.typing import ArrayLike

from anymask.base import (
    AnymaskError,
    BoolArray,
    InputError,
    ModelError,
    Progress,
    PromptError,
    WeightsError,
    name_all_keywords,
    tell_each,
)
from anymask.images import ImageSource
from anymask.masks import (
    Features,
    ModelSpec,
    Prompt,
    Tile,
    centre_click,
    mask_iou,
    mask_to_box,
    mask_to_model,
)
from anymask.models.rules import mask_on_photo
from anymask.runtime import ImageRuntime
from anymask.segment.pipeline import answer_prompts, check_embedding, encode_image
from anymask.segment.prediction import Prediction
from anymask.segment.requests import (
    NOT_CALLED,
    PROMPT_WORDS,
    BatchKeywords,
    EncodedPhoto,
    Images,
    Reply,
    Request,
    Retry,
    SegmentKeywords,
    SegmentSettings,
    SourceDict,
    asked_prompts,
    list_images,
    load_one,
    load_shown,
    no_method,
    read_source,
    request_parts,
    split_segment,
)

if TYPE_CHECKING:
    from anymask.masks import LabelMap, Masks
    from anymask.models.rules import LabelSuggestion
    from anymask.segment.adaptive import SearchLog
    from anymask.segment.automatic import EverythingKeywords
    from anymask.segment.names import FoundMasks, Nameable, Names
    from anymask.track import TrackOptions, VideoSession


GIVEN = -1  # in `Prediction.order`: not one of the model's answers but the mask that was given
MAX_CLICKS = 3  # one in each of the largest parts
PART = 0.1  # of the largest part's area: smaller parts get no click


def refining_prompts(mask: BoolArray, spec: ModelSpec) -> list[Prompt]:  # (H, W)
    """What to ask the model about a mask: everything that it says, and its box alone.

    Raises PromptError on an empty mask.
    """
    if not mask.any():
        raise PromptError("a mask to refine needs an object, got an empty mask; click or box one")
    x0, y0, x1, y1 = mask_to_box(mask).tolist()
    box = (x0, y0, x1 + 1, y1 + 1)
    clicks = _part_clicks(mask)
    asked = []
    if "mask" in spec.accepts:
        asked.append(Prompt.of(points=clicks, box=box, mask=mask))
    asked.append(Prompt.of(points=clicks, box=box))
    asked.append(Prompt.of(box=box))
    usable = {"point": "point" in spec.accepts, "box": "box" in spec.accepts}
    if all(usable.values()):
        return asked
    return asked[-1:] if usable["box"] else [Prompt.of(points=clicks)]


def _part_clicks(mask: BoolArray) -> list[tuple[float, float]]:
    """The natural click on each large part of the mask."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(mask).view(np.uint8), connectivity=8
    )
    areas = stats[1:count, cv2.CC_STAT_AREA]
    largest_first = np.argsort(-areas, kind="stable")[:MAX_CLICKS]
    return [
        centre_click(labels == part + 1)
        for part in largest_first
        if areas[part] >= PART * areas.max()
    ]


def keep_or_replace(mask: BoolArray, answers: list[Prediction]) -> Prediction:
    """The best answer, or the given mask (H, W) where the model has no ground to change it.

    Kept, it is the only candidate, with `GIVEN` as its order and the quality of the answer that
    agrees with it.
    """
    best = max(answers, key=lambda answer: answer.first.score)
    agreement = float(mask_iou(mask[None], best.masks[:1])[0, 0])
    if agreement < best.first.score:
        return best
    kept = replace(
        best.first,
        logits=mask_to_model(mask, best.geometry, best.logits.shape[-1])[0],
        order=GIVEN,
    )
    return Prediction((kept.with_pixels(mask),))


@name_all_keywords
class Model:
    """A runtime with everything around it that users need. Made by `anymask.load`.

    It remembers nothing between calls, so any number of threads may share one model.

    runtime  what encodes and decodes
    begin    what `track` calls: (model, source, settings) to a session; `anymask.load` hands it in
    """

    def __init__(
        self, runtime: ImageRuntime, begin: Callable[..., VideoSession] | None = None
    ) -> None:
        self.runtime = runtime
        self._begin = begin

    def __getstate__(self) -> dict[str, object]:
        return {
            "runtime": self.runtime,
            "weights_hash": self.runtime.weights_hash,
            "begin": self._begin,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The runtime is opened anew, by name and weights. Raises WeightsError for other ones."""
        self.runtime, self._begin = state["runtime"], state["begin"]
        if self.runtime.weights_hash != state["weights_hash"]:
            raise WeightsError(
                f"{self.name} was pickled with the weights {state['weights_hash'][:12]}, here they "
                f"are {self.runtime.weights_hash[:12]}; put the same weights in place"
            )

    def __repr__(self) -> str:
        return f"Model({self.name!r}, weights {self.runtime.weights_hash[:12]})"

    if not TYPE_CHECKING:  # for types, a name that there is not stays one

        def __getattr__(self, name: str) -> Any:
            """Raises AttributeError, which names our word for another tool's method."""
            raise AttributeError(no_method(name), name=name, obj=self)

        def __call__(self, *given: Any, **settings: Any) -> NoReturn:
            """Raises InputError, which names the two methods that answer."""
            raise InputError(NOT_CALLED)

    @property
    def spec(self) -> ModelSpec:
        """How the model sees a picture, and the prompts that it takes."""
        return self.runtime.spec

    @property
    def name(self) -> str:
        """As in `anymask models list`."""
        return self.spec.name

    def encode(self, image: ImageSource, **source: Unpack[SourceDict]) -> Features:
        """See one photo; every prompt on the embedding then costs only a decoding.

        image   path, bytes, file, Pillow image, or array (H, W[, C]) of any number type
        source  bgr=True for an array as `cv2.imread` gives it; allow_url=True for a web address

        Raises ImageError (see `images.load_image`), InputError for another keyword.
        """
        photo = load_one(image, read_source(source), self.spec.channels)
        return encode_image(self.runtime, photo)

    def label(self, image: ImageSource | Features, **source: Unpack[SourceDict]) -> LabelMap:
        """The class of every pixel, without a prompt, by a model that was tuned on classes.

        image, source  as for `embed`, or an embedding

        Raises ModelError for a model without classes, ImageError, InputError.
        """
        from anymask.segment.classes import label_photo

        seen = image if isinstance(image, Features) else self.encode(image, **source)
        check_embedding(self.runtime, seen)
        return label_photo(self.runtime, seen)

    def suggest_labels(
        self,
        image: ImageSource,
        masks: Nameable,
        *,
        names: Names = None,
        top: int = 5,
        **source: Unpack[SourceDict],
    ) -> list[list[LabelSuggestion]]:
        """What the masks of a photo may be called: for each the likeliest names, best first.

        masks   an answer, records, or an array (H, W) or (n, H, W), of this photo
        names   the names to choose from, a list; or a file of your own (`anymask names`); all that
                were learned when left out
        top     how many for each mask
        source  as for `embed`

        Raises ModelError for a model without names, InputError for a name that is not known,
        PromptError for masks of another photo.
        """
        from anymask.segment.names import suggest_labels

        photo = load_one(image, read_source(source, ("names", "top")), self.spec.channels)
        return suggest_labels(self.runtime, photo, masks, names, top)

    def with_labels(
        self,
        image: ImageSource,
        found: FoundMasks,
        *,
        names: Names = None,
        **source: Unpack[SourceDict],
    ) -> FoundMasks:
        """An answer or records of a photo, each mask with its likeliest name and its probability.

        names, source  as for `suggest_labels`, and raises as it does
        """
        from anymask.segment.names import with_labels

        photo = load_one(image, read_source(source, ("names",)), self.spec.channels)
        return with_labels(self.runtime, photo, found, names)

    def encode_many(
        self, images: Images, *, progress: Progress = None, **source: Unpack[SourceDict]
    ) -> Iterator[Features]:
        """One after the other; `images` and `progress` as for `everything_many`."""
        read_source(source, ("progress",))
        for image in tell_each(list_images(images), progress, "photos"):
            yield image if isinstance(image, Features) else self.encode(image, **source)

    @overload
    def segment(
        self,
        image: ImageSource | Features,
        *,
        prompts: Sequence[Prompt],
        **settings: Unpack[SegmentKeywords],
    ) -> list[Prediction]: ...

    @overload
    def segment(
        self,
        image: ImageSource | Features,
        *,
        boxes: ArrayLike,
        **settings: Unpack[SegmentKeywords],
    ) -> list[Prediction]: ...

    @overload
    def segment(
        self,
        image: ImageSource | Features,
        *,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        **settings: Unpack[SegmentKeywords],
    ) -> Prediction: ...

    def segment(
        self,
        image: ImageSource | Features,
        *,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        prompts: Sequence[Prompt] | None = None,
        **settings: Unpack[BatchKeywords],
    ) -> Reply:
        """The masks that a prompt, or each of several, means.

        image     a photo as for `embed`, or its embedding
        points    (P, 2) x, y clicks in pixels of the photo
        labels    (P,) 1 on the object, 0 off it; all 1 when left out
        box       (4,) x0, y0, x1, y1; cut at the photo's border
        mask      a start: bool of any size, or `answer.logits[i]`
        boxes     (N, 4) several objects at once instead: a box each
        prompts   several objects at once instead: a list, one `Prompt` each
        settings  multimask, zoom, mirror, granularity, ranking, max_hole_area, min_island_area,
                  refine_edges, retry: see `settings.SegmentSettings`; bgr and allow_url as for
                  `embed`

        Returns one `Prediction`, the mask that is most likely meant first; a list for `boxes` and
        `prompts`.

        Raises PromptError for a prompt that makes no sense, lies off the photo, or that this model
        cannot take; ImageError for the photo; InputError for settings, for another model's
        embedding, for zoom or mirror with one, for a keyword that nobody knows.
        """
        boxes = settings.pop("boxes", None)
        source, chosen = split_segment(settings, PROMPT_WORDS)
        asked = asked_prompts((points, labels, box, mask), boxes, prompts)
        answers = self._answers(asked, chosen, self._seen(image, chosen, source))
        return answers[0] if prompts is None and boxes is None else answers

    def _answers(
        self, prompts: list[Prompt], settings: SegmentSettings, view: EncodedPhoto
    ) -> list[Prediction]:
        found = answer_prompts(self.runtime, view.photo, view.embedding, prompts, settings)
        return [
            replace(answer, prompt=prompt, picture=view.picture)
            for answer, prompt in zip(found, prompts, strict=True)
        ]

    def _seen(
        self, image: ImageSource | Features, settings: SegmentSettings, source: SourceDict
    ) -> EncodedPhoto:
        """The photo, where it is there, and its embedding."""
        if not isinstance(image, Features):
            photo, picture = load_shown(image, source, self.spec.channels)
            return EncodedPhoto(encode_image(self.runtime, photo), photo, picture)
        if source:
            raise InputError(
                f"{' and '.join(source)} is about a photo, got its embedding; give it to embed"
            )
        if settings.zoom is True or settings.mirror:
            word = "mirror" if settings.mirror else "zoom"
            raise InputError(
                f"{word} looks at the photo again, got only its embedding; pass the photo instead"
            )
        return EncodedPhoto(image)

    def segment_many(
        self,
        requests: Iterable[Request],
        *,
        on_error: Literal["raise", "return"] = "raise",
        **settings: Unpack[SegmentKeywords],
    ) -> list[Reply | AnymaskError]:
        """Photos of any sizes with any numbers of prompts; equal to `segment` one by one.

        requests  (image or embedding, Prompt or list of Prompts) each
        on_error  "return": what is wrong with one photo or prompt stands in its place in the list,
                  as the error, and the others are answered

        Returns for each request what `segment` returns. Raises as `segment` does.
        """
        if on_error not in ("raise", "return"):
            raise InputError(f'on_error must be "raise" or "return", got {on_error!r}')
        source, chosen = split_segment(settings, ("on_error",))
        replies: list[Reply | AnymaskError] = []
        for request in requests:
            try:
                image, several, alone = request_parts(request)
                view = self._seen(image, chosen, source)
                if not isinstance(image, str | Path):  # ten thousand photos need not stay
                    view = replace(view, picture=None)
                answers = self._answers(several, chosen, view)
                replies.append(answers[0] if alone else answers)
            except AnymaskError as error:
                if on_error == "raise":
                    raise
                replies.append(error)
        return replies

    def refine(
        self,
        image: ImageSource | Features,
        mask: ArrayLike,
        **settings: Unpack[SegmentKeywords],
    ) -> Prediction:
        """A better version of a mask, or the mask itself.

        mask      (h, w) of any size, laid over the whole photo: bool, integers (not 0 = object),
                  soft 0..1, or logits
        settings  as for `segment`

        The mask is kept (`order` is then `refine.GIVEN`) when it agrees with the model's answer at
        least as well as the answer, in the model's own estimate, agrees with the truth.

        Raises PromptError for an empty mask or a wrong shape, and as `segment` does.
        """
        start = Prompt.of(mask=mask).mask
        assert start is not None
        source, chosen = split_segment(settings)
        chosen = replace(chosen, zoom=chosen.zoom is True)  # "auto" is about what is asked once
        view = self._seen(image, chosen, source)
        check_embedding(self.runtime, view.embedding)
        given = mask_on_photo(
            start, view.embedding.geometry, self.spec.mask_side, self.spec.mask_threshold
        )
        asked = refining_prompts(given, self.spec)
        kept = keep_or_replace(given, self._answers(asked, chosen, view))
        return replace(kept, prompt=None, picture=view.picture)

    def everything(
        self,
        image: ImageSource | Features | EncodedPhoto,
        *,
        progress: Progress = None,
        tile: Tile = "auto",
        retry: Retry | None = None,
        log: SearchLog | None = None,
        **settings: Unpack[EverythingKeywords],
    ) -> Masks:
        """The masks of everything in the photo, found by a grid of clicks, best first.

        progress  True: a bar; or told (steps done, all steps): clicks, or tiles
        tile      a side in pixels: look at overlapping tiles, each with the whole grid, and at the
                  photo once; "auto": for photos of more than `tiles.AUTO_PIXELS`; None: never
        retry     when and how long to ask again for masks of low quality; None: never
        log       a file of what was found, from which a killed call goes on (`search_log`)
        settings  how masks are found: points_per_side, pred_iou_thresh, crop_n_layers, ... (see
                  `grid.Grid`), and what becomes of them: mask_nms_thresh, min_objectness,
                  contained_nms_thresh, min_mask_area, max_hole_area, refine_edges, granularity,
                  layout, ... (see `arrangement.Arrangement`); bgr and allow_url as for `embed`

        Raises PromptError for a model without clicks, InputError for settings, ImageError.
        """
        from anymask.segment.automatic import Looks, find_masks

        return find_masks(self.runtime, image, settings, Looks(tile, retry, log), progress)

    def everything_many(
        self, images: Images, *, progress: Progress = None, **settings: Unpack[EverythingKeywords]
    ) -> Iterator[Masks]:
        """The masks of each photo, one after the other; large sets of photos are `anymask.jobs`.

        images    photos as for `everything`, or a folder, or a pattern such as "photos/*.jpg"
        progress  True: a bar; or told (photos done, all photos)
        settings  as for `everything`
        """
        from anymask.segment.automatic import split_everything

        split_everything(settings)
        for image in tell_each(list_images(images), progress, "photos"):
            yield self.everything(image, **settings)

    def track(self, source: Any, **settings: Unpack[TrackOptions]) -> VideoSession:
        """Follow objects through a video: `add` says which, going through the session gives frames.

        source    a video file, a folder of pictures, a list or a generator of them, a camera's
                  number; None: frames are handed to the session's `step`
        settings  see `track.settings.TrackSettings`, `FrameSampling`, `MonitorSettings` and
                  `MemorySettings`, or docs/video.md

        Raises InputError, DataError and MissingExtra: see `track.open_session`.
        """
        if self._begin is None:
            raise ModelError("this Model was not made by anymask.load, which also brings sessions")
        return self._begin(self, source, **settings)
