"""What the page's unit tests compare with: the package's own answers, written as JSON.

    python tests/web/write_fixtures.py     # after a change of the rules that the page repeats

tests/web/test_fixtures.py says when they are no longer what the package answers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np

from anymask.base import InputError
from anymask.masks import (
    OPENCV,
    Mask,
    ModelPrompts,
    ModelSpec,
    Prompt,
    Start,
    apply_negative_points,
    clean_logits,
    click_steps,
    geometry,
    image_to_model,
    keep_previous,
    logits_to_masks,
    mask_to_model,
    mask_to_rle,
    parse_region_size,
    pixels_to_cells,
    point_pixels,
    rle_box_xywh,
    rle_to_coco,
)
from anymask.masks.answer import mask_features, probabilities, with_middle_clicks
from anymask.models.rules import NanoFamily, family_names, open_family
from anymask.segment import Prediction, split_by_score
from anymask.segment.everything.filter import without_duplicates
from anymask.segment.prediction import apply_clicks, clean_except_clicked
from anymask.segment.settings import ADAPTIVE_NMS

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.web.closer_fixtures import closer_cases
from tests.web.edge_fixtures import edge_cases
from tests.web.name_fixtures import close_ups, known_names
from tests.web.subject_fixtures import subject_cases
from tests.web.table_fixtures import tables

FOLDER = Path(__file__).resolve().parents[2] / "web" / "tests" / "fixtures"
NUMBERS = 3  # decimals: enough to tell a wrong rule, few enough to keep the files small


def rounded(array: Any) -> list[Any]:
    return np.round(np.asarray(array, np.float64), NUMBERS).tolist()


def smooth(rng: np.random.Generator, side: int, scale: float = 8.0) -> np.ndarray:
    """Logits with a few soft blobs."""
    y, x = np.mgrid[:side, :side] / side
    out = np.full((side, side), -3.0)
    for cx, cy, r in rng.uniform(0.1, 0.9, (4, 3)):
        out += scale * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (0.02 + 0.05 * r * r))
    return np.round(out, NUMBERS).astype(np.float32)


def run_lengths() -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    masks = [
        np.zeros((3, 4), bool),
        np.ones((3, 4), bool),
        np.eye(5, dtype=bool),
        rng.random((17, 9)) > 0.5,
        np.pad(np.ones((30, 20), bool), ((5, 1), (0, 70))),
        smooth(rng, 60) > 0,
    ]
    return [
        {
            "rows": ["".join("01"[int(v)] for v in row) for row in mask],
            "coco": rle_to_coco(mask_to_rle(mask)),
            "counts": mask_to_rle(mask).counts.tolist(),
            "box": list(rle_box_xywh(mask_to_rle(mask))),
        }
        for mask in masks
    ]


def small_spec(**changes: Any) -> ModelSpec:
    return ModelSpec(**{
        "name": "small", "image_side": 64, "mask_side": 16, "mean": (127.5,) * 3,
        "std": (127.5,) * 3, "fit": "longest_side", "resample": "area", "family": "nano",
        "pad_point": False, **changes,
    })  # fmt: skip


def cuts() -> list[dict[str, Any]]:
    rng = np.random.default_rng(2)
    sizes = [((90, 120), 0), ((200, 130), 0), ((20, 31), 0), ((64, 64), 0), ((200, 130), 70)]
    cases = []
    for size, limit in sizes:
        place = geometry(size, small_spec())
        plane = smooth(rng, 16)
        mask = logits_to_masks(plane[None], place, limit=limit or None)[0]
        case = {"imageHw": size, "inputHw": place.input_hw, "side": 64, "limit": limit}
        cases.append({**case, "logits": rounded(plane.ravel()), "rle": rle_of(mask)})
    return cases


def rle_of(mask: np.ndarray) -> dict[str, Any]:
    return rle_to_coco(mask_to_rle(mask))


ASKED = {
    "lone click": ([[20.0, 9.0]], [1], 0),
    "clicks": ([[20.0, 9.0], [4.0, 3.0]], [1, 0], 0),
    "box": ([[3.0, 4.0], [27.5, 20.0]], [2, 3], 0),
    "box and click": ([[20.0, 9.0], [3.0, 4.0], [27.5, 20.0]], [1, 2, 3], 0),
    "click and mask": ([[20.0, 9.0]], [1], 1),
}


def answers() -> list[dict[str, Any]]:
    """What each family says of each kind of prompt; `told`: the points of each question."""
    rng = np.random.default_rng(3)
    cases = []
    for name in family_names():
        spec = small_spec(family=name, image_side=32, mask_side=8)
        family, place = open_family(spec), geometry((90, 120), spec)
        for kind, (coords, labels, has_mask) in ASKED.items():
            tokens = 5 if name == "sam_hq" else 4
            planes = np.stack([smooth(rng, 8) for _ in range(tokens)])[None]
            score = np.round(rng.random((1, tokens)), NUMBERS).astype(np.float32)
            told: list[int] = []

            def decode(asked: ModelPrompts) -> tuple[np.ndarray, np.ndarray]:
                told.append(asked.labels.shape[1])  # noqa: B023  # called before the next turn
                return planes, score  # noqa: B023

            asked = ModelPrompts(
                np.array([coords], np.float32), np.array([labels]),
                np.zeros((1, 1, 8, 8), np.float32), np.array([has_mask], np.float32),
            )  # fmt: skip
            logits, numbers, order = family.answer(decode, asked, place, "auto", "expected")[0]
            many = family.candidates(planes, score)
            cases.append({
                "family": name, "kind": kind, "coords": rounded(np.ravel(coords)),
                "labels": labels, "hasMask": has_mask, "told": told,
                "planes": rounded(planes[0].reshape(tokens, 64)), "score": rounded(score[0]),
                "kept": rounded(logits.reshape(len(logits), 64)), "numbers": rounded(numbers),
                "order": order.tolist(), "candidates": rounded(many[1][0]),
            })  # fmt: skip
    return cases


def steps() -> list[dict[str, Any]]:
    """The clicks of each step."""
    asked = [
        ([], 0), ([1], 0), ([0], 0), ([1, 0, 1], 0), ([0, 0, 1], 0), ([1] * 8, 0), ([1] * 11, 0),
        ([0] * 4 + [1] * 6, 0), ([1, 1, 0], 2), ([0, 1], 1), ([1, 1], 2), ([1] * 12, 3),
    ]  # fmt: skip
    cases = []
    for labels, answered in asked:
        for start in get_args(Start):
            found = click_steps(labels, answered, start)
            before = [set(range(answered)), *map(set, found)]
            added = [
                [labels[one] for one in step if one not in old]
                for step, old in zip(found, before, strict=False)
            ]
            cases.append({
                "labels": labels, "answered": answered, "start": start, "steps": found,
                "negative": [bool(new) and not any(new) for new in added],
            })  # fmt: skip
    return cases


def kept_masks() -> list[dict[str, Any]]:
    """Masks before and after negative clicks, similar and different ones."""
    rng = np.random.default_rng(8)
    place, labels = geometry((90, 120), small_spec()), [1, 0]
    cases = []
    for share in (0.0, 0.1, 0.3, 0.6, 1.0) * 4:
        plane, other = smooth(rng, 16), smooth(rng, 16)
        plane = np.round(plane + share * (other - plane), NUMBERS).astype(np.float32)
        points = np.round(rng.uniform(0, 1, (2, 2)) * (119, 89), 1).astype(np.float32)
        prompt = Prompt.of(points=points, labels=labels)
        clicked = prompt.points, prompt.labels
        out = keep_previous(plane[None], other, clicked, place, 0.0, OPENCV)[0]
        cases.append({
            "points": rounded(points), "labels": labels, "logits": rounded(plane.ravel()),
            "previous": rounded(other.ravel()), "out": rounded(out.ravel()),
        })  # fmt: skip
    return cases


def clicks() -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)
    place = geometry((90, 120), small_spec())
    cases = []
    for _ in range(12):
        plane = smooth(rng, 16)
        points = np.round(rng.uniform(0, 1, (4, 2)) * (119, 89), 1).astype(np.float32)
        prompt = Prompt.of(points=points, labels=[1, 0, 0, 0])
        out = apply_negative_points(
            plane[None], (prompt.points, prompt.labels), place, 0.0, OPENCV
        )[0]
        order = np.zeros(1, np.int64)
        answer = Prediction.of_logits(out[None], np.ones(1, np.float32), order, place)
        cases.append({
            "points": rounded(points), "labels": [1, 0, 0, 0], "logits": rounded(plane.ravel()),
            "out": rounded(out.ravel()), "held": rle_of(apply_clicks(answer, prompt).masks[0]),
        })  # fmt: skip
    return cases


def cleanings() -> list[dict[str, Any]]:
    """Soft blobs with specks and pits, a click on some of them."""
    rng = np.random.default_rng(11)
    place = geometry((90, 120), small_spec())
    cases = []
    for _ in range(12):
        plane = smooth(rng, 16)
        spots = rng.integers(0, (12, 16), (6, 2))
        plane[tuple(spots.T)] = np.where(plane[tuple(spots.T)] > 0, -1.5, 1.5)
        points = ((spots[:2, ::-1] + 0.5) * (120 / 16)).astype(np.float32)
        prompt = Prompt.of(points=points, labels=[1, 0])
        cells = pixels_to_cells(point_pixels(points, place.image_hw), plane.shape, place)
        out = clean_logits(plane, place, (cells, prompt.labels), (0.05, 0.05), 0.0, OPENCV)
        cases.append({
            "points": rounded(points), "labels": [1, 0], "logits": rounded(plane.ravel()),
            "out": rounded(out.ravel()),
        })  # fmt: skip
    return cases


SHARES = [(0.0, 0.05), (0.3, 0.0), (0.02, 0.2)]  # of holes and islands


def other_cleanings() -> list[dict[str, Any]]:
    """What shares that somebody chose leave of the same blobs."""
    place = geometry((90, 120), small_spec())
    cases = []
    for case in cleanings()[:4]:
        plane = np.array(case["logits"], np.float32).reshape(16, 16)
        points = np.array(case["points"], np.float32)
        cells = pixels_to_cells(point_pixels(points, place.image_hw), plane.shape, place)
        for shares in SHARES:
            out = clean_logits(plane, place, (cells, np.array(case["labels"])), shares, 0.0, OPENCV)
            kept = {"points": case["points"], "labels": case["labels"], "logits": case["logits"]}
            cases.append({**kept, "shares": shares, "out": rounded(out.ravel())})
    return cases


def crumbs() -> list[dict[str, Any]]:
    """Noisy discs without holes and islands of so many pixels; two clicks keep what is theirs."""
    rng = np.random.default_rng(31)
    y, x = np.mgrid[:40, :50]
    cases = []
    for areas in ((0, 3), (3, 0), (5, 8), (1.5, 400), (2000, 2.5)) * 2:
        mask = (np.hypot(x - 24, y - 19) < 15) ^ (rng.random((40, 50)) < 0.12)
        points = np.round(rng.uniform((10, 6), (40, 32), (6, 2)), 1).astype(np.float32)
        labels = mask[tuple(points[:, ::-1].astype(int).T)].astype(int)
        labels[-1] = 1 - labels[-1]  # one that is not obeyed
        out = clean_except_clicked(mask, (points, labels), *areas)
        cases.append({"mask": rle_of(mask), "points": rounded(points), "labels": labels.tolist(),
                      "areas": areas, "out": rle_of(out)})  # fmt: skip
    return cases


GIVEN = (50, 1, 0.05, 0, 0.0, 1.5, "5%", " 5 % ", "0.5%", "50", "0.05", "1e2", ".5", "0%", -1, "x",
         "", "%", "100%", "-2%", True, None, [5])  # fmt: skip


def region_sizes() -> list[dict[str, Any]]:
    """Least areas as they may be given, and what they mean; null: they are refused."""
    cases = []
    for given in GIVEN:
        try:
            least = parse_region_size(given, "area")
        except InputError:
            cases.append({"given": given, "least": None})
        else:
            cases.append({"given": given, "least": {"pixels": least.pixels, "share": least.share}})
    return cases


def images() -> list[dict[str, Any]]:
    rng = np.random.default_rng(6)
    cases = []
    for size in ((17, 25), (61, 40), (32, 32), (64, 64)):
        y, x = np.mgrid[: size[0], : size[1]]
        waves = [np.sin(x / a) * np.cos(y / b) * 110 + 127 for a, b in rng.uniform(3, 15, (3, 2))]
        image = np.stack(waves, -1).astype(np.uint8)
        for resample in ("area", "pillow_bilinear", "torch_bilinear"):
            step = 8 if resample == "area" else 0
            spec = small_spec(resample=resample, image_side=32, pad_multiple=step)
            seen = image_to_model(image, spec)
            case = {
                "size": size,
                "resample": resample,
                "pad_multiple": step,
                "input": seen.shape[1:],
                "image": image.ravel().tolist(),
            }
            cases.append({**case, "seen": rounded(seen.ravel())})
    return cases


def rankings() -> list[dict[str, Any]]:
    rng = np.random.default_rng(7)
    spec = small_spec()
    nano = open_family(spec)
    assert isinstance(nano, NanoFamily)
    cases = []
    for (x, y), size in zip(rng.integers(0, 64, (8, 2)).tolist(), 4 * [(90, 120), (64, 64)],
                            strict=True):  # fmt: skip
        place = geometry(size, spec)
        planes = np.stack([smooth(rng, 16) for _ in range(4)])
        planes[3] = 1 - 2 * (x > 40)
        planes = np.round(planes, NUMBERS).astype(np.float32)
        score = np.round(rng.random(4), NUMBERS).astype(np.float32)
        click = np.array([x, y], np.float32)
        found, shared = mask_features(score, planes, click, place, spec, OPENCV)
        _, numbers, order = nano.ranked(planes, score, click, place)
        cases.append({"click": [x, y], "size": size, "planes": rounded(planes.reshape(4, 256)),
                      "score": rounded(score), "found": rounded(found),
                      "shared": rounded(shared),
                      "likely": rounded(probabilities(found, nano.weights)),
                      "numbers": rounded(numbers), "order": order.tolist()})  # fmt: skip
    return cases


def looks() -> list[dict[str, Any]]:
    rng = np.random.default_rng(9)
    spec = small_spec()
    box = ModelPrompts(
        np.array([[[8, 8], [40, 48]]], np.float32),
        np.array([[2, 3]]),
        np.zeros((1, 1, 16, 16), np.float32),
        np.zeros(1, np.float32),
    )
    cases = []
    for lower in (0, 0, 1, 9):
        planes = np.stack([smooth(rng, 16) for _ in range(4)]) - lower
        score = np.round(rng.random(4), NUMBERS).astype(np.float32)
        out = with_middle_clicks(box, planes[None], score[None], open_family(spec))
        cases.append({"planes": rounded(planes.reshape(4, 256)), "score": rounded(score),
                      "coords": rounded(out.coords.ravel()), "labels": out.labels[0].tolist(),
                      "mask": rounded(out.masks.ravel())})  # fmt: skip
    return cases


def starts() -> list[dict[str, Any]]:
    place = geometry((90, 120), small_spec())
    mask = np.zeros((90, 120), bool)
    mask[20:61, 33:77] = True
    mask[30:40, 40:50] = False
    out = mask_to_model(mask, place, 16)[0]
    return [{"rle": rle_of(mask), "out": rounded(out.ravel())}]


def arrangements() -> list[dict[str, Any]]:
    """Found masks, parts, wholes, doubles and surroundings among them; which of them are shown."""
    rng = np.random.default_rng(12)
    y, x = np.mgrid[:60, :80]
    cases = []
    for least in (0.5, 0.5, 0.5, 0.0, 0.95, 2.0):
        records = []
        for cx, cy, r in rng.uniform((0, 0, 4), (80, 60, 30), (10, 3)):
            whole = np.hypot(x - cx, y - cy) < r
            masks = [whole, whole & (x < cx + r / 3), whole & (np.hypot(x - cx, y - cy) < r / 2)]
            for mask in masks[: int(rng.integers(1, 4))]:
                score = float(np.round(rng.random(), NUMBERS))
                records.append(Mask(mask_to_rle(mask), score=score))
        once = without_duplicates(records, ADAPTIVE_NMS)
        shown, others = split_by_score(once, least, 0.0)
        place = {id(record): n for n, record in enumerate(records)}
        cases.append({
            "least": least,
            "rles": [rle_to_coco(one.rle) for one in records],
            "score": [one.score for one in records],
            "shown": [place[id(one)] for one in shown],
            "others": [place[id(one)] for one in others],
        })  # fmt: skip
    return cases


FIXTURES = {
    "arrangements": arrangements,
    "rle": run_lengths,
    "cuts": cuts,
    "answers": answers,
    "clicks": clicks,
    "keptMasks": kept_masks,
    "steps": steps,
    "cleanings": cleanings,
    "otherCleanings": other_cleanings,
    "crumbs": crumbs,
    "regionSizes": region_sizes,
    "pictures": images,
    "starts": starts,
    "rankings": rankings,
    "edges": edge_cases,
    "closer": closer_cases,
    "looks": looks,
    "closeUps": close_ups,
    "names": known_names,
    "subjects": subject_cases,
    "tables": tables,
}


def text_of(name: str) -> str:
    return json.dumps(FIXTURES[name](), separators=(",", ":")) + "\n"


if __name__ == "__main__":
    for name in FIXTURES:
        (FOLDER / f"{name}.json").write_text(text_of(name), "utf-8")
