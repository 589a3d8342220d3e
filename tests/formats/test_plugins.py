"""Formats and layouts of plug-ins: read and written if installed, and named if not."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.base import InputError, MissingPlugin
from anymask.cli.main import main
from anymask.formats import load_dataset, read_annotations, write_annotations
from anymask.formats.recognition import MARKS
from anymask.formats.registry import FORMATS
from tests.conftest import CommandLine
from tests.formats.annotated import pixels, rings
from tests.formats.published import write_voc

REMEDY = "requires the plug-in anymask-formats. Install it in a clone of anymask with: pip install"
REGION = {"filename": "a.jpg", "size": 9, "regions": []}
DOCUMENTS = {
    "v7": {"version": "2.0", "item": {"name": "a.jpg"}, "annotations": []},
    "encord": [{"data_units": {}}],
    "supervisely": {"size": {"height": 6, "width": 8}, "objects": []},
    "via": {"a.jpg9": REGION},
    "via ": {"_via_settings": {}, "_via_img_metadata": {}},
    "via  ": {"project": {}, "metadata": {}, "view": {}, "file": {}},
}
TABLES = (
    "filename,file_size,file_attributes\n", "#filename,file_size\n",
    "# Exported using VGG Image Annotator (http://vgg.test)\n",
)  # fmt: skip
NAMES = ("v7", "darwin", "Encord", "supervisely", "sly", "cellpose", "via", "vgg")


def hqseg(root: Path, inside: str) -> Path:
    (root / "hqseg" / inside / "im").mkdir(parents=True)
    (root / "hqseg" / inside / "gt").mkdir()
    return root / "hqseg"


def sources(root: Path) -> list[tuple[str, Path]]:
    """Files and folders of the formats and the layout of anymask-formats, by name."""
    found = []
    for number, (name, document) in enumerate(DOCUMENTS.items()):
        path = root / f"{number}.json"
        path.write_text(json.dumps(document))
        found.append((name.strip(), path))
    for number, table in enumerate(TABLES):
        path = root / f"{number}.csv"
        path.write_text(table)
        found.append(("via", path))
    np.save(root / "a_seg.npy", {"masks": np.ones((2, 2), int)}, allow_pickle=True)
    (root / "sly" / "ds0" / "ann").mkdir(parents=True)
    (root / "sly" / "meta.json").write_text('{"classes": []}')
    (root / "sly" / "ds0" / "ann" / "a.json").write_text("{}")
    found += [("cellpose", root / "a_seg.npy"), ("supervisely", root / "sly")]
    return [*found, ("hqseg", hqseg(root, "DIS-VD"))]


def test_files_of_an_absent_plug_in_are_recognised(tmp_path: Path) -> None:
    for name, path in sources(tmp_path):
        with pytest.raises(MissingPlugin, match=rf"(Format|Layout) '{name}' {REMEDY}"):
            anymask.read(path)
    np.save(tmp_path / "b_seg.npy", np.ones((2, 2), int))
    (tmp_path / "b.csv").write_text("image,label\n")
    for name in ("b_seg.npy", "b.csv"):
        with pytest.raises(anymask.errors.DataError, match="Unknown format"):
            anymask.read(tmp_path / name)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_an_absent_plug_in_end_with_its_install_line(
    name: str, tmp_path: Path, cli: CommandLine
) -> None:
    write_annotations([rings()], tmp_path / "a.json", "coco")
    source, target = str(tmp_path / "a.json"), str(tmp_path / "out")
    for words in ([source, target, "--to", name], [source, target, "--from", name]):
        assert f"Format {name.lower()!r} {REMEDY}" in cli.refused(
            ["convert", *words, *(["--to", "set"] if "--from" in words else [])]
        )
    assert not (tmp_path / "out").exists()
    assert REMEDY in cli.refused(["convert", source, str(tmp_path / name)])


def test_each_format_has_a_mark() -> None:
    assert {*FORMATS} - {*MARKS} == {"coco-polygon", "labelme-polygon", "label-studio-polygon"}


DOTS = '''
"""A format of one line for each pixel, and a layout of such files."""
import json
from pathlib import Path
import numpy as np
from anymask.formats import AnnotatedImage, DatasetLayout, Fit, Format, Mark
from anymask.formats import find_files, output_paths
from anymask.masks import Mask, Masks, mask_to_rle

def begins(found):
    return Fit.sure(found.suffix == ".dots" and found.head.startswith("dots "))

def image(path):
    (_, high, wide, name), *rows = (line.split() for line in path.read_text().splitlines())
    masks = {}
    for label, y, x in rows:
        mask = masks.setdefault(label, np.zeros((int(high), int(wide)), bool))
        mask[int(y), int(x)] = True
    found = [Mask(mask_to_rle(mask), label) for label, mask in masks.items()]
    return AnnotatedImage(file_name=name, hw=(int(high), int(wide)), masks=Masks(found))

def read(source, report, image_root=None):
    return [image(path) for path in find_files(source, ".dots")]

def encode(images, target, report, policy):
    for one, path in zip(images, output_paths(images, target, ".dots"), strict=True):
        lines = [f"dots {one.hw[0]} {one.hw[1]} {one.file_name}"]
        for mask in one.masks:
            lines += [f"{mask.label} {y} {x}" for y, x in np.argwhere(mask.mask)]
        yield path, "\\n".join(lines).encode()

def read_set(root, split):
    for path in find_files(root / "dots" / split, ".dots"):
        found = image(path)
        yield AnnotatedImage(
            file_name=found.file_name, hw=found.hw, masks=found.masks, source=path.with_suffix("")
        )

FORMAT = Format(
    package="anymask_dots", module="dots", about="pixels as text", suffixes=(".dots",),
    named=True, also=("pixels",), streamed=True, mark=Mark(about="A .dots file", recognize=begins),
)
LAYOUT = DatasetLayout(
    package="anymask_dots", module="dots", read="read_set", split="val", marks=(("dots/val",),),
    about="pixels by split",
)
'''


@pytest.fixture
def dots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in of somebody else, as pip installs it."""
    root = tmp_path / "site"
    facts = root / "anymask_dots-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: anymask-probe\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[anymask.formats]\ndots = anymask_dots.dots:FORMAT\ncoco = anymask_dots.dots:FORMAT\n"
        "[anymask.layouts]\ndot-set = anymask_dots.dots:LAYOUT\nvoc = anymask_dots.dots:LAYOUT\n"
    )
    (root / "anymask_dots").mkdir()
    (root / "anymask_dots" / "__init__.py").write_text("")
    (root / "anymask_dots" / "dots.py").write_text(DOTS)
    monkeypatch.syspath_prepend(root)
    monkeypatch.delenv("ANYMASK_DISABLE_PLUGINS")


@pytest.mark.usefixtures("dots")
def test_a_format_of_another_package_is_written_recognised_and_read(
    tmp_path: Path, cli: CommandLine
) -> None:
    drawn = [one for one in pixels(rings()) if one[0] != "none"]
    write_annotations([rings()], tmp_path / "a.json", "coco")
    back = tmp_path / "back.json"
    for target, words in (("a.dots", []), ("dots", []), ("out", ["--to", "PIXELS"])):
        assert main(["convert", str(tmp_path / "a.json"), str(tmp_path / target), *words]) == 0
        assert "from dots to" in cli.err(["convert", str(tmp_path / target), str(back)])
        (found,), report = read_annotations(back)
        assert (pixels(found), found.file_name, report.losses) == (drawn, "rings.png", [])
    stream = anymask.read(tmp_path / "out", "dots")
    assert (len(list(stream)), stream.length(), stream.suffix) == (1, 1, ".dots")
    shown = cli.out(["convert", "--help-all"])
    assert "  dots                  pixels as text\n" in shown
    assert shown.count("\n  coco ") == 2, "a built-in format and layout"
    with pytest.raises(InputError, match=r"Did you mean 'dots'\? Choose from: sa1b.*, dots"):
        anymask.read(back, "dot")
    with pytest.raises(InputError, match=r"Did you mean .*a\.dots\?"):
        anymask.convert(back, tmp_path / "a.dot")


@pytest.mark.usefixtures("dots")
def test_a_layout_of_another_package_is_recognised_and_read(tmp_path: Path) -> None:
    write_annotations([rings()], tmp_path / "data/dots/val/rings.png.dots", "dots")
    Image.new("RGB", (12, 9)).save(tmp_path / "data/dots/val/rings.png")
    info, (found,) = load_dataset(tmp_path / "data")
    assert (info.source, found.image().shape) == ("dot-set", (9, 12, 3))
    assert anymask.read(tmp_path / "data").format == "dot-set"
    (again,), _ = read_annotations(tmp_path / "data", split="val")
    assert pixels(again) == [one for one in pixels(rings()) if one[0] != "none"]
    with pytest.raises(InputError, match=r"Choose from: auto, set, lvis, .*, dot-set"):
        load_dataset(tmp_path / "data", "dots-set")
    write_voc(tmp_path / "voc")
    assert load_dataset(tmp_path / "voc")[0].source == "voc"
