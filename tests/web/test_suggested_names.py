"""Names that the model suggests: once a mask is there, one press each; a guess is marked as one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anymask.masks import coco_to_rle, rle_to_mask
from tests.web.conftest import SitDown
from tests.web.project_server import Project
from tests.web.test_local import open_photos

SHOWN = "s.naming.shown.map(one => one.label).join()"


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
