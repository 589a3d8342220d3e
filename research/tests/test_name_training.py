"""Names are learned from close-ups: gathered, looked at once, trained, resumed, judged."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from anymask.base import DataError, UintImage
from anymask.formats import load_set
from anymask.masks import Mask, mask_to_rle
from anymask.models.rules import close_up
from anymask.models.rules.crops import SIDE
from anymask.runtime import ASSETS, read_checkpoint
from research.nano.name_judgement import area_under_curve, judge_names
from research.nano.name_maps import (
    BACKBONE,
    MAPS,
    VIEWS,
    MapStore,
    NameBatch,
    chosen_rows,
    store_maps,
)
from research.nano.name_samples import (
    PHOTOS,
    ROWS,
    WIDE,
    CloseUpRow,
    CloseUpStore,
    gather_close_ups,
)
from research.nano.name_training import (
    CHECKPOINT,
    NameRecipe,
    smoothed_loss,
    train_names,
)
from research.nano.name_words import NameWords, read_name_words
from research.nano.proposals import UNSEEN, judge_proposals
from tests.training.small_data import write_sets

LABELS = {"round": "pig", "square": "dog"}


def write_texts(folder: Path) -> Path:
    """Two names of COCO; of LVIS one that is COCO's by another name, and one of its own."""
    folder.mkdir()
    rng = np.random.default_rng(2)
    named = [("motor_vehicle", ["car_(automobile)"]), ("hog", ["pig"])]
    lvis = [{"name": name, "synonyms": others} for name, others in named]
    for which, names in (("coco", ["dog", "car"]), ("lvis", lvis)):
        (folder / f"{which}_names.json").write_text(json.dumps(names))
        rows = rng.normal(0, 1, (len(names), 8)).astype(np.float16)
        np.save(folder / f"{which}_clip_vitb32_text.npy", rows)
    return folder


def write_labelled_sets(folder: Path) -> Path:
    """The two small sets, with labels."""
    for path in write_sets(folder).glob("*/masks.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            row["masks"][0]["label"] = LABELS[path.parent.name]
        path.write_text("\n".join(map(json.dumps, rows)))
    return folder


def propose(image: UintImage) -> list[Mask]:
    """The bright shape, and a strip that nobody drew."""
    bright = image.mean(axis=2) > 125
    strip = np.zeros_like(bright)
    strip[-6:] = True
    return [Mask(mask_to_rle(mask), score=0.8) for mask in (bright, strip)]


def shipped_backbone() -> dict[str, torch.Tensor]:
    """What `nano`'s encoder begins with: a backbone that sees something."""
    weights, begin = read_checkpoint(ASSETS / "nano" / "weights.safetensors"), "encoder.backbone."
    return {
        name.removeprefix(begin): tensor.float()
        for name, tensor in weights.items()
        if name.startswith(begin)
    }


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> NameWords:
    return read_name_words(write_texts(tmp_path_factory.mktemp("text") / "text"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled_sets(tmp_path_factory.mktemp("data") / "sets")


@pytest.fixture(scope="module")
def gathered(data: Path, words: NameWords, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names") / "close-ups"
    gather_close_ups(data, folder, words, propose, 4)
    torch.save(shipped_backbone(), folder / BACKBONE)
    store_maps(folder, None)
    return folder


def test_names_of_two_lists_become_one(words: NameWords) -> None:
    assert words.words[:3] == ("dog", "car", "hog")
    assert len(set(words.words)) == len(words.words) == len(words.texts)
    assert words.place("Pig") == words.place("standing_pig") == 2
    assert words.place("motor_vehicle") == 1  # LVIS's word for COCO's car
    assert words.place("no such thing") is None is words.place(None)
    own = words.place("window")
    assert own is not None
    assert not words.texts[own].any()


def test_masks_that_people_drew_and_proposals_are_stored(gathered: Path, data: Path) -> None:
    store = CloseUpStore(gathered)
    drawn = [row for row in store.rows if row.judged is None]
    asked = [row for row in store.rows if row.judged is not None]
    assert [row.name for row in drawn] == [2] * 3 + [0] * 3
    assert len(asked) == 2 * 4
    assert {row.judged for row in asked} == {0, 1}
    assert all(row.name is not None for row in asked if row.judged)
    assert all(row.counts == UNSEEN for row in asked if not row.judged)
    sample = next(
        one for one in load_set(data / "round")[1] if f"round/{one.file_name}" == drawn[0].photo
    )
    seen = close_up(sample.image(), sample.rles[0])
    middle = store.close_up(0, None)  # the wide one has the same scale
    assert middle.photo.shape == seen.photo.shape == (SIDE, SIDE, 3)
    assert np.abs(middle.mask.astype(int) - seen.mask).mean() < 12
    assert np.abs(middle.photo.astype(int) - seen.photo).mean() < 25  # noise, cut a little apart
    moved = store.close_up(0, np.random.default_rng(1))
    assert moved.photo.shape == seen.photo.shape
    assert not np.array_equal(moved.photo, seen.photo)


def test_a_broken_off_gathering_goes_on_to_the_same(
    gathered: Path, data: Path, words: NameWords, tmp_path: Path
) -> None:
    calls = []

    def fail(image: UintImage) -> list[Mask]:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return propose(image)

    folder = tmp_path / "close-ups"
    with pytest.raises(KeyboardInterrupt):
        gather_close_ups(data, folder, words, fail, 4)
    with (folder / PHOTOS).open("ab") as file:
        file.write(b"half a close-up")
    gather_close_ups(data, folder, words, propose, 4)
    for name in (ROWS, PHOTOS):
        assert (folder / name).read_bytes() == (gathered / name).read_bytes()


def test_what_touches_nothing_counts_for_less(data: Path) -> None:
    sample = load_set(data / "square")[1][0]
    far = np.zeros(sample.hw, np.bool_)
    far[-4:, -4:] = True
    rles = [sample.rles[0], mask_to_rle(far)]
    ious, counts = judge_proposals(rles, sample, complete=False)
    assert ious.tolist() == [[1.0], [0.0]]
    assert counts.tolist() == [1.0, UNSEEN]
    assert judge_proposals(rles, sample, complete=True)[1].tolist() == [1.0, 1.0]


def test_maps_are_the_networks_and_go_on_where_they_stopped(
    gathered: Path, words: NameWords
) -> None:
    before = (gathered / MAPS).read_bytes()
    with (gathered / MAPS).open("r+b") as file:
        file.truncate(len(before) // 2)
    store_maps(gathered, None)
    assert (gathered / MAPS).read_bytes()[: len(before) // 2] == before[: len(before) // 2]
    store = MapStore(gathered)
    assert len(store.rows) == len(store.maps) == len(CloseUpStore(gathered).rows)
    batch = NameBatch.of(store, [0, 5], None)
    assert batch.maps.shape == (2, 96, 8, 8)
    assert batch.mask.shape == (2, 1, SIDE, SIDE)
    assert VIEWS == 2
    assert batch.names.tolist() == [2, 0]
    assert batch.judged.tolist() == [-1, -1]


def test_a_frequent_name_gives_only_some_of_its_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("research.nano.name_maps.MOST_OF_NAME", 2)
    rows = [CloseUpRow(number=n, kind="a", photo="p", name=0) for n in range(5)]
    rows.insert(1, CloseUpRow(number=9, kind="a", photo="p", judged=0))
    rows.append(CloseUpRow(number=9, kind="b", photo="p", name=0))  # of another set
    assert chosen_rows(rows) == [0, 2, 6, 1]


def test_a_stopped_run_goes_on_and_learns(gathered: Path, words: NameWords, tmp_path: Path) -> None:
    store = MapStore(gathered)
    store.rows = [CloseUpRow(**{**vars(row), "photo": "kept"}) for row in store.rows]
    assert not store.rows[0].held_out  # else: another word
    now, told = [0.0], list[float]()

    def clock() -> float:
        now[0] += 0.5
        if now[0] == 20.0:
            os.kill(os.getpid(), signal.SIGTERM)
        return now[0]

    recipe = NameRecipe(minutes=1.0, pictures=8)
    _, done = train_names(store, words, tmp_path, recipe, lambda row: None, clock)
    assert not done
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert 0 < state["about"]["minutes"] < 1
    network, done = train_names(
        store, words, tmp_path, recipe, lambda row: told.append(row["step"]), clock
    )
    assert done
    assert told
    assert told[0] > state["about"]["steps"]
    batch = NameBatch.of(store, range(len(store.rows)), None)
    with torch.no_grad():
        vectors, logits = network.namer.back(batch.maps, batch.mask)
        names = torch.where(network.learned, network.vectors.logits(vectors), -torch.inf)
    named = batch.names >= 0
    assert (names[named].argmax(1) == batch.names[named]).float().mean() > 0.8
    asked = batch.judged >= 0
    assert ((logits[asked] > 0).long() == batch.judged[asked]).float().mean() > 0.8


def test_held_out_rows_are_judged(
    gathered: Path, words: NameWords, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MapStore(gathered)
    network, _ = train_names(store, words, tmp_path, NameRecipe(minutes=0.0), lambda row: None)
    monkeypatch.setattr(CloseUpRow, "held_out", property(lambda row: True))
    found = judge_names(network, store)
    assert set(found.figures) >= {
        "area under the curve, quality",
        "area under the curve, the logit",
    }


def test_a_smooth_loss_is_the_cross_entropy_of_what_is_possible() -> None:
    logits = torch.tensor([[1.0, 0.0, -torch.inf]])
    likely = torch.log_softmax(logits[:, :2], dim=1)
    wanted = -(0.95 * likely[0, 1] + 0.05 * likely.mean())
    assert torch.allclose(smoothed_loss(logits, torch.tensor([1])), wanted)


def test_the_area_under_a_curve_counts_pairs() -> None:
    score, labels = np.array([0.9, 0.5, 0.4, 0.1]), np.array([1.0, 0.0, 1.0, 0.0])
    assert area_under_curve(score, labels, np.ones(4)) == pytest.approx(3 / 4)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="wanted a folder of close-ups"):
        CloseUpStore(tmp_path)
    with pytest.raises(DataError, match="give the folder that holds them with --text"):
        read_name_words(tmp_path)
    assert WIDE > SIDE
