"""Words in folders of photos: killed and resumed, in workers, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import anymask
from anymask import jobs
from anymask.base import UintImage
from anymask.cli.main import main
from anymask.jobs import FindTask, FolderJob, run_job

WORDS = "cat, red cup = cup"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: UintImage) -> Path:
    """A working folder with a photo in another folder."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Image.fromarray(photo).save("photos/0.png")
    return tmp_path


@pytest.mark.usefixtures("desk", "no_network")
def test_the_command_writes_labels_and_says_what_is_not_there(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    detector = str(folders["owlv2"])
    assert main(["find", "photos/0.png", WORDS, "--detector", detector, "-o", "one.json"]) == 0
    assert "--score" in capsys.readouterr().err  # random weights are sure of nothing
    Path("words.txt").write_text("# pets\ncat\nred cup = cup\n")
    found = ["find", "photos/0.png", "words.txt", "--detector", str(folders["grounding-dino"])]
    assert main([*found, "--score", "0", "--top-k", "2", "-o", "one.json", "-o", "one.svg"]) == 0
    document = json.loads(Path("one.json").read_text())
    labels = {record["label"] for record in document["annotations"]}
    assert labels <= {"cat", "cup"}
    assert labels
    assert document["anymask"]["find"]["detector"]["kind"] == "grounding-dino"
    assert Path("one.svg").is_file()


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["red cup"], "'red cup' (known: cup)"),
        (["cup", "--detector", "llmdet-tiny"], "llmdet_tiny"),
        (["cup", "--score", "7"], "0 to 1"),
        ([", ,"], "empty"),
    ],
)
def test_a_wrong_word_is_told_before_any_work(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["find", "photos", *words, "-o", "out"]) == 2
    assert told in capsys.readouterr().err
    assert not [*Path("out").rglob("*.json")]


def test_one_image_reports_the_steps_of_the_search(tmp_path: Path) -> None:
    steps: list[tuple[int, int | None]] = []
    task = FindTask.plan(anymask.sample("cat"), {"words": "cat", "model": "nano@256"})[1]
    job = FolderJob(source=anymask.sample("cat"), output=tmp_path / "out")
    run_job(job, task, on_step=lambda done, total: steps.append((done, total)))
    assert len(steps) > 1
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1][0] == steps[-1][1]


@pytest.mark.usefixtures("desk")
def test_a_folder_by_the_models_own_names(tmp_path: Path) -> None:
    Path("cats").mkdir()
    Path("cats", "cat.jpg").write_bytes(anymask.sample("cat").read_bytes())
    done = jobs.run("find", "cats", "out", words=["cat", "airplane"])
    assert done.made >= 1
    document = json.loads(Path("out", "cat.json").read_text())
    assert {record["label"] for record in document["annotations"]} == {"cat"}
    assert Path("out", "cat.png").is_file()
    assert jobs.run("find", "cats", "out", words=["cat", "airplane"]).skipped == 1
    assert jobs.run("find", "cats", "out", words=["dog"]).done == 1  # other words, another answer
