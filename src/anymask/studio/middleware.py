"""Access control and limits around the application.

- Token: if set, required for everything except static files and `/health`.
- Without a token, the server accepts connections only from this machine. Requests must come from
  its own pages (`Origin`, `Sec-Fetch-Site`) and use a local host name (`Host`), so that other web
  pages cannot use it through the browser.
- Requests that use the model are counted from when their bodies have arrived. If too many are
  running, the next one gets status 429 with the seconds to wait.
- Request bodies are limited while they are received: bytes, rate and number of JSON values. Only
  bytes that have arrived are counted, and one address can hold half of the total, so that slow
  clients do not lock out others.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import ipaddress
import logging
import math
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anymask.base import InputError
from anymask.studio.errors import RequestError, going_down
from anymask.studio.limits import COSTLY_PATHS, SLOWEST, Limits

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
_PUBLIC_PATHS = re.compile(r"/|/health|/index\.html|/build\.json|/assets/.*|/docs(/.*)?|/redoc")
_ORIGIN = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]*)(:[0-9]{0,5})?")  # Host header


@dataclass(frozen=True)
class Access:
    """Access control: host, token and origins.

    Raises InputError if other machines can reach the host without a token, or an origin is invalid.
    """

    host: str = "127.0.0.1"  # Host name or address to listen on
    token: str = field(default="", repr=False)  # Required token of requests; "" for none
    # Allowed origins of other web pages: ("https://tool.example",). "*" for any, which requires a
    # token.
    origins: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()  # Origins of web pages that may embed the page in a frame

    def __post_init__(self) -> None:
        given = [("--allow-origin", origin) for origin in self.origins]
        for option, origin in given + [("--allow-frame", origin) for origin in self.frames]:
            if origin == "*" and not self.token:
                raise InputError(
                    f"{option} does not accept '*' without a token, because any web page could "
                    "send requests. List the web pages one by one, or set --token SECRET."
                )
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise InputError(
                    f"{origin!r} is not a valid origin for {option}. Use https://tool.example or "
                    "http://localhost:3000, without a path or a slash at the end."
                )
        if not self.token and not is_loopback(self.host):
            raise InputError(
                f"A token is required because other machines can reach {self.host}. Set "
                "--token SECRET or ANYMASK_TOKEN, or use --host 127.0.0.1."
            )
        if self.token and len(self.token) < 8:
            raise InputError(
                f"The token has {len(self.token)} characters, but at least 8 are needed. Make one "
                'with: python -c "import secrets; print(secrets.token_urlsafe())"'
            )

    def headers(self) -> dict[str, str]:
        """Security headers of every response."""
        if not self.frames:
            return HEADERS
        plain = {name: value for name, value in HEADERS.items() if name != "X-Frame-Options"}
        return plain | {"Content-Security-Policy": f"{_POLICY}'self' {' '.join(self.frames)}"}

    def check(self, scope: Scope, headers: Headers) -> None:
        """Raise Refusal if a request is not allowed."""
        host = headers.get("host", "")
        if not _is_authority(host):
            raise RequestError(
                400, f"The Host header is invalid: {host[:80]!r}. Use localhost:8765."
            )
        if self.token:
            token = _token_of(headers, scope["query_string"])
            same = hmac.compare_digest(token.encode(), self.token.encode())
            if not same and not _PUBLIC_PATHS.fullmatch(scope["path"]):
                raise RequestError(
                    401,
                    f"{'The access token is invalid' if token else 'Access token required'}. "
                    "Send 'Authorization: Bearer TOKEN', or open the page with ?token=TOKEN.",
                )
            return
        name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
        if name not in ("localhost", "127.0.0.1", "[::1]", self.host):
            raise RequestError(421, f"The Host header {host[:80]!r} does not name this machine.")
        # A request that another web page makes the browser send
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if origin is None:  # image, frame or link: browsers send no Origin header
            if site in ("none", "same-origin") or _PUBLIC_PATHS.fullmatch(scope["path"]):
                return
            sender, remedy = f"another web page (Sec-Fetch-Site: {site[:80]})", "--allow-origin URL"
        elif origin in (*self.origins, f"http://{host}", f"https://{host}"):
            return
        else:
            sender = repr(origin[:80])
            remedy = f"--allow-origin {origin if _ORIGIN.fullmatch(origin) else 'URL'}"
        raise RequestError(
            403, f"Requests from {sender} are not allowed. Start the server with {remedy}."
        )


def _is_authority(text: str) -> bool:
    """Whether the text is a valid host and port, so that URLs with it can be parsed."""
    try:
        return bool(_AUTHORITY.fullmatch(text)) and urlsplit(f"//{text}").netloc == text
    except ValueError:  # invalid address in brackets
        return False


def is_loopback(host: str) -> bool:
    """Whether a host is reachable only from its own machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _token_of(headers: Headers, query: bytes) -> str:
    """Token from a Bearer header, the Basic password, or ?token=TOKEN."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and value.strip():
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except ValueError:  # invalid base64 or UTF-8
            return ""
    return parse_qs(query.decode("latin-1")).get("token", [""])[0]


class AccessMiddleware:
    """ASGI middleware for access control and limits.

    Args:
        seconds_ahead: Function that estimates the time of running requests, in seconds.
    """

    def __init__(
        self, app: ASGIApp, access: Access, limits: Limits, seconds_ahead: Callable[[], float]
    ) -> None:
        self.app, self.access, self.limits = app, access, limits
        self._seconds_ahead = seconds_ahead
        self._headers = access.headers()
        self._requests = 0
        self._held: Counter[str] = Counter()  # bytes of the bodies in memory, by address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        method, path = scope["method"], scope["path"]
        status, began = 0, time.perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status, answer = message["status"], MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    answer.setdefault(name, value)
                answer.setdefault("Cache-Control", "no-store")
                origin = headers.get("origin")
                if origin and {origin, "*"} & {*self.access.origins}:
                    answer["Cross-Origin-Resource-Policy"] = "cross-origin"
            await send(message)

        try:
            self.access.check(scope, headers)
            await self._counted(scope, headers, receive, sending)
        except RequestError as refusal:
            LOG.warning("refused %s %s: %s", method, path, refusal.detail)
            await refusal.response()(scope, receive, sending)
        except asyncio.CancelledError:  # the server stops and its grace period is over
            if not status:
                await going_down().response()(scope, receive, sending)
        except Exception as error:
            LOG.exception("a defect in %s %s", method, path)
            kind = type(error).__name__
            message = f"Internal server error ({kind}). Try again. The server log has the details."
            if not status:
                await RequestError(500, message).response()(scope, receive, sending)
        finally:
            spent = round(1000 * (time.perf_counter() - began), 1)
            record = {"method": method, "path": path, "status": status, "ms": spent}
            REQUESTS.info("%s %s %d %.1f ms", *record.values(), extra=record)

    async def _counted(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        """Process a request if capacity is available. Raises Refusal (413, 429)."""
        costly = bool(COSTLY_PATHS.fullmatch(scope["path"]))
        if scope["method"] == "HEAD" and not costly:  # processed as GET; the server omits the body
            scope = dict(scope) | {"method": "GET"}
        is_json = "json" in headers.get("content-type", "").lower()
        most = self.limits.upload_bytes
        most = int(most * 4 / 3) + 1_000_000 if is_json else most  # base64, and other keys
        length = headers.get("content-length")
        has_body = length != "0"
        if length is None:
            has_body = "transfer-encoding" in headers and scope["method"] not in ("GET", "HEAD")
        elif not length.isdigit() or int(length) > most:
            raise _too_long(most, length)
        address = (scope.get("client") or ("",))[0]
        held, running = 0, False

        def arrive(size: int, *, whole: bool) -> None:
            nonlocal held, running
            if costly and not running and self._requests >= self.limits.requests:
                raise self._busy(f"{self._requests} requests are running")
            own, total = self._held[address] + size, self._held.total() + size
            room = self.limits.body_bytes
            if own > max(room // 2, most) or total > max(room, most):
                raise self._busy(f"{own} bytes from this address, {total} in all, are in process")
            self._held[address] += size
            held += size
            if costly and not running and whole:
                self._requests, running = self._requests + 1, True

        try:
            arrive(0, whole=not has_body)
            values = self.limits.values if is_json else None
            body = BoundedBody(receive, most, self.limits.body_seconds, values, arrive)
            await self.app(scope, body, send)
        finally:
            self._requests -= running
            self._held[address] -= held
            self._held = +self._held  # without the addresses that hold nothing

    def _busy(self, got: str) -> RequestError:
        return RequestError(
            429,
            f"The server is busy: {got}, and the limit is {self.limits.requests} requests and "
            f"{self.limits.body_bytes} bytes. Retry after the seconds in the header Retry-After.",
            self._seconds_ahead(),
        )


def _too_long(most: int, got: str) -> RequestError:
    return RequestError(
        413, f"The request has {got} bytes, at most {most} are allowed (upload_megabytes)."
    )


class BoundedBody:
    """Request body with limits of size, time and number of JSON values.

    Args:
        seconds: Time in which the body may arrive slower than SLOWEST.
        values: Maximum number of JSON values. None: not JSON.
        arrive: Called with the bytes of each part and whether it is the last one. Raises Refusal.
    """

    def __init__(
        self,
        receive: Receive,
        most: int,
        seconds: float,
        values: int | None,
        arrive: Callable[..., None],
    ) -> None:
        self._receive, self._most, self._seconds, self._values = receive, most, seconds, values
        self._arrive = arrive
        self._deadline = math.inf
        self._got, self._marks, self._whole = 0, 0, False

    async def __call__(self) -> Message:
        """Receive the next part. Raises Refusal (408, 413, 429)."""
        if self._whole:  # the only message left is the disconnect of the client
            return await self._receive()
        self._deadline = min(self._deadline, asyncio.get_running_loop().time() + self._seconds)
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise RequestError(
                408,
                f"The request was not received in time: after {self._got} bytes, it was slower "
                f"than {SLOWEST} bytes per second for {self._seconds:g} s. Send it again.",
            ) from None
        part = message.get("body", b"")
        self._got += len(part)
        self._deadline += len(part) / SLOWEST
        if self._got > self._most:
            raise _too_long(self._most, f"more than {self._most}")
        if self._values is not None:  # at least one of these characters precedes each value
            self._marks += sum(part.count(mark) for mark in b",[{")
            if self._marks > self._values:
                raise RequestError(
                    413, f"The JSON body has more than {self._values} values. Split it."
                )
        self._whole = not message.get("more_body", False)
        self._arrive(len(part), whole=self._whole)
        return message
