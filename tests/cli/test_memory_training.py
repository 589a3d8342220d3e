"""`anymask train memory`: from photos to a bundle that follows objects with a network of memory."""

import json
from pathlib import Path

import numpy as np
import pytest

import anymask
from anymask.cli.main import main
from anymask.runtime import MEMORY, read_manifest
from tests.track.clips import moving_discs
from tests.training.small_data import write_sets


def test_it_makes_clips_trains_and_writes_a_bundle_that_follows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    words = ["train", "memory", "--data", str(write_sets(tmp_path / "data")), "-o", str(run)]
    words += ["--max-minutes", "0.002", "--pictures", "1", "--bundle", str(bundle)]
    assert main(words) == 0
    said = capsys.readouterr().out
    judged = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert {"all", "there or not"} <= {row["kind"] for row in judged}
    assert all(f"{row['kind']}: {row['count']} held-out" in said for row in judged)
    assert (run / "clips" / "000000.npz").is_file()
    assert read_manifest(bundle).has_graph(MEMORY)

    pictures, truth = moving_discs(3)
    with anymask.load(str(bundle)).track(pictures, tracker="memory") as session:
        session.add(frame=0, mask=truth[0][0])
        frames = list(session)
    assert session.tracker.name.startswith("memory:nano:")
    assert [np.asarray(frame.masks[1]).shape for frame in frames] == [truth[0][0].shape] * 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "-o FOLDER is needed"),
        (["-o", "run", "--model", "sam_vit_b"], "is trained for exported models"),
        (["-o", "run", "--clips", "nowhere"], "nowhere: wanted a folder of clips"),
    ],
)
def test_what_cannot_be_trained_is_one_clear_line(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(tmp_path / "run") if word == "run" else word for word in words]
    assert main(["train", "memory", "--data", str(write_sets(tmp_path / "data")), *given]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said
