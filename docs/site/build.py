"""Build the documentation site: the pages of docs/, the reference of all public names, a search.

    python -m docs.site.build            into build/site; every link is checked
    python -m http.server -d build/site  and read it

The pages are copied to build/pages first, where links to files outside of docs/ become links to
pages of the site. Zensical, the generator, then runs offline; the site asks no other host.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from docs.site import reference

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "build/pages"
SITE = ROOT / "build/site"
OUTSIDE = {  # files of the repository that are pages of the site, too
    "README.md": "readme.md",
    "GLOSSARY.md": "glossary.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "NOTICE": "notice.md",
    "src/anymask/assets/nano/MODEL_CARD.md": "card-nano.md",
    "src/anymask/assets/small/MODEL_CARD.md": "card-small.md",
    "web/package/README.md": "javascript.md",
}
NAVIGATION = {
    "Start": [
        "index.md", "readme.md", "microscope.md", "street.md", "web-page.md", "coming-from.md",
    ],
    "Use": [
        "python.md", "prompts.md", "everything.md", "find.md", "video.md", "volumes.md", "maps.md",
        "cli.md", "folders.md", "formats.md", "datasets.md", "weights.md", "environment.md",
    ],
    "Label and serve": ["page.md", "engine.md", "serving.md", "javascript.md"],
    "Train and measure": [
        "training.md", "scale.md", "export.md", "evaluation.md", "bench.md", "gpu.md", "results.md",
        "card-nano.md", "card-small.md",
    ],
    "Reference": [reference.page_of(room) for room in (*reference.ROOMS, *reference.MORE)],
    "About": ["design.md", "glossary.md", "contributing.md", "changelog.md", "notice.md"],
}  # fmt: skip
STYLE = "td:first-child code { white-space: nowrap; }\n"  # names in tables stay whole
LINK = re.compile(r"(!?)\[([^\]\[]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def copy_pages() -> None:
    """docs/*.md and what OUTSIDE names into build/pages, with pictures; the reference beside."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs/images", PAGES / "images")
    (PAGES / "reference").mkdir()
    for source in sorted((ROOT / "docs").glob("*.md")):
        _write(source.name, with_links(source.read_text("utf-8"), source.parent))
    for name, page in OUTSIDE.items():
        source = ROOT / name
        text = source.read_text("utf-8")
        plain = f"# {name}\n\n```text\n{text}```\n"
        _write(page, with_links(text, source.parent) if source.suffix else plain)
    for room in (*reference.ROOMS, *reference.MORE):
        _write(reference.page_of(room), reference.room_page(room))


def _write(page: str, text: str) -> None:
    (PAGES / page).write_text(text, "utf-8")


def with_links(text: str, folder: Path) -> str:
    """The same page with links to pages of the site; a file that is no page is named as code."""

    def turned(found: re.Match[str]) -> str:
        bang, words, target, anchor = found.groups(default="")
        name = (folder / target).resolve().relative_to(ROOT).as_posix()
        if name in OUTSIDE:
            return f"[{words}]({OUTSIDE[name]}{anchor})"
        inside = name.removeprefix("docs/")
        if name.startswith("docs/") and (bang or name.endswith(".md")):
            return f"{bang}[{words}]({inside}{anchor})"
        return f"{words} (`{name}`)"

    return LINK.sub(turned, text)


def write_settings() -> Path:
    """The generator's settings: navigation, theme without foreign fonts, anchors as GitHub has."""
    (PAGES / "site.css").write_text(STYLE, "utf-8")
    toc = {"permalink": True, "slugify": {"kwds": {"case": "lower"}}, "toc_depth": 2}
    schemes = (("light", "default"), ("dark", "slate"))
    palette = [
        {"media": f"(prefers-color-scheme: {light})", "scheme": scheme} for light, scheme in schemes
    ]
    settings = {
        "site_name": "anymask",
        "docs_dir": PAGES.name,
        "site_dir": SITE.name,
        "theme": {
            "name": "material",
            "font": False,
            "features": ["content.code.copy", "search.highlight"],
            "palette": palette,
        },
        "plugins": ["search"],
        "extra": {"generator": False},
        "extra_css": ["site.css"],
        "nav": [{title: pages} for title, pages in NAVIGATION.items()],
        "markdown_extensions": [
            "tables", "attr_list", {"toc": toc}, "pymdownx.highlight", "pymdownx.superfences",
        ],
    }  # fmt: skip
    place = ROOT / "build/mkdocs.yml"
    place.write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")
    return place


def main() -> int:
    """Build the site; the generator's answer is the exit code."""
    copy_pages()
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run([*command, "--config-file", str(write_settings())], check=False)
    if done.returncode == 0:
        print(f"read it: {sys.executable} -m http.server -d {SITE.relative_to(ROOT)}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
