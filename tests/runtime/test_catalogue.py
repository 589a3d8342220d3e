"""The catalogue: complete, well-formed, and honest about what it does not know."""

import json
import math
import re
from urllib.parse import urlparse

import pytest

import anymask
from anymask.base import PLUGINS, ModelError
from anymask.runtime import catalogue
from anymask.runtime.converted import check_exportable

FAMILIES = {
    *("nano", "small", "nano-cells", "nano-roofs", "sam_vit_b", "sam_vit_l", "sam_vit_h"),
    *("mobile_sam", "edge_sam", "edge_sam_3x"),
    *("sam_hq_vit_b", "sam_hq_vit_l", "sam_hq_vit_h", "sam_hq_vit_tiny"),
    *("efficient_sam_ti", "efficient_sam_s", "medsam", "tinysam"),
    *("sam_med2d_b", "sam_med3d_b", "point_sam_l", "xmem"),
    *(f"sam2{point}_hiera_{size}" for point in ("", ".1") for size in ("t", "s", "b+", "l")),
    *("medsam2", "edgetam", "efficienttam_ti", "efficienttam_s"),
    *("efficienttam_ti_512x512", "efficienttam_s_512x512", "semantic_sam_swint"),
}
PUBLISHED = [name for name in catalogue.names() if not catalogue.entry(name).bundled]


def test_every_official_checkpoint_is_there():
    assert set(catalogue.names()) == FAMILIES


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_source_is_an_address_of_the_named_file(name):
    what = catalogue.entry(name)
    assert what.sources or "a program cannot read: save the file with a browser" in what.notes
    for source in what.sources:
        address = urlparse(source)
        assert address.scheme == "https"
        assert address.path.endswith("/" + what.file)
    assert urlparse(what.home).scheme == "https"
    assert what.notes.endswith(".")


@pytest.mark.parametrize("name", PUBLISHED)
def test_hashes_are_whole_and_say_who_states_them(name):
    what = catalogue.entry(name)
    assert what.sha256 is None or re.fullmatch("[0-9a-f]{64}", what.sha256)
    assert what.md5 is None or re.fullmatch("[0-9a-f]{32}", what.md5)
    assert what.bytes is None or what.bytes > 10_000_000
    for fact, value in (("sha256", what.sha256), ("md5", what.md5), ("bytes", what.bytes)):
        if value is not None:
            assert fact in what.stated_by
    if what.sha256 is None:
        assert "no public" in what.stated_by


def test_no_two_files_share_a_name_so_that_a_mirror_may_be_one_folder():
    files = [catalogue.entry(name).file for name in PUBLISHED]
    assert len(set(files)) == len(files)


def test_every_network_of_the_catalogue_exists():
    pytest.importorskip("torch")
    models = pytest.importorskip("anymask.models")
    own = [what for name in PUBLISHED if not (what := catalogue.entry(name)).plugin]
    assert {what.variant for what in own} <= set(models.names())


def test_models_of_plug_ins_name_a_plug_in_of_this_repository():
    assert {one.plugin for one in map(catalogue.entry, PUBLISHED)} <= {"", *PLUGINS}


def test_a_model_for_point_clouds_is_not_loaded_as_an_image_model():
    for refuse in (anymask.load, check_exportable):
        with pytest.raises(ModelError, match=r"anymask_points.load_point_model\('point_sam_l'\)"):
            refuse("point_sam_l")


@pytest.mark.parametrize("name", [name for name in PUBLISHED if catalogue.entry(name).bytes])
def test_a_published_size_is_a_little_more_than_the_tensors(name, shared):
    what = catalogue.entry(name)
    shapes = json.loads((shared / "golden" / f"{what.variant}.shapes.json").read_text())
    tensors = sum(4 * math.prod(shape) for shape in shapes.values())
    assert what.bytes is not None
    assert tensors < what.bytes < tensors + 400_000
