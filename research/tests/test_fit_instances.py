"""The held-out images of a field: written as sets, and not seen in training."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from anymask.formats import load_set
from anymask.masks import mask_to_rle, rle_to_string
from research.fit_instances import Field, is_held_out, views_of, write_held_out


def test_held_out_images_are_written_and_not_trained_on(tmp_path: Path) -> None:
    folder, rows = tmp_path / "data" / "train" / "made", []
    (folder / "images").mkdir(parents=True)
    for number in range(8):
        image = np.full((40, 60, 3), 20 * number, np.uint8)
        Image.fromarray(image).save(folder / f"images/{number:05}.png")
        rle = rle_to_string(mask_to_rle(np.eye(40, 60, dtype=np.uint8)))
        rows.append({"image": f"images/{number:05}.png", "hw": [40, 60], "masks": [{"rle": rle}]})
    (folder / "masks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "set.json").write_text(json.dumps({"name": "made"}))
    field = Field(sets=("train/made",), views=1)
    write_held_out(field, tmp_path / "data", tmp_path / "held-out")
    held = [one.file_name for one in load_set(tmp_path / "held-out" / "made")[1]]
    assert 0 < len(held) < 8
    assert all(map(is_held_out, held))
    trained = {int(image[0, 0, 0]) // 20 for image, _ in views_of(field, tmp_path / "data")}
    assert trained.isdisjoint(int(Path(name).stem) for name in held)
    assert len(trained) + len(held) == 8
