"""Weights and pictures that matter, and the comparison, for the tests of encoders and folding.

The encoders against the reference's outputs: tests/golden.
"""

from collections.abc import Callable

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


def assert_half_precision_stays_close(
    build: Callable[[], torch.nn.Module], image: torch.Tensor, dtype: torch.dtype
) -> None:
    """A network in 16 bits answers in 16 bits, and nearly as in 32."""
    with torch.inference_mode():
        half = build().to(dtype)(image.to(dtype))[0]
        assert half.dtype == dtype
        assert relative_error(half.float(), build()(image)[0]) <= 0.1


def assert_a_batch_equals_its_pictures(
    build: Callable[[], torch.nn.Module], images: torch.Tensor
) -> None:
    """Each picture of a batch gets the outputs that it gets alone."""
    with torch.inference_mode():
        model = build()
        together = model(images)
        for index, image in enumerate(images):
            for batched, alone in zip(together, model(image[None]), strict=True):
                assert relative_error(batched[index], alone[0]) <= 1e-5
