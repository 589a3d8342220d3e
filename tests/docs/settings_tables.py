"""The tables of settings in the documents, made from the declarations.

    python -m tests.docs.settings_tables     write them anew

A table stands between `<!-- settings: Grid -->` and the next empty line.
"""

from __future__ import annotations

import re
from pathlib import Path

from anymask.base import DeclaredSetting, list_settings
from anymask.evaluation.audit_options import AuditOptions
from anymask.find import FindSettings
from anymask.jobs import (
    FolderJob,
    ImageSettings,
    MapSettings,
    ModelSettings,
    NamesSettings,
    TilingSettings,
)
from anymask.segment import Grid, MaskFilter, SegmentSettings
from anymask.studio.proposals import ProjectSettings
from anymask.studio.server_options import ServerOptions
from anymask.track import (
    FrameSampling,
    MaskletSettings,
    MemorySettings,
    MonitorSettings,
    TrackSettings,
)
from anymask.volumes import VolumeSettings

DOCS = Path(__file__).resolve().parents[2] / "docs"
DECLARED = {declared.__name__: declared for declared in (SegmentSettings, Grid, MaskFilter)}
DECLARED |= {
    one.__name__: one for one in (ModelSettings, ImageSettings, TilingSettings, ProjectSettings)
}
DECLARED |= {one.__name__: one for one in (TrackSettings, FrameSampling, MonitorSettings)}
DECLARED |= {
    one.__name__: one for one in (MemorySettings, NamesSettings, VolumeSettings, MapSettings)
}
DECLARED |= {MaskletSettings.__name__: MaskletSettings}
DECLARED |= {one.__name__: one for one in (FolderJob, AuditOptions, ServerOptions, FindSettings)}
BLOCK = re.compile(r"(?<=<!-- settings: )(?P<name>\w+) -->\n(?P<table>(?:\|.*\n)*)")


def settings_table(declared: type) -> str:
    """A Markdown table with a row for each setting."""
    rows = "".join(_row(setting) for setting in list_settings(declared))
    return f"| setting | default | description |\n|---|---|---|\n{rows}"


def _row(setting: DeclaredSetting) -> str:
    default = setting.default_in_words
    default = f'`"{default}"`' if isinstance(setting.default, str) else default
    return f"| `{setting.name}` | {default} | {setting.about.description} |\n"


def with_tables(text: str) -> str:
    """The same document with tables as they are declared."""
    return BLOCK.sub(
        lambda found: f"{found['name']} -->\n{settings_table(DECLARED[found['name']])}", text
    )


if __name__ == "__main__":
    for path in DOCS.rglob("*.md"):
        path.write_text(with_tables(path.read_text("utf-8")), "utf-8")
