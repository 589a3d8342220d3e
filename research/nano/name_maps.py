"""What a backbone sees in close-ups, computed once: a folder of close-ups in, maps and batches out.

The front of the network of names does not learn, so its maps are stored: of each close-up as it is,
and mirrored, moved, scaled and in other colours (`VIEWS`). A folder of maps holds, beside the
close-ups and in an order of its own (`chosen_rows`):

    maps.bin      (V, C, h, w) float16        shapes.bin  (V, S, S) bits, the masks
    backbone.pt   the weights that made them

Of each set a name gives at most `MOST_OF_NAME` masks. A store that has grown is gone on with.

Letters: V views, C channels, h w the grid, S the side of a close-up, B rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from anymask.models.mobilenet import TAP_CHANNELS
from anymask.models.namer import STRIDE, Namer
from anymask.models.rules.crops import SIDE
from anymask.training import load_backbone, multiplies_halves
from research.nano.name_samples import CloseUpRow, CloseUpStore

MAPS, SHAPES, BACKBONE = "maps.bin", "shapes.bin", "backbone.pt"
VIEWS = 2
SHAPE = (VIEWS, TAP_CHANNELS[2], SIDE // STRIDE, SIDE // STRIDE)
MOST_OF_NAME = 250
AT_ONCE = 32


class MapStore:
    """The maps of a store, to read.

    rows      of the close-ups, in the order of the maps
    backbone  the weights that made them
    """

    def __init__(self, folder: Path) -> None:
        store = CloseUpStore(folder)
        self.maps = np.memmap(folder / MAPS, np.float16, "r").reshape(-1, *SHAPE)
        self.shapes = np.memmap(folder / SHAPES, np.uint8, "r").reshape(-1, VIEWS, SIDE**2 // 8)
        self.rows = [store.rows[n] for n in chosen_rows(store.rows)][: len(self.maps)]
        self.backbone: dict[str, Tensor] = torch.load(folder / BACKBONE, weights_only=True)


@dataclass(frozen=True, eq=False)
class NameBatch:
    """Close-ups ready for the back of the network.

    maps    (B, C, h, w)              mask    (B, 1, S, S) 0 or 1
    names   (B,) places among the words, -1 where it has none
    judged  (B,) 0 or 1, -1 where nobody judged it        counts  (B,) how much that counts
    """

    maps: Tensor
    mask: Tensor
    names: Tensor
    judged: Tensor
    counts: Tensor

    @classmethod
    def of(cls, store: MapStore, places: Sequence[int], rng: Generator | None) -> NameBatch:
        """Rows of a store; with `rng` any view of each, without the close-up as it is."""
        views = np.zeros(len(places), int) if rng is None else rng.integers(VIEWS, size=len(places))
        pairs = list(zip(places, views.tolist(), strict=True))
        rows = [store.rows[place] for place in places]
        maps = np.stack([store.maps[pair] for pair in pairs])
        masks = np.unpackbits(np.stack([store.shapes[pair] for pair in pairs]), axis=1)
        names = [-1 if row.name is None else row.name for row in rows]
        judged = [-1 if row.judged is None else row.judged for row in rows]
        return cls(
            torch.from_numpy(maps).float(),
            torch.from_numpy(masks.reshape(-1, 1, SIDE, SIDE)).float(),
            torch.tensor(names),
            torch.tensor(judged),
            torch.tensor([row.counts for row in rows]),
        )


def chosen_rows(rows: Sequence[CloseUpRow]) -> list[int]:
    """The places of the rows that are learned from: named masks, and then proposals."""
    seen, named = Counter[tuple[int, str]](), []
    for place, row in enumerate(rows):
        if row.judged is None and row.name is not None:
            seen[row.name, row.kind] += 1
            if seen[row.name, row.kind] <= MOST_OF_NAME:
                named.append(place)
    return named + [place for place, row in enumerate(rows) if row.judged is not None]


@torch.no_grad()
def store_maps(
    folder: Path, backbone: Path | None, told: Callable[[int, int], None] | None = None
) -> None:
    """Compute the maps of a folder's close-ups that it lacks.

    backbone  file of ImageNet weights; None: weights of chance, for tests
    told      is told rows done, and all
    """
    store, network, path = CloseUpStore(folder), Namer(), folder / BACKBONE
    if path.is_file():
        network.backbone.load_state_dict(torch.load(path, weights_only=True))
    elif backbone is not None:
        load_backbone(network, backbone)
    torch.save(network.backbone.state_dict(), path)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    halves = multiplies_halves(torch.device("cpu"))
    rows, size = chosen_rows(store.rows), 2 * int(np.prod(SHAPE))
    done = (folder / MAPS).stat().st_size // size if (folder / MAPS).is_file() else 0
    with (folder / MAPS).open("ab") as maps, (folder / SHAPES).open("ab") as shapes:
        maps.truncate(done * size)
        shapes.truncate(done * VIEWS * SIDE**2 // 8)
        for start in range(done, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            seen = [
                store.close_up(place, None if view == 0 else np.random.default_rng([place, view]))
                for place in some
                for view in range(VIEWS)
            ]
            photos = np.stack([one.photo for one in seen])
            shapes.write(np.packbits(np.stack([one.mask for one in seen]) > 127).tobytes())
            shapes.flush()
            given = torch.from_numpy(photos).permute(0, 3, 1, 2).float()
            with torch.autocast("cpu", torch.bfloat16, enabled=halves):
                found = network.front(given).half().contiguous().numpy()
            maps.write(found.reshape(len(some), *SHAPE).tobytes())
            maps.flush()
            if told is not None:
                told(start + len(some), len(rows))
