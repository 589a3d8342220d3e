"""Models, rules, weights and trackers of plug-ins: installed ones, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import anymask
from anymask import models
from anymask.base import InputError, MissingPlugin, ModelError, plugins
from anymask.models import FamilyPlugin, RegistryEntry, networks
from anymask.models.rules import open_family
from anymask.runtime import load_module
from anymask.runtime.manifest import spec_from_dict, spec_to_dict
from anymask.track import TrackSettings, open_tracker, settings
from tests.runtime.conftest import Shelf
from tests.runtime.test_converted import install

INSTALL = r"requires the plug-in anymask-families.*pip install \./contrib/anymask-families"
NAMES = ("semantic_sam_swint", "sam_med3d_b", "xmem")


@dataclass(frozen=True)
class Point:
    """An entry point of an installed plug-in."""

    value: Any

    def load(self) -> Any:
        return self.value


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Point]]:
    """Entry points by group and name."""
    points: dict[str, dict[str, Point]] = {"families": {}, "trackers": {}}
    for module in (plugins, networks, settings):
        monkeypatch.setattr(module, "installed_plugins", points.__getitem__)
    return points


@pytest.mark.parametrize("name", NAMES)
def test_a_model_without_its_plugin_names_the_command(name: str) -> None:
    with pytest.raises(MissingPlugin, match=f"Model '{name}' {INSTALL}"):
        anymask.load(name)
    with pytest.raises(MissingPlugin, match=INSTALL):
        models.build(name)
    assert name not in models.names()


def test_rules_and_weights_without_their_plugin_name_the_command(
    shelf: Shelf, tmp_path: Path
) -> None:
    with pytest.raises(MissingPlugin, match=INSTALL):
        open_family(replace(models.spec("tiny"), family="semantic_sam"))
    install(shelf, tmp_path)
    nothing = torch.zeros(1)
    file = tmp_path / "epoch_159.pth"
    torch.save({"w_a_000": nothing, "mask_decoder.mask_tokens.weight": nothing}, file)
    with pytest.raises(MissingPlugin, match=f"Model 'samed' {INSTALL}"):
        load_module("tiny", file)


def test_built_in_names_read_no_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(group: str) -> None:
        raise AssertionError(group)

    for module in (plugins, networks, settings):
        monkeypatch.setattr(module, "installed_plugins", refuse)
    models.build("tiny")
    model = anymask.load("nano")
    spec_from_dict(spec_to_dict(model.spec))
    with model.track(None, tracker="points"):
        pass


def test_a_plugin_adds_a_model_and_rules(added: dict[str, dict[str, Point]]) -> None:
    spec = replace(models.spec("tiny"), name="added", family="own")
    rules = open_family(models.spec("tiny"))
    plugin = FamilyPlugin(
        variants={"added": RegistryEntry(spec, lambda: models.build("tiny"))},
        rules=lambda spec, tables: replace(rules, spec=spec, tables=tables),
    )
    added["families"] |= {"added": Point(plugin), "own": Point(plugin)}
    assert models.names()[-1] == "added"
    assert models.spec("added") is spec
    assert models.build("added").spec.name == "tiny"
    assert open_family(spec).spec is spec
    assert spec_from_dict(spec_to_dict(spec)) == spec
    with pytest.raises(ModelError, match="Unknown model 'own'"):
        models.build("own")


def test_a_plugin_adds_a_tracker(added: dict[str, dict[str, Point]]) -> None:
    model = anymask.load("nano")
    added["trackers"]["still"] = Point(lambda *given: given)
    assert open_tracker(model, "still", weights="w.pth") == (model, "w.pth")
    TrackSettings(tracker="still", tracker_weights="w.pth")
    with pytest.raises(InputError, match="refine_edges does not apply to tracker 'still'"):
        open_tracker(model, "still", refine_edges=True)
    with pytest.raises(InputError, match="Choose from: auto, memory, match, points, still"):
        open_tracker(model, "other")
    with pytest.raises(InputError, match="tracker_weights requires tracker 'xmem'"):
        TrackSettings(tracker="match", tracker_weights="w.pth")
