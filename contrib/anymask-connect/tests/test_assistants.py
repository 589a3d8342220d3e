"""The tools for assistants, asked by the protocol's own client: in memory, and as a process."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.base import FloatArray, InputError, UintImage
from anymask.masks import coco_to_rle, rle_area, rle_to_mask

mcp = pytest.importorskip("mcp")

CUP = (190.0, 40.0, 390.0, 220.0)


class Boxes(NamedTuple):
    """What a detector returns: boxes (N, 4), and their scores by phrase (N, phrases)."""

    boxes: FloatArray
    scores: FloatArray


class Cups:
    """A detector that sees a cup in every photo."""

    name, threshold, about = "cups", 0.3, {"detector": "cups"}

    def detect(self, image: UintImage, phrases: Sequence[str], side: int | None = None) -> Boxes:
        scores = [[0.9 if "cup" in phrase else 0.0 for phrase in phrases]]
        return Boxes(np.float32([CUP]), np.float32(scores))


@pytest.fixture(scope="module")
def model() -> anymask.Model:
    """The bundled model."""
    return anymask.load()


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with photos, a secret beside it, and links from the one to the other."""
    images = tmp_path / "photos"
    (images / "sub").mkdir(parents=True)
    (images / "coffee.jpg").write_bytes(anymask.sample("coffee").read_bytes())
    (images / "sub" / "cat.jpg").write_bytes(anymask.sample("cat").read_bytes())
    (tmp_path / "photos2").mkdir()
    for secret in (tmp_path / "secret.jpg", tmp_path / "photos2" / "secret.jpg"):
        secret.write_bytes(anymask.sample("coffee").read_bytes())
    (images / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (images / "out").symlink_to(tmp_path, target_is_directory=True)
    (images / "inside.jpg").symlink_to(images / "coffee.jpg")
    (tmp_path / "cuts").mkdir()
    return tmp_path


def talk(server: Any, asked: Callable[[Any], Awaitable[Any]]) -> Any:
    """What a client of the SDK gets."""

    async def run() -> Any:
        async with mcp.Client(server) as client:
            return await asked(client)

    return asyncio.run(run())


def ask(server: Any, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    """The answers to several calls of one client."""

    async def each(client: Any) -> list[Any]:
        return [await client.call_tool(name, given) for name, given in calls]

    return talk(server, each)


def facts(answer: Any) -> dict[str, Any]:
    """What a program reads; no error."""
    assert not answer.is_error, answer.content
    told: dict[str, Any] = answer.structured_content
    short = json.loads(answer.content[0].text)
    assert [*short] == [*told]
    assert all("rle" not in one for one in short.get("masks", []))
    return told


def picture(answer: Any) -> Image.Image:
    """The one picture of an answer."""
    (shown,) = [one for one in answer.content if one.type == "image"]
    assert shown.mime_type == "image/png"
    return Image.open(io.BytesIO(base64.b64decode(shown.data)))


def open_server(desk: Path, model: anymask.Model, *folders: str, **given: Any) -> Any:
    from anymask_connect import assistant_server

    places = [desk / folder for folder in folders or ("photos",)]
    return assistant_server(model, places, **given)


def test_tools_say_what_they_do(desk: Path, model: anymask.Model) -> None:
    tools = talk(open_server(desk, model, out=desk / "cuts"), lambda one: one.list_tools()).tools
    assert [tool.name for tool in tools] == [
        "list_images", "open_image", "find", "click", "box", "everything", "refine", "cut_out",
    ]  # fmt: skip
    for tool in tools:
        assert len(tool.description) > 40
        assert tool.annotations.read_only_hint == (tool.name != "cut_out")
    (click,) = [tool for tool in tools if tool.name == "click"]
    assert click.input_schema["required"] == ["image", "points"]


def test_a_thing_is_clicked_refined_and_cut_out(desk: Path, model: anymask.Model) -> None:
    server = open_server(desk, model, out=desk / "cuts")
    image = {"image": "coffee.jpg"}
    listed, opened, clicked, better, boxed, cut = ask(
        server,
        ("list_images", {}),
        ("open_image", image),
        ("click", image | {"points": [[290, 120]]}),
        ("refine", image | {"mask": 1, "points": [[370, 290]], "labels": [0]}),
        ("box", image | {"box": CUP}),
        ("cut_out", image | {"mask": 3, "save_as": "cup.png"}),
    )
    assert facts(listed) == {"images": ["coffee.jpg", "inside.jpg", "sub/cat.jpg"], "count": 3}
    told = facts(opened)
    assert (told["width"], told["height"], told["masks"]) == (600, 400, [])
    assert picture(opened).size == (512, 341)
    assert told["pixels_per_shown_pixel"] == pytest.approx(600 / 512, abs=1e-3)

    (one,) = facts(clicked)["masks"]
    (expected,) = model.segment(anymask.sample("coffee"), points=[(290, 120)])[:1]
    assert one["mask"] == 1
    assert coco_to_rle(one["rle"]) == expected.rle
    (two,) = facts(better)["masks"]
    both = model.segment(
        anymask.sample("coffee"), points=[(290, 120), (370, 290)], point_labels=[1, 0]
    )
    assert coco_to_rle(two["rle"]) == both.best.rle

    (three,) = facts(boxed)["masks"]
    mask = rle_to_mask(coco_to_rle(three["rle"]))
    assert three["area"] == mask.sum()
    assert mask[120, 290]
    with Image.open(desk / "cuts" / "cup.png") as saved:
        alpha = np.asarray(saved)[..., 3]
    assert (alpha > 127).sum() == pytest.approx(three["area"], rel=0.05)
    assert facts(cut)["saved"] == "cup.png"
    assert picture(cut).mode == "RGBA"


def test_words_and_everything_give_numbered_masks(desk: Path, model: anymask.Model) -> None:
    server = open_server(desk, model, detector=Cups())
    image = {"image": "coffee.jpg"}
    found, none, every, refined = ask(
        server,
        ("find", image | {"words": ["red cup", "dog"]}),
        ("find", image | {"words": ["dog"]}),
        ("everything", image | {"most": 3}),
        ("refine", image | {"mask": 1}),
    )
    (cup,) = facts(found)["masks"]
    assert (cup["label"], cup["score"], cup["mask"]) == ("red cup", 0.9, 1)
    assert facts(none)["masks"] == []
    told = facts(every)
    assert [one["mask"] for one in told["masks"]] == [2, 3, 4]
    assert told["found"] > 3
    (better,) = facts(refined)["masks"]
    assert (better["label"], better["mask"]) == ("red cup", 5)
    assert rle_area(coco_to_rle(better["rle"]))


def test_the_models_own_names_need_no_detector(desk: Path, model: anymask.Model) -> None:
    found, unknown = ask(
        open_server(desk, model),
        ("find", {"image": "sub/cat.jpg", "words": ["cat"]}),
        ("find", {"image": "sub/cat.jpg", "words": ["red cup"]}),
    )
    assert facts(found)["masks"][0]["label"] == "cat"
    assert unknown.is_error
    assert "(known: cup" in unknown.content[0].text


@pytest.mark.parametrize(
    "name",
    [
        "../secret.jpg", "sub/../../secret.jpg", "link.jpg", "out/secret.jpg", "{root}/secret.jpg",
        "../photos2/secret.jpg", "out/photos2/secret.jpg", "{root}/photos/../secret.jpg",
        "nothing.jpg", "sub", "", ".", "..", "~/secret.jpg", "coffee.jpg\0", "x" * 5000,
        "file://{root}/secret.jpg", "https://example.com/photo.jpg", "/dev/zero", "/etc/hostname",
    ],
)  # fmt: skip
def test_nothing_outside_of_the_folders_is_read_or_told(
    name: str, desk: Path, model: anymask.Model
) -> None:
    (answer,) = ask(open_server(desk, model), ("open_image", {"image": name.format(root=desk)}))
    assert answer.is_error
    assert "not in the shared folders" in answer.content[0].text
    assert str(desk) not in answer.content[0].text


def test_photos_inside_are_read_by_any_of_their_names(desk: Path, model: anymask.Model) -> None:
    server = open_server(desk, model, "photos", "photos2")
    names = ["coffee.jpg", "sub/../coffee.jpg", "inside.jpg", str(desk / "photos" / "coffee.jpg"),
             "out/photos/coffee.jpg"]  # fmt: skip
    for answer in ask(server, *[("open_image", {"image": name}) for name in names]):
        assert facts(answer)["width"] == 600
    (listed,) = ask(server, ("list_images", {"start": 1}))
    assert facts(listed)["count"] == 4  # links to other folders are not followed
    assert len(facts(listed)["images"]) == 3


@pytest.mark.parametrize(
    ("tool", "given", "word"),
    [
        ("click", {"points": [[9000, 10]]}, "9000"),
        ("click", {"points": "here"}, "points"),
        ("box", {"box": [1, 2]}, "box"),
        ("refine", {"mask": 7}, "Unknown mask number 7"),
        ("cut_out", {"mask": 0}, "Unknown mask number 0"),
        ("cut_out", {"mask": 1, "save_as": "../cup.png"}, "save_as"),
        ("cut_out", {"mask": 1, "save_as": "cup.exe"}, "save_as"),
        ("cut_out", {"mask": 1, "save_as": "taken.png"}, "already"),
        ("find", {"words": []}, "The text prompt is empty"),
        ("find", {"words": ["cat"], "score": 7}, "0 to 1"),
    ],
)
def test_what_makes_no_sense_is_an_answer_that_tells_why(
    tool: str, given: dict[str, Any], word: str, desk: Path, model: anymask.Model
) -> None:
    (desk / "cuts" / "taken.png").symlink_to(desk / "elsewhere.png")
    image = {"image": "coffee.jpg"}
    _, answer = ask(
        open_server(desk, model, out=desk / "cuts"),
        ("click", image | {"points": [[290, 120]]}),
        (tool, image | given),
    )
    assert answer.is_error
    assert word in answer.content[0].text
    assert [path.name for path in (desk / "cuts").iterdir()] == ["taken.png"]


def test_nothing_is_written_unless_a_folder_was_named(desk: Path, model: anymask.Model) -> None:
    image = {"image": "coffee.jpg"}
    _, shown, refused = ask(
        open_server(desk, model),
        ("click", image | {"points": [[290, 120]]}),
        ("cut_out", image | {"mask": 1}),
        ("cut_out", image | {"mask": 1, "save_as": "cup.png"}),
    )
    assert picture(shown).mode == "RGBA"
    assert refused.is_error
    assert "No output folder" in refused.content[0].text


def test_a_photo_that_changed_is_looked_at_anew(desk: Path, model: anymask.Model) -> None:
    server = open_server(desk, model)
    click = ("click", {"image": "coffee.jpg", "points": [[100, 100]]})
    ask(server, click)
    (desk / "photos" / "coffee.jpg").write_bytes(anymask.sample("cat").read_bytes())
    (again,) = ask(server, click)
    assert facts(again)["width"] == 451
    assert facts(again)["masks"][0]["mask"] == 1


@pytest.mark.parametrize("folders", [[], ["nothing"], ["photos/coffee.jpg"]])
def test_folders_that_are_none_are_refused(
    folders: list[str], desk: Path, model: anymask.Model
) -> None:
    from anymask_connect import assistant_server

    with pytest.raises(InputError, match="folder"):
        assistant_server(model, [desk / folder for folder in folders])


def test_the_command_speaks_over_standard_input_and_output(desk: Path, repository: Path) -> None:
    started = mcp.StdioServerParameters(
        command=sys.executable,
        args=["-m", "anymask", "mcp", str(desk / "photos")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(repository / "src"), *sys.path])},
    )
    listed, clicked = ask(
        started, ("list_images", {}), ("click", {"image": "coffee.jpg", "points": [[290, 120]]})
    )
    assert facts(listed)["count"] == 3
    assert facts(clicked)["masks"][0]["area"] > 1000
