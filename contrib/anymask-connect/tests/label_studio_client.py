"""Label Studio's own code in front of ours: run as a program with label-studio-sdk on the path.

It asks a server as Label Studio asks its models, holds what comes back against the labelling
configuration, decodes and encodes brushes, and converts our exports. What it saw goes into
`verdict.json`; `test_label_studio_sdk.py` judges. It imports nothing of ours.

    python label_studio_client.py JOB.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx
import numpy as np
from label_studio_sdk.converter import Converter, brush
from label_studio_sdk.label_interface import LabelInterface
from label_studio_sdk.label_interface.objects import PredictionValue

ANY_BRUSH = [0, 1]  # what the SDK's check of brush bytes takes for some; see `errors_of`


def main(path: Path) -> None:
    job = json.loads(path.read_text("utf-8"))
    out = path.parent
    verdict = {
        "server": ask_server(job["server"], job["config"], job["asked"], out),
        "exports": {name: convert(name, **one, out=out) for name, one in job["exports"].items()},
        "own": own_brush(job["mask"], job["exports"]["brush"]["config"], out),
    }
    (out / "verdict.json").write_text(json.dumps(verdict), "utf-8")


def ask_server(server: str, config: str, asked: list[dict], out: Path) -> dict:
    """The addresses of a model, and each prompt's prediction."""
    interface = LabelInterface(config)
    interface.validate()
    with httpx.Client(base_url=server, timeout=300, trust_env=False) as http:
        setup = {"project": "1.1700000000", "schema": config, "hostname": server}
        told = {
            "health": http.get("/health").json(),
            "setup": http.post("/setup", json=setup).json(),
            "train": http.post("/train", json={"annotations": [], "project": "1.17"}).status_code,
            "webhook": http.post("/webhook", json={"action": "PROJECT_UPDATED"}).status_code,
        }
        answers = []
        for number, one in enumerate(asked):
            params = {"login": None, "password": None, "context": {"result": one["regions"]}}
            body = {"tasks": [one["task"]], "model_version": None, "project": "1.17"}
            body |= {"label_config": config, "params": params}
            reply = http.post("/predict", json=body)
            (found,) = reply.raise_for_status().json()["results"]
            answers.append(look_at(found, interface, out / f"answer-{number}.npy"))
            answers[-1]["task"] = interface.validate_task({"data": one["task"]["data"]})
    return told | {"answers": answers}


def look_at(prediction: dict, interface: LabelInterface, decoded: Path) -> dict:
    """Validate a prediction of one brush region, and save the pixels (H, W, 4) of its bytes."""
    whole = PredictionValue(**prediction)
    (region,) = whole.result
    rle, size = region["value"]["rle"], (region["original_height"], region["original_width"], 4)
    pixels = brush.decode_rle(rle).reshape(size)
    np.save(decoded, pixels)
    return {
        "score": whole.score,
        "model_version": whole.model_version,
        "errors": errors_of(interface, prediction),
        "same_bytes": brush.mask2rle(pixels[..., 3]) == rle,
    }


def errors_of(interface: LabelInterface, prediction: dict) -> dict[str, list[str]]:
    """What the SDK finds wrong: as it is, and without the bytes of its brushes.

    Its check of the bytes wants pairs with a second number above 0, which the bytes that its own
    encoder writes are not.
    """
    regions = [
        region | {"value": region["value"] | {"rle": ANY_BRUSH}}
        if region["type"] == "brushlabels"
        else region
        for region in prediction["result"]
    ]
    bare = prediction | {"result": regions}
    return {
        "whole": interface.validate_prediction(prediction, return_errors=True),
        "but_bytes": interface.validate_prediction(bare, return_errors=True),
    }


def convert(name: str, tasks: str, predictions: str, config: str, out: Path) -> dict:
    """Our annotations through the SDK's converter; our predictions through its check."""
    interface = LabelInterface(Path(config).read_text("utf-8"))
    interface.validate()
    converter = Converter(config, project_dir=None, download_resources=False)
    for kind in ("BRUSH_TO_PNG", "BRUSH_TO_COCO") if name == "brush" else ("COCO",):
        (out / kind).mkdir()
        converter.convert(tasks, str(out / kind), kind, is_dir=False)
    errors = {"whole": [], "but_bytes": []}
    for path, key in ((tasks, "annotations"), (predictions, "predictions")):
        for task in json.loads(Path(path).read_text("utf-8")):
            for one in task[key]:
                for kind, found in errors_of(interface, one).items():
                    errors[kind] += found
    return {"formats": converter.supported_formats, "errors": errors}


def own_brush(mask: str, config: str, out: Path) -> dict:
    """A task with the SDK's own brush, and what its own check says of it."""
    annotation = brush.image2annotation(mask, "a ring", "tag", "image")
    task = {"id": 1, "data": {"image": "rings.png"}, "annotations": [annotation]}
    (out / "own.json").write_text(json.dumps([task]), "utf-8")
    interface = LabelInterface(Path(config).read_text("utf-8"))
    return errors_of(interface, annotation)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
