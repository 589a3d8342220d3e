"""Every family on a GPU against the CPU: parity, speed and memory, as one table to send us.

    python research/gpu_table.py -o table.json
    python research/gpu_table.py --models sam_vit_b sam2.1_hiera_t --precisions fp32 fp16

Weights are made (the same on every machine), so nothing is downloaded: masks mean nothing, they
only have to agree. Each model sees a made picture on the CPU in float32, and on the GPU in each
precision; the same prompts are decoded there. Columns: the largest difference of maps and logits,
of the largest value; mean IoU of the masks; seconds of the encoder and of a click, median over
turns; the most memory that torch held. Without a GPU `--device cpu` stands in, for a test.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from anymask import models
from anymask.base import AnymaskError, this_machine, write_json
from anymask.masks import EncoderOutput, ModelPrompts, ModelSpec, iou
from anymask.runtime import TorchRuntime, entry, pick_device

PRECISIONS = ("fp32", "bf16", "fp16")
PARITY = {"fp32": 1e-3}  # of logits; what else is measured has no bound
COLUMNS = ("model", "precision", "maps", "logits", "mask_iou", "encode_s", "click_s", "memory_mib")


def made(name: str) -> nn.Module:
    """A model whose weights depend on its name and nothing else."""
    torch.manual_seed(sum(name.encode()))
    module = models.build(name)
    for parameter in module.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=1 / math.sqrt(math.prod(parameter.shape[1:])))
    return module


def click(spec: ModelSpec) -> ModelPrompts:
    """Three prompts of one click each, away from the edges."""
    points = max(2, spec.fixed_points)
    coords = np.zeros((3, points, 2), np.float32)
    coords[:, 0] = np.array([[0.3, 0.4], [0.5, 0.5], [0.7, 0.6]]) * spec.image_side
    labels = np.full((3, points), -1)
    labels[:, 0] = 1
    side = spec.mask_side
    return ModelPrompts(
        coords, labels, np.zeros((3, 1, side, side), np.float32), np.zeros(3, np.float32)
    )


class OfImages:
    """An image or video model on a device: what it answers, as arrays."""

    def __init__(self, name: str, device: str, precision: str) -> None:
        self.runtime = TorchRuntime(made(name), "", device, precision)
        spec = self.runtime.spec
        noise = np.random.default_rng(0).standard_normal((3, spec.image_side, spec.image_side))
        self.source_image, self.prompts = noise.astype(np.float32), click(spec)

    def see(self) -> EncoderOutput:
        """The encoder."""
        return self.runtime.encode_images(self.source_image[None])[0]

    def answer(self, features: EncoderOutput) -> tuple[list[Any], Any]:
        """Maps and logits."""
        logits = self.runtime.decode(features, self.prompts)[0]
        return [one.values for one in features.maps()], logits

    def follow(self) -> Any:
        """Logits of a video's second frame; None of an image model."""
        steps = self.runtime.video
        if steps is None:
            return None
        frame = steps.encode_frame(self.source_image)
        first = steps.answer_points(
            frame, self.prompts.coords[0, :1], self.prompts.labels[0, :1], None
        )
        bank = steps.remember(frame, None, first.handles[0], (0, False), True)
        return steps.step_video(
            steps.encode_frame(self.source_image[:, ::-1]), [bank], 1, False
        ).logits


def measure(
    name: str, device: str, precisions: tuple[str, ...], rounds: int
) -> list[dict[str, Any]]:
    """One model: a row for each precision. What a device cannot do is a row with its reason."""
    reference = OfImages(name, "cpu", "fp32")
    maps, logits = reference.answer(reference.see())
    followed = reference.follow()
    del reference
    rows = []
    for precision in precisions:
        row: dict[str, Any] = {"model": name, "precision": precision}
        try:
            model = OfImages(name, device, precision)
            row |= _against(model, maps, logits, followed, device, rounds)
        except (AnymaskError, RuntimeError) as error:
            row["failed"] = str(error).splitlines()[0][:200]
        if not row.get("logits", 0) <= PARITY.get(precision, math.inf):
            row["failed"] = f"logits differ by {row['logits']:.1e}"
        rows.append(row)
    return rows


def _against(
    model: Any, maps: list[Any], logits: Any, followed: Any, device: str, rounds: int
) -> dict[str, Any]:
    is_cuda = device.startswith("cuda")
    if is_cuda:
        torch.cuda.reset_peak_memory_stats()
    found_maps, found = model.answer(model.see())
    row = {
        "maps": max(_error(a, b) for a, b in zip(found_maps, maps, strict=True)),
        "logits": _error(found, logits),
        "mask_iou": float(
            np.mean(
                [iou(a > 0, b > 0) for a, b in zip(_planes(found), _planes(logits), strict=True)]
            )
        ),
    }
    if followed is not None:
        row["video_logits"] = _error(model.follow(), followed)
    spent: dict[str, list[float]] = {"encode_s": [], "click_s": []}
    for _ in range(rounds):
        began = time.perf_counter()
        seen = model.see()
        if is_cuda:
            torch.cuda.synchronize()
        middle = time.perf_counter()
        model.answer(seen)
        spent["encode_s"].append(middle - began)
        spent["click_s"].append(time.perf_counter() - middle)
    row |= {what: statistics.median(seconds) for what, seconds in spent.items()}
    row["memory_mib"] = torch.cuda.max_memory_allocated() / 2**20 if is_cuda else None
    return row


def _planes(logits: Any) -> Any:
    return logits.reshape(-1, *logits.shape[-2:])


def _error(found: Any, expected: Any) -> float:
    return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-12))


def to_table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""

    def text(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str("" if value is None else value)

    columns = (*COLUMNS, "video_logits", "failed")
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join(text(row.get(one)) for one in columns) + " |" for row in rows]
    return "\n".join(lines)


def main(given: list[str] | None = None) -> int:
    """Measure, print, write; 1 where a model is not at parity in float32."""
    parser = argparse.ArgumentParser(description=__doc__)
    own = [name for name in models.names() if not entry(name).plugin]
    parser.add_argument("--models", nargs="+", default=own)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args(given)
    device = str(pick_device(args.device))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    about = torch.cuda.get_device_name(device) if device.startswith("cuda") else "the CPU"
    machine = f"{about}; {this_machine().line()}"
    rows: list[dict[str, Any]] = []
    for name in args.models:
        rows += measure(name, device, tuple(args.precisions), args.rounds)
        if args.output:  # what is measured stays, whatever happens to the next model
            write_json(args.output, {"machine": machine, "rows": rows}, indent=2)
        print(f"{name}: done", flush=True)
    print(f"\n{to_table(rows)}\n\n{machine}")
    return int(any("failed" in row and row["precision"] == "fp32" for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
