"""Files of the server: the page, an exported model, and the API documentation.

Only files in the manifest with a matching hash are served. `write_static` writes page and model to
a folder for any other web server.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi import Path as InPath
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from anymask.base import InputError, file_sha256, import_offline, parse_json, staged
from anymask.images import sample
from anymask.models.rules import DEFAULT_VIDEO_MODEL
from anymask.runtime import (
    MANIFEST,
    NAME_VECTORS,
    TABLES,
    WEIGHTS,
    GraphNames,
    check_file,
    read_manifest,
    shared_folder,
)
from anymask.studio.errors import RequestError
from anymask.studio.model_routes import BINARY

WEB = Path(__file__).parents[1] / "assets" / "web"
SWAGGER = WEB.parent / "swagger"  # from the npm package swagger-ui-dist, with two files of anymask
SAMPLE_FILE = "sample.jpg"  # sample image of an empty page
_FRESH = {"Cache-Control": "no-cache"}  # cached, but revalidated
_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_HASHED = re.compile(r"-[\w-]{8}\.\w+$")  # hashed file names of Vite
_KEPT = ("content-type", "etag", "last-modified", "cache-control")


def model_files(bundle: Path | None) -> dict[str, Path]:
    """Files of an exported model by name. Empty if its weights are in a separate file, which
    browsers do not support (`page_bundle`).

    Raises WeightsError if the bundle is invalid, or a file does not match the manifest.
    """
    if bundle is None:
        return {}
    manifest = read_manifest(bundle)
    if manifest.refers:
        return {}
    files = {name: check_file(bundle, manifest, name) for name in manifest.sha256}
    return files | {MANIFEST: bundle / MANIFEST}


def page_bundle(bundle: Path, target: Path) -> Path:
    """Bundle for the page: the same one, or a converted one if the weights are in a separate file.

    The converted bundle has the decoder in one file, and the networks for edges and names. Its
    encoder file is empty, because the server encodes. Raises WeightsError if the bundle is
    incomplete.
    """
    manifest = read_manifest(bundle)
    if not manifest.refers:
        return bundle
    ort = import_offline("onnxruntime")
    target.mkdir()
    path = bundle / MANIFEST
    document: dict[str, Any] = parse_json(path.read_bytes(), path) | {"sent": True}
    check_file(bundle, manifest, WEIGHTS)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC  # plain ONNX
    file = document["graphs"][GraphNames.DECODER]["file"]
    options.optimized_model_filepath = str(target / file)
    options.log_severity_level = 3  # errors only: it warns about the file it writes
    ort.InferenceSession(str(check_file(bundle, manifest, file)), options)
    (target / document["graphs"][GraphNames.ENCODER]["file"]).touch()
    if TABLES in manifest.sha256:
        shutil.copyfile(check_file(bundle, manifest, TABLES), target / TABLES)
    if (shared := shared_folder(manifest.spec)) is not None:
        theirs = read_manifest(shared)
        path = shared / MANIFEST
        graphs = parse_json(path.read_bytes(), path)["graphs"]
        document["graphs"] |= {
            kind: graphs[kind] for kind in (GraphNames.REFINER, GraphNames.NAMES)
        }
        for file in (
            *(theirs.graph(kind).file for kind in (GraphNames.REFINER, GraphNames.NAMES)),
            NAME_VECTORS,
        ):
            shutil.copyfile(check_file(shared, theirs, file), target / file)
    document["sha256"] = {path.name: file_sha256(path) for path in sorted(target.iterdir())}
    (target / MANIFEST).write_text(json.dumps(document), "utf-8")
    return target


class FreshFiles(StaticFiles):
    """Static files with compression and cache headers. Hashed names are immutable."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_FOREVER if _HASHED.search(path) else _FRESH)
        return await compressed(response, Headers(scope=scope))


@lru_cache(maxsize=32)
def _gzipped(path: str, changed: float) -> bytes | None:
    """Content of a file in gzip; None if it is reduced by less than a tenth."""
    content = Path(path).read_bytes()
    packed = gzip.compress(content, 6)
    return packed if len(packed) < 0.9 * len(content) else None


async def compressed(response: Response, request_headers: Headers) -> Response:
    """Compress a file with gzip if the client supports it. The result is cached in memory."""
    if not isinstance(response, FileResponse) or response.status_code != 200:
        return response
    if "range" in request_headers or "gzip" not in request_headers.get("accept-encoding", ""):
        return response
    path = Path(response.path)
    packed = await run_in_threadpool(_gzipped, str(path), path.stat().st_mtime)
    if packed is None:
        return response
    headers = {name: response.headers[name] for name in _KEPT if name in response.headers}
    headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return Response(packed, headers=headers)


def add_pages(api: FastAPI, bundle: Path | None) -> None:
    """Add the page at /, its model below /model, and /docs. Must be the last routes."""
    files = {
        name: (path, file_sha256(path))
        for name, path in model_files(bundle).items()
        if path.stat().st_size  # see `page_bundle`
    }

    @api.get(
        "/model/{name}",
        tags=["model"],
        response_class=FileResponse,
        responses={
            200: {
                "description": "The file",
                "content": {
                    "application/octet-stream": BINARY,
                    "application/json": {"schema": {"type": "object"}},
                },
            },
            304: {"description": "Not modified"},
        },
    )
    async def model_file(
        name: Annotated[str, InPath(examples=["manifest.json"])], request: Request
    ) -> Response:
        """A file of the exported model: manifest.json, encoder.onnx, decoder.onnx, tables.json."""
        if name not in files:
            raise RequestError(404, f"/model/{name[:80]} is not a file of the exported model.")
        path, digest = files[name]
        headers = _FRESH | {"ETag": f'"{digest}"'}
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        kind = "application/json" if path.suffix == ".json" else "application/octet-stream"
        return await compressed(
            FileResponse(path, media_type=kind, headers=headers), request.headers
        )

    @api.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        """Serve the API documentation."""
        return FileResponse(SWAGGER / "index.html", headers=_FRESH)

    @api.get("/redoc", include_in_schema=False)
    async def redoc(request: Request) -> Response:
        """Redirect to /docs, with the token."""
        return RedirectResponse(f"docs?{request.url.query}" if request.url.query else "docs")

    @api.get("/", include_in_schema=False)
    async def page() -> Response:
        """Serve the page."""
        if not (WEB / "index.html").is_file():
            raise RequestError(404, "The page is not built in this installation. Run: make web")
        return FileResponse(WEB / "index.html", headers=_FRESH)

    @api.get(f"/{SAMPLE_FILE}", include_in_schema=False)
    async def sample_image() -> Response:
        """Serve the sample image of an empty page."""
        return FileResponse(sample("rocket"), headers=_FRESH)

    api.mount("/docs", FreshFiles(directory=SWAGGER))
    api.mount("/", FreshFiles(directory=WEB, check_dir=False))


def write_static(target: Path, bundle: Path | None) -> int:
    """Write page and model for any web server. Returns the number of bytes.

    Raises InputError for a checkpoint, a model that browsers do not support, an unbuilt page, or a
    folder with other files.
    """
    if bundle is None:
        raise InputError("A page requires an exported model. Run: anymask export NAME -o DIR")
    files = {f"model/{name}": path for name, path in model_files(bundle).items()}
    if not files:
        raise InputError(f"{bundle.name} cannot run in a browser. Use {DEFAULT_VIDEO_MODEL}.")
    if not (WEB / "index.html").is_file():
        raise InputError("The page is not built in this installation. Run: make web")
    if target.exists() and not target.is_dir():
        raise InputError(f"The output {target} is a file. Choose the name of a folder.")
    ours = (target / "build.json").is_file()
    if target.is_dir() and any(target.iterdir()) and not ours:
        raise InputError(f"{target} is not empty, and not written by --static. Choose another.")
    files[SAMPLE_FILE] = sample("rocket")
    page = (path for path in sorted(WEB.rglob("*")) if path.is_file())
    files |= {path.relative_to(WEB).as_posix(): path for path in page}
    with staged(target) as site:
        sizes = [
            shutil.copyfile(path, site.draft(target / name)).stat().st_size
            for name, path in files.items()
        ]
        for stale in ("assets", "model") if ours else ():
            shutil.rmtree(target / stale, ignore_errors=True)
    return sum(sizes)
