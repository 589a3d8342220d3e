"""Every screen of the page by axe-core's rules: dark and light, wide and narrow, in Chromium."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
import pytest

from tests.web.conftest import SitDown
from tests.web.project_server import Project
from tests.web.test_project import square

SCHEMES = ("dark", "light")
NARROW = {"width": 390, "height": 844}
DRAWN = "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, as its package for Python carries it."""
    return files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


def check(ann: Any, axe: str, screen: str) -> list[str]:
    """What axe-core complains about, as `screen, width, scheme: impact rule: element`."""
    complaints = []
    wide = ann.page.viewport_size
    ann.page.evaluate(axe)
    for size in (wide, NARROW):
        ann.page.set_viewport_size(size)
        ann.page.evaluate(DRAWN)
        for scheme in SCHEMES:
            ann.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            said = ann.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            complaints += [
                f"{screen}, {size['width']}, {scheme}: {found['impact']} {found['id']}: "
                f"{node['html'][:150]} {node['failureSummary'].splitlines()[1:2]}"
                for found in said["violations"]
                for node in found["nodes"]
            ]
    ann.page.set_viewport_size(wide)
    return complaints


def shelf(images: dict[str, np.ndarray], **about: Any) -> Project:
    """A project with masks and proposals, with and without labels."""
    project = Project(images, **about)
    for i, label in enumerate(("cat", "cup", None)):
        project.add("coffee", square(40 + 60 * i, 100, 50, (400, 600), label=label))
    project.add("coffee", {**square(300, 100, 60, (400, 600)), "state": "proposed"})
    return project


def test_opening_photos(sit_down: SitDown, axe: str) -> None:
    ann = sit_down(None)
    ann.open("?local=1")
    ann.page.get_by_role("heading", name="Open images to annotate").wait_for()
    assert check(ann, axe, "open") == []


def test_labelling_with_a_mask_in_the_making(
    sit_down: SitDown, images: dict[str, np.ndarray], axe: str
) -> None:
    ann = sit_down(shelf(images)).begin()
    ann.click(300, 180)
    ann.page.get_by_role("radio").first.wait_for()
    ann.until("s.naming.shown.length > 0")
    complaints = check(ann, axe, "labelling, with suggested names")
    ann.ask("s.editor.startedAt -= 30000")
    ann.page.get_by_text("30 s on this mask").wait_for()
    complaints += check(ann, axe, "thirty seconds")
    ann.keys("Escape", "k")
    ann.page.get_by_role("button", name="Outline").wait_for()
    complaints += check(ann, axe, "a picked mask")
    ann.keys("Control+i")
    ann.page.get_by_role("group", name="Simplify outline").wait_for()
    complaints += check(ann, axe, "simplifying an outline")
    ann.keys("Escape", "Control+Shift+l")
    ann.page.get_by_text("suggested", exact=True).first.wait_for()
    complaints += check(ann, axe, "guessed names")
    ann.page.get_by_text("Notes", exact=True).click()
    ann.keys("y")
    ann.page.get_by_role("group", name="Display settings").wait_for()
    complaints += check(ann, axe, "notes and sliders")
    assert complaints == []


def test_dialogs(sit_down: SitDown, images: dict[str, np.ndarray], axe: str) -> None:
    ann = sit_down(shelf(images, arm="control")).begin("s.editor !== null")
    complaints = []
    for name, key in (
        ("Help", "?"),
        ("Images", "i"),
        ("Export", "Control+s"),
        ("Classes", "Control+l"),
    ):
        ann.keys(key)
        ann.page.get_by_role("dialog", name=name).wait_for()
        complaints += check(ann, axe, name)
        ann.keys("Escape")
    ann.page.get_by_role("button", name="Report").click()
    report = ann.page.get_by_role("dialog", name="Report")
    report.wait_for()
    complaints += check(ann, axe, "report")
    assert complaints == []
    assert report.get_by_role("cell").all_inner_texts() == ["–", "semi", "240", "0.91"]
    ann.keys("Escape")
    ann.until("document.activeElement.className", "stage")  # the keys are the photo's again


def test_a_stack_with_its_scale_and_guide_lines(
    sit_down: SitDown, images: dict[str, np.ndarray], axe: str
) -> None:
    stack = np.zeros((2, 2, 400, 600), np.uint8)
    ann = sit_down(shelf(images, arm="control", stacks={"coffee": stack})).begin(
        "s.editor !== null"
    )
    ann.page.get_by_role("group", name="Planes").wait_for()
    ann.keys("Control+g", "Control+Shift+X", "k", "y")
    ann.page.get_by_role("group", name="Display settings").wait_for()
    complaints = check(ann, axe, "a stack")
    ann.page.get_by_label("Channel", exact=True).select_option("Composite")
    ann.page.get_by_role("group", name="Composite").wait_for()
    complaints += check(ann, axe, "a composite")
    assert complaints == []


def test_review(sit_down: SitDown, images: dict[str, np.ndarray], axe: str) -> None:
    project = shelf(images, stage="review", arm="control", queue=["r2"])
    ann = sit_down(project).begin("s.review?.item.record", "r2")
    ann.page.get_by_role("button", name="Accept A", exact=True).wait_for()
    assert check(ann, axe, "review") == []


def test_trouble(sit_down: SitDown, images: dict[str, np.ndarray], axe: str) -> None:
    project = shelf(images, arm="control", broken={"cat"})
    ann = sit_down(project).begin("s.editor !== null")
    ann.keys("PageDown")
    ann.page.get_by_role("heading", name="cat.png could not be opened").wait_for()
    complaints = check(ann, axe, "a broken photo")
    ann.keys("PageUp")
    ann.until("s.editor !== null")
    project.lost = True
    ann.drag((100, 300), (200, 300))
    ann.keep()
    ann.until_so(lambda: "Not connected" in ann.page.locator(".saved").inner_text(), "the notice")
    ann.keys("d")
    ann.message("not marked as done")
    complaints += check(ann, axe, "a lost server")
    empty = sit_down(Project(arm="control"))
    empty.open()
    empty.page.get_by_role("heading", name="This project has no images").wait_for()
    complaints += check(empty, axe, "an empty project")
    assert complaints == []
