"""A wish to stop is heard once, and the program's own handlers come back."""

import os
import signal

import pytest

from anymask.training.stopping import heeding_signals


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_handler_and_only_for_a_while(name: signal.Signals) -> None:
    heard: list[int] = []
    before = signal.getsignal(name)
    with heeding_signals(lambda number, _: heard.append(number)):
        os.kill(os.getpid(), name)
    assert heard == [name]
    assert signal.getsignal(name) == before


def test_the_handlers_come_back_after_an_error_too() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError), heeding_signals(lambda *_: None):
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) == before
