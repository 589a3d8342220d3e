"""No connection leaves the machine; no file is written outside the outputs and ANYMASK_HOME."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SESSION = Path(__file__).with_name("offline_session.py")
ROOT = SESSION.parents[2]
TRACE = ["strace", "-f", "-e", "trace=connect,sendto,openat,creat,mkdir,mkdirat"]
OF_TELEMETRY = ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "CI")
ADDRESS = re.compile(r'sin6?_port=htons\((\d+)\).*?"([0-9a-f.:]+)"')
CREATED = re.compile(r'(?:openat\(\w+, |creat\(|mkdir\(|mkdirat\(\w+, )"([^"]*)"(.*)')


def own_surroundings(place: Path) -> dict[str, str]:
    """The environment of a user who has set nothing, with folders of the test's own."""
    env = {name: value for name, value in os.environ.items() if name not in OF_TELEMETRY}
    folders = {
        "HOME": "home", "XDG_CACHE_HOME": "home/cache", "XDG_CONFIG_HOME": "home/config",
        "XDG_DATA_HOME": "home/data", "TMPDIR": "tmp", "ANYMASK_HOME": "store",
    }  # fmt: skip
    for name in ("out", *folders.values()):
        (place / name).mkdir(exist_ok=True)
    env |= {name: str(place / folder) for name, folder in folders.items()}
    search = [str(ROOT / "src"), str(ROOT), env.get("PYTHONPATH", "")]
    return env | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join(search)}


def strangers(trace: str) -> Iterator[str]:
    """Lines of a trace that reach for another machine, or ask for the address of one."""
    for line in trace.splitlines():
        found = ADDRESS.search(line)
        if found and (found[1] == "53" or not found[2].startswith(("127.", "::1"))):
            yield line


def foreign_files(trace: str, place: Path) -> Iterator[str]:
    """Files and folders that were made outside of the test's folders; relative names are inside."""
    own = tuple(str(place / name) for name in ("out", "store", "tmp"))
    for line in trace.splitlines():
        found = CREATED.search(line)
        if found is None or ("openat" in line and "O_CREAT" not in line) or " = -1 " in line:
            continue
        if found[1].startswith("/") and not found[1].startswith((*own, "/dev/", "/proc/")):
            yield line


@pytest.mark.parametrize("part", ["core", pytest.param("extras", marks=pytest.mark.slow)])
def test_a_session_reaches_no_other_machine_and_writes_no_other_file(
    part: str, tmp_path: Path
) -> None:
    probe = ["unshare", "-rn", *TRACE, "true"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("needs unshare and strace")
    if part == "extras":
        pytest.importorskip("transformers", reason="needs the extra [words]")
    trace = tmp_path / "trace"
    done = subprocess.run(
        ["unshare", "-rn", *TRACE, "-o", trace, sys.executable, SESSION, part, tmp_path / "out"],
        env=own_surroundings(tmp_path), capture_output=True, text=True, cwd=tmp_path / "out",
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    text = trace.read_text("utf-8", "replace")
    assert "openat(" in text
    assert list(strangers(text)) == []
    assert list(foreign_files(text, tmp_path)) == []
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []
    left = [path.name for path in (tmp_path / "tmp").iterdir()]
    assert [name for name in left if not name.startswith("torchinductor_")] == []


def test_the_trace_tells_strangers_and_foreign_files(tmp_path: Path) -> None:
    bad = (
        '1 connect(5, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.53")}',
        '1 connect(5, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("1.2.3.4")}',
        "1 connect(5, {sa_family=AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(0), "
        'inet_pton(AF_INET6, "2a00::1", &sin6_addr), sin6_scope_id=0}, 28) = -1',
    )
    assert list(strangers("\n".join(bad))) == list(bad)
    near = '1 connect(5, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}'
    assert not list(strangers(near))
    made = '1 openat(AT_FDCWD, "/srv/cache/x", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3'
    folder = '1 mkdir("/srv/cache", 0777) = 0'
    read = '1 openat(AT_FDCWD, "/etc/hosts", O_RDONLY) = 3'
    ours = f'1 openat(AT_FDCWD, "{tmp_path}/out/a", O_WRONLY|O_CREAT, 0666) = 3'
    assert list(foreign_files(f"{made}\n{folder}\n{read}\n{ours}", tmp_path)) == [made, folder]


CLICK = "import anymask\nanymask.load('nano').segment(anymask.sample('cat'), points=[(9, 9)])"


@pytest.mark.parametrize("code", [CLICK, f"import anymask.runtime.onnx\n{CLICK}"])
def test_a_click_leaves_no_file_of_telemetry(code: str, tmp_path: Path) -> None:
    """Also where a namespace of its own is not permitted."""
    subprocess.run([sys.executable, "-c", code], env=own_surroundings(tmp_path), check=True)
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []
