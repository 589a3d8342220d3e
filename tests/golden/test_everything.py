"""Automatic masks against the reference's own records, with all of its settings."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from anymask.base import FloatArray
from anymask.masks import ALL_KINDS, EncoderOutput, ModelPrompts, ModelSpec
from anymask.models.rules import open_family
from anymask.runtime import ImageRuntime
from anymask.segment import Grid
from anymask.segment.everything.search import find_everything
from tests.golden.parity import load_recipe
from tests.segment.fakes import seen_of

OUR_NAMES = {  # of the settings that the reference calls otherwise
    "points_per_side": "grid",
    "pred_iou_thresh": "score",
    "stability_score_thresh": "stability",
}

CASES = ["default", "dense_points", "loose", "regions", "crops", "strict", "nothing_left"]


class PlantedRuntime(ImageRuntime):
    """The references' decoder that needs no network; the model token is a filler."""

    spec = ModelSpec(name="planted", accepts=ALL_KINDS)
    family = open_family(spec)
    weights_hash = "planted"

    def __init__(self, recipe: ModuleType) -> None:
        self.recipe = recipe

    def encode_images(self, images: FloatArray) -> list[EncoderOutput]:
        return [seen_of(np.zeros((1, 1, 1), np.float32)) for _ in images]

    def decode(
        self, features: EncoderOutput, prompts: ModelPrompts
    ) -> tuple[FloatArray, FloatArray]:
        logits, quality = self.recipe.planted(prompts.coords[:, 0])
        filler = np.full_like(logits[:, :1], -9)
        return np.concatenate([filler, logits], 1), np.concatenate([quality[:, :1], quality], 1)


@pytest.fixture(scope="module")
def references(shared: Path) -> tuple[PlantedRuntime, np.ndarray, dict[str, dict]]:
    with Image.open(shared / "images" / "groceries.jpg") as source_image:
        half = (source_image.width // 2, source_image.height // 2)
        image = np.asarray(source_image.convert("RGB").resize(half, Image.Resampling.BILINEAR))
    told = json.loads((shared / "golden" / "everything.json").read_text())
    return PlantedRuntime(load_recipe(shared)), image, told["cases"]


@pytest.mark.parametrize("case", CASES)
def test_the_records_are_those_of_the_reference(case: str, references: tuple) -> None:
    runtime, image, cases = references
    settings = {OUR_NAMES.get(name, name): v for name, v in cases[case]["settings"].items()}
    records = find_everything(runtime, image, Grid(mode="exact", **settings))
    told = cases[case]["records"]
    assert len(records) == len(told)
    for record, truth in zip((r.to_sa1b() for r in records), told, strict=True):
        assert record["segmentation"] == truth["segmentation"]
        assert record["area"] == truth["area"]
        assert record["bbox"] == truth["bbox"]
        assert record["crop_box"] == truth["crop_box"]
        assert record["predicted_iou"] == pytest.approx(truth["predicted_iou"], abs=1e-6)
        assert record["stability_score"] == pytest.approx(truth["stability_score"], abs=1e-3)
        np.testing.assert_allclose(record["point_coords"], truth["point_coords"], rtol=1e-6)
