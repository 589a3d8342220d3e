"""Grounding DINO through the public door against upstream's numbers (../shared/golden)."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import anymask
from anymask.find import open_detector
from anymask.find.official_names import transformers_names
from tests.find.tiny import grounding_model, write_preprocessor
from tests.golden.parity import load_recipe

CASE = "groundingdino_mini"
SCORES = 0.025  # 0.1 in logits, as the references' README says
BOXES = 2e-3  # of the photo's sides
AGREE = 0.98  # of the queries, which near ties may swap


@pytest.fixture(scope="module", params=["transformers", "official"])
def folder(
    request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A published detector's folder with the recipe's weights, by transformers' names, or with the
    official file."""
    safetensors = pytest.importorskip("safetensors.numpy")
    golden, place = shared / "golden", tmp_path_factory.mktemp("detector")
    if not (golden / f"{CASE}.npz").is_file():
        pytest.skip("needs ../shared/golden of Grounding DINO")
    recipe = load_recipe(shared)
    arrays = recipe.fill(recipe.shapes(CASE), recipe.SEED)
    stored = np.load(golden / f"{CASE}.npz")
    arrays |= {name[4:]: stored[name] for name in stored.files if name.startswith("set_")}
    theirs = json.loads((golden / "groundingdino_swint_ogc.names_hf.json").read_text())
    words = gzip.decompress((golden / "bert_uncased_vocab.txt.gz").read_bytes()).decode()
    published: dict[str, np.ndarray] = {}
    heads: dict[str, np.ndarray] = {}  # one and the same, under several names
    official: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        official[name] = array
        if name not in theirs or "relative_position_index" in name:
            continue
        if head := re.fullmatch(r"(?:transformer\.decoder\.)?bbox_embed\.\d+\.(.+)", name):
            official[name] = array = heads.setdefault(head[1], array)
        names = theirs[name] if isinstance(theirs[name], list) else [theirs[name]]
        for one, piece in zip(names, np.split(array, len(names)), strict=True):
            published[one] = np.ascontiguousarray(piece)
    grounding_model(vocabulary=len(words.splitlines())).config.save_pretrained(place)
    if request.param == "official":
        named = {f"module.{name}": torch.from_numpy(one) for name, one in official.items()}
        named["module.bert.embeddings.position_ids"] = torch.arange(512)[None]
        torch.save({"model": named}, place / "groundingdino_swint_ogc.pth")
    else:
        safetensors.save_file(published, place / "model.safetensors", metadata={"format": "pt"})
    (place / "vocab.txt").write_text(words, "utf-8")
    write_preprocessor(place, shortest_edge=320, longest_edge=560)
    return place


def test_every_official_name_is_that_of_transformers(shared: Path) -> None:
    golden = shared / "golden"
    official = json.loads((golden / "groundingdino_swint_ogc.shapes.json").read_text())
    theirs = json.loads((golden / "groundingdino_swint_ogc.names_hf.json").read_text())
    found = transformers_names(official)
    assert found == {
        name: tuple(one) if isinstance(one, list) else (one,) for name, one in theirs.items()
    }


def test_renamed_weights_fill_every_parameter_of_transformers(shared: Path) -> None:
    """`bbox_embed` is one head under several names; no code computes Swin's last norm."""
    golden = shared / "golden"
    official = json.loads((golden / "groundingdino_swint_ogc.shapes.json").read_text())
    theirs = json.loads((golden / "groundingdino_tiny_hf.shapes.json").read_text())
    found = {
        place: [official[name][0] // len(places), *official[name][1:]]
        for name, places in transformers_names(official).items()
        for place in places
    }
    assert {name: found[name] for name in theirs if name in found} == {
        name: shape for name, shape in theirs.items() if "swin.layernorm." not in name
    }
    assert all("bbox_embed." in name for name in found.keys() - theirs.keys())


def test_boxes_and_scores_are_the_references(folder: Path, shared: Path) -> None:
    reference = np.load(shared / "golden" / f"{CASE}.npz")
    image = anymask.load_image(shared / "images" / "truck.jpg")
    phrases = [one.strip() for one in str(reference["caption"]).split(" . ")]
    phrases = [one.removesuffix(".").strip() for one in phrases if one.strip(" .")]
    found = open_detector(folder).detect(image, phrases)
    tokens = reference["tokens"][0].tolist()
    stops = [place for place, token in enumerate(tokens) if token == 1012]
    spans = list(zip([1, *(stop + 1 for stop in stops[:-1])], stops, strict=True))
    chances = 1 / (1 + np.exp(-reference["logits"][0].astype(np.float64)))
    expected = np.stack([chances[:, a:b].mean(1) for a, b in spans], axis=1)
    center, half = reference["boxes"][0][:, :2], reference["boxes"][0][:, 2:] / 2
    corners = np.concatenate([center - half, center + half], axis=1)
    height, width = image.shape[:2]
    ours = found.boxes / [width, height, width, height]
    alike = (np.abs(ours - corners).max(1) < BOXES) & (
        np.abs(found.scores - expected).max(1) < SCORES
    )
    assert alike.mean() >= AGREE
