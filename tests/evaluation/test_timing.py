"""Timing in turns, with a clock of the test's own."""

import sys
from collections.abc import Iterator

import pytest

from anymask.base import AnymaskError
from anymask.evaluation import TimedCall, Timing, run_process, time_in_turns


class Clock:
    """A clock that only moves when a task says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def steps(self, *seconds: float) -> Iterator[float]:
        """Each `next` lets one of these pass."""
        for second in seconds:
            self.now += second
            yield second


def test_tasks_take_turns_and_the_warm_up_does_not_count() -> None:
    clock, order = Clock(), []
    slow, fast = clock.steps(90, 3, 5, 4), clock.steps(9, 1, 1, 2)
    timings = time_in_turns(
        [
            TimedCall("slow", lambda: (order.append("slow"), next(slow))),
            TimedCall("fast", lambda: (order.append("fast"), next(fast))),
        ],
        rounds=3,
        clock=clock,
    )
    assert order == ["slow", "fast"] * 4
    assert timings == [Timing("slow", (3, 5, 4)), Timing("fast", (1, 1, 2))]
    assert [timing.median for timing in timings] == [4, 1]


def test_a_process_is_timed_and_its_memory_read() -> None:
    small = run_process([sys.executable, "-c", "pass"])
    large = run_process([sys.executable, "-c", "a = b'x' * 300_000_000"])
    assert small.seconds > 0
    if small.peak is not None and large.peak is not None:
        assert large.peak > 300_000_000
        assert large.peak < 2**40


def test_a_process_sees_the_environment_that_it_is_given() -> None:
    code = "import os, sys; sys.exit(os.environ['ANYMASK_THREADS'] != '7')"
    assert run_process([sys.executable, "-c", code], {"ANYMASK_THREADS": "7"}).seconds > 0


def test_a_failing_process_is_an_error_with_its_last_words() -> None:
    with pytest.raises(AnymaskError, match=r"failed with exit code 3: no more"):
        run_process(
            [sys.executable, "-c", "import sys; print('no more', file=sys.stderr); exit(3)"]
        )
