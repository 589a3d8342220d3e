"""CLIP models of the user: a folder of transformers, any word in `find`, what is refused."""

from __future__ import annotations

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
transformers = pytest.importorskip("transformers")

MERGES = "#version: 0.2\nc a\nca t</w>\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small CLIP model as transformers saves it."""
    shared = {
        "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 1,
        "num_hidden_layers": 1, "projection_dim": 8,
    }  # fmt: skip
    text = {"vocab_size": 516, "max_position_embeddings": 12, "eos_token_id": 515}
    vision = {"image_size": 32, "patch_size": 16}
    config = transformers.CLIPConfig(
        text_config=shared | text, vision_config=shared | vision, projection_dim=8
    )
    torch.manual_seed(0)
    transformers.CLIPModel(config).half().save_pretrained(tmp_path)
    (tmp_path / "merges.txt").write_text(MERGES, "utf-8")
    return tmp_path


def test_a_folder_of_transformers_opens(folder: Path) -> None:
    opened = open_detector(folder, "cpu")
    assert isinstance(opened, ClipNames)
    assert {value.dtype for value in opened._model.state_dict().values()} == {torch.float32}
    expected = transformers.CLIPModel.from_pretrained(folder, dtype=torch.float32)
    pixels = torch.zeros(1, 3, 32, 32)
    vectors = expected.get_image_features(pixels).pooler_output.detach()
    black = opened.embed_images([np.zeros((40, 32, 3), np.uint8)])
    assert black.shape == (1, 8)
    assert np.linalg.norm(black) == pytest.approx(1)
    again = opened._embed(pixels.numpy(), opened._model.get_image_features)
    np.testing.assert_allclose(again, (vectors / vectors.norm()).numpy(), atol=1e-6)
    many = opened.embed_texts(["cat", *["cab"] * 20])  # several batches
    np.testing.assert_allclose(opened.embed_texts(["cat"]), many[:1], atol=1e-5)


def test_what_is_not_clip_is_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(WeightsError, match="not a CLIP model"):
        read_clip(folder)
    from safetensors.torch import load_file, save_file

    weights.write_bytes(whole)
    tensors = load_file(weights)
    del tensors["text_model.final_layer_norm.bias"]
    save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(WeightsError, match=r"final_layer_norm\.bias does not fit"):
        read_clip(folder)
    (folder / "merges.txt").unlink()
    with pytest.raises(WeightsError, match="no vocabulary of CLIP"):
        open_detector(folder, "cpu")
    with pytest.raises(WeightsError, match="clip_vit_b32 is not downloaded"):
        open_detector("clip_vit_b32")
    with pytest.raises(ModelError, match="Unknown detector"):
        open_detector(weights)


def test_tokens_of_a_word_are_merged_bytes(folder: Path) -> None:
    tokenizer = BytePairs.read(folder)
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
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 20:60] = 255
    pixels = to_pixels(image, 20)
    assert pixels.shape == (3, 20, 20)
    assert pixels[0, 10, 10] == pytest.approx((1 - 0.48145466) / 0.26862954)


def test_find_labels_masks_by_words_that_no_model_knows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The towers are replaced by colours: "zorp" is red, "blick" is blue."""
    image = np.full((120, 160, 3), 128, np.uint8)
    image[20:70, 15:65] = (220, 20, 20)
    image[50:110, 95:150] = (20, 20, 220)
    axes = np.eye(8, dtype=np.float32)

    def texts(_: ClipNames, given: list[str]) -> Any:
        words = {"zorp": 0, "blick": 1}
        return np.stack([axes[words.get(one.split()[-1], 2)] for one in given])

    def images(_: ClipNames, given: list[Any]) -> Any:
        middles = [one[100:148, 100:148].reshape(-1, 3).mean(0) for one in given]
        return np.stack([axes[0 if r > b + 90 else 1 if b > r + 90 else 2] for r, _, b in middles])

    monkeypatch.setattr(ClipNames, "embed_texts", texts)
    monkeypatch.setattr(ClipNames, "embed_images", images)
    clip = open_detector(folder, "cpu")
    clip._model.logit_scale.fill_(4.6)  # type: ignore[attr-defined]
    model = anymask.load("nano")
    found = model.find(image, ["zorp", "blick"], detector=clip)
    assert {*found.labels} == {"blick", "zorp"}
    for one in found:
        expected = image[..., 0 if one.label == "zorp" else 2] == 220
        assert mask_iou(rle_to_mask(one.rle)[None], expected[None])[0, 0] > 0.8
    with pytest.raises(InputError, match="fixed input size"):
        model.find(image, "zorp", detector=clip, side=640)
    with pytest.raises(ModelError, match="no boxes"):
        clip.detect(image, ["zorp"])
