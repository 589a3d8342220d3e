"""What a training at scale takes: a model and a schedule in; operations, memory, GPU-hours out.

    python research/measure_scale.py sam_vit_h [--masks 64] [--samples 23040000] [--gpus 256]
        [--peak 989e12] [--used 0.35] [--shards 256] [--time mobile_sam]

Counted, without a GPU: floating-point operations (torch's FlopCounterMode over the real modules on
the meta device, forward and backward) and the bytes that autograd keeps (saved_tensors_hooks), both
with and without `recompute`. Measured: with --time MODEL, seconds of that model's encoder forward
and backward here, and so the operations a second of this machine. Arithmetic: everything that
--peak, --used and --gpus enter. The figures in docs/explanation/training.md come from here.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from anymask import models
from anymask.base import this_machine
from anymask.training.blocks import recompute_blocks

POINTS = 3  # of a prompt: a box's corners and a click
PASSES = 2.4  # predictions of a step without `rounds`: two with a loss, in 40 % of the steps three
BYTES_A_WEIGHT = 20  # fp32: weight, gradient, two moments of AdamW, running average
GIB = 2**30


@dataclass(frozen=True)
class Counted:
    """Of one picture with its masks: operations of encoder and one answer, and bytes kept."""

    encoder: int
    answer_forward: int
    answer_both: int
    kept: int
    kept_by_answer: int
    weights: int

    def step(self, rounds: int) -> float:
        """Operations of a whole step of one picture; `rounds` as in a recipe."""
        if rounds:
            return self.encoder + rounds * self.answer_both
        return self.encoder + 2 * self.answer_both + (PASSES - 2) * self.answer_forward


def count(name: str, masks: int, *, recomputed: bool) -> Counted:
    """Count on the meta device; nothing is computed. bf16 activations, as under autocast."""
    spec = models.spec(name)
    with torch.device("meta"):
        model = models.build(name).to(torch.bfloat16).train()
        if recomputed:
            recompute_blocks(model)
        image = torch.zeros(1, 3, spec.image_side, spec.image_side, dtype=torch.bfloat16)
        kept = Kept()
        with FlopCounterMode(display=False) as encoding, kept.watching(model):
            features = model.encode(image)
        with FlopCounterMode(display=False) as encoding_back:
            sum(one.float().sum() for one in features).backward()
        given = tuple(one.detach().requires_grad_() for one in features)
        repeated = tuple(one.repeat_interleave(masks, dim=0) for one in given)
        before = kept.bytes
        with FlopCounterMode(display=False) as answering, kept.watching(model):
            logits, quality = ask(model, repeated, masks)
        with FlopCounterMode(display=False) as answering_back:
            (logits.sum() + quality.sum()).backward()
    return Counted(
        encoding.get_total_flops() + encoding_back.get_total_flops(),
        answering.get_total_flops(),
        answering.get_total_flops() + answering_back.get_total_flops(),
        kept.bytes,
        kept.bytes - before,
        sum(p.numel() for p in model.parameters()),
    )


def ask(model: nn.Module, features: tuple[Tensor, ...], masks: int) -> tuple[Tensor, Tensor]:
    """One answer to a prompt of `POINTS` for each mask."""
    spec = model.spec
    low = spec.mask_side
    points = spec.fixed_points or POINTS
    return model.decode(
        features, torch.zeros(masks, points, 2), torch.ones(masks, points, dtype=torch.int64),
        torch.zeros(masks, 1, low, low), torch.zeros(masks),
    )  # fmt: skip


class Kept:
    """Bytes that autograd keeps for the backward pass, weights left out, each tensor once."""

    def __init__(self) -> None:
        self.bytes = 0
        self.seen: list[Tensor] = []  # kept alive, so that no address is given twice

    def watching(self, model: nn.Module) -> torch.autograd.graph.saved_tensors_hooks:
        """A context in which what is kept is counted."""
        known = {id(p) for p in model.parameters()}

        def note(tensor: Tensor) -> Tensor:
            base = tensor if tensor._base is None else tensor._base
            if id(base) not in known:
                known.add(id(base))
                self.seen.append(base)
                self.bytes += base.numel() * base.element_size()
            return tensor

        return torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)


def seconds_of(name: str) -> tuple[float, int]:
    """Measured here: seconds of the encoder's forward and backward, one thread, and operations."""
    torch.set_num_threads(1)
    model, side = models.build(name).train(), models.spec(name).image_side
    image = torch.randn(1, 3, side, side)
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        torch.stack([one.sum() for one in model.encode(image)]).sum().backward()
        taken.append(time.perf_counter() - began)
    with FlopCounterMode(display=False) as counter:
        torch.stack([one.sum() for one in model.encode(image)]).sum().backward()
    return min(taken), counter.get_total_flops()


def main() -> None:
    """Count, measure, multiply, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--masks", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=0, help="of prompts, as in a recipe")
    parser.add_argument("--samples", type=float, default=256 * 90_000)
    parser.add_argument("--gpus", type=int, default=256)
    parser.add_argument("--peak", type=float, default=989e12, help="operations a second of a GPU")
    parser.add_argument("--used", type=float, default=0.35, help="part of the peak that is reached")
    parser.add_argument("--time", metavar="MODEL")
    args = parser.parse_args()
    for recomputed in (False, True):
        found = count(args.model, args.masks, recomputed=recomputed)
        # Bytes that are kept of a whole step of one picture.
        print(
            f"{args.model}, {args.masks} masks, recompute = {recomputed}: "
            f"{found.weights / 1e6:.0f} M weights; {found.encoder / 1e12:.2f} T operations of the "
            f"encoder, {found.answer_both / 1e12:.2f} T an answer that learns, "
            f"{found.step(args.rounds) / 1e12:.2f} T a picture; "
            f"{(found.kept + (max(args.rounds, 2) - 1) * found.kept_by_answer) / GIB:.1f} GiB kept"
        )
        hours = args.samples * found.step(args.rounds) / (args.peak * args.used) / 3600
        state = found.weights * BYTES_A_WEIGHT / GIB
        print(
            f"  arithmetic: {state:.1f} GiB of weights, gradients, moments and average, "
            f"{state / args.gpus:.3f} GiB a GPU by fsdp"
        )
        print(
            f"  arithmetic: {hours:,.0f} GPU-hours at {args.used:.0%} of {args.peak / 1e12:.0f} T "
            f"a second, {hours / args.gpus:.1f} hours on {args.gpus}"
        )
    if args.time:
        seconds, operations = seconds_of(args.time)
        print(
            f"measured: encoder of {args.time}, forward and backward, {seconds:.2f} s on a thread "
            f"of {this_machine().cpu}: {operations / seconds / 1e9:.1f} G operations a second"
        )


if __name__ == "__main__":
    main()
