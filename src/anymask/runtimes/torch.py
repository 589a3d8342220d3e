"""A model on torch: normalised pictures and prompts in, float32 logits and quality out; any device.

Letters: B images, S the model's input side, N prompts, T mask tokens, m the side of a mask.
The module is only read, so that many threads may share one runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from anymask.families import Family, open_family
from anymask.primitives.resize import logits_used
from anymask.primitives.spec import Geometry, ModelSpec
from anymask.primitives.types import FeatureMap, FloatArray, ModelPrompts, Seen
from anymask.runtimes.devices import fast_halves, import_torch, pick_device, pick_dtype
from anymask.runtimes.failures import running
from anymask.runtimes.protocol import ClassLabelling, EdgeRefining, MaskNaming
from anymask.runtimes.sweep import Sweep, SweepPrecision
from anymask.runtimes.torch_edges import TorchEdges
from anymask.runtimes.video import VideoSteps

if TYPE_CHECKING:
    import torch

    from anymask.models.edge_refiner import EdgeRefiner

C = TypeVar("C")


class TorchRuntime:
    """An ImageModel of `anymask.models` behind the runtime protocol.

    reopened  name, weights, device and precision, as `open_runtime` takes them, where it can be had
              again from them; without them it cannot be pickled
    edges     refines edges of its masks, where that was learned
    names     names masks, where that was learned

    The module is moved to the device and the precision, and put in eval mode: hand it over.
    Raises InputError for a device or precision that is not there, MissingExtra without torch.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        weights_hash: str = "",
        device: str = "auto",
        precision: str = "fp32",
        reopened: tuple[Callable[..., Any], tuple[Any, ...]] | None = None,
        edges: EdgeRefiner | None = None,
        names: MaskNaming | None = None,
    ) -> None:
        from anymask.models.inference import for_inference

        self._reopened = reopened
        self._torch = import_torch()
        self.device = pick_device(device)
        self.dtype = pick_dtype(precision)
        self.weights_hash = weights_hash
        self.spec = cast(ModelSpec, module.spec)
        self.family: Family = open_family(self.spec, weights_hash=weights_hash)
        self._names = names
        self._edges = None if edges is None else TorchEdges(edges, self.device)
        self._module: Any = for_inference(module, self.device, self.dtype)

    def __repr__(self) -> str:
        return f"<TorchRuntime: {self.spec.name}, {self.device}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its name and weights: a process that unpickles it reads them anew."""
        if self._reopened is None:
            raise TypeError("a TorchRuntime of a module in memory cannot be pickled; use its file")
        return self._reopened

    def see(self, images: FloatArray) -> list[Seen]:
        """(B, 3, S, S) float32, normalised -> for each image its maps, on the device."""
        with running(f"the encoder of {self.spec.name}"), self._torch.inference_mode():
            maps = self._module.encode(self._tensor(images, self.dtype))
        return [SeenTensors(tuple(one[i : i + 1] for one in maps)) for i in range(len(images))]

    def capability(self, kind: type[C]) -> C | None:
        """See `ImageRuntime.capability`: it answers clicks, and sweeps, refines edges or follows
        objects through videos where the model can."""
        if kind is VideoSteps:
            return cast(C | None, self._video())
        if cast(object, kind) is EdgeRefining:
            return cast(C | None, self._edges)
        if cast(object, kind) is MaskNaming:
            return cast(C | None, self._names)
        if cast(object, kind) is ClassLabelling:
            return cast(C | None, TorchClasses(self) if self.spec.classes else None)
        return self if isinstance(self, kind) else None

    def _video(self) -> VideoSteps | None:
        from anymask.models.video_model import VideoModel
        from anymask.runtimes.torch_video import TorchVideo

        inside = self._module
        return TorchVideo(inside, self.device) if isinstance(inside, VideoModel) else None

    def decode(self, seen: Seen, prompts: ModelPrompts) -> tuple[FloatArray, FloatArray]:
        """One picture and N prompts -> logits (N, T, m, m) and quality (N, T), float32."""
        with running(f"the decoder of {self.spec.name}"), self._torch.inference_mode():
            logits, quality = self._module.decode(
                self._maps(seen),
                # Coordinates stay float32: half a pixel of 1024 is lost in bf16.
                self._tensor(prompts.coords, self._torch.float32),
                self._tensor(prompts.labels, self._torch.int64),
                self._tensor(prompts.masks, self.dtype),
                self._tensor(prompts.has_mask, self.dtype),
            )
            return _to_numpy(logits), _to_numpy(quality)

    def label_cells_of(self, seen: Seen) -> FloatArray:
        """See `ClassLabelling`; of a model that has classes."""
        with running(f"the classes of {self.spec.name}"), self._torch.inference_mode():
            return _to_numpy(self._module.class_head(*self._maps(seen))[0])

    def sweep(
        self, seen: Seen, geometry: Geometry, precision: SweepPrecision = "model"
    ) -> Sweep | None:
        """See `runtimes.sweep.Sweeps`."""
        from anymask.models.sweep import ClickSweep, fits
        from anymask.runtimes.torch_sweep import TorchSweep

        if not fits(self._module):
            return None
        mixed = precision == "mixed" and fast_halves(self.device)
        with running(f"the decoder of {self.spec.name}"), self._torch.inference_mode():
            maps = self._maps(seen)[0]
            dtype = self._torch.bfloat16 if mixed else self.dtype
            asked = ClickSweep(self._module, maps, dtype, self._shown(geometry))
        return TorchSweep(asked, self.device)

    def _maps(self, seen: Seen) -> tuple[torch.Tensor, ...]:
        """(1, C, h, w) each; only maps of another place are copied."""
        if isinstance(seen, SeenTensors) and seen.is_at(self.device, self.dtype):
            return seen.tensors
        return tuple(self._tensor(one.values[None], self.dtype) for one in seen.maps())

    def _shown(self, geometry: Geometry) -> tuple[int, int]:
        """Rows and columns of the feature map from which the photo's logits are drawn."""
        rows, columns = logits_used(self.spec.mask_side, geometry)
        return -(-rows // 4), -(-columns // 4)

    def _tensor(self, array: np.ndarray[Any, Any], dtype: torch.dtype) -> torch.Tensor:
        # Copied where numpy says read-only (a memory-mapped embedding): torch warns of it.
        safe = np.require(array, requirements=["C", "W"])
        return self._torch.from_numpy(safe).to(self.device, dtype)


@dataclass(frozen=True)
class TorchClasses:
    """Classes told apart by a runtime's own module."""

    runtime: TorchRuntime

    def label_cells(self, seen: Seen) -> FloatArray:
        """See `ClassLabelling`."""
        return self.runtime.label_cells_of(seen)


@dataclass(frozen=True, eq=False)
class SeenTensors:
    """What the encoder saw, on its device: (1, C, h, w) each."""

    tensors: tuple[torch.Tensor, ...]

    @property
    def nbytes(self) -> int:
        """See `primitives.types.Seen`."""
        return sum(one.nbytes for one in self.tensors)

    def is_at(self, device: torch.device, dtype: torch.dtype) -> bool:
        """Whether a model there can read it as it is."""
        return all(one.device == device and one.dtype == dtype for one in self.tensors)

    def maps(self) -> tuple[FeatureMap, ...]:
        """See `primitives.types.Seen`."""
        return tuple(
            FeatureMap(name, _to_numpy(tensor[0]))
            for name, tensor in zip(map_names(len(self.tensors)), self.tensors, strict=True)
        )


def map_names(count: int) -> list[str]:
    """The names of an encoder's maps, as exported graphs have them."""
    return ["features", *(f"extras_{index}" for index in range(count - 1))]


def _to_numpy(tensor: torch.Tensor) -> FloatArray:
    array: FloatArray = tensor.float().cpu().numpy()
    return array
