"""Every command that reads mask images takes --mask-values, and one file per object."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.cli.main import main
from tests.conftest import CommandLine

HW = (120, 160)
NUMBERS = np.zeros(HW, np.uint8)
NUMBERS[20:60, 20:60], NUMBERS[70:100, 90:140], NUMBERS[10:40, 100:130] = 1, 2, 3


@pytest.fixture
def unclear(tmp_path: Path) -> Path:
    """Several grays in JPEG files, whose noise could be objects."""
    root = tmp_path / "set"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        image = rng.integers(60, 90, (*HW, 3)).astype(np.uint8)
        image[NUMBERS > 0] = (200, 60, 40)
        Image.fromarray(image).save(root / "images" / f"{name}.png")
        Image.fromarray(NUMBERS * 80).save(root / "masks" / f"{name}.jpg", quality=92)
    return root


COMMANDS: dict[str, list[str]] = {
    "stats": ["stats", "{set}", "--json", "{out}.json"],
    "convert": ["convert", "{set}", "{out}.json"],
    "evaluate": ["evaluate", "{set}", "--model", "nano", "--limit", "2", "--json", "{out}.json"],
    "audit": ["audit", "{set}", "--model", "nano", "--grid", "4", "-o", "{out}"],
    "redact": ["redact", "{set}/images", "--labels", "{set}/masks", "-o", "{out}"],
    "import": ["project", "import", "{set}/images", "{set}"],
}


def words(command: str, root: Path, out: Path) -> list[str]:
    return [word.format(set=root, out=out) for word in COMMANDS[command]]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unclear_image_is_an_error_that_the_command_can_mend(
    command: str,
    unclear: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    cli: CommandLine,
) -> None:
    if command == "import":
        assert main(["project", "init", str(unclear / "images")]) == 0
    asked = words(command, unclear, tmp_path / "out")
    told = cli.refused(asked)
    assert "is ambiguous as a mask image" in told, told
    assert "--mask-values binary" in told
    assert main([*asked, "--mask-values", "binary"]) == 0
    said = capsys.readouterr()
    if command == "convert":
        found = json.loads((tmp_path / "out.json").read_text())
        assert len(found["annotations"]) == 2
    if command == "import":
        assert "2 new masks" in said.out + said.err
    if command == "redact":
        with Image.open(tmp_path / "out" / "a.png") as image:
            assert (np.asarray(image)[NUMBERS > 1] == 0).all()
