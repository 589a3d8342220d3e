"""`anymask WORDS...` with a fake model, in a process that dies at its N-th dangerous moment.

    python -m tests.jobs.dying

reads lines of JSON, [N, WORDS], from its standard input. For each it starts a process of its own,
by fork, because the imports take longer than the work, and prints the exit code, or -signal.

Such moments are: a file's bytes are written but not safe on the disk; it is about to get its name;
it has just got it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import anymask
from anymask.cli import everything  # noqa: F401  # what each run would import
from anymask.cli import main as door
from anymask.segment import Model
from tests.segment.fakes import ColorRuntime


def run(left: int, words: list[str]) -> int:
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
    anymask.load = lambda *_, **__: Model(ColorRuntime())
    return door.main(words)


def main() -> None:
    for line in sys.stdin:
        left, words = json.loads(line)
        if (child := os.fork()) == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            code = 1
            try:
                code = run(left, words)
            finally:
                sys.stderr.flush()
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
