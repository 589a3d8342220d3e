"""Speed of other implementations of the same networks beside ours, in alternating runs.

    python3 -m venv peers && peers/bin/pip install torch transformers 'anymask[torch]'
    peers/bin/pip install --no-deps mobilesam-lite
    peers/bin/python -m research.peers --recipe ../shared/golden -o peers.json

transformers runs SAM ViT-B, SAM 2.1 tiny and EdgeTAM, MobileSAM's own code runs MobileSAM. Its
weights are those of ours, made by the recipe; the models of transformers have random weights, on
which speed does not depend. timm and torchvision are never installed: the functions that
MobileSAM's code imports from both packages are replaced here, and EdgeTAM of transformers gets our
own backbone, unfolded, in place of timm's. A video frame has two objects, each with one click on
the first frame. The encoders of other families are compared with our own PyTorch modules.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import anymask
from anymask.base import import_offline, this_machine, thread_setting, write_json
from anymask.masks import box_nms
from anymask.models import build
from anymask.runtime import require

CLICK = (0.5, 0.5)  # of the image's width and height
PLACES = ((0.3, 0.5), (0.7, 0.5))  # of the objects of a video
FRAMES = 3  # of a video in each turn
LIMIT = 2048  # side of the matrices whose product is the limit of the machine
AROUND = 3  # products before and after each pair of encodes
CLICKS = 4  # per encoded image; the first one is timed separately
Steps = dict[str, Callable[[], Any]]
Clock = Callable[[], float]


class DropPath(nn.Module):
    """Does nothing when nothing is trained."""

    def __init__(self, drop_prob: float = 0.0) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """The same."""
        return x


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """Boxes that stay, of one category."""
    return torch.as_tensor(box_nms(boxes.numpy(), scores.numpy(), iou_threshold))


def resize(image: Image.Image, size: list[int]) -> Image.Image:
    """A PIL image of (height, width)."""
    return image.resize((size[1], size[0]), Image.Resampling.BILINEAR)


STAND_INS: dict[str, dict[str, Any]] = {
    "timm": {},
    "timm.models": {},
    "timm.models.layers": {
        "DropPath": DropPath,
        "to_2tuple": lambda x: x if isinstance(x, tuple) else (x, x),
        "trunc_normal_": nn.init.trunc_normal_,
    },
    "timm.models.registry": {"register_model": lambda function: function},
    "torchvision": {},
    "torchvision.ops": {},
    "torchvision.ops.boxes": {
        "batched_nms": batched_nms,
        "box_area": lambda boxes: (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
    },
    "torchvision.transforms": {},
    "torchvision.transforms.functional": {"resize": resize, "to_pil_image": Image.fromarray},
}


def import_mobile_sam() -> Any:
    """MobileSAM's own code, with stand-ins while it is imported."""
    for name, content in STAND_INS.items():
        sys.modules[name] = module = ModuleType(name)
        vars(module).update(content)
    try:
        return importlib.import_module("mobilesam_lite.mobile_sam")
    finally:
        for name in STAND_INS:
            del sys.modules[name]


def mobile_sam(weights: Path, image: np.ndarray, everything: bool) -> Steps:
    """The steps of MobileSAM's own code."""
    code = import_mobile_sam()
    network = code.sam_model_registry["vit_t"]()
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.eval()
    predictor = code.SamPredictor(network)
    point = np.array([CLICK]) * image.shape[1::-1]
    generator = code.SamAutomaticMaskGenerator(
        network, points_per_side=32, pred_iou_thresh=0.0, stability_score_thresh=0.0
    )
    steps: Steps = {
        "encode": lambda: predictor.set_image(image),
        "click": lambda: predictor.predict(point, np.ones(1)),
    }
    return steps | ({"everything": lambda: generator.generate(image)} if everything else {})


def of_transformers(network: Any, side: int) -> Steps:
    """The steps of a model of transformers; its images are preprocessed already."""
    network.eval()
    pixels, held = torch.randn(1, 3, side, side), {}
    points = torch.tensor([[[[side * CLICK[0], side * CLICK[1]]]]])
    labels = torch.ones(1, 1, 1, dtype=torch.int64)

    def encode() -> None:
        held["image"] = network.get_image_embeddings(pixels)

    def click() -> Any:
        return network(
            image_embeddings=held["image"], input_points=points, input_labels=labels
        ).pred_masks

    return {"encode": encode, "click": click}


def sam_vit_b(weights: Path, image: np.ndarray, everything: bool) -> Steps:
    """SAM ViT-B of transformers."""
    package = import_offline("transformers")
    return of_transformers(package.SamModel(package.SamConfig()), 1024)


def sam2_tiny(weights: Path, image: np.ndarray, everything: bool) -> Steps:
    """SAM 2.1 tiny of transformers."""
    package = import_offline("transformers")
    video = package.Sam2VideoModel(package.Sam2VideoConfig())
    steps = of_transformers(package.Sam2Model(package.Sam2Config()), 1024)
    return steps | video_of_transformers(video, "sam2_video", "Sam2VideoInferenceSession")


class Backbone(nn.Module):
    """Our backbone of EdgeTAM, as transformers calls timm's."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = build("edgetam").image_encoder.trunk

    def forward(self, pixels: Tensor, **_: Any) -> SimpleNamespace:
        """Maps, the largest first."""
        return SimpleNamespace(last_hidden_state=list(self.trunk(pixels)), hidden_states=None)


def edgetam(weights: Path, image: np.ndarray, everything: bool) -> Steps:
    """EdgeTAM of transformers with our backbone."""
    package = import_offline("transformers")
    auto = importlib.import_module("transformers.models.auto.modeling_auto").AutoModel
    made = auto.from_config

    def from_config(config: Any, **settings: Any) -> Any:
        return Backbone() if config.model_type == "timm_wrapper" else made(config, **settings)

    with mock.patch.object(auto, "from_config", from_config):
        steps = of_transformers(package.EdgeTamModel(package.EdgeTamConfig()), 1024)
        video = package.EdgeTamVideoModel(package.EdgeTamVideoConfig())
    return steps | video_of_transformers(video, "edgetam_video", "EdgeTamVideoInferenceSession")


def video_of_transformers(network: Any, module: str, session: str) -> Steps:
    """A frame of a video, preprocessed already."""
    code = importlib.import_module(f"transformers.models.{module}.modeling_{module}")
    network.eval()
    held = getattr(code, session)(
        video=torch.randn(1, 3, 1024, 1024), video_height=534, video_width=800, dtype=torch.float32
    )
    number = 0
    for place in PLACES:
        index = held.obj_id_to_idx(len(held.obj_ids))
        point = {
            "point_coords": torch.tensor([[[[1024 * side for side in place]]]]),
            "point_labels": torch.ones(1, 1, 1, dtype=torch.int32),
        }
        held.add_point_inputs(index, 0, point)
        held.obj_with_new_inputs.append(held.obj_ids[index])

    def step() -> None:
        nonlocal number
        held.processed_frames[number] = held.processed_frames[0]
        network(inference_session=held, frame_idx=number)
        number += 1

    with torch.inference_mode():
        step()  # the clicks
    return {"video frame": step}


def own_module(name: str, weights: Path, image: np.ndarray, everything: bool) -> Steps:
    """The encoder of our PyTorch module as it is trained: nothing is folded or converted."""
    module: Any = build(name).eval()
    side = module.spec.image_side
    pixels = torch.randn(1, 3, side, side)
    return {"encode": lambda: module.encode(pixels)}


PEERS: dict[str, tuple[str, Callable[[Path, np.ndarray, bool], Steps]]] = {
    "mobile_sam": ("MobileSAM's own code", mobile_sam),
    "sam_vit_b": ("transformers", sam_vit_b),
    "sam2.1_hiera_t": ("transformers", sam2_tiny),
    "edgetam": ("transformers", edgetam),
}
OTHERS = ("sam_hq_vit_tiny", "edge_sam", "efficient_sam_ti", "sam_med2d_b", "efficienttam_ti")
PEERS |= {name: ("unfolded PyTorch modules", partial(own_module, name)) for name in OTHERS}


def ours(name: str, weights: Path, image: np.ndarray, everything: bool) -> Steps:
    """The same steps of anymask's default on a CPU; preprocessed images, but for MobileSAM."""
    model = anymask.load(name, weights, device="cpu", convert=True)
    features = model.encode(image)
    held: dict[str, Any] = {}
    point = np.array([CLICK]) * image.shape[1::-1]
    side = model.runtime.spec.image_side
    pixels = np.random.default_rng(0).standard_normal((1, 3, side, side)).astype(np.float32)

    def encode() -> None:
        if name != "mobile_sam":
            held["seen"] = replace(features, encoder_output=model.runtime.encode_images(pixels)[0])
        else:
            held["seen"] = model.encode(image)

    steps: Steps = {
        "encode": encode,
        "click": lambda: model.segment(held["seen"], points=point).best.mask,
    }
    if model.runtime.video is not None:
        steps |= our_video(model)
    every = {"mode": "exact", "score": 0.0, "stability": 0.0}
    return steps | ({"everything": lambda: model.everything(image, **every)} if everything else {})


def our_video(model: Any) -> Steps:
    """A frame of a video, preprocessed already."""
    runtime = model.runtime
    video, side = require(runtime, runtime.video, "video steps"), runtime.spec.image_side
    image = np.random.default_rng(0).standard_normal((3, side, side)).astype(np.float32)
    frame, number = video.encode_frame(image), 0
    banks = []
    for place in PLACES:
        point = np.array([place], np.float32) * side
        first = video.answer_points(frame, point, np.ones(1, np.int64), None)
        banks.append(video.remember(frame, None, first.handles[0], (0, False), True))

    def step() -> None:
        nonlocal number
        number += 1
        features = video.encode_frame(image)
        found = video.step_video(features, banks, number, False)
        for place, handle in enumerate(found.handles):
            banks[place] = video.remember(features, banks[place], handle, (number, False), False)

    return {"video frame": step}


def made_weights(name: str, recipe: Path, folder: Path) -> Path:
    """A checkpoint of the recipe's weights."""
    sys.path.insert(0, str(recipe))
    try:
        code = importlib.import_module("recipe")
    finally:
        sys.path.remove(str(recipe))
    arrays = code.fill(code.shapes(name))
    state = {key: torch.from_numpy(np.asarray(value)) for key, value in arrays.items()}
    path = folder / f"{name}.pt"
    if not path.exists():
        torch.save({"model": state} if name.startswith(("sam2", "edgetam")) else state, path)
    return path


def large_product() -> Callable[[], Any]:
    """Return a function that multiplies matrices of `LIMIT` x `LIMIT` by ONNX Runtime.

    The second matrix is constant, as the weights of a network are. The number of threads is that
    of torch.
    """
    ort, shape = import_offline("onnxruntime"), [LIMIT, LIMIT]
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])], "product",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(values, "b")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content, providers = model.SerializeToString(), ["CPUExecutionProvider"]
    session = ort.InferenceSession(content, options, providers=providers)
    return lambda: session.run(None, {"a": values})


def compare(
    name: str, weights: Path, image: np.ndarray, turns: int, everything: bool, clock: Clock
) -> list[dict[str, Any]]:
    """A row of each step: median seconds of both, and the median of the ratios of the turns."""
    peer, make = PEERS[name]
    # Floating-point operations of our encoder for one image, as torch counts them.
    module: Any = build(name).eval().to("meta")
    length = module.spec.image_side
    with torch.no_grad(), FlopCounterMode(display=False) as count:
        module.encode(torch.zeros(1, 3, length, length, device="meta"))
    product, times = large_product(), int(count.get_total_flops()) / (2 * LIMIT**3)
    everything = everything and name == "mobile_sam"
    sides = make(weights, image, everything), ours(name, weights, image, everything)
    spent: dict[str, list[tuple[float, float]]] = {}
    shares: list[float] = []
    with torch.inference_mode():
        for turn in range(turns + 1):
            for step, call in _calls(sides[0], turn):
                limits = [_seconds(product, clock) for _ in range(AROUND) if step == "encode"]
                pair = [_seconds(side[call], clock) for side in sides]
                if turn:  # the first turn warms up
                    spent.setdefault(step, []).append((pair[0], pair[1]))
                if turn and step == "encode":
                    limits += [_seconds(product, clock) for _ in range(AROUND)]
                    shares.append(times * statistics.mean(limits) / pair[1])
    return [
        {
            "model": name, "step": step, "peer": peer,
            "peer_s": statistics.median(one[0] for one in pairs),
            "ours_s": statistics.median(one[1] for one in pairs),
            "times": statistics.median(one[0] / one[1] for one in pairs),
            "roofline": statistics.median(shares) if step == "encode" else None,
        }
        for step, pairs in spent.items()
    ]  # fmt: skip


def _calls(side: Steps, turn: int) -> list[tuple[str, str]]:
    """The steps of a turn: what each is called in the table, and what is run."""
    steps = [("encode", "encode")]
    if "click" in side:
        steps += [("first click", "click")] + [("click", "click")] * (CLICKS - 1)
    if "video frame" in side:
        steps += [("video frame", "video frame")] * FRAMES
    if "everything" in side and turn == 1:  # once: it takes a hundred times as long
        steps.append(("everything", "everything"))
    return steps


def _seconds(call: Callable[[], Any], clock: Clock) -> float:
    began = clock()
    call()
    return clock() - began


def to_table(rows: list[dict[str, Any]]) -> str:
    """The Markdown table of `docs/reference/results-speed.md`."""
    names = ("model", "step", "other code", "its time", "our time", "speed-up", "of the limit")
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    for row in rows:
        times = (f"{1e3 * row[key]:.0f} ms" for key in ("peer_s", "ours_s"))
        share = "" if row["roofline"] is None else f"{row['roofline']:.0%}"
        cells = (row["model"], row["step"], row["peer"], *times, f"{row['times']:.1f}x", share)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", type=Path, required=True, help="folder with recipe.py")
    parser.add_argument("--image", type=Path, help="an image; default: noise of 800 x 534 pixels")
    parser.add_argument("--models", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--turns", type=int, default=5, help="alternating runs (default: 5)")
    parser.add_argument("--everything", action="store_true", help="also automatic masks")
    parser.add_argument("--one-thread", action="store_true", help="processor time of one thread")
    parser.add_argument("--weights", type=Path, default=Path("peers-weights"), help="folder")
    parser.add_argument("-o", "--out", type=Path, help="write the rows as JSON")
    given = parser.parse_args(arguments)
    given.weights.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(0).integers(0, 256, (534, 800, 3), np.uint8)
    if given.image is not None:
        image = np.asarray(Image.open(given.image).convert("RGB").resize((800, 534)))
    rows: list[dict[str, Any]] = []
    clock: Clock = time.process_time if given.one_thread else time.perf_counter
    if given.one_thread:
        torch.set_num_threads(1)
    for name in given.models:
        weights = made_weights(name, given.recipe, given.weights)
        with thread_setting(1 if given.one_thread else None):
            rows += compare(name, weights, image, given.turns, given.everything, clock)
        print(to_table(rows), flush=True)
    if given.out is not None:
        write_json(given.out, {"machine": this_machine().line(), "rows": rows})


if __name__ == "__main__":
    main()
