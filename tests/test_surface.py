"""What `import anymask` offers; what it must not load stands in tests/house."""

from pathlib import Path

import pytest

import anymask
from anymask.base import errors
from anymask.masks import prompts
from anymask.segment import Model
from tests.segment.fakes import ColorRuntime


def test_every_public_name_can_be_reached() -> None:
    for name in anymask.__all__:
        assert getattr(anymask, name) is not None
        assert name in dir(anymask)
    assert anymask.Prompt is prompts.Prompt
    assert anymask.errors.PromptError is errors.PromptError
    assert callable(anymask.models.build)
    assert callable(anymask.runtime.load_official)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'anymask' has no attribute 'segmnt'"):
        _ = anymask.segmnt


def test_loading_hands_everything_to_the_runtime(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def open_runtime(*given: object) -> ColorRuntime:
        asked.append(given)
        return ColorRuntime()

    monkeypatch.setattr("anymask.runtime.open_runtime", open_runtime)
    assert isinstance(anymask.load(), Model)
    anymask.load("sam_vit_b", "a.pt", device="cpu", precision="bf16", runtime="torch")
    anymask.load(tmp_path / "mine.bundle")
    assert asked == [
        ("nano", None, "auto", "fp32", "auto"),
        ("sam_vit_b", "a.pt", "cpu", "bf16", "torch"),
        (str(tmp_path / "mine.bundle"), None, "auto", "fp32", "auto"),
    ]


def test_what_load_does_not_know_is_one_clear_error() -> None:
    with pytest.raises(errors.ModelError, match="Unknown model ''"):
        anymask.load("")
    with pytest.raises(errors.InputError, match="'dtype'. Use precision=\"bf16\""):
        anymask.load("nano", dtype="bfloat16")  # type: ignore[call-arg]  # what users try
