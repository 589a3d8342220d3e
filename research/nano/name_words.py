"""Words of names: text embeddings and the labels of training sets in, one list of names out.

A name is one of COCO's 80 classes, one of LVIS's 1,203 that is none of COCO's, or a label of the
training sets that neither knows (`OWN`), which has no text embedding and learns a vector of its
own. A label means the name that it spells, or that `MEANINGS` gives it.

Source of the embeddings: CLIP ViT-B/32 on the names of COCO and LVIS, as Detic publishes them
(Apache-2.0).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import DataError, FloatArray, parse_json
from anymask.models.rules import plain_word

COCO, LVIS = "coco", "lvis"
FILES = ("{}_names.json", "{}_clip_vitb32_text.npy")

# COCO's classes that LVIS calls by another name
SAME = {
    "tie": "necktie", "skis": "ski", "wine glass": "wineglass", "laptop": "laptop computer",
    "remote": "remote control", "keyboard": "computer keyboard",
    "cell phone": "cellular telephone", "microwave": "microwave oven", "hair drier": "hair dryer",
    "car": "car (automobile)", "bus": "bus (vehicle)", "train": "train (railroad vehicle)",
    "orange": "orange (fruit)", "mouse": "mouse (computer equipment)",
}  # fmt: skip
OWN = (
    "window", "wall", "road", "tree", "building", "door", "railing", "fence", "ceiling", "water",
    "kangaroo", "emu", "crocodile", "beaver", "ant", "bonsai", "anchor", "brain", "skin", "hair",
    "plant", "leaf", "root", "branch", "tree trunk", "pothole", "path", "qr code", "wooden pallet",
    "hazelnut", "mango", "rice", "tempeh", "plastic film", "wire", "bag", "fender",
    "car door", "car bumper", "car bonnet", "resistor", "capacitor", "led", "brontosaurus", "suit",
    "shelf", "lid", "litter", "stairs",
)  # fmt: skip
# What labels of the training sets mean.
MEANINGS = {
    "airplanes": "airplane", "car_side": "car", "cellphone": "cell phone", "ceiling_fan": "fan",
    "binocular": "binoculars", "crayfish": "crawfish", "panda": "giant panda",
    "fire_truck": "fire engine", "kivi": "kiwi fruit", "standing_pig": "hog", "lying_pig": "hog",
    "coffee mug": "cup", "skillet": "frying pan", "taxi": "cab", "bin": "trash can",
    "vegetation": "plant", "plants": "plant", "weed": "plant", "crop": "plant",
    "facade": "building", "street": "road", "balcony-fence": "railing", "stair": "stairs",
    "person with clothes": "person", "shoes": "shoe", "pants": "trousers", "purse": "handbag",
    "jeans": "jean", "t-shirt": "shirt", "top": "shirt", "stockings": "tights",
    "tights": "tights", "leggings": "legging", "shorts": "short pants", "boots": "boot",
    "socks": "sock", "sandals": "sandal", "gloves": "glove", "sneakers": "shoe", "heels": "shoe",
    "loafers": "shoe", "pumps": "shoe", "flats": "shoe", "jumper": "sweater",
    "GlassBottle_Close": "bottle", "PlasticBottle_Close": "bottle", "GlassBottle_Loose": "bottle",
    "PlasticBottle_Loose": "bottle", "Clear plastic bottle": "bottle", "Glass bottle": "bottle",
    "Other plastic bottle": "bottle", "Drink can": "can", "Food Can": "can",
    "Disposable plastic cup": "cup", "Paper cup": "cup", "Foam cup": "cup", "Glass cup": "cup",
    "Plastic straw": "straw", "Paper straw": "straw", "Plastic bottle cap": "bottle cap",
    "Metal bottle cap": "bottle cap", "Single-use carrier bag": "plastic bag",
    "Garbage bag": "plastic bag", "Plastic film": "plastic film", "Drink carton": "carton",
    "Corrugated carton": "box", "Other carton": "carton", "Meal carton": "carton",
    "Egg carton": "carton", "Paper bag": "paper bag", "Other plastic wrapper": "plastic film",
    "Crisp packet": "plastic film", "Plastic lid": "lid", "Metal lid": "lid",
    "Unlabeled litter": "litter", "Other plastic": "litter", "Styrofoam piece": "litter",
    "Tissues": "tissue paper", "Aerosol": "aerosol can", "Shoe": "shoe", "Glass jar": "jar",
    "piring": "plate", "tahu goreng": "bean curd", "tahu kukus": "bean curd", "tahu": "bean curd",
    "tahu bacem": "bean curd", "tempe goreng": "tempeh", "tempe bacem": "tempeh",
    "tempe kukus": "tempeh", "tempe goreng tepung": "tempeh", "tempe": "tempeh", "nasi": "rice",
    "roti tawar": "bread", "ice cream": "icecream", "qrcode": "qr code", "footpath": "path",
    "pallet": "wooden pallet",
    "pothole": "pothole", "Limb": "branch", "Trunk": "tree trunk", "roof": "roof",
    "panel-fender": "fender", "panel-qpanel": "fender", "panel-reardoor": "car door",
    "panel-frontdoor": "car door", "panel-bonnet": "car bonnet", "panel-frontbumper": "car bumper",
    "panel-rearbumper": "car bumper", "snow-covered": "solar array", "dusty": "solar array",
    "trafik-lambasi": "traffic light", "kudzu": "insect", "shop": "building",
}  # fmt: skip
CATS = (
    "Bengal", "Abyssinian", "Birman", "Siamese", "Maine Coon", "Persian", "Ragdoll", "Sphynx",
    "Bombay", "Egyptian Mau", "Russian Blue", "British Shorthair",
)  # fmt: skip
DOGS = (
    "american bulldog", "keeshond", "great pyrenees", "saint bernard", "american pit bull terrier",
    "english setter", "japanese chin", "newfoundland", "samoyed", "boxer", "chihuahua",
    "english cocker spaniel", "havanese", "leonberger", "scottish terrier", "shiba inu",
    "staffordshire bull terrier", "beagle", "pomeranian", "wheaten terrier",
)  # fmt: skip
MEANINGS |= dict.fromkeys(CATS, "cat") | dict.fromkeys(DOGS, "dog")


@dataclass(frozen=True, eq=False)
class NameWords:
    """All names.

    Attributes:
        words: N names; the first 80 are those of COCO.
        texts: Text embeddings (N, T); zeros for names without one.
        also: Other spellings, and the index of their name.
    """

    words: tuple[str, ...]
    texts: FloatArray
    also: dict[str, int]

    def place(self, label: str | None) -> int | None:
        """Of the name that a label means; None where it means none."""
        if label is None:
            return None
        word = plain_word(MEANINGS.get(label, label))
        return self.also.get(word)


def read_name_words(folder: Path) -> NameWords:
    """From a folder with names and embeddings of COCO and LVIS. Raises DataError without them."""
    coco_names, coco_texts = _read(folder, COCO)
    entries, lvis_texts = _read(folder, LVIS)
    words, texts = [plain_word(name) for name in coco_names], [coco_texts]
    also = {word: place for place, word in enumerate(words)}
    known = {SAME.get(word, word): place for word, place in also.items()}
    brackets = re.compile(r"\s*\(.*\)$")
    short = [brackets.sub("", plain_word(entry["name"])) for entry in entries]
    for entry, brief, text in zip(entries, short, lvis_texts, strict=True):
        full = plain_word(entry["name"])
        spelled = [full, *map(plain_word, entry["synonyms"])]
        place = next((known[one] for one in spelled if one in known), None)
        if place is None:
            word = brief if short.count(brief) == 1 and brief not in also else full
            place = len(words)
            words.append(word)
            texts.append(text[None])
            spelled = [word, *spelled]
        for one in spelled:
            also.setdefault(one, place)
    for word in OWN:
        if word not in also:
            also[word] = len(words)
            words.append(word)
            texts.append(np.zeros((1, texts[0].shape[1]), np.float32))
    return NameWords(tuple(words), np.concatenate(texts).astype(np.float32), also)


def _read(folder: Path, which: str) -> tuple[list[Any], FloatArray]:
    names, texts = (folder / name.format(which) for name in FILES)
    for path in (names, texts):
        if not path.is_file():
            raise DataError(
                f"{folder}: wanted names and embeddings ({names.name}, {texts.name}), found no "
                f"{path.name}; give the folder that holds them with --text"
            )
    words, rows = parse_json(names.read_bytes(), names), np.load(texts, allow_pickle=False)
    if len(words) != len(rows):
        raise DataError(f"{names}: {len(words)} names, but {texts.name} has {len(rows)} rows")
    return words, rows.astype(np.float32)
