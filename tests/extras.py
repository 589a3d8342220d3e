"""Programs that cannot import what an installation with some extras does not have."""

import os
import subprocess
import sys
from pathlib import Path

from tests.installed.extras import CORE, hidden_modules

ROOT = Path(__file__).resolve().parents[1]
HIDE = "from tests.installed.hiding import hide\nhide({hidden!r})\n"


def run_with(
    extras: tuple[str, ...], program: str, *words: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program as in an installation with these extras and nothing else."""
    modules = hidden_modules("+".join(extras) or CORE)
    hidden = [one for one in modules if not (ROOT / one).is_dir()]  # some distribution has `docs`
    return subprocess.run(
        [sys.executable, "-c", HIDE.format(hidden=hidden) + program, *words],
        cwd=cwd, env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
