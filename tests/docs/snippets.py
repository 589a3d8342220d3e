"""Find the code in a Markdown file.

A fence of `python` or `bash` is run by the tests. Where that is impossible (a download, hours of
work), the line before the fence says why and what is still checked:

    <!-- checked, not run: needs a download -->

`<!-- slow -->` before a fence leaves it to the slow tests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(
    r"(?:<!-- checked, not run: (?P<reason>[^>]+) -->\s*)?(?P<slow><!-- slow -->\s*)?"
    r"^```(?P<language>python|bash)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Snippet:
    """One fence: where it stands, what it says, and why it is not run if it is not."""

    path: Path
    line: int
    language: str
    text: str
    reason: str
    slow: bool = False

    def __str__(self) -> str:
        return f"{self.path.name}:{self.line}"

    @property
    def command_lines(self) -> list[str]:
        """The shell lines, joined where a backslash continues them, without comments."""
        joined = self.text.replace("\\\n", " ")
        lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
        return [line for line in lines if line]


def read(path: Path) -> list[Snippet]:
    """Every fence of one file, from top to bottom."""
    text = path.read_text("utf-8")
    return [
        Snippet(
            path,
            text.count("\n", 0, match.start("language")) + 1,
            match["language"],
            match["text"],
            (match["reason"] or "").strip(),
            match["slow"] is not None,
        )
        for match in FENCE.finditer(text)
    ]
