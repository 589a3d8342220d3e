"""Kept scores know the code that they were computed with."""

import pytest

from anymask.evaluation.baselines import FromFunction, filled_box
from anymask.evaluation.edges import EDGE_BASELINES
from anymask.evaluation.measures import MEASURES
from anymask.evaluation.score_cache import code_hash, module_source, score_code

SOURCES = {
    "anymask.evaluation.a": "import os\nfrom anymask.primitives.b import thing\n",
    "anymask.primitives.b": "    from anymask.evaluation.c import lazily\n",
    "anymask.evaluation.c": "from anymask.evaluation.a import ring\n",
    "anymask.evaluation.suite": "from anymask.evaluation.d import more\n",
    "anymask.evaluation.d": "",
    "other": "from anymask.evaluation.d import more\n",
}


def hashed(**changed: str) -> str:
    sources = SOURCES | {name.replace("_", "."): text for name, text in changed.items()}
    return code_hash("anymask.evaluation.a", "other", read=sources.__getitem__)


@pytest.mark.parametrize(
    ("changed", "matters"),
    [
        ("anymask_evaluation_a", True),
        ("anymask_primitives_b", True),
        ("anymask_evaluation_c", True),
        ("other", True),
        ("anymask_evaluation_d", False),  # the other module's imports are not followed
        ("anymask_evaluation_suite", False),
    ],
)
def test_what_is_computed_with_matters(changed: str, matters: bool) -> None:
    before = SOURCES[changed.replace("_", ".")]
    assert (hashed(**{changed: before + "# new\n"}) != hashed()) == matters


def test_every_measure_and_baseline_has_a_hash_of_its_own() -> None:
    method = FromFunction("filled box", frozenset({"box"}), filled_box)
    hashes = {score_code(method, name) for name in MEASURES if MEASURES[name].function}
    assert len(hashes) == sum(bool(measure.function) for measure in MEASURES.values())
    assert score_code(method, "clicks") == score_code(method, "box") not in hashes
    assert score_code(method, "edges") != score_code(EDGE_BASELINES[1], "edges")


def test_sources_are_read_where_there_are_some() -> None:
    assert "def module_source" in module_source("anymask.evaluation.score_cache")
    assert module_source("no.such.module") == module_source("sys") == ""
