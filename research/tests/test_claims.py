"""The experiment on findings of the paper: its plan, its images, its verdicts, its record."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anymask import models
from anymask.evaluation.protocols import Goal, TruthMask, click_rounds
from anymask.formats import AnnotatedImage, load_set
from anymask.masks import Mask, Masks, Prompt, mask_to_rle
from anymask.training.loop import TrainingWorker
from anymask.training.samples import Batch
from research.claims.__main__ import main, steps_for
from research.claims.arms import ARMS, FINDINGS, ONE_OUTPUT, SIDE, Arm, Finding
from research.claims.pools import DENSE, PoolSizes, make_pools, write_rows
from research.claims.runs import (
    RECORD,
    Finished,
    Interrupted,
    SquareSegmenter,
    add_run,
    finished_runs,
    planned,
)
from research.claims.table import Difference, paired, verdict, write_table
from research.paper.__main__ import main as paper
from tests.evaluation.small_sets import write_set
from tests.training.small_data import write_sets

BACKBONE = Path(__file__).parents[3] / "shared" / "data" / "backbone"


def finished(arm: str, seed: int, first: list[float], images: list[int] | None = None) -> Finished:
    """A run with these IoUs of one click; the second click reaches 0.95 if the first is above 0."""
    ious = [[one, 0.95 if one else 0.1] for one in first]
    return Finished(
        arm=arm, seed=seed, steps=5, images=images or list(range(len(first))), ious=ious,
        oracle=first, seconds=1.0,
    )  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """`train` with crowded images, `eval` with one set."""
    # A set of images with nine squares each.
    folder = tmp_path / "train" / "crowds"
    rng = np.random.default_rng(5)
    (folder / "images").mkdir(parents=True)
    images = []
    for number in range(10):
        path = folder / "images" / f"{number}.png"
        Image.fromarray(rng.integers(0, 255, (80, 80, 3), dtype=np.uint8)).save(path)
        masks = []
        for place in range(9):
            mask = np.zeros((80, 80), np.bool_)
            y, x = 4 + 25 * (place // 3), 4 + 25 * (place % 3)
            mask[y : y + 16, x : x + 16] = True
            masks.append(Mask(mask_to_rle(mask)))
        images.append(AnnotatedImage(file_name=path.name, hw=(80, 80), masks=Masks(masks)))
    write_rows(folder, images)
    write_sets(tmp_path / "train")
    write_set(tmp_path / "eval" / "coco_val", [[(4, 4, 40, 40), (20, 20, 60, 60), (0, 0, 50, 9)]])
    return tmp_path


# The plan.


def test_the_two_arms_of_a_finding_differ_in_one_thing() -> None:
    changed = {
        "size": {"model"}, "data": {"pool"}, "diversity": {"pool"}, "outputs": {"outputs"},
        "pretraining": {"start"}, "new": {"pool", "composed"}, "rounds": {"rounds", "same_time"},
    }  # fmt: skip
    assert changed.keys() == FINDINGS.keys()
    for name, finding in FINDINGS.items():
        better, worse = (ARMS[one] for one in finding.arms)
        differing = {key for key in vars(better) if getattr(better, key) != getattr(worse, key)}
        assert differing == changed[name]
    assert {arm for one in FINDINGS.values() for arm in one.arms} == set(ARMS)


def test_seeds_come_one_after_the_other() -> None:
    assert list(planned({"a": 1, "b": 1}, 2)) == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def test_all_runs_together_take_the_budget() -> None:
    seconds = {"base": 0.5, "large": 1.0, "mae": 0.5, "many_rounds": 2.0}
    steps = steps_for(seconds, 300.0)
    assert steps == {"base": 100, "large": 100, "mae": 100, "many_rounds": 25}
    spent = sum(steps[name] * each for name, each in seconds.items()) + 100 * seconds["mae"]
    assert spent == pytest.approx(300.0)


def test_one_output_is_used_for_all_prompts() -> None:
    assert Arm(outputs=1).roles == ONE_OUTPUT
    assert ONE_OUTPUT.clear == ONE_OUTPUT.ambiguous == (0,)


# The images.


def test_many_images_and_many_masks_have_the_same_number_of_masks(data: Path) -> None:
    make_pools(data / "train", data / "eval", data / "pools", PoolSizes())
    pools = {name: load_set(data / "pools" / name)[1]
             for name in ("all", "tenth", "many_images", "many_masks", "test")}  # fmt: skip
    assert len(pools["all"]) == 16
    assert len(pools["tenth"]) == 1
    assert {one.file_name for one in pools["tenth"]} <= {one.file_name for one in pools["all"]}
    assert [len(one.objects) for one in pools["many_masks"]] == [DENSE]
    assert [len(one.objects) for one in pools["many_images"]] == [1] * DENSE
    assert [len(one.objects) for one in pools["test"]] == [2]
    for images in pools.values():
        for one in images:
            assert one.image().shape[:2] == one.hw
            assert max(one.hw) <= (SIDE if images is pools["test"] else 192)
    before = (data / "pools" / "all" / "masks.jsonl").stat().st_mtime_ns
    make_pools(data / "train", data / "eval", data / "pools", PoolSizes())
    assert (data / "pools" / "all" / "masks.jsonl").stat().st_mtime_ns == before


# The differences.


def test_a_difference_is_the_mean_over_images_and_seeds_that_both_arms_have() -> None:
    runs = [
        finished("a", 0, [0.9, 0.5, 0.1], [0, 0, 4]), finished("b", 0, [0.5, 0.5, 0.2], [0, 0, 4]),
        finished("a", 1, [0.4, 0.4, 0.4], [0, 0, 4]), finished("b", 1, [0.2, 0.4, 0.4], [0, 0, 4]),
        finished("a", 2, [0.0, 0.0, 0.0], [0, 0, 4]),
    ]  # fmt: skip
    found = paired(runs, "a", "b", "first")
    assert found.seeds == 2
    assert found.value == pytest.approx(((0.2 - 0.1) / 2 + (0.1 + 0.0) / 2) / 2)
    assert found.low <= found.value <= found.high
    assert found.low >= -0.1
    assert found.high <= 0.2
    assert paired(runs, "a", "c", "first").seeds == 0


def test_a_constant_gain_has_an_interval_without_width_and_noise_contains_zero() -> None:
    rng = np.random.default_rng(0)
    first = rng.uniform(0.2, 0.6, 60).round(3).tolist()
    same = [finished("a", n, [one + 0.1 for one in first]) for n in range(3)]
    same += [finished("b", n, first) for n in range(3)]
    found = paired(same, "a", "b", "first")
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    noise = [finished(arm, n, rng.uniform(0, 1, 60).tolist()) for arm in "ab" for n in range(3)]
    chance = paired(noise, "a", "b", "first")
    assert chance.low < 0 < chance.high


def test_clicks_count_to_the_goal_and_end_at_the_last() -> None:
    run = finished("a", 0, [0.95, 0.5, 0.0])
    assert run.values["clicks"].tolist() == [1, 2, 2]
    assert run.values["third"].tolist() == [0.95, 0.95, 0.1]


@pytest.mark.parametrize(
    ("metric", "margin", "low", "high", "seeds", "told"),
    [
        ("first", 0.0, 0.01, 0.03, 3, "confirmed"),
        ("first", 0.0, -0.03, -0.01, 3, "reversed"),
        ("first", 0.0, -0.01, 0.01, 3, "undecided"),
        ("first", 0.0, 0.01, 0.03, 1, "not measured"),
        ("clicks", 0.0, -2.0, -1.0, 3, "confirmed"),
        ("clicks", 0.0, 1.0, 2.0, 3, "reversed"),
        ("first", 0.02, -0.05, 0.01, 3, "confirmed"),
        ("first", 0.02, 0.03, 0.05, 3, "reversed"),
        ("first", 0.02, 0.01, 0.05, 3, "undecided"),
    ],
)
def test_a_verdict_follows_from_the_interval(
    metric: str, margin: float, low: float, high: float, seeds: int, told: str
) -> None:
    finding = Finding(text="", better="a", worse="b", metric=metric, margin=margin)  # type: ignore[arg-type]
    assert verdict(finding, Difference((low + high) / 2, low, high, seeds)) == told


def test_the_table_names_what_was_not_measured() -> None:
    runs = [finished(arm, n, [0.5, 0.4]) for arm in ("base", "large") for n in range(2)]
    text = write_table(runs)
    assert "| A larger model is better | `large` - `base` |" in text
    assert text.count("not measured") == len(FINDINGS) - 1
    assert write_table([]).count("not measured") == len(FINDINGS)
    assert "| `base` | 2 | 5 | 0.450 | 0.450 | 0.950 | 2.00 |" in text


# The record.


def test_a_line_that_a_killed_process_left_unfinished_is_skipped(tmp_path: Path) -> None:
    one, two = finished("base", 0, [0.5]), finished("base", 1, [0.6])
    add_run(tmp_path, one)
    with (tmp_path / RECORD).open("a") as file:
        file.write('{"arm": "ba')
    assert finished_runs(tmp_path) == [one]
    add_run(tmp_path, two)
    assert finished_runs(tmp_path) == [one, two]


# The evaluation.


class Drawn(torch.nn.Module):
    """A model whose outputs are fixed bands of 16 to 64 rows; a click does not matter."""

    spec = models.spec("nano_tiny")

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        assert images.shape == (1, 3, SIDE, SIDE)
        return (images,)

    def decode(
        self, features: object, coords: torch.Tensor, *_: object
    ) -> tuple[torch.Tensor, ...]:
        logits = torch.full((len(coords), 4, SIDE // 4, SIDE // 4), -9.0)
        for token in range(4):
            logits[:, token, : 4 * (token + 1)] = 9.0
        return logits, torch.tensor([[0.9, 0.1, 0.5, 0.3]]).expand(len(coords), -1)


def test_one_click_gets_three_candidates_by_quality_and_more_clicks_the_clear_output() -> None:
    model = SquareSegmenter(Drawn(), ARMS["base"].roles)
    embedding = model.encode(np.zeros((100, 80, 3), np.uint8))
    (one,) = model.segment(embedding, prompts=[Prompt.of(points=[(3, 3)])])
    assert one.masks.shape == (3, 100, 80)
    assert [int(mask.sum()) for mask in one.masks] == [48 * 80, 64 * 80, 32 * 80]
    (two,) = model.segment(
        embedding, prompts=[Prompt.of(points=[(3, 3), (5, 5)], labels=[1, 0])], previous=[one]
    )
    assert [int(mask.sum()) for mask in two.masks] == [16 * 80]
    single = SquareSegmenter(Drawn(), ONE_OUTPUT)
    (only,) = single.segment(embedding, prompts=[Prompt.of(points=[(3, 3)])])
    assert [int(mask.sum()) for mask in only.masks] == [16 * 80]
    truth = np.zeros((100, 80), np.bool_)
    truth[:64] = True
    scores = click_rounds(model, embedding, [TruthMask(truth)], 2, Goal(0.9))
    assert scores.oracle.tolist() == [1.0]
    assert scores.ious.tolist() == [[48 / 64, 16 / 64]]


# The command.


def test_the_command_resumes_and_writes_the_table(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if not BACKBONE.is_dir():
        pytest.skip("needs ../shared/data/backbone")
    (data / "backbone").symlink_to(BACKBONE)
    words = ["claims", "-o", str(tmp_path / "out"), "--data", str(data), "--quick",
             "--only", "rounds"]  # fmt: skip
    assert paper(words) == 0
    lines = (tmp_path / "out" / RECORD).read_text().splitlines()
    assert [(json.loads(one)["arm"], json.loads(one)["seed"]) for one in lines] == [
        ("base", 0), ("many_rounds", 0), ("base", 1), ("many_rounds", 1),
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "pools", RECORD, "settings.json",
    ]  # fmt: skip
    (tmp_path / "out" / RECORD).write_text("\n".join(lines[:3]) + "\n")
    capsys.readouterr()
    assert paper(words) == 0
    out = capsys.readouterr().out
    assert out.count(" seed ") == 1
    assert (tmp_path / "out" / RECORD).read_text().splitlines()[:3] == lines[:3]
    again, before = (json.loads((tmp_path / "out" / RECORD).read_text().splitlines()[3]),
                     json.loads(lines[3]))  # fmt: skip
    assert again["steps"] == before["steps"]
    np.testing.assert_allclose(again["ious"], before["ious"], atol=0.05)
    card = tmp_path / "card.md"
    card.write_text("# A\n\n<!-- claims -->\n\nold\n\n<!-- /claims -->\n")
    assert main(["-o", str(tmp_path / "out"), "--table", "--card", str(card)]) == 0
    assert "Eight rounds of prompts" in card.read_text()
    assert "old" not in card.read_text()
    assert main([*words[1:-1], "size"]) == 2
    assert "has no steps for large" in capsys.readouterr().err


def test_a_run_that_a_signal_stops_is_not_recorded(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from research.claims import runs

    make_pools(data / "train", data / "eval", tmp_path / "pools", PoolSizes())
    place = runs.Place(folder=tmp_path, backbone=tmp_path)
    begin = TrainingWorker.learn

    def stop(worker: TrainingWorker, batch: Batch) -> None:
        begin(worker, batch)
        worker.stopping = True

    monkeypatch.setattr(TrainingWorker, "learn", stop)
    with pytest.raises(Interrupted, match="resume"):
        runs.run_arm("random", 0, 3, place)
    learned: list[Batch] = []

    def count(worker: TrainingWorker, batch: Batch) -> None:
        learned.append(batch)
        begin(worker, batch)

    monkeypatch.setattr(TrainingWorker, "learn", count)
    resumed = runs.run_arm("random", 0, 3, place)
    assert len(learned) == 2
    whole = runs.run_arm("random", 0, 3, place)
    for one, other in zip(learned[:2], learned[3:], strict=True):
        assert torch.equal(one.targets, other.targets)
    assert resumed.steps == whole.steps == 3
    np.testing.assert_allclose(resumed.ious, whole.ious, atol=0.05)
