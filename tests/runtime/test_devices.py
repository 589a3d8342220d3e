import pytest
import torch

from anymask.base import InputError
from anymask.runtime import pick_device


@pytest.mark.parametrize(
    ("cuda", "mps", "best"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_prefers_cuda_then_mps_then_cpu(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, best: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert pick_device("auto") == torch.device(best)


@pytest.mark.parametrize(
    ("cuda", "device", "told"),
    [
        (False, "cuda", "'cuda' is not available: PyTorch finds only cpu. Use"),
        (True, "cuda:1", "has 1 CUDA devices, numbered from 0"),
        *((True, one, "Choose from: auto, cpu, cuda, mps") for one in ("gpu", "", "cuda:first")),
    ],
)
def test_a_device_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, device: str, told: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert not cuda or pick_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(InputError, match=told):
        pick_device(device)
