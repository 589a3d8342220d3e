"""How many threads a process takes."""

import os

import pytest

from anymask.base import InputError, pick_threads, thread_setting, threads_each


def test_threads_come_from_the_argument_then_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANYMASK_THREADS", "3")
    assert pick_threads(5) == 5
    assert pick_threads() == 3
    monkeypatch.delenv("ANYMASK_THREADS")
    assert pick_threads() >= 1


@pytest.mark.parametrize("value", ["0", "-2", "many", "1.5", "100000", "9" * 5000])
def test_other_threads_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ANYMASK_THREADS", value)
    with pytest.raises(InputError, match="THREADS must be a whole number from 1 to 1024"):
        pick_threads()


def test_processes_share_the_cores_unless_the_user_says_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ANYMASK_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert [threads_each(processes) for processes in (1, 2, 3, 9)] == [8, 4, 2, 1]
    monkeypatch.setenv("ANYMASK_THREADS", "3")
    assert threads_each(2) == 3


@pytest.mark.parametrize("before", ["3", None])
def test_a_setting_of_threads_ends_with_its_block(
    monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.delenv("ANYMASK_THREADS", raising=False)
    if before:
        monkeypatch.setenv("ANYMASK_THREADS", before)
    with thread_setting(5):
        assert pick_threads() == 5
    assert os.environ.get("ANYMASK_THREADS") == before
    with thread_setting(None):
        assert os.environ.get("ANYMASK_THREADS") == before
