"""Packages that report their use are imported with the reports turned off."""

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from anymask.base import import_offline


@pytest.mark.parametrize(
    ("module", "variable", "value"),
    [
        ("onnxruntime", "ORT_DISABLE_TELEMETRY", "1"),
        ("onnxruntime.quantization", "ORT_DISABLE_TELEMETRY", "1"),
        ("transformers.models.sam3", "HF_HUB_DISABLE_TELEMETRY", "1"),
        ("huggingface_hub", "HF_HUB_DISABLE_TELEMETRY", "1"),
        ("ray.data", "RAY_USAGE_STATS_ENABLED", "0"),
    ],
)
def test_the_variable_is_set_before_the_import_unless_the_user_has_set_it(
    module: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def record(name: str) -> Any:
        seen.append((name, os.environ.get(variable)))
        return SimpleNamespace()

    monkeypatch.setattr("anymask.base.process.importlib.import_module", record)
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace())
    for told in (None, "theirs"):
        monkeypatch.delenv(variable, raising=False)
        if told is not None:
            monkeypatch.setenv(variable, told)
        import_offline(module)
    assert seen == [(module, value), (module, "theirs")]


@pytest.mark.parametrize(("told", "calls"), [(None, 1), ("1", 1), ("0", 0)])
def test_a_client_that_runs_already_is_told_to_stop(
    told: str | None, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bool] = []
    fake = SimpleNamespace(disable_telemetry_events=lambda: made.append(True))
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    if told is not None:
        monkeypatch.setenv("ORT_DISABLE_TELEMETRY", told)
    assert import_offline("onnxruntime") is fake
    assert len(made) == calls
