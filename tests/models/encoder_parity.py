"""Weights and pictures that matter, and the comparison, for the tests of encoders and folding.

The encoders against the reference's outputs: tests/golden.
"""

import torch


def randomise(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Give every weight and every batch norm statistic a value that matters; eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("num_batches_tracked"):
                continue
            if name.endswith("running_var"):
                tensor.copy_(0.5 + noise.abs())
            elif tensor.ndim <= 1:
                tensor.copy_(0.3 * noise + (1.0 if name.endswith("weight") else 0.0))
            elif tensor.ndim == 4 or name.endswith("weight"):
                tensor.copy_(noise / tensor[0].numel() ** 0.5)
            else:
                tensor.copy_(noise)
    return module.eval()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers, the same in every run."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def relative_error(ours: torch.Tensor, reference: torch.Tensor) -> float:
    """max|a - b| / max|b|."""
    ours, reference = ours.detach(), reference.detach()
    return float((ours - reference).abs().max() / reference.abs().max())
