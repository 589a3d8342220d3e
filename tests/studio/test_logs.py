"""What the server logs, and how."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator

import pytest

from anymask.studio.middleware import Access
from anymask.studio.server import LOGGERS, log_to_stderr
from tests.studio.servers import client


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """What is written to standard error; logging is as before afterwards."""
    yield lambda: capsys.readouterr().err
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [one for one in logger.handlers if one.get_name() != "anymask"]
        logger.propagate = True
        logger.setLevel(logging.NOTSET)


def test_requests_are_logged_without_their_token(told: Callable[[], str]) -> None:
    log_to_stderr("info", "json")
    with client(access=Access(token="open sesame")) as http:
        http.get("/api/nothing?token=open%20sesame")
        http.get("/api/nothing")
    text = told()
    rows = [json.loads(line) for line in text.splitlines()]
    asked = [row for row in rows if row["logger"] == "anymask.studio.requests"]
    assert [(row["method"], row["path"], row["status"]) for row in asked] == [
        ("GET", "/api/nothing", 404),
        ("GET", "/api/nothing", 401),
    ]
    assert all(row["ms"] >= 0 for row in asked)
    refused = [row for row in rows if row["level"] == "warning"]
    assert "ccess token" in refused[0]["message"]
    assert "sesame" not in text


def test_plain_lines_hold_nothing_that_a_terminal_obeys(told: Callable[[], str]) -> None:
    log_to_stderr("info")
    logging.getLogger("anymask.studio").info("refused %s", "\x1b[2J\nroot: all is well")
    (line,) = told().splitlines()
    assert r"INFO anymask.studio: refused \x1b[2J\nroot: all is well" in line
