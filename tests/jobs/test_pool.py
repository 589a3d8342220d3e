"""A pool of worker processes: what it yields, and how its workers end."""

import os
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from anymask.base import OnNamedProgress, exit_text
from anymask.jobs import ItemCrashed, ItemDone, ItemStep, run_in_pool


@dataclass(frozen=True)
class Squares:
    """Squares numbers; where `waits`, the second of two workers waits for ever in its opening."""

    marks: Path
    waits: bool = False
    about: dict[str, Any] = field(default_factory=dict)

    def open(self) -> "Squares":
        try:
            (self.marks / "opened").touch(exist_ok=False)
        except FileExistsError:
            try:
                if not self.waits:
                    return self
                (self.marks / "waiting").touch()
                threading.Event().wait()
            except BaseException as error:  # as an import that is interrupted
                raise ImportError("initialization failed") from error
        return self

    def __call__(self, item: int, report: OnNamedProgress) -> int:
        report("half way", 1, 2)
        if item == 13:
            os.kill(os.getpid(), 9)
        return item**2


def test_steps_and_results_come_with_their_items(tmp_path: Path) -> None:
    events = list(run_in_pool(Squares(tmp_path).open, [2, 3], 1))
    assert [event for event in events if isinstance(event, ItemStep | ItemDone)] == [
        ItemStep(2, "half way", 1, 2), ItemDone(2, 4),
        ItemStep(3, "half way", 1, 2), ItemDone(3, 9),
    ]  # fmt: skip
    assert str(ItemStep(3, "half way", 1, 2)) == "half way 1/2"


def test_no_items_start_no_process(tmp_path: Path) -> None:
    assert list(run_in_pool(Squares(tmp_path).open, [], 4)) == []
    assert not any(tmp_path.iterdir())


def test_an_item_whose_worker_dies_is_tried_alone_and_then_lost(tmp_path: Path) -> None:
    events = list(run_in_pool(Squares(tmp_path).open, [1, 13, 2, 3], 2))
    (lost,) = [event for event in events if isinstance(event, ItemCrashed)]
    assert (lost.item, lost.how) == (13, "was killed (SIGKILL)")
    assert sorted(event.item for event in events if isinstance(event, ItemDone)) == [1, 2, 3]
    assert sum(isinstance(event, ItemStep) and event.item == 13 for event in events) == 2


def test_a_worker_that_is_ended_while_it_opens_its_task_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    results = {}
    for event in run_in_pool(Squares(tmp_path, waits=True).open, [1, 2, 3], 2):
        if isinstance(event, ItemDone):
            results[event.item] = event.result
    assert results == {1: 1, 2: 4, 3: 9}
    assert capfd.readouterr().err == ""


def test_an_interruption_while_an_item_is_handed_out_is_heard_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, handed = ProcessPoolExecutor.submit, []

    def interrupted(pool: ProcessPoolExecutor, *work: Any) -> Future[Any]:
        os.kill(os.getpid(), signal.SIGINT)
        future = submit(pool, *work)
        handed.append(work)
        return future

    monkeypatch.setattr(ProcessPoolExecutor, "submit", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            list(run_in_pool(Squares(tmp_path).open, [1, 2, 3], 2))
        assert len(handed) == 1
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interruption_that_the_shell_ignores_stays_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = ProcessPoolExecutor.submit

    def interrupted(pool: ProcessPoolExecutor, *work: Any) -> Future[Any]:
        os.kill(os.getpid(), signal.SIGINT)
        return submit(pool, *work)

    monkeypatch.setattr(ProcessPoolExecutor, "submit", interrupted)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        events = list(run_in_pool(Squares(tmp_path).open, [1, 2, 3], 2))
    finally:
        signal.signal(signal.SIGINT, before)
    assert sorted(event.result for event in events if isinstance(event, ItemDone)) == [1, 4, 9]


@pytest.mark.parametrize(
    ("code", "text"),
    [(1, "exited with code 1"), (-9, "was killed (SIGKILL)"), (-99, "was killed (signal 99)")],
)
def test_the_end_of_a_process_is_said_in_words(code: int, text: str) -> None:
    assert exit_text(code) == text
