"""Compare the speed of two checkouts in alternating calls."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from research.measure_versions import HERE, TURNS, in_turns, main


def test_the_ratio_is_the_median_of_the_turns_and_the_first_turn_is_ignored() -> None:
    order: list[str] = []

    def answers(name: str, seconds: list[float]) -> float:
        order.append(name)
        return seconds.pop(0)

    before, now = [9.0, 1.0, 2.0, 4.0], [1.0, 2.0, 1.0, 12.0]  # ratios 2, 0.5, 3
    found = in_turns(lambda: answers("before", before), lambda: answers("now", now), 3)
    assert found == [2.0, 2.0, 2.0]
    assert order == ["now", "before", "before", "now", "now", "before", "before", "now"]


def test_a_checkout_compared_with_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)).save(
        tmp_path / "photo.png"
    )
    words = ["--image", str(tmp_path / "photo.png"), "--models", "nano", "--turns", "1"]
    main([str(HERE), *words, "-o", str(tmp_path / "versions.json")])
    found = json.loads((tmp_path / "versions.json").read_text())["seconds"]["nano"]
    assert list(found) == [*TURNS, "cold start"]
    assert all(one > 0 for row in found.values() for one in row)
    assert capsys.readouterr().out.count("| `nano` |") == len(TURNS) + 1
