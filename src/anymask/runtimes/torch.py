"""A model on torch: any device, fp32, bf16 or fp16 inside, float32 numpy outside.

Letters: B images, S the model's input side, N prompts, T mask tokens, m the side of a mask.
The module is only read, so that many threads may share one runtime.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from anymask.primitives.resize import logits_used
from anymask.primitives.spec import Geometry, ModelSpec
from anymask.primitives.types import FloatArray, ModelPrompts
from anymask.runtimes.devices import fast_halves, import_torch, pick_device, pick_dtype
from anymask.runtimes.failures import running
from anymask.runtimes.sweep import Sweep, SweepPrecision

if TYPE_CHECKING:
    import torch


class TorchRuntime:
    """An ImageModel of `anymask.models` behind the runtime protocol.

    reopened  name, weights, device and precision, as `open_runtime` takes them, where it can be had
              again from them; without them it cannot be pickled

    The module is moved to the device and the precision, and put in eval mode: hand it over.
    Raises InputError for a device or precision that is not there, MissingExtra without torch.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        weights_hash: str = "",
        device: str = "auto",
        precision: str = "fp32",
        reopened: tuple[Any, ...] | None = None,
    ) -> None:
        self._reopened = reopened
        self._torch = import_torch()
        self.device = pick_device(device)
        self.dtype = pick_dtype(precision)
        self.weights_hash = weights_hash
        self.spec = cast(ModelSpec, module.spec)
        self._module: Any = module.eval().requires_grad_(False).to(self.device, self.dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its name and weights: a process that unpickles it reads them anew."""
        if self._reopened is None:
            raise TypeError("a TorchRuntime of a module in memory cannot be pickled; use its file")
        return _reopen, self._reopened

    def encode(self, images: FloatArray) -> list[tuple[FloatArray, ...]]:
        """(B, 3, S, S) float32, normalised -> for each image its maps, features (C, h, w) first."""
        with running(f"the encoder of {self.spec.name}"), self._torch.inference_mode():
            maps = self._module.encode(self._tensor(images, self.dtype))
            arrays = [_to_numpy(tensor) for tensor in maps]
        return [tuple(array[i] for array in arrays) for i in range(len(images))]

    def decode(
        self, features: tuple[FloatArray, ...], prompts: ModelPrompts
    ) -> tuple[FloatArray, FloatArray]:
        """One image's maps and N prompts -> logits (N, T, m, m) and quality (N, T), float32."""
        with running(f"the decoder of {self.spec.name}"), self._torch.inference_mode():
            logits, quality = self._module.decode(
                tuple(self._tensor(array[None], self.dtype) for array in features),
                # Coordinates stay float32: half a pixel of 1024 is lost in bf16.
                self._tensor(prompts.coords, self._torch.float32),
                self._tensor(prompts.labels, self._torch.int64),
                self._tensor(prompts.masks, self.dtype),
                self._tensor(prompts.has_mask, self.dtype),
            )
            return _to_numpy(logits), _to_numpy(quality)

    def sweep(
        self,
        features: tuple[FloatArray, ...],
        geometry: Geometry,
        precision: SweepPrecision = "model",
    ) -> Sweep | None:
        """See `runtimes.sweep.SweepingRuntime`."""
        from anymask.models.sweep import ClickSweep, fits
        from anymask.runtimes.torch_sweep import TorchSweep

        if not fits(self._module):
            return None
        mixed = precision == "mixed" and fast_halves(self.device)
        with running(f"the decoder of {self.spec.name}"), self._torch.inference_mode():
            maps = self._tensor(features[0][None], self.dtype)
            dtype = self._torch.bfloat16 if mixed else self.dtype
            asked = ClickSweep(self._module, maps, dtype, self._shown(geometry))
        return TorchSweep(asked, self.device)

    def _shown(self, geometry: Geometry) -> tuple[int, int]:
        """Rows and columns of the feature map from which the photo's logits are drawn."""
        rows, columns = logits_used(self.spec.mask_side, geometry)
        return -(-rows // 4), -(-columns // 4)

    def _tensor(self, array: np.ndarray[Any, Any], dtype: torch.dtype) -> torch.Tensor:
        # Copied where numpy says read-only (a memory-mapped embedding): torch warns of it.
        safe = np.require(array, requirements=["C", "W"])
        return self._torch.from_numpy(safe).to(self.device, dtype)


def _reopen(name: str, weights: Path | None, device: str, precision: str) -> Any:
    from anymask.runtimes.open import open_runtime

    return open_runtime(name, weights, device, precision, "torch")


def _to_numpy(tensor: torch.Tensor) -> FloatArray:
    array: FloatArray = tensor.float().cpu().numpy()
    return array
