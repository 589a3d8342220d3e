"""Region segmentation: a division of a photo and people's in, covering, PRI and VOI out.

    covering  each drawn region's IoU with the region that fits it best, weighted by its pixels,
              over all people (Arbelaez et al., PAMI 2011, section 3.1.3); 1 is best
    PRI       probabilistic Rand index: the share of pairs of pixels on which both agree that they
              are in one region or in two, averaged over the people; 1 is best
    VOI       variation of information: the entropies of each given the other, in bits, averaged
              over the people; 0 is best

as the region benchmark of Berkeley counts them. Letters: H W the photo, P and Q regions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import Floats, UintImage
from anymask.evaluation import (
    EvalSet,
    EvalSettings,
    FindsEverything,
    NotMeasured,
    OnProgress,
    Segmenter,
    SetResult,
    choose_masks,
    values_to_metric,
)
from anymask.formats import AnnotatedImage
from anymask.masks import Mask, Masks, ModelSpec, Prompt, mask_to_rle, rle_to_mask

RegionMap = NDArray[Any]


@dataclass(frozen=True)
class RegionScores:
    """One photo's agreement with the people who divided it."""

    covering: float
    rand_index: float
    variation: float


def region_scores(found: RegionMap, drawn: Sequence[RegionMap]) -> RegionScores:
    """Compare one division (H, W) with at least one person's.

    Regions are numbers of any kind; a region need not be connected.
    """
    tables = [count_shared_pixels(found, one) for one in drawn]
    covered = [covering(table) for table in tables]
    return RegionScores(
        covering=float(np.mean(covered)),  # everybody has as many pixels
        rand_index=float(np.mean([rand_index(table) for table in tables])),
        variation=float(np.mean([variation_of_information(table) for table in tables])),
    )


def count_shared_pixels(found: RegionMap, drawn: RegionMap) -> Floats:  # (H, W), (H, W) -> (P, Q)
    """Pixels that each found region shares with each drawn one."""
    rows, first = np.unique(found, return_inverse=True)
    columns, second = np.unique(drawn, return_inverse=True)
    pairs = first.reshape(-1) * len(columns) + second.reshape(-1)
    counts = np.bincount(pairs, minlength=len(rows) * len(columns))
    return counts.reshape(len(rows), len(columns)).astype(np.float64)


def covering(table: Floats) -> float:  # (P, Q)
    """The drawn regions' best IoU, weighted by their pixels."""
    sizes = table.sum(axis=0)
    union = table.sum(axis=1, keepdims=True) + sizes - table
    best = (table / union).max(axis=0)
    return float((best * sizes).sum() / sizes.sum())


def rand_index(table: Floats) -> float:  # (P, Q)
    """The share of pairs of pixels that are together in both, or apart in both; 1 for one pixel."""
    pixels = table.sum()
    if pixels < 2:
        return 1.0
    together = (table**2).sum()
    rows, columns = (table.sum(axis=1) ** 2).sum(), (table.sum(axis=0) ** 2).sum()
    apart = 0.5 * (rows + columns) - together
    return float(1 - apart / (pixels * (pixels - 1) / 2))


def variation_of_information(table: Floats) -> float:  # (P, Q)
    """H(found | drawn) + H(drawn | found) in bits."""
    share = table / table.sum()
    joint = _entropy(share)
    return 2 * joint - _entropy(share.sum(axis=1)) - _entropy(share.sum(axis=0))


def _entropy(shares: Floats) -> float:
    there = shares[shares > 0]
    return float(-(there * np.log2(there)).sum())


# ---------------------------------------------------------------------------------- the measure


FELZENSZWALB_SCALES = (50, 200, 800)
SLIC_SIZES = (30, 100, 300)


@dataclass(frozen=True, eq=False)
class Proposer:
    """A method that only divides a photo: (H, W, 3) uint8 -> maps of region numbers (H, W)."""

    name: str
    function: Callable[[UintImage], Sequence[NDArray[Any]]]

    @property
    def spec(self) -> ModelSpec:
        """Its name; it takes no prompts."""
        return ModelSpec(name=self.name, accepts=frozenset())

    def encode(self, image: UintImage) -> UintImage:
        """The photo itself."""
        return image

    def segment(self, embedding: Any, *, prompts: Sequence[Prompt], multimask: bool) -> list[Any]:
        """It cannot be asked."""
        raise NotMeasured("it proposes masks, it answers no prompts")

    def everything(self, image: UintImage, **_: Any) -> list[Mask]:
        """Every region of every map, the largest first."""
        found = [
            Mask(mask_to_rle(regions == number))
            for regions in self.function(image)
            for number in np.unique(regions)
        ]
        return sorted(found, key=lambda record: -record.area)


def felzenszwalb_maps(image: UintImage) -> list[NDArray[Any]]:
    """Felzenszwalb and Huttenlocher's graph regions (IJCV 2004) at three scales."""
    from skimage.segmentation import felzenszwalb

    return [felzenszwalb(image, scale=s, sigma=0.8, min_size=64) for s in FELZENSZWALB_SCALES]


def slic_maps(image: UintImage) -> list[NDArray[Any]]:
    """SLIC superpixels (Achanta et al., PAMI 2012) at three sizes."""
    from skimage.segmentation import slic

    return [slic(image, n_segments=n, start_label=0) for n in SLIC_SIZES]


REGION_BASELINES = (Proposer("felzenszwalb", felzenszwalb_maps), Proposer("slic", slic_maps))


def measure_regions(
    method: Segmenter, one: EvalSet, settings: EvalSettings, told: OnProgress
) -> SetResult:
    """Divide photos by what a method finds by itself; compare with how people divided them.

    Raises NotMeasured for a set without annotators or a method that has no `everything`.
    """
    if not isinstance(method, FindsEverything):
        raise NotMeasured("it finds nothing by itself, it only answers prompts")
    images = np.unique(choose_masks(one.plan, one.samples, settings.limit).image)
    samples = [one.samples[int(n)] for n in images]
    samples = [sample for sample in samples if is_by_people(sample)]
    if not samples:
        raise NotMeasured("regions need a set whose masks say who drew them")
    rows = []
    for done, sample in enumerate(samples, start=1):
        scores = region_scores(_divide_photo(method, sample.image()), sample_to_regions(sample))
        rows.append((scores.covering, scores.rand_index, scores.variation))
        told(done, len(samples))
    photo = np.arange(len(rows))
    names = ("covering", "PRI", "VOI")
    columns = zip(names, np.array(rows, np.float64).T, strict=True)
    return SetResult(
        figures=tuple(values_to_metric(name, values, photo) for name, values in columns)
    )


def _divide_photo(method: FindsEverything, image: UintImage) -> RegionMap:
    if isinstance(method, Proposer):
        return method.function(image)[1]
    return records_to_regions(method.everything(image), (image.shape[0], image.shape[1]))


def records_to_regions(records: Sequence[Mask], image_hw: tuple[int, int]) -> RegionMap:
    """A number a mask, each pixel to one of them (`layout.partition`); 0 where there is none."""
    regions = np.zeros(image_hw, np.int64)
    for number, share in enumerate(Masks(records).partition(), start=1):
        regions[rle_to_mask(share.rle)] = number
    return regions


def is_by_people(sample: AnnotatedImage) -> bool:
    """Whether every mask says which annotator drew it."""
    return all(mask.annotator is not None for mask in sample.objects)


def sample_to_regions(sample: AnnotatedImage) -> list[RegionMap]:
    """Each annotator's division (H, W); 0 where nobody's mask is."""
    maps = []
    people = {mask.annotator for mask in sample.objects if mask.annotator is not None}
    for person in sorted(people):
        regions = np.zeros(sample.hw, np.int64)
        for number, mask in enumerate(sample.objects):
            if mask.annotator == person:
                regions[rle_to_mask(mask.rle)] = number + 1
        maps.append(regions)
    return maps
