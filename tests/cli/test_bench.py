"""`anymask bench` as a user meets it. No test looks at how long anything took."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import anymask
from anymask.base import AnymaskError, WeightsError
from anymask.cli import bench as command
from anymask.masks import ALL_KINDS, EncoderOutput, ModelPrompts, ModelSpec
from anymask.models.rules import open_family
from anymask.runtime import ImageRuntime
from anymask.segment import Model
from tests.conftest import CommandLine
from tests.segment.fakes import seen_of

SPEC = ModelSpec(name="tiny", image_side=64, mask_side=16, accepts=ALL_KINDS)


class Blank(ImageRuntime):
    """A runtime that says nothing of interest, at once."""

    spec = SPEC
    family = open_family(SPEC)
    weights_hash = "blank"

    def encode_images(self, images: np.ndarray) -> list[EncoderOutput]:
        return [seen_of(np.zeros((4, 4, 4), np.float32)) for _ in images]

    def decode(
        self, features: EncoderOutput, prompts: ModelPrompts
    ) -> tuple[np.ndarray, np.ndarray]:
        n = len(prompts.coords)
        return np.ones((n, 4, 16, 16), np.float32), np.ones((n, 4), np.float32)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """No process is started; what would have been is kept."""
    asked: list[list[str]] = []

    def pretend(words: list[str]) -> tuple[float, int]:
        asked.append(list(words[1:]))
        return (0.5 if "segment" in words else 0.1), 2**20 * 200

    monkeypatch.setattr(command, "run_process", pretend)
    return asked


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """Only ONNX Runtime opens the model."""
    asked: list[tuple] = []

    def open_model(name: str, weights: str | None, *where: str) -> Model:
        runtime = where[-1]
        asked.append((name, weights, runtime, os.environ.get("ANYMASK_THREADS")))
        if runtime == "torch":
            raise WeightsError("no checkpoint of it is here")
        return Model(Blank())

    monkeypatch.setattr(anymask, "load", open_model, raising=False)
    return asked


@pytest.mark.usefixtures("load", "processes")
def test_every_step_that_a_user_waits_for_has_a_row(tmp_path: Path, cli: CommandLine) -> None:
    out = tmp_path / "bench.json"
    text = cli.out(["bench", "--grid", "3", "--rounds", "2", "--json", str(out)])
    for row in (
        "| import anymask | 0.0 ms |",
        "| cold start to first mask | 500.0 ms |",
        "| peak memory of a cold start | 200 MiB |",
        "| first encode |",
        "| encode (with preprocessing) |",
        "| 1 prompt |",
        "| 256 prompts |",
        "| further click, with mask |",
        "| box, with mask |",
        "| encode + click + masks |",
        "| prompt by segment(image), second |",
        "- image: 1024 x 683 pixels",
        "| everything |",
        "- skipped: torch: no checkpoint of it is here",
        "- machine: ",
    ):
        assert row in text
    raw = json.loads(out.read_text(encoding="utf-8"))
    whole = [one for one in raw["figures"] if one["what"] == "encode + click + masks"]
    assert len(whole[0]["turns"]) == 2
    assert raw["model"] == "nano"


@pytest.mark.usefixtures("load", "processes")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rounds", "0"], "Invalid value '0'. Expected a whole number of at least 1"),
        (["--image", "gone.jpg"], "The image gone.jpg does not exist"),
        (["--runtime", "torch"], "anymask: error: no checkpoint"),
        (["encoder", "sam"], "Unexpected argument 'sam'"),
    ],
)
def test_wrong_options_are_sentences(words: list[str], message: str, cli: CommandLine) -> None:
    assert message in cli.refused(["bench", *words])


def test_steps_take_turns_and_the_warm_up_does_not_count() -> None:
    clock, order = [0.0], []
    slow, fast = iter((90, 3, 5, 4)), iter((9, 1, 1, 2))

    def step(name: str, seconds: Iterator[float]) -> None:
        order.append(name)
        clock[0] += next(seconds)

    steps = {"slow": lambda: step("slow", slow), "fast": lambda: step("fast", fast)}
    timed = command.time_in_turns(steps, rounds=3, clock=lambda: clock[0])
    assert order == ["slow", "fast"] * 4
    assert timed == {"slow": (3, 5, 4), "fast": (1, 1, 2)}


def test_a_process_is_timed_and_its_memory_read() -> None:
    seconds, small = command.run_process([sys.executable, "-c", "pass"])
    _, large = command.run_process([sys.executable, "-c", "a = b'x' * 300_000_000"])
    assert seconds > 0
    if small is not None and large is not None:
        assert 300_000_000 < large < 2**40


def test_a_failing_process_is_an_error_with_its_last_words() -> None:
    program = "import sys; print('no more', file=sys.stderr); exit(3)"
    with pytest.raises(AnymaskError, match=r"failed with exit code 3: no more"):
        command.run_process([sys.executable, "-c", program])
