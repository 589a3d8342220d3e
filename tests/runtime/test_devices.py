import sys

import pytest
import torch

from anymask.base import InputError, MissingExtra
from anymask.runtime import pick_device
from anymask.runtime.protocol import pick_dtype


@pytest.mark.parametrize(
    ("cuda", "mps", "best"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_prefers_cuda_then_mps_then_cpu(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, best: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert pick_device("auto") == torch.device(best)


def test_an_absent_device_is_said_with_those_that_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match="'cuda' is not available: PyTorch finds only cpu. Use"):
        pick_device("cuda")


def test_a_gpu_beyond_the_last_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(InputError, match="has 1 CUDA devices, numbered from 0"):
        pick_device("cuda:1")


@pytest.mark.parametrize("device", ["gpu", "", "cuda:first"])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(InputError, match=r"Choose from: auto, cpu, cuda, mps, or a CUDA"):
        pick_device(device)


def test_precisions_are_three_words() -> None:
    assert [pick_dtype(name) for name in ("fp32", "bf16", "fp16")] == [
        torch.float32,
        torch.bfloat16,
        torch.float16,
    ]
    with pytest.raises(InputError, match="Invalid precision 'half'. Choose from: fp32, bf16, fp16"):
        pick_dtype("half")


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"pip install 'anymask\[torch\]'"):
        pick_device("auto")
