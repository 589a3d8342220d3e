"""Weights into models: all of them, or a difference that a person can read."""

import pytest

torch = pytest.importorskip("torch", reason="models need torch")

from anymask import models  # noqa: E402 - after the skip
from anymask.base.errors import WeightsError  # noqa: E402
from anymask.runtime.checkpoints import MAX_DIFFERENCES, detect_variant, load_official, shapes_of  # noqa: E402


class Tiny(torch.nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.first = torch.nn.Linear(2, width)
        self.norm = torch.nn.BatchNorm1d(width)


def weights_of(model):
    generator = torch.Generator().manual_seed(3)
    return {
        name: torch.rand(value.shape, generator=generator).to(value.dtype)
        for name, value in model.state_dict().items()
    }


def meta(name):
    """A network's weights without their memory."""
    return {key: torch.empty(shape, device="meta") for key, shape in shapes_of(name).items()}


def test_prefixes_and_computed_constants_do_not_stand_in_the_way():
    model = Tiny()
    weights = {f"module.{name}": value for name, value in weights_of(model).items()}
    weights["module.pixel_mean"] = torch.zeros(3, 1, 1)
    weights["module.layers.0.attn.attention_bias_idxs"] = torch.zeros(4, 4)
    load_official(model, weights)
    assert torch.equal(model.first.bias, weights["module.first.bias"])


def test_a_counter_may_lie_in_a_list_of_one():
    model = torch.nn.BatchNorm2d(2)
    weights = weights_of(model) | {"num_batches_tracked": torch.tensor([7])}
    load_official(model, weights)
    assert model.num_batches_tracked.item() == 7


def test_half_precision_weights_keep_the_models_own_precision():
    model = Tiny()
    load_official(model, {k: v.half() for k, v in weights_of(model).items()})
    assert model.first.weight.dtype == torch.float32


def test_a_difference_names_what_is_missing_left_over_and_misshapen():
    model, weights = Tiny(), weights_of(Tiny())
    del weights["first.bias"]
    weights["second.bias"] = torch.zeros(5)
    weights["first.weight"] = torch.zeros(4, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(WeightsError) as error:
        load_official(model, weights)
    text = str(error.value)
    assert "do not fit Tiny. Tensors with another shape: 1, missing: 1, unexpected: 1" in text
    assert "shape     first.weight: the file has 4x2, Tiny requires 3x2" in text
    assert "missing   first.bias 3" in text
    assert "left over second.bias 5" in text
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_long_difference_is_cut_but_shows_each_sort():
    weights = {f"other.{i}": torch.zeros(1) for i in range(500)}
    weights["first.weight"] = torch.zeros(9)
    with pytest.raises(WeightsError, match=r"unexpected: 500") as error:
        load_official(Tiny(), weights)
    lines = str(error.value).splitlines()
    assert len(lines) <= MAX_DIFFERENCES + 2
    assert any(line.startswith("  ... and ") for line in lines)
    for sort in ("shape", "missing", "left over"):
        assert any(line.startswith(f"  {sort}") for line in lines)


@pytest.mark.parametrize("name", models.names())
def test_whose_weights_they_are_is_told_by_their_shapes(name):
    found = detect_variant(meta(name))
    assert found is not None
    assert shapes_of(found) == shapes_of(name)


def test_foreign_weights_belong_to_nobody():
    assert detect_variant(weights_of(Tiny())) is None


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        (meta("efficient_sam_ti"), "probably weights of efficient_sam_ti. Load"),
        (
            {"vision_encoder.pos_embed": torch.zeros(1)},
            "names are those of the transformers library",
        ),
    ],
)
def test_weights_of_another_network_are_named_in_the_error(weights, told):
    with torch.device("meta"):
        model = models.build("mobile_sam")
    with pytest.raises(WeightsError, match=told):
        load_official(model, weights)
