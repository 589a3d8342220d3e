"""An audit of discs by a model that finds the colour under a click."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anymask.base import DataError
from anymask.evaluation.audit_features import (
    FEATURES,
    measure_features,
    measure_outline,
    prepare_image,
    shrink_mask,
)
from anymask.evaluation.audit_grading import load_grader
from anymask.evaluation.audit_images import (
    AuditFile,
    AuditHeader,
    ExaminedImage,
    count_sizes,
    examine_image,
    find_missing,
    hash_masks,
    image_to_json,
)
from anymask.evaluation.label_errors import apply_proposals, grade_masks, list_suspects
from anymask.formats import AnnotatedImage
from anymask.masks import Mask, empty_rle, mask_to_rle, rle_iou, rle_to_mask
from anymask.segment import Model
from tests.evaluation.small_sets import rectangle
from tests.segment.fakes import ColorRuntime, discs

HW = (96, 128)
CIRCLES = [(30, 30, 18), (90, 40, 22), (50, 75, 14)]
HEADER = AuditHeader(model="fake", weights="colour", grid=4, grader="0")


@pytest.fixture
def model() -> Model:
    return Model(ColorRuntime())


def photo(*extra: np.ndarray, left_out: int | None = None) -> tuple[np.ndarray, AnnotatedImage]:
    pixels, masks = discs(HW, CIRCLES)
    kept = [mask for n, mask in enumerate(masks) if n != left_out]
    annotated = tuple(Mask(mask_to_rle(mask), "disc") for mask in (*kept, *extra))
    return pixels, AnnotatedImage(file_name="a.png", hw=HW, masks=annotated)


def examined(model: Model, *extra: np.ndarray, **more: int) -> ExaminedImage:
    pixels, image = photo(*extra, **more)
    return examine_image(model, load_grader(), image, pixels, count_sizes([image]), 4)


def test_a_right_mask_agrees_with_the_model_and_a_wrong_one_does_not(model: Model) -> None:
    pixels, image = photo()
    wrong = mask_to_rle(rectangle(HW, (20, 55, 60, 95)))
    rles = [image.masks[1].rle, wrong]
    good, bad = measure_features(model, prepare_image(model, pixels), rles, [[], []], [0.0, 0.0])
    value = {name: (good.values[n], bad.values[n]) for n, name in enumerate(FEATURES)}
    for name in ("click", "refine", "best", "outline", "on_edge", "edge_beside", "contrast"):
        assert value[name][0] > value[name][1], name
    assert value["click"][0] > 0.9
    assert value["edge_profile"][0] < value["edge_profile"][1]
    assert value["bare_stretch"][0] == 0 < value["bare_stretch"][1]


def test_the_outline_of_an_object_lies_on_its_edges() -> None:
    mask = rectangle((60, 60), (20, 20, 40, 40))
    edges = np.zeros((60, 60), np.float32)
    edges[19:41, 19:41] = 1
    edges[21:39, 21:39] = 0
    lab = np.where(mask[..., None], 80, 20).astype(np.float32) * np.ones(3, np.float32)
    right = measure_outline(mask, lab, edges)
    assert (right["bare_rim"], right["bare_stretch"]) == (0, 0)
    assert right["edge_profile"] <= 0.25
    moved = measure_outline(np.roll(mask, 12, axis=1), lab, edges)
    assert moved["bare_rim"] > 0.5
    assert moved["contrast"] < right["contrast"]
    assert moved["edge_beside"] < right["edge_beside"]


def test_thin_and_empty_masks_survive_shrinking() -> None:
    line = np.zeros((1000, 1000), bool)
    line[500, 100:900] = True
    assert shrink_mask(mask_to_rle(line), (64, 64)).any()
    assert not shrink_mask(empty_rle((1000, 1000)), (64, 64)).any()
    mask = rectangle((1000, 1000), (250, 500, 750, 1000))
    np.testing.assert_array_equal(
        shrink_mask(mask_to_rle(mask), (64, 64)), rectangle((64, 64), (16, 32, 48, 64))
    )


def test_a_mask_that_was_left_out_is_found(model: Model) -> None:
    pixels, image = photo(left_out=1)
    truth = mask_to_rle(discs(HW, CIRCLES)[1][1])
    embedding = model.encode(pixels)
    found = find_missing(model, embedding, [mask.rle for mask in image.masks], 6)
    assert max(rle_iou([record.rle], [truth])[0, 0] for record in found) > 0.9
    assert find_missing(model, embedding, [], 0) == []


def test_empty_masks_twins_and_crowds_are_told_without_a_model(model: Model) -> None:
    pixels, image = photo(np.zeros(HW, bool), discs(HW, CIRCLES)[1][0])
    crowd = replace(image.masks[0], crowd=True)
    image = replace(image, masks=(*image.masks, crowd))
    found = examine_image(model, load_grader(), image, pixels, count_sizes([image]), 0)
    verdicts = grade_masks(load_grader(), [found])
    assert [verdict.found.mask for verdict in verdicts] == [0, 1, 2, 3, 4]
    empty, twin = verdicts[3:]
    assert (empty.grade, empty.reasons, empty.action) == (0.0, ("empty mask",), "remove")
    assert (twin.reasons, twin.action) == (("duplicate of mask 0",), "remove")
    assert verdicts[0].found.twin is None
    assert found.missing == ()


def test_proposals_take_the_place_of_what_is_accepted(model: Model) -> None:
    found = examined(model, np.zeros(HW, bool), left_out=2)
    verdicts = grade_masks(load_grader(), [found], below=0.0001)
    moved = replace(verdicts[0], grade=0.0, action="replace", gain=0.3)
    better = Mask(mask_to_rle(rectangle(HW, (0, 0, 9, 9))))
    moved = replace(moved, found=replace(moved.found, answer=better))
    suspects = list_suspects([found], [moved, *verdicts[1:]], below=0.0001)
    numbers = {suspect.action: suspect.number for suspect in suspects}
    assert [suspect.number for suspect in suspects] == list(range(1, len(suspects) + 1))
    assert {"replace", "remove"} <= set(numbers)
    _, image = photo(np.zeros(HW, bool), left_out=2)
    whole = apply_proposals(image, suspects)
    assert whole.masks[0].rle == better.rle
    assert whole.masks[0].label == "disc"
    assert whole.masks[1] == image.masks[1]
    added = sum(suspect.action == "add" for suspect in suspects)
    assert len(whole.masks) == len(image.masks) - 1 + added
    some = apply_proposals(image, suspects, {numbers["remove"]})
    assert some.masks == image.masks[:2]


def test_what_was_examined_is_read_as_it_was_written(model: Model, tmp_path: Path) -> None:
    found = examined(model, np.zeros(HW, bool))
    file = AuditFile(tmp_path / "photos.jsonl", HEADER)
    file.add(found)
    file.add(replace(found, file_name="b.png"))
    again = AuditFile(tmp_path / "photos.jsonl", HEADER)
    first, second = again.images.values()
    assert (first.file_name, second.file_name) == ("a.png", "b.png")
    assert json.dumps(image_to_json(first)) == json.dumps(image_to_json(found))
    np.testing.assert_allclose(first.masks[0].values, found.masks[0].values, atol=1e-4)


def test_another_audits_file_is_refused(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "photos.jsonl"
    AuditFile(path, HEADER).add(examined(model))
    with pytest.raises(DataError, match="weights: 'colour' instead of 'x'"):
        AuditFile(path, replace(HEADER, weights="x"))
    path.write_bytes(path.read_bytes() + b"{}\n")
    with pytest.raises(DataError, match="line 3 is not an entry of an audit"):
        AuditFile(path, HEADER)


def test_the_key_knows_every_change_of_the_masks() -> None:
    _, image = photo()
    first = image.masks[0]
    other = replace(first, label="cup")
    changed = [
        replace(image, masks=image.masks[:2]),
        replace(image, masks=(other, *image.masks[1:])),
        replace(image, masks=(replace(first, crowd=True), *image.masks[1:])),
    ]
    assert len({hash_masks(one) for one in (image, *changed)}) == 4


def test_sizes_are_odd_against_their_own_label() -> None:
    rng = np.random.default_rng(0)
    sides = rng.integers(18, 23, 30)
    masks = [Mask(mask_to_rle(rectangle(HW, (0, 0, s, 20))), "cup") for s in sides]
    huge = Mask(mask_to_rle(rectangle(HW, (0, 0, 120, 90))), "cup")
    rare = Mask(huge.rle, "spoon")
    table = count_sizes([AnnotatedImage(file_name="a", hw=HW, masks=(*masks, huge, rare))])
    assert (table.images, table.masks) == (1, 32)
    assert abs(table.oddness(masks[0])) < 3 < table.oddness(huge)
    assert table.oddness(rare) == 0
    assert rle_to_mask(huge.rle).sum() == 10800
