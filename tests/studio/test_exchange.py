"""A project's masks leave and come in, are planned for, and train a model."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import InputError
from anymask.formats import AnnotatedImage, Policy, read_annotations, write_annotations
from anymask.masks import Mask, Masks, Origin, mask_to_rle, rle_iou
from anymask.runtime import entry
from anymask.segment import Model
from anymask.studio import create_project
from anymask.studio.exchange import ImportedMasks, annotated_images, import_masks
from anymask.studio.project import Project
from anymask.studio.records import Provenance
from anymask.studio.retraining import MIN_HELD, Trained, is_held_out, paired_gain, retrain
from tests.studio.disc_projects import label, write_images


def test_what_an_import_leaves_out_is_told(
    project: Project, truth: dict[str, AnnotatedImage], tmp_path: Path
) -> None:
    """A crowd, and a point; a photo is found by the name that it had before Label Studio."""
    image = truth["1.png"]
    other = truth["2.png"]
    crowd = replace(other.masks[0], crowd=True)
    beside = replace(other, masks=(crowd, *other.masks[1:]))
    write_annotations([beside], tmp_path / "crowd.json", "coco")
    taken = import_masks(project, tmp_path / "crowd.json", None, who="ann")
    assert taken.unread == (
        "Not kept: crowds (1 time), first: 2.png: 1 crowd masks were not imported, because a "
        "crowd is not one object",
    )
    uploaded = replace(image, file_name="0a1b2c3d-1.png")
    write_annotations([uploaded], tmp_path / "tasks.json", "label-studio")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    tasks[0]["predictions"][0]["result"].append({"type": "keypointlabels", "value": {}})
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    taken = import_masks(project, tmp_path / "tasks.json", None, who="ann")
    assert (taken.new, taken.strange, len(taken.unread)) == (len(image.masks), 0, 1)
    assert "Skipped 1 record (regions of type 'keypointlabels'" in taken.unread[0]


def test_small_masks_that_come_back_as_outlines_are_noticed(
    project: Project, tmp_path: Path
) -> None:
    """An outline may move by half a pixel; another object is another mask."""
    photo = project.store.image(1)
    rows, columns = np.ogrid[: photo.hw[0], : photo.hw[1]]
    pixels = (columns - 40) ** 2 + (rows - 40) ** 2 <= 64
    small = Mask(mask_to_rle(pixels), label="leaf")
    beside = Mask(mask_to_rle(np.roll(pixels, 2, axis=1)), label="leaf")
    image = AnnotatedImage(file_name=photo.name, hw=photo.hw, masks=(small,))
    write_annotations([image], tmp_path / "in.json", "coco")
    write_annotations([image], tmp_path / "set", "yolo", Policy(tolerance=0.5))
    (back,), _ = read_annotations(tmp_path / "set", "yolo", project.folder)
    assert 0.9 < rle_iou([small.rle], [back.masks[0].rle])[0, 0] < 0.99
    assert import_masks(project, tmp_path / "in.json", None, who="ann") == ImportedMasks(1, 0, 0)
    assert import_masks(project, tmp_path / "set", "yolo", who="ann") == ImportedMasks(0, 1, 0)
    write_annotations([replace(image, masks=(beside,))], tmp_path / "two.json", "coco")
    assert import_masks(project, tmp_path / "two.json", None, who="ann") == ImportedMasks(1, 0, 0)


def test_proposals_and_imports_do_not_double_things(project: Project, tmp_path: Path) -> None:
    """Squares that share 80 % of their columns have an IoU of two thirds, 90 % one of .82."""
    photo = project.store.image(1)

    def square(left: int, label: str | None = None) -> Mask:
        pixels = np.zeros(photo.hw, bool)
        pixels[10:30, left : left + 20] = True
        return Mask(mask_to_rle(pixels), label=label)

    def take(*masks: Mask, proposals: bool = False) -> tuple[int, int, int]:
        image = AnnotatedImage(file_name=photo.name, hw=photo.hw, masks=masks)
        write_annotations([image], tmp_path / "in.json", "coco")
        taken = import_masks(project, tmp_path / "in.json", "coco", who="ann", proposals=proposals)
        return taken.new, taken.same, taken.doubled

    assert take(square(10), square(50), proposals=True) == (2, 0, 0)
    assert take(square(12), square(54), proposals=True) == (1, 1, 0)
    assert take(square(10, "cell"), proposals=True) == (1, 0, 1)  # what had no name has one
    assert take(square(12, "cell"), proposals=True) == (0, 1, 0)
    assert take(square(12, "cell")) == (1, 0, 1)
    assert take(square(11, "other"), proposals=True) == (0, 1, 0)
    states = Counter(entry.state for entry in project.store.records(1))
    assert states == {"rejected": 2, "accepted": 1, "proposed": 2}


def test_an_import_changes_no_photo_but_those_that_get_masks(
    project: Project, truth: dict[str, AnnotatedImage], tmp_path: Path
) -> None:
    project.store.mark_image(1, "done", "ann")
    bare = replace(truth["2.png"], masks=())
    images = [truth["0.png"], truth["1.png"], bare, replace(bare, file_name="elsewhere.png")]
    write_annotations(images, tmp_path / "in.json", "coco")
    assert import_masks(project, tmp_path / "in.json", None, who="ann") == ImportedMasks(6, 0, 1)
    status = [image.status for image in project.store.all_images()]
    assert status == ["done", "proposed", "new", "new"]


# Rounds.


@pytest.mark.parametrize(("images", "enough"), [(7, False), (21, True)])
def test_a_better_model_leads_and_a_worse_one_does_not(
    project: Project, model: Model, truth: dict[str, AnnotatedImage], images: int, enough: bool
) -> None:
    truth |= write_images(project.folder, count=images)
    project.add_folder()
    held = [name for name in truth if is_held_out(name, 0.2)]
    assert (len(held) >= MIN_HELD) is enough
    label(project, truth)
    scores = {"nano": 0.5}
    asked: list[Path | None] = []

    def train(sets: Path, start: Path | None, folder: Path) -> Trained:
        asked.append(start)
        lines = (sets / "accepted" / "masks.jsonl").read_text("utf-8").splitlines()
        names = {Path(json.loads(line)["image"]).name for line in lines}
        assert names == set(truth) - set(held)
        assert all((sets / "accepted" / "images" / name).is_file() for name in names)
        (folder / "bundle").mkdir()
        (folder / "last.pt").write_bytes(b"")
        return Trained(folder / "bundle", folder / "last.pt")

    def judge(place: str, other_images: object) -> np.ndarray:
        number = Path(place).parent.name
        return np.full(len(held), scores.get(place, 0.6 if number == "1" else 0.55))

    first = retrain(project, train, judge, lambda place: model)
    assert (first.promoted, first.before, first.after) == (enough, 0.5, pytest.approx(0.6))
    if not enough:
        assert project.current_model() == "nano"
        return
    assert project.current_model().endswith("rounds/1/bundle")
    second = retrain(project, train, judge, lambda place: model)
    assert (second.promoted, second.gain) == (False, pytest.approx(-0.05))
    assert project.current_model().endswith("rounds/1/bundle")
    assert [row["round"] for row in project.rounds()] == [1, 2]
    assert asked[0] is None
    assert asked[1] == project.inside / "rounds" / "1" / "last.pt"


def test_the_gain_is_of_the_same_photos() -> None:
    rng = np.random.default_rng(0)
    old = rng.random(50)  # photos differ far more than the models do
    gain, low, high = paired_gain(old, old + 0.02)
    assert (gain, low, high) == (pytest.approx(0.02),) * 3
    _, low, high = paired_gain(old, old + rng.normal(0, 0.05, 50))
    assert low < 0 < high


def test_too_few_masks_train_nothing(project: Project) -> None:
    with pytest.raises(InputError, match="requires 10 accepted masks.*has 0"):
        retrain(project, None, None, None)  # type: ignore[arg-type]


def test_the_model_behind_a_mask_goes_in_and_out_of_a_project(tmp_path: Path) -> None:
    origin = Origin(
        "mine", "ab" * 32, "Apache-2.0; and the licence of your data: CC-BY-4.0", "my photos"
    )
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "a.png")
    project = create_project(tmp_path)
    mask = np.zeros((40, 60), bool)
    mask[5:20, 5:30] = True
    masks = Masks([Mask(mask_to_rle(mask), "cup", score=0.9, origin=origin)])
    image = AnnotatedImage(file_name="a.png", hw=(40, 60), masks=masks)
    write_annotations([image], tmp_path / "in.json", "coco")
    assert import_masks(project, tmp_path / "in.json", None, who="ann").new == 1
    (kept,) = project.store.records(1)
    assert kept.provenance.licence == origin.licence
    assert kept.provenance.origin() == origin
    (back,) = annotated_images(project)
    assert back.masks[0].origin == origin
    published = entry("sam_vit_b")
    by_hand = Provenance(kind="human", model="sam_vit_b", model_hash=published.sha256)
    assert by_hand.origin() == Origin(
        "sam_vit_b", published.sha256 or "", "Apache-2.0", published.data
    )
    assert Provenance().origin() is None
