"""The parts of a video step leave torch: graphs with any number of memories, equal in numbers."""

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from anymask import models
from anymask.models.memory_attention import RecalledMemories
from anymask.models.positions import RotaryAngles
from anymask.models.rules import MemoryBank, VideoMoment
from anymask.models.video_model import FramePrompts, VideoModel
from anymask.training.export_graphs import OPSET, _quiet


class Reading(nn.Module):
    """Memory attention with plain tensors as its inputs."""

    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        self.attention = model.memory_attention

    def forward(
        self,
        frame: Tensor,
        at: Tensor,
        turns: tuple[Tensor, Tensor],
        memory: tuple[Tensor, Tensor],
        memory_turns: tuple[Tensor, Tensor],
    ) -> Tensor:
        recalled = RecalledMemories(*memory, RotaryAngles(*memory_turns))
        y: Tensor = self.attention(frame, at, RotaryAngles(*turns), recalled)
        return y


def test_memory_attention_exports_with_any_number_of_objects_and_memories(tmp_path: Path) -> None:
    """That of EdgeTAM's memories, too, is in the bundle of test_video_bundle."""
    model = models.build("tiny_video").requires_grad_(False)
    assert isinstance(model, VideoModel)
    answers, graph = {}, tmp_path / "reading.onnx"
    for frames in (3, 2):
        inputs = read_by_frame(model, frames)
        if frames == 3:
            places, objects = torch.export.Dim("K", min=2), torch.export.Dim("N")
            varying = ({}, {}, ({}, {}), ({0: objects, 1: places}, {1: places}), ({0: places},) * 2)
            with _quiet():
                torch.onnx.export(
                    Reading(model).eval(),
                    inputs,
                    graph,
                    dynamo=True,
                    opset_version=OPSET,
                    dynamic_shapes=varying,
                    verbose=False,
                )
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        tensors = [t for each in inputs for t in (each if isinstance(each, tuple) else (each,))]
        names = [node.name for node in session.get_inputs()]
        given = {n: t.numpy() for n, t in zip(names, tensors, strict=True)}
        answers[frames] = session.run(None, given)[0]
        truth = Reading(model)(*inputs).numpy()
        assert np.abs(answers[frames] - truth).max() <= 1e-4 * np.abs(truth).max()
    assert "Complex" not in graph.read_bytes().decode("latin-1")


def read_by_frame(model: VideoModel, number: int) -> tuple:
    """What memory attention gets on a frame when two objects were prompted on the first."""
    noise = torch.Generator().manual_seed(number)
    prompts = FramePrompts(torch.tensor([[[9.0, 9.0]], [[40.0, 9.0]]]), torch.ones(2, 1))
    banks = [MemoryBank(), MemoryBank()]
    settings = model.config.settings
    with torch.no_grad():
        for frame in range(number):
            seen = model.encode_frame(torch.randn(1, 3, 64, 64, generator=noise))
            at = VideoMoment(frame)
            answer = model.step(seen, banks, at, prompts if frame == 0 else None)
            memories = model.remember(seen, answer, at, prompted=frame == 0)
            for which, memory in enumerate(memories):
                add = banks[which].with_prompted if frame == 0 else banks[which].with_tracked
                banks[which] = add(memory)
        at = VideoMoment(number)
        chosen = [bank.select(at, settings) for bank in banks]
        recalled = model.recall(chosen, (4, 4), at, settings)
        positions, turns = model._of_frame(4, 4)
        tokens = seen.features.flatten(2).transpose(1, 2)
    return (
        tokens,
        positions,
        (turns.cosine, turns.sine),
        (recalled.tokens, recalled.at),
        (recalled.turns.cosine, recalled.turns.sine),
    )
