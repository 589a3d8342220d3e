"""YOLO-seg: what one ring can hold, what becomes of the rest, and who is told."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import shapely
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from anymask.base import DataError
from anymask.formats import AnnotatedImage, LossReport, Policy, write_files, yolo
from anymask.masks import Mask, mask_to_rle
from tests.formats.annotated import pixels, rings


def written(folder: Path, image: AnnotatedImage, **policy: object) -> LossReport:
    """Write a set with its (black) picture."""
    report = LossReport()
    exact = Policy(**{"tolerance": 0} | policy)  # type: ignore[arg-type]
    write_files(yolo.encode([image], folder, report, exact), folder)
    source_image = folder / "images" / image.file_name
    source_image.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", image.hw[::-1]).save(source_image)
    return report


def test_holes_and_parts_come_back_through_bridges(tmp_path: Path) -> None:
    image = rings()
    report = written(tmp_path, image)
    (found,) = yolo.read(tmp_path, LossReport())
    assert pixels(found) == [row for row in pixels(image) if row[0] != "none"]
    assert report.counts() == {"holes": 1, "parts": 1, "empty": 1}
    assert [str(loss) for loss in report.losses] == [
        "rings.png, mask 0: 1 hole bridged",
        "rings.png, mask 0: its 2 parts were joined by bridges",
        "rings.png, mask 2: omitted an empty mask, which has no outline",
    ]


def test_a_line_is_what_shapely_sees(tmp_path: Path) -> None:
    mask = np.zeros((10, 20), np.bool_)
    mask[2:8, 5:15] = True
    image = AnnotatedImage(file_name="a.png", hw=(10, 20), masks=(Mask(mask_to_rle(mask), "box"),))
    written(tmp_path, image)
    place, *numbers = (tmp_path / "labels" / "a.txt").read_text().split()
    corners = np.array(numbers, float).reshape(-1, 2)
    assert place == "0"
    assert shapely.Polygon(corners).equals(shapely.box(0.25, 0.2, 0.75, 0.8))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [cat, 'dog', \"a \\u0041\"]", ["cat", "dog", "a A"]),
        ("names:\n- cat\n- dog # says wuff\nnc: 2", ["cat", "dog"]),
        ("path: x\nnames:\n  1: dog\n  0: cat\n\ntrain: images", ["cat", "dog"]),
        ("names: {0: cat, 1: 'it''s'}", ["cat", "it's"]),
        ("names: [cat,\n  dog]", ["cat", "dog"]),
        ("names: ['salt, pepper', cup]  # two", ["salt, pepper", "cup"]),
        ("names: {0: \"a, b\", 1: '[c] # d', 2: e}", ["a, b", "[c] # d", "e"]),
        ("names: ['no', 'on']", ["no", "on"]),
        ('names:\n  0: "a # b"  # c\n  1: it\'s # d', ["a # b", "it's"]),
        (
            'names:\n- "K\\xE4se"\n- "\\U0001F431"\n- "\\\\x41"',
            ["K\u00e4se", "\U0001f431", "\\x41"],
        ),
    ],
)
def test_class_names_are_read_in_every_usual_form(
    text: str, names: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(text, "utf-8")
    assert yolo.read_names(path) == names
    said = yaml.safe_load(text)["names"]
    assert [said[number] for number in range(len(names))] == names


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@example("a # b")
@example("\U0001f431, '[x]'")
@example("\u2028\x7f\ufeff")
def test_any_name_is_read_back_by_us_and_by_yaml(name: str) -> None:
    mask = Mask(mask_to_rle(np.ones((2, 2), bool)), label=name)
    image = AnnotatedImage(file_name="a.png", hw=(2, 2), masks=(mask,))
    files = dict(yolo.encode([image], Path("set"), LossReport(), Policy()))
    text = files[Path("set/data.yaml")].decode()
    assert yaml.safe_load(text)["names"] == {0: name}
    with tempfile.TemporaryDirectory() as folder:
        (path := Path(folder, "data.yaml")).write_text(text, "utf-8", newline="")
        assert yolo.read_names(path) == [name]


def test_pictures_that_would_share_their_labels_are_refused() -> None:
    images = [
        AnnotatedImage(file_name=name, hw=(2, 2), masks=())
        for name in ("a.b.jpg", "x/a.b.jpg", "x/a.b.png")
    ]
    assert len(list(yolo.encode(images[:2], Path("set"), LossReport(), Policy()))) == 3
    with pytest.raises(DataError, match=r"'x/a.b.jpg' and 'x/a.b.png' differ only in the suffix"):
        list(yolo.encode(images, Path("set"), LossReport(), Policy()))


def test_labels_of_another_set_do_not_get_other_names(tmp_path: Path) -> None:
    def named(file_name: str, *labels: str) -> AnnotatedImage:
        rle = mask_to_rle(np.ones((4, 4), bool))
        masks = tuple(Mask(rle, label=label) for label in labels)
        return AnnotatedImage(file_name=file_name, hw=(4, 4), masks=masks)

    written(tmp_path, named("a.png", "cat", "dog"))
    written(tmp_path, named("a.png", "bird"))  # the same picture again: nothing else stays
    with pytest.raises(
        DataError, match=r"data.yaml has another class list \(class 0 is 'bird'\),.* such as a.txt"
    ):
        written(tmp_path, named("b.png", "ant", "bird"))
    assert yolo.read_names(tmp_path / "data.yaml") == ["bird"]
    written(tmp_path, named("b.png", "bird", "cat"))  # 0 stays the bird
    assert [mask.label for image in yolo.read(tmp_path, LossReport()) for mask in image.masks] == [
        "bird", "bird", "cat",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nc: 3", "data.yaml: The key `names` is missing"),
        ("names: names.txt", "data.yaml: `names` is neither a list nor a mapping"),
        ('names: ["cat"x]', "data.yaml: Not valid YAML: while parsing"),
        (
            "names:\n  " + "? " + 5000 * "9" + "\n  : dog",
            "data.yaml: a value has a wrong type or shape",
        ),
        ("names: {²: dog}", "data.yaml: a value has a wrong type or shape"),
        ("names: &a [*a]", "data.yaml: Not valid YAML: aliases"),
        (  # nine lines that hold ten billion names
            "a0: &a0 [dog]\n"
            + "".join(f"a{n}: &a{n} [{10 * f'*a{n - 1}, '}]\n" for n in range(1, 11))
            + "names: *a10",
            "data.yaml: Not valid YAML: aliases",
        ),
        ("names: [[a]]", "data.yaml: The names must be text, but one is of type list"),
        ("names: " + 2000 * "[", "data.yaml: "),
        ("names: {0: cat, 00: dog}", "data.yaml: `names` must contain a name for each number"),
        (
            "names:\n  1: dog",
            "data.yaml: `names` must contain a name for each number, starting at 0",
        ),
    ],
)
def test_other_names_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(DataError, match=message):
        yolo.read_names(path)


def test_a_list_that_stands_twice_is_written_by_pyyaml_as_an_alias(tmp_path: Path) -> None:
    written(tmp_path, rings())
    images = ["images"]
    text = yaml.dump({"train": images, "val": images, "names": ["bird"]})
    assert "val: *id001" in text
    (tmp_path / "data.yaml").write_text(text)
    assert yolo.read_names(tmp_path / "data.yaml") == ["bird"]
    assert [*yolo.split_files(tmp_path)] == ["train", "val"]


@pytest.mark.parametrize("text", ["path: *b", "train: x/**.txt", 2000 * "["])
def test_splits_of_a_damaged_file_are_refused(text: str, tmp_path: Path) -> None:
    written(tmp_path, rings())
    (tmp_path / "data.yaml").write_text(f"names: [cat]\na: &a [b]\n{text}")
    with pytest.raises(DataError):
        yolo.split_files(tmp_path)


def test_files_that_begin_with_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    """Editors of Windows write one (EF BB BF)."""
    written(tmp_path, rings())
    (plain,) = yolo.read(tmp_path, LossReport())
    names = yolo.read_names(tmp_path / "data.yaml")
    (tmp_path / "data.yaml").write_bytes(b"\xef\xbb\xbf" + f"names: {names}\n".encode())
    for path in (tmp_path / "labels").iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert yolo.read(tmp_path, LossReport()) == [plain]


def test_sizes_come_from_the_pictures(tmp_path: Path) -> None:
    written(tmp_path, rings())
    (tmp_path / "images" / "rings.png").rename(tmp_path / "rings.jpg")
    with pytest.raises(DataError, match="The image 'rings' is missing from .* Pass the folder"):
        yolo.read(tmp_path, LossReport())
    (found,) = yolo.read(tmp_path, LossReport(), tmp_path)
    assert found.file_name == "rings.jpg"


SQUARE = "0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75"


def labeled(folder: Path, split: str, name: str, *lines: str) -> None:
    """A picture of 8 x 8 pixels and its lines, in the folders of a split."""
    images, labels = folder / split / "images", folder / split / "labels"
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(exist_ok=True)
    Image.new("L", (8, 8)).save(images / f"{name}.png")
    (labels / f"{name}.txt").write_text("\n".join(lines))


def test_names_of_classes_lie_where_tools_put_them(tmp_path: Path) -> None:
    labeled(tmp_path, ".", "a", f"1 {SQUARE}")
    (tmp_path / "hyper.yaml").write_text("lr0: 0.01\n")
    (bare,) = yolo.read(tmp_path, report := LossReport())
    assert bare.masks[0].label == "1"
    assert [loss.kind for loss in report.losses] == ["labels"]
    (tmp_path / "classes.txt").write_text("cat\r\ndog\r\n")  # Label Studio
    (listed,) = yolo.read(tmp_path, report := LossReport())
    assert (listed.masks[0].label, report.losses) == ("dog", [])
    (tmp_path / "mine.yaml").write_text("path: ../set\nnames:\n  0: bird\n  1: fish\n")
    (named,) = yolo.read(tmp_path, LossReport())
    assert named.masks[0].label == "fish"
