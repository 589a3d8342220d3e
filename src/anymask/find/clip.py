"""Any word by a CLIP model of the user: compare its text vectors with crops of all masks.

Each mask of `everything` is cropped twice, with its surroundings and with gray instead of them
(`known_names`), and encoded by CLIP's image tower. The probability of a word is a softmax over all
words of the call and `RIVALS`, names of what a mask may be instead. The masks are scored and
filtered as for the bundled names; this rule was fitted to them, not to CLIP.

The towers are those of transformers, in the layout of its folders.

Letters: n masks, P words, S the side of CLIP's images, D the length of a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anymask.base import (
    FloatArray,
    ModelError,
    UintImage,
    WeightsError,
    import_offline,
    need_packages,
)
from anymask.find.byte_pairs import BytePairs
from anymask.find.grounding import ScoredBoxes
from anymask.find.phrases import Phrase
from anymask.models.rules import NameTable, plain_word
from anymask.runtime import pick_device

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
SENTENCE = "a photo of a {}"  # one of the templates of the paper
BATCH = 16  # crops or texts encoded at once
RIVALS = (
    "background", "wall", "floor", "ceiling", "sky", "ground", "grass", "water", "tree", "plant",
    "building", "road", "window", "furniture", "table", "person", "clothing", "animal", "vehicle",
    "food", "device", "tool", "text", "shadow", "part of an object",
)  # fmt: skip


class ClipNames:
    """A CLIP model that names masks. `Model.find` accepts it as a detector.

    Args:
        name: Name in the catalogue, or of the folder.
        folder: Folder of transformers: weights, configuration and vocabulary.
        threshold: Not used; the thresholds are those of known names.
        device: Torch device.

    Raises MissingExtra without transformers, WeightsError if the files are invalid or incomplete.
    """

    def __init__(self, name: str, folder: Path, threshold: float, device: str = "auto") -> None:
        need_packages(("torch", "transformers"), "words", "CLIP")
        self.name, self.threshold = name, threshold
        self._tokenizer = BytePairs.read(folder)
        self._device = pick_device(device)
        self._model = read_clip(folder).to(self._device)
        vision = self._model.config.vision_config
        size = f"{vision.hidden_size}x{vision.num_hidden_layers}/{vision.patch_size}"
        self.about: dict[str, Any] = {"detector": name, "kind": f"clip {size}"}

    def __repr__(self) -> str:
        return f"ClipNames({self.name!r}, on {self._device})"

    def detect(
        self, image: UintImage, phrases: Sequence[str], side: int | None = None
    ) -> ScoredBoxes:
        """Raises ModelError: CLIP names masks, but predicts no boxes."""
        raise ModelError(f"{self.name} predicts no boxes. Pass it to Model.find to name masks.")

    def naming(self, phrases: Sequence[Phrase]) -> ClipNaming:
        """Name model for these phrases."""
        words = list(dict.fromkeys(plain_word(phrase.prompt) for phrase in phrases))
        words += [word for word in RIVALS if word not in words]
        vectors = self.embed_texts([SENTENCE.format(word) for word in words])
        scale = float(self._model.logit_scale.exp())
        also = {word: index for index, word in enumerate(words)}
        learned = np.ones(len(words), np.bool_)
        return ClipNaming(self, NameTable(tuple(words), vectors, learned, also, scale, self.name))

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:  # -> (P, D)
        """Unit vectors of texts."""
        config = self._model.config.text_config
        tokens = self._tokenizer.tokens(texts, config.max_position_embeddings)
        if int(tokens.max(initial=0)) >= config.vocab_size:
            raise WeightsError(
                f"The vocabulary of {self.name} has more tokens than its weights. Copy it again."
            )
        return self._embed(tokens, self._model.get_text_features)

    def embed_images(self, images: Sequence[UintImage]) -> FloatArray:  # n (H, W, 3) -> (n, D)
        """Unit vectors of images; the largest central square of each is encoded."""
        side = self._model.config.vision_config.image_size
        return self._embed([to_pixels(im, side) for im in images], self._model.get_image_features)

    def _embed(self, inputs: Any, encode: Callable[[Any], Any]) -> FloatArray:
        """Unit vectors of texts or images, `BATCH` at once."""
        import torch

        vectors = [np.zeros((0, self._model.config.projection_dim), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(inputs), BATCH):
                some = torch.from_numpy(np.stack(inputs[start : start + BATCH])).to(self._device)
                vectors.append(encode(some).pooler_output.float().cpu().numpy())
        rows = np.concatenate(vectors)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.maximum(lengths, 1e-12), np.float32)


class ClipNaming:
    """The words of one call. See `runtime.MaskNaming`."""

    def __init__(self, clip: ClipNames, table: NameTable) -> None:
        self._clip, self._table = clip, table

    def name_table(self) -> NameTable:
        return self._table

    def embed_crops(self, images: UintImage, masks: UintImage) -> FloatArray:
        return self._clip.embed_images(list(images))


def to_pixels(pixels: UintImage, side: int) -> FloatArray:  # (H, W, 3) -> (3, S, S)
    """Preprocess an image as CLIP: shorter side to S, the central square, normalized."""
    height, width = pixels.shape[:2]
    short = min(height, width)
    size = (side * width // short, side * height // short)
    resized = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    left, top = (round((length - side) / 2) for length in size)
    square = np.asarray(resized.crop((left, top, left + side, top + side)), np.float32) / 255
    normal = (square - np.array(CLIP_MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1), np.float32)


def read_clip(folder: Path) -> Any:
    """Read a folder as transformers' `CLIPModel` in eval mode and float32, without gradients.

    Raises WeightsError if the folder contains no complete CLIP model as safetensors.
    """
    import torch

    kind: Any = import_offline("transformers").CLIPModel
    try:
        model, report = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32,
            output_loading_info=True,
        )  # fmt: skip
        missing = sorted({*report["missing_keys"], *report["unexpected_keys"]})
    except Exception as error:  # corrupted files raise exceptions of several packages
        raise WeightsError(
            f"{folder} is not a CLIP model in the layout of transformers. Copy it again."
        ) from error
    if missing:
        raise WeightsError(f"{folder}: {missing[0]} does not fit CLIP. Copy the folder again.")
    return model.eval().requires_grad_(False)
