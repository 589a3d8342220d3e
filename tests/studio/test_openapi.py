"""What /openapi.json tells: a line and an example of each address, and the page's types."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.runtime import find_bundle
from anymask.segment import Model
from anymask.studio import ServerParts, create_project
from anymask.studio.project_routes import ServedProject
from anymask.studio.schemas import DISC
from tests.patience import PATIENCE_S
from tests.scripts import loaded_script
from tests.segment.fakes import NamingRuntime
from tests.studio.scans import write_scan
from tests.studio.servers import inference, listening
from tests.track.clips import write_video

ROOT = Path(__file__).parents[2]
PACKAGE = Path(anymask.__file__).parent
FRAMES = [np.full((48, 64, 3), 40 * n, np.uint8) for n in range(3)]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A real server: a project of a photo and a clip of the examples' size, a model that names."""
    folder = tmp_path_factory.mktemp("project")
    Image.fromarray(FRAMES[0]).save(folder / "a.png")
    clip = write_video(folder / "clip.mp4", FRAMES)
    behind = inference(lambda: Model(NamingRuntime()))
    site = ServedProject(create_project(folder, labels=["disc"]), "ann")
    parts = ServerParts(
        behind, bundle=find_bundle("nano", None), clips={"clip.mp4": clip},
        scans={"scan.nii.gz": write_scan(folder / "scan.nii.gz")},
        project=site,
    )  # fmt: skip
    with listening(parts) as address, httpx2.Client(base_url=address, timeout=PATIENCE_S) as client:
        yield client


@pytest.fixture(scope="module")
def document(http: httpx2.Client) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What is said of each address, by "METHOD address"."""
    paths = document["paths"].items()
    return {f"{how.upper()} {path}": one for path, many in paths for how, one in many.items()}


def example_of(document: dict[str, Any], operation: dict[str, Any]) -> Any:
    """The body that /docs fills in, or None."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    schema = content["schema"]
    named = [schema, *schema.get("anyOf", ())]
    names = [one["$ref"].rpartition("/")[2] for one in named if "$ref" in one]
    whole = document["components"]["schemas"]
    return (whole[names[0]] if names else schema).get("examples", [None])[0]


def test_every_address_has_a_summary_a_tag_and_an_example(document: dict[str, Any]) -> None:
    found = operations(document)
    assert len(found) > 60
    for name, one in found.items():
        assert one["tags"], name
        assert 10 < len(one["summary"]) < 110, (name, one["summary"])
        content = one.get("requestBody", {}).get("content", {})
        if "application/json" in content:
            assert example_of(document, one) is not None, name
        for parameter in one.get("parameters", ()):
            assert "example" in parameter or not parameter["required"], (name, parameter["name"])


SESSION = "/api/videos/{name}"
VOLUME = "/api/volumes/{name}"
ORDER = [  # a clip, sessions of their own; then what makes the things that the others ask about
    "POST /api/clips", "POST /api/clips/{clip}/tracks",
    "POST /api/videos", f"POST {SESSION}/frames", f"DELETE {SESSION}",
    "POST /api/videos", f"PUT {SESSION}/file", f"DELETE {SESSION}",
    "POST /api/videos", f"PUT {SESSION}/clip", f"POST {SESSION}/prompts",
    "POST /api/volumes", f"PUT {VOLUME}/file", f"DELETE {VOLUME}",
    "POST /api/volumes", f"PUT {VOLUME}/scan", f"PUT {VOLUME}/window", f"POST {VOLUME}/prompts",
    "POST /api/images/{image_id}/records", "PUT /api/records/{record_id}",
]  # fmt: skip


COCO = (
    b'{"images": [{"id": 1, "file_name": "other.png", "width": 8, "height": 8}], "categories": [],'
    b' "annotations": [{"id": 1, "image_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4]]}]}'
)


def test_what_docs_fills_in_is_answered(
    http: httpx2.Client, document: dict[str, Any], tmp_path: Path
) -> None:
    """Every address with its example, as `Try it out` sends it; what it deletes last."""
    scan = write_scan(tmp_path / "scan.nii.gz").read_bytes()
    known = operations(document)
    rest = sorted(set(known) - set(ORDER), key=lambda n: (n.startswith("DELETE"), -len(n)))
    for name in [*ORDER, *rest, f"DELETE {SESSION}", f"DELETE {VOLUME}"]:
        (method, path), one, headers, query = name.split(), known[name], {}, dict[str, Any]()
        for parameter in one.get("parameters", ()):
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", str(parameter["example"]))
            elif parameter["in"] == "header" and parameter["required"]:
                headers[parameter["name"]] = parameter["example"]
            elif parameter["in"] == "query":  # what the page fills in of itself
                filled = parameter.get("example", parameter["schema"].get("default"))
                query |= {} if filled is None else {parameter["name"]: filled}
        if path.endswith("/file") and method == "PUT":  # which somebody has to choose
            chosen = scan if "volumes" in path else http.get("/api/clips/1/file").content
            reply = http.put(path, content=chosen, params=query)
        elif path == "/api/import":
            reply = http.post(path, content=COCO, params={"name": "masks.json"})
        else:
            body = example_of(document, one)
            reply = http.request(method, path, json=body, headers=headers, params=query)
        assert reply.status_code < 400, (name, reply.text)


def test_forms_are_answered_as_docs_fills_them_in(
    http: httpx2.Client, document: dict[str, Any]
) -> None:
    """The photo is the example's picture; fields without an example are sent empty."""
    image = {"file": ("disc.png", base64.b64decode(DISC), "image/png")}
    asked = 0
    for name, one in operations(document).items():
        form = one.get("requestBody", {}).get("content", {}).get("multipart/form-data")
        if form is None or "{" in name:
            continue
        fields = {
            key: about for key, about in form["schema"]["properties"].items() if key != "file"
        }
        filled = {key: about["example"] for key, about in fields.items()}
        reply = http.post(name.split()[1], files=image, data=filled)
        assert reply.status_code == 200, (name, reply.text)
        asked += bool(filled)
    assert asked == 4  # segment, everything, find, names


def test_the_page_s_types_are_what_the_server_says() -> None:
    with loaded_script(ROOT / "web" / "scripts" / "schema.py") as script:
        told = script.to_typescript(script.openapi())
        assert told == script.TARGET.read_text(), "run: python web/scripts/schema.py"
