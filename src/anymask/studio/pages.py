"""Static files of the server: pages and graphs over HTTP, or written into a folder.

Every address is a route or a name in a table that is made once, so none can name another file.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, RedirectResponse, Response

from anymask.base import InputError
from anymask.models.rules import DEFAULT_MODEL
from anymask.runtime import MANIFEST, check_file, file_sha256, read_manifest
from anymask.studio.refusals import ANYWHERE, Refusal, documented

WEB = Path(__file__).parents[1] / "assets" / "web"
SWAGGER = WEB.parent / "swagger"  # of the npm package swagger-ui-dist, and two files of our own
MARK = "build.json"  # of the page: a folder with it was written by us
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}
_ANY = "application/octet-stream"


@dataclass(frozen=True)
class Asset:
    """A file behind an address, and the hash of its bytes."""

    path: Path
    etag: str

    @property
    def kind(self) -> str:
        """Its media type."""
        return _KINDS.get(self.path.suffix, _ANY)


def page_assets(web: Path = WEB) -> dict[str, Asset]:
    """The built page: address -> file. Empty where it has not been built."""
    files = sorted(path for path in web.rglob("*") if path.is_file()) if web.is_dir() else []
    return {path.relative_to(web).as_posix(): Asset(path, file_sha256(path)) for path in files}


def model_assets(bundle: Path | None) -> dict[str, Asset]:
    """An exported model's files: address -> file. None of a model whose graphs' numbers lie apart:
    the page asks the server then, as for a checkpoint.

    Raises WeightsError for what is no bundle, and for a file that is not the manifest's.
    """
    if bundle is None:
        return {}
    manifest = read_manifest(bundle)
    if manifest.refers:
        return {}
    files = {name: check_file(bundle, manifest, name) for name in manifest.sha256}
    found = {f"model/{name}": Asset(files[name], manifest.sha256[name]) for name in files}
    place = bundle / MANIFEST
    return found | {f"model/{MANIFEST}": Asset(place, file_sha256(place))}


def docs_assets() -> dict[str, Asset]:
    """The page that shows every address, and tries them: address -> file."""
    names = ("start.js", "swagger-ui-bundle.js", "swagger-ui.css")
    files = {f"docs/{name}": SWAGGER / name for name in names} | {"docs": SWAGGER / "index.html"}
    return {address: Asset(path, file_sha256(path)) for address, path in files.items()}


def pages_router(assets: dict[str, Asset]) -> APIRouter:
    """A route for each file, and /model/NAME for those of an exported model."""
    router = APIRouter()
    _add_model_files(router, assets)
    router.add_route("/", _sender(assets.get("index.html")), ["GET"], include_in_schema=False)
    router.add_route("/redoc", _to_docs, ["GET"], include_in_schema=False)
    for name, asset in assets.items():
        if not name.startswith("model/"):
            router.add_route(f"/{name}", _sender(asset), ["GET"], include_in_schema=False)
    return router


def _add_model_files(router: APIRouter, assets: dict[str, Asset]) -> None:
    hash_of_bytes = {"ETag": {"schema": {"type": "string"}, "description": "the hash of its bytes"}}
    content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}

    @router.get(
        "/model/{name}",
        response_class=FileResponse,
        responses={
            200: {
                "description": "The file",
                "content": content | {"application/json": {"schema": {"type": "object"}}},
                "headers": hash_of_bytes,
            },
            304: {"description": "The file of If-None-Match is the same still"},
            **documented(404, 422, *ANYWHERE),
        },
    )
    async def model_file(name: str, request: Request) -> Response:
        """A file of the exported model: manifest.json, encoder.onnx, decoder.onnx, tables.json."""
        asset = assets.get(f"model/{name}")
        if asset is None:
            remedy = "for a checkpoint: anymask export NAME -o DIR; anymask serve --model DIR"
            raise Refusal(404, "a file of the exported model", f"/model/{name[:80]}", remedy)
        return _sent(asset, request)


async def _to_docs(request: Request) -> Response:
    """FastAPI's second page of the addresses: here the first, with the token that was given."""
    query = request.url.query
    return RedirectResponse(f"docs?{query}" if query else "docs")


def _sender(asset: Asset | None) -> Callable[[Request], Awaitable[Response]]:
    async def send(request: Request) -> Response:
        if asset is None:
            raise Refusal(404, "the built page", "none in this installation", "run: make web")
        return _sent(asset, request)

    return send


def _sent(asset: Asset, request: Request) -> Response:
    tag = f'"{asset.etag}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return FileResponse(asset.path, media_type=asset.kind, headers=headers)


def write_static(target: Path, bundle: Path | None) -> int:
    """Write page and model for any web server; returns the bytes.

    Raises InputError for a checkpoint, a model that a browser does not open, an unbuilt page, or a
    folder that holds other things.
    """
    if bundle is None:
        raise InputError(
            "wanted an exported model for a page without a server, got a checkpoint; run: anymask "
            "export NAME -o DIR, then anymask serve --model DIR --static OUT"
        )
    if read_manifest(bundle).refers:
        raise InputError(
            f"wanted a model that a browser opens, got {bundle.name}, whose graphs' numbers lie "
            f"apart; use --model {DEFAULT_MODEL}, or leave --static out"
        )
    page = page_assets()
    if "index.html" not in page:
        raise InputError("wanted the built page, got an installation without it; run: make web")
    if target.exists() and not target.is_dir():
        raise InputError(f"wanted a folder to write into, got the file {target}; name another")
    ours = (target / MARK).is_file()
    if target.is_dir() and any(target.iterdir()) and not ours:
        raise InputError(
            f"wanted an empty folder, or one that --static wrote, got {target} with other files; "
            "name another folder"
        )
    for stale in ("assets", "model") if ours else ():
        shutil.rmtree(target / stale, ignore_errors=True)
    size = 0
    for name, asset in (page | model_assets(bundle)).items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(asset.path, place)
        size += place.stat().st_size
    return size
