"""A real server for programs that call anymask over HTTP."""

from collections.abc import Iterator

import pytest

import anymask


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("fastapi")
    from anymask.segment import EmbeddingCache
    from anymask.studio import Inference, ServerParts
    from tests.studio.servers import listening

    inference = Inference(anymask.load, "nano", EmbeddingCache(memory_bytes=100_000_000))
    with listening(ServerParts(inference)) as address:
        yield address
