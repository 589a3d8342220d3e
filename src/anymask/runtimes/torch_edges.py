"""Edges refined on torch: a module and its device in, what the protocol of edges asks for out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anymask.primitives.types import FloatArray, UintImage
from anymask.runtimes.failures import running

if TYPE_CHECKING:
    import torch

    from anymask.models.edge_refiner import EdgeRefiner


class TorchEdges:
    """See `runtimes.protocol.EdgeRefining`; in float32, whatever precision the model has."""

    def __init__(self, module: EdgeRefiner, device: torch.device) -> None:
        self._module = module.eval().requires_grad_(False).to(device)
        self._device = device

    def refine_edge(self, photo: UintImage, logits: FloatArray, prompt: FloatArray) -> FloatArray:
        """See `EdgeRefining`."""
        import torch

        planes = np.ascontiguousarray(photo.transpose(2, 0, 1), np.float32)
        with running("the network of edges"), torch.inference_mode():
            given = (
                torch.from_numpy(one[None]).to(self._device)
                for one in (planes, np.ascontiguousarray(logits)[None], prompt)
            )
            change: FloatArray = self._module(*given)[0, 0].cpu().numpy()
            return change
