"""The JavaScript package, used by its example page in a Chromium."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

import anymask
from anymask.masks import Mask, iou, mask_to_rle
from anymask.segment import split_by_score
from tests.web.package_server import ASSETS, IMAGE

CUP = (290, 120)


def ask(page: Any, work: str) -> Any:
    """What JavaScript makes of a model that has seen the page's photo."""
    return page.evaluate(
        """async (work) => {
            const { load } = await import("./lib/index.js");
            const model = await load();
            const use = new Function("model", "image", `return (async () => {${work}})()`);
            try {
                return await use(model, document.querySelector("img"));
            } catch (error) {
                return String(error);
            } finally {
                model.close();
            }
        }""",
        work,
    )


def test_a_click_on_the_example_page_cuts_out_what_python_cuts_out(page: Any) -> None:
    page.locator("img").click(position={"x": CUP[0], "y": CUP[1]})
    page.wait_for_function("document.querySelector('#status').textContent.includes('pixels')")
    shown = page.evaluate(
        """() => {
            const canvas = document.querySelector("#cutout");
            const { width, height } = canvas;
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
            return [width, height, Array.from(data).filter((_, at) => at % 4 === 3)];
        }"""
    )
    width, height, alpha = shown
    mask = np.array(alpha).reshape(height, width) > 0
    expected = anymask.load().segment(IMAGE, points=[CUP])
    assert mask.shape == expected.masks[0].shape
    assert iou(mask, expected.masks[0]) > 0.97  # the browser reads the JPEG a little otherwise
    said = page.locator("#status").inner_text()
    pixels, score = re.fullmatch(r"(\d+) pixels, score (\S+), \d+ corners", said).groups()
    assert int(pixels) == mask.sum()
    assert float(score) == pytest.approx(expected.scores[0], abs=0.03)


def bits(text: str, hw: tuple[int, ...]) -> np.ndarray:
    """A mask as noughts and ones, which a page sends faster than a list of them."""
    return (np.frombuffer(text.encode(), np.uint8) == ord("1")).reshape(hw)


def test_edges_are_refined_of_the_first_mask_of_all_or_of_none(page: Any) -> None:
    found = ask(
        page,
        """
        const features = await model.encode(image);
        const answers = [];
        for (const refineEdges of ["auto", true, false, undefined]) {
            const { masks } = await features.segment({ points: [[290, 120]] }, { refineEdges });
            answers.push(masks.map((mask) => Array.from(mask.toArray(), Number).join("")));
        }
        return answers;
        """,
    )
    model = anymask.load()
    refined = model.segment(IMAGE, points=[CUP]).masks
    own = model.segment(model.encode(IMAGE), points=[CUP]).masks
    masks = [bits(mask, own.shape[1:]) for answer in found for mask in answer]
    auto, all_of_them, none, left_out = np.array(masks).reshape(4, *own.shape)
    for ours, expected in zip(all_of_them, refined, strict=True):
        assert iou(ours, expected) > 0.97
    assert (none != all_of_them).any(axis=(1, 2)).all()
    np.testing.assert_array_equal(auto, [all_of_them[0], *none[1:]])
    np.testing.assert_array_equal(left_out, auto)
    for ours, expected in zip(none, own, strict=True):
        assert iou(ours, expected) > 0.97


SPOON = (430, 180, 480, 230)


def test_many_answers_that_are_asked_for_at_once_all_come(page: Any) -> None:
    found = ask(
        page,
        """
        const [one, other] = [await model.encode(image), await model.encode("photo.jpg")];
        const places = [[290, 120], [150, 200], [400, 150], [290, 300], [80, 80], [420, 240]];
        const answers = await Promise.all(
            places.map((point, i) => (i % 2 ? one : other).segment({ points: [point] })),
        );
        return answers.map(({ masks }) => masks[0].area > 0);
        """,
    )
    assert found == [True] * 6


def test_every_way_to_show_a_photo_and_to_ask_is_taken(page: Any) -> None:
    found = ask(
        page,
        """
        const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
        canvas.getContext("2d").drawImage(image, 0, 0);
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const blob = await (await fetch("photo.jpg")).blob();
        const areas = [];
        const bitmap = await createImageBitmap(image);
        for (const photo of [image, canvas, data, blob, "photo.jpg", bitmap]) {
            const features = await model.encode(photo);
            const { masks } = await features.segment({ points: [[290, 120]] });
            areas.push(masks[0].area);
        }
        return areas;
        """,
    )
    assert len(found) == 6
    assert max(found) < 1.03 * min(found)


def test_masks_are_had_as_pixels_boxes_and_outlines(page: Any) -> None:
    found = ask(
        page,
        """
        const features = await model.encode(image);
        const { masks, violated } = await features.segment({ box: [180, 20, 400, 230] });
        const [mask] = masks;
        const regions = mask.polygons();
        const simple = mask.polygons(2);
        return { area: mask.area, box: mask.box, violated, size: [mask.width, mask.height],
                 pixels: Array.from(mask.toArray()), regions, simple: simple[0].exterior.length };
        """,
    )
    import shapely

    mask = np.array(found["pixels"], bool).reshape(found["size"][::-1])
    rows, columns = np.nonzero(mask)
    assert found["area"] == mask.sum()
    assert found["violated"] == []
    x0, y0, x1, y1 = found["box"]
    assert (x0, y0) == (columns.min(), rows.min())
    assert (x1, y1) == (columns.max() + 1, rows.max() + 1)
    drawn = [shapely.Polygon(one["exterior"], one["holes"]).area for one in found["regions"]]
    assert sum(drawn) == mask.sum()
    assert found["simple"] < max(len(one["exterior"]) for one in found["regions"]) / 2


def test_everything_is_what_python_would_show_of_it(page: Any) -> None:
    found = ask(
        page,
        """
        const told = [];
        const masks = await (await model.encode(image)).everything((...of) => told.push(of));
        return { told: told.at(-1), size: [image.naturalHeight, image.naturalWidth],
                 masks: masks.map((one) => [Array.from(one.toArray()).join(""), one.score]) };
        """,
    )
    assert found["told"] == [256, 256]
    records = [
        Mask(
            mask_to_rle((np.frombuffer(text.encode(), np.uint8) == 49).reshape(found["size"])),
            score=score,
        )
        for text, score in found["masks"]
    ]
    least = anymask.load().runtime.family.grid.score
    assert len(records) > 3
    assert split_by_score(records, least, 0.0) == (records, [])


WITH = "segment({ points: [[1, 1]] }, "
MADE = "segment({ points: [[290, 120]] }).then(({ masks: [one] }) => "


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("segment({})", "The prompt is empty"),
        ("segment({ points: [[9999, 1]] })", "Points must lie within"),
        ("segment({ points: [10, 10] })", "points must be an array of [x, y], such as [[290,"),
        ("segment({ points: [[1, '2']] })", 'such as [[290, 120]]. Given: [[1,"2"]]'),
        ("segment({ points: 'here' })", "points must be an array of [x, y]"),
        ("segment({ box: [1, 2, 3] })", "box must be [x0, y0, x1, y1]. Given: [1,2,3]"),
        (
            "segment({ points: [[1, 1]], labels: [] })",
            "labels must have one entry per point. Given: []",
        ),
        (
            "segment({ points: [[1, 1], [2, 2]], labels: [1, 2] })",
            "Each label must be 1 (foreground) or 0 (background). Given: 2",
        ),
        ("segment({ points: [[1, 1]], labels: [null] })", "Each label must be 1 (foreground)"),
        ("segment({ box: [5, 5, 5, 9] })", "The box must have x0 < x1 and y0 < y1. Given: [5,5,"),
        (f"{WITH}{{ granularity: 'part' }})", 'granularity must be "all" or a number from 0 to 1'),
        (f"{WITH}{{ refineEdges: 'on' }})", 'must be "auto", true or false. Given: "on"'),
        (f"{WITH}{{ zoom: 'on' }})", 'zoom must be "auto" or false. Given: "on"'),
        (f"{WITH}{{ minIslandArea: '200%' }})", "minIslandArea must be a number of pixels (1 or"),
        ("everything({ maxHoleArea: -1, minIslandArea: 5 })", "maxHoleArea must be a number of"),
        ("everything({ progress: 'bar' })", 'progress must be a function. Given: "bar"'),
        (
            f"{MADE} features.toBlob(one, {{ type: 'image/gif' }}))",
            "type must be one of image/png, ",
        ),
        (
            f"{MADE} features.toBlob(one, {{ quality: 90 }}))",
            "quality must be a number from 0 to 1",
        ),
        (f"{MADE} features.toBlob(one, {{ type: 'image/jpeg' }}))", "background"),
        (f"{MADE} features.cutout(one, {{ margin: 0.5 }}))", "margin must be an integer"),
        (f"{MADE} features.cutout({{ ...one, width: 3, toArray: () => [] }}))", "but the mask is"),
        (
            f"{MADE} features.cutout(one, {{ background: 'notacolor' }}))",
            "must be a CSS color, such",
        ),
        (f"{MADE} one.toImageData('red'))", "must be [red, green, blue, alpha], each 0 to 255"),
    ],
)
def test_what_cannot_be_answered_is_said(page: Any, asked: str, said: str) -> None:
    told = ask(page, f"const features = await model.encode(image); return features.{asked};")
    assert said in told


def test_what_is_no_photo_and_no_model_is_said(page: Any) -> None:
    assert "The image at" in ask(page, "return model.encode('nothing.jpg')")
    assert "The image cannot be read" in ask(page, "return model.encode(7)")
    missing = page.evaluate(
        """async () => {
            const { load } = await import("./lib/index.js");
            return load({ model: "nowhere" }).catch((error) => String(error));
        }"""
    )
    assert "/nowhere/manifest.json could not be loaded: HTTP status 404" in missing


def test_a_model_without_a_network_of_edges_has_its_own_and_says_so(page: Any) -> None:
    def without(route: Any) -> None:
        manifest = json.loads((ASSETS / "nano" / "manifest.json").read_text("utf-8"))
        del manifest["graphs"]["refiner"]
        route.fulfill(json=manifest)

    page.route("**/model/manifest.json", without)
    found = ask(
        page,
        """
        const features = await model.encode(image);
        const areas = [];
        for (const refineEdges of ["auto", false]) {
            const { masks } = await features.segment({ points: [[290, 120]] }, { refineEdges });
            areas.push(masks[0].area);
        }
        const refused = await features
            .segment({ points: [[290, 120]] }, { refineEdges: true })
            .catch((error) => String(error));
        return [...areas, refused];
        """,
    )
    page.unroute("**/model/manifest.json")
    assert found[0] == found[1]
    assert "nano has no refiner.onnx" in found[2]


ENCODED = "const features = await model.encode(image); return "


@pytest.mark.parametrize(
    ("table", "part", "work"),
    [
        ("graphs", "names", "features.suggestNames(new Uint8Array(600 * 400).fill(1));"),
        ("sha256", "subject.json", "features.subject();"),
    ],
)
def test_a_model_without_names_or_a_probe_says_so(
    page: Any, table: str, part: str, work: str
) -> None:
    manifest = json.loads((ASSETS / "nano" / "manifest.json").read_text("utf-8"))
    del manifest[table][part]
    page.route("**/model/manifest.json", lambda route: route.fulfill(json=manifest))
    told = ask(page, ENCODED + work)
    page.unroute("**/model/manifest.json")
    assert part in told


def test_a_cutout_is_the_masks_pixels_with_an_edge_that_fades(page: Any) -> None:
    found = ask(
        page,
        """
        const features = await model.encode(image);
        const { masks: [best] } = await features.segment({ points: [[290, 120]] });
        const canvas = features.cutout(best, { crop: true, margin: 3 });
        const { width, height } = canvas;
        const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
        const alpha = Array.from(data).filter((_, at) => at % 4 === 3);
        const white = features.cutout(best, { background: "white", soft: false });
        const corner = Array.from(white.getContext("2d").getImageData(0, 0, 1, 1).data);
        const size = [white.width, white.height];
        const file = await features.toBlob(best, { type: "image/webp", crop: true });
        const bytes = Array.from(new Uint8Array(await file.slice(0, 4).arrayBuffer()));
        const kind = [file.type, String.fromCharCode(...bytes)];
        const bits = Array.from(best.toArray()).join("");
        const whole = [features.height, features.width];
        return { width, height, alpha, corner, size, kind, bits, whole, box: best.box };
        """,
    )
    x0, y0, x1, y1 = found["box"]
    height, width = found["whole"]
    left, top, right, bottom = (
        max(x0 - 3, 0),
        max(y0 - 3, 0),
        min(x1 + 3, width),
        min(y1 + 3, height),
    )
    mask = bits(found["bits"], (height, width))[top:bottom, left:right]
    padded = np.pad(mask.astype(float), 1, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    alpha = np.array(found["alpha"]).reshape(found["height"], found["width"])
    assert alpha.shape == mask.shape
    np.testing.assert_allclose(alpha, 255 * windows.mean(axis=(2, 3)), atol=1)
    assert (found["corner"], found["size"]) == ([255, 255, 255, 255], [width, height])
    assert found["kind"] == ["image/webp", "RIFF"]


def test_further_clicks_correct_the_answer_before_them(page: Any) -> None:
    at_once, step_by_step, other, refused = ask(
        page,
        """
        const features = await model.encode(image);
        const [points, labels] = [[[290, 120], [310, 250], [120, 200]], [1, 1, 0]];
        const options = { refineEdges: false, zoom: false };
        const atOnce = await features.segment({ points, labels }, options);
        let previous;
        for (const count of [1, 2, 3]) {
            const first = { points: points.slice(0, count), labels: labels.slice(0, count) };
            previous = await features.segment({ ...first, previous }, options);
        }
        const refused = [];
        const part = await features.segment({ points: [points[0]], labels: [1] }, options);
        const more = { points, labels, previous: part, candidate: 2 };
        const other = await features.segment(more, options);
        for (const wrong of [
            { points: [[1, 1]], previous }, { points, previous: {} }, { ...more, candidate: 3 },
        ]) {
            refused.push(await features.segment(wrong).then(String, (error) => error.message));
        }
        const bits = ({ masks }) => Array.from(masks[0].toArray(), Number).join("");
        return [bits(atOnce), bits(previous), bits(other), refused];
        """,
    )
    assert at_once == step_by_step
    model = anymask.load()
    words = {"points": [CUP, (310, 250), (120, 200)], "point_labels": [1, 1, 0]}
    (expected,) = model.segment(model.encode(IMAGE), **words).masks
    assert iou(bits(step_by_step, expected.shape), expected) > 0.97
    assert refused == [
        "points must start with the points of the previous result (3). Add new points at the end.",
        "previous must be a result of segment() for the same image.",
        "Candidate 3 does not exist: the previous result has 3 masks.",
    ]
    features = model.encode(IMAGE)
    part = model.segment(features, points=[CUP]).picked([2])
    (expected,) = model.segment(features, **words, previous=part).masks
    assert iou(bits(other, expected.shape), expected) > 0.97
