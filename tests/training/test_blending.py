"""Between weights and those tuned from them: each number on the straight line."""

import torch
from torch import nn

from anymask.training.held_out import blend


class Net(nn.Module):
    """A layer, a norm with its count of batches, and something of its own."""

    def __init__(self, value: float, outputs: int = 2, *, more: bool = False) -> None:
        super().__init__()
        self.layer = nn.Linear(2, outputs, bias=False)
        self.norm = nn.BatchNorm1d(2)
        self.more = nn.Linear(1, 1) if more else None
        with torch.no_grad():
            for one in (*self.parameters(), self.norm.running_mean):
                one.fill_(value)


def test_numbers_are_a_share_of_the_way_and_the_start_stays() -> None:
    start, learned = Net(1.0), Net(3.0)
    assert blend(learned, start, 0.75) is learned
    assert learned.layer.weight.tolist() == [[2.5, 2.5], [2.5, 2.5]]
    assert learned.norm.running_mean.tolist() == [2.5, 2.5]
    assert (start.layer.weight == 1).all()


def test_what_the_start_has_not_is_as_it_was_learned() -> None:
    between = Net(3.0, more=True)
    blend(between, Net(1.0, outputs=3), 0.5)
    assert (between.layer.weight == 3).all()  # of another shape
    assert (between.more.weight == 3).all()
    assert (between.norm.weight == 2).all()
