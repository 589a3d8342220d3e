"""Names that the model suggests: once a mask is there, one press each; a guess is marked as one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anymask.masks import coco_to_rle, rle_to_mask
from tests.web.conftest import SitDown
from tests.web.project_server import Project
from tests.web.test_local import open_photos
from tests.web.test_project import square

SHOWN = "s.naming.shown.map(one => one.label).join()"
HW = (400, 600)


@pytest.fixture
def project(photos: dict[str, np.ndarray]) -> Project:
    return Project(photos, labels=[])


def suggested(ann: Any) -> Any:
    return ann.page.get_by_role("group", name="Suggested classes").get_by_role("button")


def labels(ann: Any) -> list[str | None]:
    found: list[str | None] = ann.ask("s.editor.state.masks.map(m => m.label)")
    return found


def test_a_new_object_gets_names_and_one_press_names_it_alone(
    sit_down: SitDown, project: Project
) -> None:
    ann = sit_down(project).begin()
    ann.click(300, 180)
    ann.until(SHOWN, "cup")
    assert suggested(ann).all_inner_texts() == ["cup\n70%"]
    suggested(ann).first.click()
    ann.page.get_by_role("button", name="Keep as cup").wait_for()
    ann.keep()
    assert labels(ann) == ["cup"]
    assert ann.ask("s.editor.state.label") == ""  # the next object is asked about anew
    ann.click(100, 100)
    ann.until(SHOWN, "cup")  # of the project's names, of which there is one now
    ann.keys("Control+Enter")
    ann.until("s.editor.state.label", "cup")
    ann.keys("Control+z")
    ann.until("s.editor.state.label", "")
    ann.until(SHOWN, "cup")
    ann.keep()
    assert labels(ann) == ["cup", "cup"]  # a sure name of the project's is kept with the mask
    assert project.wishes[-1]["names"] == ["cup"]


def test_all_nameless_masks_get_guesses_in_one_step(sit_down: SitDown, project: Project) -> None:
    for i, (label, locked) in enumerate(((None, False), ("cat", False), (None, True))):
        mask = square(40 + 60 * i, 100, 50, HW, label=label)
        project.add("coffee", {**mask, "notes": {"locked": locked}})
    project.add("coffee", {**square(300, 100, 60, HW), "state": "proposed", "label": None})
    ann = sit_down(project).begin()
    ann.page.get_by_role("button", name="Suggest classes").click()
    ann.message("2 of 2 masks got a suggested class")
    assert labels(ann) == ["cup", "cat", None, "cup"]
    ann.page.get_by_text("suggested", exact=True).first.wait_for()
    ann.saved()
    kept = [(one["label"], one["notes"].get("label_probability")) for one in project.of("coffee")]
    assert kept == [("cup", 0.7), ("cat", None), (None, None), ("cup", 0.7)]
    assert [one["state"] for one in project.of("coffee")][3] == "proposed"
    ann.keys("k", "1")  # a person says so: it is no guess any more
    first = "s.editor.state.masks[0]"
    ann.until(f"{first}.label === s.labels.all[0].name && !{first}.notes.label_probability")
    ann.keys("Control+z", "Control+z")
    ann.until_so(lambda: labels(ann) == [None, "cat", None, None], "the masks before")


def test_a_page_without_a_server_suggests_what_python_suggests(
    sit_down: SitDown, photo_files: list[Any], photos: dict[str, np.ndarray]
) -> None:
    import anymask

    ann = sit_down(None)
    fetched: list[str] = []
    ann.page.on("request", lambda one: fetched.append(one.url.rsplit("/", 1)[-1]))
    open_photos(ann, photo_files)
    ann.seen()
    assert not [name for name in fetched if name.startswith("name")]
    ann.click(300, 180)
    ann.keep()
    ann.keys("k")
    ann.until("s.editor.selected !== null && s.naming.shown.length > 0")
    assert {"names.onnx", "names.npz"} <= set(fetched)
    ours = ann.ask("s.naming.shown.map(one => [one.label, one.probability])")
    height, width, *counts = ann.ask(
        "(({size, counts}) => [...size, ...counts])(s.editor.selected.rle)"
    )
    mask = rle_to_mask(coco_to_rle({"size": [height, width], "counts": counts}))
    model = anymask.load()
    (wanted,) = model.suggest_labels(photos["coffee"], mask, top=3)
    assert [label for label, _ in ours] == [one.label for one in wanted if one.probability >= 0.4]
    for (_, chance), one in zip(ours, wanted, strict=False):
        assert chance == pytest.approx(one.probability, abs=0.02)
    ann.keys("Control+Shift+l")
    ann.until_so(lambda: labels(ann) == [wanted[0].label], "the likeliest name")
