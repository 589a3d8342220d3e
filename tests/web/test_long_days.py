"""What somebody meets who labels all day: ten thousand photos, mouse and keys by turns, review."""

from __future__ import annotations

import numpy as np
import pytest

from tests.web.conftest import SitDown
from tests.web.project_server import Project
from tests.web.test_project import square


def test_ten_thousand_photos_are_listed_once_and_found_by_name(sit_down: SitDown) -> None:
    small = np.full((40, 60, 3), 90, np.uint8)
    project = Project({f"p{i:05d}": small for i in range(10_000)}, arm="control")
    ann = sit_down(project)
    ann.open("?image=p05000")
    ann.until("s.editor?.entry.id", "p05000")
    assert ann.ask("s.images.length") == 10_000
    assert project.asked.count("GET /api/images") == 10
    ann.at_once("d", "d")  # the second one does not step over the next photo
    ann.until("s.editor?.entry.id", "p05001")
    assert project.done == ["p05000"]
    assert ann.ask("s.images[5000].status") == "done"
    assert project.asked.count("GET /api/images") == 10
    ann.keys("i")
    dialog = ann.page.get_by_role("dialog", name="Images")
    here = dialog.locator("[aria-current]")
    assert here.inner_text().startswith("p05001.png")
    assert here.is_visible()
    assert dialog.get_by_role("button").count() < 520
    dialog.get_by_label("Search images").fill("p09876")
    ann.keys("Enter")
    ann.until("s.editor?.entry.id", "p09876")
    ann.page.reload()
    ann.page.wait_for_selector(".stage")
    ann.until("s.editor?.entry.id", "p09876")


@pytest.mark.parametrize("box", [(420, 300, 90), (5, 5, 30), (0, 0, 400)])
def test_a_mask_under_review_is_large_and_off_the_bar(
    sit_down: SitDown, images: dict[str, np.ndarray], box: tuple[int, int, int]
) -> None:
    project = Project({"coffee": images["coffee"]}, stage="review", arm="control", queue=["r2"])
    project.add("coffee", square(100, 100, 300, (400, 600)))
    project.add("coffee", square(*box, (400, 600)))
    ann = sit_down(project).begin("s.review?.item.record", "r2")
    ann.until("!!s.editor?.state.selected")
    bar = ann.page.get_by_role("group", name="Review").bounding_box()
    x, y, side = box
    (left, top), (right, bottom) = ann.at(x, y), ann.at(x + side, y + side)
    stage = ann.page.locator(".stage").bounding_box()
    assert stage["x"] <= left < right <= stage["x"] + stage["width"]
    assert stage["y"] <= top < bottom <= bar["y"]
    scale = ann.ask("s.view.scale")
    assert scale == pytest.approx(min(8, (bar["y"] - top) / side), rel=0.6) or scale == 8
    (west, north), (east, south) = ann.at(0, 0), ann.at(600, 400)
    assert west - stage["x"] <= 24 or west - stage["x"] == pytest.approx(
        stage["x"] + stage["width"] - east
    )
    assert north - stage["y"] <= 24 or south <= bar["y"]
    fills = ann.ask("[...s.editor.map.fills.slice(1, 3)].map(f => f >>> 24)")
    assert sorted(fills)[0] == 0 < sorted(fills)[1]  # only the mask in question is filled


def test_thousands_of_masks_are_one_map_and_a_short_list(
    sit_down: SitDown, images: dict[str, np.ndarray]
) -> None:
    project = Project({"coffee": images["coffee"]}, arm="control")
    for i in range(5000):
        x, y = i % 100 * 6, i // 100 * 8
        project.add("coffee", square(x, y, 5, (400, 600), label=f"n{i % 7}"))
    ann = sit_down(project).begin("s.editor?.state.masks.length", 5000)
    ann.until_so(lambda: ann.page.locator(".line").count() > 3, "the list")
    assert ann.page.locator(".line").count() < 60
    ann.keys("o")
    ann.page.mouse.click(*ann.at(302.5, 202.5))
    assert ann.ask("s.editor.selected.box") == [300, 200, 5, 5]
