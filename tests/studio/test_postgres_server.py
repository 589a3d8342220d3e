"""Where the tests' PostgreSQL comes from: this machine, else apt-get as root, else nowhere."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.studio import postgres


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were run; nothing is installed."""
    told: list[list[str]] = []

    def run(words: list[str], **_: Any) -> None:
        told.append(words)

    monkeypatch.setattr(subprocess, "run", run)
    return told


def test_what_is_there_is_taken(
    monkeypatch: pytest.MonkeyPatch, ran: list[list[str]], tmp_path: Path
) -> None:
    monkeypatch.setattr(postgres, "_found", lambda: tmp_path)
    assert postgres.find_programs() == tmp_path
    assert ran == []


def test_root_installs_what_is_not_there(
    monkeypatch: pytest.MonkeyPatch, ran: list[list[str]], tmp_path: Path
) -> None:
    answers = iter([None, tmp_path])
    monkeypatch.setattr(postgres, "_found", lambda: next(answers))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert postgres.find_programs() == tmp_path
    assert [words[2] for words in ran] == ["update", "install"]
    assert ran[1][-1] == "postgresql"


@pytest.mark.parametrize(("user", "apt"), [(1000, "/usr/bin/apt-get"), (0, None)])
def test_where_nothing_can_be_installed_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, ran: list[list[str]], user: int, apt: str | None
) -> None:
    monkeypatch.setattr(postgres, "_found", lambda: None)
    monkeypatch.setattr("os.geteuid", lambda: user)
    monkeypatch.setattr("shutil.which", lambda name: apt)
    with pytest.raises(postgres.NoServer, match="needs PostgreSQL: none is installed"):
        postgres.find_programs()
    assert ran == []
