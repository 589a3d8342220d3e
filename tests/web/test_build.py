"""The built page that is committed is the one that its sources make, and it is small."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "web"
BUILT = ROOT / "src" / "anymask" / "assets" / "web"
WASM_BYTES, REST_BYTES = 15_000_000, 420_000


def sources() -> list[Path]:
    """What the build depends on, in the order of web/vite.config.ts."""
    own = ["index.html", "package-lock.json", "package.json", "tsconfig.json", "vite.config.ts"]
    inside = [p.relative_to(WEB).as_posix() for p in (WEB / "src").rglob("*") if p.is_file()]
    return [WEB / name for name in sorted([*own, *inside])]


def test_the_built_page_is_made_of_these_sources() -> None:
    digest = hashlib.sha256()
    for path in sources():
        name = Path(os.path.relpath(path, WEB)).as_posix()
        digest.update(f"{name}\0".encode() + path.read_bytes())
    about = json.loads((BUILT / "build.json").read_text("utf-8"))
    assert about == {"sources": digest.hexdigest(), "runtime": "wasm"}, "run `make web`"


def test_the_page_ships_one_webassembly_file_and_little_else() -> None:
    files = {
        path.relative_to(BUILT).as_posix(): path for path in BUILT.rglob("*") if path.is_file()
    }
    wasm = [name for name in files if name.endswith(".wasm")]
    assert wasm == ["assets/ort/ort-wasm-simd-threaded.wasm"]
    sizes = {name: path.stat().st_size for name, path in files.items()}
    assert sizes.pop(wasm[0]) < WASM_BYTES
    assert sum(sizes.values()) < REST_BYTES


def test_the_built_page_names_no_other_host() -> None:
    page = (BUILT / "index.html").read_text("utf-8")
    assert "http://" not in page
    assert "https://" not in page
    assert 'src="./assets/' in page
