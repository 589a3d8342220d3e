"""Many damaged inputs over all readers, in processes with bounded memory.

    python -m tests.fuzz.hunt COUNT [--first N] [--word WORD] [--json FILE]

COUNT inputs are shared out evenly among the targets. Each target works in a process of its own; one
that takes more than 20 s of CPU on an input, or dies, is recorded and goes on behind that input.
Prints each place that raised once, and exits with 1 where anything was found.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any

import psutil

from anymask.base import AnymaskError
from tests.fuzz.mutations import mutate, seed_of
from tests.fuzz.targets import TEXTS, Target, makers_of

HANG_S = 20.0  # of CPU
SILENT_S = 120.0  # of the clock, of an input that waits for something
MAX_BYTES = 2 << 30  # of memory in use
ADDRESSES = 12 << 30  # bytes of address space: torch and decoders reserve much more than they use


def work(name: str, share: int, first: int, start: int, pipe: connection.Connection) -> None:
    """In a process: the inputs of the targets of one maker, from number `start` on."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    warnings.simplefilter("ignore")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1), os.dup2(silence, 2)
    done = 0
    with tempfile.TemporaryDirectory() as folder:
        targets = makers_of()[name](Path(folder) / name)
        files = [(target, path) for target in targets for path in target.files]
        for round_ in range(first, first + -(-share // max(len(files), 1))):
            for target, path in files:
                done += 1
                if done > share:
                    break
                if done <= start:
                    continue
                one_input(target, path, round_, done, pipe)
    pipe.send(("end", done, "", 0))


def one_input(
    target: Target, path: Path, number: int, done: int, pipe: connection.Connection
) -> None:
    """Damage a file, read it, put it back."""
    sound, where = path.read_bytes(), path.relative_to(target.root).as_posix()
    pipe.send(("begin", done, f"{target.name} {where} {number}", 0))
    path.write_bytes(mutate(sound, seed_of(f"{target.name} {where}", number), path.suffix in TEXTS))
    try:
        target.use(path)
    except AnymaskError:
        pass
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [one for one in frames if "/anymask/" in one.filename] or list(frames)
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {type(error).__name__}"
        pipe.send(("raised", done, f"{place}: {str(error)[:160]}", 0))
    path.write_bytes(sound)
    pipe.send(("done", done, "", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


def watch(name: str, share: int, first: int, found: dict[str, Any]) -> None:
    """Run the inputs of one maker to their end, through hangs and deaths."""
    context, start = get_context("spawn"), 0
    while start < share:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(name, share, first, start, theirs))
        process.start()
        theirs.close()
        said, began, cpu, at = "", time.monotonic(), 0.0, start
        ended = False
        while not ended:
            if not ours.poll(1.0):
                used = _cpu(process.pid) - cpu
                waited = time.monotonic() - began
                if said and (used > HANG_S or waited > SILENT_S):
                    found["hangs"].append(f"{said} ({used:.0f} s of CPU, {waited:.0f} s)")
                    process.kill()
                    break
                continue
            try:
                kind, at, text, peak = ours.recv()
            except EOFError:
                found["deaths"].append(f"{said or name} (exit code {process.exitcode})")
                at = at if said else share
                break
            if kind == "begin":
                said, began, cpu = text, time.monotonic(), _cpu(process.pid)
            elif kind == "raised":
                place = text.partition(":")[0] + ":" + text.partition(":")[2].partition(":")[0]
                if not found["places"][place]:
                    print(f"{said}: {text}", flush=True)
                found["places"][place] += 1
            elif kind == "done":
                found["inputs"] += 1
                if peak * 1024 > max(MAX_BYTES, found["peak"]):
                    print(f"{said}: {peak >> 10} MB", flush=True)
                found["peak"] = max(found["peak"], peak * 1024)
                said = ""
            else:
                ended = True
        process.join(10)
        process.kill()
        process.join()
        start = share if ended else at
    print(f"{name}: done, {found['inputs']} inputs", flush=True)


def _cpu(pid: int | None) -> float:
    try:
        used = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(used.user + used.system)


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("count", type=int)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--word", default="")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    names = [name for name in makers_of() if asked.word in name]
    found: dict[str, Any] = {
        "inputs": 0, "peak": 0, "hangs": [], "deaths": [], "places": Counter(),
    }  # fmt: skip
    for number, name in enumerate(names):
        share = asked.count // len(names) + (number < asked.count % len(names))
        watch(name, share, asked.first, found)
    print(
        f"{found['inputs']} inputs; {found['places'].total()} with a traceback at "
        f"{len(found['places'])} places, {len(found['hangs'])} hangs, {len(found['deaths'])} "
        f"deaths, peak {found['peak'] >> 20} MB"
    )
    for kind in ("hangs", "deaths"):
        for text in found[kind]:
            print(f"{kind[:-1]}: {text}")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))
    return int(bool(found["places"] or found["hangs"] or found["deaths"]))


if __name__ == "__main__":
    sys.exit(main())
