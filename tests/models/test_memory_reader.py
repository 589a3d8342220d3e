"""The network of memory: what it reads, and what it says before it has learned."""

import torch

from anymask.models.memory_reader import LABELS_PER_CELL, VALUES, Cells, MemoryReader, ReaderSizes
from anymask.models.rules import ANCHOR, HINTS, MIXED, RECENT

SIZES = ReaderSizes(keys=8, middle=5, fine=3, matched=8, widths=(12, 8, 4), depth=1)
H, W = 3, 4


def question(cells: int = 10, seed: int = 0) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    keys, known = torch.randn(2, 8, H, W), torch.randn(2, cells, 8)
    return [
        keys / keys.norm(dim=1, keepdim=True),
        torch.randn(2, 5, 2 * H, 2 * W),
        torch.randn(2, 3, 4 * H, 4 * W),
        torch.rand(2, len(HINTS), 4 * H, 4 * W),
        known / known.norm(dim=2, keepdim=True),
        torch.rand(2, cells, LABELS_PER_CELL),
        torch.tensor([ANCHOR, RECENT]).repeat(2, cells // 2),
    ]


def taught(seed: int = 1) -> MemoryReader:
    torch.manual_seed(seed)
    network = MemoryReader(SIZES).eval()
    torch.nn.init.normal_(network.change.weight, std=0.5)
    return network


@torch.no_grad()
def test_an_untrained_network_says_what_the_hints_say() -> None:
    given = question()
    logits, seen = MemoryReader(SIZES)(*given)
    assert torch.equal(logits, given[3][:, MIXED : MIXED + 1])
    assert seen.shape == (2, 1)


@torch.no_grad()
def test_cells_that_fill_up_a_batch_are_not_read() -> None:
    network, given = taught(), question()
    more = [torch.cat([one, torch.randn_like(one[:, :3])], dim=1) for one in given[4:6]]
    kinds = torch.cat([given[6], torch.full((2, 3), -1.0)], dim=1)
    plain, filled = network(*given), network(*given[:4], *more, kinds)
    for one, other in zip(plain, filled, strict=True):
        torch.testing.assert_close(one, other)


@torch.no_grad()
def test_the_order_of_remembered_cells_says_nothing_but_labels_do() -> None:
    network, given = taught(), question()
    order = torch.randperm(10)
    turned = network(*given[:4], *(one[:, order] for one in given[4:]))
    torch.testing.assert_close(network(*given)[0], turned[0], atol=1e-4, rtol=1e-4)
    other = network(*given[:5], 1 - given[5], given[6])
    assert (network(*given)[0] - other[0]).abs().max() > 1e-3


@torch.no_grad()
def test_a_cell_reads_the_labels_of_the_cells_that_are_like_it() -> None:
    """Each cell of the frame stands in the memory: with sharp keys it reads its own labels."""
    network = taught()
    network.sharpness.fill_(8.0)
    given = question()
    known = given[0].flatten(2).transpose(1, 2)
    labels, kinds = torch.rand(2, H * W, LABELS_PER_CELL), torch.zeros(2, H * W)
    kinds[:, ::2] = ANCHOR
    anchors, recent_cells = (Cells(known, labels, kinds == kind) for kind in (ANCHOR, RECENT))
    read = network.read(given[0], anchors, recent_cells).flatten(2).transpose(1, 2)
    part = LABELS_PER_CELL + VALUES + 1
    prompted, recent = read[..., :part], read[..., part:]
    expected = torch.where(
        kinds[..., None] > 0, prompted[..., :LABELS_PER_CELL], recent[..., :LABELS_PER_CELL]
    )
    torch.testing.assert_close(expected, labels, atol=0.02, rtol=0.02)
    torch.testing.assert_close(prompted[..., -1], kinds, atol=0.02, rtol=0.02)


@torch.no_grad()
def test_objects_of_one_frame_are_answered_together_as_one_by_one() -> None:
    network, given = taught(), question()
    shared = [one[:1] for one in (*given[:3], given[4], given[6])]
    keys, middle, fine, known, kinds = shared
    together = network(keys, middle, fine, given[3], known, given[5], kinds)
    for row in range(2):
        alone = network(keys, middle, fine, given[3][row, None], known, given[5][row, None], kinds)
        for one, other in zip(together, alone, strict=True):
            torch.testing.assert_close(one[row, None], other, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_cells_apart_are_read_as_they_are_together() -> None:
    network, given = taught(), question()
    keys, middle, fine, hints, known, labels, kinds = given
    prompted = kinds[0] == ANCHOR
    anchors = Cells(known[:, prompted], labels[:, prompted])
    recent = Cells(known[:, ~prompted], labels[:, ~prompted])
    apart = network.answer(keys, middle, fine, hints, anchors, recent)
    for one, other in zip(network(*given), apart, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_what_is_read_is_a_softmax_over_all_cells_summed_by_their_kind() -> None:
    network, given = taught(), question()
    keys, _, _, _, known, labels, kinds = given
    scores = network.sharpness.exp() * (
        network.key(keys.flatten(2).transpose(1, 2)) @ network.key(known).transpose(1, 2)
    )
    weights = (scores - scores.amax(2, keepdim=True)).exp()
    expected = []
    for kind in (ANCHOR, RECENT):
        kept = weights * (kinds == kind)[:, None]
        mass = kept.sum(2, keepdim=True)
        expected += [(kept @ labels) / (mass + 1e-3), mass / weights.sum(2, keepdim=True)]
    cells = (Cells(known, labels, kinds == kind) for kind in (ANCHOR, RECENT))
    read = network.read(keys, *cells).flatten(2).transpose(1, 2)
    part = LABELS_PER_CELL + VALUES + 1
    found = [read[..., :LABELS_PER_CELL], read[..., part - 1 : part]]
    found += [read[..., part : part + LABELS_PER_CELL], read[..., -1:]]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
