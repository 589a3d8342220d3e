"""Chooses the tests that `make test` leaves out, by measured processor seconds.

    ANYMASK_TEST_TIMES=FOLDER python -m pytest -p tests.house.durations     # measure
    python -m tests.house.durations FOLDER                                  # write tests/slow.txt

A test function is slow if its cases together take more than `LIMIT_S`, or if it needs a fixture
that takes longer, and more than `SHARE_S` for each test that needs it. Processor seconds include
those of finished subprocesses. A quarter of the wall seconds counts if that is more: a browser
waits.
"""

from __future__ import annotations

import csv
import os
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import fixtures

FILE = Path(__file__).parents[1] / "slow.txt"
LIMIT_S, SHARE_S = 3.0, 0.4


class Times:
    """Writes a row for each phase of a test and for each fixture."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{os.environ.get('PYTEST_XDIST_WORKER', 'main')}.csv"

    def timed(self, kind: str, name: str, needs: str = "") -> Iterator[None]:
        start, used = time.monotonic(), processor_seconds()
        outcome = yield
        row = (kind, name, time.monotonic() - start, processor_seconds() - used, needs)
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerow(row)
        return outcome

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        return (yield from self.timed("test", item.nodeid, " ".join(fixtures(item))))

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Iterator[None]:
        name = f"{fixturedef.baseid}::{fixturedef.argname}"
        return (yield from self.timed("fixture", name))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Times(Path(os.environ["ANYMASK_TEST_TIMES"])))


def processor_seconds() -> float:
    """Of this process and of its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def slow(folder: Path) -> list[str]:
    """Return the lines of `slow.txt` from the measured tables of a folder."""
    tests: dict[str, float] = defaultdict(float)
    costs: dict[str, float] = defaultdict(float)
    needed: dict[str, int] = defaultdict(int)
    for path in folder.glob("*.csv"):
        for kind, name, wall, used, needs in csv.reader(path.read_text("utf-8").splitlines()):
            cost = max(float(used), float(wall) / 4)
            if kind == "test":
                tests[name.partition("[")[0]] += cost
                for fixture in needs.split():
                    needed[fixture] += 1
            else:
                costs[name] = max(costs[name], cost)
    lines = [name for name, cost in tests.items() if cost > LIMIT_S]
    lines += [
        f"fixture {name}" for name, cost in costs.items()
        if cost > LIMIT_S and cost > SHARE_S * needed[name]
    ]  # fmt: skip
    return sorted(lines)


if __name__ == "__main__":
    FILE.write_text("\n".join(slow(Path(sys.argv[1]))) + "\n", "utf-8")
