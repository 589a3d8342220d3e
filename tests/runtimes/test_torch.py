from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from anymask import models
from anymask.primitives.types import ModelPrompts
from anymask.runtimes.protocol import ImageRuntime
from anymask.runtimes.torch import TorchRuntime
from tests.runtimes.stand_in import SPEC, build, some_prompts


def some_images(b: int, side: int) -> np.ndarray:
    return np.random.default_rng(b).standard_normal((b, 3, side, side)).astype(np.float32)


def test_it_is_an_image_runtime() -> None:
    runtime = TorchRuntime(build(), "hash", device="cpu")
    assert isinstance(runtime, ImageRuntime)
    assert runtime.spec == SPEC
    assert runtime.weights_hash == "hash"


def test_maps_come_one_image_at_a_time_features_first() -> None:
    maps = TorchRuntime(build(), device="cpu").encode(some_images(2, 32))
    assert [[array.shape for array in each] for each in maps] == [[(8, 8, 8), (1, 8, 8)]] * 2


@pytest.mark.parametrize("name", ["tiny", "tiny_hq", "tiny_video"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_answers_in_float32_near_the_whole(name: str, precision: str) -> None:
    module = models.build(name)
    whole, prompts = TorchRuntime(module, device="cpu"), some_prompts(3, 2, models.spec(name))
    images = some_images(1, 64)
    maps = whole.encode(images)[0]
    logits, quality = whole.decode(maps, prompts)
    half = TorchRuntime(module, device="cpu", precision=precision)
    half_maps = half.encode(images)[0]
    half_logits, half_quality = half.decode(half_maps, prompts)
    answers = (*half_maps, half_logits, half_quality)
    assert all(array.dtype == np.float32 for array in answers)
    for a, b in zip(answers, (*maps, logits, quality), strict=True):
        assert np.abs(a - b).max() <= 0.1 * np.abs(b).max()


def test_a_read_only_embedding_is_taken_without_a_warning() -> None:
    runtime = TorchRuntime(build(), device="cpu")
    maps = runtime.encode(some_images(1, 32))[0]
    wanted = runtime.decode(maps, some_prompts(2, 2))[0]
    for array in maps:
        array.flags.writeable = False
    np.testing.assert_array_equal(runtime.decode(maps, some_prompts(2, 2))[0], wanted)


def test_many_threads_share_one_runtime() -> None:
    runtime = TorchRuntime(models.build("tiny"), device="cpu")
    maps = runtime.encode(some_images(1, 64))[0]
    asked: list[ModelPrompts] = [some_prompts(n, 2, runtime.spec) for n in (1, 2, 3, 4)] * 4
    wanted = [runtime.decode(maps, prompts)[0] for prompts in asked]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda prompts: runtime.decode(maps, prompts)[0], asked))
    for a, b in zip(answers, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
