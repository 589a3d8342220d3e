"""Things that words or examples mean, found in a project's photos and kept as proposals with names.

A photo that was searched is told by an event that holds the question's key, written with the
proposals in one transaction: a search that was cut short goes on with the photos that are left, and
one that is over looks at new photos alone. Finished photos are left as they are.

What is found may be there already. A mask that somebody made, accepted or named stays, and so does
a proposal that was rejected under the same name; a proposal without a name gets it.
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
SAME = 0.7  # IoU from which a find, or a proposal, is a mask that is there already
TOOL = "find"


@dataclass(frozen=True)
class Search:
    """A question about any number of photos, with what was learned of its words or examples.

    Attributes:
        label: Of what is like an example; words bring their own.
    """

    model: Model
    finder: WordFinder | ExampleFinder
    label: str | None = None

    @property
    def key(self) -> str:
        """Names the question: other words, examples, settings or weights have another one."""
        told = [self.model.runtime.weights_hash, self.label, self.finder.about]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def untrained(self) -> list[str]:
        """The names of the question without training images."""
        return self.finder.untrained if isinstance(self.finder, WordFinder) else []

    def find(self, photo: UintImage) -> list[Mask]:
        """The things in a photo (H, W, 3), best first, named."""
        found = self.finder.find(photo)
        return [one if one.label else replace(one, label=self.label) for one in found]

    def drafts(self, photo: UintImage, page: int = 0, least_area: int = 0) -> list[Draft]:
        """The same as proposals for a page of a photo's file."""
        about = Provenance.of(self.model.origin, kind="model", tool=TOOL, stage="semi")
        return [
            Draft(rle=one.rle, label=one.label, state="proposed", score=one.score, page=page,
                  provenance=about)
            for one in self.find(photo)
            if one.area >= max(1, least_area)
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
    """What words or examples mean, learned. Raises what `Model.find` raises."""
    one_question(words, like)
    if like is not None:
        return Search(model, ExampleFinder(model, like, unlike, settings), label)
    if unlike is not None or label is not None:
        raise InputError(
            "The parameters `unlike` and `label` require an exemplar, not a text "
            "prompt. Pass `like`, or omit them."
        )
    assert words is not None  # `one_question` has seen to it
    return Search(model, WordFinder(model, read_phrases(words, settings.score), settings))


@dataclass(frozen=True)
class SearchedPhoto:
    """What became of what was found in a photo.

    Attributes:
        records: Proposals that are new, or have their name from it.
        there: How many were there already.
    """

    image_id: int
    records: list[StoredMask]
    there: int


def keep_finds(
    store: Store, image_id: int, finds: Sequence[Draft], key: str, once: bool = True
) -> SearchedPhoto:
    """Keep what was found in a photo, but what is there.

    Args:
        once: Nothing is kept where another search with this key was quicker.
    """
    entries = store.records(image_id)
    fresh, named, there = list[Draft](), dict[int, tuple[Draft, StoredMask]](), 0
    for draft in finds:
        same = [one for one in entries if one.page == draft.page and _stands(one, draft)]
        overlaps = rle_iou([draft.rle], [one.rle for one in same])[0] if same else ()
        alike = [one for one, iou in zip(same, overlaps, strict=True) if iou >= SAME]
        first = alike[0] if alike else None
        if first is None:
            fresh.append(draft)
        elif len(alike) == 1 and draft.label and first.state == "proposed" and not first.label:
            named.setdefault(first.id, (first.draft(label=draft.label), first))
        else:
            there += 1
    records = store.keep_found(image_id, fresh, [*named.values()], key, once)
    return SearchedPhoto(image_id, records, there)


def _stands(there: StoredMask, find: Draft) -> bool:
    """Whether a mask can be what was found: a rejected one where it was rejected by that name."""
    return there.state != "rejected" or there.label == find.label


def photos_left(store: Store, searched: Container[int]) -> list[ImageEntry]:
    """The photos that are not finished and were not searched yet (`Store.searched`)."""
    return [one for one in store.all_images() if one.status != "done" and one.id not in searched]


def search_photos(
    store: Store,
    key: str,
    look: Callable[[ImageEntry], list[Draft]],
    failed: Callable[[str, str], None] | None = None,
) -> Iterator[SearchedPhoto]:
    """Search the photos that are left, and yield what became of each.

    Args:
        look: Finds proposals in a photo.
        failed: Is told of photos that cannot be read, which are looked at again the next time;
            without it their error is raised.
    """
    for image in photos_left(store, store.searched(key)):
        try:
            kept = keep_finds(store, image.id, look(image), key)
        except AnymaskError as error:
            LOG.warning("skipped %s: %s", image.name, error)
            if failed is None:
                raise
            failed(image.name, str(error))
            continue
        LOG.info(
            "%s: %d new proposals, %d already in the project",
            image.name,
            len(kept.records),
            kept.there,
        )
        yield kept


def find_in_project(
    project: Project, search: Search, failed: Callable[[str, str], None] | None = None
) -> Iterator[SearchedPhoto]:
    """The stage before people: see `Project.find`."""
    least = project.settings.min_mask_area

    def look(image: ImageEntry) -> list[Draft]:
        return search.drafts(load_plane(project.picture(image.id)), 0, least)

    return search_photos(project.store, search.key, look, failed)


def own_examples(project: Project, given: Any) -> Any:
    """Examples as `Model.find` takes them, with masks of the project (`StoredMask`) among them."""
    if isinstance(given, StoredMask):
        return load_plane(project.picture(given.image_id), given.page), {"mask": given.mask}
    if isinstance(given, list):
        return [own_examples(project, one) for one in given]
    return given
