"""`anymask evaluate` as a user meets it."""

import json
from pathlib import Path

import pytest

import anymask
from anymask.cli.main import main
from anymask.evaluation import FromFunction, evaluating
from tests.conftest import CommandLine
from tests.evaluation.small_sets import perfect, write_set

IMAGES = [[(2, 3, 20, 30), (40, 5, 60, 40)], [(0, 0, 64, 48)]]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sets, and a model that is always right."""
    monkeypatch.setattr(anymask, "load", lambda *_: perfect("model"), raising=False)
    monkeypatch.setenv("ANYMASK_HOME", str(tmp_path / "home"))
    for name in ("first", "second"):
        write_set(tmp_path / "data" / name, IMAGES)
    return tmp_path / "data"


def read(path: Path) -> dict:
    raw: dict = json.loads(path.read_text(encoding="utf-8"))
    return raw


def test_a_folder_of_sets_is_measured_and_printed(
    data: Path, tmp_path: Path, cli: CommandLine
) -> None:
    out = tmp_path / "out.json"
    words = ["--clicks", "2", "--measure", "noc", "--json", str(out)]
    page = tmp_path / "page.html"
    text = cli.out(["evaluate", str(data), *words, "--html", str(page)])
    assert page.read_text(encoding="utf-8").count("<h2>Worst cases of first</h2>") == 1
    assert text.startswith("| set | masks | 1 click | 2 clicks | box |\n")
    assert "| first | 3 | 1.000 | 1.000 | 1.000 |" in text
    assert "**all mean** | 2 sets" in text
    assert "| second | 3 | 1.00 | 1.00 |" in text
    raw = read(out)
    assert raw["data"] == "data"
    assert raw["settings"]["clicks"] == 2
    assert [row["name"] for row in raw["sets"]] == ["first", "second"]


def test_an_interrupted_run_goes_on_where_it_stopped(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.json"
    real, seen = evaluating.score_set, []

    def stop_at_second(methods: list[FromFunction], one: object, *rest: object, **more: object):
        seen.append(one.plan.name)
        if seen == ["first", "second"]:
            raise KeyboardInterrupt
        return real(methods, one, *rest, **more)

    monkeypatch.setattr(evaluating, "score_set", stop_at_second)
    words = ["evaluate", str(data), "--json", str(out), "--resume"]
    assert main(words) == 130
    assert [row["name"] for row in read(out)["sets"]] == ["first"]
    assert main(words) == 0
    assert seen == ["first", "second", "second"]
    assert [row["name"] for row in read(out)["sets"]] == ["first", "second"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resume"], "requires an output file"),
        (["--json", "x.csv", "--resume"], "Set --json FILE.json"),
        (["--model", "a", "--model", "b", "--weights", "w"], "use --model NAME=WEIGHTS"),
        (["--model", "a", "--model", "a"], "Duplicate model a"),
        (["--measure", "smell"], "Unknown measure 'smell' in measures"),
        (["--only"], "--only requires at least one"),
        (["--clicks", "0"], "clicks must be a whole number of at least 1, got 0"),
        (["--mirror"], "requires refine_edges"),
    ],
)
def test_wrong_options_are_sentences(
    data: Path, words: list[str], message: str, cli: CommandLine
) -> None:
    assert message in cli.refused(["evaluate", str(data), *words])


def test_a_file_of_other_settings_is_not_resumed(
    data: Path, tmp_path: Path, cli: CommandLine
) -> None:
    out = str(tmp_path / "out.json")
    assert main(["evaluate", str(data), "--json", out]) == 0
    assert "its settings is" in cli.refused(
        ["evaluate", str(data), "--json", out, "--resume", "--clicks", "2"]
    )


def test_models_stand_in_one_table(data: Path, tmp_path: Path, cli: CommandLine) -> None:
    out = tmp_path / "out.json"
    words = ["evaluate", str(data / "first"), "--model", "model", "--model", "model=other.onnx"]
    header, _, row, *_ = cli.out([*words, "--json", str(out)]).splitlines()
    assert header.startswith("| set | masks | 1 click | 3 clicks | box | model=other.onnx: 1 click")
    assert row == "| first | 3 | 1.000 | 1.000 | 1.000 | 1.000 | 1.000 | 1.000 |"
    assert [peer["name"] for peer in read(out)["peers"]] == ["model=other.onnx"]


def test_more_can_be_measured_or_nothing_else(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    words = ["evaluate", str(data / "first"), "--json", str(out), "--measure", "boundary"]
    assert main(words) == 0
    assert read(out)["sets"][0]["measures"] == ["clicks", "box", "boundary"]
    assert main([*words, "--only"]) == 0
    assert [c["measure"] for c in read(out)["sets"][0]["columns"]] == [
        "boundary 1 click",
        "boundary box",
    ]
    assert main([*words, "--resume"]) == 0  # the file has less than is asked for
    assert read(out)["sets"][0]["measures"] == ["clicks", "box", "boundary"]
    assert "boundary: mean boundary IoU" in capsys.readouterr().out
