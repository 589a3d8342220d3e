"""The widget without a screen, on napari's own layers: what a person does, what is there then."""

import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("napari", reason="needs napari")

from napari.components import ViewerModel
from npe2 import PluginManifest

from anymask_napari import AnymaskWidget
from anymask_napari._widget import BOXES, CLICKS, FOUND


def disc(shape: tuple[int, int], center: tuple[float, float], radius: float) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (y - center[0]) ** 2 + (x - center[1]) ** 2 <= radius**2


def scene(number: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc that moves to the right, on a dark ground with noise, 16 bits."""
    truth = disc((96, 128), (48, 40 + 4 * number), 18)
    noise = np.random.default_rng(number).normal(0, 300, truth.shape)
    return (np.where(truth, 30_000, 6_000) + noise).astype(np.uint16), truth


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


@pytest.fixture
def widget(qtbot) -> AnymaskWidget:
    made = AnymaskWidget(ViewerModel())
    qtbot.addWidget(made)
    return made


def test_the_manifest_names_the_widget() -> None:
    import anymask_napari

    manifest = PluginManifest.from_file(Path(anymask_napari.__file__).parent / "napari.yaml")
    assert manifest.contributions.widgets[0].display_name == "anymask"


def test_a_click_and_a_box_become_labels(widget: AnymaskWidget) -> None:
    image, truth = scene()
    viewer = widget.viewer
    viewer.add_image(image, contrast_limits=(5_000, 32_000))
    widget._run(widget.segment)
    assert "no click and no box" in widget.says.text()
    widget._run(widget.new_prompts)
    viewer.layers[CLICKS].add((48, 40))
    widget._run(widget.segment)
    labels = viewer.layers[FOUND]
    assert overlap(labels.data == 1, truth) > 0.8, widget.says.text()
    labels.selected_label = 2
    widget._run(widget.new_prompts)
    viewer.layers[BOXES].add_rectangles(np.array([[29, 21], [67, 59]]))
    labels.data[:] = 0
    widget._run(widget.segment)
    assert overlap(labels.data == 2, truth) > 0.8, widget.says.text()


def test_n_turns_points_negative(widget: AnymaskWidget) -> None:
    image, truth = scene()
    widget.viewer.add_image(image, contrast_limits=(5_000, 32_000))
    widget._run(widget.new_prompts)
    clicks = widget.viewer.layers[CLICKS]
    clicks.add([(48, 40), (10, 110)])
    clicks.selected_data = {1}
    widget.turn(clicks)
    assert widget.prompt(0)["point_labels"] == [1, 0]
    np.testing.assert_array_equal(widget.prompt(0)["points"], [(40.5, 48.5), (110.5, 10.5)])


def test_everything_of_a_slice(widget: AnymaskWidget) -> None:
    image, truth = scene()
    widget.viewer.add_image(image, contrast_limits=(5_000, 32_000))
    widget._run(widget.everything)
    labels = widget.viewer.layers[FOUND].data
    assert max(overlap(labels == one, truth) for one in np.unique(labels)) > 0.8


def test_a_disc_is_followed_through_a_stack(widget: AnymaskWidget) -> None:
    stack = np.stack([scene(number)[0] for number in range(6)])
    viewer = widget.viewer
    viewer.add_image(stack, contrast_limits=(5_000, 32_000))
    widget._run(widget.new_prompts)
    viewer.dims.set_current_step(0, 2)
    viewer.layers[CLICKS].add((2, 48, 48))
    widget._run(widget.track)
    labels = viewer.layers[FOUND].data
    for number in range(6):
        assert overlap(labels[number] == 1, scene(number)[1]) > 0.75, (number, widget.says.text())


def test_what_cannot_be_done_is_said(widget: AnymaskWidget) -> None:
    widget._run(widget.segment)
    assert "open a picture first" in widget.says.text()
    widget.viewer.add_image(np.zeros((8, 8)), contrast_limits=(0, 1))
    widget._run(widget.track)
    assert "is one picture" in widget.says.text()
    widget.viewer.add_image(np.zeros((2, 2, 8, 8)), contrast_limits=(0, 1))
    widget._run(widget.segment)
    assert "has 4 axes" in widget.says.text()
