"""Sweeps of runtimes: their own, or one that decodes everything."""

import numpy as np
import pytest
import torch

from anymask.masks import Geometry, ModelPrompts
from anymask.models.variants import TINY, TINY_HQ, Variant
from anymask.runtime import DecodingSweep, TorchRuntime, TorchSweep, open_sweep
from tests.segment.fakes import ColourRuntime

N = 3
GEOMETRY = Geometry((64, 64), (64, 64), 64)  # a photo that fills the model's input


def prompts(side: int) -> ModelPrompts:
    coords = np.random.default_rng(0).uniform(0, 64, (N, 2, 2)).astype(np.float32)
    labels = np.tile([1, -1], (N, 1))
    return ModelPrompts(coords, labels, np.zeros((N, 1, side, side), np.float32), np.zeros(N, "f4"))


@pytest.mark.parametrize(("variant", "kind"), [(TINY, TorchSweep), (TINY_HQ, DecodingSweep)])
def test_a_sweep_answers_as_decoding_and_choosing_do(variant: Variant, kind: type) -> None:
    torch.manual_seed(0)
    runtime = TorchRuntime(variant.build(), device="cpu")
    images = np.random.default_rng(1).standard_normal((1, 3, 64, 64)).astype(np.float32)
    seen = runtime.see(images)[0]
    sweep = open_sweep(runtime, seen, GEOMETRY)
    assert isinstance(sweep, kind)
    assert sweep.bytes_per_prompt > 0
    logits, quality = runtime.family.candidates(*runtime.decode(seen, prompts(32)))
    asked = sweep.ask(prompts(32))
    np.testing.assert_allclose(asked.quality, quality, rtol=0, atol=1e-5)
    chosen = np.random.default_rng(2).uniform(size=quality.shape) < 0.6
    drawn = list(asked.logits(chosen))
    assert len(drawn) == chosen.sum() > 0
    np.testing.assert_allclose(np.stack(drawn), logits[chosen], rtol=0, atol=1e-4)
    assert list(asked.logits(np.zeros_like(chosen))) == []


def test_a_runtime_without_a_sweep_decodes() -> None:
    runtime = ColourRuntime()
    seen = runtime.see(np.zeros((1, 3, 128, 128), np.float32))[0]
    sweep = open_sweep(runtime, seen, GEOMETRY, "mixed")
    assert sweep.ask(prompts(64)).quality.shape == (N, 3)
    assert runtime.calls == [(N, 2)]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_answers_alike_and_torch_keeps_its_own(threads: int) -> None:
    torch.manual_seed(0)
    runtime = TorchRuntime(TINY.build(), device="cpu")
    images = np.random.default_rng(1).standard_normal((1, 3, 64, 64)).astype(np.float32)
    seen = runtime.see(images)[0]
    _, quality = runtime.family.candidates(*runtime.decode(seen, prompts(32)))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        sweep = open_sweep(runtime, seen, GEOMETRY)
        for _ in range(2):
            np.testing.assert_allclose(sweep.ask(prompts(32)).quality, quality, rtol=0, atol=1e-5)
        assert torch.get_num_threads() == threads
        assert isinstance(sweep, TorchSweep)
        assert sweep._pool.submit(torch.get_num_threads).result() == 1  # each computes alone
    finally:
        torch.set_num_threads(before)
