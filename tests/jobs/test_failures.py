"""The error log of a folder: ours alone, whatever lies in its place."""

import json
from pathlib import Path

from anymask.jobs import Division, PhotoFailure, failure_log


def test_an_error_log_that_is_a_link_leaves_the_linked_file_alone(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("keep me")
    (tmp_path / "out").mkdir()
    log = tmp_path / "out" / "errors.jsonl"
    for count in (0, 1):
        log.symlink_to(mine)
        with failure_log(tmp_path / "out", Division()) as opened:
            for _ in range(count):
                opened.add(PhotoFailure(Path("a.png"), "damaged", "ImageError"))
        assert mine.read_text() == "keep me"
        assert not log.is_symlink()
    assert json.loads(log.read_text())["reason"] == "damaged"
