"""Video tracking by SAM 3's own tracker, with click and box prompts.

Meta, "SAM 3: Segment Anything with Concepts" (2025), through transformers' `Sam3TrackerVideoModel`
(Apache-2.0) on weights loaded by `sam3.Sam3`. It has SAM 2's memory: see `models/video_model.py`.

Differences to transformers, each to match the published model, whose numbers these are
(`tests/golden/test_sam3.py`): frames are resized by Pillow, bicubic; memories stay float32; a mask
is resized for the memory encoder after thresholding and scaling, not before; on a prompted frame,
each pixel of the memories belongs only to the most likely object; a prompt on a tracked frame
corrects the mask there without reading memories, and the frame then becomes a permanent memory of
all objects.

Letters: N objects, H W a frame, S the network's input side, h w a mask.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from anymask.base import FloatArray, InputError, UintImage, import_offline
from anymask.find.grounding import sigmoid
from anymask.find.torch_detector import as_numpy
from anymask.masks import CORNERS, Mask, Prompt, mask_to_rle
from anymask.models.rules import MASK_LIMIT, OVERLAP_MAX_LOGIT

PROMPTED_OUTPUTS, TRACKED_OUTPUTS = "cond_frame_outputs", "non_cond_frame_outputs"


@dataclass(frozen=True, eq=False)
class Sam3Frame:
    """Predictions of the tracker on a frame."""

    numbers: tuple[int, ...]  # Numbers of N objects, in the order of their first prompts
    logits: FloatArray  # Logits (N, h, w) of the whole frame
    presence: FloatArray  # Logit of each object's presence (N,)


class Sam3Video:
    """Objects of one video tracked by SAM 3. Created by `Sam3.follow`.

    Args:
        network: Transformers' tracker.
        frames: Frames (H, W, 3) of the same size.
        lock: Lock held while the network computes.
    """

    def __init__(self, network: Any, frames: Sequence[UintImage], lock: threading.RLock) -> None:
        import torch

        video = import_offline("transformers.models.sam3_tracker_video.modeling_sam3_tracker_video")
        if not len(frames):
            raise InputError("The video has no frames. Pass at least one frame.")
        self._torch, self._network, self._lock = torch, network, lock
        self._hw = frames[0].shape[:2]
        device = network.no_memory_embedding.device
        self._session: Any = video.Sam3TrackerVideoInferenceSession(
            video_height=self._hw[0], video_width=self._hw[1], inference_device=device
        )
        self._session.dtype = torch.float32
        self._session.processed_frames = EncodedFrames(frames, network.image_size)
        self._unsettled: set[int] = set()  # frames with pending memory encoding
        network._encode_new_memory = partial(encode_memory, network)

    def __repr__(self) -> str:
        return f"Sam3Video({len(self)} frames, {len(self._session.obj_ids)} objects)"

    def __len__(self) -> int:
        return len(self._session.processed_frames)

    def prompt(self, frame: int, number: int, prompt: Prompt) -> FloatArray:  # -> (h, w)
        """Prompt an object on a frame by clicks or a box, and return the logits of its mask.

        If the object has a mask on the frame, the prompt corrects it. Raises InputError for an
        invalid frame, and for an empty prompt or a mask prompt.
        """
        self._check(frame)
        # Clicks and box corners in the network's pixels
        if prompt.mask is not None:
            raise InputError(
                "SAM 3 does not support mask prompts in this video session. Pass points or a box."
            )
        coords = np.zeros((0, 2), np.float32)
        labels: list[int] = []
        if prompt.box is not None:
            coords, labels = prompt.box.reshape(2, 2), [*CORNERS]
        if prompt.points is not None and prompt.labels is not None:
            coords = np.concatenate([coords, prompt.points])
            labels += prompt.labels.tolist()
        if not labels:
            raise InputError("The prompt is empty. Pass points= or box=.")
        scale = self._network.image_size / np.array([self._hw[1], self._hw[0]], np.float32)
        scaled = np.asarray(coords * scale, np.float32)
        device, torch = self._session.inference_device, self._torch
        coords, labels = (
            torch.from_numpy(scaled)[None, None].to(device),
            torch.tensor(labels, dtype=torch.int32)[None, None].to(device),
        )
        at = self._session.obj_id_to_idx(number)
        outputs = self._session.output_dict_per_obj[at]
        before = outputs[PROMPTED_OUTPUTS].get(frame, outputs[TRACKED_OUTPUTS].get(frame))
        with self._lock, self._torch.inference_mode():
            output = self._network._run_single_frame_inference(
                inference_session=self._session,
                frame_idx=frame,
                obj_idx=at,
                batch_size=1,
                is_init_cond_frame=True,  # no memories
                point_inputs={"point_coords": coords, "point_labels": labels},
                mask_inputs=None,
                reverse=False,
                prev_sam_mask_logits=(
                    None if before is None else before["pred_masks"].clamp(-MASK_LIMIT, MASK_LIMIT)
                ),
            )
        outputs[TRACKED_OUTPUTS].pop(frame, None)
        outputs[PROMPTED_OUTPUTS][frame] = output
        self._unsettled.add(frame)
        return as_numpy(output["pred_masks"][0, 0])

    def step(self, frame: int, backward: bool = False) -> Sam3Frame:
        """Predict the objects on a frame; call it for consecutive frames, forward or backward.

        Raises InputError for an invalid frame, or before any prompt.
        """
        self._check(frame)
        if not self._session.obj_ids:
            raise InputError("No object was prompted. Call prompt() first.")
        with self._lock, self._torch.inference_mode():
            for number in sorted(self._unsettled):
                self._encode_memories(number)
            self._unsettled.clear()
            prediction = self._network(self._session, frame_idx=frame, reverse=backward)
        for kinds in self._session.output_dict_per_obj.values():
            for outputs in (kinds[PROMPTED_OUTPUTS], kinds[TRACKED_OUTPUTS]):
                outputs.get(frame, {}).pop("high_res_masks", None)  # 4 MB each
        side = prediction.pred_masks.shape[-2:]
        logits = as_numpy(prediction.pred_masks.reshape(-1, *side))
        there = as_numpy(prediction.object_score_logits.reshape(-1))
        return Sam3Frame(tuple(self._session.obj_ids), logits, there)

    def masks(self, seen: Sam3Frame) -> list[Mask]:
        """Masks (H, W) of the present objects, with object numbers and presence probabilities."""
        torch = self._torch
        wide = torch.nn.functional.interpolate(
            torch.from_numpy(seen.logits)[:, None], self._hw, mode="bilinear", align_corners=False
        )
        inside = (wide[:, 0] > 0).numpy()
        scores = sigmoid(seen.presence)
        return [
            Mask(mask_to_rle(mask), score=float(score), id=number)
            for number, mask, score in zip(seen.numbers, inside, scores, strict=True)
            if mask.any()
        ]

    def _check(self, frame: int) -> None:
        if not 0 <= frame < len(self):
            raise InputError(
                f"Frame {frame} is out of range: this video has frames 0 to {len(self) - 1}."
            )

    def _encode_memories(self, frame: int) -> None:
        """Encode the memories of a prompted frame, for all objects with a mask there."""
        torch, outputs = self._torch, self._session.output_dict_per_obj
        for kinds in outputs.values():
            if frame in kinds[TRACKED_OUTPUTS]:
                kinds[PROMPTED_OUTPUTS][frame] = kinds[TRACKED_OUTPUTS].pop(frame)
        shown = [at for at, kinds in outputs.items() if frame in kinds[PROMPTED_OUTPUTS]]
        prompted = [outputs[at][PROMPTED_OUTPUTS][frame] for at in shown]
        side = (self._network.image_size,) * 2
        wide = [
            torch.nn.functional.interpolate(
                output["pred_masks"], size=side, mode="bilinear", align_corners=False
            )
            for output in prompted
        ]
        self._network._batch_encode_memories(
            inference_session=self._session,
            frame_idx=frame,
            objects_needing_memory_encoding=shown,
            high_res_masks_for_memory=wide,
            object_score_logits_for_memory=[output["object_score_logits"] for output in prompted],
            is_mask_from_pts_per_obj=[True] * len(shown),
        )


class EncodedFrames:
    """Preprocessed frames (3, S, S), computed on access."""

    def __init__(self, frames: Sequence[UintImage], side: int) -> None:
        self._frames, self._side = frames, side

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, place: int) -> Any:
        import torch

        image = Image.fromarray(self._frames[place])
        small = image.resize((self._side, self._side), Image.Resampling.BICUBIC)
        pixels = np.asarray(small, np.float32).transpose(2, 0, 1) / 255
        return torch.from_numpy(np.ascontiguousarray((pixels - 0.5) / 0.5))


def encode_memory(
    network: Any,
    current_vision_feats: Any,
    pred_masks_high_res: Any,
    object_score_logits: Any,
    is_mask_from_pts: bool,
) -> tuple[Any, Any]:
    """Memories and their position encodings, (h w, N, C) each; argument names are transformers'.

    Args:
        network: Transformers' tracker.
        current_vision_feats: Features (h w, N, C).
        pred_masks_high_res: Logits (N, 1, S, S).
        object_score_logits: Presence logits (N, 1, 1).
        is_mask_from_pts: Whether the frame was prompted: masks are then binary and disjoint.
    """
    import torch

    masks, config = pred_masks_high_res.float(), network.config
    if is_mask_from_pts:
        numbers = torch.arange(len(masks), device=masks.device)[:, None, None, None]
        likeliest = masks.argmax(dim=0, keepdim=True) == numbers
        masks = (torch.where(likeliest, masks, masks.clamp(max=OVERLAP_MAX_LOGIT)) > 0).float()
    else:
        masks = masks.sigmoid()
    masks = masks * config.sigmoid_scale_for_mem_enc + config.sigmoid_bias_for_mem_enc
    side = [4 * length for length in network.prompt_encoder.mask_input_size]
    masks = torch.nn.functional.interpolate(
        masks, size=side, mode="bilinear", align_corners=False, antialias=True
    )
    hw = network.backbone_feature_sizes[-1]
    maps = current_vision_feats.permute(1, 2, 0).unflatten(2, tuple(hw))
    memory, places = network.memory_encoder(maps, masks)
    unseen = (object_score_logits <= 0).float().reshape(-1, 1, 1, 1)
    memory = memory + unseen * network.occlusion_spatial_embedding_parameter[..., None, None]
    return memory.flatten(2).permute(2, 0, 1), places.flatten(2).permute(2, 0, 1)
