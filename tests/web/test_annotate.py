"""The page with the real server behind it: `anymask annotate` on a folder of photos."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.web.conftest import SIZE, Annotator, late


@contextmanager
def annotate(folder: Path, *options: str) -> Iterator[str]:
    """Where `anymask annotate` listens."""
    command = [sys.executable, "-m", "anymask", "annotate", str(folder), "--port", "0", *options]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as server:
        assert server.stdout is not None
        said = ""
        for line in server.stdout:
            said += line
            found = re.search(r"http://[\w.:]+/", line)
            if found:
                break
        else:
            pytest.fail(f"no address came: {said}")
        try:
            yield found.group()
        finally:  # a test that fails must not wait for it
            server.terminate()
            server.stdout.read()


@pytest.fixture
def people(chromium: Any) -> Iterator[Callable[[str], Annotator]]:
    """Somebody sits down at an address."""
    contexts: list[Any] = []

    def sit(address: str) -> Annotator:
        contexts.append(late(chromium.new_context(viewport=SIZE, accept_downloads=True)))
        return Annotator(contexts[-1].new_page(), address)

    yield sit
    for context in contexts:
        context.close()


def label_the_same(first: Annotator, label: str, second: Annotator, other: str) -> None:
    """Both label the mask that they see first. The second one's label is on its way meanwhile.

    So the second page cannot have seen the first label, however late a request is.
    """
    held: list[Any] = []

    def hold(route: Any) -> None:
        if route.request.method == "PUT" and not held:
            held.append(route)
        else:
            route.continue_()

    second.page.route(re.compile(r"/api/.*records"), hold)
    second.keys("k", "l")
    second.name(other)
    second.until_so(lambda: bool(held), "the second label")
    first.keys("k", "l")
    first.name(label)
    first.saved()
    held[0].continue_()
    second.message("Another user changed this mask")


@pytest.fixture
def ann(image_files: list[Path], people: Callable[[str], Annotator]) -> Iterator[Annotator]:
    """Somebody at the project of two photos."""
    with annotate(image_files[0].parent, "--user", "ann") as address:
        yield people(address).begin()


def test_open_click_label_everything_review_and_report(ann: Annotator) -> None:
    assert ann.page.evaluate("crossOriginIsolated") is True
    ann.click(300, 180)
    ann.click(60, 60, negative=True)
    ann.name("cup")
    ann.keep()
    ann.keys("p")
    ann.drag((60, 60), (160, 60))
    ann.keep()
    ann.saved()
    ann.keys("Control+z")  # the mask is a draft again
    ann.until("s.editor.draft.strokes.length", 1)
    ann.keys("Escape")
    ann.saved()
    ann.keys("m")
    ann.until_so(lambda: ann.ask("s.editor.state.masks.length") > 1, "the proposals")
    ann.ask("s.editor.select(s.editor.state.masks.find(m => m.state === 'proposed').key)")
    ann.keys("Enter")
    ann.saved()
    ann.keys("PageDown")
    ann.until("s.editor?.entry.id === s.images[1].id")
    ann.seen()
    ann.keys("PageUp")
    ann.until("s.editor?.entry.id === s.images[0].id")
    statuses = ann.ask("s.editor.state.masks.map(m => m.state)")
    assert statuses.count("accepted") == 2
    ann.page.get_by_role("button", name="Report").click()
    ann.page.get_by_role("dialog", name="Report").wait_for()
    ann.page.get_by_role("button", name="Close").last.click()
    ann.keys("d")
    ann.until("s.images[0].status", "done")
    assert ann.errors == []


def test_two_servers_on_one_folder_share_its_project(
    image_files: list[Path], people: Callable[[str], Annotator]
) -> None:
    folder = image_files[0].parent
    with annotate(folder, "--user", "ann") as first, annotate(folder, "--user", "bob") as second:
        ann, bob = people(first), people(second)
        for one, row in ((ann, 60), (bob, 120)):
            one.begin("s.editor !== null")
            one.keys("p")
            one.drag((60, row), (160, row))
            one.keep()
            one.saved()
        ann.begin("s.editor?.state.masks.length", 2)
        bob.begin("s.editor?.state.masks.length", 2)
        label_the_same(ann, "mug", bob, "glass")
        bob.page.get_by_role("button", name="Keep mine").click()
        bob.saved()
        ann.begin("s.editor?.state.masks.map(m => m.label).sort().join()", "glass,")
        assert ann.errors == bob.errors == []
