"""Names of other tools (segment-anything, transformers, Ultralytics) and the names here."""

from __future__ import annotations


def _by_other_name(table: dict[str, str]) -> dict[str, str]:
    """Return the own name for each other one, from a table of own names with the others."""
    return {other: own for own, others in table.items() for other in others.split()}


COMMAND_WORDS = _by_other_name(
    {
        "segment": "predict click mask refine sam",
        "cutout": "cut rembg matting",
        "redact": "anonymize anonymise",
        "boxes": "bbox2segment box2mask",
        "everything": "auto amg generate all",
        "find": "detect search ground",
        "encode": "embed",
        "models": "download list",
        "annotate": "label app gui",
        "finetune": "fine-tune",
        "distill": "distil",
        "evaluate": "val eval test score",
        "project": "engine",
        "bench": "benchmark",
        "track": "video propagate",
        "volume": "scan ct dicom nifti",
        "points": "cloud pointcloud lidar",
        "serve": "server",
    }
)
OPTION_WORDS = _by_other_name(
    {
        "--point": "--click --coords --point-coords --input-point --fg --positive",
        "--negative": "--bg --background",
        "--box": "--bboxes --input-box --rect",
        "--weights": "--checkpoint --ckpt",
        "--model": "--model-type",
        "--output": "--out --out-dir --output-dir --save-dir --mask-png --overlay",
        "--every": "--fps",
        "--max-hole-area": "--min-mask-region-area",
        "--to": "--format --output-format",
        "--bands": "--channel --channels",
        "--page": "--frame --slice",
        "--workers": "--jobs --num-workers",
        "--score": "--conf",
        "--color": "--colour",
        "--colors": "--colours",
        "--image": "--photo",
        "--images": "--photos",
        "--samples": "--pictures",
        "--limit": "--most",
        "--dominant-kind": "--alike",
        "--max-containment": "--contained",
        "--nms-iou": "--iou",
        "--unlabeled": "--unlabelled",
    }
)
# Arguments; the replacement begins with the keyword of this package.
ARGUMENTS = _by_other_name(
    {
        "points=[(x, y), ...]": "point_coords input_points",
        "points=[(x, y)]": "point",
        "point_labels=[1, 0, ...]": "labels input_labels",
        "labels=[1, 0, ...]": "point_labels",
        "box=(x0, y0, x1, y1)": "bbox",
        "boxes=[(x0, y0, x1, y1), ...]": "bboxes input_boxes",
        "mask=prediction.logits[0]": "mask_input input_masks",
        "mask=, or refine(image, mask)": "masks",
        'multimask=True, False or "auto"': "multimask_output",
        "score=, the minimum confidence score": "conf",
        "score=": "pred_iou_thresh",
        "format=": "form",
        "dominant_kind=": "alike",
        "max_containment=": "contained",
        "nms_iou=": "iou",
        "target_format=": "to",
        "stability=": "stability_score_thresh",
        "grid=": "points_per_side points_per_crop",
        "bgr=True for arrays from cv2.imread": "image_format",
        "min_mask_area=": "min_area",
        "progress=True": "verbose",
        "weights=, a file": "checkpoint",
        "name=, a name listed by `anymask models list`": "model_type model",
        'precision="fp16"': "half",
        "min_score=": "min_quality",
        "color=": "colour",
        "colors=": "colours",
        "samples=": "pictures",
        "replace=True": "anew",
        'precision="bf16"': "dtype torch_dtype",
    }
)
# Arguments that have no keyword here, and what to use.
NO_ARGUMENTS = {
    "return_logits": "the attribute `logits` of the prediction",
    "output_mode": "masks.to_sa1b(output_mode=...) on the result",
    "imgsz": 'part of the name: anymask.load("NAME@640")',
    "text": "find(image, text), or suggest_labels to name a mask",
    "texts": "find(image, text), or suggest_labels to name a mask",
}

_API = "for the segment-anything API"
_PREDICT = f"Use segment(image, points=...), or anymask.sam.SamPredictor(model) {_API}."
_LOAD = 'Use anymask.load(name, device="cuda").'
_SCORES = "Use score of a mask, such as prediction.best.score, or scores."
_BOXES = "Use xyxy of a mask or of masks (pixel edges), or box (first and last pixel)."
_PIXELS = "Use mask, an array (H, W) of bool, or masks, an array (N, H, W)."
_LABELS = "Use label of a mask, or labels of masks."
_SHOW = "Use draw() or show()."
_OF_MASKS = {
    **dict.fromkeys(("score", "conf", "confidence", "predicted_iou", "iou_predictions"), _SCORES),
    **dict.fromkeys(("box", "boxes", "bbox", "xyxy", "xywh"), _BOXES),
    **dict.fromkeys(("data", "numpy", "to_numpy", "cpu", "segmentation"), _PIXELS),
    **dict.fromkeys(("label", "name", "names", "cls", "class_id"), _LABELS),
    **dict.fromkeys(("plot", "plot_masks"), _SHOW),
    "area": "Use area of a mask, such as prediction.best.area, or areas of masks.",
    "crop": "Use model.cutout(image, mask=mask, crop=True).",
    "iou": "Use anymask.masks.mask_iou with arrays (N, H, W) of masks.",
    "xy": "Use polygons() of a mask.",
    "low_res_masks": "Use logits of a prediction.",
    "stability_score": "Use stability of a mask.",
}
# Attributes by class of this package, with the remedy.
ATTRIBUTES = {
    "Mask": _OF_MASKS,
    "Masks": _OF_MASKS,
    "Prediction": _OF_MASKS,
    "VideoSession": {
        "add_new_points_or_box": "Use add(frame=, id=, points=, labels=, box=).",
        "add_new_mask": "Use add(frame=, id=, mask=).",
        "propagate_in_video": "Iterate over the session, or use propagate().",
        "remove_object": "Use remove(id).",
        "reset_state": "Open a new session with model.track(video).",
    },
    "Model": {
        "set_image": "Use encode(image) and segment(features, ...), or "
        f"anymask.sam.SamPredictor(model) {_API}.",
        "predict": _PREDICT,
        "predict_torch": _PREDICT,
        "generate": "Use everything(image), or anymask.sam.SamAutomaticMaskGenerator(model) "
        f"{_API}.",
        "to": _LOAD,
        "cpu": _LOAD,
        "cuda": _LOAD,
        "half": 'Use anymask.load(name, precision="fp16").',
        "dtype": "Use precision.",
        "eval": "No call is required, because models are always in inference mode.",
        "add_new_points_or_box": "Use track(video) and the prompts of its session.",
        "propagate_in_video": "Use track(video) and the masks of its session.",
    },
}
