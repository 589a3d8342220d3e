"""Names are learned from what a frozen network sees: words, a layer, its scale, and both views."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from anymask.base import DataError
from anymask.models.rules.crops import CONTEXT as WHOLE
from anymask.models.rules.crops import CROP_SIDE as WHOLE_SIDE
from research.frozen_features import CONTEXT, FEATURES, SIDE, VIEWS, FrozenLite0, NameFeatures
from research.frozen_names import NameHead, Namer, ask, fit_scale, learn
from research.nano.name_words import NameWords, read_name_words


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> NameWords:
    """Two names of COCO; of LVIS one that is COCO's by another name, and one of its own."""
    folder = tmp_path_factory.mktemp("text")
    rng = np.random.default_rng(2)
    named = [("motor_vehicle", ["car_(automobile)"]), ("hog", ["pig"])]
    lvis = [{"name": name, "synonyms": others} for name, others in named]
    for which, names in (("coco", ["dog", "car"]), ("lvis", lvis)):
        (folder / f"{which}_names.json").write_text(json.dumps(names))
        rows = rng.normal(0, 1, (len(names), 8)).astype(np.float16)
        np.save(folder / f"{which}_clip_vitb32_text.npy", rows)
    return read_name_words(folder)


@pytest.fixture(scope="module")
def features() -> NameFeatures:
    """Masks of three names, each with its own mean; every eighth is held out."""
    rng = np.random.default_rng(5)
    names = np.arange(96) % 3
    means = rng.normal(0, 1, (3, FEATURES))
    seen = means[names][:, None] + rng.normal(0, 1.5, (96, VIEWS, FEATURES))
    sets = np.array(["coco_a", "b"])[np.arange(96) % 2]
    return NameFeatures(seen.astype(np.float16), names, sets, np.arange(96) % 8 == 0)


def test_names_of_two_lists_become_one(words: NameWords) -> None:
    assert words.words[:3] == ("dog", "car", "hog")
    assert len(set(words.words)) == len(words.words) == len(words.texts)
    assert words.place("Pig") == words.place("standing_pig") == 2
    assert words.place("motor_vehicle") == 1  # LVIS's word for COCO's car
    assert words.place("no such thing") is None is words.place(None)
    own = words.place("window")
    assert own is not None
    assert not words.texts[own].any()


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no coco_names.json"):
        read_name_words(tmp_path)


def test_what_was_held_out_gets_its_names(words: NameWords, features: NameFeatures) -> None:
    head = learn(features, words, 30)
    held = np.flatnonzero(features.held_out)
    assert head.learned.nonzero()[:, 0].tolist() == [0, 1, 2]
    assert ask(head, features, held, np.arange(3)).startswith("1 view(s) 1.000, 1.000; 2 view(s) 1")
    # Where every answer is right, the surest chances are; where names are shuffled, the least sure.
    assert fit_scale(head, features, held) > 30
    shuffled = NameFeatures(features.averages, (features.names + 1) % 3, features.sets, held)
    assert fit_scale(head, shuffled, held) < 6


def test_the_middle_and_a_mirrored_whole_are_looked_at(words: NameWords) -> None:
    """By hand: what the network sees of each, one after the other."""
    torch.manual_seed(1)
    namer = Namer(FrozenLite0(), NameHead(words)).eval()
    image, mask = (
        torch.rand(2, 3, WHOLE_SIDE, WHOLE_SIDE) * 255,
        torch.rand(2, 1, *[WHOLE_SIDE] * 2),
    )
    cut = (WHOLE_SIDE - SIDE) // 2
    assert pytest.approx(CONTEXT, abs=0.01) == WHOLE * SIDE / WHOLE_SIDE
    summed = torch.zeros(2, 192)
    with torch.no_grad():
        for views in (
            [one[..., cut:-cut, cut:-cut] for one in (image, mask)],
            [F.interpolate(one, (SIDE, SIDE), mode="bilinear").flip(3) for one in (image, mask)],
        ):
            summed += F.normalize(namer.vector(namer.network(*views).clamp(-6, 6)), dim=1)
        found = namer(image, mask)
    assert torch.allclose(found, F.normalize(summed, dim=1), atol=1e-5)
