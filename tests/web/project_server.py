"""A small server with the page's routes, in memory, that can be told to fail.

What the page needs of a server and no more, on the standard library, so that the page's tests need
neither the real server nor a database.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

import anymask
from anymask.masks import Mask, mask_to_rle
from tests.web.name_list import change_names, listed, suggested
from tests.web.told import REPORT, plane_of, planes_of, proposal, unchanged, values_of

ASSETS = Path(anymask.__file__).parent / "assets"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
}


@cache
def model() -> Any:
    return anymask.load()


_SEEN: dict[str, bytes] = {}  # by the photo's pixels: one photo is embedded once for all tests


def embedding_bytes(image: np.ndarray) -> bytes:
    """An embedding as it travels: uint32 length, JSON header, then the maps in half precision."""
    key = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()
    if key not in _SEEN:
        _SEEN[key] = _embedded(image)
    return _SEEN[key]


def _embedded(image: np.ndarray) -> bytes:
    features = model().encode(image)
    maps = {one.name: one.values for one in features.maps}
    header = {
        "image_hw": features.geometry.image_hw,
        "input_hw": features.geometry.input_hw,
        "side": features.geometry.side,
        "mask_side": model().spec.mask_side,
        "model": features.model,
        "model_hash": features.model_hash,
        "image_hash": features.image_hash,
        "maps": [
            {"name": name, "shape": array.shape, "dtype": "float16"} for name, array in maps.items()
        ],
    }
    text = json.dumps(header).encode()
    halves = b"".join(array.astype("<f2").tobytes() for array in maps.values())
    return struct.pack("<I", len(text)) + text + halves


@dataclass
class Project:
    """What the server holds, and how it is to misbehave."""

    images: dict[str, np.ndarray] = field(default_factory=dict)
    stage: str = "assisted"
    arm: str = "model"
    labels: list[str] = field(default_factory=lambda: ["cat", "cup"])
    colors: dict[str, str] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    queue: list[str] = field(default_factory=list)  # records to review
    phrases: list[tuple[str, str]] = field(default_factory=list)  # image, phrase: to review
    answers: list[dict[str, Any]] = field(default_factory=list)  # of phrases
    stacks: dict[str, np.ndarray] = field(default_factory=dict)  # (pages, channels, H, W)
    lost: bool = False  # cut every connection to the project
    broken: set[str] = field(default_factory=set)  # photos whose file is cut off
    token: str = ""
    guesses: dict[str, float] = field(default_factory=lambda: {"cup": 0.7, "bowl": 0.2})
    wishes: list[Any] = field(default_factory=list)  # for names of masks
    finds: list[Any] = field(default_factory=list)  # questions about photos
    asked: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    count: int = 0

    def add(self, image: str, record: dict[str, Any]) -> dict[str, Any]:
        self.count += 1
        kept = {**record, "id": f"r{self.count}", "version": 1, "image": image}
        self.records[kept["id"]] = kept
        return kept

    def of(self, image: str) -> list[dict[str, Any]]:
        return [record for record in self.records.values() if record["image"] == image]


class Refused(Exception):
    def __init__(self, status: int, **body: Any) -> None:
        self.status, self.body = status, body


def refuse(status: int, message: str, **more: Any) -> Refused:
    return Refused(status, error={"message": message, "status": status}, **more)


class Handler(BaseHTTPRequestHandler):
    project: Project | None = None
    isolated = True
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        project = self.project
        api = self.url.path.startswith(("/api/", "/health"))
        try:
            if not api or project is None:
                return self._file()
            project.asked.append(f"{self.command} {self.url.path}")
            if project.lost:
                self.close_connection = True
                return self.connection.close()
            self._check(project)
            with project.lock:
                answer = self._route(project)
        except Refused as refused:
            self.send(json.dumps(refused.body).encode(), status=refused.status)
        else:
            if isinstance(answer, bytes):
                self.send(answer, kind="application/octet-stream")
            elif answer is None:
                self.send(b"", status=204)
            else:
                self.send(json.dumps(answer).encode())

    def _check(self, project: Project) -> None:
        if project.token and self.headers.get("Authorization") != f"Bearer {project.token}":
            raise refuse(401, "Access token required.")

    def send(self, body: bytes, status: int = 200, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if self.isolated:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            policy = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' "
            policy += "data: blob:; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'"
            self.send_header("Content-Security-Policy", policy)
        self.end_headers()
        if body:
            self.wfile.write(body)

    def _file(self) -> None:
        name = self.url.path.lstrip("/") or "index.html"
        folder, inside = (
            ("nano", name.removeprefix("model/")) if name.startswith("model/") else ("web", name)
        )
        path = (
            anymask.sample("rocket")
            if name == "sample.jpg"
            else (ASSETS / folder / inside).resolve()
        )
        if not path.is_relative_to(ASSETS) or not path.is_file():
            return self.send(b"not here", status=404, kind="text/plain")
        return self.send(path.read_bytes(), kind=KINDS.get(path.suffix, "text/plain"))

    # ------------------------------------------------------------------------------- the project

    def _route(self, project: Project) -> Any:
        for pattern, handler in ROUTES:
            found = re.fullmatch(pattern, f"{self.command} {self.url.path}")
            if found:
                return handler(self, project, *found.groups())
        raise refuse(404, f"Unknown address: {self.url.path}.")

    def json(self) -> Any:
        return json.loads(self.body)

    def images(self, project: Project) -> Any:
        query = {name: values[0] for name, values in parse_qs(self.url.query).items()}
        names = list(project.images)
        start = names.index(query["after"]) + 1 if "after" in query else 0
        stop = start + int(query["limit"])
        entries = [
            {
                "id": name,
                "name": f"{name}.png",
                "width": project.images[name].shape[1],
                "height": project.images[name].shape[0],
                "status": "done" if name in project.done else "new",
                "version": 1,
                "records": len(project.of(name)),
            }
            for name in names[start:stop]
        ]
        return {"images": entries, "next": names[stop - 1] if stop < len(names) else None}

    def planes(self, project: Project, image: str) -> Any:
        return planes_of(project.stacks.get(image))

    def values(self, project: Project, image: str) -> Any:
        page = int(parse_qs(self.url.query)["page"][0])
        return values_of(project.stacks.get(image), page)

    def shown(self, project: Project, image: str) -> np.ndarray:
        stack = project.stacks.get(image)
        return project.images[image] if stack is None else plane_of(stack, parse_qs(self.url.query))

    def pixels(self, project: Project, image: str) -> bytes:
        file = io.BytesIO()
        Image.fromarray(self.shown(project, image)).save(file, "png", compress_level=1)
        return file.getvalue()[: 100 if image in project.broken else None]

    def create(self, project: Project, image: str) -> Any:
        body = self.json()
        for record in project.of(image):
            if record.get("client_id") == body["client_id"]:
                return record
        return project.add(image, {**body["record"], "client_id": body["client_id"]})

    def changed(self, project: Project, name: str) -> dict[str, Any]:
        record = project.records.get(name)
        if record is None:
            raise refuse(409, "The record was deleted.", current=None)
        if str(record["version"]) != self.headers["If-Match"]:
            raise refuse(409, "The record has another version.", current=record)
        return record

    def update(self, project: Project, name: str) -> Any:
        record = self.changed(project, name)
        record |= {**self.json(), "version": record["version"] + 1}
        return record

    def delete(self, project: Project, name: str) -> Any:
        del project.records[self.changed(project, name)["id"]]
        return {}

    def configure(self, project: Project) -> Any:
        project.stage = self.json()["stage"]
        return describe(project)

    def log(self, project: Project, image: str) -> Any:
        project.events += [{**event, "image": image} for event in self.json()["events"]]
        return {}

    def everything(self, project: Project, image: str) -> Any:
        pixels = self.shown(project, image)
        expected = {"score": 0.0, "min_objectness": 0.0}
        found = model().everything(pixels, grid=12, **expected)
        found = sorted(found, key=lambda record: -record.score)
        good = [record for record in found if record.score > 0.45]
        others = [proposal(record) for record in found[len(good) :]]
        kept = [project.add(image, proposal(record)) for record in good]
        return {"records": kept, "others": others}

    def find(self, project: Project, image: str) -> Any:
        """Two squares that are called as the word, or as the example; "cupp" is not known."""
        question = self.json()
        project.finds.append(question)
        if question.get("words") == "cupp":
            raise refuse(422, "Unknown name 'cupp'. The closest names are: cup.")
        (example,) = question.get("like") or [{"record": None}]
        known = project.records.get(str(example["record"]), {})
        label = question.get("words") or known.get("label")
        height, width = project.images[image].shape[:2]
        found = []
        for left in (20, 120):
            mask = np.zeros((height, width), np.bool_)
            mask[200:260, left : left + 60] = True
            one = proposal(Mask(mask_to_rle(mask), score=0.8))
            found.append(project.add(image, one | {"label": label}))
        return {"records": found, "existing": 1}

    def next_review(self, project: Project) -> Any:
        if not project.queue:
            return None
        record = project.records[project.queue[0]]
        about = {"image": record["image"], "page": record.get("page", 0)}
        return about | {"record": record["id"], "why": "low score 0.41"}

    def next_concept(self, project: Project) -> Any:
        if not project.phrases:
            return None
        image, phrase = project.phrases[0]
        masks = sum(one["label"] == phrase for one in project.of(image))
        return {"image": image, "phrase": phrase, "masks": masks, "answer": None}

    def answer_concept(self, project: Project) -> Any:
        project.answers.append(self.json())
        image, phrase = project.phrases.pop(0)
        return {"image": image, "phrase": phrase, "masks": 0, "answer": self.json()["answer"]}

    def verdict(self, project: Project, name: str) -> Any:
        body = self.json()
        project.verdicts.append({"record": name, **body})
        project.queue.remove(name)
        record = project.records[name]
        record["state"] = "rejected" if body["verdict"] == "reject" else "accepted"
        record["version"] += 1
        if body.get("rle"):
            record["rle"] = body["rle"]
        return record

    def name(self, project: Project) -> Any:
        if self.command != "GET":
            change_names(project, self.command, self.json())
        return {"labels": listed(project)}

    def thumbnail(self, project: Project, image: str) -> bytes:
        file = io.BytesIO()
        Image.fromarray(project.images[image][::8, ::8]).save(file, "png")
        return file.getvalue()


def describe(project: Project) -> dict[str, Any]:
    return {
        "name": "shelf",
        "labels": listed(project),
        "stage": project.stage,
        "arm": project.arm,
        "user": "ann",
        "counts": {"images": len(project.images)},
    }


Route = Callable[..., Any]
IMAGE, RECORD = r"/api/images/([\w-]+)", r"/api/records/([\w-]+)"
ROUTES: list[tuple[str, Route]] = [
    ("GET /health", lambda _, project: {"status": "ready", "model": "nano"}),
    ("GET /api/project", lambda _, project: describe(project)),
    ("PUT /api/project", Handler.configure),
    ("GET /api/images", Handler.images),
    (f"GET {IMAGE}/pixels", Handler.pixels),
    (f"GET {IMAGE}/planes", Handler.planes),
    (f"GET {IMAGE}/values", Handler.values),
    (f"GET {IMAGE}/embedding", lambda it, project, name: embedding_bytes(it.shown(project, name))),
    (f"GET {IMAGE}/records", lambda _, project, name: {"version": 1, "records": project.of(name)}),
    (f"GET {IMAGE}/changes", lambda _, project, name: unchanged(name in project.done)),
    (f"POST {IMAGE}/records", Handler.create),
    (f"PUT {RECORD}", Handler.update),
    (f"DELETE {RECORD}", Handler.delete),
    (f"POST {IMAGE}/events", Handler.log),
    (f"POST {IMAGE}/everything", Handler.everything),
    (f"POST {IMAGE}/find", Handler.find),
    ("GET /api/search", lambda *_: {"state": "none"}),
    ("GET /api/names", lambda *_: {"names": ["cat", "cup"], "detector": None}),
    (f"GET {IMAGE}/progress", lambda *_: {"done": 0, "total": 0}),
    (f"POST {IMAGE}/done", lambda _, project, image: project.done.append(image)),
    ("GET /api/review/next", Handler.next_review),
    ("GET /api/review/concept", Handler.next_concept),
    ("POST /api/review/concept", Handler.answer_concept),
    (f"POST {RECORD}/verdict", Handler.verdict),
    (f"GET {IMAGE}/thumbnail", Handler.thumbnail),
    ("GET /api/report", lambda *_: REPORT),
    ("(?:GET|POST|PUT|DELETE) /api/labels", Handler.name),
    ("POST /api/names", lambda it, project: suggested(project, it.json())),
]


class Site:
    """A running server; `url` is where the page is."""

    def __init__(self, project: Project | None = None, *, isolated: bool = True) -> None:
        handler = type("Bound", (Handler,), {"project": project, "isolated": isolated})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
