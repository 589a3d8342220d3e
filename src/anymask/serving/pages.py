"""The page and the model's graphs as files: over HTTP, or written into a folder.

Every address is looked up in a table that is made once, so no address can name another file.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response

from anymask.primitives.errors import InputError
from anymask.runtimes.manifest import MANIFEST, check_file, file_sha256, read_manifest
from anymask.serving.refusals import Refusal

WEB = Path(__file__).parents[1] / "assets" / "web"
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
    """An exported model's files: address -> file.

    Raises WeightsError for what is no bundle, and for a file that is not the manifest's.
    """
    if bundle is None:
        return {}
    manifest = read_manifest(bundle)
    files = {name: check_file(bundle, manifest, name) for name in manifest.sha256}
    found = {f"model/{name}": Asset(files[name], manifest.sha256[name]) for name in files}
    place = bundle / MANIFEST
    return found | {f"model/{MANIFEST}": Asset(place, file_sha256(place))}


def pages_router(assets: dict[str, Asset]) -> APIRouter:
    """The routes of the files; to be added last, since it answers every GET."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/{name:path}", methods=["GET", "HEAD"])
    async def file(name: str, request: Request) -> Response:
        asset = assets.get(name or "index.html")
        if asset is None:
            raise _absent(name)
        tag = f'"{asset.etag}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return FileResponse(asset.path, media_type=asset.kind, headers=headers)

    return router


def _absent(name: str) -> Refusal:
    if name.startswith("model/"):
        remedy = "for a checkpoint: anymask export NAME -o DIR; anymask serve --model DIR"
        return Refusal(404, "a file of the exported model", f"/{name[:80]}", remedy)
    if not name:
        return Refusal(404, "the built page", "none in this installation", "run: make web")
    return Refusal(
        404, "an address of this server", f"/{name[:80]}", "GET /openapi.json lists every address"
    )


def write_static(target: Path, bundle: Path | None) -> int:
    """Write page and model for any web server; returns the bytes.

    Raises InputError for a checkpoint, an unbuilt page, or a folder that holds other things.
    """
    if bundle is None:
        raise InputError(
            "wanted an exported model for a page without a server, got a checkpoint; run: anymask "
            "export NAME -o DIR, then anymask serve --model DIR --static OUT"
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
