"""Progress tells the same story on a terminal and in a log file."""

import io

import pytest

from anymask.base import ProgressBar, clock_text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (8.4, "8s"), (59.6, "1m00s"), (200, "3m20s"), (3599.9, "1h00m"), (7500, "2h05m")],
)
def test_times_read_like_a_person_says_them(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text


def test_a_terminal_gets_one_line_that_is_rewritten() -> None:
    stream, clock = Terminal(), Clock()
    with ProgressBar("photos", 4, stream, clock) as progress:
        assert stream.getvalue().startswith("\rphotos [........................] 0/4, 0s")
        clock.now += 30
        progress.update(1)
        assert "\rphotos [######...." in stream.getvalue()
        assert "1/4, 30s, 1m30s left" in stream.getvalue()
        assert "\n" not in stream.getvalue()
        progress.update(4)
    assert stream.getvalue().endswith("[########################] 4/4, 30s\x1b[K\n")


def test_a_log_gets_plain_lines_and_not_too_many() -> None:
    stream, clock = io.StringIO(), Clock()
    with ProgressBar("photos", 100, stream, clock) as progress:
        for done in range(1, 101):
            clock.now += 0.5
            progress.update(done)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "photos 20/100, 10s, 40s left"
    assert lines[-1] == "photos 100/100, 50s"
    assert len(lines) == 5
    assert "\r" not in stream.getvalue()


def test_an_unknown_total_counts_upwards_until_it_becomes_known() -> None:
    stream, clock = io.StringIO(), Clock()
    with ProgressBar("bytes", None, stream, clock) as progress:
        clock.now += 10
        progress.update(5)
        clock.now += 10
        progress.update(10, 20)
    assert stream.getvalue().splitlines() == ["bytes 5, 10s", "bytes 10/20, 20s, 20s left"]


@pytest.mark.parametrize(
    ("stream", "text"), [(Terminal(), "\rsearch ...\x1b[K\r\x1b[K"), (io.StringIO(), "")]
)
def test_work_that_reports_no_steps_shows_no_number(stream: io.StringIO, text: str) -> None:
    with ProgressBar("search", None, stream):
        pass
    assert stream.getvalue() == text


def test_steps_that_took_no_time_do_not_make_the_rest_look_short() -> None:
    stream, clock = io.StringIO(), Clock()
    with ProgressBar("photos", 100, stream, clock) as progress:
        progress.update(50, free=50)
        assert progress.text() == "photos 50/100, 0s"
        clock.now += 10
        progress.note = "1 failed"
        progress.update(60, free=50)
    assert stream.getvalue().splitlines()[0] == "photos 60/100, 10s, 40s left, 1 failed"


def test_the_bar_makes_way_for_a_message() -> None:
    stream = Terminal()
    with ProgressBar("photos", 4, stream, Clock()) as progress, progress.silent():
        stream.write("trouble\n")
    bar = "\rphotos [........................] 0/4, 0s\x1b[K"
    assert stream.getvalue() == f"{bar}\r\x1b[Ktrouble\n{bar}{bar}\n"


def test_the_line_is_ended_when_the_work_fails() -> None:
    stream = Terminal()
    bar = ProgressBar("photos", 2, stream)
    bar.update(1)
    with pytest.raises(ValueError, match="broken"), bar:
        raise ValueError("broken")
    assert stream.getvalue().endswith("\n")
