"""What a table says about where it was measured."""

import numpy as np

from anymask.base import this_machine


def test_the_machine_is_named_with_its_cores_and_versions() -> None:
    machine = this_machine()
    assert machine.cpu
    assert 1 <= machine.usable <= machine.cores
    assert dict(machine.packages)["numpy"] == np.__version__
    assert f"{machine.usable} of {machine.cores} cores" in machine.line()
