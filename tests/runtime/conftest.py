"""An exported stand-in; a file server that misbehaves on request, with a catalogue."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from anymask.runtime import Checkpoint
from anymask.runtime.catalogue import Licence
from tests.http_answers import Answers, serving

LICENCE = Licence(name="Apache-2.0", url="https://www.apache.org/licenses/", commercial=True)


@pytest.fixture
def server() -> Iterator[Answers]:
    with serving() as answers:
        yield answers


@pytest.fixture(autouse=True)
def store_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of its own for every test; no mirror, no proxy."""
    monkeypatch.setenv("ANYMASK_HOME", str(tmp_path / "home"))
    for name in ("ANYMASK_MIRROR", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="session")
def content() -> bytes:
    """A real checkpoint of about 1 MB."""
    torch = pytest.importorskip("torch", reason="checkpoints are read with torch")
    buffer = io.BytesIO()
    values = torch.arange(250_000, dtype=torch.float32).reshape(500, 500)
    torch.save({"layer.weight": values, "layer.bias": torch.ones(3)}, buffer)
    return buffer.getvalue()


class Shelf(dict[str, Checkpoint]):
    """A catalogue of the test's own; `put` adds a model."""

    def put(self, name: str, content: bytes, *sources: str, **facts: object) -> Checkpoint:
        known: dict[str, object] = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "md5": None,
            "bytes": len(content),
            **facts,
        }
        self[name] = Checkpoint(
            name=name,
            variant=name,
            file=f"{name}.pt",
            sources=sources,
            licence=LICENCE,
            home="https://example.org/models",
            **known,  # type: ignore[arg-type]
        )
        return self[name]


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = Shelf()
    monkeypatch.setattr("anymask.runtime.catalogue.catalogue", lambda: shelf)
    return shelf


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in, exported once for all tests; copy it before you break it."""
    from tests.runtime.exports import exported

    return exported("stand_in", tmp_path_factory)
