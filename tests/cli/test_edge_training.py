"""`anymask train refiner`: from photos to a bundle whose masks have their edges from a network."""

import json
from pathlib import Path

import pytest

from anymask.cli.main import main
from anymask.runtime import REFINER, read_manifest
from tests.training.small_data import write_sets


def test_it_gathers_trains_and_writes_a_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    words = ["train", "refiner", "--data", str(write_sets(tmp_path / "data")), "-o", str(run)]
    words += ["--max-minutes", "0.01", "--pictures", "12", "--bundle", str(bundle)]
    assert main(words) == 0
    said = capsys.readouterr().out
    judged = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert all(f"{row['kind']}: {row['count']} held-out answers, IoU" in said for row in judged)
    assert (run / "windows" / "rows.jsonl").is_file()
    assert read_manifest(bundle).has_graph(REFINER)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "-o FOLDER is needed"),
        (["-o", "run", "--model", "sam_vit_b"], "edges are refined for exported models"),
        (["-o", "run", "--windows", "nowhere"], "nowhere: wanted a folder of windows"),
    ],
)
def test_what_cannot_be_trained_is_one_clear_line(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(tmp_path / "run") if word == "run" else word for word in words]
    assert main(["train", "refiner", "--data", str(write_sets(tmp_path / "data")), *given]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said
