"""`anymask WORDS...` with a fake model, in a process that dies at its N-th dangerous moment.

    python -m tests.jobs.dying N WORDS...

Such moments are: a file's bytes are written but not safe on the disk; it is about to get its name;
it has just got it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import anymask
from anymask.cli import main as door
from anymask.predictors.image import Model
from tests.predictors.fakes import ColourRuntime


def main() -> int:
    left = int(sys.argv[1])

    def moment() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    fsync, replace = os.fsync, Path.replace

    def dangerous_fsync(number: int) -> None:
        if left == 1:  # the disk has only half of it
            os.ftruncate(number, os.fstat(number).st_size // 2)
        moment()
        fsync(number)

    def dangerous_replace(path: Path, target: Path) -> Any:
        moment()
        answer = replace(path, target)
        moment()
        return answer

    os.fsync, Path.replace = dangerous_fsync, dangerous_replace
    anymask.load = lambda *_, **__: Model(ColourRuntime())
    return door.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
