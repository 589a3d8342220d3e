"""Search for text and exemplar prompts in a project's images, with labeled proposals as the result.

An event with the key of the search marks an image as searched. It is written in one transaction
with the proposals. An interrupted search continues with the remaining images; a finished one
processes only new images. Images marked as done are skipped.

Results may match existing masks. Masks that people drew, accepted or labeled are kept, and so are
proposals that were rejected with the same label. An unlabeled proposal gets the label.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from anymask.base import AnymaskError, InputError, UintImage
from anymask.find import (
    ExampleFinder,
    Examples,
    FindSettings,
    Phrases,
    WordFinder,
    one_question,
    read_phrases,
)
from anymask.images import load_plane
from anymask.masks import Mask, rle_iou
from anymask.segment import Model
from anymask.studio.records import Draft, ImageEntry, Provenance, StoredMask

if TYPE_CHECKING:
    from anymask.studio.project import Project
    from anymask.studio.store import Store

LOG = logging.getLogger("anymask.studio.searching")
KNOWN_IOU = 0.7  # minimum IoU of a result, or a proposal, with an existing mask


@dataclass(frozen=True)
class Search:
    """A search for any number of images, with encoded prompts."""

    model: Model
    finder: WordFinder | ExampleFinder
    label: str | None = None  # Label for exemplar prompts; text prompts define their own

    @property
    def key(self) -> str:
        """Hash of prompts, settings and weights."""
        inputs = [self.model.runtime.weights_hash, self.label, self.finder.about]
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def untrained(self) -> list[str]:
        """Searched names without training images."""
        return self.finder.untrained if isinstance(self.finder, WordFinder) else []

    def find(self, image: UintImage) -> list[Mask]:
        """Labeled instances in an image (H, W, 3), best first."""
        masks = self.finder.find(image)
        return [mask if mask.label else replace(mask, label=self.label) for mask in masks]

    def drafts(self, image: UintImage, page: int = 0, least_area: int = 0) -> list[Draft]:
        """Instances as proposals for a page of an image file."""
        about = Provenance.of(self.model.origin, kind="model", tool="find", stage="semi")
        return [
            Draft(rle=mask.rle, label=mask.label, state="proposed", score=mask.score, page=page,
                  provenance=about)
            for mask in self.find(image)
            if mask.area >= max(1, least_area)
        ]  # fmt: skip


def open_search(
    model: Model,
    words: Phrases | None = None,
    *,
    like: Examples | None = None,
    unlike: Examples | None = None,
    label: str | None = None,
    settings: FindSettings = FindSettings(),  # noqa: B008 - it is frozen
) -> Search:
    """Create a search from text or exemplar prompts. Raises as `Model.find`."""
    one_question(words, like)
    if like is not None:
        return Search(model, ExampleFinder(model, like, unlike, settings), label)
    if unlike is not None or label is not None:
        raise InputError("`unlike` and `label` require an exemplar. Pass `like`, or omit them.")
    assert words is not None  # checked by `one_question`
    return Search(model, WordFinder(model, read_phrases(words, settings.score), settings))


@dataclass(frozen=True)
class SearchedImage:
    """Result of a search in one image."""

    image_id: int
    records: list[StoredMask]  # New proposals, and proposals that received a label
    existing: int  # Number of results that already existed


def keep_finds(
    store: Store, image_id: int, finds: Sequence[Draft], key: str, once: bool = True
) -> SearchedImage:
    """Store new results of an image.

    Args:
        once: Store nothing if a search with this key has already processed the image.
    """
    entries = store.records(image_id)
    fresh, named, there = list[Draft](), dict[int, tuple[Draft, StoredMask]](), 0
    for draft in finds:
        # Rejected masks match only with the same label
        same = [
            mask for mask in entries
            if mask.page == draft.page and (mask.state != "rejected" or mask.label == draft.label)
        ]  # fmt: skip
        overlaps = rle_iou([draft.rle], [mask.rle for mask in same])[0] if same else ()
        alike = [mask for mask, iou in zip(same, overlaps, strict=True) if iou >= KNOWN_IOU]
        first = alike[0] if alike else None
        if first is None:
            fresh.append(draft)
        elif len(alike) == 1 and draft.label and first.state == "proposed" and not first.label:
            named.setdefault(first.id, (first.draft(label=draft.label), first))
        else:
            there += 1
    return SearchedImage(
        image_id, store.keep_found(image_id, fresh, [*named.values()], key, once), there
    )


def images_left(store: Store, searched: Container[int]) -> list[ImageEntry]:
    """Images that are neither done nor searched (`Store.searched`)."""
    return [
        image for image in store.all_images() if image.status != "done" and image.id not in searched
    ]


def search_images(
    store: Store,
    key: str,
    look: Callable[[ImageEntry], list[Draft]],
    failed: Callable[[str, str], None] | None = None,
) -> Iterator[SearchedImage]:
    """Search the remaining images, and yield the result of each.

    Args:
        look: Function that returns the proposals for an image.
        failed: Called with name and reason of images that cannot be read; the next search
            retries them. Default: raise.
    """
    for image in images_left(store, store.searched(key)):
        try:
            result = keep_finds(store, image.id, look(image), key)
        except AnymaskError as error:
            LOG.warning("skipped %s: %s", image.name, error)
            if failed is None:
                raise
            failed(image.name, str(error))
            continue
        LOG.info(
            "%s: %d new proposals, %d already in the project",
            image.name,
            len(result.records),
            result.existing,
        )
        yield result


def find_in_project(
    project: Project,
    model: Model,
    words: Phrases | None = None,
    *,
    like: Examples | StoredMask | Sequence[StoredMask] | None = None,
    unlike: Examples | StoredMask | Sequence[StoredMask] | None = None,
    label: str | None = None,
    failed: Callable[[str, str], None] | None = None,
    **settings: Any,
) -> Iterator[SearchedImage]:
    """Propose labeled masks from text or exemplar prompts. Yields the result of each image.

    Images marked as done are skipped, and existing masks are not added again. An unlabeled
    proposal gets the label. Repeating a search continues with the remaining images. Raises as
    `Model.find`.

    Args:
        words: As for `Model.find`. The label is the phrase.
        like: Instead: exemplar prompts as for `Model.find`, or masks of the project.
        unlike: Negative exemplar prompts, likewise.
        label: Label for exemplar prompts. Default: that of the first mask of the project.
        failed: Called with name and reason of images that cannot be read. Default: raise.
        settings: Fields of `find.FindSettings`.
    """
    first = like[0] if isinstance(like, list) and like else like
    if label is None and isinstance(first, StoredMask):
        label = first.label
    search = open_search(
        model, words, like=own_examples(project, like), unlike=own_examples(project, unlike),
        label=label, settings=FindSettings(**settings),
    )  # fmt: skip
    least = project.settings.min_mask_area

    def look(image: ImageEntry) -> list[Draft]:
        return search.drafts(load_plane(project.image_path(image.id)), 0, least)

    return search_images(project.store, search.key, look, failed)


def own_examples(project: Project, given: Any) -> Any:
    """Convert masks of the project (`StoredMask`) to exemplar prompts for `Model.find`."""
    if isinstance(given, StoredMask):
        return load_plane(project.image_path(given.image_id), given.page), {"mask": given.mask}
    if isinstance(given, list):
        return [own_examples(project, example) for example in given]
    return given
