"""What a refined edge costs in a real Chromium, from the plain files alone, in processor time.

python tests/web/measure_edges.py [PHOTO] [--clicks 20] [--threads 1]

Clicks are answered, and answered and refined, in turns; the time is that of all of the browser's
processes, so that other work on the machine does not count. The first refinement, which loads the
network and reads the photo's pixels, stands apart.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.web.conftest import SIZE, Annotator
from tests.web.measuring import image_and_browser
from tests.web.project_server import Site

# A click, or a box an eighth as wide as the photo; refined, or looked at closer as well.
KINDS = ("click", "click refined", "box refined", "box looked at closer")
ASK = """async ([x, y, kind]) => {
  const {session} = window.anymask, model = session.model(), id = session.editor.entry.id;
  const r = session.editor.hw[1] / 16, isBox = kind.startsWith("box");
  const clicks = isBox ? [] : [{x, y, label: 1}];
  const prompt = {clicks, box: isBox ? [x - r, y - r, x + r, y + r] : null, mask: null};
  const start = performance.now();
  const kept = await model.answer(id, prompt, 0, "all");
  const closer = kind.endsWith("closer");
  if (kind !== "click") await model.refine(id, {...kept, closer}, 0, true);
  return performance.now() - start;
}"""


def processor_ms() -> float:
    """Of the processes below this one."""
    found: dict[int, tuple[int, int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            told = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        found[int(folder.name)] = int(told[1]), int(told[11]) + int(told[12])

    def is_ours(number: int) -> bool:
        while number in found:
            number = found[number][0]
            if number == os.getpid():
                return True
        return False

    ticks = sum(used for number, (_, used) in found.items() if is_ours(number))
    return 1000 * ticks / os.sysconf("SC_CLK_TCK")


def ask(ann: Any, x: float, y: float, kind: str) -> tuple[float, float]:
    """Processor and wall time of one answer, in milliseconds."""
    before = processor_ms()
    wall = float(ann.page.evaluate(ASK, [x, y, kind]))
    return processor_ms() - before, wall


def measure(browser: Any, image: Path, clicks: int, threads: int) -> None:
    site = Site(None)
    ann = Annotator(browser.new_context(viewport=SIZE).new_page(), site.url)
    ann.open(f"?local=1&threads={threads}")
    ann.page.set_input_files("input[type=file]", [str(image)])
    ann.until("s.editor !== null")
    ann.seen()
    height, width = ann.ask("s.editor.hw")
    ann.page.evaluate(ASK, [width / 2, height / 2, "click"])
    first, _ = ask(ann, width / 2, height / 2, "click refined")
    print(f"{'first click refined':24}processor {first:7.0f} ms")
    spent: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for i in range(clicks):
        x, y = ((0.1 + i * share % 0.8) * side for share, side in ((0.618, width), (0.414, height)))
        for kind in KINDS:
            spent[kind].append(ask(ann, x, y, kind))
    for kind, times in spent.items():
        processor, wall = np.mean(times, axis=0)
        print(f"{kind:24}processor {processor:7.0f} ms   wall {wall:7.0f} ms")
    site.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path, nargs="?", help="a photo; scikit-image's cup of coffee")
    parser.add_argument("--clicks", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1, help="of the model")
    asked = parser.parse_args()
    with image_and_browser(asked.image) as (image, browser):
        print(f"Chromium {browser.version}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        measure(browser, image, asked.clicks, asked.threads)


if __name__ == "__main__":
    main()
