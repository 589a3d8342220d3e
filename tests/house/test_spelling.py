"""Documents and sources are spelled correctly."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Names of models, data sets and measures.
IGNORED_WORDS = "lama,sav,mose,ois,bui,whats,thi,fro,unser,dependant"


def test_words_are_spelled_correctly() -> None:
    folders = [ROOT / name for name in ("src/anymask", "web/src", "web/package", "docs", "contrib")]
    built = "*/package/lib/*,*/assets/swagger/*,*/assets/web/*,*/node_modules/*,*/images/*"
    data = "tables.json,*.onnx,*.safetensors,*.ipynb,*.jpg,*.gz,*.bin,*.npz,*.pyc"
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib", "--ignore-words-list", IGNORED_WORDS,
         "--skip", f"{built},{data}", *folders, *sorted(ROOT.glob("*.md"))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == []
