"""What /openapi.json tells: a line and an example of each address, and the page's types."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

import anymask
from anymask.segment import Model
from anymask.studio import ServedProject, TaskPictures, create_project
from tests.scripts import loaded_script
from tests.segment.fakes import NamingRuntime
from tests.studio.servers import PICTURE, client, inference, png

ROOT = Path(__file__).parents[2]
PACKAGE = Path(anymask.__file__).parent
Operation = tuple[str, str, dict[str, Any]]  # address, method, what is said of it


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server with a project of one photo of the examples' size, and a model that names."""
    folder = tmp_path_factory.mktemp("project")
    Image.new("RGB", (64, 48)).save(folder / "a.png")
    behind = inference(lambda: Model(NamingRuntime()))
    site = ServedProject(create_project(folder, labels=["disc"]), "ann")
    with client(behind, project=site, label_studio=TaskPictures(folder)) as started:
        yield started


def operations(http: TestClient) -> list[Operation]:
    paths = http.get("/openapi.json").json()["paths"]
    return [(path, name, one) for path, many in paths.items() for name, one in many.items()]


def example_of(http: TestClient, operation: dict[str, Any]) -> Any:
    """The body that /docs fills in, or None."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    schema = content["schema"]
    named = [schema, *schema.get("anyOf", ())]
    names = [one["$ref"].rpartition("/")[2] for one in named if "$ref" in one]
    whole = http.get("/openapi.json").json()["components"]["schemas"]
    return (whole[names[0]] if names else schema).get("examples", [None])[0]


def test_every_address_has_a_summary_a_tag_and_an_example(http: TestClient) -> None:
    found = operations(http)
    assert len(found) > 50
    for path, method, one in found:
        assert one["summary"], (path, method)
        assert one["tags"], (path, method)
        assert 10 < len(one["summary"]) < 110, (path, one["summary"])


@pytest.mark.parametrize("tag", ["model", "project", "Label Studio"])
def test_what_docs_fills_in_is_answered(http: TestClient, tag: str) -> None:
    order = {"post": 0, "get": 1, "put": 2, "delete": 3}
    tried = [row for row in operations(http) if row[2]["tags"] == [tag] and row[0][:7] != "/model/"]
    for path, method, one in sorted(tried, key=lambda row: (order[row[1]], len(row[0]))):
        headers, version = {}, path[4:] == "/records/{record_id}"
        for parameter in one.get("parameters", ()):
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", str(parameter["example"]))
            elif parameter["in"] == "header" and parameter["required"]:
                headers[parameter["name"]] = parameter["example"]
        body = example_of(http, one)
        reply = http.request(method, path, json=body, headers=headers)
        late = version or "verdict" in path or path.endswith("/export")  # what came before decides
        assert reply.status_code < 300 or (late and reply.status_code in (403, 409, 422)), (
            reply.text
        )


def test_the_page_s_types_are_what_the_server_says() -> None:
    with loaded_script(ROOT / "web" / "scripts" / "schema.py") as script:
        told = script.to_typescript(script.openapi())
        assert told == script.TARGET.read_text(), "run: python web/scripts/schema.py"


def test_a_request_for_a_mask_enters_few_files() -> None:
    """`POST /api/segment` with a photo, in whatever thread."""
    entered: set[str] = set()
    tracing = False

    def note(frame: FrameType, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if tracing and event == "call" and PACKAGE in path.parents:
            entered.add(path.relative_to(PACKAGE).as_posix())

    model = anymask.load()
    before = threading.getprofile(), sys.getprofile()
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        with client(inference(lambda: model)) as http:
            for picture in (PICTURE[:, ::-1].copy(), PICTURE):
                files = {"file": png(picture)}
                reply = http.post("/api/segment", files=files, data={"points": "[[35, 40]]"})
                assert reply.status_code == 200, reply.text
                tracing = not tracing  # the first one opens the sessions
    finally:
        threading.setprofile(before[0])
        sys.setprofile(before[1])
    assert len(entered) <= 26, sorted(entered)
