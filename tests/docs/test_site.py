"""The documentation site lists every page, and its reference every public name."""

import json
import re

import pytest

import anymask
from anymask import masks
from anymask.cli import main as command_line
from docs.site import build, charts, generated, reference
from tests.extras import run_with
from tests.house.gates import ROOMS

PAGES = [page for pages in build.NAVIGATION.values() for page in pages]


def test_the_navigation_lists_every_page_once() -> None:
    docs = build.ROOT / "docs"
    own = [path.relative_to(docs).as_posix() for path in build.documents()]
    made = [reference.page_of(room) for room in (*reference.ROOMS, *reference.MORE)]
    made += [generated.COMMAND_LINE, generated.SETTINGS, generated.HTTP]
    assert sorted(PAGES) == sorted([*own, *build.OUTSIDE.values(), *made])


def test_every_room_has_its_page() -> None:
    rooms = {f"anymask.{room}".removesuffix(".anymask") for room in ROOMS}
    assert rooms == set(reference.ROOMS)


def test_the_first_page_of_the_reference_has_every_public_name_of_anymask() -> None:
    assert reference.ROOMS[0] == "anymask"
    assert set(reference.names_of("anymask")) == set(anymask.__all__) - {"__version__"}


def test_a_room_shows_each_of_its_names_with_signature_and_methods() -> None:
    page = reference.room_page("anymask.masks")
    headings = re.findall(r"^## `(\w+)`", page, re.MULTILINE)
    assert set(headings) == set(masks.__all__)
    assert "### `Masks.save` { #api-masks-save }" in page
    assert "save(self, path: str | Path, image: UintImage | None = None) -> Path" in page


def test_the_reference_is_the_same_where_packages_are_missing() -> None:
    """`make docs` installs no PyTorch: names that need it are read from their source."""
    program = """
import json
from docs.site import reference
rooms = ("anymask", "anymask.training", "anymask.runtime")
print(json.dumps({room: reference.room_page(room) for room in rooms}))
"""
    done = run_with(("docs",), program, cwd=build.ROOT)
    assert done.returncode == 0, done.stderr
    for room, page in json.loads(done.stdout).items():
        here = reference.room_page(room)
        heading = re.compile(r"^##+ `(\S+)`", re.MULTILINE)
        inherited = {"train", "eval", "forward"}  # of torch's own classes
        assert set(heading.findall(here)) - set(heading.findall(page)) <= inherited, room
    training = json.loads(done.stdout)["anymask.training"]
    assert "trained_module(state: dict[str, Any]) -> nn.Module" in training
    assert "Build the finished model of a checkpoint" in training


def test_docstrings_become_paragraphs_tables_and_code() -> None:
    def described() -> None:
        """One *line* of text.

            anymask.load()

        Args:
            points: (P, 2) clicks
                in pixels.
            box: x0|y0.

        Returns:
            The masks,
            best first.

        Raises:
            PromptError: It is empty.

        Example:
            if answer:
                print(answer)
        """

    assert list(reference.docstring(described)) == [
        r"One \*line\* of text.",
        "```text\n    anymask.load()\n```",
        "**Parameters**",
        "| | |\n|---|---|\n| `points` | (P, 2) clicks in pixels. |\n| `box` | x0\\|y0. |\n",
        "**Returns**",
        "| | |\n|---|---|\n|  | The masks, best first. |\n",
        "**Raises**",
        "| | |\n|---|---|\n| `PromptError` | It is empty. |\n",
        "**Example**",
        "```python\nif answer:\n    print(answer)\n```",
    ]


def test_links_out_of_the_documents_lead_to_pages_of_the_site() -> None:
    guides = build.ROOT / "docs" / "guides"
    text = (
        "[a](../../README.md#models) [b](serve.md#x) ![c](../images/house.svg) "
        "[d](../get-started/first-hour.ipynb) [e](#here) [f](https://example.org/x.md)"
    )
    assert build.with_links(text, guides, "guides/count-cells.md") == (
        "[a](../index.md#models) [b](serve.md#x) ![c](../images/house.svg) "
        "d (`docs/get-started/first-hour.ipynb`) [e](#here) [f](https://example.org/x.md)"
    )
    assert build.with_links("[p](docs/guides/serve.md)", build.ROOT, "index.md") == (
        "[p](guides/serve.md)"
    )


def test_the_generated_pages_list_every_command_setting_and_route() -> None:
    pages = generated.pages()
    for name in command_line.commands():
        assert f"## anymask {name}\n" in pages[generated.COMMAND_LINE]
    assert "### anymask project export" in pages[generated.COMMAND_LINE]
    assert "| `--point X,Y` |" in pages[generated.COMMAND_LINE]
    assert "## SegmentSettings" in pages[generated.SETTINGS]
    assert "## `POST /api/segment`" in pages[generated.HTTP]


@pytest.mark.parametrize("name", charts.charts())
def test_a_chart_shows_the_figures_of_its_csv_file(name: str) -> None:
    drawn = (build.ROOT / "docs/images" / name).read_text("utf-8")
    assert drawn == charts.charts()[name], "run python -m docs.site.charts"
