from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pytest
import torch

from anymask import models
from anymask.base import ModelError
from anymask.masks import Features, ModelPrompts, StoredMaps
from anymask.runtime import TorchRuntime, require
from anymask.runtime.torch import FeatureTensors
from anymask.segment import Model
from tests.runtime.stand_in import build, some_prompts


@runtime_checkable
class Flies(Protocol):
    """What no image model can do."""

    def fly(self) -> None: ...


def some_images(b: int, side: int) -> np.ndarray:
    return np.random.default_rng(b).standard_normal((b, 3, side, side)).astype(np.float32)


def test_a_read_only_embedding_is_taken_without_a_warning() -> None:
    runtime = TorchRuntime(build(), device="cpu")
    maps = runtime.encode_images(some_images(1, 32))[0]
    expected = runtime.decode(maps, some_prompts(2, 2))[0]
    copied = StoredMaps(maps.maps())
    for one in copied.maps():
        one.values.flags.writeable = False
    np.testing.assert_array_equal(runtime.decode(copied, some_prompts(2, 2))[0], expected)


def test_many_threads_share_one_runtime() -> None:
    runtime = TorchRuntime(models.build("tiny"), device="cpu")
    maps = runtime.encode_images(some_images(1, 64))[0]
    asked: list[ModelPrompts] = [some_prompts(n, 2, runtime.spec) for n in (1, 2, 3, 4)] * 4
    expected = [runtime.decode(maps, prompts)[0] for prompts in asked]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda prompts: runtime.decode(maps, prompts)[0], asked))
    for a, b in zip(answers, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


# What was seen stays where it was computed.


def test_what_was_seen_stays_on_its_device_until_its_maps_are_wanted() -> None:
    runtime = TorchRuntime(build(), device="cpu", precision="bf16")
    assert (str(runtime.device), runtime.precision) == ("cpu", "bf16")
    (features,) = runtime.encode_images(some_images(1, 32))
    assert isinstance(features, FeatureTensors)
    assert all(one.dtype == torch.bfloat16 for one in features.tensors)
    assert features.nbytes == 2 * (8 * 8 * 8 + 8 * 8)
    assert runtime._maps(features) is features.tensors  # nothing is copied to decode
    assert all(one.values.dtype == np.float32 for one in features.maps())


def test_a_runtime_of_another_precision_reads_the_maps() -> None:
    whole, half = (TorchRuntime(build(), device="cpu", precision=p) for p in ("fp32", "bf16"))
    (features,) = half.encode_images(some_images(1, 32))
    assert {one.dtype for one in whole._maps(features)} == {torch.float32}
    near = whole.decode(features, some_prompts(2, 2))[0]
    np.testing.assert_array_equal(
        near, whole.decode(StoredMaps(features.maps()), some_prompts(2, 2))[0]
    )


def test_predicting_never_copies_the_maps_and_saving_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[int] = []
    maps = FeatureTensors.maps
    monkeypatch.setattr(FeatureTensors, "maps", lambda self: copies.append(1) or maps(self))
    model = Model(TorchRuntime(models.build("tiny"), "hash", device="cpu"))
    embedding = model.encode(np.zeros((40, 50, 3), np.uint8))
    answer = model.segment(embedding, points=[(3, 4)])
    assert embedding.nbytes > 0
    assert not copies
    embedding.save(tmp_path / "a")
    assert len(copies) == 1
    again = model.segment(Features.load(tmp_path / "a"), points=[(3, 4)])
    np.testing.assert_array_equal(again.logits, answer.logits)


def test_a_feature_that_a_model_lacks_is_named() -> None:
    runtime = TorchRuntime(build(), device="cpu")
    assert runtime.video is None
    with pytest.raises(ModelError, match="stand_in does not support video steps. Choose"):
        require(runtime, runtime.video, "video steps")
