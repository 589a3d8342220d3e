"""A real Chromium, and an annotator who uses the page in it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from tests.patience import PATIENCE_S
from tests.web.chromium import find_chromium
from tests.web.project_server import Project, Site

SitDown = Callable[..., Any]
SIZE = {"width": 1280, "height": 720}
# Milliseconds that each frame and message to a worker comes later; requests three times as much.
# What a busy machine does now and then happens every time: a test that reads the page before it was
# drawn, or before what it asked for has come, always fails.
SLOW_MS = int(os.environ.get("ANYMASK_TEST_SLOW_PAGE_MS", "0"))
SLOW = f"""(() => {{
    const later = (times = 1) => new Promise((done) => setTimeout(done, times * {SLOW_MS}));
    const frame = window.requestAnimationFrame.bind(window);
    const cancelled = new Set();
    let number = 1 << 20;
    window.requestAnimationFrame = (draw) => {{
        const mine = number++;
        later().then(() => frame((time) => cancelled.delete(mine) || draw(time)));
        return mine;
    }};
    window.cancelAnimationFrame = (mine) => cancelled.add(mine);
    const fetch = window.fetch.bind(window);
    window.fetch = (...what) => later(3).then(() => fetch(...what));
    const post = Worker.prototype.postMessage;
    Worker.prototype.postMessage = function (...what) {{
        later().then(() => post.apply(this, what));
    }};
}})()"""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs a Chromium (playwright)")
    path = find_chromium()
    if path is None:
        pytest.skip("needs a Chromium: run python tests/web/chromium.py")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def images() -> dict[str, np.ndarray]:
    data = pytest.importorskip("skimage.data")
    return {"coffee": data.coffee(), "cat": data.chelsea()}


@pytest.fixture
def project(images: dict[str, np.ndarray]) -> Project:
    return Project(images)


def late(context: Any) -> Any:
    """A browser's context, its pages as late as was asked for."""
    if SLOW_MS:
        context.add_init_script(SLOW)
    return context


class Annotator:
    """Somebody in front of the page."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        self.errors: list[str] = []
        page.set_default_timeout(1000 * PATIENCE_S)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, query: str = "") -> None:
        self.page.goto(self.url + query)
        self.page.wait_for_selector(".stage")

    def begin(self, expression: str = "s.editor?.encoded === true", expected: Any = True) -> Self:
        """Open the page, and wait for a state: if none is given, the model has seen the photo."""
        self.open()
        self.until(expression, expected)
        return self

    def until(self, expression: str, expected: Any = True) -> None:
        """Wait for the page to reach a state; `s` is its session."""
        self.until_so(lambda: self.ask(expression) == expected, expression)

    def until_so(self, what: Callable[[], bool], name: str = "it") -> None:
        end = time.monotonic() + PATIENCE_S
        while not what():
            said = self.ask("s.messages.map(m => m.text)") if not self.errors else self.errors
            assert time.monotonic() < end, f"{name} never came; the page says {said}"
            self.page.wait_for_timeout(50)
        self.drawn()

    def drawn(self) -> None:
        """The panels show the page's state: they are drawn anew once a frame at most."""
        self.page.evaluate("new Promise((drawn) => requestAnimationFrame(drawn))")

    def ask(self, expression: str) -> Any:
        return self.page.evaluate(
            f"(() => {{ const s = window.anymask.session; return {expression} }})()"
        )

    def seen(self) -> None:
        """The model has seen the open photo."""
        self.until("s.editor?.encoded === true")

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A place of the photo on the screen."""
        box = self.page.locator(".stage").bounding_box()
        left, top = self.ask(f"s.view.toScreen([{x}, {y}])")
        return box["x"] + left, box["y"] + top

    def click(self, x: float, y: float, *, negative: bool = False) -> None:
        if negative:
            self.page.keyboard.down("Shift")
        self.page.mouse.click(*self.at(x, y))
        if negative:
            self.page.keyboard.up("Shift")
        self.looked()

    def drag(self, *places: tuple[float, float]) -> None:
        self.page.mouse.move(*self.at(*places[0]))
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*self.at(*place), steps=4)
        self.page.mouse.up()
        self.looked()

    def looked(self) -> None:
        """The draft's mask is on the screen."""
        self.page.evaluate("window.anymask.session.editor.update()")
        self.drawn()

    def keys(self, *names: str) -> None:
        for name in names:
            self.page.keyboard.press(name)

    def at_once(self, *names: str) -> None:
        """Keys, before the page has answered to the first of them."""
        press = "new KeyboardEvent('keydown', {key, bubbles: true})"
        self.page.evaluate(
            f"names => names.forEach(key => document.activeElement.dispatchEvent({press}))", names
        )

    def name(self, label: str) -> None:
        """Type a label, and Enter."""
        field = self.page.get_by_label("Class", exact=True)
        field.fill(label)
        field.press("Enter")

    def keep(self) -> None:
        before = self.ask("s.editor.state.masks.length")
        self.keys("Enter")
        self.until(f"s.editor.state.masks.length > {before}")

    def saved(self) -> None:
        """Everything that was done has reached the store."""
        self.page.evaluate("window.anymask.session.editor.settled()")
        self.until("s.standing.waiting === 0 && !s.standing.lost")

    def area(self) -> int:
        """Pixels of the draft's mask as it is shown."""
        return self.ask("s.editor.result.patch.data.reduce((a, b) => a + b, 0)")

    def message(self, part: str) -> None:
        self.until_so(
            lambda: any(part in text for text in self.messages()), f"the message {part!r}"
        )

    def messages(self) -> list[str]:
        return self.ask("s.messages.map(m => m.text)")


@pytest.fixture
def sit_down(chromium: Any) -> Iterator[Callable[..., Annotator]]:
    """An annotator at a project, or at plain files (None)."""
    sites: list[Site] = []
    contexts: list[Any] = []
    people: list[Annotator] = []

    def sit(
        project: Project | None,
        *,
        isolated: bool = True,
        size: dict[str, int] = SIZE,
        **options: Any,
    ) -> Annotator:
        site = Site(project, isolated=isolated)
        sites.append(site)
        context = late(chromium.new_context(viewport=size, accept_downloads=True, **options))
        contexts.append(context)
        people.append(Annotator(context.new_page(), site.url))
        return people[-1]

    yield sit
    for context in contexts:
        context.close()
    for site in sites:
        site.close()
    assert [error for person in people for error in person.errors] == []


@pytest.fixture
def image_files(tmp_path: Path, images: dict[str, np.ndarray]) -> list[Path]:
    from PIL import Image

    files = []
    for name, image in images.items():
        files.append(tmp_path / f"{name}.png")
        Image.fromarray(image).save(files[-1], compress_level=1)
    return files


@pytest.fixture
def sit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Somebody opens the page at an address."""
    from tests.web.viewers import Viewer

    contexts: list[Any] = []
    people: list[Any] = []

    def sit_down(address: str, size: dict[str, int] = SIZE, **options: Any) -> Any:
        context = chromium.new_context(viewport=size, accept_downloads=True, **options)
        contexts.append(late(context))
        people.append(Viewer(contexts[-1].new_page(), address))
        people[-1].open()
        return people[-1]

    yield sit_down
    for context in contexts:
        context.close()
    assert [error for person in people for error in person.errors] == []


@pytest.fixture
def viewer(sit: Callable[..., Any]) -> Iterator[Any]:
    """Somebody at a server whose model goes by colours, which takes no time."""
    from tests.web.viewers import served

    with served() as address:
        yield sit(address)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of two discs that drift apart."""
    from tests.track.clips import write_video
    from tests.web.viewers import IMAGES

    return write_video(tmp_path_factory.mktemp("clips") / "clip.mkv", IMAGES)


@pytest.fixture(scope="module")
def page(chromium: Any) -> Iterator[Any]:
    """The example page of the JavaScript package."""
    from tests.web.package_server import example_page

    with example_page(chromium) as opened:
        yield opened
