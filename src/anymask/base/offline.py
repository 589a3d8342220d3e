"""Import packages that send usage reports, with reporting disabled.

ONNX Runtime's wheels contain a telemetry client (1.31 and 1.32 do, 1.18 does not). It starts when
the package is imported, writes a device ID and an event database to the user's cache folder, and
contacts a collector after some seconds. An event holds the path of the interpreter and the names of
models and graphs.

All imports of these packages go through `import_offline`; a test in tests/house enforces this.
Variables that the user has set keep their values.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

TELEMETRY = "ORT_DISABLE_TELEMETRY"
REPORTING = frozenset({"onnxruntime", "transformers", "huggingface_hub", "ray"})


def import_offline(module: str) -> Any:
    """Import a module of a package in `REPORTING`.

    Variables are set in the environment of this process, so child processes inherit them.

    Args:
        module: Full name, such as "onnxruntime.quantization".

    Returns:
        Any: The module. Untyped, because most of these packages have no stubs.

    Raises:
        ImportError: The package is not installed.
    """
    package = module.partition(".")[0]
    for owner, variable, value in (
        ("onnxruntime", "ORT_DISABLE_TELEMETRY", "1"),
        ("transformers", "HF_HUB_DISABLE_TELEMETRY", "1"),
        ("huggingface_hub", "HF_HUB_DISABLE_TELEMETRY", "1"),
        ("ray", "RAY_USAGE_STATS_ENABLED", "0"),
    ):
        if owner == package:
            os.environ.setdefault(variable, value)
    found = importlib.import_module(module)
    if package == "onnxruntime" and os.environ[TELEMETRY] != "0":
        # The client is already running if other code imported the package first.
        stop = getattr(sys.modules[package], "disable_telemetry_events", None)
        if stop is not None:
            stop()
    return found
