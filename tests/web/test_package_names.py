"""Names that the JavaScript package suggests in a Chromium are Python's."""

from __future__ import annotations

import json
from typing import Any

import pytest

import anymask
from tests.web.package_server import IMAGE
from tests.web.test_package import ask, bits

# Chromium reads the photo's JPEG with other rounding than Python, by a level or two of 256.
NEAR = 0.02


PROMPTS = [
    "{ box: [190, 40, 390, 220] }",
    "{ box: [380, 60, 420, 140] }",  # smaller than its close-up
    "{ points: [[560, 60]] }",
    "{ points: [[60, 360]] }",  # at the photo's corner
]
CHOICES = [None, ["Cup", "table", "teddy_bear", "cat"]]


# Fetched for names alone; what workers fetch is not among it.
FETCHED = """performance.getEntriesByType("resource")
    .map((one) => one.name.split("/").at(-1)).filter((name) => name.startsWith("name")).sort()"""


def test_names_are_those_that_python_suggests(page: Any) -> None:
    height, width, unasked, fetched, answers = ask(
        page,
        f"""
        performance.clearResourceTimings();
        const features = await model.encode(image);
        const answers = [];
        let unasked;
        for (const prompt of [{", ".join(PROMPTS)}]) {{
            const fast = {{ refineEdges: false, zoom: false }};
            const {{ masks }} = await features.segment(prompt, fast);
            unasked ??= {FETCHED};
            const told = [];
            for (const names of {json.dumps(CHOICES)}) {{
                told.push(await features.suggestNames(masks[0], names ? {{ names }} : {{}}));
            }}
            told.push(await features.suggestNames(masks[0].toArray(), {{ top: 1 }}));
            const pixels = Array.from(masks[0].toArray(), Number).join("");
            answers.push([pixels, told]);
        }}
        return [features.height, features.width, unasked, {FETCHED}, answers];
        """,
    )
    assert unasked == []
    assert fetched == ["name_table.js", "names.npz", "names.onnx"]
    model = anymask.load()
    for pixels, told in answers:
        mask = bits(pixels, (height, width))
        for names, ours in zip(CHOICES, told, strict=False):
            (expected,) = model.suggest_labels(IMAGE, mask, names=names)
            assert ours[0]["label"] == expected[0].label
            assert len(ours) == len(expected)
            probabilities = {one["label"]: one["probability"] for one in ours}
            for one in expected:
                assert probabilities.get(one.label, 0) == pytest.approx(one.probability, abs=NEAR)
        assert told[2] == told[0][:1]
    assert len({told[0][0]["label"] for _, told in answers}) > 1


REFUSED = {
    "masks[0], { names: ['kat'] }": 'Unknown name "kat"',
    "masks[0], { names: [] }": "list of names is empty",
    "masks[0], { names: 'cat' }": 'names must be an array of class names. Given: "cat"',
    "masks[0], { top: 0 }": "top must be an integer of at least 1. Given: 0",
    "new Uint8Array(9)": "600 x 400 pixels, but the mask is an array of length 9",
    "7": "600 x 400 pixels, but the mask is 7",
}


def test_what_cannot_be_named_is_said_and_an_empty_mask_has_no_name(page: Any) -> None:
    told = ask(
        page,
        f"""
        const features = await model.encode(image);
        const fast = {{ refineEdges: false, zoom: false }};
        const {{ masks }} = await features.segment({PROMPTS[0]}, fast);
        const said = (asked) => asked.then(() => "an answer", String);
        return [
            {", ".join(f"await said(features.suggestNames({asked}))" for asked in REFUSED)},
            await features.suggestNames(new Uint8Array(600 * 400)),
        ];
        """,
    )
    for ours, part in zip(told, [*REFUSED.values()], strict=False):
        assert part in ours
    assert told[-1] == []
