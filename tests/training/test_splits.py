"""Training and validation splits: the test split is never trained on."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import InputError
from anymask.formats import convert, read
from anymask.training import finetuning
from anymask.training.options import TuningOptions
from anymask.training.samples import training_sets
from anymask.training.tuning_data import own_names
from tests.training.small_data import small_recipe

NAMES = {"train": ["a", "b", "c"], "val": ["d", "e"], "test": ["f"]}
LINE = "0 0.2 0.2 0.6 0.2 0.6 0.6 0.2 0.6\n"
PLACES = {  # image and label; the folder `val` is `valid` in Roboflow's
    "ultralytics": ("images/{0}/{1}.png", "labels/{0}/{1}.txt"),
    "roboflow": ("{0}/images/{1}.png", "{0}/labels/{1}.txt"),
    "lists": ("images/{1}.png", "labels/{1}.txt"),
}
YAML = {
    "ultralytics": "path: ../sets/x\ntrain: images/train\nval: images/val\ntest: images/test\n",
    "roboflow": "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n",
    "lists": "train: train.txt\nval: [val.txt]\ntest: test.txt\n",
}


def yolo(root: Path, layout: str) -> Path:
    """A set in one of the layouts of `PLACES`."""
    root.mkdir(parents=True)
    for split, names in NAMES.items():
        folder = "valid" if (layout, split) == ("roboflow", "val") else split
        for name in names:
            image, label = (root / one.format(folder, name) for one in PLACES[layout])
            for path in (image, label):
                path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(ord(name)).integers(0, 255, (8, 8, 3), np.uint8)
            Image.fromarray(noise).resize((80, 60)).save(image)
            label.write_text(LINE)
        (root / f"{split}.txt").write_text("".join(f"./images/{one}.png\n" for one in names))
    (root / "data.yaml").write_text(f"{YAML[layout]}names: [leaf]\n")
    return root


def written(root: Path, layout: str) -> Path:
    """A set in a layout of `PLACES`, or the same as COCO, VOC or sets of anymask."""
    if layout in PLACES:
        return yolo(root / "out", layout)
    source = yolo(root / "yolo", "roboflow")
    if layout == "voc":
        convert(source, root / "out", "voc")
    for split in ("train", "valid", "test"):
        name = f"{split.replace('valid', 'val')}2017"
        folder = {"coco": name, "voc": f"JPEGImages/{split}"}.get(layout, f"{split}/images")
        if layout == "coco":
            convert(source / split, root / f"out/annotations/instances_{name}.json")
        if layout == "set":
            convert(source / split, root / "out" / split, "set")
        shutil.copytree(source / split / "images", root / "out" / folder)
    return root / "out"


def prepared(data: Path, out: Path, **options: object) -> tuple[set[str], set[str]]:
    """Stems of the images to train on, and of those that are held out."""
    finetuning._prepared(TuningOptions(data=data, output=out, **options))  # type: ignore[arg-type]
    names = own_names(out / "data")
    train, held = (
        {Path(names[path.name]).stem for path in (out / "data" / part / "images").iterdir()}
        for part in ("train", "held_out")
    )
    return train, held


@pytest.mark.parametrize("layout", [*PLACES, "coco", "voc", "set"])
def test_validation_is_on_val_and_training_on_train(layout: str, tmp_path: Path) -> None:
    data = written(tmp_path, layout)
    assert prepared(data, tmp_path / "run") == (set(NAMES["train"]), set(NAMES["val"]))
    for split in NAMES:
        images = list(read(data, split=split))
        assert sorted(Path(image.file_name).stem for image in images) == NAMES[split]
        assert {mask.label for image in images for mask in image.masks} == {"leaf"}
    with pytest.raises(InputError, match=r"Unknown split 'dev'. Splits of [^:]*: \w+, \w+, \w+$"):
        read(data, split="dev")


def test_folders_of_one_set_are_splits_as_well(tmp_path: Path) -> None:
    root = yolo(tmp_path / "leaves", "ultralytics")
    labels = root / "labels"
    options = {"val": labels / "val", "images": root / "images"}
    assert prepared(labels / "train", tmp_path / "run", **options) == (
        set(NAMES["train"]), set(NAMES["val"])
    )  # fmt: skip
    alone = prepared(root, tmp_path / "other", split="test")
    assert alone == (set(NAMES["test"]), set(NAMES["val"]))


def test_one_folder_for_both_is_a_warning(tmp_path: Path) -> None:
    path = yolo(tmp_path / "leaves", "ultralytics") / "data.yaml"
    path.write_text(path.read_text().replace("images/val", "images/train"))
    train, held = prepared(path, tmp_path / "run")
    assert (train | held, len(held)) == (set(NAMES["train"]), 1)
    report = finetuning._prepared(TuningOptions(data=path, output=tmp_path / "run"))
    assert any("the same images" in line for line in report.lines())


def test_a_set_without_train_is_refused(tmp_path: Path) -> None:
    data = yolo(tmp_path / "leaves", "roboflow")
    shutil.rmtree(data / "train")
    with pytest.raises(InputError, match="no split train, only"):
        prepared(data, tmp_path / "run")


@pytest.mark.parametrize("layout", ["ultralytics", "set"])
def test_distillation_holds_out_val(layout: str, tmp_path: Path) -> None:
    data = written(tmp_path, layout)
    recipe = small_recipe(task="distil", teacher="nano", synthetic=0.0)
    for split in ("train", "val"):
        ((_, images),) = training_sets(recipe, data, split)
        assert sorted(Path(image.file_name).stem for image in images) == NAMES[split]
