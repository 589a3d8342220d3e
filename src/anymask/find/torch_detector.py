"""Detectors of transformers (extra [words]): text and exemplar prompts to scored boxes.

Grounding DINO, MM-Grounding-DINO, LLMDet, OWLv2 and OWL-ViT: one adapter over
`AutoModelForZeroShotObjectDetection`. Weights are safetensors of a local folder, never a pickle,
without network access. The text encoder runs once per list of phrases and is cached; all phrases of
an image share one pass.

Differences to transformers' processors, which require torchvision or SciPy: `ResizeRule` resizes
and normalizes images (OWLv2's blur and bilinear resizing becomes Pillow's bilinear), and scores are
computed per phrase (`phrase_scores`).

Letters: Q boxes, P phrases, H W the image.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import (
    FloatArray,
    ModelError,
    UintImage,
    WeightsError,
    import_offline,
    need_packages,
)
from anymask.find.grounding import (
    CPU_SIDE,
    Caption,
    ResizeRule,
    ScoredBoxes,
    caption_arrays,
    join_captions,
    phrase_scores,
    scale_boxes,
    sigmoid,
    write_captions,
)
from anymask.find.official_names import official_file, read_official
from anymask.find.wordpiece import WordPiece
from anymask.masks import pairwise_box_iou
from anymask.runtime import pick_device

GROUNDING = ("grounding-dino", "mm-grounding-dino")
OWL = ("owlv2", "owlvit")
OWL_TOKENS = 16  # per phrase, as in training
OWL_PHRASE = "a photo of a {}"  # one of the templates in training
MAX_REMEMBERED = 8  # cached lists of phrases
_PROGRESS = threading.Lock()


class TorchDetector:
    """A detector of transformers from a local folder.

    Raises MissingExtra without transformers or torch, ModelError for an unsupported network,
    WeightsError if the files are invalid.
    """

    def __init__(self, name: str, folder: Path, threshold: float, device: str = "auto") -> None:
        need_packages(("torch", "transformers"), "words", "This detector")
        import torch

        kind = import_offline("transformers").AutoModelForZeroShotObjectDetection
        self.name, self.threshold = name, threshold
        self._torch, self._device = torch, pick_device(device)
        try:
            official = official_file(folder)
            with silent():
                model, loaded = (
                    kind.from_pretrained(
                        folder, local_files_only=True, use_safetensors=True,
                        output_loading_info=True,
                    )
                    if official is None
                    else _load_official(folder, official)
                )  # fmt: skip
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise WeightsError(
                f"Cannot load the detector from {folder}. Copy its files again."
            ) from error
        if missing := sorted(loaded["missing_keys"]):
            raise WeightsError(f"{folder} is incomplete: {missing[0]} is missing. Copy it again.")
        if official is not None and (strange := sorted(loaded["unexpected_keys"])):
            raise WeightsError(
                f"{official} is not a checkpoint of Grounding DINO with Swin-T: {len(strange)} "
                f"tensors are unexpected, such as {strange[0]}. Use groundingdino_swint_ogc.pth."
            )
        self.kind = str(model.config.model_type)
        if self.kind not in GROUNDING + OWL:
            raise ModelError(
                f"{folder}: {self.kind} is not supported. Use {', '.join(GROUNDING + OWL)}."
            )
        self._model = model.eval().requires_grad_(False).to(self._device)
        described = official is None or (folder / "preprocessor_config.json").is_file()
        self._rule = (
            ResizeRule.read(folder, square=self.kind == "owlv2") if described else ResizeRule()
        )
        if self.kind in OWL:
            tokenizer = import_offline("transformers").AutoTokenizer
            try:
                self._tokenizer: Any = tokenizer.from_pretrained(folder, local_files_only=True)
            except (OSError, ValueError, TypeError) as error:
                raise WeightsError(
                    f"{folder} has no valid tokenizer. Copy tokenizer.json into it."
                ) from error
            _remember(self._model.base_model, "text_model")
        else:
            self._tokenizer = WordPiece.read(folder)
            _remember(self._model.model, "text_backbone")
        self.about: dict[str, Any] = {"detector": name, "kind": self.kind}

    def __repr__(self) -> str:
        return f"TorchDetector({self.name!r}, {self.kind}, on {self._device})"

    def detect(
        self, image: UintImage, phrases: Sequence[str], side: int | None = None
    ) -> ScoredBoxes:
        most = CPU_SIDE if self._device.type == "cpu" else None
        size = self._rule.size(image.shape[:2], side, most)
        pixels = self._torch.from_numpy(self._rule.apply(image, size)).to(self._device)
        with self._torch.inference_mode():
            if self.kind in OWL:
                text = self._tokenizer(
                    [OWL_PHRASE.format(phrase.lower()) for phrase in phrases],
                    padding="max_length",
                    max_length=OWL_TOKENS,
                    truncation=True,
                    return_tensors="pt",
                )
                answer = self._model(
                    input_ids=text["input_ids"].to(self._device),
                    attention_mask=text["attention_mask"].to(self._device),
                    pixel_values=pixels,
                    interpolate_pos_encoding=pixels.shape[-2:] != self._rule.exact,
                )
                logits = as_numpy(answer.logits[0])
                boxes = scale_boxes(as_numpy(answer.pred_boxes[0]), self._encoded_hw(image))
                return ScoredBoxes(boxes, sigmoid(logits))
            most = int(self._model.config.max_text_len)
            answers = [
                self._ask(image, pixels, caption)
                for caption in write_captions(self._tokenizer, phrases, most)
            ]
            return join_captions(answers)

    def _ask(self, image: UintImage, pixels: Any, caption: Caption) -> ScoredBoxes:
        text = {
            name: self._torch.from_numpy(array).to(self._device)
            for name, array in caption_arrays(caption).items()
        }
        answer = self._model(pixel_values=pixels, **text)
        return ScoredBoxes(
            scale_boxes(as_numpy(answer.pred_boxes[0]), image.shape[:2]),
            phrase_scores(as_numpy(answer.logits[0]), caption),
        )

    def learn_examples(
        self, examples: Sequence[tuple[UintImage, Sequence[float]]]
    ) -> FloatArray:  # -> (E, D)
        """Embed the contents of boxes (x0, y0, x1, y1) in images (H, W, 3) by an OWL network.

        As in image-guided detection, the embedding is that of the query with the best-fitting box.
        Raises ModelError for a network that supports only text.
        """
        if self.kind not in OWL:
            raise ModelError(
                f"{self.name} supports text prompts only. Use OWL, such as owlv2_base."
            )
        vectors = []
        for image, box in examples:
            cells, boxes = self._encode_owl(image, None)
            with self._torch.inference_mode():
                _, names = self._model.class_predictor(cells)
            fit = pairwise_box_iou(boxes, np.asarray(box, np.float32)[None])[:, 0]
            vectors.append(as_numpy(names[0])[int(fit.argmax())])
        return np.stack(vectors)

    def detect_examples(
        self, image: UintImage, learned: FloatArray, side: int | None = None
    ) -> ScoredBoxes:  # (H, W, 3), (E, D)
        """Detect exemplars of `learn_examples`: scores (Q, E). See `detect`."""
        cells, boxes = self._encode_owl(image, side)
        queries = self._torch.from_numpy(learned).to(self._device)[None]
        with self._torch.inference_mode():
            logits, _ = self._model.class_predictor(cells, queries)
        return ScoredBoxes(boxes, sigmoid(as_numpy(logits[0])))

    def _encode_owl(self, image: UintImage, side: int | None) -> tuple[Any, FloatArray]:
        """Cells (1, Q, C) of an image, and the box of each (Q, 4) in pixels."""
        size = self._rule.size(image.shape[:2], side)
        pixels = self._torch.from_numpy(self._rule.apply(image, size)).to(self._device)
        other = pixels.shape[-2:] != self._rule.exact
        with self._torch.inference_mode():
            features = self._model.image_embedder(pixels, interpolate_pos_encoding=other)[0]
            cells = features.flatten(1, 2)
            boxes = self._model.box_predictor(cells, features, other)
        return cells, scale_boxes(as_numpy(boxes[0]), self._encoded_hw(image))

    def _encoded_hw(self, image: UintImage) -> tuple[int, int]:
        """Size that boxes are relative to: the image, or the padded square."""
        height, width = image.shape[:2]
        return (max(height, width),) * 2 if self._rule.square else (height, width)


def _remember(owner: Any, part: str) -> None:
    """Cache the last outputs of a network's text encoder by its tokens."""
    encoder = getattr(owner, part)
    encode, kept, lock = encoder.forward, OrderedDict[bytes, Any](), threading.Lock()

    def forward(input_ids: Any, *given: Any, **named: Any) -> Any:
        key = input_ids.cpu().numpy().tobytes()  # masks and positions depend only on the tokens
        with lock:
            if key in kept:
                return kept[key]
        answer = encode(input_ids, *given, **named)
        with lock:
            kept[key] = answer
            while len(kept) > MAX_REMEMBERED:
                kept.popitem(last=False)
        return answer

    encoder.forward = forward


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Disable transformers' progress bar, and restore its global setting."""
    logging = import_offline("transformers.utils.logging")
    with _PROGRESS:
        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            if shown:
                logging.enable_progress_bar()


def as_numpy(tensor: Any) -> FloatArray:
    """Values of a tensor as float32."""
    return tensor.float().cpu().numpy()


def _load_official(folder: Path, file: Path) -> tuple[Any, dict[str, Any]]:
    """Load an official checkpoint of Grounding DINO, with config.json if the folder has it."""
    transformers = import_offline("transformers")
    kind, config = transformers.GroundingDinoForObjectDetection, transformers.GroundingDinoConfig()
    if (folder / "config.json").is_file():
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    return kind.from_pretrained(
        None, config=config, state_dict=read_official(file), output_loading_info=True
    )
