"""Load test of a server: clients that click and open photos in, latencies and refusals out.

The server is the command itself in a process of its own; each client is a thread here with one
connection, that asks, waits for the answer and thinks. Requests are drawn once, from a seed, and
written before the clock starts. The server's memory of embeddings is small, so that it is full
early and what grows after that is a leak.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from anymask.primitives.errors import AnymaskError
from anymask.primitives.timing import Measurement

SHARES = {"click": 0.80, "new image": 0.15, "everything": 0.05}
THINKING = 0.25  # seconds between a client's answer and its next request
KNOWN = 16  # photos that the server has seen before the clock starts
HW = (683, 1024)
PATIENCE = 600  # seconds for an answer
MEMORY = 128  # megabytes of embeddings that the server keeps in memory
Request = tuple[str, str, bytes]  # kind, path, body


@dataclass(frozen=True)
class LoadPlan:
    """What is asked: how many requests, from how many clients."""

    requests: int = 1000
    clients: int = 16
    points_per_side: int = 32
    seed: int = 0


@dataclass
class LoadResult:
    """What the clients noted: seconds of each kind of answer, and those that were none."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SHARES})
    busy: int = 0
    errors: list[str] = field(default_factory=list)
    halfway: float | None = None  # bytes of the server in memory
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, kind: str, status: int, seconds: float, body: bytes) -> None:
        """One answer."""
        with self.lock:
            if status == 200:
                self.seconds[kind].append(seconds)
            elif status == 429:
                self.busy += 1
            else:
                self.errors.append(f"{kind}: {status} {body[:120]!r}")


def serve_figures(words: list[str], load: LoadPlan) -> tuple[list[Measurement], list[str]]:
    """Seconds, refusals and memory of a server under load, and notes.

    words  that choose the model

    Raises AnymaskError where the server does not start.
    """
    with tempfile.TemporaryDirectory() as folder, _server(words, Path(folder)) as running:
        address, pid = running
        hashes = [_embed(address, number) for number in range(KNOWN)]
        for name in hashes:  # the decoder's first call opens it
            _ask(http.client.HTTPConnection(*address), *_click(name, random.Random(0)))
        asked = requests_of(hashes, load)
        before, load_result, busy = resident(pid), LoadResult(), _busy()
        begun = time.perf_counter()
        _run_clients(address, pid, asked, load, load_result)
        spent = time.perf_counter() - begun
        after = resident(pid)
    figures = [figure for kind in SHARES for figure in figures_of(kind, load_result.seconds[kind])]
    figures += [
        Measurement("requests a second", "server", load.requests / spent, ""),
        Measurement("answers 429", "server", load_result.busy, ""),
        Measurement("errors", "server", len(load_result.errors), ""),
        Measurement("memory before", "server", before, "bytes"),
        Measurement("memory halfway", "server", load_result.halfway, "bytes"),
        Measurement("memory after", "server", after, "bytes"),
    ]
    notes = [
        f"{load.requests} requests from {load.clients} clients, {THINKING * 1000:.0f} ms of "
        f"thinking: {', '.join(f'{share:.0%} {kind}' for kind, share in SHARES.items())}; "
        f"everything with {load.points_per_side} points per side; photos of {HW[1]} x {HW[0]}; "
        f"{MEMORY} MB of embeddings in memory",
        f"load of the machine: {busy} before, {_busy()} after",
        *sorted(set(load_result.errors))[:5],
    ]
    return figures, notes


def figures_of(kind: str, seconds: list[float]) -> list[Measurement]:
    """Median and tail of one kind of answer; nothing where none came."""
    if not seconds:
        return []
    tail = [
        Measurement(f"{kind}, {share:.0%} within", "server", percentile(seconds, share), "s")
        for share in (0.95, 0.99)
    ]
    middle = statistics.median(seconds)
    return [Measurement(f"{kind}, median", "server", middle, "s", tuple(seconds)), *tail]


def _busy() -> str:
    """How many threads want a core, the last minute's mean."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def percentile(values: list[float], share: float) -> float:
    """The smallest value that `share` of all values do not exceed."""
    return float(np.quantile(values, share, method="inverted_cdf"))


def resident(pid: int) -> float | None:
    """Bytes of a process in memory; None where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024.0 for line in text.splitlines() if "VmRSS" in line)


@contextmanager
def _server(words: list[str], folder: Path) -> Iterator[tuple[tuple[str, int], int]]:
    """Its address and process, as soon as the model is there."""
    command = [sys.executable, "-m", "anymask", "serve", "--port", "0", "--cache", str(folder)]
    command += ["--memory", str(MEMORY)]
    with subprocess.Popen(
        [*command, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            if not line.startswith("serving on "):
                raise AnymaskError(f"the server did not start: {line}{process.stdout.read()}")
            parts = urlsplit(line.removeprefix("serving on ").split(";")[0])
            address = (parts.hostname or "", parts.port or 0)
            while '"loading"' in _ask(http.client.HTTPConnection(*address), "/health", None)[1]:
                time.sleep(0.05)
            yield address, process.pid
        finally:
            process.terminate()


def requests_of(hashes: list[str], load: LoadPlan) -> list[Request]:
    """All of them in order."""
    draw = random.Random(load.seed)
    kinds = draw.choices(list(SHARES), list(SHARES.values()), k=load.requests)
    asked = []
    for number, kind in enumerate(kinds):
        own = random.Random(number)
        asked.append((kind, *_request(kind, number, own.choice(hashes), own, load)))
    return asked


def _run_clients(
    address: tuple[str, int],
    pid: int,
    asked: list[Request],
    load: LoadPlan,
    load_result: LoadResult,
) -> None:
    """Every request once, each by whichever client is free."""
    numbers = iter(enumerate(asked))
    taking = threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
        while True:
            with taking:
                number, (kind, path, body) = next(numbers, (0, ("", "", b"")))
            if not kind:
                break
            if number == len(asked) // 2:
                load_result.halfway = resident(pid)
            begun = time.perf_counter()
            try:
                status, text = _ask(connection, path, body)
            except OSError as error:
                status, text = 0, repr(error)
                connection.close()
            load_result.note(kind, status, time.perf_counter() - begun, text.encode())
            time.sleep(THINKING)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(load.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _request(
    kind: str, number: int, name: str, own: random.Random, load: LoadPlan
) -> tuple[str, bytes]:
    if kind == "click":
        return _click(name, own)
    if kind == "new image":
        return "/api/embed", photo(KNOWN + number)
    settings = {"points_per_side": load.points_per_side}
    return "/api/everything", json.dumps({"image": name, "settings": settings}).encode()


def _click(name: str, own: random.Random) -> tuple[str, bytes]:
    point = [own.uniform(0, HW[1] - 1), own.uniform(0, HW[0] - 1)]
    return "/api/segment", json.dumps({"image": name, "prompts": [{"points": [point]}]}).encode()


def photo(number: int) -> bytes:
    """A JPEG of soft blobs, another one for each number."""
    import cv2

    small = np.random.default_rng(number).integers(0, 256, (12, 18, 3), np.uint8)
    image = cv2.resize(small, HW[::-1], interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", image)[1].tobytes()


def _embed(address: tuple[str, int], number: int) -> str:
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
    connection.request("POST", "/api/embed", photo(number))
    with connection.getresponse() as reply:
        reply.read()
        return reply.headers["X-Image-Hash"]


def _ask(connection: http.client.HTTPConnection, path: str, body: bytes | None) -> tuple[int, str]:
    kind = "image/jpeg" if path == "/api/embed" else "application/json"
    connection.request("GET" if body is None else "POST", path, body, {"Content-Type": kind})
    with connection.getresponse() as reply:
        return reply.status, reply.read().decode("utf-8", "replace")
