"""The recipe that writes the model card: a report's tables in, a document's marked blocks out."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.scripts import loaded_script

ROOT = Path(__file__).parents[2]
TABLE = """| set | masks | 1 click | oracle | 3 clicks | box |
|---|---|---|---|---|---|
| coco_val | 836 | 0.437 | 0.516 | 0.631 | 0.673 |
| **dev mean** | 12 sets | **0.519** | **0.585** | **0.682** | **0.735** |
| 95 % interval |  | 0.502-0.536 | 0.570-0.602 | 0.669-0.695 | 0.727-0.744 |"""
EMPTY = "| set | masks |\n|---|---|\n| coco_val | 836 |"
EDGES = "| set | method | ODS |\n|---|---|---|\n| coco_val | nano | 0.5 |"


@pytest.fixture(scope="module")
def recipe() -> Iterator[ModuleType]:
    with loaded_script(ROOT / "research" / "write_card.py") as module:
        yield module


def written(folder: Path, name: str, *parts: str) -> Path:
    """A run of `anymask evaluate`, as its files tell."""
    (folder / f"{name}.md").write_text(
        "\n\n".join([*parts, "- model: nano\n- skipped: a"]), "utf-8"
    )
    (folder / f"{name}.json").write_text(json.dumps({"weights_hash": "0123456789abcdef"}), "utf-8")
    return folder


def test_a_block_has_its_command_its_weights_and_the_tables_with_figures(
    recipe: ModuleType, tmp_path: Path
) -> None:
    folder = written(tmp_path, "results", TABLE, EMPTY, "edges: as people draw them", EDGES)
    told = recipe.block_of("results", folder, ["--limit", "2"])
    assert told == (
        f"`python -m research.paper zero-shot --limit 2`, weights 0123456789ab:\n\n{TABLE}\n\n"
        f"Edges: as people draw them:\n\n{EDGES}"
    )
    assert recipe.coco_row(folder / "results.json", "") == "0.437 | 0.631 | 0.673"


def test_the_row_with_the_photo_is_read_from_its_own_columns(
    recipe: ModuleType, tmp_path: Path
) -> None:
    beside = """| set | 1 click | 3 clicks | box | {0} 1 click | {0} 3 clicks | {0} box |
|---|---|---|---|---|---|---|
| coco_val | 0.1 | 0.2 | 0.3 | 0.445 | 0.653 | 0.717 |""".format("nano, edges:")
    marks, before = recipe.ROWS["photo"]
    folder = written(tmp_path, "photo", beside)
    assert recipe.coco_row(folder / "photo.json", before) == "0.445 | 0.653 | 0.717"
    assert marks == "coco-photo"


def test_of_some_blocks_the_means_alone_are_written(recipe: ModuleType, tmp_path: Path) -> None:
    told = recipe.block_of("mirror", written(tmp_path, "mirror", TABLE, EDGES), [])
    head, rule, _, mean, _ = TABLE.splitlines()
    assert told.split("\n\n")[1:] == [f"{head}\n{rule}\n{mean}"]


def test_a_text_replaces_what_stands_between_the_marks(recipe: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    path.write_text("a\n\n<!-- one -->\n\nold\n\n<!-- /one -->\n\nb <!-- two -->c<!-- /two --> d\n")
    recipe.write(path, "one", "| \\1 |")
    recipe.write(path, "two", ".5")
    text = "a\n\n<!-- one -->\n\n| \\1 |\n\n<!-- /one -->\n\nb <!-- two -->.5<!-- /two --> d\n"
    assert path.read_text() == text
    with pytest.raises(SystemExit, match="wanted the marks <!-- three --> and <!-- /three -->"):
        recipe.write(path, "three", "")


def test_the_documents_have_the_marks_of_every_block(recipe: ModuleType) -> None:
    card, readme = (path.read_text("utf-8") for path in (recipe.CARD, recipe.README))
    for name in recipe.BLOCKS:
        assert card.count(f"<!-- {name} -->") == card.count(f"<!-- /{name} -->") == 1
    for marks, _ in recipe.ROWS.values():
        assert readme.count(f"<!-- {marks} -->") == readme.count(f"<!-- /{marks} -->") == 1
