"""The table of a GPU, with the CPU in its place: every kind of model, and a broken one."""

import json
from pathlib import Path

import pytest
import torch

from research import gpu_table

TINY = ("tiny", "tiny_hq", "tiny_efficient", "nano_tiny", "tiny_video", "tiny_edge")


def test_the_cpu_agrees_with_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "table.json"
    asked = ["--device", "cpu", "--precisions", "fp32", "bf16", "--rounds", "1", "-o", str(path)]
    assert gpu_table.main([*asked, "--models", *TINY]) == 0
    rows = json.loads(path.read_text())["rows"]
    exact = {row["model"]: row for row in rows if row["precision"] == "fp32"}
    assert set(exact) == set(TINY)
    for row in exact.values():
        assert row["maps"] < 1e-5
        assert row["logits"] < 1e-5
        assert row["mask_iou"] > 0.999
        assert row["encode_s"] > 0
    assert exact["tiny_video"]["video_logits"] < 1e-4
    halves = {row["model"]: row for row in rows if row["precision"] == "bf16"}
    assert 0 < halves["tiny"]["logits"] < 0.2
    assert "| tiny_edge | fp32 |" in capsys.readouterr().out


def test_a_model_that_differs_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    made = gpu_table.made
    built: list[str] = []

    def other(name: str) -> torch.nn.Module:
        module = made(name)
        if built:  # the second one, which stands for the GPU's
            next(module.mask_decoder.parameters()).data.add_(0.1)
        built.append(name)
        return module

    monkeypatch.setattr(gpu_table, "made", other)
    (row,) = gpu_table.measure("tiny", "cpu", ("fp32",), 1)
    assert row["failed"].startswith("logits differ by")
