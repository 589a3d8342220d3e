"""Scripts that were written for segment-anything run with `anymask.sam`, and give its outputs."""

import cv2
import numpy as np
import pytest
import torch

import anymask
from anymask.base import InputError, PromptError, WeightsError
from anymask.masks import coco_to_rle, rle_to_mask
from anymask.sam import (
    ResizeLongestSide,
    SamAutomaticMaskGenerator,
    SamModel,
    SamPredictor,
    build_sam,
    build_sam_vit_b,
    pipeline,
    sam_model_registry,
)
from anymask.segment import Model
from tests.segment.fakes import SPEC, ColorRuntime, discs, iou

DISCS, (LEFT, RIGHT) = discs((80, 120), [(35, 40, 25), (95, 40, 16)])
KEYS = {
    "segmentation", "area", "bbox", "predicted_iou", "point_coords", "stability_score", "crop_box",
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Model:
    return anymask.load()


# The predictor's example, with its own names and order of steps.


def test_the_predictor_example_runs_as_it_is_written() -> None:
    image = cv2.cvtColor(cv2.imread(str(anymask.sample("coffee"))), cv2.COLOR_BGR2RGB)
    sam = sam_model_registry["nano"]()
    sam.to(device="cpu")
    predictor = SamPredictor(sam)
    assert repr(predictor) == "<SamPredictor: 'nano', no image>"
    predictor.set_image(image)
    assert repr(predictor) == "<SamPredictor: 'nano', an image of 600x400>"

    input_point = np.array([[290, 120]])
    input_label = np.array([1])
    masks, scores, logits = predictor.predict(
        point_coords=input_point, point_labels=input_label, multimask_output=True
    )
    assert masks.shape == (3, 400, 600)
    assert masks.dtype == np.bool_
    assert scores.shape == (3,)
    assert logits.dtype == np.float32

    input_point = np.array([[290, 120], [60, 60]])
    input_label = np.array([1, 0])
    mask_input = logits[np.argmax(scores), :, :]
    masks, _, _ = predictor.predict(
        point_coords=input_point,
        point_labels=input_label,
        mask_input=mask_input[None, :, :],
        multimask_output=False,
    )
    assert masks.shape == (1, 400, 600)

    input_box = np.array([170, 12, 415, 312])
    masks, _, _ = predictor.predict(
        point_coords=None, point_labels=None, box=input_box[None, :], multimask_output=False
    )
    assert masks.shape == (1, 400, 600)


def test_a_batch_of_boxes_runs_as_the_predictor_example_writes_it(model: Model) -> None:
    image = anymask.load_image(anymask.sample("coffee"))
    predictor = SamPredictor(model)
    predictor.set_image(image)
    masks, _, _ = predictor.predict(box=np.array([170, 12, 415, 312]), multimask_output=False)

    input_boxes = torch.tensor([[170, 12, 415, 312], [10, 10, 100, 100]], device=predictor.device)
    transformed_boxes = predictor.transform.apply_boxes_torch(input_boxes, image.shape[:2])
    batch, _, _ = predictor.predict_torch(
        point_coords=None, point_labels=None, boxes=transformed_boxes, multimask_output=False
    )
    assert batch.shape == (2, 1, 400, 600)
    assert batch.dtype == torch.bool
    np.testing.assert_array_equal(batch[0].cpu().numpy(), masks)

    image_embedding = predictor.get_image_embedding().cpu().numpy()
    assert image_embedding.shape[0] == 1


def test_the_end_of_the_predictor_example_asks_about_several_photos_at_once() -> None:
    sam = sam_model_registry["nano"]()
    resize_transform = ResizeLongestSide(sam.image_encoder.img_size)

    def prepare_image(image: np.ndarray) -> torch.Tensor:
        resized = resize_transform.apply_image(image)
        return torch.as_tensor(resized, device=sam.device).permute(2, 0, 1).contiguous()

    images = [anymask.load_image(anymask.sample(name)) for name in ("coffee", "cat")]
    boxes = [
        torch.tensor([[170, 12, 415, 312], [10, 10, 100, 100]], device=sam.device),
        torch.tensor([[110, 20, 310, 280]], device=sam.device),
    ]
    batched_input = [
        {
            "image": prepare_image(image),
            "boxes": resize_transform.apply_boxes_torch(these, image.shape[:2]),
            "original_size": image.shape[:2],
        }
        for image, these in zip(images, boxes, strict=True)
    ]
    batched_output = sam(batched_input, multimask_output=False)
    assert [out["masks"].shape for out in batched_output] == [(2, 1, 400, 600), (1, 1, 300, 451)]
    assert batched_output[0].keys() == {"masks", "iou_predictions", "low_res_logits"}
    for image, these, out in zip(images, boxes, batched_output, strict=True):
        predictor = SamPredictor(sam)
        predictor.set_image(image)
        for box, mask in zip(these, out["masks"], strict=True):
            expected, _, _ = predictor.predict(box=box.numpy(), multimask_output=False)
            assert iou(mask[0].numpy(), expected[0]) > 0.8  # the photo was resized by other means


# The automatic mask generator's example.


def test_the_generator_example_runs_as_it_is_written(model: Model) -> None:
    image = cv2.cvtColor(cv2.imread(str(anymask.sample("cat"))), cv2.COLOR_BGR2RGB)
    mask_generator = SamAutomaticMaskGenerator(SamModel(model), points_per_side=8)
    masks = mask_generator.generate(image)
    assert masks
    assert masks[0].keys() == KEYS
    for ann in sorted(masks, key=lambda x: x["area"], reverse=True):
        m = ann["segmentation"]
        assert m.shape == image.shape[:2]
        assert m.dtype == np.bool_
        assert int(m.sum()) == ann["area"]
        x, y, w, h = ann["bbox"]
        rows, columns = np.nonzero(m)
        assert (x, y, x + w, y + h) == (
            columns.min(), rows.min(), columns.max(), rows.max(),
        )  # fmt: skip
        assert ann["crop_box"] == [0, 0, 451, 300]

    mask_generator_2 = SamAutomaticMaskGenerator(
        model=SamModel(model),
        points_per_side=8,
        pred_iou_thresh=0.3,
        stability_score_thresh=0.5,
        crop_n_layers=1,
        crop_n_points_downscale_factor=2,
        min_mask_region_area=100,
    )
    masks2 = mask_generator_2.generate(image)
    assert masks2
    assert all(ann["predicted_iou"] > 0.3 for ann in masks2)
    boxes = {tuple(ann["crop_box"]) for ann in masks2}
    assert all(0 <= x < 451 and 0 <= y < 300 for x, y, _, _ in boxes)


# The outputs in detail, on pictures whose answers are known.


def test_masks_come_in_the_model_s_own_order_and_as_logits() -> None:
    predictor = SamPredictor(Model(ColorRuntime()))
    predictor.set_image(DISCS)
    assert predictor.original_size == (80, 120)
    assert predictor.input_size == (85, 128)
    masks, scores, _ = predictor.predict(np.array([[35, 40]]), np.array([1]))
    assert scores.tolist() != sorted(scores.tolist(), reverse=True)  # token 1, 2, 3
    assert masks.sum(axis=(1, 2)).tolist() == sorted(masks.sum(axis=(1, 2)).tolist())
    logits, _, _ = predictor.predict(np.array([[35, 40]]), np.array([1]), return_logits=True)
    np.testing.assert_array_equal(logits > 0, masks)


def test_colours_may_be_those_of_opencv() -> None:
    right, wrong = SamPredictor(Model(ColorRuntime())), SamPredictor(Model(ColorRuntime()))
    right.set_image(DISCS)
    wrong.set_image(np.ascontiguousarray(DISCS[..., ::-1]), image_format="BGR")
    for one, two in zip(*(p.predict(box=[75, 20, 115, 60]) for p in (right, wrong)), strict=True):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(InputError, match="Invalid image_format 'GBR'"):
        right.set_image(DISCS, "GBR")


def test_a_photo_may_be_resized_already() -> None:
    image = anymask.load_image(anymask.sample("coffee"))
    predictor = SamPredictor("nano")
    predictor.set_image(image)
    size = predictor.original_size, predictor.input_size
    expected, _, _ = predictor.predict(box=np.array([170, 12, 415, 312]), multimask_output=False)
    predictor.reset_image()
    resized = torch.as_tensor(predictor.transform.apply_image(image)).permute(2, 0, 1)[None]
    predictor.set_torch_image(resized.float(), image.shape[:2])
    assert (predictor.original_size, predictor.input_size) == size
    boxes = predictor.transform.apply_boxes_torch(torch.tensor([[170, 12, 415, 312]]), (400, 600))
    masks, _, _ = predictor.predict_torch(None, None, boxes, multimask_output=False)
    assert iou(masks[0, 0].numpy(), expected[0]) > 0.95  # by other means, so other last bits
    for wrong in (resized[0], resized[..., :-1], resized.expand(2, -1, -1, -1)):
        with pytest.raises(InputError, match=r"\(1, 3, h, w\) with a longer side of 512"):
            predictor.set_torch_image(wrong, image.shape[:2])


def test_tensors_of_points_and_masks_are_prompts_too() -> None:
    predictor = SamPredictor(Model(ColorRuntime()))
    predictor.set_image(DISCS)
    places = torch.tensor([[[35.0, 40], [0, 0]], [[95, 40], [0, 0]]])
    coords = predictor.transform.apply_coords_torch(places, (80, 120))
    labels = torch.tensor([[1, -1], [1, -1]])  # the second is no point
    masks, quality, low = predictor.predict_torch(coords, labels)
    assert masks.shape == (2, 3, 80, 120)
    assert quality.shape == (2, 3)
    for found, truth in zip(masks[:, 1], (LEFT, RIGHT), strict=True):
        assert iou(found.numpy(), truth) > 0.85
    again, _, _ = predictor.predict_torch(None, None, None, low[:, 1:2], False)
    assert again.shape == (2, 1, 80, 120)
    with pytest.raises(InputError, match="prompt batch is empty"):
        predictor.predict_torch(None, None)


def test_tensors_of_differing_numbers_of_objects_are_refused() -> None:
    predictor = SamPredictor(Model(ColorRuntime()))
    predictor.set_image(DISCS)
    coords, labels = torch.tensor([[[35.0, 40]], [[95, 40]]]), torch.tensor([[1], [1]])
    boxes = torch.tensor([[10.0, 10, 60, 70], [70, 10, 110, 70], [5, 5, 90, 70]])
    masks = predictor.predict_torch(coords, labels)[2]
    for given in (
        (coords, labels, boxes),  # two and three: the third was passed over
        (coords, labels[:1]),
        (coords[:, 0], labels[:, 0]),  # no axis of points
        (coords, labels, None, masks[:1, :1]),
    ):
        with pytest.raises(InputError, match=r"Invalid prompt batch: \("):
            predictor.predict_torch(*given)
    assert predictor.predict_torch(None, None, boxes[0])[0].shape == (1, 3, 80, 120)
    with pytest.raises(PromptError, match=r"mask prompt of shape \(3, "):
        predictor.predict_torch(coords, labels, mask_input=masks)
    with pytest.raises(PromptError, match=r"logits\[i : i \+ 1\]"):
        predictor.predict(mask_input=masks[0].numpy())


def test_a_prompt_before_the_photo_says_so() -> None:
    predictor = SamPredictor(Model(ColorRuntime()))
    assert not predictor.is_image_set
    with pytest.raises(InputError, match=r"Call .set_image\(...\)"):
        predictor.predict(np.array([[1, 1]]), np.array([1]))
    predictor.set_image(DISCS)
    assert predictor.is_image_set
    with pytest.raises(PromptError, match="outside the image"):
        predictor.predict(np.array([[1000, 1]]), np.array([1]))
    predictor.reset_image()
    assert not predictor.is_image_set


@pytest.mark.parametrize("mode", ["binary_mask", "uncompressed_rle", "coco_rle"])
def test_the_three_output_modes_hold_the_same_masks(mode: str) -> None:
    model = Model(ColorRuntime())
    records = model.everything(DISCS, mode="exact", grid=4, points_per_batch=64)
    generator = SamAutomaticMaskGenerator(model, points_per_side=4, output_mode=mode)
    for told, record in zip(generator.generate(DISCS), records, strict=True):
        assert told.keys() == KEYS
        found = told["segmentation"]
        mask = found if mode == "binary_mask" else rle_to_mask(coco_to_rle(found))
        np.testing.assert_array_equal(mask, record.mask)


def test_what_is_not_taken_is_said() -> None:
    model = Model(ColorRuntime())
    with pytest.raises(InputError, match="point grids are not supported"):
        SamAutomaticMaskGenerator(model, points_per_side=None, point_grids=[np.zeros((1, 2))])
    with pytest.raises(InputError, match="Invalid output_mode"):
        SamAutomaticMaskGenerator(model, output_mode="rle")
    with pytest.raises(InputError, match=r"Pass anymask.load\(...\)"):
        SamPredictor(SPEC)
    with pytest.raises(InputError, match="Unknown task"):
        pipeline("depth-estimation")


def test_the_pipeline_answers_with_masks_and_scores() -> None:
    model = Model(ColorRuntime())
    generator = pipeline("mask-generation", model=model)
    outputs = generator(DISCS, points_per_batch=16, points_per_crop=4)
    records = model.everything(DISCS, grid=4)
    assert outputs.keys() == {"masks", "scores"}
    assert len(outputs["masks"]) == len(outputs["scores"]) == len(records)
    np.testing.assert_array_equal(outputs["masks"][0], records[0].mask)
    assert [len(one["masks"]) for one in generator([DISCS, DISCS], points_per_crop=4)] == [
        len(records),
        len(records),
    ]


def test_the_registry_names_the_catalogue() -> None:
    from anymask.runtime.catalogue import names

    assert {one.args[0] for one in sam_model_registry.values()} <= set(names())  # type: ignore[attr-defined]


def test_segment_anything_s_builders_open_its_own_models() -> None:
    """Its `build_sam` is ViT-H and takes the checkpoint alone."""
    with pytest.raises(WeightsError, match=r"not found: a\.pth, for sam_vit_h"):
        build_sam(checkpoint="a.pth")
    with pytest.raises(WeightsError, match=r"not found: a\.pth, for sam_vit_b"):
        build_sam_vit_b("a.pth")
