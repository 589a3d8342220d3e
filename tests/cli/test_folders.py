"""How the commands for folders end."""

import os
import signal

import pytest

from anymask.jobs import finish_job


def interrupted_import() -> None:
    """What an extension module makes of a signal that comes while it is imported."""
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt as error:
        raise ImportError("initialization failed") from error


def test_sigterm_is_an_interruption_even_in_an_import() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), finish_job():
        interrupted_import()
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ImportError, match="absent"), finish_job():
        raise ImportError("absent")
