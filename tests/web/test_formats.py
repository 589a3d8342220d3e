"""The page offers every format that `anymask convert` writes."""

from __future__ import annotations

import re
from pathlib import Path

from anymask.formats.registry import WRITABLE_FORMATS

SOURCE = Path(__file__).resolve().parents[2] / "web" / "src" / "page" / "export.ts"


def test_the_page_offers_every_format() -> None:
    offered = re.findall(r'^  \[\s*"([a-z0-9-]+)",\s*"', SOURCE.read_text("utf-8"), re.MULTILINE)
    assert sorted(offered) == sorted(WRITABLE_FORMATS)
