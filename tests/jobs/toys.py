"""Work that needs no model and does what the photo's name says, in any process, also a dying one.

    python -m tests.jobs.toys MARKS DIE_AFTER WORDS...

runs `anymask WORDS...`, where WORDS is an `embed` command, with the toy in the model's place. The
process kills itself after DIE_AFTER photos; 0 lets it live. MARKS is a folder: `calls` in it has a
line for each photo that was begun.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anymask.base import ImageError, ModelError, PromptError, whole_file
from anymask.jobs import ImageItem, Summary


@dataclass(frozen=True)
class ToyTask:
    """Opens at once, unless it is told to refuse or to die."""

    marks: Path
    opening: str = ""

    def open(self) -> ToyWork:
        if self.opening == "refuses":
            raise ModelError("there is no such model; take another one")
        if self.opening == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        return ToyWork(self.marks)


class ToyWork:
    """Writes the photo's name into its output."""

    def __init__(self, marks: Path) -> None:
        self.marks = marks
        self.about: dict[str, Any] = {"model": "toy"}

    def __call__(self, job: ImageItem, on_step: object = None) -> int | None:
        if job.output(".txt").is_file():
            return None
        name = job.image.stem
        with (self.marks / "calls").open("a") as file:
            file.write(f"{os.getpid()} {job.image.name!a} {os.environ.get('ANYMASK_THREADS')}\n")
        misbehave(name, self.marks)
        with whole_file(job.output(".txt")) as file:
            file.write(os.fsencode(job.image.name))
            if name == "waits":  # in the middle of a file, until somebody ends the process
                (self.marks / "fifo").open("wb").close()
                threading.Event().wait()
        return 1


def misbehave(name: str, marks: Path) -> None:
    """Do what the photo's name says."""
    if name.startswith("bad"):
        raise ImageError(f"{name} is no picture")
    if name == "defect":
        raise ZeroDivisionError("nobody thought of this")
    if name == "large":
        raise MemoryError
    if name == "no clicks":
        raise PromptError("this model takes no clicks")
    if name == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    if name == "deadly" or (name == "deadly once" and not (marks / "died").exists()):
        (marks / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if name in ("SIGTERM", "SIGINT"):  # when the one that waits is in the middle of its file
        (marks / "fifo").open("rb").close()
        if name == "SIGTERM":
            os.kill(os.getppid(), signal.SIGTERM)
        else:  # as a terminal does
            os.killpg(os.getpgrp(), signal.SIGINT)
        threading.Event().wait()


def main() -> int:
    from anymask.cli import encode as embed
    from anymask.cli import main as door

    signal.signal(signal.SIGINT, signal.default_int_handler)  # heard in the background, too
    marks, die_after, words = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    embed.EncodeTask = lambda *_: ToyTask(marks)
    add, behind = Summary.add, []

    def count(*args: Any) -> None:
        add(*args)
        behind.append(args)
        if len(behind) == die_after:
            os.kill(os.getpid(), signal.SIGKILL)

    Summary.add = count
    return door.main(words)


if __name__ == "__main__":
    sys.exit(main())
