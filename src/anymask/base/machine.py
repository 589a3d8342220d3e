"""Description of the machine that benchmarks ran on."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from anymask.base.process import usable_cores

PACKAGES = ("anymask", "numpy", "opencv-python-headless", "pillow", "onnxruntime", "torch")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Hardware and software that a benchmark ran on."""

    cpu: str  # Name of the processor
    cores: int  # Logical cores of the machine
    usable: int  # Cores available to this process
    memory: int | None  # Main memory in bytes, None if unknown
    load: float | None  # One-minute load average at the start, None if unknown
    system: str  # Operating system and release
    python: str  # Python version
    # (name, version) of installed packages, in the order of PACKAGES
    packages: tuple[tuple[str, str], ...]
    threads: str = ""  # OMP_NUM_THREADS, or "" if unset

    def line(self) -> str:
        """Format the description as one line of text."""
        parts = [self.cpu, f"{self.usable} of {self.cores} cores"]
        if self.memory:
            parts.append(f"{self.memory / 2**30:.0f} GiB")
        parts += [self.system, f"Python {self.python}"]
        parts += [f"{name} {version}" for name, version in self.packages]
        if self.threads:
            parts.append(f"OMP_NUM_THREADS={self.threads}")
        if self.load is not None:
            parts.append(f"load {self.load:.1f} at the start")
        return ", ".join(parts)


def this_machine() -> Machine:
    """Describe the current machine; unknown values are None or omitted."""
    packages = []
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            packages.append((name, metadata.version(name)))
    memory = None
    with contextlib.suppress(AttributeError, ValueError, OSError):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        usable=usable_cores(),
        memory=memory,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages=tuple(packages),
        threads=os.environ.get("OMP_NUM_THREADS", ""),
    )


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    if platform.system() == "Darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.stdout.strip():
            return done.stdout.strip()
    return platform.processor() or platform.machine() or "unknown processor"
