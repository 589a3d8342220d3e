"""Small requests that would cost a server its memory, its time or its project's masks."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from anymask.engine.project import Project, create_project
from anymask.predictors.image import Model
from anymask.primitives.errors import DiskFull, StoreError
from anymask.serving import project as project_addresses
from anymask.serving.app import check_cost, gives_up
from anymask.serving.cost import A_LOOK, cost_of
from anymask.serving.inference import Inference
from anymask.serving.label_studio import Pictures, label_studio_router
from anymask.serving.limits import Limits
from anymask.serving.project import project_router
from anymask.serving.queued import Left
from anymask.serving.refusals import Refusal
from tests.predictors.fakes import ColourRuntime
from tests.serving.servers import CLICK, LEFT, PICTURE, client, inference, png
from tests.serving.test_project import body

WRAPPED = [2**62, 2**62, 2**62, 2**62 + 80 * 120]
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def http() -> Iterator[TestClient]:
    with client() as started:
        yield started


@pytest.fixture
def seen(http: TestClient) -> str:
    name: str = http.post("/api/embed", content=png(PICTURE)).headers["x-image-hash"]
    return name


@pytest.fixture
def project(tmp_path: Path) -> Project:
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    return create_project(tmp_path, name="discs")


@pytest.fixture
def ask(project: Project) -> Iterator[TestClient]:
    behind = inference()
    with client(behind, routers=[project_router(project, behind, Limits(), "ann")]) as started:
        yield started


def error_of(reply: Any, status: int = 422) -> str:
    """What was wanted."""
    assert reply.status_code == status, reply.text
    told = reply.json()["error"]
    assert set(told) == {"wanted", "got", "remedy", "status"}
    return str(told["wanted"])


# Prompts.


def test_runs_that_leave_64_bits_are_refused(http: TestClient, seen: str) -> None:
    mask = {"mask": {"size": [80, 120], "counts": WRAPPED}}
    reply = http.post("/api/segment", json={"image": seen, "prompts": [mask]})
    assert "a run is at most H * W = 9600 pixels" in error_of(reply)


def test_masks_are_counted_together_before_one_is_unpacked(
    seen: str, http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked: list[object] = []
    monkeypatch.setattr("anymask.serving.wire.rle_to_mask", unpacked.append)
    mask = {"mask": {"size": [10000, 10000], "counts": [10**8]}}
    reply = http.post("/api/segment", json={"image": seen, "prompts": [mask] * 2})
    assert "masks of 100000000 pixels together" in error_of(reply, 413)
    assert unpacked == []


def test_one_request_at_a_time_holds_the_pixels_of_its_masks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    under_way, most = [0], [0]
    real = Inference.segment

    def segment(self: Inference, *rest: Any) -> Any:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        future = real(self, *rest)
        future.add_done_callback(lambda _: under_way.__setitem__(0, under_way[0] - 1))
        return future

    monkeypatch.setattr(Inference, "segment", segment)
    mask = CLICK | {"mask": {"size": [80, 120], "counts": [0, 9600]}}
    with client() as http:
        name = http.post("/api/embed", content=png(PICTURE)).headers["x-image-hash"]
        replies: list[int] = []

        def post() -> None:
            reply = http.post("/api/segment", json={"image": name, "prompts": [mask]})
            replies.append(reply.status_code)

        threads = [threading.Thread(target=post) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert replies == [200] * 6
    assert most == [1]


def test_points_are_counted_together(http: TestClient, seen: str) -> None:
    prompt = {"points": [[1, 1]] * 1000}
    reply = http.post("/api/segment", json={"image": seen, "prompts": [prompt] * 9})
    assert error_of(reply) == "at most 8000 points in a request"


@pytest.mark.parametrize("item", [[], 7, {"points": 7}])
def test_a_list_of_wrong_prompts_is_one_error(
    http: TestClient, seen: str, item: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    import anymask.serving.refusals as refusals

    class Counting(refusals.RequestValidationError):
        def __init__(self, errors: Any, **more: Any) -> None:
            told.append(len(errors))
            super().__init__(errors, **more)

    monkeypatch.setattr("fastapi.routing.RequestValidationError", Counting)
    error_of(http.post("/api/segment", json={"image": seen, "prompts": [item] * 5000}))
    assert told == [1]


def test_long_lists_are_refused_before_their_items_are_looked_at(
    http: TestClient, seen: str
) -> None:
    wanted = error_of(http.post("/api/segment", json={"image": seen, "prompts": [{}] * 10_001}))
    assert "at most 10000 prompts, got 10001" in wanted
    labels = {"points": [[1, 1]], "labels": [1] * 10_001}
    wanted = error_of(http.post("/api/segment", json={"image": seen, "prompts": [labels]}))
    assert "at most 10000 points and labels" in wanted


def test_json_of_too_many_values_is_refused_while_it_comes_in() -> None:
    content = b'{"prompts": [' + b"[]," * 998 + b"[]]}"
    with client(limits=Limits(values=2000)) as http:
        reply = http.post("/api/segment", content=content, headers=JSON)
        assert "got" in reply.json()["error"]
        assert reply.status_code == 422
        reply = http.post("/api/segment", content=content + b"," * 2, headers=JSON)
        assert error_of(reply, 413) == "JSON of at most 2000 values"
        assert http.post("/api/embed", content=png(PICTURE) + b"," * 3000).status_code == 200


@pytest.mark.parametrize("labels", [[10**400], [2], ["1"]])
def test_labels_are_0_or_1(http: TestClient, seen: str, labels: list[Any]) -> None:
    prompt = {"points": [[1, 1]], "labels": labels}
    error_of(http.post("/api/segment", json={"image": seen, "prompts": [prompt]}))


def test_damaged_pictures_are_415_whatever_pillow_raises(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("Failed to decode image: no av1 codec")

    monkeypatch.setattr("anymask.serving.photos.Image.open", fail)
    error_of(http.post("/api/embed", content=b"\0\0\0\x1cftypavif"), 415)


# Everything.


@pytest.mark.parametrize(
    ("settings", "image_hw", "cost"),
    [
        ({}, (80, 120), 32**2 + A_LOOK),
        ({"points_per_side": 4, "crop_n_layers": 1}, (80, 120), 5 * (16 + A_LOOK)),
        ({"points_per_side": 4, "crop_n_layers": 1, "crop_n_points_downscale_factor": 2},
         (80, 120), 16 + A_LOOK + 4 * (4 + A_LOOK)),
        ({"points_per_side": 4, "tile": 64}, (64, 160), 4 * (16 + A_LOOK)),
    ],
)  # fmt: skip
def test_the_cost_is_the_clicks_and_looks_that_are_made(
    settings: dict[str, Any], image_hw: tuple[int, int], cost: int
) -> None:
    class Counting(ColourRuntime):
        looks = 0

        def encode(self, images: Any) -> Any:
            self.looks += len(images)
            return super().encode(images)

    assert cost_of(image_hw, settings) == cost
    runtime = Counting()
    photo = np.zeros((*image_hw, 3), np.uint8)
    Model(runtime).everything(photo, mode="exact", pred_iou_thresh=9, **settings)
    assert sum(n for n, _ in runtime.calls) + A_LOOK * runtime.looks == cost


def test_settings_that_would_take_hours_are_refused_before_the_first_click(
    http: TestClient,
) -> None:
    photo = np.zeros((2000, 2000, 3), np.uint8)
    settings = {"tile": 64, "points_per_side": 64, "crop_n_layers": 2, "mode": "exact"}
    text = base64.b64encode(png(photo)).decode()
    reply = http.post("/api/everything", json={"image": text, "settings": settings})
    assert "everything of at most 250000 clicks" in error_of(reply)
    check_cost(photo, {"tile": 512}, Limits())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stability_score_offset", 10**300), ("tile", 10**300), ("box_nms_thresh", 1e300),
        ("points_per_side", 65), ("points_per_side", "many"), ("crop_n_layers", -1),
        ("crop_n_layers", True), ("tile", [64]), ("crop_n_points_downscale_factor", 1.5),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(
    http: TestClient, seen: str, name: str, value: Any
) -> None:
    error_of(http.post("/api/everything", json={"image": seen, "settings": {name: value}}))


def test_work_ends_when_its_client_has_gone() -> None:
    behind, begun, left = inference(), threading.Event(), threading.Event()

    class Slow(ColourRuntime):
        def decode(self, *rest: Any) -> Any:
            begun.set()
            assert left.wait(30)
            return super().decode(*rest)

    runtime = Slow()
    behind = inference(lambda: Model(runtime))
    behind.start()
    settings = {"points_per_side": 32, "mode": "exact"}
    first = behind.everything(lambda: PICTURE, settings, left)
    waits = behind.everything(lambda: PICTURE, settings, left)

    class Gone:
        async def receive(self) -> dict[str, str]:
            while not begun.is_set():
                await asyncio.sleep(0)
            return {"type": "http.disconnect"}

    async def ask() -> None:
        async with gives_up(Gone(), waits, left):  # type: ignore[arg-type]
            await asyncio.wait([asyncio.wrap_future(first), asyncio.wrap_future(waits)])

    asyncio.run(ask())
    assert isinstance(first.exception(30), Left)
    assert waits.cancelled()
    assert len(runtime.calls) == 1
    behind.close()


# A project's masks.

BAD = [
    {"provenance": {"by": "human", "points": points}}
    for points in ([[1]], "ab", [1, 2], [["a", "b"]], {"x": 1})
]
BAD += [
    {"rle": {"size": [80, 120], "counts": WRAPPED}},
    {"label": "\ud800"},
    {"provenance": {"by": "human", "tool": "\ud800"}},
    {"provenance": {"by": "human", "points": [[1, 1]], "labels": [10**400]}},
    {"provenance": {"by": "human", "prompts": [{"a": [[]]}]}},
]


@pytest.mark.parametrize("change", BAD, ids=lambda change: repr(change)[:50])
def test_a_mask_that_would_spoil_the_project_is_not_stored(
    ask: TestClient, change: dict[str, Any]
) -> None:
    content = json.dumps(body(LEFT, **change))
    error_of(ask.post("/api/images/1/records", content=content, headers=JSON))
    assert ask.get("/api/images/1/records").json()["records"] == []
    assert ask.get("/api/report").status_code == 200
    assert ask.post("/api/export", json={"format": "coco", "force": True}).status_code == 200


def test_numbers_that_are_not_finite_are_refused(ask: TestClient) -> None:
    nan = json.dumps(body(LEFT, provenance={"points": [[float("nan"), 1]]}))
    error_of(ask.post("/api/images/1/records", content=nan, headers=JSON))


def test_a_mask_without_seconds_divides_nothing(ask: TestClient) -> None:
    assert ask.post("/api/images/1/records", json=body(LEFT)).status_code == 201
    assert ask.get("/api/report").json()["saving"] is None


@pytest.mark.parametrize("number", [2**31, 2**63, 10**30])
def test_numbers_beyond_the_database_are_404(ask: TestClient, number: int) -> None:
    headers = {"If-Match": "1"}
    record = body(LEFT)["record"]
    for reply in (
        ask.get(f"/api/images/{number}/pixels"),
        ask.get(f"/api/images/{number}/records"),
        ask.get(f"/api/images/{number}/embedding"),
        ask.post(f"/api/images/{number}/records", json=body(LEFT)),
        ask.post(f"/api/images/{number}/events", json={"events": []}),
        ask.post(f"/api/images/{number}/done", json={}),
        ask.post(f"/api/images/{number}/everything", json={}),
    ):
        assert reply.status_code == 404, (reply.request.url, reply.text)
    for reply in (
        ask.put(f"/api/records/{number}", json=record, headers=headers),
        ask.delete(f"/api/records/{number}", headers=headers),
        ask.post(f"/api/records/{number}/verdict", json={"verdict": "accept"}),
    ):
        assert reply.status_code == 409
    assert ask.get(f"/api/images?after={number}").json() == {"images": [], "next": None}


@pytest.mark.parametrize("version", [b"\xb2", b"9" * 5000, b"-1", b""])
def test_versions_are_plain_numbers(ask: TestClient, version: bytes) -> None:
    ask.post("/api/images/1/records", json=body(LEFT))
    error_of(ask.delete("/api/records/1", headers={b"If-Match": version}))


def test_events_with_deep_or_endless_details_are_refused(ask: TestClient) -> None:
    deep: Any = {}
    for _ in range(900):
        deep = {"a": deep}
    for detail in (deep, {"a": 10**400}, {"a": "\0"}):
        events = {"events": [{"kind": "click", "detail": detail}]}
        error_of(ask.post("/api/images/1/events", json=events))


@pytest.mark.parametrize("content", [b"no picture at all", None])
def test_the_pixels_of_a_photo_that_is_damaged_by_now_are_refused(
    ask: TestClient, project: Project, content: bytes | None
) -> None:
    path = project.folder / "a.png"
    if content is None:
        file = png(PICTURE, "tiff")
        content = file[: len(file) // 2]
    path.write_bytes(content)
    error_of(ask.get("/api/images/1/pixels"))
    assert ask.get("/api/images/1/embedding").status_code in (415, 422)


def test_one_photo_at_a_time_is_converted(
    ask: TestClient, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(PICTURE).convert("CMYK").save(project.folder / "a.png", "TIFF")
    lock, under_way, overlaps = threading.Lock(), [0], [0]
    real = project_addresses.load_image

    def load(path: Path) -> Any:
        with lock:
            under_way[0] += 1
            overlaps[0] += under_way[0] > 1
        try:
            return real(path)
        finally:
            with lock:
                under_way[0] -= 1

    monkeypatch.setattr(project_addresses, "load_image", load)
    replies: list[int] = []
    threads = [
        threading.Thread(target=lambda: replies.append(ask.get("/api/images/1/pixels").status_code))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert replies == [200] * 6
    assert overlaps == [0]


@pytest.mark.parametrize(
    ("error", "status"),
    [(DiskFull("wanted room, got a full disk"), 507), (StoreError("does not answer"), 503),
     (OSError(28, "No space left on device"), 507)],
)  # fmt: skip
def test_what_the_server_lacks_is_no_fault_of_the_client(
    ask: TestClient, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("anymask.engine.store.Store.add_records", fail)
    error_of(ask.post("/api/images/1/records", json=body(LEFT)), status)


# Label Studio.

CONFIG = """<View><Image name="image" value="$photo"/><BrushLabels name="tag" toName="image">
<Label value="disc"/></BrushLabels></View>"""


def predict_body(**changes: Any) -> dict[str, Any]:
    point = {"type": "keypointlabels", "value": {"x": 30, "y": 50, "keypointlabels": ["disc"]}}
    plain = {"tasks": [{"data": {"photo": "a.png"}}], "label_config": CONFIG,
             "params": {"context": {"result": [point]}}}  # fmt: skip
    return plain | changes


def photo(address: str) -> dict[str, Any]:
    return {"tasks": [{"data": {"photo": address}}]}


def region(**value: Any) -> dict[str, Any]:
    return {"params": {"context": {"result": [{"type": "keypointlabels"} | value]}}}


@pytest.mark.parametrize(
    "change",
    [
        {"params": 7}, {"params": {"context": 7}}, {"params": {"context": {"result": [None]}}},
        {"params": {"context": {"result": [7]}}}, {"params": {"context": {"result": 7}}},
        {"tasks": [None]}, {"tasks": 7}, {"tasks": [{}]}, {"label_config": 7},
        region(), region(value=None), region(value=7), region(value={"x": 10**400, "y": 1}),
        photo("a" * 5000), photo("a\0b"), photo("http://[::1"), photo("data:,%%%"), photo(""),
        {"tasks": [{"data": {}}]},
    ],
    ids=lambda change: repr(change)[:60],
)  # fmt: skip
def test_a_question_of_label_studio_that_makes_no_sense_is_refused(
    project: Project, change: dict[str, Any]
) -> None:
    behind = inference()
    router = label_studio_router(behind, Pictures(project.folder), Limits())
    with client(behind, routers=[router]) as http:
        assert http.post("/predict", json=predict_body()).status_code == 200
        reply = http.post("/predict", json=predict_body(**change))
        assert reply.status_code in (400, 413, 415, 422), reply.text
        for schema in (None, 7, ["x"]):
            assert http.post("/setup", json={"schema": schema}).status_code == 422


def test_a_region_with_labels_of_another_kind_has_the_brushs_first(project: Project) -> None:
    behind = inference()
    router = label_studio_router(behind, Pictures(project.folder), Limits())
    odd = region(value={"x": 30, "y": 50, "keypointlabels": 7})
    with client(behind, routers=[router]) as http:
        (found,) = http.post("/predict", json=predict_body(**odd)).json()["results"]
    assert found["result"][0]["value"]["brushlabels"] == ["disc"]


def test_a_refusal_says_which_clicks_are_too_many() -> None:
    with pytest.raises(Refusal, match="send larger tiles, fewer points_per_side"):
        check_cost(np.zeros((100, 100, 3), np.uint8), {}, Limits(clicks=10))
