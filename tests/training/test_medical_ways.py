"""Medical SAM Adapter's bottlenecks and AutoSAM's head that prompts: alone they learn, and last."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import anymask
from anymask import models
from anymask.base import ConfigError, InputError
from anymask.models.bottlenecks import BRANCH_SCALE, Bottleneck, add_bottlenecks, has_bottlenecks
from anymask.models.class_head import PromptHead, add_class_head, class_logits
from anymask.models.fast import fits
from anymask.runtime import TorchRuntime, entry
from anymask.segment import Model
from anymask.training import LAST, check_method, trained_module, write_weights
from anymask.training.export_graphs import export_bundle
from anymask.training.loop import TrainingRun, train
from anymask.training.run_folder import read_state
from anymask.training.samples import batches
from anymask.training.step import TrainingStep
from anymask.training.trainee import build_trainee
from anymask.training.weights import load_start
from tests.training.small_data import small_recipe, write_named_sets
from tests.training.test_families import TINY, one_step
from tests.training.test_lora import answers

CLASSES = ("round", "square")
WITH_BLOCKS = [name for name in TINY if name != "nano_tiny"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_named_sets(tmp_path_factory.mktemp("data"))


def stirred(model: torch.nn.Module) -> torch.nn.Module:
    """The model with bottlenecks that change something."""
    torch.manual_seed(5)
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, Bottleneck):
                part.up.weight.normal_(std=0.1)
                part.down.bias.fill_(0.5)  # none of few units is dead
    return model


def speak_up(model: torch.nn.Module) -> None:
    """Have a new decoder say as much as one that learned."""
    with torch.no_grad():
        for name, one in model.named_parameters():
            if "hypernetworks" in name or "output_upscaling" in name:
                one.mul_(4)


@pytest.mark.parametrize("name", WITH_BLOCKS)
def test_new_bottlenecks_change_no_answer_and_each_of_them_counts(name: str) -> None:
    torch.manual_seed(0)
    model = models.build(name)
    before = answers(model, TINY[name])
    add_bottlenecks(model)
    for one, other in zip(before, answers(model, TINY[name]), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-6)
    last = answers(stirred(model), TINY[name])
    parts = [part for part in model.modules() if isinstance(part, Bottleneck)]
    for part in parts:  # without any one of them an answer is another
        kept = part.up.weight.detach().clone()
        with torch.no_grad():
            part.up.weight.zero_()
            changed = answers(model, TINY[name])
            part.up.weight.copy_(kept)
        assert any(not torch.equal(one, other) for one, other in zip(last, changed, strict=True))
    assert not fits(model)  # what is unrolled has no place for them


def test_a_block_is_that_of_the_paper() -> None:
    """x + a + up(relu(down(a))) with a = attention, then + MLP(n) + s * up(relu(down(n)))."""
    torch.manual_seed(0)
    model = stirred(_with_bottlenecks("tiny"))
    block = model.image_encoder.blocks[1]  # global attention
    x = torch.randn(1, 8, 8, 24)

    def narrow(part: torch.nn.Module, given: torch.Tensor) -> torch.Tensor:
        one = part.bottleneck
        assert one.down.out_features == 24 // 4
        inside = F.relu(given @ one.down.weight.t() + one.down.bias)
        return inside @ one.up.weight.t() + one.up.bias

    plain = models.build("tiny").image_encoder.blocks[1]
    own = {n: t for n, t in block.state_dict().items() if not has_bottlenecks([f".{n}"])}
    plain.load_state_dict(own)
    with torch.no_grad():
        a = plain.attn(plain.norm1(x))
        y = x + a + narrow(block.attn, a)
        n = plain.norm2(y)
        expected = y + plain.mlp(n) + BRANCH_SCALE * narrow(block.mlp, n)
        torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-5)


def _with_bottlenecks(name: str) -> torch.nn.Module:
    model = models.build(name)
    add_bottlenecks(model)
    return model


@pytest.mark.parametrize("learn", ["adapter", "no-prompt"])
def test_a_run_ends_with_weights_that_load_and_answer_alike(
    data: Path, tmp_path: Path, learn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {"tiny": replace(entry("sam_vit_b"), name="tiny", variant="tiny")}
    monkeypatch.setattr("anymask.runtime.catalogue.catalogue", lambda: named)
    recipe = replace(one_step("tiny", learn=learn), classes=CLASSES)
    recipe = replace(recipe, stages=(replace(recipe.stages[0], steps=3),), rate=1e-2, warmup=1)
    torch.manual_seed(recipe.seed)
    start = build_trainee(recipe, data).state_dict()
    train(recipe, TrainingRun(data, tmp_path))
    module = trained_module(read_state(tmp_path / LAST))
    moved = {n for n, one in module.state_dict().items() if not torch.equal(one, start[n])}
    added = ("class_head",)
    assert moved
    assert all(n.startswith(added) or has_bottlenecks([n]) for n in moved)
    assert any(has_bottlenecks([n]) for n in moved) == (learn == "adapter")
    file = tmp_path / "weights.safetensors"
    write_weights(file, module, recipe, {})
    again, model = anymask.load(str(file), device="cpu"), Model(TorchRuntime(module, device="cpu"))
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    assert again.label(image).classes == CLASSES
    assert (again.label(image).numbers == model.label(image).numbers).all()
    one, other = (it.segment(image, points=[(20, 20)]).first for it in (again, model))
    assert (one.shown_logits == other.shown_logits).all()
    more = models.build("tiny")
    load_start(more, file)  # to learn on: all but the head
    for name, tensor in more.state_dict().items():
        assert torch.equal(tensor, module.state_dict()[name]), name
    assert has_bottlenecks(more.state_dict()) == (learn == "adapter")


@pytest.mark.parametrize("name", ["tiny", "tiny_hq", "tiny_efficient", "tiny_video"])
def test_a_head_that_prompts_learns_a_map_while_the_model_stays(name: str, data: Path) -> None:
    torch.manual_seed(1)
    recipe = replace(one_step(name, learn="no-prompt"), classes=CLASSES)
    module = build_trainee(recipe, data).eval()
    step = TrainingStep(module, recipe)
    (batch,) = batches(recipe, data, None, rank=0, first_step=0)
    speak_up(module)
    before = {n: one.clone() for n, one in module.state_dict().items()}
    features = step.encode_batch(batch)
    assert not any(one.requires_grad for one in features)
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(45):
        optimizer.zero_grad()
        loss = step.naming_loss(batch, features)
        assert isinstance(loss, torch.Tensor)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    for n, one in module.state_dict().items():
        assert n.startswith("class_head.") or torch.equal(one, before[n]), n


def test_a_class_is_what_the_decoder_answers_to_its_prompt() -> None:
    torch.manual_seed(2)
    model = models.build("tiny").eval()
    add_class_head(model, 3, prompts=True)
    head = model.class_head
    assert isinstance(head, PromptHead)
    torch.nn.init.normal_(head.token)
    with torch.no_grad():
        maps = model.encode(torch.randn(2, 3, 64, 64))
        logits = class_logits(model, maps)
        dense, token = head(maps[0])
        assert logits.shape == (2, 4, 32, 32)
        assert not logits[:, 0].any()  # "none of them" is what no mask covers
        places = model.prompt_encoder.grid(8, 8)
        for image in range(2):
            for k in range(3):
                own = dense[3 * image + k][None]
                alone, _ = model.mask_decoder(maps[0][image][None], places, token[k][None], own)
                torch.testing.assert_close(logits[image, 1 + k], alone[0, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_an_exported_model_has_both(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = stirred(_with_bottlenecks("tiny"))
    add_class_head(model, 2, prompts=True)
    torch.nn.init.normal_(model.class_head.token)
    model.spec = replace(model.spec, classes=CLASSES)
    export_bundle(model, model.spec, tmp_path / "b", licence="none", weights_hash="0" * 64)
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    graphs = anymask.load(str(tmp_path / "b"))
    torch_model = Model(TorchRuntime(model, device="cpu"))
    one, other = (
        it.segment(image, points=[(20, 20)]).first.shown_logits for it in (graphs, torch_model)
    )
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
    assert (graphs.label(image).numbers == torch_model.label(image).numbers).mean() > 0.999


@pytest.mark.parametrize("learn", ["adapter", "no-prompt"])
def test_a_model_that_lacks_what_learns_is_refused(learn: str, data: Path) -> None:
    with pytest.raises(
        InputError, match=rf"Method '{learn}' is not supported: nano .* such as sam_vit_b"
    ):
        check_method("nano", learn)
    for fine in ("sam_vit_b", "mobile_sam", "sam2.1_hiera_t", "efficient_sam_ti"):
        check_method(fine, learn)
    with pytest.raises(ConfigError, match="nano_tiny (has no|does not have)"):
        build_trainee(small_recipe(learn=learn, classes=CLASSES), data)
