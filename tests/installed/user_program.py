"""What a user writes, with every type said: a type checker must agree with each line."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import anymask
from anymask import Features, Mask, Masks, Model, Prediction, Prompt
from anymask import errors as anymask_errors
from anymask.sam import SamAutomaticMaskGenerator, SamPredictor


def click(model: Model, image: Path) -> NDArray[np.bool_]:
    embedding: Features = model.encode(image)
    answer: Prediction = model.segment(embedding, points=[(290, 120)], point_labels=[1])
    best: Mask = answer.best
    first: Mask = answer[0]
    some: Prediction = answer[:2]
    toss: bool = answer.ambiguous
    saved: Path = answer.save("cup.png")
    assert isinstance(saved, Path)
    assert len(some) >= 1
    assert toss or best is first
    assert best.area >= 0
    qualities: list[float] = [one.score for one in answer]
    assert len(qualities) == len(answer)
    return answer.masks


def several(model: Model, image: str) -> list[Prediction]:
    boxes: Masks = model.segment(image, boxes=[(1, 2, 30, 40)], names=["cup"], multimask=False)
    assert boxes.labels == ["cup"]
    return model.segment(image, prompts=[Prompt.of(box=(1, 2, 30, 40))])


def everything(model: Model, image: Path) -> Masks:
    found: Masks = model.everything(image, grid=8, progress=True)
    for records in model.everything([image], grid=8):
        found = found.merge(records)
    coco: dict[str, Any] = found.to_coco()
    large: Masks = found.filter(min_area=100).nms(0.8)[:5]
    one: Mask = large[0]
    assert one.label is None
    assert coco
    return large


def compatible(model: Model) -> list[dict[str, Any]]:
    predictor = SamPredictor(model)
    predictor.set_image(np.zeros((30, 40, 3), np.uint8))
    masks, scores, logits = predictor.predict(point_coords=np.array([[3, 4]]))
    assert len(masks) == len(scores) == len(logits)
    return SamAutomaticMaskGenerator(model, points_per_side=4).generate(np.zeros((9, 9, 3)))


try:
    opened: Model = anymask.load()
    click(opened, anymask.sample("coffee"))
except anymask_errors.AnymaskError as error:
    print(error)
