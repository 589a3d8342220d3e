"""Processes of a training run: signal handling, data loading, and distributed weights.

A signal may reach one process of a run or its process group, as sent by `timeout`, terminals and
batch systems. Data loading processes survive it until the checkpoint is written. SIGHUP that
`nohup` ignores stays ignored.

Processes are started by `anymask train` itself (on a CPU) or by torchrun, on any number of
machines. Each processes its part of every batch. `ddp` keeps all weights in every process
(DistributedDataParallel), `fsdp` shards them (FSDP2, `fully_shard`). Checkpoints hold whole tensors
in both cases, so a run can be resumed with another number of processes.
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
    """Handle stop signals with `handler` inside the block, then restore the previous handlers."""
    before = {name: signal.signal(name, handler) for name in _heeded()}
    try:
        yield
    finally:
        for name, old in before.items():
            signal.signal(name, old)


def take_signals() -> None:
    """Undo `signals_blocked(STOPPING)` in a process that was started inside it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def ignore_signals() -> None:
    """Ignore stop signals from now on, except inside `handling_signals`.

    A process that is ending after a signal may receive another one from its parent.
    """
    for name in _heeded():
        signal.signal(name, lambda *_: None)


def _heeded() -> list[signal.Signals]:
    ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else set()
    return [name for name in STOPPING if name not in ignored]


GOES_ON = "Run the same command to resume from the last checkpoint."


def _kill(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        with suppress(ValueError):  # the process was closed
            process.kill()


def shared_memory_free() -> int | None:
    """Return the free bytes of shared memory for tensors; None if there is no known limit.

    torch hangs or is killed if none is left.
    """
    if sys.platform != "linux":
        return None
    return shutil.disk_usage("/dev/shm").free if os.access("/dev/shm", os.W_OK) else 0


def prepared(loader: DataLoader[Any]) -> Iterator[Any]:
    """Yield the batches of a loader with one or no worker process.

    Raises AnymaskError if that process was killed.
    """
    handler = signal.getsignal(signal.SIGCHLD)
    with signals_blocked(STOPPING):  # the loader ends with this process, not by a signal
        coming = iter(loader)
    # A worker that fails sends its loader processes a signal, which stays blocked in them, and
    # would wait for them forever: they are killed before that.
    Finalize(None, _kill, (getattr(coming, "_workers", ()),), exitpriority=10)
    signal.signal(signal.SIGCHLD, handler)  # torch's handler raises at any point of a step
    while True:
        try:
            batch = next(coming)
        except StopIteration:
            return
        except RuntimeError as error:
            if "exited unexpectedly" not in str(error):
                raise
            raise AnymaskError(
                f"A data loading process was killed, probably for lack of memory. {GOES_ON}"
            ) from error
        yield batch


@dataclass(frozen=True, kw_only=True)
class TorchrunRank:
    """Rank, world size and local rank of a process that torchrun started."""

    rank: int
    size: int
    local_rank: int

    @classmethod
    def of_environment(cls) -> TorchrunRank | None:
        """Read them from the environment; None without torchrun. Raises ConfigError."""
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return None
        try:
            rank, size, local = (
                int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
            )
        except (KeyError, ValueError) as error:
            raise ConfigError(
                "Invalid environment: RANK, WORLD_SIZE, LOCAL_RANK must be whole numbers. Use "
                "torchrun."
            ) from error
        return cls(rank=rank, size=size, local_rank=local)

    def device(self, device: str) -> str:
        """Return the device of this process: `cuda` becomes the GPU of its local rank."""
        return f"cuda:{self.local_rank}" if device == "cuda" else device


def spread(step: nn.Module, parallel: Parallel, device: torch.device) -> nn.Module:
    """Wrap a step for distributed training, so that gradients are averaged over all processes."""
    if parallel == "fsdp":
        shard(step)
        return step
    cards = [device] if device.type == "cuda" else None
    # torch warns about 1 x 1 kernels, whose layout has two equivalent descriptions.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    # Not every step uses all heads.
    return DistributedDataParallel(step, device_ids=cards, find_unused_parameters=True)


def shard(model: nn.Module) -> None:
    """Shard the weights of a model block by block."""
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # for FSDP
    for block in repeated_blocks(model).values():
        fully_shard(block)
    fully_shard(model)


def whole(state: Any) -> Any:
    """Gather all sharded tensors in a tree of values; every process must call it."""
    return _pytree.tree_map(
        lambda one: one.full_tensor() if isinstance(one, DTensor) else one, state
    )


def sharded_as(tensor: Tensor, pattern: Tensor) -> Tensor:
    """Shard a whole tensor like `pattern`; return it unchanged if `pattern` is not sharded."""
    if isinstance(pattern, DTensor) and tensor.shape == pattern.shape:
        return distribute_tensor(tensor, pattern.device_mesh, pattern.placements)
    return tensor


def load_whole(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Call `load_state_dict` with whole tensors. Raises RuntimeError on a mismatch."""
    current = model.state_dict()
    model.load_state_dict(
        {name: sharded_as(t, current[name]) if name in current else t for name, t in state.items()}
    )


def load_whole_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Call an optimizer's `load_state_dict` with whole tensors. Raises ValueError on a mismatch."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    moments = {
        number: {
            name: sharded_as(value, parameters[number]) if isinstance(value, Tensor) else value
            for name, value in values.items()
        }
        for number, values in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": moments})


def mean_of_all(values: list[float], device: torch.device) -> list[float]:
    """Return the mean of each value over all processes."""
    if not distributed.is_initialized():
        return values
    total = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return [value / distributed.get_world_size() for value in total.tolist()]
