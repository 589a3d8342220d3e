"""Client of a local anymask server, with the standard library only."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

SERVER = "http://127.0.0.1:8765"
TIMEOUT_S = 120

Ring = list[tuple[float, float]]  # corners (x, y) in pixels; (0, 0) is the outer image corner


@dataclass
class Prompt:
    """Points (x, y) with labels 1 or 0, or a box (x0, y0, x1, y1), in pixels of the image."""

    points: list[tuple[float, float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    box: tuple[float, float, float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Convert to the fields of a request."""
        found: dict[str, Any] = {} if self.box is None else {"box": self.box}
        return found | ({"points": self.points, "labels": self.labels} if self.points else {})


class Client:
    """Client of a server; an image is encoded once and then prompted by its hash."""

    def __init__(self, server: str = SERVER, token: str = "") -> None:
        self.server, self.token = server.rstrip("/"), token

    def encode(self, png: bytes) -> str:
        """Encode an image and return its hash. Raises ValueError."""
        _, headers = self._send("/api/encode", png, "image/png")
        return str(headers["X-Image-Hash"])

    def segment(self, image: str, prompt: Prompt) -> tuple[list[list[Ring]], float]:
        """Return polygons of the best mask and its score; a polygon is a ring and its holes.

        Raises ValueError.
        """
        body = json.dumps({"image": image} | prompt.to_json()).encode()
        answer, _ = self._send("/api/segment?format=polygons", body, "application/json")
        best = json.loads(answer)["answers"][0]
        polygons = [
            [[(x, y) for x, y in ring] for ring in (one["exterior"], *one["holes"])]
            for one in best["polygons"][0]
        ]
        return polygons, float(best["score"][0])

    def _send(self, route: str, body: bytes, kind: str) -> tuple[bytes, Any]:
        headers = {"Content-Type": kind}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.server + route, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            raise ValueError(f"The server refused: {_reason(error)}") from error
        except (OSError, ValueError) as error:
            raise ValueError(
                f"No server answers at {self.server}. Start it with: anymask serve"
            ) from error


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        told = json.loads(error.read())["error"]
        return str(told.get("message", told) if isinstance(told, dict) else told)
    except (ValueError, KeyError, TypeError):
        return str(error.reason)
