"""`anymask bench memory`: every way of a tracked frame, in turns, and how like they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch import nn

from anymask.cli.main import main
from anymask.models.video_variants import TINY_EDGE, TINY_VIDEO, VideoVariant
from tests.video.test_memory_tracker import tiny

WAYS = ["ours", "bf16", "pool_memory=2", "bf16, pool_memory=2"]


@pytest.mark.parametrize(
    ("variant", "ways"), [(TINY_VIDEO, WAYS), (TINY_EDGE, WAYS[:2])], ids=["maps", "few tokens"]
)
def test_every_way_is_timed_beside_the_plain_one(
    variant: VideoVariant, ways: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = tiny(variant).runtime
    module: nn.Module = runtime._module  # type: ignore[attr-defined]
    monkeypatch.setattr("anymask.cli.bench_memory.open_module", lambda *_: (module, "random"))
    out = tmp_path / "a.json"
    assert main(["bench", "memory", "tiny", "--rounds", "2", "--json", str(out)]) == 0
    found = json.loads(out.read_text("utf-8"))
    medians, factors = (
        {
            (one["what"], one["runtime"]): one["value"]
            for one in found["figures"]
            if one["unit"] == unit
        }
        for unit in ("s", "x")
    )
    for what in ("a tracked frame", "the same, of all cores"):
        assert [name for kind, name in medians if kind == what] == ["plain", *ways]
        for name in ways:
            factor = medians[what, "plain"] / medians[what, name]
            assert factors[f"{what}: times plain", name] == pytest.approx(factor)
    assert [note.split(": IoU")[0] for note in found["notes"][1:]] == ways
    assert found["notes"][1] == "ours: IoU with plain 1.0000 at least"


def test_an_image_model_has_no_tracked_frame(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "memory", "nano"]) == 2
    assert "`bench memory` is for video models, nano is none" in capsys.readouterr().err
