"""`anymask redact`: what it says, and what cannot be done."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.masks import mask_to_rle, rle_to_coco
from tests.conftest import CommandLine
from tests.jobs.test_redaction import FACE, finds, images, labels  # noqa: F401 - fixtures


@pytest.mark.usefixtures("finds")
def test_the_first_run_says_how_to_go_on(cli: CommandLine) -> None:
    told = cli.err(["redact", "photos", "--words", "face", "-o", "out"])
    assert "found 2 objects in 3 images. No copies are written before a review" in told
    assert "without a detection: 1 of 3 images, listed in out-without.csv" in told
    assert "anymask redact photos --labels out-review -o out" in told
    assert "anymask project export photos -o reviewed.json" in told
    assert not Path("out").exists()
    assert "out: 2 objects redacted in 3 copied images" in cli.err(
        ["redact", "photos", "--labels", "out-review", "-o", "out"]
    )
    assert sorted(path.name for path in Path("out").glob("*.*g")) == ["a.jpg", "wall.png"]


def test_tracks_hide_objects_in_a_folder_of_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clip").mkdir()
    lines, masks = [], np.zeros((11, 40, 60), np.bool_)
    for frame in range(11):  # 10.png is the last one, not the third
        Image.new("RGB", (60, 40), "white").save(f"clip/{frame}.png")
        masks[frame, 10:20, 5 * frame : 5 * frame + 8] = True
        record = {"object": 1, "segmentation": rle_to_coco(mask_to_rle(masks[frame]))}
        if frame != 3:  # lost for one frame
            lines.append(json.dumps({"frame": frame, "objects": [record]}))
    Path("t.jsonl").write_text("\n".join(lines))
    assert "11 copied images" in cli.err(["redact", "clip", "--labels", "t.jsonl", "-o", "out"])
    masks[3] = masks[2] | masks[4]
    for frame in range(11):
        with Image.open(f"out/{frame}.png") as image:
            black = (np.asarray(image) == 0).all(axis=2)
        assert black[masks[frame]].all()
        assert black.mean() < 0.4
    assert "Remove --words" in cli.refused(
        ["redact", "clip", "--labels", "t.jsonl", "--words", "cup", "-o", "o2"]
    )
    Path("clip/10.png").unlink()
    assert "has masks up to frame 10" in cli.refused(
        ["redact", "clip", "--labels", "t.jsonl", "-o", "o3"]
    )
