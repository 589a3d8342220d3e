"""How well a linear head names masks on a frozen ImageNet network: photos in, two figures out.

    python -m research.frozen_names efficientnet-lite0-57934424.pth

Close-ups of masks (`models/rules/crops.py`, 192 pixels, as they are and mirrored) go through the
published EfficientNet-Lite0; its maps at strides 16 and 32 and its last 1280 channels are averaged
on the mask and around it. One linear layer turns them into vectors, which are compared with a
learned projection of CLIP's embeddings of the names. It learns from the masks of `coco_instances`
and is asked about those of `coco_val`. Nothing of it ships.

Letters: n close-ups, S their side, F averaged channels, N names, D a vector's length.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

import anymask
from anymask.base import UintImage, parse_json
from anymask.masks import Rle, rle_area, string_to_rle
from anymask.models.mobilenet import EfficientNetLite0
from anymask.models.rules import close_up
from research.nano.name_words import NameWords, read_name_words
from research.small.convert_parts import convert_efficientnet

SIDE, CONTEXTS = 192, (1.15, 1.4, 1.8)  # S; the least, the usual and the most of the mask's side
SMALLEST = 64  # pixels of a mask
WIDTH, STEPS, BATCH, RATE, DECAY, DROPPED, SMOOTH = 192, 1500, 128, 2e-3, 0.05, 0.3, 0.05
AT_ONCE = 16

Looked = tuple[Tensor, NDArray[np.int64]]  # (n, F), (n,) places among the words


class FrozenLite0(nn.Module):
    """The published network with its last layer, batch norm folded."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.backbone = EfficientNetLite0()
        self.backbone.load_state_dict(convert_efficientnet(weights.read_bytes()))
        state = torch.load(weights, weights_only=True)
        gain = state["_bn1.weight"] / torch.sqrt(state["_bn1.running_var"] + 1e-3)
        self.weight = state["_conv_head.weight"] * gain[:, None, None, None]
        self.bias = state["_bn1.bias"] - state["_bn1.running_mean"] * gain

    @torch.no_grad()
    def forward(self, photo: Tensor, mask: Tensor) -> Tensor:  # (n, 3, S, S), (n, 1, S, S) -> F
        """Averages on the mask and around it."""
        *_, middle, coarse = self.backbone(photo / 127.5 - 1)
        last = F.relu6(F.conv2d(coarse, self.weight, self.bias))
        fine, inside = F.avg_pool2d(mask, 16), F.avg_pool2d(mask, 32)
        told = [_mean(middle, fine), _mean(middle, 1 - fine), _mean(coarse, inside)]
        told += [_mean(coarse, 1 - inside), _mean(last, inside), last.mean((2, 3))]
        return torch.cat([*told, mask.mean((2, 3))], dim=1)


def _mean(maps: Tensor, weight: Tensor) -> Tensor:
    return (maps * weight).sum((2, 3)) / (weight.sum((2, 3)) + 1e-3)


def look(folder: Path, network: FrozenLite0, words: NameWords) -> tuple[Looked, Looked]:
    """The masks of a set as they are, and mirrored at another scale."""
    seen: tuple[list[Tensor], list[Tensor]] = ([], [])
    places: list[int] = []
    for number, (photo, rles, names) in enumerate(_photos(folder, words)):
        rng = np.random.default_rng(number)
        for view, told in enumerate(seen):
            for start in range(0, len(rles), AT_ONCE):
                some = rles[start : start + AT_ONCE]
                context = CONTEXTS[1] if view == 0 else float(rng.uniform(*CONTEXTS[::2]))
                taken = [close_up(photo, rle, SIDE, context) for rle in some]
                pictures = torch.from_numpy(np.stack([one.photo for one in taken]))
                masks = torch.from_numpy(np.stack([one.mask for one in taken]))[:, None] / 255
                given = [pictures.permute(0, 3, 1, 2).float(), masks.float()]
                told.append(network(*(one.flip(3) if view else one for one in given)))
        places += names
    return tuple((torch.cat(told), np.array(places)) for told in seen)  # type: ignore[return-value]


def _photos(folder: Path, words: NameWords) -> Iterator[tuple[UintImage, list[Rle], list[int]]]:
    """Photos of a set with their masks and the places of their names."""
    for line in (folder / "masks.jsonl").read_text("utf-8").splitlines():
        row = parse_json(line, folder)
        named = [
            (string_to_rle(one["rle"], tuple(row["hw"])), words.place(one.get("label")))
            for one in row["masks"]
        ]
        kept = [(r, p) for r, p in named if p is not None and rle_area(r) >= SMALLEST]
        if kept:
            photo = anymask.load_image(folder / row["image"])
            yield photo, [rle for rle, _ in kept], [place for _, place in kept]


def learn(shown: Looked, words: NameWords, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """The layer that gives vectors, and those of all names (N, D)."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    features, names = shown
    texts = torch.from_numpy(words.texts)
    texts = texts - texts[texts.abs().sum(1) > 0].mean(0)
    head = nn.Sequential(nn.Dropout(DROPPED), nn.Linear(features.shape[1], WIDTH))
    project = nn.Linear(texts.shape[1], WIDTH, bias=False)
    nn.init.orthogonal_(project.weight)
    own = nn.Parameter(torch.randn(len(texts), WIDTH) * 0.05)
    scale = torch.tensor(2.5)
    learned = [*head.parameters(), *project.parameters(), own]
    optimizer = torch.optim.AdamW(learned, lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    rivals = torch.from_numpy(np.unique(names))
    weight = np.bincount(names)[names] ** -0.5
    for _ in range(STEPS):
        rows = rng.choice(len(names), BATCH, p=weight / weight.sum())
        vectors = F.normalize(head(features[rows]), dim=1)
        told = scale.exp() * vectors @ F.normalize(project(texts[rivals]) + own[rivals], dim=1).T
        right = torch.from_numpy(np.searchsorted(rivals.numpy(), names[rows]))
        loss = F.cross_entropy(told, right, label_smoothing=SMOOTH)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return head.eval(), F.normalize(project(texts) + own, dim=1).detach()


def main() -> None:
    """Look, learn, ask."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, help="of EfficientNet-Lite0, as published")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    args = parser.parse_args()
    network, words = FrozenLite0(args.weights).eval(), read_name_words(args.data / "text")
    plain, mirrored = look(args.data / "train/coco_instances", network, words)
    shown = torch.cat([plain[0], mirrored[0]]), np.concatenate([plain[1], mirrored[1]])
    middle, spread = shown[0].mean(0), shown[0].std(0) + 1e-3
    head, vectors = learn((((shown[0] - middle) / spread).clamp(-6, 6), shown[1]), words)
    asked = look(args.data / "eval/coco_val", network, words)
    names = np.unique(asked[0][1])
    told = torch.zeros(len(asked[0][1]), len(names))
    for views, (features, right) in enumerate(asked, start=1):
        seen = head(((features - middle) / spread).clamp(-6, 6))
        told = told + (F.normalize(seen, dim=1) @ vectors[names].T).detach()
        order = names[told.argsort(1, descending=True).numpy()]
        first, five = ((order[:, :most] == right[:, None]).any(1).mean() for most in (1, 5))
        print(f"{views} view(s), {len(right)} masks, {len(names)} names: {first:.3f}, {five:.3f}")


if __name__ == "__main__":
    main()
