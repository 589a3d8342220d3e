"""Many damaged inputs over all readers, in processes with bounded memory and time.

    python -m tests.fuzz.hunt COUNT [--first N] [--word WORD] [--log FILE]

COUNT inputs are shared out evenly among the targets, also those of plug-ins. Each target works in a
separate process; one that takes more than 60 s of processor time on an input, or dies, is
recorded and goes on behind that input. The same command with the same log goes on where it ended.
Prints each place that raised once, and exits with 1 where anything was found.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import runpy
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from anymask.base import AnymaskError
from tests.fuzz.mutations import mutate, seed_of
from tests.fuzz.targets import TEXTS, Maker, Target, makers_of

PLUGIN_TESTS = Path(__file__).parents[2].glob("contrib/*/tests/test_damaged_files.py")
HANG_S = 60  # of processor time; the process then dies of SIGPROF,
SILENT_S = 600  # or of SIGALRM, waiting for something
MAX_MB = 1024  # above the memory in use before the input
ADDRESSES = 12 << 30  # bytes of address space: torch and decoders reserve much more than they use


def makers() -> dict[str, Maker]:
    """What writes the files of each kind, also those of the plug-ins on the path."""
    found = makers_of()
    for path in sorted(PLUGIN_TESTS):
        sys.path.insert(0, str(path.parent))
        with contextlib.suppress(ImportError):
            found[path.parents[1].name] = runpy.run_path(str(path))["targets"]
    return found


def work(name: str, share: int, first: int, start: int, log: Path) -> None:
    """In a process: the inputs of the targets of one maker, from number `start` on."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1), os.dup2(silence, 2)
    with tempfile.TemporaryDirectory() as folder, log.open("a") as lines:
        targets = makers()[name](Path(folder) / name)
        files = [(target, path) for target in targets for path in target.files]
        for number in range(start, share):
            target, path = files[number % len(files)]
            where = f"{target.name} {path.relative_to(target.root).as_posix()}"
            about = {
                "maker": name,
                "number": number,
                "at": f"{where} {first + number // len(files)}",
            }
            print(json.dumps(about), file=lines, flush=True)
            about |= one_input(target, path, seed_of(where, first + number // len(files)))
            print(json.dumps(about), file=lines, flush=True)


def one_input(target: Target, path: Path, seed: int) -> dict[str, Any]:
    """Damage a file, read it, put it back; what came of it."""
    sound, found = path.read_bytes(), {"end": "read"}
    path.write_bytes(mutate(sound, seed, path.suffix in TEXTS))
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before, begun = memory()["VmRSS"], time.process_time()
    signal.setitimer(signal.ITIMER_PROF, HANG_S)
    signal.alarm(SILENT_S)
    try:
        target.use(path)
    except AnymaskError as error:
        found = {"end": "refused", "text": str(error)[:300], "long": len(str(error)) > 3000}
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [one for one in frames if "/anymask" in one.filename] or list(frames)
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {type(error).__name__}"
        found = {"end": "raised", "place": place, "text": str(error)[:300]}
    signal.setitimer(signal.ITIMER_PROF, 0)
    path.write_bytes(sound)
    seconds = round(time.process_time() - begun, 2)
    return found | {"seconds": seconds, "mb": (memory()["VmHWM"] - before) >> 10}


def memory() -> dict[str, int]:
    """Memory of this process in kB, by the names of /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}


def watch(name: str, share: int, first: int, log: Path) -> None:
    """Run the inputs of one maker to their end, through hangs and deaths."""
    begun, start = -1, 0
    while begun < start < share:
        begun, start = start, 1 + max([-1, *(n["number"] for n in rows(log) if n["maker"] == name)])
        process = get_context("spawn").Process(target=work, args=(name, share, first, start, log))
        process.start()
        process.join()
    print(f"{name}: done", flush=True)


def rows(log: Path) -> list[dict[str, Any]]:
    """The lines of a log: one when an input begins, and one when it has ended."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("count", type=int)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--word", default="")
    parser.add_argument("--log", type=Path)
    asked = parser.parse_args()
    names = [name for name in makers() if asked.word in name]
    with tempfile.TemporaryDirectory() as folder:
        log = asked.log or Path(folder) / "log"
        for number, name in enumerate(names):
            share = asked.count // len(names) + (number < asked.count % len(names))
            watch(name, share, asked.first, log)
        found = {(one["maker"], one["number"]): one for one in rows(log)}.values()
    bad = [one for one in found if one.get("end", "died") in ("raised", "died")]
    bad += [one for one in found if one.get("mb", 0) > MAX_MB or one.get("long")]
    for one in {one.get("place", one["at"]): one for one in reversed(bad)}.values():
        print(one)
    print(
        f"{len(found)} inputs: {Counter(one.get('end', 'died') for one in found)}, {len(bad)} bad"
    )
    print("slowest", max(found, key=lambda one: one.get("seconds", 0), default=None))
    print("largest", max(found, key=lambda one: one.get("mb", 0), default=None))
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
