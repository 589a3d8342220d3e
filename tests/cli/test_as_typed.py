"""Commands as people type them: each does what was meant, or says in one line what to type."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import anymask
from anymask.cli.main import main
from anymask.images import load_mask
from anymask.masks import Features
from anymask.segment import Model
from tests.segment.fakes import ColorRuntime, discs, iou

IMAGE, (LEFT, RIGHT) = discs((200, 300), [(90, 100, 70), (240, 100, 20)])
BOXES = ["--box", "15,25,165,175", "--box", "215,75,265,125"]
GRID = ["--mode", "exact", "--grid", "4", "--score", "0.3"]
GRID += ["--stability", "0.3"]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with photos, where every model is a fake."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(anymask, "load", lambda *_, **__: Model(ColorRuntime()))
    for name in ("p.png", "q.png"):
        Image.fromarray(IMAGE).save(name)
    return tmp_path


@pytest.fixture
def stack(desk: Path) -> Path:
    """Nine pages; the disc of the last one is elsewhere."""
    pages = np.stack([IMAGE[..., 0]] * 8 + [IMAGE[:, ::-1, 0]])
    tifffile.imwrite("stack.tif", pages, photometric="minisblack")
    return desk


def out_of(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What a command prints, on either stream."""
    capsys.readouterr()
    assert main(list(words)) == code
    told = capsys.readouterr()
    return told.out + told.err


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line of an error."""
    told = out_of(capsys, *words, code=2)
    assert told.startswith("anymask: error: ")
    assert told.count("\n") == 1
    return told


# Objects.


def test_two_boxes_are_two_objects(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = out_of(
        capsys, "segment", "p.png", *BOXES, "-o", "two.npy", "-o", "two.json", "-o", "two.csv"
    )
    assert told.count("object 1: score") == told.count("object 2: score") == 1
    masks = np.load("two.npy")
    assert [iou(mask, truth) > 0.7 for mask, truth in zip(masks, (LEFT, RIGHT), strict=True)] == [
        True,
        True,
    ]
    rows = json.loads(Path("two.json").read_text())["annotations"]
    assert [row["area"] for row in rows] == masks.sum((1, 2)).tolist()
    table = list(csv.DictReader(Path("two.csv").read_text().splitlines()))
    assert [(row["image"], row["number"]) for row in table] == [("p.png", "1"), ("p.png", "2")]
    assert [int(row["area"]) for row in table] == [row["area"] for row in rows]


def test_clicks_belong_to_the_object_they_follow(desk: Path) -> None:
    words = ["--point", "90,100", "--point", "95,100", "--next", "--point", "240,100"]
    assert main(["segment", "p.png", *words, "-o", "two.npy"]) == 0
    first, second = np.load("two.npy")
    assert iou(first, LEFT) > 0.7
    assert iou(second, RIGHT) > 0.7


def test_parts_of_the_sides_get_a_hint(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = out_of(capsys, "segment", "p.png", "--point", "0.5,0.5", "-o", "m.npy")
    assert "fractions of the image size, pass 150,100" in told
    told = out_of(capsys, "segment", "p.png", "--box", "0.1,0.1,0.5,0.9", "-o", "m.npy")
    assert "pass 30,20,150,180" in told
    told = out_of(capsys, "segment", "p.png", "--point", "1,1", "-o", "m.npy")
    assert "parts of the photo" not in told


def test_zoom_says_when_it_had_no_use(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    big = np.asarray(Image.fromarray(IMAGE).resize((1500, 1000), Image.Resampling.NEAREST))
    Image.fromarray(big).save("big.png")
    words = ["segment", "big.png", "-o", "m.npy", "--zoom", "--point"]
    assert "no effect because the object is too large" in out_of(capsys, *words, "450,500")
    assert "no use" not in out_of(capsys, *words, "1200,500")


# Photos.


def test_several_photos_are_all_done(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = out_of(capsys, "segment", "p.png", "q.png", "--point", "90,100")
    assert told.count("wrote ") == 2
    assert Path("p.cut.png").is_file()
    assert Path("q.cut.png").is_file()
    assert main(["segment", "[pq].png", "--point", "90,100", "-o", "out/"]) == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["p.cut.png", "q.cut.png"]
    assert main(["segment", "?.png", "--point", "9,9", "-o", "m/{name}.mask.png"]) == 0
    assert sorted(path.name for path in Path("m").iterdir()) == ["p.mask.png", "q.mask.png"]
    told = refusal(capsys, "segment", "p.png", "q.png", "--point", "9,9", "-o", "one.png")
    assert "-o one.png is one file, but there are several images" in told
    assert "No file matches '*.jpg'" in refusal(capsys, "segment", "*.jpg", "--point", "9,9")


def names_in(folder: str) -> list[str]:
    paths = Path(folder).rglob("*")
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file())


def test_segment_keeps_photos_of_one_name_apart(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("sub").mkdir()
    Image.fromarray(IMAGE).save("sub/p.png")
    told = refusal(capsys, "segment", "p.png", "sub/p.png", "--point", "90,100")
    assert "require -o FOLDER" in told
    assert "require -o FOLDER" in refusal(capsys, "everything", "p.png", "sub/p.png", *GRID)
    told = out_of(capsys, "segment", "p.png", "sub/p.png", "--point", "90,100", "-o", "o/")
    assert "sub/p: score" in told
    assert names_in("o") == ["p.cut.png", "sub/p.cut.png"]
    line = ["segment", "p.png", "sub/p.png", "--point", "90,100", "-o", "m/{name}_m.mask.png"]
    assert main(line) == 0
    assert names_in("m") == ["p_m.mask.png", "sub/p_m.mask.png"]


def test_a_file_s_name_is_a_file(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["everything", "p.png", *GRID, "-o"]
    assert main([*words, "o.json"]) == 0
    assert Path("o.json").is_file()
    assert not Path("o.png").exists()
    assert "exists: o.json" in out_of(capsys, *words, "o.json")
    assert main([*words, "a.json", "-o", "a.jpg"]) == 0
    assert Path("a.json").is_file()
    with Image.open("a.jpg") as image:
        assert image.format == "JPEG"
    assert "several images" in refusal(capsys, "everything", "p.png", "q.png", "-o", "o.json")
    more = ["b.geojson", "-o", "b.svg", "-o", "b.npy", "-o", "b.webp", "-o", "b.txt", "-o", "b.csv"]
    said = out_of(capsys, *words, *more)
    assert all(f"wrote {name}" in said for name in more if name != "-o")
    assert "anymask encode does not write to standard output. Pass a file" in refusal(
        capsys, "encode", "p.png", "-o", "-"
    )
    assert main(["encode", "p.png", "-o", "deep/e.npz"]) == 0
    assert Features.load("deep/e.npz").image_hw == (200, 300)


@pytest.mark.parametrize("command", [["segment", "--point", "1,1"], ["everything"], ["encode"]])
@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            "https://example.com/a.jpg",
            "URLs are not downloaded by default: 'https://example.com/a.jpg'. Add --allow",
        ),
        ("clip.mp4", "'clip.mp4' is a video, not an image. To track objects in it: any"),
        ("doc.pdf", "'doc.pdf' is a document, not an image. Convert its pages"),
    ],
)
def test_what_is_no_picture_is_told_by_its_name(
    desk: Path, command: list[str], source: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in refusal(capsys, command[0], source, *command[1:])


def test_an_address_is_fetched_where_it_is_allowed(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path("p.png").read_bytes()
    monkeypatch.setattr("anymask.images.fetch_image", lambda address: data)
    words = ["segment", "http://example.com/a%20b/cup.png?size=2", "--point", "90,100"]
    assert "wrote cup.cut.png" in out_of(capsys, *words, "--allow-url")


# Pages.


def test_the_page_that_is_taken_is_told(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["segment", "--point", "90,100"], ["cutout", "--point", "90,100"],
        ["everything", *GRID], ["encode"],
    ):  # fmt: skip
        told = out_of(capsys, words[0], "stack.tif", *words[1:])
        assert "stack.tif has 9 pages; using page 0. --page N selects another page" in told
        assert "pages" not in out_of(capsys, words[0], "p.png", *words[1:])
    assert "stack.tif has 9 pages" in refusal(capsys, "redact", "stack.tif", "--words", "cat")


def test_all_pages_have_results_of_their_own(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segment = ["segment", "stack.tif", "--point", "90,100", "--page"]
    assert main([*segment, "all", "-o", "m/{name}.npy"]) == 0
    first, last = np.load("m/stack.page0.npy"), np.load("m/stack.page8.npy")
    assert iou(first, LEFT) > 0.7
    assert iou(last, LEFT) < 0.7
    assert "wrote stack.page4.cut.png" in out_of(capsys, *segment, "4")


# Embeddings.


def test_an_embedding_stands_for_its_photo(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encode", "p.png", "-o", "emb"]) == 0
    told = out_of(capsys, "segment", "emb/p.npz", "--point", "240,100")
    assert "wrote p.mask.png" in told
    assert iou(load_mask("p.mask.png"), RIGHT) > 0.7
    told = refusal(capsys, "segment", "emb/p.npz", "--point", "240,100", "-o", "cut.png")
    assert (
        "is an embedding, which does not contain the pixels of the image. Write a .mask.png, .json"
        in told
    )


def test_an_embedding_names_its_model(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main(["encode", "p.png", "-o", "emb"])
    asked: list[str] = []

    def load(name: str, *_: object) -> Model:
        asked.append(name)
        return Model(ColorRuntime())

    monkeypatch.setattr(anymask, "load", load)
    assert main(["segment", "emb/p.npz", "--point", "240,100"]) == 0
    assert asked == ["fake"]
