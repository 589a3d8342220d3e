"""A small promptable model of our own for the tests of runtimes and export: quick to export."""

import torch
from torch import Tensor, nn

from anymask.masks import ALL_KINDS, ModelPrompts, ModelSpec

SPEC = ModelSpec(name="stand_in", image_side=32, mask_side=8, accepts=ALL_KINDS)
T = 4


class StandIn(nn.Module):
    """Convolution, norm and products: every input changes the answer."""

    def __init__(self, spec: ModelSpec = SPEC) -> None:
        super().__init__()
        self.spec = spec
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4, bias=False), nn.BatchNorm2d(8), nn.GELU())
        self.norm = nn.LayerNorm(8)
        self.point = nn.Linear(3, 8)
        self.head = nn.Linear(8, T * 8)
        self.judge = nn.Linear(8, T)

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(images)
        return x, x.mean(1, keepdim=True)

    def decode(
        self,
        features: tuple[Tensor, ...],
        coords: Tensor,
        labels: Tensor,
        masks: Tensor,
        has_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        maps, extra = features
        dtype = maps.dtype
        said = torch.cat([coords / self.spec.image_side, labels[..., None].float()], dim=-1)
        token = self.norm(self.point(said.to(dtype)).mean(1))
        image = maps + extra + masks * has_mask[:, None, None, None].to(dtype)
        weights = self.head(token).unflatten(-1, (T, 8))
        logits = (weights @ image.flatten(2)).unflatten(-1, image.shape[-2:])
        return logits, self.judge(token)


def build(spec: ModelSpec = SPEC) -> StandIn:
    """The same random weights every time, with running statistics that matter."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = StandIn(spec)
        model.stem[1].running_mean.normal_()
        model.stem[1].running_var.uniform_(0.5, 2.0)
        return model.eval()


def some_prompts(n: int, p: int, spec: ModelSpec = SPEC) -> ModelPrompts:
    """N prompts of P points, every second one with a mask."""
    import numpy as np

    rng = np.random.default_rng(n * 100 + p)
    m = spec.mask_side
    return ModelPrompts(
        coords=(rng.random((n, p, 2)) * spec.image_side).astype(np.float32),
        labels=rng.integers(-1, 4, (n, p)),
        masks=rng.standard_normal((n, 1, m, m)).astype(np.float32),
        has_mask=(np.arange(n) % 2).astype(np.float32),
    )
