"""Build the documentation site: the pages of docs/, the generated references, a search.

    python -m docs.site.build            into build/site; every link is checked
    python -m http.server -d build/site  and read it

The pages are copied to build/pages first, where links to files outside of docs/ become links to
pages of the site. Zensical, the generator, then runs offline; the site asks no other host.
"""

from __future__ import annotations

import json
import posixpath
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import yaml

import anymask
from docs.site import generated, reference

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "build/pages"
SITE = ROOT / "build/site"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
REPOSITORY = PROJECT["tool"]["anymask"]["repository"]
OUTSIDE = {  # files of the repository that are pages of the site, too
    "README.md": "index.md",
    "docs/README.md": "contents.md",
    "CONTRIBUTING.md": "contributing.md",
    "CODE_OF_CONDUCT.md": "code-of-conduct.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "GLOSSARY.md": "glossary.md",
    "NOTICE": "notice.md",
    "src/anymask/assets/nano/MODEL_CARD.md": "card-nano.md",
    "src/anymask/assets/nano-cells/MODEL_CARD.md": "card-nano-cells.md",
    "src/anymask/assets/nano-roofs/MODEL_CARD.md": "card-nano-roofs.md",
    "src/anymask/assets/small/MODEL_CARD.md": "card-small.md",
    "web/package/README.md": "javascript.md",
    "contrib/README.md": "plugins.md",
    "contrib/anymask-connect/README.md": "anymask-connect.md",
    "contrib/anymask-families/README.md": "anymask-families.md",
    "contrib/anymask-inpaint/README.md": "anymask-inpaint.md",
    "contrib/anymask-points/README.md": "anymask-points.md",
    "contrib/anymask-formats/README.md": "anymask-formats.md",
}
NAVIGATION = {
    "Get started": [
        "index.md", "contents.md", "get-started/install.md", "get-started/first-mask.md",
        "get-started/first-project.md", "get-started/first-fine-tune.md", "gallery.md",
        "faq.md",
    ],
    "Guides": [
        "guides/remove-backgrounds.md", "guides/track-an-object.md",
        "guides/redact-faces.md", "guides/label-images.md",
        "guides/label-videos-and-scans.md", "guides/prelabel-a-dataset.md", "guides/count-cells.md",
        "guides/segment-a-scan.md",
        "guides/digitize-buildings.md", "guides/embed-in-a-web-page.md",
        "guides/deploy-without-python.md", "guides/find-label-errors.md",
        "guides/name-masks.md", "guides/train-a-yolo-model.md",
        "guides/process-100000-images.md", "guides/serve.md", "plugins.md",
        "anymask-connect.md", "anymask-families.md", "anymask-formats.md", "anymask-inpaint.md",
        "anymask-points.md",
    ],
    "Explanation": [
        "explanation/prompts.md", "explanation/automatic-masks.md", "explanation/text-prompts.md",
        "explanation/tracking.md", "explanation/data-engine.md", "explanation/training.md",
        "explanation/models.md", "explanation/design.md", "explanation/comparison.md",
        "card-small.md", "card-nano.md", "card-nano-cells.md", "card-nano-roofs.md",
    ],
    "Reference": [
        reference.PAGE, generated.COMMAND_LINE, generated.SETTINGS, generated.HTTP, "javascript.md",
        "reference/http-api.md", "reference/formats.md", "reference/input-images.md",
        "reference/environment.md", "reference/stability.md", "glossary.md",
    ],
    "Results": [
        "reference/results.md", "reference/evaluation.md", "reference/results-prompts.md",
        "reference/results-automatic.md", "reference/results-video.md",
        "reference/results-training.md", "reference/results-speed.md",
        "reference/results-archive.md",
    ],
    "Coming from": [
        "coming-from/sam.md", "coming-from/ultralytics.md", "coming-from/microscopy.md",
        "coming-from/medical.md", "coming-from/gis.md", "coming-from/annotation-tools.md",
    ],
    "About": ["contributing.md", "code-of-conduct.md", "security.md", "changelog.md", "notice.md"],
}  # fmt: skip
TITLES = {"index.md": {"Overview": "index.md"}}  # of the navigation, instead of the heading
STYLE = (
    # No break after a hyphen.
    ".md-typeset :is(p, li, td) > code { display: inline-block; line-height: 1.4; }\n"
    "@media (min-width: 45em) { td:first-child code { white-space: nowrap; } }\n"  # names
    ".md-grid { max-width: 68rem; }\n"  # wide enough for most lines of code
    "thead:not(:has(th:not(:empty))) { display: none; }\n"  # tables without titles
)
CODE = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"(!?)\[([^\]\[]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def copy_pages() -> None:
    """Copy docs/ and the files of OUTSIDE into build/pages, and generate the reference."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for folder in ("images", "reference/data"):
        shutil.copytree(ROOT / "docs" / folder, PAGES / folder)
    for source in documents():
        page = source.relative_to(ROOT / "docs").as_posix()
        _write(page, with_links(source.read_text("utf-8"), source.parent, page))
    for name, page in OUTSIDE.items():
        source = ROOT / name
        text = source.read_text("utf-8")
        plain = f"# {name}\n\n```text\n{text}```\n"
        _write(page, with_links(text, source.parent, page) if source.suffix else plain)
    _write(reference.PAGE, reference.with_entries((PAGES / reference.PAGE).read_text("utf-8")))
    for page, text in generated.pages().items():
        _write(page, text)


def documents() -> list[Path]:
    """The hand-written pages below docs/, without its index."""
    return sorted({*(ROOT / "docs").rglob("*.md")} - {ROOT / "docs/README.md"})


def _write(page: str, text: str) -> None:
    (PAGES / page).parent.mkdir(parents=True, exist_ok=True)
    plain = CODE.sub(lambda code: code[0].replace("\\|", "|"), text)  # needed on GitHub only
    (PAGES / page).write_text(plain, "utf-8")


def with_links(text: str, folder: Path, page: str, repository: str = REPOSITORY) -> str:
    """Point links at pages of the site, or at the repository. Without one, files become code.

    Args:
        text: Markdown with links relative to `folder`.
        folder: The folder of the source file.
        page: The page of the site that the text becomes.
        repository: Address of the repository, or "".
    """

    def turned(found: re.Match[str]) -> str:
        bang, words, target, anchor = found.groups(default="")
        name = (folder / target).resolve().relative_to(ROOT).as_posix()
        on_site = OUTSIDE.get(name)
        copied = bang or name.endswith((".md", ".csv"))
        if on_site is None and copied and name.startswith("docs/"):
            on_site = name.removeprefix("docs/")
        if on_site is None and repository:
            return f"[{words}]({repository}/blob/main/{name}{anchor})"
        if on_site is None:
            return f"{words} (`{name}`)"
        return f"{bang}[{words}]({posixpath.relpath(on_site, posixpath.dirname(page))}{anchor})"

    return LINK.sub(turned, text)


def write_settings() -> Path:
    """The generator's settings: navigation, theme without foreign fonts, anchors as GitHub has."""
    (PAGES / "site.css").write_text(STYLE, "utf-8")
    toc = {"permalink": True, "slugify": {"kwds": {"case": "lower"}}, "toc_depth": 3}
    switch = {"icon": "lucide/sun-moon", "name": "Switch between light and dark"}
    palette = [
        {"media": f"(prefers-color-scheme: {light})", "scheme": scheme, "toggle": switch}
        for light, scheme in (("light", "default"), ("dark", "slate"))
    ]
    navigation = [
        {title: [TITLES.get(page, page) for page in pages]} for title, pages in NAVIGATION.items()
    ]
    settings = {
        "site_name": f"anymask {anymask.__version__}",
        "site_description": PROJECT["project"]["description"],
        "repo_url": REPOSITORY,
        "edit_uri": "",
        "copyright": "Copyright anymask contributors, Apache-2.0",
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
        "nav": navigation,
        "markdown_extensions": [
            "tables", "attr_list", {"toc": toc}, "pymdownx.highlight", "pymdownx.superfences",
        ],
    }  # fmt: skip
    place = ROOT / "build/mkdocs.yml"
    place.write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")
    return place


def with_ranks(index: dict[str, Any]) -> dict[str, Any]:
    """Let the search prefer a method to a page with its name: "segment" finds `Model.segment`.

    The search ranks by how early a word stands in the title, then in the path.
    """
    here = reference.PAGE.removesuffix(".md") + "/#"
    for item in index["items"]:
        plain = re.sub(r"<.*?>", "", item["title"])
        if item["path"] and item["path"][-1] == plain:
            item["path"].pop()  # the title of a page, again
        if item["location"].startswith(here) and "." in plain:
            item["title"] = f"{plain.rpartition('.')[2]} ({plain})"
    return index


def main() -> int:
    """Build the site; the generator's answer is the exit code."""
    copy_pages()
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run([*command, "--config-file", str(write_settings())], check=False)
    if done.returncode == 0:
        index = SITE / "search.json"
        index.write_text(json.dumps(with_ranks(json.loads(index.read_text("utf-8")))), "utf-8")
        print(f"Open it: {sys.executable} -m http.server -d {SITE.relative_to(ROOT)}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
