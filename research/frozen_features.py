"""What a frozen ImageNet network sees of masks: labelled photos in, averages of its maps out.

Close-ups (`models/rules/crops.py`, 192 pixels) go through the published EfficientNet-Lite0; its
maps at strides 16 and 32 and its last 1280 channels are averaged on the mask and around it. A
folder of features holds, of each set with names, `SET.npz`:

    averages  (n, V, F) float16, of the close-up as it is, and mirrored at another scale
    names     (n,) places among the words        photos  (n,) files of the set

A set that is there is not looked at again.

Letters: n masks, V views, F averages, B close-ups, S their side.
"""

from __future__ import annotations

import io
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.base import UintImage, import_offline, whole_file
from anymask.formats import AnnotatedImage, load_set
from anymask.masks import Rle, rle_area
from anymask.models.layers import Pointwise
from anymask.models.mobilenet import EfficientNetLite0
from anymask.models.rules import close_up
from research.nano.name_words import NameWords

SIDE, LAST = 192, 1280  # S; the network's last channels
CONTEXT = 1.4  # of the mask's longer side: what the first view shows
FEATURES = 2 * (112 + 320 + LAST) + 1  # F
VIEWS = 2
SCALES = (1.15, 1.8)  # the least and the most of the mask's side that the second view shows
HELD_OUT = 8  # one in so many photos is kept for judging
SMALLEST = 64  # pixels of a mask that is looked at
AT_ONCE = 16

Look = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Most:
    """How much of a set is looked at: photos, masks of a photo, masks of a name."""

    images: int = 400
    masks: int = 24
    of_name: int = 250


class FrozenLite0(nn.Module):
    """The published network, batch norm folded: photo and mask of close-ups -> averages (B, F)."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.last = EfficientNetLite0(), Pointwise(320, LAST)

    def load_published(self, arrays: dict[str, Tensor]) -> None:
        """Take the folded weights (`convert_parts.convert_efficientnet`)."""
        self.backbone.load_folded(arrays)
        own = self.last.state_dict()
        self.last.load_state_dict({name: arrays[f"last.{name}"] for name in own})

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """photo (B, 3, S, S) 0..255, mask (B, 1, S, S) 0..1."""
        *_, middle, coarse = self.backbone(image / 127.5 - 1)
        last = F.relu6(self.last(coarse))
        fine, inside = F.avg_pool2d(mask, 16), F.avg_pool2d(mask, 32)
        parts = [_mean(middle, fine), _mean(middle, 1 - fine), _mean(coarse, inside)]
        parts += [_mean(coarse, 1 - inside), _mean(last, inside), last.mean((2, 3))]
        return torch.cat([*parts, mask.mean((2, 3))], dim=1)


def _mean(maps: Tensor, weight: Tensor) -> Tensor:
    return (maps * weight).sum((2, 3)) / (weight.sum((2, 3)) + 1e-3)


@dataclass(frozen=True, eq=False)
class NameFeatures:
    """Those of all sets of a folder; held_out (n,): kept for judging, all of a photo or none."""

    averages: NDArray[np.float16]
    names: NDArray[np.int64]
    sets: NDArray[np.str_]
    held_out: NDArray[np.bool_]

    @classmethod
    def read(cls, folder: Path) -> NameFeatures:
        """Every set that shows a name."""
        averages, names, images = [], [], list[str]()
        for path in sorted(folder.glob("*.npz")):
            with np.load(path, allow_pickle=False) as arrays:
                if len(arrays["names"]):
                    averages.append(arrays["averages"])
                    names.append(arrays["names"])
                images += [f"{path.stem}/{one}" for one in arrays["images"]]
        return cls(
            np.concatenate(averages),
            np.concatenate(names),
            np.array([one.partition("/")[0] for one in images]),
            np.array([zlib.crc32(one.encode()) % HELD_OUT == 0 for one in images]),
        )


def store_features(folder: Path, target: Path, words: NameWords, look: Look, most: Most) -> None:
    """Look at the named masks of a set, and write its file."""
    rng, samples = np.random.default_rng(zlib.crc32(folder.name.encode())), load_set(folder)[1]
    averages, names, images = [np.zeros((0, VIEWS, FEATURES), np.float16)], list[int](), list[str]()
    seen = Counter[int]()
    for number in rng.permutation(len(samples))[: most.images].tolist():
        named = list(_named(samples[number], words, rng, seen, most))
        if named:
            averages.append(_looked_at(samples[number].image(), [r for r, _ in named], rng, look))
            names += [place for _, place in named]
            images += [samples[number].file_name] * len(named)
    with whole_file(target) as file:
        arrays: dict[str, Any] = {"averages": np.concatenate(averages)}
        np.savez(file, **arrays, names=np.array(names, np.int64), images=np.array(images, np.str_))


def _named(
    sample: AnnotatedImage, words: NameWords, rng: np.random.Generator, seen: Counter[int],
    most: Most,
) -> Iterator[tuple[Rle, int]]:  # fmt: skip
    """Masks of a photo that are looked at, with the places of their names."""
    named = [
        (mask.rle, place)
        for mask in sample.objects
        if rle_area(mask.rle) >= SMALLEST and (place := words.place(mask.label)) is not None
    ]
    for chosen in rng.permutation(len(named))[: most.masks]:
        rle, place = named[chosen]
        seen[place] += 1
        if seen[place] <= most.of_name:
            yield rle, place


def _looked_at(
    image: UintImage, rles: list[Rle], rng: np.random.Generator, look: Look
) -> NDArray[np.float16]:  # -> (n, V, F)
    """Both views of some masks of a photo."""
    found = []
    for start in range(0, len(rles), AT_ONCE):
        views = []
        for step in (1, -1):
            taken = [
                close_up(image, rle, SIDE, CONTEXT if step == 1 else float(rng.uniform(*SCALES)))
                for rle in rles[start : start + AT_ONCE]
            ]
            planes = np.stack([one.image for one in taken]).transpose(0, 3, 1, 2)[..., ::step]
            masks = np.stack([one.mask for one in taken])[:, None, :, ::step]
            views.append(look(planes.astype(np.float32), masks.astype(np.float32) / 255))
        found.append(np.stack(views, axis=1).astype(np.float16))
    return np.concatenate(found)


def open_look(network: nn.Module) -> Look:
    """A network of close-ups as ONNX Runtime computes it: in two thirds of torch's time."""
    given, file = (torch.zeros(2, 3, SIDE, SIDE), torch.zeros(2, 1, SIDE, SIDE)), io.BytesIO()
    names = ["photo", "mask"]
    torch.onnx.export(
        network.eval(), given, file, input_names=names, dynamo=False,
        dynamic_axes={name: {0: "B"} for name in names},
    )  # fmt: skip
    onnxruntime = import_offline("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.getvalue(), options)

    def look(*seen: NDArray[np.float32]) -> NDArray[np.float32]:
        (output,) = session.run(None, dict(zip(names, seen, strict=True)))
        return np.asarray(output, np.float32)

    return look
