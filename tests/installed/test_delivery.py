"""Release workflow and container: what they name exists, and their commands parse."""

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hatchling.builders.sdist import SdistBuilder

import anymask
import hatch_build
from anymask.cli import main as door

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
RELEASE = ROOT / ".ci/release"


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def container() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile and their text."""
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_what_exists(path: Path) -> None:
    jobs = yaml.safe_load(path.read_text("utf-8"))["jobs"]
    for name, job in jobs.items():
        assert set(job.get("needs", [])) <= set(jobs), name
        assert "steps" in job or (ROOT / job["uses"]).is_file()
        for step in job.get("steps", ()):
            assert ("uses" in step) != ("run" in step), step
            for script in re.findall(r"\.ci/[\w.]+", step.get("run", "")):
                assert os.access(ROOT / script, os.X_OK), script
            for extras in re.findall(r"\.\[([\w,-]+)\]", step.get("run", "")):
                assert set(extras.split(",")) <= set(project()["optional-dependencies"])


def test_publishing_waits_for_the_build_and_stores_no_secret() -> None:
    (path,) = [one for one in WORKFLOWS if one.name == "release.yml"]
    text = path.read_text("utf-8")
    assert "secrets." not in text
    jobs = yaml.safe_load(text)["jobs"]
    for name in ("pypi", "npm"):
        assert jobs[name]["needs"] == ["build", "container"]
        assert jobs[name]["permissions"] == {"id-token": "write"}


def test_another_version_than_the_tag_is_refused() -> None:
    done = subprocess.run([RELEASE, "--version", "v9.9.9"], capture_output=True, text=True)
    assert done.returncode == 2
    assert f"version {anymask.__version__}" in done.stderr
    assert subprocess.run([RELEASE, "cake"], capture_output=True).returncode == 2


def test_wheel_npm_package_and_citation_agree() -> None:
    package = json.loads((ROOT / "web/package/package.json").read_text("utf-8"))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert package["version"] == citation["version"] == anymask.__version__
    summary = project()["description"]
    assert summary == citation["abstract"] == (anymask.__doc__ or "").splitlines()[0]
    assert package["description"].startswith(summary)
    assert f"\n\n{summary} " in (ROOT / "README.md").read_text("utf-8")
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["anymask"]
    addresses = {package.get("repository", {}).get("url", ""), citation.get("repository-code", "")}
    assert addresses == {tool["repository"]}


def test_addresses_make_the_links_of_a_readme_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.anymask]\nrepository = "https://h/o/r"\ncontact = "a@b"\n'
    )
    readme = '[a](LICENSE) ![b](b.png) [c](#c) [d](https://e/) <img src="f.svg">'
    (tmp_path / "README.md").write_text(readme)
    monkeypatch.setattr(hatch_build, "ROOT", tmp_path)
    metadata: dict[str, Any] = {}
    hatch_build.Addresses(str(tmp_path), {}).update(metadata)
    assert metadata["readme"]["text"] == (
        "[a](https://h/o/r/blob/main/LICENSE) ![b](https://h/o/r/raw/main/b.png) "
        '[c](#c) [d](https://e/) <img src="https://h/o/r/raw/main/f.svg">'
    )
    assert metadata["authors"] == [{"name": "anymask contributors", "email": "a@b"}]


def test_the_source_archive_has_every_file() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    packed = {one.relative_path for one in SdistBuilder(str(ROOT)).recurse_included_files()}
    assert set(listed.stdout.decode().split("\0")) - packed == {""}


def test_the_container_copies_and_installs_what_exists() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    steps = container()
    for word, rest in steps:
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in ignored
    (extras,) = [rest.partition("=")[2] for word, rest in steps if word == "ARG"]
    assert set(extras.split(",")) <= set(project()["optional-dependencies"])
    needed = {"pyproject.toml", "hatch_build.py", "README.md", "src", *project()["license-files"]}
    copied = {part for word, rest in steps if word == "COPY" for part in rest.split()}
    assert needed <= copied


def test_the_command_of_the_container_parses() -> None:
    steps = dict(container())
    assert json.loads(steps["ENTRYPOINT"]) == ["anymask"]
    assert "anymask" in project()["scripts"]
    text = (ROOT / "Dockerfile").read_text("utf-8")
    shown = re.search(r"anymask (annotate photos .*)", text)
    assert shown is not None
    for words in (json.loads(steps["CMD"]), shown[1].split()):
        door.load(door.commands()[words[0]]).parser(words[0]).parse_args(words[1:])


@pytest.mark.slow
def test_the_demo_is_a_page_with_its_model(tmp_path: Path) -> None:
    version = anymask.__version__
    copy = tmp_path / "copy"
    (copy / ".ci").mkdir(parents=True)
    for name in ("LICENSE", "NOTICE"):
        (copy / name).write_bytes((ROOT / name).read_bytes())
    (copy / ".ci/release").write_bytes(RELEASE.read_bytes())
    (copy / "src").symlink_to(ROOT / "src")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHON": sys.executable}
    subprocess.run(["bash", ".ci/release", "demo"], cwd=copy, env=environment, check=True)
    with tarfile.open(copy / f"dist/anymask-demo-{version}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"index.html", "LICENSE", "NOTICE"} <= names
    assert any(name.endswith("encoder.onnx") for name in names)
    assert (copy / "dist/SHA256SUMS").read_text().endswith(f"anymask-demo-{version}.tar.gz\n")
