"""The page: whole, self-contained, and showing what was found."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import this_machine
from anymask.evaluation import FromFunction, page
from anymask.evaluation.image_report import ANSWER, TRUTH, draw_worst_cases, report_images
from anymask.evaluation.measures import score_set
from anymask.evaluation.protocols import CLICK_KINDS
from anymask.evaluation.results import Curve, DetailTable, Evaluation, SetResult, values_to_metric
from anymask.evaluation.selection import EvalSet, EvalSettings, SetPlan
from anymask.formats import load_set
from tests.evaluation.small_sets import perfect, same_color, write_set

VOID = {"meta", "img", "line", "rect", "circle", "polyline", "i"}


class Balanced(HTMLParser):
    """Fails on an end that closes something else."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.fixture
def boxes(tmp_path: Path) -> EvalSet:
    images = [[(2, 3, 20, 30), (40, 5, 60, 40)], [(10, 10, 40, 40)], [(1, 1, 5, 5)]]
    return EvalSet(SetPlan(name="boxes <b>"), *load_set(write_set(tmp_path / "boxes", images)))


def half(image: np.ndarray, prompt: object) -> np.ndarray:
    """Only what lies left of x = 30."""
    found = same_color(image, prompt)
    return found & (np.arange(found.shape[1]) < 30)


@pytest.fixture
def report(boxes: EvalSet) -> Evaluation:
    scores = score_set(
        [FromFunction("half", CLICK_KINDS | {"box"}, half), perfect()], boxes, EvalSettings()
    )
    line = Curve(
        title="reliability", x=np.array([0.0, 1]), y=np.array([0.5, np.nan]),
        x_label="quality", y_label="IoU",
    )  # fmt: skip
    table = DetailTable(title="bins", header=("bin", "share"), rows=(("a <i>", 0.25), ("b", 3.0)))
    figure = values_to_metric("ECE", np.array([0.1]), np.array([0]))
    found = SetResult(
        figures=(figure,), curves=(line,), tables=(table,), method="half", measure="calibration"
    )
    return Evaluation(
        data="mine", subject="half", weights_hash="abc123", settings=EvalSettings(),
        machine=this_machine(), sets=(replace(scores, found=(found,)),),
        command="anymask evaluate mine", skipped=(("superpixel", "not <installed>"),),
    )  # fmt: skip


def test_the_page_is_whole_and_fetches_nothing(report: Evaluation, boxes: EvalSet) -> None:
    shots = draw_worst_cases(
        FromFunction("half", CLICK_KINDS | {"box"}, half), boxes, report.sets[0], 64
    )
    text = report_images(report, {"boxes <b>": shots}).to_html()
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "<script" not in text
    for said in (
        "half on mine",
        "weights abc123",
        "anymask evaluate mine",
        "not &lt;installed&gt;",
    ):
        assert said in text
    assert text.count("<img") == len(shots) == 4
    assert "<b>" not in text
    assert "a &lt;i&gt;</td><td>0.250" in text
    assert "boxes &lt;b&gt;, reliability: IoU" in text


def test_a_report_without_sets_is_a_page(report: Evaluation) -> None:
    text = report_images(replace(report, sets=())).to_html()
    assert "0 sets, 0 masks" in text
    assert "Worst cases" not in text


def test_worst_cases_are_the_lowest_of_each_photo_and_show_both_outlines(
    report: Evaluation, boxes: EvalSet
) -> None:
    """By a click: of photo 0 the mask right of x = 30, of photo 1 the one that is cut."""
    method = FromFunction("half", CLICK_KINDS | {"box"}, half)
    shots = draw_worst_cases(method, boxes, report.sets[0], 64, count=2)
    assert [shot.words[0] for shot in shots] == [
        "1 click: IoU 0.00, 0.png, mask 1",
        "1 click: IoU 0.67, 1.png, mask 0",
        "box: IoU 0.00, 0.png, mask 1",
        "box: IoU 0.67, 1.png, mask 0",
    ]
    image = np.asarray(Image.open(BytesIO(shots[1].jpeg)).convert("RGB")).astype(int)
    assert max(image.shape) == 220
    for color in (TRUTH, ANSWER):
        assert (np.abs(image - color).sum(axis=-1) < 90).sum() > 50


def test_a_curve_goes_through_its_points_and_leaves_out_what_is_no_number() -> None:
    plot = page.curve_plot(
        [page.Points("a", np.array([1.0, 2, 3]), np.array([0, np.nan, 1]))], "clicks"
    )
    (points,) = re.findall(r'<polyline class="line s0" points="([^"]+)"', plot)
    (x0, y0), (x1, y1) = ([float(v) for v in pair.split(",")] for pair in points.split())
    assert x0 < x1
    assert y0 > y1
    assert plot.count("<circle") == 2
    assert 'style="max-width: 520px" viewBox="0 0 520 300"' in plot  # its words stay small
    assert "a, clicks 3: 100 %" in plot


@pytest.mark.parametrize("x", [[], [2.0]])
def test_a_curve_of_nothing_or_of_one_point_is_a_plot(x: list[float]) -> None:
    plot = page.curve_plot([page.Points("a", np.array(x), np.array(x) / 4)], "x")
    assert plot.count("<circle") == len(x)
    assert "nan" not in plot


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ([1, 2, 3], ["1", "2", "3"]),
        ([0.268, 0.376, 0.466, 0.768, 0.805], ["0.3", "0.4", "0.5", "0.6", "0.7", "0.8"]),
        ([0.0, 1.0, 0.5], ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ([0.51, 0.52], ["0.51", "0.512", "0.514", "0.516", "0.518", "0.52"]),
        ([0.4], ["0.4"]),
    ],
)
def test_the_marks_of_an_axis_are_short_and_apart(x: list[float], expected: list[str]) -> None:
    plot = page.curve_plot([page.Points("a", np.array(x), np.array(x))], "x")
    marks = re.findall(r'text-anchor="middle">([0-9.]+)<', plot)
    assert marks == expected
