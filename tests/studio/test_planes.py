"""A project's stacks over HTTP: planes, pixels of each, masks on their page, and what leaves."""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from starlette.testclient import TestClient

from anymask.cli.main import main
from anymask.images import ImageFile
from anymask.jobs import ImageSettings
from anymask.masks import Mask, Masks, coco_to_rle, mask_to_rle
from anymask.studio import create_project
from anymask.studio.exchange import import_masks
from anymask.studio.project import Project
from anymask.studio.project_routes import ServedProject
from tests.studio.servers import IMAGE, LEFT, RIGHT, client, error_of, inference
from tests.studio.test_serving_project import body

PLANES = np.stack([IMAGE, IMAGE[::-1]]).transpose(0, 3, 1, 2)  # (Z, C, H, W)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    about = {"axes": "ZCYX", "unit": "nm"}
    small = {"imagej": True, "metadata": about, "resolution": (0.5, 0.5)}
    tifffile.imwrite(tmp_path / "stack.tif", PLANES, **small)
    Image.fromarray(IMAGE).save(tmp_path / "plain.png")
    settings = {"grid": 6, "confident": 0.1, "score": 0, "stability": 0}
    return create_project(tmp_path, name="cells", labels=["disc"], settings=settings)


STACK, PLAIN = 2, 1  # in the order of names


def pixels(ask: TestClient, query: str, image: int = STACK) -> np.ndarray:
    reply = ask.get(f"/api/images/{image}/pixels?{query}")
    assert reply.status_code == 200, reply.text
    return np.asarray(Image.open(io.BytesIO(reply.content)).convert("RGB"))


def test_the_planes_of_a_stack_are_told_and_shown(ask: TestClient, project: Project) -> None:
    assert ask.get(f"/api/images/{STACK}/planes").json() == {
        "first": 0,
        "pages": [{"page": 0, "name": "Z 0"}, {"page": 3, "name": "Z 1"}],
        "channels": ["Channel 1", "Channel 2", "Channel 3"],
        "colors": False,
        "pixel": {"size": 2.0, "unit": "nm"},
        "deep": False,
        "file": hashlib.sha256((project.folder / "stack.tif").read_bytes()).hexdigest()[:16],
        "replaced": False,
    }
    for depth, page in enumerate((0, 3)):
        for channel in range(3):
            shown = pixels(ask, f"page={page}&channel={channel}")
            assert (shown == PLANES[depth, channel][..., None]).all()
    plain = ask.get(f"/api/images/{PLAIN}/planes").json()
    assert (plain["pages"], plain["channels"]) == ([{"page": 0, "name": ""}], [])
    assert (pixels(ask, "", PLAIN) == IMAGE).all()
    absent = ask.get(f"/api/images/{STACK}/pixels?page=1")
    assert error_of(absent, 422) == "Page 1 is not available. Use one of: 0, 3."
    assert ask.get(f"/api/images/{STACK}/pixels?channel=3").status_code == 422


def test_channels_are_put_together_as_red_green_and_blue(ask: TestClient) -> None:
    for depth, page in enumerate((0, 3)):
        shown = pixels(ask, f"page={page}&bands=3,0,1")
        expected = np.stack([PLANES[depth, 2], 0 * PLANES[depth, 0], PLANES[depth, 0]], axis=-1)
        np.testing.assert_array_equal(shown, expected)
    ranged = pixels(ask, "bands=1,2,3&ranges=0:100,:,50.5:200")
    truth = [np.clip((PLANES[0, n] - low) / span, 0, 1) * 255 for n, low, span in
             ((0, 0.0, 100), (1, 0.0, 255), (2, 50.5, 149.5))]  # fmt: skip
    np.testing.assert_allclose(ranged, np.stack(truth, axis=-1), atol=0.51)
    assert (pixels(ask, "bands=3,0,1", PLAIN) == IMAGE[..., [2, 0, 0]] * [1, 0, 1]).all()
    queries = ("bands=1,2,3", "bands=3,2,1", "bands=3,2,1&ranges=0:100", "", "page=3", "channel=1")
    names = [
        ask.get(f"/api/images/{STACK}/embedding?{one}").headers["X-Image-Hash"] for one in queries
    ]
    assert len(set(names)) == len(queries)
    (least, *_) = ask.get(f"/api/images/{STACK}/values?page=3").json()["channels"]
    assert (least["least"], least["most"]) == (PLANES[1, 0].min(), PLANES[1, 0].max())
    found = ask.post(f"/api/images/{STACK}/everything?page=3&bands=1,2,3", json={})
    assert {one["page"] for one in found.json()["records"]} == {3}


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("bands=1,2,9", "Band 9 does not exist"),
        ("ranges=1:2", "`ranges` requires `bands`"),
        ("channel=1&bands=1,2,3", "`channel` and `bands` cannot be combined"),
    ],
)
def test_what_makes_no_composite_is_refused(ask: TestClient, query: str, told: str) -> None:
    for address in ("pixels", "embedding"):
        reply = ask.get(f"/api/images/{STACK}/{address}?{query}")
        assert reply.status_code == 422, reply.text
        assert told in reply.text


def test_pages_leave_as_pictures_of_their_own_and_come_back(
    ask: TestClient, project: Project, tmp_path: Path
) -> None:
    for number, (mask, page) in enumerate(((LEFT, 0), (RIGHT, 3))):
        ask.post(f"/api/images/{STACK}/records", json=body(mask, f"k{number}", page=page))
    ask.post(f"/api/images/{STACK}/done", json={})
    reply = ask.post("/api/export", json={"format": "coco", "images": True})
    assert reply.status_code == 200, reply.text
    out = tmp_path / "out"
    with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
        archive.extractall(out)
    for depth, page in enumerate((0, 3)):
        written = np.asarray(Image.open(out / "images" / f"stack.tif.page{page}.png"))
        assert (written == PLANES[depth, 0][..., None]).all()
    for entry in project.store.records(STACK):
        project.store.delete_record(entry.id, entry.version, "ann")
    taken = import_masks(project, out / "annotations" / "instances.json", "coco", who="ann")
    assert (taken.new, taken.strange) == (2, 0)
    back = ask.get(f"/api/images/{STACK}/records").json()["records"]
    assert [(one["page"], coco_to_rle(one["rle"]).size) for one in back] == [
        (0, LEFT.shape),
        (3, LEFT.shape),
    ]


@pytest.mark.parametrize("page", [3, "z1"])
def test_what_annotate_was_told_is_shown_without_being_asked_for(
    project: Project, page: int | str
) -> None:
    behind = inference()
    choice = ImageSettings(page=page, stretch=(0.0, 100.0))
    site = ServedProject(project, "ann", choice)
    with client(behind, project=site) as ask:
        assert ask.get(f"/api/images/{STACK}/planes").json()["first"] == 3
        assert ask.get(f"/api/images/{PLAIN}/planes").json()["first"] == 0
        shown = pixels(ask, "")
        assert (shown.min(), shown.max()) == (0, 255)
        assert shown[0, 0, 0] == pixels(ask, "page=3")[0, 0, 0]
        assert ask.get(f"/api/images/{STACK}/thumbnail").status_code == 200


def test_masks_that_do_not_say_a_page_go_where_they_are_told(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels").mkdir()
    source = tmp_path / "labels" / "stack.json"
    masks = Masks([Mask(mask_to_rle(LEFT), "disc")], source_image=ImageFile(tmp_path / "stack.tif"))
    masks.write(source, "sa1b")
    asked = ["project", "import", str(tmp_path), str(source)]
    for page, place in (("z1c2", 3), ("4", 3), ("0", 0)):
        assert main([*asked, "--page", page]) == 0
        (entry,) = project.store.records(STACK)
        assert entry.page == place
        project.store.delete_record(entry.id, entry.version, "ann")
    assert "stack" not in capsys.readouterr().err
    assert main(asked) == 0
    assert "1 stack: masks were imported to page 0" in capsys.readouterr().err
    assert main([*asked, "--page", "6"]) == 2
    assert "has pages 0 to 5" in capsys.readouterr().err
