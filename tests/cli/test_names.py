"""Names on the command line: suggested, learned from examples, listed, refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import file_sha256
from anymask.cli.main import main
from anymask.masks import mask_to_rle, rle_to_string
from anymask.models.rules import NameTable
from anymask.runtime import ASSETS, MANIFEST, NAME_VECTORS, manifest_to_json, read_manifest
from anymask.runtime.onnx import read_table
from anymask.training import copy_bundle
from research.shared import table_to_arrays
from tests.conftest import CommandLine

WORDS = ("cat", "dog", "lamp")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`nano` that knows three names; the vectors of chance."""
    folder = tmp_path_factory.mktemp("names") / "nano"
    copy_bundle(ASSETS / "nano", folder)
    path = folder / NAME_VECTORS
    width = read_table(path).vectors.shape[1]
    vectors = np.random.default_rng(4).standard_normal((len(WORDS), width)).astype(np.float32)
    also = {word: n for n, word in enumerate(WORDS)}
    table = NameTable(WORDS, vectors, np.array([True, True, False]), also, 1.0)
    np.savez_compressed(path, **table_to_arrays(table))
    manifest = read_manifest(folder)
    hashes = {**manifest.sha256, NAME_VECTORS: file_sha256(path)}
    text = manifest_to_json(replace(manifest, sha256=hashes))
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.full((96, 128, 3), 60, np.uint8)
    pixels[30:70, 40:90] = (230, 40, 40)
    path = tmp_path_factory.mktemp("photos") / "thing.png"
    Image.fromarray(pixels).save(path)
    return path


def write_examples(folder: Path, image: Path) -> Path:
    """A set of one photo with two labelled masks."""
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.png").write_bytes(image.read_bytes())
    bright, corner = np.zeros((2, 96, 128), np.bool_)
    bright[30:70, 40:90] = corner[:20, :20] = True
    rows = [
        {"rle": rle_to_string(mask_to_rle(mask)), "label": label}
        for mask, label in ((bright, "brick"), (corner, "wall"))
    ]
    row = {"image": "images/a.png", "hw": [96, 128], "masks": rows}
    (folder / "masks.jsonl").write_text(json.dumps(row))
    return folder


def test_own_names_are_learned_and_used(
    bundle: Path, photo: Path, tmp_path: Path, cli: CommandLine
) -> None:
    mine = tmp_path / "mine.json"
    examples = write_examples(tmp_path / "examples", photo)
    assert "brick (1), wall (1)" in cli.err(
        ["names", str(examples), "-o", str(mine), "--model", str(bundle)]
    )
    out = tmp_path / "out.json"
    words = ["segment", str(photo), "--mask", str(_mask(tmp_path)), "-o", str(out)]
    assert main([*words, "--model", str(bundle), "--names", str(mine)]) == 0
    (record,) = json.loads(out.read_text(encoding="utf-8"))["annotations"]
    assert record["label"] == "brick"


def _mask(folder: Path) -> Path:
    mask = np.zeros((96, 128), np.uint8)
    mask[30:70, 40:90] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    return folder / "mask.png"


def test_the_names_that_are_known_are_listed(bundle: Path, cli: CommandLine) -> None:
    said = cli.out(["names", "--model", str(bundle)])
    assert "2 built-in names with training images:\ncat\ndog\n" in said
    assert said.endswith("1 names known from text only, found less accurately:\nlamp\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-o", "mine.json"], "To learn names, pass labeled masks and -o FILE.json"),
        (["some"], "To learn names, pass labeled masks and -o FILE.json"),
        (["some", "-o", "mine.txt"], "mine.txt is not a .json file"),
    ],
)
def test_names_that_cannot_be_learned_are_one_line(
    words: list[str], says: str, bundle: Path, cli: CommandLine
) -> None:
    assert says in cli.refused(["names", *words, "--model", str(bundle)])
