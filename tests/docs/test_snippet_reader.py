"""The reader of Markdown finds each fence, its line and the reason for not running it."""

from pathlib import Path

from tests.docs import snippets

PAGE = """\
# Title

```python
import anymask
```

<!-- checked, not run: needs a download -->
```bash
anymask models get mobile_sam   # 39 MB
anymask segment photo.jpg \\
    --point 1,2
```

```text
anymask nonsense
```
"""


def test_fences_are_found_with_their_lines_and_reasons(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(PAGE, "utf-8")
    python, shell = snippets.read(path)
    assert (python.line, python.language, python.text) == (3, "python", "import anymask\n")
    assert (shell.line, shell.reason) == (8, "needs a download")
    assert str(shell) == "page.md:8"
    assert shell.command_lines == [
        "anymask models get mobile_sam",
        "anymask segment photo.jpg      --point 1,2",
    ]
