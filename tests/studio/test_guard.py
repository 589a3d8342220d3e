"""Who may ask, how much, and what browsers are told."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from anymask.base import InputError
from anymask.runtime import ASSETS
from anymask.segment import Model
from anymask.studio.limits import Limits
from anymask.studio.middleware import HEADERS, Access, is_loopback
from tests.studio.servers import (
    CLICK,
    IMAGE,
    PATIENCE_S,
    GatedRuntime,
    client,
    in_thread,
    inference,
    png,
)

TOKEN = Access("0.0.0.0", token="open sesame")


# Who.


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("localhost", True), ("::1", True),
        ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("localhost.evil.example", False),
        ("", False),
    ],
)  # fmt: skip
def test_a_host_that_others_reach_needs_a_token(host: str, local: bool) -> None:
    assert is_loopback(host) is local
    if not local:
        with pytest.raises(InputError, match="token is required .* --token SECRET"):
            Access(host)
    assert Access(host, "long enough").token


def test_a_short_token_is_refused() -> None:
    with pytest.raises(InputError, match="has 3 characters, but at least 8 are needed"):
        Access("0.0.0.0", "abc")


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({}, "", 401),
        ({"Authorization": "Bearer open sesam"}, "", 401),
        ({"Authorization": "Bearer open sesame"}, "", 404),
        ({"Authorization": "Basic YW55Om9wZW4gc2VzYW1l"}, "", 404),
        ({"Authorization": "Basic !!!"}, "", 401),
        ({"Authorization": "Bearer \xff"}, "", 401),
        ({}, "?token=open%20sesame", 404),
        ({}, "?token=open", 401),
    ],
)
def test_the_token_opens_the_model(headers, query, status) -> None:
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    with client(access=TOKEN) as http:
        body = {"image": "f" * 32, "prompts": [CLICK]}
        reply = http.post(f"/api/segment{query}", json=body, headers=encoded)
        assert reply.status_code == status
        assert http.get(f"/model/manifest.json{query}", headers=encoded).status_code == status
        assert http.get(f"/openapi.json{query}", headers=encoded).status_code in (200, 401)
        assert http.get("/health").status_code == 200


def test_paths_that_look_like_assets_open_nothing() -> None:
    with client(access=TOKEN, bundle=ASSETS / "nano") as http:
        for path in ("/assets/../model/manifest.json", "/assets/%2e%2e/model/manifest.json",
                     "//model/manifest.json", "/assets/..%2fmodel/manifest.json"):  # fmt: skip
            assert http.get(path).status_code in (401, 404)


def test_other_web_pages_cannot_ask() -> None:
    with client() as http:
        own = {"Origin": "http://127.0.0.1:8765"}
        assert http.get("/health", headers=own).status_code == 200
        for origin in ("https://evil.example", "null", "http://127.0.0.1:9999"):
            reply = http.get("/health", headers={"Origin": origin})
            assert reply.status_code == 403
            assert "not allowed" in reply.json()["error"]["message"]
            assert not any(name.startswith("access-control") for name in reply.headers)
        reply = http.options("/api/segment", headers={"Origin": "https://evil.example"})
        assert reply.status_code == 403


MALFORMED = (
    "http://[", "http://]", "http://[::1", "http://[x]", "http://a:b:c",
    "http://", "://", "[", "http://\u2100".encode().decode("latin-1"), "http://127.0.0.1:8765/",
    "file://", "chrome-extension://abc", "javascript://127.0.0.1:8765", "\xff", "a" * 5000,
)  # fmt: skip


@pytest.mark.parametrize("origin", MALFORMED)
def test_a_malformed_origin_is_another_page(origin: str) -> None:
    with client() as http:
        reply = http.get("/health", headers={"Origin": origin.encode("latin-1")})
        assert reply.status_code == 403
        assert "--allow-origin URL" in reply.json()["error"]["message"]  # it cannot be named
    with client(access=TOKEN) as http:
        assert http.get("/health", headers={"Origin": origin.encode("latin-1")}).status_code == 200


@pytest.mark.parametrize(
    "host", ["[", "]", "[::1", "[x]", "[::::]", "a:b:c", "a b", "a/b", "a?b", "\xff"]
)
@pytest.mark.parametrize("access", [Access(), TOKEN])
def test_a_malformed_host_is_refused(access: Access, host: str) -> None:
    with client(access=access) as http:
        for path in ("/health", "/redoc", "/nothing/", "/api/segment"):
            reply = http.get(path, headers={"Host": host.encode("latin-1")})
            assert reply.status_code == 400
            assert "Use localhost:8765" in reply.json()["error"]["message"]


def test_other_web_pages_cannot_make_the_server_compute() -> None:
    image = "/api/images/" + "f" * 32 + "/embedding"
    with client(access=Access(origins=("https://tool.example",))) as http:
        for site in ("cross-site", "same-site", "odd"):
            told = {"Sec-Fetch-Site": site}
            for path in (image, "/api/report", "/api/images", "/openapi.json"):
                reply = http.get(path, headers=told)
                assert reply.status_code == 403
                assert site in reply.json()["error"]["message"]
            assert http.get("/health", headers=told).status_code == 200
            page = told | {"Origin": "https://tool.example"}
            assert http.get(image, headers=page).status_code == 404
        for site in ("none", "same-origin"):  # typed by the user; by our own page
            assert http.get(image, headers={"Sec-Fetch-Site": site}).status_code == 404
    with client(access=TOKEN) as http:  # a page elsewhere does not know the token
        told = {"Sec-Fetch-Site": "cross-site", "Authorization": "Bearer open sesame"}
        assert http.get(image, headers=told).status_code == 404


def test_a_name_that_was_pointed_at_this_machine_cannot_ask() -> None:
    with client() as http:
        assert http.get("/health", headers={"Host": "evil.example"}).status_code == 421
        for host in ("localhost:8765", "127.0.0.1", "[::1]:8765"):
            assert http.get("/health", headers={"Host": host}).status_code == 200


def test_an_origin_that_was_allowed_may_ask() -> None:
    page = {"Origin": "https://tool.example"}
    with client(access=Access(origins=("https://tool.example",))) as http:
        asked = {"Access-Control-Request-Method": "POST"}
        flight = http.options("/api/segment", headers=page | asked)
        assert flight.status_code == 200
        assert "Authorization" in flight.headers["access-control-allow-headers"]
        for reply in (flight, http.get("/health", headers=page)):
            assert reply.headers["access-control-allow-origin"] == "https://tool.example"


def test_any_origin_may_ask_only_where_a_token_is_wanted() -> None:
    with pytest.raises(InputError, match=r"--allow-origin does not accept .*one by one"):
        Access(origins=("*",))
    page = {"Origin": "https://any.example"}
    with client(access=Access("0.0.0.0", "open sesame", ("*",))) as http:
        flight = http.options("/api/segment", headers=page)
        assert flight.headers["access-control-allow-origin"] == "*"
        refused = http.post("/api/segment", json={}, headers=page)
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("given", ["https://tool.example/", "tool.example", "https://a b", "", "x"])
def test_an_origin_is_a_scheme_and_a_host(given: str) -> None:
    for option in ("origins", "frames"):
        with pytest.raises(InputError, match="not a valid origin for --allow-"):
            Access(**{option: (given,)})
    assert Access(origins=("http://[::1]:80", "http://localhost:3000"))


def test_a_page_that_was_allowed_may_show_ours_in_a_frame() -> None:
    with client(access=Access(frames=("https://tool.example",))) as http:
        reply = http.get("/")
        assert "x-frame-options" not in reply.headers
        policy = reply.headers["content-security-policy"]
        assert policy.endswith("frame-ancestors 'self' https://tool.example")
        without = {name: HEADERS[name] for name in HEADERS if not name.endswith("Policy")}
        del without["X-Frame-Options"]
        assert without.items() <= {name: reply.headers.get(name) for name in without}.items()
        evil = http.get("/health", headers={"Origin": "https://tool.example"})
        assert evil.status_code == 403  # to be shown is not to ask


def test_every_answer_tells_browsers_to_be_careful() -> None:
    with client(bundle=ASSETS / "nano", limits=Limits(upload_bytes=10)) as http:
        refused = http.post("/api/encode", content=bytes(11))
        assert refused.status_code == 413
        for reply in (refused, http.get("/health"), http.get("/"), http.get("/model/encoder.onnx")):
            for name, value in HEADERS.items():
                assert reply.headers[name] == value
            assert "cache-control" in reply.headers
    policy = HEADERS["Content-Security-Policy"]
    assert "'wasm-unsafe-eval'" in policy
    assert "frame-ancestors 'none'" in policy


# How much.


def test_a_body_that_is_too_long_is_refused_whether_it_says_so_or_not() -> None:
    with client(limits=Limits(upload_bytes=1000)) as http:
        for content in (bytes(1001), (bytes(100) for _ in range(11))):
            reply = http.post("/api/encode", content=content)
            assert reply.status_code == 413
            assert "at most 1000 are allowed" in reply.json()["error"]["message"]
        strange = {"Content-Length": "-5"}
        assert http.post("/api/encode", content=b"x", headers=strange).status_code == 413


def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes whose header promises many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def tiff_of_bands(count: int) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((8, 8, count), np.uint8), photometric="minisblack",
                     planarconfig="contig")  # fmt: skip
    return file.getvalue()


def postscript() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "eps")
    return file.getvalue()


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (b"", 400, "The body is empty"),
        (b"no picture", 415, "Unsupported image format"),
        (bomb(60000, 60000), 413, "at most 1000000 are allowed"),
        (bomb(2000, 501), 413, "at most 1000000 are allowed"),
        (bomb(10, 10), 422, ""),
        (png(IMAGE)[:400], 422, ""),
        (postscript(), 415, "Unsupported image format"),
        (tiff_of_bands(12), 415, "Unsupported image format"),
    ],
)
def test_bodies_that_unfold_or_lie_are_refused(body: bytes, status: int, expected: str) -> None:
    with client(limits=Limits(pixels=1_000_000)) as http:
        reply = http.post("/api/encode", content=body)
    assert reply.status_code == status
    assert expected in reply.json()["error"]["message"]


def test_a_full_server_says_when_to_come_again() -> None:
    runtime = GatedRuntime()
    with client(inference(lambda: Model(runtime)), limits=Limits(requests=1)) as http:
        name = http.post("/api/encode", content=png(IMAGE)).headers["x-image-hash"]
        body = {"image": name, "prompts": [CLICK]}
        first = in_thread(lambda: http.post("/api/segment", json=body))
        assert runtime.entered.acquire(timeout=PATIENCE_S)
        second = http.post("/api/segment", json=body)
        assert second.status_code == 429
        assert int(second.headers["retry-after"]) >= 1
        assert "1 requests are running" in second.json()["error"]["message"]
        assert http.get("/health").status_code == 200
        runtime.go_on.release()
        assert first.result(PATIENCE_S).status_code == 200
        runtime.go_on.release()
        assert http.post("/api/segment", json=body).status_code == 200
