"""What the server and the labelling page say before they start on something that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import CommandLine

pytest.importorskip("fastapi", reason="needs the extra [studio]")


def refused(cli: CommandLine, *words: object) -> str:
    err = cli.refused([str(word) for word in words])
    assert "Traceback" not in err
    lines = err.splitlines(keepends=True)
    return "".join(line for line in lines if " ERROR anymask." not in line)  # the log's


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"")
    return tmp_path / "file"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--model", "nothing"], "Unknown model 'nothing'"),
        (["--host", "0.0.0.0"], "A token is required because other machines can reach 0.0.0.0"),
        (["--port", "99999"], "cannot listen on 127.0.0.1:99999"),
        (["--memory", "-1"], "memory must be a number of megabytes, 0 or more, got -1"),
    ],
)
def test_a_server_that_cannot_be_says_why(cli: CommandLine, words: list[str], told: str) -> None:
    assert told in refused(cli, "serve", *words)


def test_weights_that_are_broken_end_the_server(
    cli: CommandLine, file: Path, tmp_path: Path
) -> None:
    words = ["--model", "mobile_sam", "--weights", file, "--port", "0"]
    told = refused(cli, "serve", *words)
    assert told.count("anymask: error:") == 1
    assert "file" in told
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (9, 8)).save(tmp_path / "photos" / "a.png")
    assert refused(cli, "annotate", tmp_path / "photos", *words) == told


@pytest.mark.parametrize("words", [["annotate"], ["project", "init"]])
def test_a_folder_without_a_picture_becomes_no_project(
    cli: CommandLine, tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    assert f"{tmp_path} contains no images" in refused(cli, *words, tmp_path)
    assert not (tmp_path / ".anymask").exists()
