"""The schema of /openapi.json says what the server does: schemathesis asks, and compares.

Requests are drawn without luck (derandomised), against a server that listens; its model has no
network, so that an answer takes no time.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from anymask.runtime import ASSETS
from anymask.segment import Model
from anymask.studio import ServerParts
from anymask.studio.middleware import Access
from tests.patience import PATIENCE_S
from tests.segment.fakes import NamingRuntime
from tests.studio.servers import CLICK, IMAGE, inference, listening, png

EXAMPLES = 25
IMAGE_BASE64 = base64.b64encode(png(IMAGE)).decode()


@contextmanager
def described(access: Access | None = None, **more: Any) -> Iterator[Any]:
    """The schema of a server that answers, as schemathesis reads it."""
    behind = inference(lambda: Model(NamingRuntime()))
    served = ServerParts(behind, access or Access(), bundle=ASSETS / "nano", **more)
    with listening(served) as address:
        headers = {"Authorization": f"Bearer {access.token}"} if access else {}
        yield schemathesis.openapi.from_url(
            f"{address}/openapi.json", headers=headers, wait_for_schema=None
        )


@pytest.fixture(scope="module")
def schema() -> Iterator[Any]:
    with described() as found:
        yield found


def compare(operation: Any, wrong: bool, examples: int = EXAMPLES) -> None:
    """Ask what the schema allows, or what it does not, and let every check look at the answer.

    Whether bytes are a picture, or a place is inside the photo, no schema can say: what it allows
    may be refused. `test_what_is_right_is_answered_as_the_schema_says` sends what is right.
    """
    from schemathesis.checks import CHECKS
    from schemathesis.generation import GenerationMode

    mode = GenerationMode.NEGATIVE if wrong else GenerationMode.POSITIVE
    (accepted,) = CHECKS.get_by_names(["positive_data_acceptance"])

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        case.call_and_validate(excluded_checks=[accepted], timeout=PATIENCE_S)

    ask()


ADDRESSES = {
    "/health": "GET",
    "/api/encode": "POST",
    "/api/segment": "POST",
    "/api/everything": "POST",
    "/api/names": "POST",
    "/model/{name}": "GET",
}


@pytest.mark.filterwarnings("ignore::Warning")  # of what schemathesis imports
@pytest.mark.parametrize("path", ADDRESSES)
def test_what_the_schema_allows_is_answered_as_it_says(schema: Any, path: str) -> None:
    compare(schema[path][ADDRESSES[path]], wrong=False)


@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize("path", ["/api/encode", "/api/segment", "/api/everything", "/api/names"])
def test_what_the_schema_does_not_allow_is_refused_as_it_says(schema: Any, path: str) -> None:
    compare(schema[path]["POST"], wrong=True)


@pytest.fixture(scope="module")
def project_schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Of a project with one photo."""
    from anymask.studio import create_project
    from anymask.studio.project_routes import ServedProject

    folder = tmp_path_factory.mktemp("project")
    (folder / "a.png").write_bytes(png(IMAGE))
    settings = {"grid": 6, "confident": 0.1, "score": 0, "stability": 0}
    project = create_project(folder, name="discs", labels=["disc"], settings=settings)

    site = ServedProject(project, "ann")
    with described(project=site) as found:
        yield found


@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize("wrong", [False, True], ids=["allowed", "not allowed"])
def test_the_addresses_of_a_project_answer_as_the_schema_says(
    project_schema: Any, wrong: bool
) -> None:
    asked = 0
    for path, methods in project_schema.raw_schema["paths"].items():
        for method, operation in methods.items():
            takes = "requestBody" in operation or "{" in path
            is_video = "video/*" in operation.get("requestBody", {}).get("content", {})
            if path not in ADDRESSES and not is_video and (takes or not wrong):
                compare(project_schema[path][method.upper()], wrong, examples=8)
                asked += 1
    assert asked >= 14


def open_objects(schema: Any, whole: dict[str, Any], visited: set[str]) -> list[str]:
    """The objects of a schema that may hold anything."""
    if isinstance(schema, list):
        return [name for one in schema for name in open_objects(one, whole, visited)]
    if not isinstance(schema, dict):
        return []
    found = []
    if name := schema.get("$ref", "").rpartition("/")[2]:
        known, _ = name in visited, visited.add(name)
        schema = {} if known else whole["components"]["schemas"][name]
    more = schema.get("additionalProperties")
    named = "properties" in schema or more is not None
    if schema.get("type") == "object" and not named:
        found.append(name or str(schema)[:80])
    return found + open_objects(list(schema.values()), whole, visited)


def test_no_answer_is_an_open_object(project_schema: Any) -> None:
    whole, found = project_schema.raw_schema, set()
    for path, methods in whole["paths"].items():
        for method, operation in methods.items():
            for status, reply in operation["responses"].items():
                body = reply.get("content", {}).get("application/json", {}).get("schema")
                if status.startswith("2") and path.startswith("/api"):
                    assert body != {}, (method, path)
                    found |= set(open_objects(body, whole, set()))
    assert found == set()


GRID = {"grid": 4, "score": 0, "stability": 0}


@pytest.mark.parametrize("kind", ["rle", "png", "svg", "polygons", "geojson", "cutout", "webp"])
def test_what_is_right_is_answered_as_the_schema_says(schema: Any, kind: str) -> None:
    bodies: dict[str, list[Any]] = {
        "/api/segment": [
            {"image": IMAGE_BASE64} | CLICK,
            {"image": IMAGE_BASE64, "prompt": {"box": [75, 20, 115, 60]}, "granularity": "whole"},
            {"image": IMAGE_BASE64, "prompts": [CLICK]},
        ],
        "/api/everything": [{"image": IMAGE_BASE64}, {"image": IMAGE_BASE64, "settings": GRID}],
    }
    if kind in ("cutout", "webp"):
        del bodies["/api/everything"]
    for path, several in bodies.items():
        for body in several:
            case = schema[path]["POST"].Case(
                body=body, query={"format": kind}, media_type="application/json"
            )
            reply = case.call()
            case.validate_response(reply)
            assert reply.status_code == 200, reply.text


def test_every_failure_of_the_schema_has_the_form_that_is_sent(schema: Any) -> None:
    for path, methods in schema.raw_schema["paths"].items():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if status >= "4":
                    (content,) = answer["content"].values()
                    assert content["schema"]["$ref"].endswith("/FailureBody"), (path, status)
            assert {"4XX", "5XX"} <= set(operation["responses"])


def test_head_is_answered_as_get_without_its_body() -> None:
    behind = inference(lambda: Model(NamingRuntime()))
    served = ServerParts(behind, bundle=ASSETS / "nano")
    with listening(served) as address:
        for path in ("/health", "/api/videos", "/openapi.json", "/docs", "/model/manifest.json"):
            told, reply = httpx2.head(address + path), httpx2.get(address + path)
            assert told.status_code == reply.status_code == 200, path
            assert told.headers["content-type"] == reply.headers["content-type"]
            length = reply.headers["content-length"]
            assert (told.content, told.headers["content-length"]) == (b"", length)
        assert httpx2.head(f"{address}/api/segment").status_code == 405
        assert httpx2.head(f"{address}/api/videos/none").status_code == 404
        assert httpx2.head(f"{address}/api/videos/none/masks").status_code == 405
        paths = httpx2.get(f"{address}/openapi.json").json()["paths"]
        methods = {method for operations in paths.values() for method in operations}
        assert methods <= {"get", "post", "put", "delete"}
