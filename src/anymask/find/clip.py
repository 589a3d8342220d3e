"""Any word by a CLIP model of the user: compare its text vectors with crops of all masks.

Each mask of `everything` is cropped twice, with its surroundings and with gray instead of them
(`known_names`), and encoded by CLIP's image tower. The probability of a word is a softmax over all
words of the call and `RIVALS`, names of what a mask may be instead. The masks are scored and
filtered as for the bundled names; this rule was fitted to them, not to CLIP.

Weights are read without running code (`runtime.read_checkpoint`, `runtime.read_script`), by the
names of OpenAI, open_clip or transformers. Only PyTorch is required.

Letters: n masks, P words, S the side of CLIP's images, D the length of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anymask.base import FloatArray, ModelError, UintImage, WeightsError, need_packages, parse_json
from anymask.find.byte_pairs import BytePairs
from anymask.find.grounding import ScoredBoxes
from anymask.find.phrases import Phrase
from anymask.models.rules import NameTable, plain_word
from anymask.runtime import pick_device

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
SENTENCE = "a photo of a {}"  # one of the templates of the paper
BATCH = 16  # crops or texts encoded at once
CONFIGS = ("config.json", "open_clip_config.json")
RIVALS = (
    "background", "wall", "floor", "ceiling", "sky", "ground", "grass", "water", "tree", "plant",
    "building", "road", "window", "furniture", "table", "person", "clothing", "animal", "vehicle",
    "food", "device", "tool", "text", "shadow", "part of an object",
)  # fmt: skip


class ClipNames:
    """A CLIP model that names masks. `Model.find` accepts it as a detector.

    Args:
        name: Name in the catalogue, or of the file.
        weights: Weights file. Its folder contains the vocabulary and, except for OpenAI's weights,
            the configuration.
        threshold: Not used; the thresholds are those of known names.
        device: Torch device.

    Raises MissingExtra without torch, WeightsError if the files are invalid or incomplete.
    """

    def __init__(self, name: str, weights: Path, threshold: float, device: str = "auto") -> None:
        need_packages(("torch", "safetensors"), "torch", "CLIP")
        self.name, self.threshold = name, threshold
        self._tokenizer = BytePairs.read(weights.parent)
        self._device = pick_device(device)
        self._model = read_clip(weights).requires_grad_(False).to(self._device)
        size = f"{self._model.config.width}x{self._model.config.depth}/{self._model.config.patch}"
        self.about: dict[str, Any] = {"detector": name, "kind": f"clip {size}"}

    def __repr__(self) -> str:
        return f"ClipNames({self.name!r}, on {self._device})"

    def detect(
        self, photo: UintImage, phrases: Sequence[str], side: int | None = None
    ) -> ScoredBoxes:
        """Raises ModelError: CLIP names masks, but predicts no boxes."""
        raise ModelError(f"{self.name} predicts no boxes. Pass it to Model.find to name masks.")

    def naming(self, phrases: Sequence[Phrase]) -> ClipNaming:
        """Name model for these phrases."""
        words = list(dict.fromkeys(plain_word(one.prompt) for one in phrases))
        words += [word for word in RIVALS if word not in words]
        vectors = self.embed_texts([SENTENCE.format(word) for word in words])
        scale = float(self._model.logit_scale.exp())
        also = {word: place for place, word in enumerate(words)}
        learned = np.ones(len(words), np.bool_)
        return ClipNaming(self, NameTable(tuple(words), vectors, learned, also, scale, self.name))

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:  # -> (P, D)
        """Unit vectors of texts."""
        import torch

        tokens = self._tokenizer.tokens(texts, self._model.config.tokens)
        if int(tokens.max(initial=0)) >= self._model.config.vocabulary:
            raise WeightsError(
                f"The vocabulary of {self.name} has more tokens than its weights. Copy it again."
            )
        found = []
        with torch.inference_mode():
            for start in range(0, len(tokens), BATCH):
                some = torch.from_numpy(tokens[start : start + BATCH]).to(self._device)
                found.append(self._model.encode_text(some).float().cpu().numpy())
        return unit_rows(np.concatenate(found))

    def embed_images(self, photos: Sequence[UintImage]) -> FloatArray:  # n (H, W, 3) -> (n, D)
        """Unit vectors of images; the largest central square of each is encoded."""
        import torch

        found = [np.zeros((0, self._model.config.length), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(photos), BATCH):
                some = [to_pixels(one, self._model.config.side)
                        for one in photos[start : start + BATCH]]  # fmt: skip
                pixels = torch.from_numpy(np.stack(some)).to(self._device)
                found.append(self._model.encode_image(pixels).float().cpu().numpy())
        return unit_rows(np.concatenate(found))


class ClipNaming:
    """The words of one call. See `runtime.MaskNaming`."""

    def __init__(self, clip: ClipNames, table: NameTable) -> None:
        self._clip, self._table = clip, table

    def name_table(self) -> NameTable:
        return self._table

    def embed_crops(self, photos: UintImage, masks: UintImage) -> FloatArray:
        return self._clip.embed_images(list(photos))


def unit_rows(rows: FloatArray) -> FloatArray:  # (n, D) -> the same
    """Rows scaled to length 1."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), np.float32)


def to_pixels(photo: UintImage, side: int) -> FloatArray:  # (H, W, 3) -> (3, S, S)
    """Preprocess an image as CLIP: shorter side to S, the central square, normalized."""
    height, width = photo.shape[:2]
    short = min(height, width)
    size = (side * width // short, side * height // short)
    picture = Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC)
    left, top = (round((length - side) / 2) for length in size)
    square = np.asarray(picture.crop((left, top, left + side, top + side)), np.float32) / 255
    normal = (square - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1), np.float32)


def read_clip(weights: Path) -> Any:
    """Read a CLIP model (`models.clip.ClipModel`) in eval mode and float32.

    Raises WeightsError if the file is not a CLIP model with a vision transformer.
    """
    from anymask.models.clip import ClipConfig, ClipModel, official_names
    from anymask.runtime import read_checkpoint
    from anymask.runtime.torchscript import read_script
    from anymask.runtime.weight_files import sniff

    script = weights.suffix != ".safetensors" and sniff(weights) == "torchscript"
    tensors = official_names(read_script(weights) if script else read_checkpoint(weights))
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    try:
        model = ClipModel(ClipConfig.of(shapes, _activation(weights.parent)))
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        raise WeightsError(
            f"{weights} is not a supported CLIP model. Expected weights of a CLIP with a vision "
            "transformer, such as ViT-B/32, ViT-B/16 or ViT-L/14, of OpenAI, open_clip or "
            "transformers."
        ) from error
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if wanted != shapes:
        odd = sorted(name for name in wanted.keys() | shapes.keys()
                     if wanted.get(name) != shapes.get(name))  # fmt: skip
        raise WeightsError(
            f"{weights} does not fit CLIP: tensors such as {odd[0]} differ. Copy it again."
        )
    model.load_state_dict({name: value.float() for name, value in tensors.items()})
    return model.eval()


def _activation(folder: Path) -> Any:
    """Activation stated in the configuration next to the weights; OpenAI's without one."""
    for name in CONFIGS:
        path = folder / name
        config = parse_json(path.read_bytes(), path) if path.is_file() else None
        if not isinstance(config, dict):
            continue
        if name == "open_clip_config.json":
            model = config.get("model_cfg", config)
            return "quick_gelu" if isinstance(model, dict) and model.get("quick_gelu") else "gelu"
        towers = [config.get(tower) for tower in ("text_config", "vision_config")]
        kinds = {one.get("hidden_act") for one in towers if isinstance(one, dict)}
        return "gelu" if "gelu" in kinds else "quick_gelu"
    return "quick_gelu"
