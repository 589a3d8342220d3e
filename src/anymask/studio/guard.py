"""The guard of the server: requests in; access, size and rate checks, security headers out.

- A token, where there is one, for everything but the page's own files and `/health`.
- Without a token the server listens on this machine alone; then only pages of this server may ask
  it (`Origin`), under this machine's names (`Host`), so that no web page elsewhere can reach it
  through the user's browser.
- Requests that need the model are counted; when too many are under way, the next one gets 429 and
  the seconds after which to come again.
- Bodies are counted while they come in: bytes, seconds, and the values of JSON.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anymask.base import InputError
from anymask.studio.limits import SLOWEST, Limits
from anymask.studio.refusals import Refusal, going_down

LOG = logging.getLogger("anymask.studio")
REQUESTS = logging.getLogger("anymask.studio.requests")
_POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
    "img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; connect-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors "
)
HEADERS = {
    "Content-Security-Policy": f"{_POLICY}'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_OPEN = re.compile(r"/|/health|/index\.html|/build\.json|/assets/.*|/docs(/.*)?|/redoc")
_COSTLY = re.compile(
    r"/api/(embed|segment|everything|names)|/api/images/[^/]+/(embedding|everything|pixels|values)"
    r"|/api/videos/[^/]+/(frames|prompts|masks)"
)
_ORIGIN = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
_JSON_ROOM = 4 / 3  # base64 is that much longer than the bytes
_JSON_MORE = 1_000_000


@dataclass(frozen=True)
class Access:
    """Who may use the server: host, token, origins.

    host     that the server listens on
    token    that every request must bring; "" for none
    origins  other web pages that may ask: ("https://tool.example",); "*" for any, with a token
    frames   other web pages that may show the page in a frame of theirs
    costly   further addresses that need the model

    Raises InputError for a host that others can reach without a token, and for what is no origin.
    """

    host: str = "127.0.0.1"
    token: str = ""
    origins: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    costly: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        _check_origins("--allow-origin", self.origins, self.token)
        _check_origins("--allow-frame", self.frames, self.token)
        if not self.token and not is_loopback(self.host):
            raise InputError(
                f"wanted a token, since other machines can reach {self.host}, got none; give "
                "--token SECRET, set ANYMASK_TOKEN, or use --host 127.0.0.1"
            )
        if self.token and len(self.token) < 8:
            raise InputError(
                f"wanted a token of at least 8 characters, got {len(self.token)}; make one with: "
                'python -c "import secrets; print(secrets.token_urlsafe())"'
            )


def _check_origins(option: str, given: tuple[str, ...], token: str) -> None:
    for one in given:
        if one == "*" and not token:
            raise InputError(
                f"wanted the web pages for {option} one by one, since without a token any page in "
                f"the user's browser could ask, got '*'; name them, or give --token SECRET too"
            )
        if one != "*" and not _ORIGIN.fullmatch(one):
            raise InputError(
                f"wanted an origin for {option}, such as https://tool.example or "
                f"http://localhost:3000, got {one!r}; leave out path and slash at the end"
            )


def is_loopback(host: str) -> bool:
    """Whether a host can be reached from its own machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """An application with everything above around it.

    seconds_ahead  how long those under way will take, about
    """

    def __init__(
        self, app: ASGIApp, access: Access, limits: Limits, seconds_ahead: Callable[[], float]
    ) -> None:
        self.app, self.access, self.limits = app, access, limits
        self._seconds_ahead = seconds_ahead
        self._headers = _headers_for(access.frames)
        self._requests, self._bytes = 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer = _with_headers(send, self._headers, self._allowed_origin(headers))
        status, started = 0, time.perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await answer(message)

        try:
            if self._is_preflight(scope, headers):
                await _no_content(sending)
                return
            self._check(scope, headers)
            await self._counted(scope, headers, receive, sending)
        except Refusal as refusal:
            method, path = scope["method"], scope["path"]
            LOG.warning("refused %s %s: %s", method, path, refusal.detail)
            await refusal.response()(scope, receive, sending)
        except asyncio.CancelledError:  # the server ends, and has waited for its patience
            if not status:
                await going_down().response()(scope, receive, sending)
        finally:
            spent = 1000 * (time.perf_counter() - started)
            told = {"method": scope["method"], "path": scope["path"], "status": status}
            REQUESTS.info(
                "%s %s %d %.1f ms", *told.values(), spent, extra=told | {"ms": round(spent, 1)}
            )

    # Who.

    def _allowed_origin(self, headers: Headers) -> str:
        origin = headers.get("origin", "")
        known = {origin, "*"} & set(self.access.origins)
        return origin if origin and known else ""

    def _is_preflight(self, scope: Scope, headers: Headers) -> bool:
        return scope["method"] == "OPTIONS" and bool(self._allowed_origin(headers))

    def _check(self, scope: Scope, headers: Headers) -> None:
        if self.access.token:
            if not _OPEN.fullmatch(scope["path"]):
                self._check_token(scope, headers)
            return
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
        if name not in _LOCAL and name != self.access.host:
            raise Refusal(
                421, "a Host of this machine", repr(host[:80]), "ask http://127.0.0.1 or localhost"
            )
        origin = headers.get("origin")
        if origin is None or origin in self.access.origins or urlsplit(origin).netloc == host:
            return
        raise Refusal(
            403,
            "a request of this server's own page",
            f"one of {origin[:80]!r}",
            f"start the server with --allow-origin {origin[:80]}",
        )

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        given = _token_of(headers.get("authorization", ""))
        if not given:
            query = parse_qs(scope["query_string"].decode("latin-1"))
            given = query.get("token", [""])[0]
        if not hmac.compare_digest(given.encode(), self.access.token.encode()):
            raise Refusal(
                401,
                "the server's token",
                "another one" if given else "none",
                "send the header 'Authorization: Bearer TOKEN', or open the page with ?token=TOKEN",
            )

    # How much.

    async def _counted(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        path = scope["path"]
        costly = bool(_COSTLY.fullmatch(path)) or path in self.access.costly
        most = self.limits.upload_bytes
        is_json = "json" in headers.get("content-type", "").lower()
        if is_json:
            most = int(most * _JSON_ROOM) + _JSON_MORE
        size = _declared(headers, scope["method"], most)
        if costly and self._requests >= self.limits.requests:
            raise self._busy(f"{self._requests} requests under way")
        if self._bytes + size > max(self.limits.body_bytes, most):
            raise self._busy(f"{self._bytes} bytes under way")
        self._requests += costly
        self._bytes += size
        try:
            values = self.limits.values if is_json else None
            body = _BoundedBody(receive, most, self.limits.body_seconds, values)
            await self.app(scope, body, send)
        finally:
            self._requests -= costly
            self._bytes -= size

    def _busy(self, got: str) -> Refusal:
        return Refusal(
            429,
            f"at most {self.limits.requests} requests and {self.limits.body_bytes} bytes at a time",
            got,
            "ask again after the seconds of Retry-After",
            retry_after=self._seconds_ahead(),
        )


def _token_of(authorization: str) -> str:
    """The token of a header: Bearer TOKEN, or the password of Basic."""
    kind, _, value = authorization.partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return ""
    return ""


def _declared(headers: Headers, method: str, most: int) -> int:
    """The bytes that a body says it has; as many as it may have where it does not say."""
    said = headers.get("content-length")
    if said is None:
        chunked = "transfer-encoding" in headers
        return most if chunked and method not in ("GET", "HEAD") else 0
    size = int(said) if said.isdigit() else most + 1
    if size > most:
        raise _too_long(most, said)
    return size


def _too_long(most: int, got: str) -> Refusal:
    return Refusal(
        413,
        f"a body of at most {most} bytes",
        f"{got} bytes",
        "send less, or start the server with a larger --upload-megabytes",
    )


class _BoundedBody:
    """A request's body as it comes in, refused once it is too long, too late or has too much in it.

    seconds  for the whole body, and one more for each SLOWEST bytes of it
    values   of its JSON; None: it is none
    """

    def __init__(self, receive: Receive, most: int, seconds: float, values: int | None) -> None:
        self._receive, self._most, self._seconds, self._values = receive, most, seconds, values
        self._began: float | None = None
        self._got, self._marks, self._whole = 0, 0, False

    async def __call__(self) -> Message:
        if self._whole:  # what comes now is the client going away, whenever that is
            return await self._receive()
        now = asyncio.get_running_loop().time()
        self._began = now if self._began is None else self._began
        try:
            async with asyncio.timeout_at(self._began + self._seconds + self._got / SLOWEST):
                message = await self._receive()
        except TimeoutError:
            raise Refusal(
                408,
                f"the body within {self._seconds:g} s, or {SLOWEST} bytes a second",
                f"{self._got} bytes so far",
                "send it again",
            ) from None
        self._count(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        return message

    def _count(self, part: bytes) -> None:
        self._got += len(part)
        if self._got > self._most:
            raise _too_long(self._most, f"more than {self._most}")
        if self._values is None:
            return
        self._marks += sum(part.count(mark) for mark in b",[{")  # one at least for each value
        if self._marks > self._values:
            raise Refusal(
                413,
                f"JSON of at most {self._values} values",
                "more",
                "send less at a time, masks as compressed run lengths",
            )


def _headers_for(frames: tuple[str, ...]) -> dict[str, str]:
    """`HEADERS`, or those that let other pages show this one in a frame."""
    if not frames:
        return HEADERS
    plain = {name: value for name, value in HEADERS.items() if name != "X-Frame-Options"}
    return plain | {"Content-Security-Policy": f"{_POLICY}'self' {' '.join(frames)}"}


def _with_headers(send: Send, given: dict[str, str], origin: str) -> Send:
    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in given.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
            if origin:
                headers["Access-Control-Allow-Origin"] = origin
                headers["Cross-Origin-Resource-Policy"] = "cross-origin"
                headers.add_vary_header("Origin")
                headers["Access-Control-Expose-Headers"] = "X-Image-Hash, Retry-After, ETag"
        await send(message)

    return answer


async def _no_content(send: Send) -> None:
    headers = [
        (b"access-control-allow-methods", b"GET, POST, PUT, DELETE"),
        (b"access-control-allow-headers", b"Authorization, Content-Type, If-Match"),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
