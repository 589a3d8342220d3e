"""CLIP models of the user: files of three kinds, any word in `find`, what is refused."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anymask
from anymask.base import InputError, ModelError, WeightsError
from anymask.find import open_detector
from anymask.find.byte_pairs import BytePairs, split_text
from anymask.find.clip import ClipNames, read_clip, to_pixels
from anymask.masks import mask_iou, rle_to_mask

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

MERGES = "#version: 0.2\nc a\nca t</w>\n"


@pytest.fixture(scope="module")
def tower() -> Any:
    from anymask.models.clip import ClipConfig, ClipModel

    torch.manual_seed(0)
    model = ClipModel(
        ClipConfig(
            side=32, patch=16, width=16, depth=1, text_width=16, text_depth=2, tokens=12,
            vocabulary=516, length=8, head_dim=16,
        )
    )  # fmt: skip
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval().requires_grad_(False)


@pytest.fixture
def official(tower: Any, tmp_path: Path) -> Path:
    """A file of OpenAI's kind beside its vocabulary."""
    torch.save(tower.state_dict(), tmp_path / "ViT.pt")
    (tmp_path / "merges.txt").write_text(MERGES, "utf-8")
    return tmp_path / "ViT.pt"


def assert_same(found: Any, tower: Any) -> None:
    assert found.config == tower.config
    pairs = zip(found.state_dict().values(), tower.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_plain_checkpoint_opens(official: Path, tower: Any) -> None:
    assert_same(read_clip(official), tower)


def test_a_torchscript_archive_opens_without_its_program(
    official: Path, tower: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, tokens = torch.zeros(1, 3, 32, 32), torch.tensor([[514, 515]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates what OpenAI's files are
        traced = torch.jit.trace_module(
            tower, {"encode_image": images, "encode_text": tokens}, check_trace=False
        )
        traced.save(official)
    monkeypatch.setattr(torch.jit, "load", None)
    monkeypatch.setattr(torch, "load", None)
    assert_same(read_clip(official), tower)


class Bad:
    """A pickle that would run a command."""

    def __reduce__(self) -> Any:
        return (print, ("ran",))


def test_a_torchscript_archive_with_other_names_is_refused(
    official: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(official, "w") as archive:
        archive.writestr("ViT/data.pkl", pickle.dumps(Bad()))
        archive.writestr("ViT/constants.pkl", b"")
    with pytest.raises(WeightsError, match=r"run code.*state_dict\(\)"):
        read_clip(official)
    assert "ran" not in capsys.readouterr().out


def their_names(state: dict[str, Any]) -> dict[str, Any]:
    """The names of transformers, by hand."""
    found: dict[str, Any] = {}
    for name, value in state.items():
        tower = "vision_model." if name.startswith("visual.") else "text_model."
        plain = name.removeprefix("visual.")
        if ".resblocks." in plain:
            _, _, number, *rest = plain.split(".")
            at = f"{tower}encoder.layers.{number}."
            key = ".".join(rest)
            if key.startswith("attn.in_proj_"):
                for letter, part in zip("qkv", value.chunk(3), strict=True):
                    kind = key.removeprefix("attn.in_proj_")
                    found[f"{at}self_attn.{letter}_proj.{kind}"] = part.contiguous()
                continue
            for ours, theirs in (
                ("attn.out_proj", "self_attn.out_proj"), ("ln_", "layer_norm"),
                ("c_fc", "fc1"), ("c_proj", "fc2"),
            ):  # fmt: skip
                key = key.replace(ours, theirs)
            found[at + key] = value
            continue
        found[
            {
                "positional_embedding": f"{tower}embeddings.position_embedding.weight",
                "class_embedding": "vision_model.embeddings.class_embedding",
                "conv1.weight": "vision_model.embeddings.patch_embedding.weight",
                "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
                "proj": "visual_projection.weight",
                "text_projection": "text_projection.weight",
                "logit_scale": "logit_scale",
            }.get(plain)
            or tower
            + plain.replace("ln_pre", "pre_layrnorm")
            .replace("ln_post", "post_layernorm")
            .replace("ln_final", "final_layer_norm")
        ] = value.T.contiguous() if plain in ("proj", "text_projection") else value
    return found | {"text_model.embeddings.position_ids": torch.arange(12)[None]}


def test_a_folder_of_transformers_opens(official: Path, tower: Any) -> None:
    folder = official.parent
    official.unlink()
    safetensors.save_file(their_names(tower.state_dict()), folder / "model.safetensors")
    config = {"model_type": "clip", "text_config": {"hidden_act": "quick_gelu"}}
    (folder / "config.json").write_text(json.dumps(config))
    opened = open_detector(folder, "cpu")
    assert isinstance(opened, ClipNames)
    assert_same(opened._model, tower)
    config["text_config"] = {"hidden_act": "gelu"}
    (folder / "config.json").write_text(json.dumps(config))
    assert read_clip(folder / "model.safetensors").config.activation == "gelu"


def test_the_vocabulary_beside_a_link_is_read(official: Path, tmp_path: Path, tower: Any) -> None:
    """A cache stores files elsewhere, and a snapshot has links to them."""
    stored = tmp_path / "blobs" / "0a1b"
    stored.parent.mkdir()
    official.rename(stored)
    official.symlink_to(stored)
    opened = open_detector(official, "cpu")
    assert isinstance(opened, ClipNames)
    assert_same(opened._model, tower)


def test_what_is_not_clip_is_refused(official: Path, tower: Any) -> None:
    state = tower.state_dict()
    torch.save({"model.weight": torch.zeros(3)}, official)
    with pytest.raises(WeightsError, match="not a supported CLIP"):
        read_clip(official)
    torch.save({name: one for name, one in state.items() if name != "ln_final.bias"}, official)
    with pytest.raises(WeightsError, match=r"such as ln_final\.bias"):
        read_clip(official)
    torch.save(state, official)
    (official.parent / "merges.txt").unlink()
    with pytest.raises(WeightsError, match="no vocabulary of CLIP"):
        open_detector(official, "cpu")
    with pytest.raises(WeightsError, match="clip_vit_b32 is not downloaded"):
        open_detector("clip_vit_b32")
    with pytest.raises(ModelError, match="Unknown detector"):
        open_detector(official.parent / "other.pt")


def test_tokens_of_a_word_are_merged_bytes(official: Path) -> None:
    tokenizer = BytePairs.read(official.parent)
    assert (tokenizer.start, tokenizer.end) == (514, 515)
    assert tokenizer.encode("Cat") == [513]  # c a, then ca t</w>
    letters = "".join(map(chr, range(33, 127)))
    assert tokenizer.encode("cab") == [512, 256 + letters.index("b")]
    table = tokenizer.tokens(["cat", "cat cat cat"], 4)
    assert table.tolist() == [[514, 513, 515, 0], [514, 513, 513, 515]]


def test_words_are_split_as_by_the_published_pattern() -> None:
    assert split_text("It's 12 CUPS &amp; a naïve “café”!!") == [
        "it", "'s", "1", "2", "cups", "&", "a", "naïve", '"', "café", '"!!',
    ]  # fmt: skip
    assert split_text("  ") == []


def test_images_are_cut_to_their_central_square() -> None:
    photo = np.zeros((40, 80, 3), np.uint8)
    photo[:, 20:60] = 255
    pixels = to_pixels(photo, 20)
    assert pixels.shape == (3, 20, 20)
    assert pixels[0, 10, 10] == pytest.approx((1 - 0.48145466) / 0.26862954)


def test_find_labels_masks_by_words_that_no_model_knows(
    official: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The towers are replaced by colours: "zorp" is red, "blick" is blue."""
    photo = np.full((120, 160, 3), 128, np.uint8)
    photo[20:70, 15:65] = (220, 20, 20)
    photo[50:110, 95:150] = (20, 20, 220)
    axes = np.eye(8, dtype=np.float32)

    def texts(_: ClipNames, given: list[str]) -> Any:
        words = {"zorp": 0, "blick": 1}
        return np.stack([axes[words.get(one.split()[-1], 2)] for one in given])

    def images(_: ClipNames, given: list[Any]) -> Any:
        middles = [one[100:148, 100:148].reshape(-1, 3).mean(0) for one in given]
        return np.stack([axes[0 if r > b + 90 else 1 if b > r + 90 else 2] for r, _, b in middles])

    monkeypatch.setattr(ClipNames, "embed_texts", texts)
    monkeypatch.setattr(ClipNames, "embed_images", images)
    clip = open_detector(official, "cpu")
    clip._model.logit_scale.fill_(4.6)  # type: ignore[attr-defined]
    model = anymask.load("nano")
    found = model.find(photo, ["zorp", "blick"], detector=clip)
    assert {*found.labels} == {"blick", "zorp"}
    for one in found:
        wanted = photo[..., 0 if one.label == "zorp" else 2] == 220
        assert mask_iou(rle_to_mask(one.rle)[None], wanted[None])[0, 0] > 0.8
    with pytest.raises(InputError, match="fixed input size"):
        model.find(photo, "zorp", detector=clip, side=640)
    with pytest.raises(ModelError, match="no boxes"):
        clip.detect(photo, ["zorp"])
