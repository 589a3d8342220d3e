"""A wish to stop is heard once, and the program's own handlers come back."""

import os
import signal
import subprocess
import sys

import pytest

from anymask.training.workers import handling_signals


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_handler_and_only_for_a_while(name: signal.Signals) -> None:
    heard: list[int] = []
    before = signal.getsignal(name)
    with handling_signals(lambda number, _: heard.append(number)):
        os.kill(os.getpid(), name)
    assert heard == [name]
    assert signal.getsignal(name) == before


def test_a_worker_that_has_ended_its_run_is_not_killed_by_a_signal_that_comes_late() -> None:
    """The one that waits for workers hands a signal on, which may have reached them already."""
    program = """
import os, signal, tempfile
from pathlib import Path
from anymask.training import loop
from anymask.training import Recipe
from anymask.training.workers import handling_signals
from anymask.training.loop import TrainingRun

class Learner:
    def __init__(self, *given): pass

    def run(self):
        with handling_signals(lambda *_: print("asked")):
            signal.raise_signal(signal.SIGTERM)

loop.TrainingWorker = Learner
with tempfile.TemporaryDirectory() as folder:
    run = TrainingRun(Path(folder), Path(folder))
    loop.run_worker(0, Recipe(workers=1), run, Path(folder))
for name in (signal.SIGTERM, signal.SIGINT):
    signal.raise_signal(name)
print("ended by itself")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "asked\nended by itself\n"), done.stderr
