"""Loss of a process of a training run: a process that was killed in, one error that names it out.

What the system kills when memory runs out is the process that prepares pictures, or one that
learns. The others go on to the end of a step and write a checkpoint.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from multiprocessing import active_children
from typing import Any

from torch import distributed
from torch.utils.data import DataLoader

from anymask.primitives.errors import AnymaskError
from anymask.primitives.exit_codes import exit_text
from anymask.training.stopping import signals_blocked

GOES_ON = "the same command goes on from the run's checkpoint"
KILLED = -9  # the exit code of a process that SIGKILL ended
REMEDY = f"the system does so when memory runs out; {GOES_ON}"


def prepared(loader: DataLoader[Any], rank: int) -> Iterator[Any]:
    """What a loader prepares for a worker, from one process beside it or from none.

    Raises AnymaskError where that process was killed.
    """
    before, handler = set(active_children()), signal.getsignal(signal.SIGCHLD)
    with signals_blocked():  # the process beside ends with this one, not by a signal
        coming = iter(loader)
    beside = [one for one in active_children() if one not in before]
    signal.signal(signal.SIGCHLD, handler)  # torch's raises anywhere, within a step or a write
    while True:
        try:
            batch = next(coming)
        except StopIteration:
            return
        except (RuntimeError, OSError, EOFError) as error:
            for process in beside:
                if process.exitcode:
                    raise AnymaskError(
                        f"the process {process.pid}, which prepares pictures for worker {rank}, "
                        f"{exit_text(process.exitcode)}: {_remedy(process.exitcode)}"
                    ) from error
            raise
        yield batch


def is_partner_lost(error: RuntimeError) -> bool:
    """Whether an error says that another process of the group is gone."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error)


def killed_worker(rank: int, pid: int, exit_code: int) -> AnymaskError:
    """What is said of a worker that did not end by itself."""
    return AnymaskError(
        f"worker {rank} (process {pid}) {exit_text(exit_code)}: {_remedy(exit_code)}"
    )


def _remedy(exit_code: int) -> str:
    return REMEDY if exit_code == KILLED else GOES_ON
