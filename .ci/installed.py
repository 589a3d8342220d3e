"""Installs the wheel into fresh environments and checks what each promises.

    .venv/bin/python .ci/installed.py [NAME ...]     default: core studio torch maps

NAME is an extra of pyproject.toml or several (`studio+torch`), `core` (no extra), `lowest` or
`lowest-EXTRA` (the lowest versions that pyproject.toml admits), or `every` for all extras, those
pairs that no extra contains, and the lowest core and studio.

In each environment every help screen is printed and every public name resolved
(`tests/installed/surface.py`). The promises of the extra and of those that it contains are run
(`tests/installed/promises.toml`), and the quick ones of the core; `core` and `all` run all of it.
The command lines of the other extras must be refused there, with the name of the extra to install.
The exit code is 1 where anything failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.installed.extras import (  # noqa: E402
    ALL,
    CORE,
    PROMISES,
    brought,
    contained,
    extras,
    may_work,
    names_missing,
    offered,
    output_names,
    remedies,
)  # fmt: skip
from tests.installed.inputs import write_inputs  # noqa: E402
from tests.studio.postgres import NoServer, server  # noqa: E402

DEFAULT = (CORE, "studio", "torch", "maps")
LOWEST = "lowest"
LIMIT_S = 1200  # of one command; .ci/run has other groups beside it
MAX_TEXT, MAX_FAILURES = 1500, 20  # that are printed of a failure, of an environment
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/none"
UV = (sys.executable, "-m", "uv", "--quiet", "--no-config")
TRACEBACK = "Traceback (most recent call last)"
PAGES = ("/health", "/", "/openapi.json", "/docs")
HEAD = (
    "| environment | runs | tracebacks | ModuleNotFoundError | promises kept | failures | time |\n"
    "|---|---|---|---|---|---|---|"
)


@dataclass
class Environment:
    """One environment below a folder of its own, and what happened in it."""

    name: str
    folder: Path
    inputs: Path
    database: str = ""
    runs: int = 0
    kept: int = 0
    promised: int = 0
    seconds: float = 0
    failures: list[str] = field(default_factory=list)

    @property
    def extra(self) -> str:
        """The extra that is installed, with its contents."""
        name = self.name.removeprefix(LOWEST).removeprefix("-")
        return name or CORE

    @property
    def programs(self) -> Path:
        """The folder of its interpreter."""
        return self.folder / "environment" / "bin"

    def row(self) -> str:
        """The environment's row in the table."""
        tracebacks, missing = (
            sum(text in failure for failure in self.failures)
            for text in (TRACEBACK, "ModuleNotFoundError")
        )
        kept = f"{self.kept} of {self.promised}"
        cells = (self.name, self.runs, tracebacks, missing, kept, len(self.failures))
        return f"| {' | '.join(map(str, cells))} | {self.seconds:.0f} s |"

    # Installation.

    def install(self, wheel: Path) -> None:
        """Make it and install the wheel. Raises CalledProcessError."""
        uv("venv", "--python", sys.executable, self.programs.parent)
        install = ("pip", "install", "--python", self.programs / "python")
        extra = self.extra.replace("+", ",")
        named = f"{wheel}[{extra}]" if extra != CORE else str(wheel)
        if not self.name.startswith(LOWEST):
            uv(*install, "-c", ROOT / "constraints.txt", named)
            return
        lowest = self.folder / "lowest.txt"
        words = () if extra == CORE else ("--extra", extra)
        project = ROOT / "pyproject.toml"
        uv("pip", "compile", project, "--resolution", "lowest-direct", *words, "-o", lowest)
        uv(*install, "-r", lowest)
        uv(*install, "--no-deps", wheel)

    # One command.

    def fail(self, what: str, text: str) -> None:
        """Write down a failure."""
        self.failures.append(f"{self.name}: {what}\n{text.strip()[-MAX_TEXT:]}")

    def variables(self) -> dict[str, str]:
        """What its processes find in their surroundings."""
        mine = {"ANYMASK_HOME": str(self.folder / "home"), "ANYMASK_THREADS": "1"}
        theirs = {
            name: value for name, value in os.environ.items()
            if not name.startswith(("ANYMASK", "PYTHON")) and name != "VIRTUAL_ENV"
        }  # fmt: skip
        return {**theirs, "OMP_NUM_THREADS": "1", **mine}

    def run(self, words: Sequence[str | Path], cwd: Path) -> tuple[int, str, str]:
        """Exit code, standard output and standard error; a traceback is written down."""
        self.runs += 1
        done = subprocess.run(
            [self.programs / words[0], *words[1:]], cwd=cwd, env=self.variables(),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=LIMIT_S, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    # What is checked.

    def check_surface(self) -> None:
        """Every help screen and every public name; as a process only the program's own."""
        for words in (["anymask", "--help"], ["anymask", "--version"], ["anymask"]):
            code, _, error = self.run(words, self.folder)
            if code or error:
                self.fail(" ".join(words), f"exit code {code}: {error}")
        surface = ROOT / "tests/installed/surface.py"
        words = ["python", surface, *sorted(brought(self.extra))]
        code, out, error = self.run(words, self.folder)
        if code:
            self.fail("surface.py", error)
            return
        result = json.loads(out.splitlines()[-1])
        self.runs += result["tried"] - 1
        for what, text in result["failures"]:
            self.fail(what, text)

    def check_section(self, section: str) -> None:
        """Run a section of the promises, or see it refused."""
        expected = PROMISES[section]
        if section == CORE and self.extra not in (CORE, ALL):
            expected = {name: expected[name] for name in ("inputs", "quick")}
        folder = self.folder / section
        folder.mkdir()
        for group in expected["inputs"]:
            shutil.copytree(self.inputs / group, folder, dirs_exist_ok=True)
        missing = remedies(section, self.extra)
        lines = expected.get("quick", []) + expected.get("run", [])
        if missing:
            for line in expected.get("before", []):
                self.run(["anymask", *shlex.split(line)], folder)
            unwritten = {name for line in lines for name in output_names(line)}
            for line in lines + expected.get("refused", []):
                self.check_refusal(line, folder, missing, may_work(section, self.extra), unwritten)
            return
        for line in expected.get("before", []) + lines + expected.get("then", []):
            self.check_line(line, folder)
        for program in expected.get("python", []):
            program = program.replace("{anymask}", str(self.programs / "anymask"))
            self.check_program(program, folder)
        for line in expected.get("serve", []):
            self.check_server(line, folder)
        shutil.rmtree(folder)

    def check_line(self, line: str, folder: Path) -> None:
        """A command line ends well and writes what it names."""
        self.promised += 1
        words = shlex.split(line.replace("{postgres}", self.database))
        code, _, error = self.run(["anymask", *words], folder)
        absent = [name for name in output_names(line) if not (folder / name).exists()]
        if code or absent or TRACEBACK in error:
            absence = f"\nnot written: {', '.join(absent)}" if absent else ""
            self.fail(f"anymask {line}", f"{error}\nexit code {code}{absence}")
        else:
            self.kept += 1

    def check_program(self, program: str, folder: Path) -> None:
        """A program ends well."""
        self.promised += 1
        code, _, error = self.run(["python", "-c", program], folder)
        if code or TRACEBACK in error:
            self.fail(f"python -c {program!r}", error)
        else:
            self.kept += 1

    def check_refusal(
        self,
        line: str,
        folder: Path,
        remedy: frozenset[str],
        may_work: bool,
        unwritten: Collection[str],
    ) -> None:
        """A command line is refused with the name of an extra that brings what is missing.

        If its input would be the output of a refused command line, the error can name this file.
        """
        words = shlex.split(line.replace("{postgres}", NO_DATABASE))
        code, _, error = self.run(["anymask", *words], folder)
        explained = offered(error) & remedy or names_missing(error, unwritten)
        refused = code == 2 and (explained or may_work)
        if not (refused or (may_work and code == 0)) or TRACEBACK in error:
            expected = f"wanted exit code 2 and one of {', '.join(sorted(remedy))}"
            self.fail(f"anymask {line}", f"{error}\n{expected}, got exit code {code}")

    def check_server(self, line: str, folder: Path) -> None:
        """A server answers for its pages and segments an image of a form, then ends."""
        self.promised += 1
        self.runs += 1
        try:
            with self.serving(line, folder) as address:
                for page in PAGES:
                    fetch(address + page)
                answer = json.loads(fetch(f"{address}/api/segment", folder / "a.jpg"))
                assert answer["answers"], answer
        except (OSError, AssertionError, ValueError, KeyError) as error:
            log = (folder / "server.log").read_text("utf-8", "replace")
            self.fail(f"anymask {line}", f"{error!r}\n{log}")
        else:
            self.kept += 1

    @contextlib.contextmanager
    def serving(self, line: str, folder: Path) -> Iterator[str]:
        """The address of a server that runs meanwhile. Raises OSError, AssertionError."""
        words = [self.programs / "anymask", *shlex.split(line), "--port", "0"]
        log = folder / "server.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                words, cwd=folder, env=self.variables(), stdout=file, stderr=file
            )
        try:
            until = time.monotonic() + LIMIT_S
            while process.poll() is None and time.monotonic() < until:
                if found := re.search(r"http://[\w.]+:\d+", log.read_text("utf-8", "replace")):
                    yield found[0]
                    break
                time.sleep(0.1)
            else:
                raise AssertionError("the server names no address")
        finally:
            process.send_signal(signal.SIGINT)
            try:
                code = process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
        assert code in (0, 130), f"the server ended with exit code {code}"
        assert TRACEBACK not in log.read_text("utf-8", "replace"), "the server raised an error"

    def check(self, wheel: Path) -> None:
        """Install it and check everything; what cannot go on is written down."""
        start = time.monotonic()
        self.folder.mkdir()
        try:
            self.install(wheel)
            self.check_surface()
            for section in PROMISES:
                self.check_section(section)
        except subprocess.CalledProcessError as error:
            self.fail("installation", error.stderr)
        except subprocess.TimeoutExpired as error:
            self.fail(" ".join(map(str, error.cmd)), f"not done after {LIMIT_S} s")
        self.seconds = time.monotonic() - start
        shutil.rmtree(self.folder)


def uv(*words: str | Path) -> None:
    """Run uv. Raises CalledProcessError."""
    # It does not read pip's configuration, which may name a folder of wheels.
    pip = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(pip, capture_output=True, text=True, check=False).stdout
    links = {one for found in re.findall(r"\.find-links='(.*)'", listed) for one in found.split()}
    variables = {"UV_FIND_LINKS": ",".join(sorted(links)), **os.environ}
    subprocess.run([*UV, *words], env=variables, capture_output=True, text=True, check=True)


def fetch(address: str, image: Path | None = None) -> bytes:
    """Return what an address answers; with an image, to a form with it and a point."""
    request = urllib.request.Request(address)
    if image is not None:
        name = "7ad1f3c2"
        point = f'--{name}\r\nContent-Disposition: form-data; name="points"\r\n\r\n[[30,60]]\r\n'
        file = f'--{name}\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
        request.data = (point + file).encode() + image.read_bytes() + f"\r\n--{name}--".encode()
        request.add_header("Content-Type", f"multipart/form-data; boundary={name}")
    with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
        body: bytes = answer.read()
    return body


def environment_names(words: Sequence[str]) -> list[str]:
    """Return the names of environments that a command line means. Raises SystemExit."""
    pairs = [
        name
        for name in PROMISES
        if "+" in name and not any(contained(name) <= contained(one) for one in extras())
    ]
    every = [CORE, *extras(), *pairs, LOWEST, f"{LOWEST}-studio"]
    names = [name for word in words for name in (every if word == "every" else [word])]
    if unknown := {
        name for name in names
        if not set(name.removeprefix(f"{LOWEST}-").split("+")) <= {CORE, LOWEST, *extras()}
    }:  # fmt: skip
        sys.exit(f"unknown environment {', '.join(sorted(unknown))}; known: {', '.join(every)}")
    return names


def main() -> int:
    """Check the environments that the command line names; the exit code."""
    parser = argparse.ArgumentParser(description="Check what the installed wheel promises.")
    parser.add_argument("names", metavar="NAME", nargs="*", default=DEFAULT)
    parser.add_argument("--at-once", metavar="N", type=int, default=2, help="environments")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the table there too")
    options = parser.parse_args()
    names = environment_names(options.names)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="installed-")))
        words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        subprocess.run(words, cwd=ROOT, capture_output=True, check=True)
        (wheel,) = folder.glob("*.whl")
        for group in {one for section in PROMISES.values() for one in section["inputs"]}:
            write_inputs(folder / "inputs" / group, [group])
        database = ""
        if any("postgres" in name for name in names):
            try:
                database = stack.enter_context(server())
            except NoServer as error:
                print(error, file=sys.stderr)
        environments = [
            Environment(name, folder / name, folder / "inputs", database) for name in names
        ]

        def checked(one: Environment) -> Environment:
            one.check(wheel)
            print(one.row(), *one.failures[:MAX_FAILURES], sep="\n", flush=True)
            return one

        with ThreadPoolExecutor(options.at_once) as threads:
            list(threads.map(checked, environments))
    table = "\n".join([HEAD, *(one.row() for one in environments)])
    used = os.times()
    print(f"\n{table}\n\nprocessor time: {used.children_user + used.children_system:.0f} s")
    if options.markdown:
        options.markdown.write_text(table + "\n", "utf-8")
    return int(any(one.failures for one in environments))


if __name__ == "__main__":
    sys.exit(main())
