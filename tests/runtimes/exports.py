"""Bundles that many tests read: exported once in a run, because torch takes seconds for each."""

from functools import cache
from pathlib import Path

import pytest
from torch import nn

from anymask import models
from anymask.export.graphs import export_bundle
from tests.runtimes.stand_in import build

META = {"licence": "Apache-2.0", "weights_hash": "f" * 64}


@cache
def network(name: str) -> nn.Module:
    """ "stand_in", or a tiny model of the registry; its weights stay the same through a run."""
    return build() if name == "stand_in" else models.build(name)


def exported(name: str, factory: pytest.TempPathFactory) -> Path:
    """The bundle of `network(name)`; copy it before you break it."""
    folder = factory.getbasetemp() / "bundles" / name
    if not folder.exists():
        module = network(name)
        export_bundle(module, module.spec, folder, **META)
    return folder
