"""The addresses of a project: an annotator's work, two annotators, review, export."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select
from starlette.testclient import TestClient

from anymask.masks import mask_to_rle, rle_to_coco
from anymask.segment import Model
from anymask.studio import create_project
from anymask.studio.database import reading
from anymask.studio.project import Project
from anymask.studio.project_routes import ServedProject
from anymask.studio.tables import EventRow
from tests.patience import PATIENCE_S
from tests.segment.fakes import NamingRuntime
from tests.studio.servers import IMAGE, LEFT, RIGHT, GatedRuntime, client, in_thread, inference, png


@pytest.fixture
def project(tmp_path: Path) -> Project:
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    turned = Image.fromarray(IMAGE)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "b.jpg", exif=exif)
    return create_project(
        tmp_path, name="discs", labels=["disc"],
        settings={"sample": 1, "grid": 6, "confident": 0.1,
                  "score": 0, "stability": 0},
    )  # fmt: skip


@pytest.fixture
def ask(project: Project) -> Iterator[TestClient]:
    behind = inference()
    site = ServedProject(project, "ann")
    with client(behind, project=site) as started:
        yield started


def body(mask: np.ndarray, key: str = "k1", **more: Any) -> dict[str, Any]:
    record = {
        "rle": rle_to_coco(mask_to_rle(mask)), "box": [0, 0, 1, 1], "area": 1, "score": None,
        "label": "disc", "state": "accepted",
        "provenance": {"by": "human", "model": "nano", "model_hash": "ab", "points": [[35, 40]],
                       "labels": [1], "drawn": False},
    }  # fmt: skip
    return {"record": record | more, "client_id": key}


def test_an_annotator_opens_labels_and_finishes_a_photo(ask: TestClient, project: Project) -> None:
    told = ask.get("/api/project").json()
    assert (told["name"], told["user"], told["stage"]) == ("discs", "ann", "assisted")
    page = ask.get("/api/images?limit=1").json()
    assert (page["images"][0]["name"], page["next"]) == ("a.png", "1")
    assert [i["name"] for i in ask.get("/api/images?limit=5&after=1").json()["images"]] == ["b.jpg"]
    made = ask.post("/api/images/1/records", json=body(LEFT))
    assert made.status_code == 201
    record = made.json()
    assert (record["id"], record["version"], record["author"]) == ("1", 1, "ann")
    assert record["provenance"] == {
        "kind": "human", "by": "human", "model": "nano", "model_hash": "ab", "stage": "assisted",
        "tool": "points", "prompts": [{"points": [[35, 40]], "labels": [1]}],
        "points": [[35, 40]], "labels": [1],
    }  # fmt: skip
    assert ask.post("/api/images/1/records", json=body(LEFT)).json() == record  # sent again
    assert ask.post("/api/images/1/done", json={}).json()["status"] == "done"
    assert ask.delete("/api/images/1/done").json()["status"] == "proposed"  # it has a mask
    assert ask.post("/api/images/2/done").json()["status"] == "done"
    assert ask.delete("/api/images/2/done").json()["status"] == "new"
    assert ask.delete("/api/images/9/done").status_code == 404


def test_a_label_is_suggested_after_masks_that_have_it(project: Project) -> None:
    behind = inference(lambda: Model(NamingRuntime()))
    site = ServedProject(project, "ann")
    with client(behind, project=site) as ask:
        name = ask.get("/api/images/1/embedding").headers["x-image-hash"]
        masks = [rle_to_coco(mask_to_rle(LEFT)), rle_to_coco(mask_to_rle(RIGHT))]
        wish = {"image": name, "masks": masks, "names": ["mitosis", "debris"], "top": 1,
                "unknown": "examples"}  # fmt: skip
        assert ask.post("/api/names", json=wish).json()["among"] is False
        ask.post("/api/images/1/records", json=body(LEFT, "k1", label="mitosis"))
        ask.post("/api/images/1/records", json=body(RIGHT, "k2", label="debris"))
        told = ask.post("/api/names", json=wish).json()
    assert told["among"] is True
    assert [row[0]["label"] for row in told["suggestions"]] == ["mitosis", "debris"]


def test_each_second_counts_once(ask: TestClient, project: Project) -> None:
    ask.post("/api/images/1/records", json=body(LEFT, seconds=4.5))
    steps = [("click", 1.5), ("click", 2.0), ("mask", 1.0), ("accept", 4.5)]
    events = [{"kind": kind, "seconds": spent, "record": "k1"} for kind, spent in steps]
    assert ask.post("/api/images/1/events", json={"events": events}).json() == {"added": 4}
    changed = body(RIGHT, seconds=2.0)["record"]
    assert ask.put("/api/records/1", json=changed, headers={"If-Match": "1"}).status_code == 200
    ask.post("/api/images/1/events", json={"events": [{"kind": "stroke", "seconds": 2.0}]})
    (pace,) = ask.get("/api/report").json()["paces"]
    assert (pace["stage"], pace["masks"], pace["seconds_a_mask"]) == ("assisted", 1, 6.5)
    with reading(project.store.database) as session:
        rows = list(session.scalars(select(EventRow)))
    assert sum(row.seconds for row in rows) == 6.5
    (whole,) = [row.detail for row in rows if row.kind == "accept"]
    assert whole == {"key": "k1", "whole_seconds": 4.5}


def test_photos_come_upright(ask: TestClient) -> None:
    for number, size in ((1, (120, 80)), (2, (80, 120))):
        answer = ask.get(f"/api/images/{number}/pixels")
        with Image.open(io.BytesIO(answer.content)) as shown:
            assert shown.size == size
            assert shown.getexif().get(0x0112, 1) == 1


def test_a_page_can_ask_what_others_have_changed(ask: TestClient, project: Project) -> None:
    def changes(known: str = "") -> tuple[int, str, dict[str, int] | None]:
        told = ask.get(f"/api/images/1/changes{known}").json()
        assert told["file"] == ask.get("/api/images/1/planes").json()["file"]
        return told["changes"], told["status"], told["versions"]

    assert changes() == (0, "new", {})
    ask.post("/api/images/1/records", json=body(LEFT, "k1"))
    ask.post("/api/images/2/records", json=body(LEFT.T, "k1"))  # another photo's
    assert changes("?known=0") == (1, "new", {"1": 1})
    assert changes("?known=1") == (1, "new", None)
    ask.put("/api/records/1", json=body(RIGHT)["record"], headers={"If-Match": "1"})
    ask.post("/api/images/1/records", json=body(RIGHT, "k2"))
    ask.post("/api/images/1/done")
    assert changes("?known=1") == (3, "done", {"1": 2, "3": 1})
    ask.delete("/api/records/1", headers={"If-Match": "2"})
    assert changes("?known=3") == (4, "done", {"3": 1})
    (project.folder / "a.png").unlink()  # its masks are shown as before
    assert ask.get("/api/images/1/changes").json()["file"] is None


def test_no_file_outside_of_the_project_is_served(ask: TestClient, project: Project) -> None:
    secret = project.folder.parent / "secret.png"
    Image.fromarray(IMAGE).save(secret)
    project.store.add_images([("../secret.png", (80, 120), None)])
    (project.folder / "link.png").symlink_to(secret)
    project.store.add_images([("link.png", (80, 120), None)])
    for number in (3, 4):
        assert ask.get(f"/api/images/{number}/pixels").status_code == 404


def test_the_model_sees_and_proposes_once(ask: TestClient, project: Project) -> None:
    for status in (200, 422):
        embedding = ask.get("/api/images/1/embedding")
        assert embedding.status_code == 200
        body = {"image": embedding.headers["X-Image-Hash"], "points": [[35, 40]]}
        assert ask.post("/api/segment?format=geojson", json=body).status_code == status
        (project.folder / "a.pgw").touch()  # from now on, it is a map
    found = ask.post("/api/images/1/everything", json={}).json()["records"]
    assert found
    assert {record["state"] for record in found} == {"proposed"}
    assert {record["provenance"]["by"] for record in found} == {"model"}
    assert ask.post("/api/images/1/everything", json={}).json()["records"] == found
    assert len(ask.get("/api/images/1/records").json()["records"]) == len(found)


def test_how_far_everything_is_can_be_asked_while_it_is_searched(project: Project) -> None:
    runtime = GatedRuntime()
    behind = inference(lambda: Model(runtime))
    site = ServedProject(project, "ann")
    with client(behind, project=site) as ask:

        def far() -> tuple[int, int]:
            told = ask.get("/api/images/1/progress").json()
            return told["done"], told["total"]

        assert far() == (0, 0)
        found = in_thread(lambda: ask.post("/api/images/1/everything", json={}))
        for expected in ((0, 0), (4, 12)):  # two batches of clicks
            assert runtime.entered.acquire(timeout=PATIENCE_S)
            assert far() == expected
            runtime.go_on.release()
        runtime.go_on.release(100)
        assert found.result(PATIENCE_S).json()["records"]
        assert far() == (0, 0)


def test_an_export_is_imported_again(ask: TestClient) -> None:
    ask.post("/api/images/1/records", json=body(LEFT, label="disc"))
    ask.post("/api/images/1/records", json=body(RIGHT, "k2", label=None))
    wish = {"format": "coco", "only": "labeled", "images": True}
    asked = ask.post("/api/export", json=wish | {"unlabeled": "ask"})
    assert (asked.status_code, asked.json()["error"]["message"]) == (428, "1 mask has no class.")
    archive = ask.post("/api/export", json=wish | {"unlabeled": "skip"}).content
    (one,) = [row for row in ask.get("/api/images/1/records").json()["records"] if row["label"]]
    ask.delete(f"/api/records/{one['id']}", headers={"If-Match": "*"})
    told = ask.post("/api/import?name=coco.zip", content=archive).json()
    assert (told["new"], told["same"], told["strange"]) == (1, 0, 0)
    told = ask.post("/api/import?name=coco.zip", content=archive).json()
    assert (told["new"], told["same"]) == (0, 1)
    assert ask.post("/api/import", content=b"").status_code == 400
    for name in ("a.zip", "%00a.zip", "..", "%F0%9F%90%88" * 200):
        told = ask.post(f"/api/import?name={name}", content=b"no archive").json()["error"]
        assert told["status"] == 422
        assert not any(word in told["message"] for word in ("anymask-import", "`", "--"))
    told = ask.post("/api/import?name=cup.jpg", content=png(IMAGE)).json()["error"]
    assert told["message"].startswith("cup.jpg is a photo. Choose a COCO, YOLO, CVAT")


def test_review_opens_the_gate(ask: TestClient) -> None:
    record = body(LEFT, state="proposed", provenance={"by": "model", "tool": "everything"})
    ask.post("/api/images/1/records", json=record)
    closed = ask.post("/api/export", json={"format": "coco", "proposals": True})
    assert closed.status_code == 403
    error = closed.json()["error"]
    assert "batch 1 do not meet the acceptance rule" in error["message"]
    assert "0 of the random sample are reviewed, none good" in error["message"]
    assert "export anyway" in error["message"]  # as the page has it, no word of the command line
    assert "--" not in error["message"]
    forced = {"format": "coco", "proposals": True, "only": "labeled", "force": True}
    assert ask.post("/api/export", json=forced).status_code == 200
    late = ask.post("/api/records/1/verdict", json={"verdict": "reject"}, headers={"If-Match": "7"})
    assert late.status_code == 409
    asked = ask.get("/api/review/next").json()
    assert asked == {"image": "1", "page": 0, "record": "1", "why": "random"}
    said = ask.post("/api/records/1/verdict", json={"verdict": "accept", "seconds": 3})
    assert said.json()["state"] == "accepted"
    assert ask.get("/api/review/next").status_code == 204
    concept = ask.get("/api/review/concept").json()
    assert concept == {"image": "1", "phrase": "disc", "masks": 1, "answer": None}
    wrong = ask.post("/api/review/concept", json=concept | {"answer": "absent"})
    assert wrong.status_code == 422
    assert "complete or incomplete" in wrong.json()["error"]["message"]
    answered = ask.post("/api/review/concept", json=concept | {"answer": "complete"})
    assert answered.json() == concept | {"answer": "complete"}
    assert ask.get("/api/review/concept").status_code == 204
    opened = ask.post("/api/export", json={"format": "sa1b", "only": "labeled", "images": True})
    assert opened.status_code == 200
    assert "1 image, 1 mask" in unquote(opened.headers["X-Summary"])
    with zipfile.ZipFile(io.BytesIO(opened.content)) as archive:
        assert archive.namelist() == ["a.json", "a.png"]


def test_names_are_added_coloured_moved_renamed_and_deleted(ask: TestClient) -> None:
    ask.post("/api/images/1/records", json=body(LEFT))
    told = ask.post("/api/labels", json={"name": "cup"}).json()["labels"]
    assert [(one["name"], one["masks"]) for one in told] == [("disc", 1), ("cup", 0)]
    change = {"name": "cup", "color": "#00ff00", "place": 0, "to": "mug"}
    told = ask.put("/api/labels", json=change).json()["labels"]
    assert told[0] == {"name": "mug", "color": "#00ff00", "masks": 0}
    gone = ask.request("DELETE", "/api/labels", json={"name": "disc", "masks": "delete"})
    assert gone.json() == {"labels": told[:1]}
    assert ask.get("/api/images/1/records").json()["records"] == []


def test_notes_and_absent_scores_come_back_as_they_were_sent(ask: TestClient) -> None:
    notes = {"tags": ["cut off"], "comment": "look again", "locked": True, "level": 2}
    kept = ask.post("/api/images/1/records", json=body(LEFT, notes=notes)).json()
    assert (kept["notes"], kept["score"]) == (notes, None)
    painted = {"by": "human", "model": "nano", "points": [[35, 40]], "drawn": True}
    told = ask.post(
        "/api/images/1/records", json=body(RIGHT, "k2", quality=0.8, provenance=painted)
    ).json()
    assert told["score"] is None  # the score was of the shape before the brush
    strange = body(RIGHT, "k3", notes={"colour": "red"})
    assert ask.post("/api/images/1/records", json=strange).status_code == 422


def test_many_masks_are_kept_at_once_each_for_itself(ask: TestClient, project: Project) -> None:
    def put(*records: dict[str, Any]) -> list[dict[str, Any]]:
        reply = ask.put("/api/images/1/records", json={"records": list(records)})
        assert reply.status_code == 200, reply.text
        return reply.json()["results"]

    first, second = put(body(LEFT, "k1"), body(RIGHT, "k2"))
    assert (first["error"], second["error"]) == (None, None)
    again, small = put(body(LEFT, "k1"), body(LEFT[:40], "k3"))
    assert again["record"]["id"] == first["record"]["id"]  # sent twice, kept once
    assert small["record"] is None
    assert "(40, " in small["error"]["message"]

    number = {"id": first["record"]["id"], "version": 1}
    changed, late = put(body(RIGHT, "k1", label="cup") | number, body(LEFT, "k1") | number)
    assert (changed["record"]["version"], changed["record"]["label"]) == (2, "cup")
    assert (late["error"]["status"], late["record"]["label"]) == (409, "cup")
    ask.delete(f"/api/records/{number['id']}", headers={"If-Match": "2"})
    (gone,) = put(body(LEFT, "k1") | number | {"version": 2})
    assert (gone["error"]["status"], gone["record"]) == (409, None)
    assert [entry.label for entry in project.store.records()] == ["disc"]

    with reading(project.store.database) as session:
        kinds = [row.kind for row in session.scalars(select(EventRow).order_by(EventRow.id))]
    assert kinds == ["record added", "record added", "record changed", "record deleted"]
