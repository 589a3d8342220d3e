"""What the page is given of a model: its graphs, its manifest and what its family learned."""

import json
from pathlib import Path

import anymask
from anymask.serving.pages import model_assets, write_static

BUNDLE = Path(anymask.__file__).parent / "assets" / "nano"


def test_a_server_and_a_static_page_give_graphs_manifest_and_tables(tmp_path: Path) -> None:
    wanted = {"decoder.onnx", "encoder.onnx", "manifest.json", "tables.json"}
    assert set(model_assets(BUNDLE)) == {f"model/{name}" for name in wanted}
    write_static(tmp_path / "site", BUNDLE)
    assert {path.name for path in (tmp_path / "site" / "model").iterdir()} == wanted
    tables = json.loads((tmp_path / "site" / "model" / "tables.json").read_text("utf-8"))
    assert "ranking" in tables
