"""A hash of the code that a score was computed with, so that no kept score outlives its code.

Our modules that a measure computes with are those that its module imports, and those that they
import, and so on. What only hands sets, questions and answers around is left out: it is edited
often, and what it hands around is hashed as content.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from anymask.evaluation.mask_measures import MASK_MEASURES
from anymask.evaluation.measures import MEASURES

_IMPORT = re.compile(r"^\s*from (anymask\.(?:evaluation|primitives)\.\w+) import", re.MULTILINE)
_CARRIERS = {
    f"anymask.evaluation.{name}"
    for name in ("adapters", "asked", "findings", "hard_scenes", "measures", "report", "suite")
}

Reader = Callable[[str], str]  # a module's name -> its source


def score_code(method: object, measure: str) -> str:
    """The hash of the code behind a baseline's scores by a measure.

    method  with `function` and perhaps `prepare`, as every baseline has
    """
    functions = [getattr(method, name, None) for name in ("function", "prepare")]
    own = sorted({str(one.__module__) for one in functions if hasattr(one, "__module__")})
    module = MEASURES[measure].function.partition(":")[0]
    root = "anymask.evaluation.mask_measures" if measure in MASK_MEASURES else module
    return code_hash(root, *own)


def code_hash(root: str, *others: str, read: Reader | None = None) -> str:
    """The hash of a module with all that it computes with, and of other modules alone."""
    read = read or module_source
    texts = {name: read(name) for name in (root, *others)}
    waiting = [root]
    while waiting:
        for name in _IMPORT.findall(texts[waiting.pop()]):
            if name not in texts and name not in _CARRIERS:
                texts[name] = read(name)
                waiting.append(name)
    key = hashlib.sha256()
    for name in sorted(texts):
        key.update(f"{name}\n{texts[name]}\n".encode())
    return key.hexdigest()[:16]


@cache
def module_source(name: str) -> str:
    """A module's source; "" where it has none, as in an interpreter's prompt."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):  # __main__
        return ""
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return ""
    return Path(spec.origin).read_text(encoding="utf-8", errors="replace")
