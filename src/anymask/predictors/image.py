"""A model for single photos: numpy in, numpy out, image pixels.

Letters: H W a photo, K candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Unpack, overload

from numpy.typing import ArrayLike

from anymask.data.images import ImageSource, load_image
from anymask.families.prompts import mask_on_photo
from anymask.predictors.arrangement import (
    EverythingDict,
    arrange,
    arrangement_of,
    split_settings,
)
from anymask.predictors.everything import find_everything
from anymask.predictors.grid import grid_of
from anymask.predictors.large import Tile, WindowScanner, look_around
from anymask.predictors.pipeline import answer_prompts, check_embedding, embed_image
from anymask.predictors.question import RetryTime
from anymask.predictors.refine import keep_or_replace, refining_prompts
from anymask.predictors.settings import Retry, SegmentSettings, SegmentSettingsDict, check_retry
from anymask.primitives.candidates import Candidates
from anymask.primitives.errors import AnymaskError, InputError, ModelError, PromptError
from anymask.primitives.prompts import Prompt
from anymask.primitives.record_list import MaskRecords
from anymask.primitives.spec import ModelSpec
from anymask.primitives.types import Embedding, UintImage
from anymask.runtimes.protocol import ImageRuntime

Request = tuple[ImageSource | Embedding, Prompt | Sequence[Prompt]]
Reply = Candidates | list[Candidates]


class Model:
    """A runtime with everything around it that users need. Made by `anymask.load`.

    It remembers nothing between calls, so any number of threads may share one model.

    runtime  what encodes and decodes
    begin    what `track` calls: (model, source, settings) to a session; `anymask.load` hands it in
    """

    def __init__(self, runtime: ImageRuntime, begin: Callable[..., Any] | None = None) -> None:
        self.runtime = runtime
        self._begin = begin

    def __repr__(self) -> str:
        return f"Model({self.name!r}, weights {self.runtime.weights_hash[:12]})"

    @property
    def spec(self) -> ModelSpec:
        """How the model sees a picture, and the prompts that it takes."""
        return self.runtime.spec

    @property
    def name(self) -> str:
        """As in `anymask models list`."""
        return self.spec.name

    def embed(self, image: ImageSource) -> Embedding:
        """See one photo; every prompt on the embedding then costs only a decoding.

        image  path, bytes, file, Pillow image, or array (H, W[, C]) of any number type

        Raises ImageError (see `data.images.load_image`).
        """
        return embed_image(self.runtime, load_image(image))

    @overload
    def segment(
        self,
        image: ImageSource | Embedding,
        *,
        prompts: Sequence[Prompt],
        **settings: Unpack[SegmentSettingsDict],
    ) -> list[Candidates]: ...

    @overload
    def segment(
        self,
        image: ImageSource | Embedding,
        *,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        **settings: Unpack[SegmentSettingsDict],
    ) -> Candidates: ...

    def segment(
        self,
        image: ImageSource | Embedding,
        *,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        prompts: Sequence[Prompt] | None = None,
        **settings: Unpack[SegmentSettingsDict],
    ) -> Reply:
        """The masks that a prompt, or each of several, means.

        image     a photo as for `embed`, or its embedding
        points    (P, 2) x, y clicks in pixels of the photo
        labels    (P,) 1 on the object, 0 off it; all 1 when left out
        box       (4,) x0, y0, x1, y1; cut at the photo's border
        mask      a start: bool of any size, or `answer.logits[i]`
        prompts   several objects at once instead: a list, one `Prompt` each
        settings  multimask, zoom, granularity, ranking, max_hole_area, min_island_area, retry:
                  see `settings.Settings`

        Returns one `Candidates`, the mask that is most likely meant first; a list for `prompts`.

        Raises PromptError for a prompt that makes no sense, lies off the photo, or that this model
        cannot take; ImageError for the photo; InputError for settings, for another model's
        embedding, or for zoom with an embedding.
        """
        given = (points, labels, box, mask)
        chosen = SegmentSettings(**settings)
        if prompts is None:
            return self._answers([Prompt.of(*given)], chosen, *self._seen(image, chosen))[0]
        if any(value is not None for value in given):
            raise PromptError(
                "give points, labels, box and mask for one object, or prompts for several; got "
                "both; put them into one of the prompts"
            )
        return self._answers(_prompt_list(prompts), chosen, *self._seen(image, chosen))

    def _answers(
        self,
        prompts: list[Prompt],
        settings: SegmentSettings,
        photo: UintImage | None,
        embedding: Embedding,
    ) -> list[Candidates]:
        return answer_prompts(self.runtime, photo, embedding, prompts, settings)

    def _seen(
        self, image: ImageSource | Embedding, settings: SegmentSettings
    ) -> tuple[UintImage | None, Embedding]:
        """The photo, where it is there, and its embedding."""
        if not isinstance(image, Embedding):
            photo = load_image(image)
            return photo, embed_image(self.runtime, photo)
        if settings.zoom:
            raise InputError(
                "zoom looks at the photo again, got only its embedding; pass the photo instead"
            )
        return None, image

    def segment_many(
        self,
        requests: Iterable[Request],
        *,
        on_error: Literal["raise", "return"] = "raise",
        **settings: Unpack[SegmentSettingsDict],
    ) -> list[Reply | AnymaskError]:
        """Photos of any sizes with any numbers of prompts; equal to `segment` one by one.

        requests  (image or embedding, Prompt or list of Prompts) each
        on_error  "return": what is wrong with one photo or prompt stands in its place in the list,
                  as the error, and the others are answered

        Returns for each request what `segment` returns. Raises as `segment` does.
        """
        if on_error not in ("raise", "return"):
            raise InputError(f'on_error must be "raise" or "return", got {on_error!r}')
        chosen = SegmentSettings(**settings)
        replies: list[Reply | AnymaskError] = []
        for image, prompts in requests:
            try:
                several = _prompt_list(prompts)
                answers = self._answers(several, chosen, *self._seen(image, chosen))
                replies.append(answers[0] if isinstance(prompts, Prompt) else answers)
            except AnymaskError as error:
                if on_error == "raise":
                    raise
                replies.append(error)
        return replies

    def refine(
        self,
        image: ImageSource | Embedding,
        mask: ArrayLike,
        **settings: Unpack[SegmentSettingsDict],
    ) -> Candidates:
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
        chosen = SegmentSettings(**settings)
        photo, embedding = self._seen(image, chosen)
        check_embedding(self.runtime, embedding)
        given = mask_on_photo(
            start, embedding.geometry, self.spec.mask_side, self.spec.mask_threshold
        )
        asked = refining_prompts(given, self.spec)
        return keep_or_replace(given, self._answers(asked, chosen, photo, embedding))

    def everything(
        self,
        image: ImageSource | Embedding,
        *,
        progress: Callable[[int, int], None] | None = None,
        tile: Tile = "auto",
        retry: Retry | None = None,
        **settings: Unpack[EverythingDict],
    ) -> MaskRecords:
        """The masks of everything in the photo, found by a grid of clicks, best first.

        progress  told (steps done, all steps) now and then: clicks, or tiles
        tile      a side in pixels: look at overlapping tiles of that size, each with the whole
                  grid, and at the photo once; "auto": tiles of `large.AUTO_SIDE` for photos of
                  more than `large.AUTO_PIXELS`; None: never
        retry     when and how long to ask again for masks of low quality; None: never
        settings  how masks are found: points_per_side, pred_iou_thresh, crop_n_layers, ... (see
                  `grid.Grid`), and what becomes of them: mask_nms_thresh, min_mask_area,
                  min_island_area, max_hole_area, granularity, layout (see
                  `arrangement.Arrangement`)

        Raises PromptError for a model that takes no clicks, InputError for settings or another
        model's embedding, ImageError for the photo.
        """
        check_retry(retry)
        of_grid, of_arrangement = split_settings(settings)
        grid = grid_of(self.runtime.family, of_grid)
        arrangement = arrangement_of(grid, of_arrangement)
        if isinstance(image, Embedding):
            check_embedding(self.runtime, image)
            if tile not in ("auto", None) or retry is not None:
                raise InputError(
                    f"tiles and retries look at the photo again (tile={tile!r}, retry={retry!r}), "
                    "got only its embedding; pass the photo instead"
                )
            found = find_everything(self.runtime, image, grid, progress)
            return MaskRecords(arrange(found, arrangement))
        photo = load_image(image)
        eye = WindowScanner(self.runtime, grid, None if retry is None else RetryTime.start(retry))
        return MaskRecords(arrange(look_around(eye, photo, tile, progress), arrangement))

    def track(self, source: Any, **settings: Any) -> Any:
        """Follow objects through a video: a `video.session.VideoSession`.

        source    a video file, a folder of pictures, a list or a generator of them, a camera's
                  number; None: frames are handed to the session's `step`
        settings  tracker, session, every, fps, start, end, least_score, area_jump, lost_after,
                  write_unsure: see docs/video.md

        Raises InputError, DataError and MissingExtra: see `video.opening.open_session`.
        """
        if self._begin is None:
            raise ModelError("this Model was not made by anymask.load, which also brings sessions")
        return self._begin(self, source, **settings)


def _prompt_list(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
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
