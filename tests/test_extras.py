"""What works, and what is refused how, where only the packages of one extra are there.

`.ci/installed.py` asks the same of real installations.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installed import extras
from tests.installed.inputs import GROUPS, write_inputs

COSTLY_PATHS = {
    "checkpoint",
    "detector",
}  # files with random weights: a line is refused before it reads
HIDING = Path(__file__).parent / "installed/hiding.py"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder, GROUPS.keys() - COSTLY_PATHS)
    (folder / "detector").mkdir()
    for name in ("mobile_sam.pt", "detector/model.safetensors"):
        (folder / name).touch()
    (folder / "detector/config.json").write_text('{"model_type": "grounding-dino"}', "utf-8")
    return folder


def is_installed(extra: str) -> bool:
    names = [one.name for one in extras.declared()[extra] if one.name != "anymask"]
    try:
        return all(importlib.metadata.version(name) for name in names)
    except importlib.metadata.PackageNotFoundError:
        return False


@pytest.mark.parametrize("extra", [extras.CORE, *extras.extras()])
def test_an_extra_works_without_the_packages_of_the_others(
    extra: str, inputs: Path, tmp_path: Path
) -> None:
    if not is_installed(extra):
        pytest.skip(f"needs the extra [{extra}]")
    run, refused, before = [], [], []
    for section, lines in extras.PROMISES.items():
        remedies = sorted(extras.remedies(section, extra))
        if not remedies:
            run += lines.get("quick", []) if section != extras.CORE or extra == section else []
        elif not extras.may_work(section, extra):  # else it would begin to work
            before += lines.get("before", [])
            few = [*lines.get("quick", []), *lines.get("run", []), *lines.get("refused", [])]
            refused += [(line.replace("{postgres}", "postgresql:///x"), remedies) for line in few]
    work = shutil.copytree(inputs, tmp_path / "work")
    (tmp_path / "asked.json").write_text(
        json.dumps({
            "hidden": extras.hidden_modules(extra), "installed": sorted(extras.brought(extra)),
            "before": before, "run": run, "refused": refused,
        })
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, HIDING, tmp_path / "asked.json"],
        cwd=work, env=os.environ | {"ANYMASK_HOME": str(tmp_path / "home")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    failures = json.loads(done.stdout.splitlines()[-1])
    assert not failures, "\n\n".join(f"{what}\n{text[-1500:]}" for what, text in failures)
