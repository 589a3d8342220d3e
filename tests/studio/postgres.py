"""A PostgreSQL server of the tests' own: in a temporary folder, on a socket, stopped at the end.

The server refuses to run as root, so there it runs as an unprivileged user.
"""

from __future__ import annotations

import functools
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.patience import PATIENCE_S

USERS = ("postgres", "nobody")


class NoServer(Exception):
    """Why there can be none on this machine."""


def find_programs() -> Path:
    """The folder of initdb and postgres. Raises NoServer."""
    if (folder := _found()) is None:
        raise NoServer("needs PostgreSQL: install Debian's postgresql, or another one")
    return folder


def _found() -> Path | None:
    folders = [
        Path(found).resolve().parent for name in ("initdb",) if (found := shutil.which(name))
    ]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()), None)


def _lower_rights() -> tuple[dict[str, object], pwd.struct_passwd | None]:
    """Arguments of Popen that give root's rights away."""
    if os.geteuid():
        return {}, None
    for name in USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}, user
    raise NoServer("needs PostgreSQL: no unprivileged user to run it as")


@contextmanager
def server() -> Iterator[str]:
    """The address of shutting down's database `postgres`. Raises NoServer."""
    programs, (rights, user) = find_programs(), _lower_rights()
    with tempfile.TemporaryDirectory(prefix="anymask-pg-") as name:
        folder = Path(name)
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        run = functools.partial(
            subprocess.run, cwd=folder, capture_output=True, text=True, **rights
        )
        made = run(
            [programs / "initdb", "-D", folder / "data", "-U", "tester", "-A", "trust",
             "--no-sync", "-E", "UTF8", "--locale", "C"], check=False,
        )  # fmt: skip
        if made.returncode:
            raise NoServer(f"needs PostgreSQL: initdb fails here ({made.stderr.strip()[-200:]})")
        process = subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses=",
             "-c", "fsync=off", "-c", "max_connections=40"],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **rights,
        )  # fmt: skip
        try:
            address = f"postgresql://tester@/postgres?host={folder}"
            _wait(process, address)
            yield address
        finally:
            process.send_signal(signal.SIGINT)  # "fast shutdown"
            process.wait(PATIENCE_S)


def _wait(process: subprocess.Popen[bytes], address: str) -> None:
    import psycopg

    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and process.poll() is None:
        try:
            psycopg.connect(address).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.05)
    raise NoServer(f"needs PostgreSQL: the server did not start (exit code {process.poll()})")


@contextmanager
def fresh_database(address: str) -> Iterator[str]:
    """A database of its own on the server."""
    import psycopg

    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield address.replace("/postgres?", f"/{name}?")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
