"""Detectors with random weights, made once, and a photo to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anymask
from anymask.base import UintImage
from tests.find.tiny import write_grounding, write_owl


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny detector of each kind that there is."""
    pytest.importorskip("transformers")
    root = tmp_path_factory.mktemp("detectors")
    return {
        "grounding-dino": write_grounding(root / "grounding"),
        "mm-grounding-dino": write_grounding(root / "mm", mm=True),
        "owlv2": write_owl(root / "owlv2"),
        "owlvit": write_owl(root / "owlvit", second=False),
    }


@pytest.fixture(scope="session")
def photo() -> UintImage:
    """The sample, 120 x 80."""
    image = anymask.load_image(anymask.sample("coffee"))
    return np.ascontiguousarray(image[::5, ::5])


@pytest.fixture(scope="session")
def model() -> anymask.Model:
    """The bundled model."""
    return anymask.load()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Refuses every connection, and tells which were tried."""
    import socket

    tried: list[Any] = []

    def refuse(self: socket.socket, address: Any) -> None:
        tried.append(address)
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", lambda *where, **_: refuse(None, where))  # type: ignore[arg-type]
    yield tried
    assert not tried
