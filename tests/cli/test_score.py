"""`anymask evaluate score` as a user meets it: figures counted by hand, and errors."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from anymask.cli.main import main
from anymask.evaluation import score_track
from anymask.masks import coco_to_rle
from tests.conftest import CommandLine
from tests.formats.published_folders import write_sav

HW = (60, 80)


def frame(*objects: tuple[int, tuple[int, int, int, int]]) -> np.ndarray:
    values = np.zeros(HW, np.uint8)
    for number, (x0, y0, x1, y1) in objects:
        values[y0:y1, x0:x1] = number
    return values


def save(folder: Path, frames: list[np.ndarray], first: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, values in enumerate(frames, start=first):
        Image.fromarray(values).save(folder / f"{index:05d}.png")


WHOLE, HALF = (10, 10, 30, 30), (10, 10, 30, 20)
SIDES = ("truth", "found")
NOISE = np.random.default_rng(0).integers(0, 256, (*HW, 3)).astype(np.uint8)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two videos: of one object that is half found in one frame, of two with one never found."""
    one = frame((1, WHOLE))
    save(tmp_path / "truth" / "bear", [one] * 4)
    save(tmp_path / "found" / "bear", [one, one, frame((1, HALF)), one])
    two = frame((1, WHOLE), (2, (50, 30, 70, 50)))
    two[0:5] = 255  # void
    save(tmp_path / "truth" / "dogs", [two] * 3)
    save(tmp_path / "found" / "dogs", [frame((1, WHOLE)), frame((1, WHOLE))])
    return tmp_path


def scored(*words: object) -> dict:
    *rest, out = words
    assert main(["evaluate", "score", *map(str, rest), "--json", str(out)]) == 0
    document: dict = json.loads(Path(str(out)).read_text(encoding="utf-8"))
    return document


def test_coco_results_are_scored_as_by_pycocotools(tmp_path: Path) -> None:
    """Random boxes of two classes, moved, some of them missing, and one of another image."""
    rng, truths, found = np.random.default_rng(0), [], []
    for number in range(40):
        x, y, dx = rng.integers(0, 40, 3).tolist()
        row = {"image_id": number // 8 + 1, "category_id": number % 2 + 1, "bbox": [x, y, 24, 18]}
        ring = np.array([x, y, x + 24, y, x + 24, y + 18, x, y + 18])
        about = {"id": number + 1, "area": 432, "iscrowd": 0, "segmentation": [ring.tolist()]}
        truths.append(row | about)
        (rle,) = coco_mask.frPyObjects([(ring + [dx // 3, 0] * 4).tolist()], *HW)
        rle["counts"] = rle["counts"].decode()
        found.append(row | {"segmentation": rle, "score": float(rng.random())})
    images = [{"id": n + 1, "height": 60, "width": 80, "file_name": f"{n}.jpg"} for n in range(5)]
    kinds = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    document = {"images": images, "annotations": truths, "categories": kinds}
    (tmp_path / "truth.json").write_text(json.dumps(document))
    (tmp_path / "own.json").write_text(json.dumps(found))
    plain = {"size": HW, "counts": coco_to_rle(found[0]["segmentation"]).counts.tolist()}
    loose = [{k: v for k, v in row.items() if k not in ("id", "iscrowd")} for row in truths]
    (tmp_path / "loose.json").write_text(json.dumps(document | {"annotations": loose}))
    odd = [found[0] | {"segmentation": plain, "image_id": "1"}, *found[1:]]
    wrapped = {"annotations": [*odd, found[0] | {"image_id": 99}]}
    (tmp_path / "found.json").write_text(json.dumps(wrapped))
    ours = scored("masks", tmp_path / "loose.json", tmp_path / "found.json", tmp_path / "s.json")
    known = COCO(str(tmp_path / "truth.json"))
    theirs = COCOeval(known, known.loadRes(str(tmp_path / "own.json")), "segm")
    for step in (theirs.evaluate, theirs.accumulate, theirs.summarize):
        step()
    expected = [None if value < 0 else value for value in theirs.stats.tolist()]
    assert [*ours["global"].values()] == expected
    assert 0 < expected[0] < expected[1] < 1


def test_frames_with_short_numbers_are_in_their_order(tmp_path: Path) -> None:
    one, none = frame((1, WHOLE)), frame()
    for side, last in (("truth", one), ("found", none)):  # the last frame does not count
        save(tmp_path / side / "bear", [one] * 11 + [last])
        for path in sorted((tmp_path / side / "bear").iterdir()):
            path.rename(path.with_name(f"{int(path.stem)}.png"))
    found = scored("video", tmp_path / "truth", tmp_path / "found", tmp_path / "s.json")
    assert found["videos"]["bear"]["J mean"] == 1


def test_videos_are_scored_globally_by_video_and_by_object(
    videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = scored("video", videos / "truth", videos / "found", videos / "out.json")
    bear, first, second = found["objects"]
    assert (bear["video"], bear["object"], bear["J"]) == ("bear", 1, [1, 0.5])
    assert (bear["J mean"], bear["J recall"], bear["J decay"]) == (0.75, 0.5, 0.5)
    assert (first["J&F"], second["J&F"], second["J recall"]) == (1, 0, 0)
    assert found["global"]["J mean"] == pytest.approx((0.75 + 1 + 0) / 3)
    assert found["videos"]["dogs"]["J mean"] == 0.5
    text = capsys.readouterr().out
    assert "| | J&F | J mean | J recall | J decay | F mean | F recall | F decay |" in text.replace(
        "|  |", "| |"
    )
    assert "| 3 objects |" in text
    assert "| dogs | 0.500 | 0.500 |" in text
    assert "| dogs | 2 | 0.000 | 0.000 |" in text


ONE, TWO = (10, 10, 30, 30), (50, 30, 70, 50)


@pytest.fixture
def proposals(tmp_path: Path) -> Path:
    """Two objects in five frames, and numbers that mean now one of them and now the other.

    Proposal 1 is the first object in three frames and the second in two, where proposal 7 is the
    first. In the other video the second object leaves, and nobody ever found it.
    """
    both = frame((1, ONE), (2, TWO))
    save(tmp_path / "truth" / "dance", [both] * 5)
    early, late = frame((1, ONE)), frame((1, TWO), (7, ONE))
    save(tmp_path / "found" / "dance", [early] * 3 + [late] * 2)
    save(tmp_path / "truth" / "leave", [both, both, frame((1, ONE)), frame((1, ONE))])
    save(tmp_path / "found" / "leave", [frame((1, ONE))] * 4)
    return tmp_path


def test_proposals_are_matched_so_that_the_whole_is_best(
    proposals: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """dance: 1 with the first and 7 with the second gives .6 + 0, the other way .4 + .4.

    leave: an object without a proposal is compared with empty masks, which are right once it left.
    """
    words = ["video", proposals / "truth", proposals / "found", "--rules", "unsupervised"]
    found = scored(*words, proposals / "out.json")
    first, second, stays, leaves = found["objects"]
    assert (first["found_by"], second["found_by"]) == (7, 1)
    assert first["J"] == first["F"] == second["J"] == second["F"] == [0, 0, 0, 1, 1]
    assert (first["J&F"], first["J recall"], second["J&F"]) == (0.4, 0.4, 0.4)
    assert (stays["found_by"], stays["J&F"]) == (1, 1)
    assert (leaves["found_by"], leaves["J"], leaves["F"]) == (None, [0, 0, 1, 1], [0, 0, 1, 1])
    assert found["global"]["J&F"] == pytest.approx((0.4 + 0.4 + 1 + 0.5) / 4)
    assert found["rules"] == "unsupervised"
    text = capsys.readouterr().out
    assert "| dance | 2 | 1 | 0.400 |" in text
    assert "| leave | 2 | nothing | 0.500 |" in text


def test_void_excuses_proposals_and_the_figures_are_those_of_tracks(proposals: Path) -> None:
    """What is drawn over void counts neither way; a half-found object scores as `score_track`."""
    half = (10, 10, 30, 20)
    truth = frame((1, ONE), (255, (35, 10, 45, 30)))
    save(proposals / "truth" / "void", [truth] * 3)
    drawn = [frame((20, half)), frame((20, ONE), (20, (35, 10, 45, 30))), frame((20, half))]
    save(proposals / "found" / "void", drawn)
    words = ["video", proposals / "truth", proposals / "found", "--rules", "unsupervised"]
    one = scored(*words, proposals / "out.json")["objects"][-1]
    assert (one["found_by"], one["J"]) == (20, [0.5, 1, 0.5])
    masks = [values == 20 for values in drawn]
    own = score_track(masks, [truth == 1] * 3, [truth == 255] * 3, skip_ends=False)
    assert one["F mean"] == pytest.approx(own.f.mean)
    assert one["F"][1] == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda found: (found / "bear/00002.png").unlink(),
            "bear/00002.png: The result for this frame is missing",
        ),
        (
            lambda found: save(found / "bear", [frame((3, WHOLE))], first=1),
            "bear/00001.png: The result has the object 3",
        ),
        (
            lambda found: save(found / "bear", [frame()[:5, :5]], first=1),
            "(H, W) = (5, 5), but the ground truth has (60, 80)",
        ),
        (
            lambda found: save(found / "bear", [NOISE], first=1),
            "00001.png is a color image, which has no label values",
        ),
        (
            lambda found: save(found / "bear", [frame((21, WHOLE))], first=1),
            "has the proposal 21, but at most 20 proposals",
        ),
        (lambda found: (found / "bear").rename(found / "beer"), "video bear: "),
        (
            lambda found: [save(found.parent / one / "short", [frame()] * 2) for one in SIDES],
            "video short: The video has only 2 annotated frames, and the first and the last",
        ),
    ],
)
def test_a_broken_result_is_one_sentence(
    videos: Path, damage, message: str, cli: CommandLine
) -> None:
    damage(videos / "found")
    words = ["evaluate", "score", "video", *(str(videos / side) for side in SIDES)]
    said = cli.refused([*words, *["--rules", "unsupervised"] * ("20 proposals" in message)])
    assert message in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["video", "nothing", "."], "'nothing' does not exist. Check the path"),
        (["volume", ".", ".", "--rules", "all-frames"], "apply only to videos"),
        (["video", ".", ".", "--rules", "loose"], "Use one of: davis, all-frames,"),
        (["sound", ".", "."], "Invalid choice 'sound'. Choose from: video, volume"),
    ],
)
def test_wrong_words_are_sentences(words: list[str], message: str, cli: CommandLine) -> None:
    assert message in cli.refused(["evaluate", "score", *words])


def test_objects_of_sa_v_are_compared_one_by_one(tmp_path: Path, cli: CommandLine) -> None:
    """The first object is found on both annotated frames, the second half the time: on the later
    one, where it is hidden, something is found."""
    write_sav(tmp_path)
    truth = tmp_path / "sav_val" / "Annotations_6fps" / "sav_000001"
    for path in truth.rglob("*.png"):
        out = tmp_path / "found" / "sav_000001" / path.relative_to(truth)
        out.parent.mkdir(parents=True, exist_ok=True)
        image = Image.open(path)
        if path.parent.name == "001" and path.stem == "00004":
            image = image.point(lambda _: 255)
        image.save(out)
    words = ["video", tmp_path, tmp_path / "found", "--split", "val", "--rules", "all-frames"]
    document = scored(*words, tmp_path / "a.json")
    assert [(one["object"], one["J"]) for one in document["objects"]] == [(0, [1, 1]), (1, [1, 0])]
    (tmp_path / "found" / "sav_000001" / "001" / "00004.png").unlink()
    assert "The result for this object is missing" in cli.refused(
        ["evaluate", "score", *map(str, words)]
    )
