"""A training folder of two tiny sets, made anew for each test that asks."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from anymask.masks import mask_to_rle, rle_to_string
from anymask.training import Recipe
from anymask.training.recipe import RecipeStage


def write_sets(folder: Path) -> Path:
    """`round` and `square`: three photos each of a bright shape on noise, and their masks."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:48, :64]
    for name in ("round", "square"):
        (folder / name / "images").mkdir(parents=True)
        lines = []
        for i in range(3):
            cy, cx = 18 + 3 * i, 24 + 5 * i
            near = abs(y - cy) < 12, abs(x - cx) < 12
            mask = (y - cy) ** 2 + (x - cx) ** 2 < 150 if name == "round" else near[0] & near[1]
            image = rng.integers(0, 90, (48, 64, 3), dtype=np.uint8) + mask[..., None] * np.uint8(
                160
            )
            Image.fromarray(image).save(folder / name / "images" / f"{i}.jpg")
            row = {"image": f"images/{i}.jpg", "hw": [48, 64]}
            row["masks"] = [{"rle": rle_to_string(mask_to_rle(mask)), "area": int(mask.sum())}]
            lines.append(json.dumps(row))
        (folder / name / "masks.jsonl").write_text("\n".join(lines))
        (folder / name / "set.json").write_text(json.dumps({"name": name, "ships": True}))
    return folder


def write_named_sets(folder: Path) -> Path:
    """The two sets; the masks of each carry its name."""
    write_sets(folder)
    for name in ("round", "square"):
        path = folder / name / "masks.jsonl"
        path.write_text(path.read_text("utf-8").replace('"area"', f'"label": "{name}", "area"'))
    return folder


def small_recipe(steps: int = 4, **changes: object) -> Recipe:
    """`nano_tiny` on 64 px pictures, one worker."""
    values: dict[str, object] = {
        "model": "nano_tiny",
        "stages": (RecipeStage(steps=steps, side=64, images=2, masks=2),),
        "workers": 1,
        "prepare_ahead": False,
        "warmup": 2,
        "save_every": 2,
        "bf16": False,  # the same numbers on every processor
    }
    return Recipe(**{**values, **changes})  # type: ignore[arg-type]
