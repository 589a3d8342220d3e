"""Features of an annotated mask: agreement with a model's predictions, and with image edges.

The model is prompted in five ways for each mask, in one call for an image:

    box      its tight box
    wide     a box that is larger on every side, into which a truncated object extends
    click    the innermost pixel of the mask: predicts a part, the whole, or another object
    second   the innermost pixel of the part far from the first: same mask if it is one object
    refine   its box, its click and the mask itself

Masks are compared on the image scaled down to 640 pixels, so the cost is independent of image size.

Letters: H W the image, h w the scaled image, N masks, A predictions, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from anymask.base import BoolArray, FloatArray, Floats, UintImage, brief
from anymask.masks import (
    Features,
    Prompt,
    Rle,
    center_click,
    logits_to_masks,
    mask_iou,
    measure,
    reduced,
    rle_box_xyxy,
    rle_crop,
    rle_to_mask,
)
from anymask.segment import Model

OUTLINE_BAND = 0.12  # width of the band beside the outline, relative to the square root of the area
WEAK_EDGE = 0.2  # relative to the strength of the image's clear edges; below, there is no edge
COMPARED_SIDE = 640  # longest side in pixels for comparing masks
WIDE_MARGIN = 0.2  # margin of the wide box on each side, relative to the side of the box
OUTLINE_REACH = 0.04  # tolerance of agreeing outlines, relative to the square root of the area
PROMPT_NAMES = ("box", "wide", "click", "second", "refine")
FEATURES = (
    "box", "wide", "click", "second", "refine", "first_click", "best", "mean",
    "box_quality", "click_quality", "refine_quality",
    "inside_click", "of_click", "inside_wide", "of_wide", "inside_refine", "of_refine",
    "inside_clicks", "of_clicks", "one_object", "outline",
    "on_edge", "edge_beside", "edge_profile", "bare_rim", "bare_stretch", "contrast",
    "contrast_least", "at_border", "ragged",
    "concavity", "parts", "holes", "size", "tiny", "odd_size", "overlap", "swallows",
)  # fmt: skip


def measure_outline(given: BoolArray, lab: FloatArray, edges: FloatArray) -> dict[str, float]:
    """Measure the outline of a non-empty mask (h, w) against the image.

    Args:
        lab: (h, w, 3) image in CIE Lab.
        edges: (h, w) edge strength, about 0..1.

    Returns:
        on_edge: mean edge strength along the outline. edge_beside: logarithm of the ratio of that
        to the edge strength beside it. edge_profile: distance of the parallel line with the
        strongest edges, relative to the band. bare_rim, bare_stretch: fraction of the outline
        without an edge, and of its longest such stretch. contrast: distance of the mean colors on
        both sides, relative to their spread; contrast_least: minimum among the four quarters of the
        outline. at_border: fraction of the outline on the image border. ragged: logarithm of its
        squared length divided by the area.
    """
    rows, columns = np.flatnonzero(given.any(axis=1)), np.flatnonzero(given.any(axis=0))
    area = int(np.count_nonzero(given))
    reach = max(3.0, OUTLINE_BAND * float(np.sqrt(area)))
    pad = int(reach) + 3
    window = (
        slice(max(rows[0] - pad, 0), rows[-1] + 1 + pad),
        slice(max(columns[0] - pad, 0), columns[-1] + 1 + pad),
    )
    mask, edges, lab = given[window], edges[window], lab[window]
    outside = cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, 5)
    inside = cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_L2, 5)
    depth = np.where(mask, inside - 0.5, 0.5 - outside)
    on, near = np.abs(depth) <= 1.5, np.abs(depth) <= reach
    inner, outer = near & (depth > 1.5), near & (depth < -1.5)
    here, there = (float(edges[some].mean()) if some.any() else 0.0 for some in (on, inner | outer))
    rim = mask_to_rim(given)
    frame = int(given[0].sum() + given[-1].sum() + given[:, 0].sum() + given[:, -1].sum())
    bare, stretch = _measure_bare_rim(edges, rim[window])
    # Mean edge strength on parallel lines, from -reach to reach.
    bins = np.clip(np.rint((depth[near] + reach) / (2 * reach) * 8).astype(np.int64), 0, 8)
    totals = np.bincount(bins, edges[near], minlength=9)
    strengths = totals / np.maximum(np.bincount(bins, minlength=9), 1)
    return {
        "on_edge": here,
        "edge_beside": float(np.log((here + 0.05) / (there + 0.05))),
        "edge_profile": abs(int(strengths.argmax()) - 4) / 4,
        "bare_rim": bare,
        "bare_stretch": stretch,
        "contrast": _contrast(lab, inner, outer),
        "contrast_least": _least_contrast(lab, inner, outer),
        "at_border": frame / max(int(rim.sum()) + frame, 1),
        "ragged": float(np.log(max(int(rim.sum()), 1) ** 2 / area)),
    }


def _measure_bare_rim(edges: FloatArray, rim: BoolArray) -> tuple[float, float]:
    """Return the fraction of the outline without an edge, and its longest such stretch."""
    total = int(rim.sum())
    if not total:
        return 0.0, 0.0
    weak = rim & (cv2.dilate(edges, np.ones((3, 3))) < WEAK_EDGE)
    _, _, stats, _ = cv2.connectedComponentsWithStats(weak.view(np.uint8), connectivity=8)
    return float(weak.sum() / total), int(stats[1:, cv2.CC_STAT_AREA].max(initial=0)) / total


def _contrast(lab: FloatArray, inner: BoolArray, outer: BoolArray) -> float:
    """Distance of the mean colors of both sides, relative to their spread; 0 if a side is empty."""
    if not inner.any() or not outer.any():
        return 0.0
    one, other = lab[inner], lab[outer]
    spread = np.sqrt((one.var(axis=0) + other.var(axis=0)).sum() / 2)
    return float(np.linalg.norm(one.mean(axis=0) - other.mean(axis=0)) / (spread + 5))


def _least_contrast(lab: FloatArray, inner: BoolArray, outer: BoolArray) -> float:
    """Minimum contrast among the four quarters of the outline, around its center."""
    y, x = np.nonzero(inner | outer)
    if not len(y):
        return 0.0
    quarter = np.zeros(inner.shape, np.int64)
    quarter[y, x] = 2 * (y > y.mean()) + (x > x.mean())
    parts = [(inner & (quarter == q), outer & (quarter == q)) for q in range(4)]
    contrasts = (_contrast(lab, one, other) for one, other in parts if one.any() and other.any())
    return min(contrasts, default=0.0)


def mask_to_rim(mask: BoolArray) -> BoolArray:
    """Return object pixels with a 4-neighbor outside; the image border is not outside."""
    padded = np.pad(mask, 1, mode="edge")
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~core


@dataclass(frozen=True, eq=False)
class MaskAnswer:
    """Predicted mask that could replace an annotated mask."""

    logits: FloatArray  # (m, m) in model space
    mask: BoolArray  # (h, w) on the scaled image
    quality: float  # Predicted quality
    prompt_kind: str  # Prompt, one of PROMPT_NAMES


@brief
@dataclass(frozen=True, eq=False)
class MaskFeatures:
    """Features of one mask, and the predictions that they are computed from."""

    values: Floats  # (F,) in the order of FEATURES
    agrees: Floats  # (A,) IoU of the annotated mask with each prediction
    answers: tuple[MaskAnswer, ...]  # Predicted masks
    shape: measure.MaskShape  # Shape of the annotated mask, in pixels of the image
    threshold: float = 0.0  # Threshold of the predicted logits

    def value(self, name: str) -> float:
        """Return a feature by name."""
        return float(self.values[FEATURES.index(name)])


@brief
@dataclass(frozen=True, eq=False)
class AuditImage:
    """Image data that all features of its masks use."""

    embedding: Features  # Image embedding
    lab: FloatArray  # (h, w, 3) float32, scaled image in CIE Lab
    edges: FloatArray  # (h, w) float32, edge strength, about 0..1

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of the scaled image."""
        return (self.lab.shape[0], self.lab.shape[1])


def prepare_image(model: Model, image: UintImage) -> AuditImage:  # (H, W, 3)
    """Encode an image and compute its edges, once for all of its masks."""
    embedding = model.encode(image)
    height, width = reduced(embedding.geometry, COMPARED_SIDE).image_hw
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2Lab)
    smooth = cv2.GaussianBlur(lab, (0, 0), 1.0)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8)
    strength = np.sqrt((down**2 + across**2).sum(axis=2))
    edges = strength / max(float(np.quantile(strength, 0.95)), 1.0)
    return AuditImage(embedding, np.asarray(lab, np.float32), np.asarray(edges, np.float32))


def shrink_mask(rle: Rle, size: tuple[int, int]) -> BoolArray:  # of (H, W) -> (h, w)
    """Scale a mask down; regions that are too thin keep at least a pixel."""
    crop, (x0, y0, x1, y1) = rle_crop(rle)
    small = np.zeros(size, np.bool_)
    if not crop.any():
        return small
    down, across = size[0] / rle.size[0], size[1] / rle.size[1]
    top, left = int(y0 * down), int(x0 * across)
    bottom = min(max(round(y1 * down), top + 1), size[0])
    right = min(max(round(x1 * across), left + 1), size[1])
    top, left = min(top, bottom - 1), min(left, right - 1)
    soft = cv2.resize(
        crop.astype(np.float32), (right - left, bottom - top), interpolation=cv2.INTER_AREA
    ).reshape(bottom - top, right - left)
    small[top:bottom, left:right] = soft >= min(0.5, float(soft.max()))
    return small


def measure_features(
    model: Model,
    view: AuditImage,
    rles: Sequence[Rle],
    others: Sequence[Sequence[Rle]],
    odd_sizes: Sequence[float],
) -> list[MaskFeatures]:
    """Compute the features of N non-empty masks of an image.

    Args:
        others: Neighboring masks of each mask.
        odd_sizes: Deviation of each mask's size from the usual size of its label.
    """
    smalls = [shrink_mask(rle, view.size) for rle in rles]
    answers = _ask_model(model, view, rles)
    features = []
    for number, small in enumerate(smalls):
        shape = measure.measure_shape(rles[number])
        beside = [shrink_mask(rle, view.size) for rle in others[number]]
        agrees = mask_iou(small[None], np.stack([a.mask for a in answers[number]]))[0]
        values = {
            **_compare_answers(small, answers[number], agrees),
            **measure_outline(small, view.lab, view.edges),
            "concavity": shape.concavity,
            "parts": float(np.log(max(shape.parts, 1))),
            "holes": float(np.log1p(shape.holes)),
            "size": float(np.sqrt(shape.area / np.prod(rles[number].size))),
            "tiny": float(np.clip(np.log(32**2 / max(shape.area, 1)), 0, None)),
            "odd_size": float(min(abs(odd_sizes[number]), 5)),
            **_compare_neighbors(small, beside),
        }
        features.append(
            MaskFeatures(
                np.array([values[name] for name in FEATURES]), agrees, tuple(answers[number]),
                shape, model.spec.mask_threshold,
            )
        )  # fmt: skip
    return features


def _ask_model(model: Model, view: AuditImage, rles: Sequence[Rle]) -> list[list[MaskAnswer]]:
    prompts = [_prompts(model, rle) for rle in rles]
    flat = [prompt for some in prompts for _, prompt in some]
    replies = iter(model.segment(view.embedding, prompts=flat))
    answers: list[list[MaskAnswer]] = []
    for some in prompts:
        answers.append([])
        for name, _ in some:
            reply = next(replies)
            masks = logits_to_masks(
                reply.shown_logits, reply.geometry, reply.threshold, limit=COMPARED_SIDE
            )
            answers[-1] += [
                MaskAnswer(logits, mask, float(quality), name)
                for logits, mask, quality in zip(
                    reply.shown_logits, masks, reply.scores, strict=True
                )
            ]
    return answers


def _prompts(model: Model, rle: Rle) -> list[tuple[str, Prompt]]:
    """Return those of the five prompts that the model supports."""
    accepts = model.spec.accepts
    height, width = rle.size
    x0, y0, x1, y1 = rle_box_xyxy(rle)
    x1, y1 = x1 + 1, y1 + 1
    crop, (left, top, _, _) = rle_crop(rle)
    first = center_click(crop)
    click = [(first[0] + left, first[1] + top)]
    prompts = []
    if "box" in accepts:
        dx, dy = WIDE_MARGIN * (x1 - x0), WIDE_MARGIN * (y1 - y0)
        wide = (max(x0 - dx, 0), max(y0 - dy, 0), min(x1 + dx, width), min(y1 + dy, height))
        prompts += [("box", Prompt.of(box=(x0, y0, x1, y1))), ("wide", Prompt.of(box=wide))]
    if "point" in accepts:
        y, x = np.nonzero(crop)
        away = (x - first[0]) ** 2 + (y - first[1]) ** 2
        far = np.zeros_like(crop)  # the half of the mask far from the first click
        far[y[away >= np.median(away)], x[away >= np.median(away)]] = True
        second = center_click(far)
        prompts.append(("click", Prompt.of(points=click)))
        prompts.append(("second", Prompt.of(points=[(second[0] + left, second[1] + top)])))
    if {"box", "point", "mask"} <= accepts:
        refine = Prompt.of(points=click, box=(x0, y0, x1, y1), mask=rle_to_mask(rle))
        prompts.append(("refine", refine))
    return prompts


def _compare_answers(
    given: BoolArray, answers: Sequence[MaskAnswer], agrees: Floats
) -> dict[str, float]:
    """Return the agreement with the prediction of each prompt, and their mutual coverage."""
    places = {
        kind: [n for n, a in enumerate(answers) if a.prompt_kind == kind] for kind in PROMPT_NAMES
    }
    best = {kind: max(some, key=lambda n: agrees[n]) for kind, some in places.items() if some}
    agree = {kind: float(agrees[best[kind]]) if kind in best else 0.0 for kind in PROMPT_NAMES}
    quality = {kind: answers[best[kind]].quality if kind in best else 0.0 for kind in PROMPT_NAMES}
    mask = {kind: answers[best[kind]].mask if kind in best else None for kind in PROMPT_NAMES}
    weights = np.array([max(answer.quality, 0.05) for answer in answers])
    shares = np.array([_mutual_shares(given, answer.mask) for answer in answers])
    clicked = places["click"] + places["second"]
    clicks = np.average(shares[clicked], axis=0, weights=weights[clicked]) if clicked else (0, 0)
    one, other = mask["click"], mask["second"]
    features = {
        **agree,
        "first_click": float(agrees[places["click"][0]]) if places["click"] else 0.0,
        "best": float(agrees.max()),
        "mean": float((weights * agrees).sum() / weights.sum()),
        "inside_clicks": float(clicks[0]),
        "of_clicks": float(clicks[1]),
        "one_object": 0.0
        if one is None or other is None
        else float(mask_iou(one[None], other[None])[0, 0]),
        "outline": 0.0 if mask["refine"] is None else _outline_agreement(given, mask["refine"]),
    }
    features |= {f"{kind}_quality": quality[kind] for kind in ("box", "click", "refine")}
    for kind in ("click", "wide", "refine"):
        inside, of = _mutual_shares(given, mask[kind])
        features |= {f"inside_{kind}": inside, f"of_{kind}": of}
    return features


def _mutual_shares(given: BoolArray, answer: BoolArray | None) -> tuple[float, float]:
    """Fraction of the annotated mask covered by the prediction, and vice versa."""
    if answer is None:
        return 0.0, 0.0
    common, own, other = (int(np.count_nonzero(mask)) for mask in (given & answer, given, answer))
    return common / max(own, 1), common / max(other, 1)


def _outline_agreement(first: BoolArray, second: BoolArray) -> float:
    """F-measure of two outlines within OUTLINE_REACH of the first mask's size."""
    reach = max(1.0, OUTLINE_REACH * float(np.sqrt(np.count_nonzero(first))))
    rims = [mask_to_rim(mask) for mask in (first, second)]
    if not all(rim.any() for rim in rims):
        return float(not any(rim.any() for rim in rims))
    shares = []
    for rim, other in (rims, rims[::-1]):
        away = cv2.distanceTransform((~other).view(np.uint8), cv2.DIST_L2, 5)
        shares.append(float((away[rim] <= reach).mean()))
    return 2 * shares[0] * shares[1] / max(shares[0] + shares[1], 1e-9)


def _compare_neighbors(given: BoolArray, others: Sequence[BoolArray]) -> dict[str, float]:
    """Maximum IoU with another mask, and maximum coverage of another mask."""
    if not others:
        return {"overlap": 0.0, "swallows": 0.0}
    stack = np.stack(others)
    common = (stack & given).sum(axis=(1, 2))
    areas = np.maximum(stack.sum(axis=(1, 2)), 1)
    union = areas + np.count_nonzero(given) - common
    return {"overlap": float((common / union).max()), "swallows": float((common / areas).max())}
