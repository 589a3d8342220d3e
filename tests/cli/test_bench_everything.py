"""`anymask bench everything`: what it counts, and that it runs."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from anymask.cli import bench_everything as B
from anymask.cli.main import main
from anymask.models.variants import TINY, build_variant
from anymask.primitives.errors import ModelError
from anymask.primitives.records import MaskRecord, record_from_rle
from anymask.primitives.rle import mask_to_rle
from anymask.runtimes.torch import TorchRuntime
from tests.predictors.fakes import ColourRuntime, discs


def record(columns: int, click: tuple[float, float]) -> MaskRecord:
    """The first columns of a photo of 10 x 100 pixels."""
    mask = np.zeros((10, 100), np.bool_)
    mask[:, :columns] = True
    return replace(record_from_rle(mask_to_rle(mask)), points=(click,))


def test_agreement_asks_for_nearly_the_same_mask_of_the_same_click() -> None:
    truth = [record(100, (1, 1)), record(50, (2, 2))]
    assert B.agreement(truth, truth) == 1
    assert B.agreement(truth, [record(99, (1, 1)), record(49, (2, 2))]) == 0.5
    assert B.agreement(truth, [record(100, (3, 3)), record(50, (3, 3))]) == 0
    assert B.agreement([], truth) == 0


def test_recall_takes_any_click_s_mask_that_is_alike() -> None:
    truth = [record(100, (1, 1)), record(50, (2, 2))]
    assert B.recall_of(truth, [record(80, (9, 9))]) == 0.5
    assert B.recall_of(truth, [record(79, (9, 9)), record(45, (9, 9))]) == 0.5
    assert B.recall_of(truth, []) == 0
    assert B.recall_of([], truth) == 1


def test_a_photo_with_more_masks_counts_more_when_all_are_counted_together() -> None:
    def run(*columns: int) -> B.BenchRun:
        return B.BenchRun(0.0, 0.0, [record(each, (1, 1)) for each in columns], 0)

    pairs = [(run(100, 50, 20), run(100, 50)), (run(30), run(30))]
    assert B._of_all_masks(pairs).value == 75
    assert B._of_all_masks([(run(), run())]).value == 0


def figures_of(figures: list) -> dict[tuple[str, str], float]:
    return {(figure.what, figure.runtime): figure.value for figure in figures}


def test_one_photo_is_found_by_all_ways_alike() -> None:
    torch.manual_seed(0)
    module = build_variant(TINY)
    with torch.no_grad():
        module.mask_decoder.iou_prediction_head.get_submodule("layers.2").bias += 1
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    runtime = TorchRuntime(module, device="cpu")
    figures, notes = B.photo_figures(runtime, picture, B.Bench(points_per_side=6), random=True)
    told = figures_of(figures)
    assert told["records", "plain"] == told["records", "exact"] > 0
    assert told["clicks decoded", "exact"] == told["clicks decoded", "plain"] == 36
    assert 0 < told["clicks decoded", "adaptive"] <= 12
    assert told["plain's records found (IoU >= 0.99)", "exact"] == 100
    assert told["times as fast as plain", "exact"] > 0
    assert "70th percentiles" in notes[0]


def test_a_folder_compares_adaptive_with_exact(tmp_path: Path) -> None:
    for name in ("one", "two"):
        picture, _ = discs((60, 90), [(20, 30, 12), (60, 30, 15)])
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
    photos = sorted(tmp_path.glob("*.png"))
    figures = B.adaptive_figures(ColourRuntime(), photos, B.Bench(points_per_side=9))
    told = figures_of(figures)
    assert told["clicks decoded", "exact"] == 81
    assert told["clicks decoded", "adaptive"] <= 27
    assert 0 <= told["exact's records found (IoU >= 0.8)", "adaptive"] <= 100
    assert told["peak memory of the process", "exact"] > 0
    assert [len(figure.turns) for figure in figures if figure.runtime == "exact"][:4] == [2] * 4


def test_the_command_prints_a_table_and_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, _ = discs((60, 90), [(20, 30, 12), (60, 30, 15)])
    cv2.imwrite(str(tmp_path / "photo.png"), picture)
    words = ["--photo", str(tmp_path / "photo.png"), "--points-per-side", "3", "--threads", "1"]
    out = tmp_path / "out.json"
    assert main(["bench", "everything", *words, "--json", str(out)]) == 0
    assert "| times as fast as plain |" in capsys.readouterr().out
    figures = json.loads(out.read_text())["figures"]
    assert {"plain", "exact", "mixed", "adaptive"} <= {figure["runtime"] for figure in figures}


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ModelError):
        B.open_model("sam_vit_z", None)


def test_a_checkpoint_that_is_not_there_gets_random_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from anymask import models

    monkeypatch.setenv("ANYMASK_HOME", str(tmp_path))
    monkeypatch.setattr(models, "build", lambda name: build_variant(TINY))
    runtime, origin = B.open_model("mobile_sam", None)
    assert origin == B.RANDOM
    assert runtime.spec.name == "tiny"
