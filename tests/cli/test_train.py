"""`anymask train`: from a recipe to a model that opens, and what it says when it cannot."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from anymask.base import claimed
from anymask.cli.main import main
from anymask.training import export_graphs as graphs
from anymask.training import newest_state
from anymask.training.by_recipe import write_recipe_shards
from anymask.training.run_folder import read_state
from tests.conftest import CommandLine
from tests.training.small_data import write_sets

RECIPE = """
model = "nano_tiny"
workers = 1
prepare_ahead = false
warmup = 2
save_every = 2
[[stage]]
steps = 20
side = 64
images = 1
masks = 1
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


def test_it_trains_reports_and_writes_a_bundle(
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    cli: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, run, bundle = write_sets(tmp_path / "data"), tmp_path / "run", tmp_path / "bundle"
    last = tmp_path / "last.json"
    words = [str(recipe), "--data", str(data), "-o", str(run), "--bundle", str(bundle)]
    written: list[tuple[Any, ...]] = []
    # The export itself takes long; test_finetune has one of a run whose bundle is measured.
    monkeypatch.setattr(
        graphs, "export_bundle", lambda *what, **about: written.append((what, about))
    )
    assert main(["train", *words, "--json", str(last)]) == 0
    told = capsys.readouterr()
    begun, row, *wrote = told.err.splitlines()
    assert begun == "training nano_tiny on cpu: 20 steps"
    assert row.startswith("step 20/20  loss ")
    assert wrote == [f"wrote {one}" for one in (run / "last.pt", bundle, last)]
    assert not told.out
    assert json.loads(last.read_text())["step"] == 20
    ((module, spec, target), about) = written.pop()
    assert (spec.image_side, target, about["variant"]) == (128, bundle, "half")
    averaged = read_state(run / "last.pt")["average"]
    exported = module.state_dict()
    for name in averaged:
        torch.testing.assert_close(exported[name], averaged[name].half().to(exported[name].dtype))
    assert cli.err(["train", *words]).splitlines()[:2] == [
        "training nano_tiny on cpu: 20 steps, resuming from its checkpoint",
        f"exists: {run / 'last.pt'}",
    ]


def test_shards_are_written_and_learned_from(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], cli: CommandLine
) -> None:
    recipe.write_text(RECIPE)
    data, shards, run = write_sets(tmp_path / "data"), tmp_path / "shards", tmp_path / "run"
    words = ["train", str(recipe), "--data"]
    write_recipe_shards(recipe, data, shards, 0.001)
    count = len(list(shards.glob("*.tar")))
    assert capsys.readouterr().out == f"{shards}: 6 images in {count} shards\n"
    assert count > 1
    assert main([*words, str(shards), "-o", str(run)]) == 0
    assert "images_a_second" in (run / "log.jsonl").read_text()
    assert "already contains shards" in cli.refused([*words, str(data), "--shards", str(shards)])


def test_a_recipe_is_checked_before_torch_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    monkeypatch.setitem(sys.modules, "anymask.training.loop", None)
    data = write_sets(tmp_path / "data")
    (tmp_path / "idle.toml").write_text(RECIPE.replace("workers = 1", "workers = 0"))
    for recipe, place, told in (
        ("nosuch.toml", data, "Unknown recipe 'nosuch.toml'"),
        (str(tmp_path / "idle.toml"), data, "workers must be"),
        ("nano", data / "round", "is a training set, not a folder of them"),
    ):
        assert told in cli.refused(
            ["train", recipe, "--data", str(place), "-o", str(tmp_path / "run")]
        )


@pytest.mark.parametrize(
    ("data", "text", "says"),
    [
        ("nowhere", RECIPE, "nowhere' does not exist. Check the path"),
        ("empty", RECIPE, "contains no training set"),
        ("empty/set", RECIPE, "is a training set"),
        ("empty", "model = 3", "model must be text, got 3"),
        ("empty", "model = 'nano'", "no [[stage]]"),
        (
            "empty",
            RECIPE.replace("nano_tiny", "sam_vit_b"),
            "sam_vit_b supports only images of 1024 pixels",
        ),
        ("empty", RECIPE.replace("nano_tiny", "sam_vit_x"), "Unknown model"),
    ],
)
def test_what_cannot_be_trained_is_one_clear_line_and_exit_code_2(
    data: str, text: str, says: str, tmp_path: Path, cli: CommandLine
) -> None:
    (tmp_path / "empty" / "set").mkdir(parents=True)
    if data.endswith("set"):
        (tmp_path / data / "masks.jsonl").touch()
    path = tmp_path / "r.toml"
    path.write_text(text)
    words = [str(path), "--data", str(tmp_path / data), "-o", str(tmp_path / "run")]
    said = cli.refused(["train", *words])
    assert says in said
    assert "Traceback" not in said


LONG = """
model = "nano_tiny"
workers = 2
warmup = 2
save_every = {save_every}
save_minutes = 1000
[[stage]]
steps = {steps}
side = 64
images = 2
masks = 1
"""


def begun(
    run: Path, workers: int = 2, save_every: int = 100_000
) -> tuple[subprocess.Popen[str], list[str]]:
    """A run of many steps that has done 20 of them, and its command's words."""
    recipe, text = run.parent / "long.toml", LONG.format(steps=1_000_000, save_every=save_every)
    recipe.write_text(text.replace("workers = 2", f"workers = {workers}"))
    words = ["train", str(recipe), "--data", str(write_sets(run.parent / "data")), "-o", str(run)]
    ours = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup themselves
    process = subprocess.Popen(
        [sys.executable, "-m", "anymask", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    signal.signal(signal.SIGHUP, ours)
    assert process.stderr is not None
    assert process.stderr.readline() == "training nano_tiny on cpu: 1000000 steps\n"
    assert process.stderr.readline().startswith("step 20/1000000  loss ")
    return process, words


def spawned_by(pid: int) -> list[int]:
    """The processes that a process has started to work, not those that tidy up for Python."""
    table = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 2) for line in table.splitlines()]
    return [int(own) for own, by, words in rows if int(by) == pid and "spawn_main" in words]


def goes_on(words: list[str], run: Path) -> None:
    """One worker takes over what the others have left, from a step that they have done."""
    found = newest_state(run)  # a kill between two moves leaves the one before
    assert found is not None
    step = int(found[1]["progress"]["step"])
    assert 10 <= step < 1_000_000
    alone = LONG.replace("workers = 2", "workers = 1\nprepare_ahead = false")
    Path(words[1]).write_text(alone.format(steps=step + 1, save_every=100_000))
    assert main(words) == 0
    assert read_state(run / "last.pt")["progress"]["step"] == step + 1


@pytest.mark.parametrize(
    ("name", "workers"), [(signal.SIGTERM, 2), (signal.SIGINT, 1), (signal.SIGHUP, 1)]
)
def test_a_signal_to_all_processes_of_a_run_ends_it_after_a_checkpoint_and_it_goes_on(
    name: signal.Signals, workers: int, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process, words = begun(run, workers)
    os.killpg(process.pid, name)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert f"The checkpoint is in {run}" in err
    assert "Warning" not in err  # of torch, about how its processes share gradients
    assert "Traceback" not in err
    goes_on(words, run)


@pytest.mark.parametrize("which", ["worker", "beside"])
def test_a_process_that_the_system_kills_ends_a_run_that_goes_on_and_is_named(
    which: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process, words = begun(run, save_every=10)
    first, second = sorted(spawned_by(process.pid))  # they have started in this order
    lost = first if which == "worker" else spawned_by(second)[0]
    os.kill(lost, signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode == 2, err
    said = {
        "worker": f"Training process 0 (pid {lost}) was killed (SIGKILL).",
        "beside": "A data loading process was killed",
    }[which]
    assert said in err
    assert "Run the same command to resume" in err
    assert err.count("anymask: error: ") == 1
    goes_on(words, run)


def test_a_folder_that_another_run_writes_is_refused(
    recipe: Path, tmp_path: Path, cli: CommandLine
) -> None:
    data, run = write_sets(tmp_path / "data"), tmp_path / "run"
    out = ["--data", str(data), "-o", str(run)]
    one = ["--data", str(data / "round"), "-o", str(run)]
    with claimed(run):
        for words in (
            ["train", str(recipe), *out],
            ["finetune", *one],
            ["distill", "--teacher", "nano", "--student", "nano", *out],
        ):
            assert f"'{run}' is in use by another run (process {os.getpid()} on " in (
                cli.refused(words)
            )
        assert [path.name for path in run.iterdir()] == [".lock"]
