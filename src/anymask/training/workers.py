"""Processes of a training run: signals that end it after a checkpoint, and weights in several.

A signal may reach one process of a run or its whole process group, as `timeout`, terminals and
batch systems send it. Processes that only prepare pictures outlive it until the checkpoint is
written. SIGHUP that `nohup` made ignored stays ignored.

Processes are started by `anymask train` itself (on a processor) or by torchrun, on any number of
machines. Each learns from its part of every batch; `ddp` keeps all weights in every process
(DistributedDataParallel), `fsdp` a part of them (FSDP2, `fully_shard`). What is written to disk is
the same: whole tensors, so that a run goes on with another number of processes.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils import _pytree
from torch.utils.data import DataLoader

from anymask.base import AnymaskError, ConfigError, signals_blocked
from anymask.training.blocks import repeated_blocks
from anymask.training.options import Parallel

Handler = Callable[[int, FrameType | None], None]
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def handling_signals(handler: Handler) -> Iterator[None]:
    """Send what asks to stop to `handler` for a while; afterwards it does what it did before."""
    before = {name: signal.signal(name, handler) for name in _heeded()}
    try:
        yield
    finally:
        for name, old in before.items():
            signal.signal(name, old)


def take_signals() -> None:
    """Undo `signals_blocked(STOPPING)` in a process that was started inside of it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def ignore_signals() -> None:
    """What asks to stop does nothing from now on, but while it is heeded.

    A process that has heeded one, and ends, may be asked once more by those that wait for it.
    """
    for name in _heeded():
        signal.signal(name, lambda *_: None)


def _heeded() -> list[signal.Signals]:
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [name for name in STOPPING if name != signal.SIGHUP or not ignored]


GOES_ON = "Run the same command to resume from the last checkpoint."


def _kill(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        with suppress(ValueError):  # of one that was closed
            process.kill()


def shared_memory_free() -> int | None:
    """Bytes free in the shared memory by which tensors reach another process; None: no limit known.

    torch waits for ever, or is killed, where none is left.
    """
    folder = Path("/dev/shm")
    if sys.platform != "linux":
        return None
    return shutil.disk_usage(folder).free if os.access(folder, os.W_OK) else 0


def prepared(loader: DataLoader[Any]) -> Iterator[Any]:
    """What a loader prepares for a worker, from one process beside it or from none.

    Raises AnymaskError where that process was killed.
    """
    handler = signal.getsignal(signal.SIGCHLD)
    with signals_blocked(STOPPING):  # the process beside ends with this one, not by a signal
        coming = iter(loader)
    # A worker that ends by an error asks its processes to end, by a signal that waits in them, and
    # would wait for them for ever: they are killed before that.
    Finalize(None, _kill, (getattr(coming, "_workers", ()),), exitpriority=10)
    signal.signal(signal.SIGCHLD, handler)  # torch's raises anywhere, within a step or a write
    while True:
        try:
            batch = next(coming)
        except StopIteration:
            return
        except RuntimeError as error:
            if "exited unexpectedly" not in str(error):
                raise
            raise AnymaskError(
                "A data loading process was terminated. This usually means that the system is "
                f"out of memory. {GOES_ON}"
            ) from error
        yield batch


@dataclass(frozen=True, kw_only=True)
class TorchrunPlace:
    """What torchrun told a process: its number, how many there are, its number on this machine."""

    rank: int
    size: int
    local_rank: int

    @classmethod
    def of_environment(cls) -> TorchrunPlace | None:
        """This process's, or None where torchrun did not start it. Raises ConfigError."""
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return None
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        try:
            rank, size, local = (int(os.environ[name]) for name in names)
        except (KeyError, ValueError) as error:
            raise ConfigError(
                f"Invalid environment: {', '.join(names)} must be whole numbers, but at least "
                "one is missing or invalid. These variables are set by torchrun. Start the "
                "training with torchrun."
            ) from error
        return cls(rank=rank, size=size, local_rank=local)

    def device(self, device: str) -> str:
        """This process's own device: `cuda` becomes the card of its number."""
        return f"cuda:{self.local_rank}" if device == "cuda" else device


def spread(step: nn.Module, parallel: Parallel, device: torch.device) -> nn.Module:
    """The step of a process that belongs to a group, so that gradients are those of all."""
    if parallel == "fsdp":
        shard(step)
        return step
    cards = [device] if device.type == "cuda" else None
    # The maps of 1 x 1 kernels have one layout under two names, which torch remarks on.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    # Each step leaves out some heads.
    return DistributedDataParallel(step, device_ids=cards, find_unused_parameters=True)


def shard(model: nn.Module) -> None:
    """Leave a part of every weight in this process, block by block."""
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # FSDP's wish
    for block in repeated_blocks(model).values():
        fully_shard(block)
    fully_shard(model)


def whole(state: Any) -> Any:
    """A tree of values with every sharded tensor made whole; all processes must ask."""
    return _pytree.tree_map(
        lambda one: one.full_tensor() if isinstance(one, DTensor) else one, state
    )


def sharded_as(tensor: Tensor, pattern: Tensor) -> Tensor:
    """A whole tensor as the pattern is sharded, or as it is."""
    if isinstance(pattern, DTensor) and tensor.shape == pattern.shape:
        return distribute_tensor(tensor, pattern.device_mesh, pattern.placements)
    return tensor


def load_whole(model: nn.Module, state: dict[str, Tensor]) -> None:
    """`load_state_dict` of whole tensors. Raises RuntimeError as it does."""
    own = model.state_dict()
    model.load_state_dict(
        {name: sharded_as(t, own[name]) if name in own else t for name, t in state.items()}
    )


def load_whole_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """`load_state_dict` of an optimiser from whole tensors. Raises ValueError as it does."""
    own = [p for group in optimiser.param_groups for p in group["params"]]
    moments = {
        number: {
            name: sharded_as(value, own[number]) if isinstance(value, Tensor) else value
            for name, value in values.items()
        }
        for number, values in state["state"].items()
    }
    optimiser.load_state_dict({**state, "state": moments})


def mean_of_all(values: list[float], device: torch.device) -> list[float]:
    """The mean of each value over all processes."""
    if not distributed.is_initialized():
        return values
    total = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return [value / distributed.get_world_size() for value in total.tolist()]
