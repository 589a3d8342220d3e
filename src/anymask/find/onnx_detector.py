"""Grounding DINO as an ONNX graph, without torch and transformers.

The graph is an export of transformers (`onnx-community/grounding-dino-tiny-ONNX`, int8 204 MB).
Inputs: pixel_values, input_ids, token_type_ids, attention_mask, pixel_mask. Outputs: logits
(1, Q, T) and pred_boxes (1, Q, 4). This export has a fixed input size of 800 x 800.

Letters: Q boxes, T tokens, h w the network's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import InputError, UintImage, WeightsError, import_offline, pick_threads
from anymask.find.grounding import (
    CPU_SIDE,
    ResizeRule,
    ScoredBoxes,
    caption_arrays,
    join_captions,
    phrase_scores,
    scale_boxes,
    write_captions,
)
from anymask.find.wordpiece import WordPiece

MAX_TOKENS = 256  # of a caption, as in training
TYPES = {"tensor(float16)": np.float16, "tensor(float)": np.float32, "tensor(int64)": np.int64,
         "tensor(bool)": np.bool_}  # fmt: skip


class OnnxDetector:
    """An exported Grounding DINO.

    Args:
        name: Name of the detector.
        graph: The .onnx file.
        folder: Folder of its tokenizer and preprocessor_config.json.
        threshold: Default minimum score.

    Raises WeightsError if the graph cannot be loaded or is of another network.
    """

    def __init__(self, name: str, graph: Path, folder: Path, threshold: float) -> None:
        self.name, self.threshold = name, threshold
        self._session = _open_graph(graph)
        self._inputs = {node.name: node for node in self._session.get_inputs()}
        outputs = {node.name for node in self._session.get_outputs()}
        missing = {"pixel_values", "input_ids"} - {*self._inputs}
        missing |= {"logits", "pred_boxes"} - outputs
        if missing:
            raise WeightsError(
                f"{graph} is no Grounding DINO: it has no {', '.join(sorted(missing))}."
            )
        self._tokenizer = WordPiece.read(folder)
        self._rule = ResizeRule.read(folder)
        height, width = self._inputs["pixel_values"].shape[2:]
        if isinstance(height, int) and isinstance(width, int):
            self._rule = replace(self._rule, exact=(height, width))
        self.about: dict[str, Any] = {"detector": name, "kind": "onnx", "graph": graph.name}

    def __repr__(self) -> str:
        return f"OnnxDetector({self.name!r}, {self.about['graph']})"

    def detect(
        self, image: UintImage, phrases: Sequence[str], side: int | None = None
    ) -> ScoredBoxes:
        """Detect phrases. Raises InputError if the graph does not support the side."""
        exact = self._rule.exact
        if side is not None and exact is not None and (side, side) != exact:
            raise InputError(
                f"{self.name} supports only {exact[1]} x {exact[0]} pixels. Omit side."
            )
        pixels = self._rule.apply(image, self._rule.size(image.shape[:2], side, CPU_SIDE))
        length = self._inputs["input_ids"].shape[1]
        fixed = length if isinstance(length, int) else None
        answers = []
        for caption in write_captions(self._tokenizer, phrases, fixed or MAX_TOKENS):
            # Run the network: logits (Q, T) and boxes (Q, 4)
            mask = np.ones((1, *pixels.shape[2:]), np.int64)
            inputs: dict[str, Any] = {"pixel_values": pixels, "pixel_mask": mask}
            inputs |= caption_arrays(caption, fixed)
            fed: dict[str, Any] = {
                name: np.asarray(inputs[name], TYPES.get(node.type, np.float32))
                for name, node in self._inputs.items()
                if name in inputs
            }
            (logits,), (boxes,) = self._session.run(["logits", "pred_boxes"], fed)
            answers.append(
                ScoredBoxes(scale_boxes(boxes, image.shape[:2]), phrase_scores(logits, caption))
            )
        return join_captions(answers)


def _open_graph(graph: Path) -> Any:
    """Create the session of a graph. Raises WeightsError.

    Some releases of ONNX Runtime fail to optimize half-precision exports, which are then loaded
    without optimization.
    """
    onnxruntime = import_offline("onnxruntime")
    error: Exception | None = None
    for level in (
        onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    ):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        options.intra_op_num_threads = pick_threads()
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(
                str(graph), options, providers=["CPUExecutionProvider"]
            )
        except Exception as failure:  # onnxruntime's exception classes have no public base class
            error = failure
    raise WeightsError(
        f"Cannot load {graph}: the file is corrupted or incomplete. Copy it again."
    ) from error
