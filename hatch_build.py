"""Metadata of the packages that follows from `[tool.anymask]` in pyproject.toml.

Hatchling runs this file when it builds anymask or a plug-in of contrib/.
"""

import posixpath
import re
import tomllib
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

ROOT = Path(__file__).resolve().parent
LINK = re.compile(r"""(\]\(|(?:src|href|srcset)=")(?!\w+:|#)([^)"\s]+)""")
IMAGES = (".jpg", ".png", ".svg", ".webp")


class Addresses(MetadataHookInterface):
    """Adds authors, addresses, and the README with absolute links."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Extend the `project` table of a package."""
        settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["anymask"]
        repository, contact = settings["repository"], settings["contact"]
        folder = Path(self.root).resolve().relative_to(ROOT).as_posix()
        text = (ROOT / folder / "README.md").read_text("utf-8")
        if repository:
            text = with_absolute_links(text, folder, repository)
            metadata["urls"] = {
                "Documentation": f"{repository}/blob/main/docs/README.md",
                "Changelog": f"{repository}/blob/main/CHANGELOG.md",
                "Issues": f"{repository}/issues",
                "Source": repository,
            }
        author = {"name": "anymask contributors"}
        metadata["authors"] = [author | ({"email": contact} if contact else {})]
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def with_absolute_links(text: str, folder: str, repository: str) -> str:
    """Point the relative links of a document in `folder` at the repository."""

    def absolute(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, found[2]))
        kind = "raw" if path.lower().endswith(IMAGES) else "blob"
        return f"{found[1]}{repository}/{kind}/main/{path}"

    return LINK.sub(absolute, text)
