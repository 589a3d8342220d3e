"""How long a mask takes to follow the pointer, in a real Chromium, from the plain files alone.

python tests/web/measure_hover.py [PHOTO] [--moves 60] [--threads N]

The mouse really moves; the page takes the time from the event to the end of the frame that shows
the mask. Encoding in the page is timed as well.
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

# Workers say how long each photo took to be seen.
TIME_ENCODING = """(() => {
  const Old = Worker;
  window.encoded = [];
  window.Worker = class extends Old {
    constructor(...all) {
      super(...all);
      this.asked = new Map();
      this.addEventListener('message', ({data}) => {
        const since = this.asked.get(data.id);
        if (since && 'value' in data) encoded.push(performance.now() - since);
      });
    }
    postMessage(message, ...rest) {
      if (message.kind === 'encode') this.asked.set(message.id, performance.now());
      super.postMessage(message, ...rest);
    }
  };
})()"""


def measure(browser: Any, image: Path, moves: int, *, isolated: bool, query: str) -> str:
    site = Site(None, isolated=isolated)
    context = browser.new_context(viewport=SIZE)
    ann = Annotator(context.new_page(), site.url)
    ann.page.add_init_script(TIME_ENCODING)
    ann.open("?local=1" + query)
    ann.page.set_input_files("input[type=file]", [str(image)])
    ann.until("s.editor !== null")
    ann.seen()
    height, width = ann.ask("s.editor.hw")
    ann.keys("v")
    for i in range(moves + 5):
        before = ann.page.evaluate("window.anymask.stage.counted")
        ann.page.mouse.move(*ann.at(i * 0.618 % 1 * width, i * 0.414 % 1 * height))
        ann.until_so(lambda so=before: ann.page.evaluate("window.anymask.stage.counted") > so)
    times = ann.page.evaluate("window.anymask.stage.latencies")[5:]
    threads = ann.ask("s.model().threads")
    (encoded,) = ann.page.evaluate("encoded")
    context.close()
    site.close()
    low, median, high = np.percentile(times, [5, 50, 95])
    return (
        f"{'isolated' if isolated else 'not isolated':13}{threads:8d}{len(times):7d}"
        f"{low:9.1f}{median:9.1f}{high:9.1f}{max(times):9.1f}{encoded:12.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path, nargs="?", help="a photo; scikit-image's cup of coffee")
    parser.add_argument("--moves", type=int, default=60)
    parser.add_argument("--threads", type=int, help="of the model, where the page is isolated")
    asked = parser.parse_args()
    query = f"&threads={asked.threads}" if asked.threads else ""
    with image_and_browser(asked.image) as (image, browser):
        print(f"Chromium {browser.version}, {os.cpu_count()} cores, milliseconds")
        print(
            f"{'page':13}{'threads':>8}{'moves':>7}{'5 %':>9}{'median':>9}{'95 %':>9}{'most':>9}"
            f"{'encoding':>12}"
        )
        for isolated in (True, False):
            print(measure(browser, image, asked.moves, isolated=isolated, query=query))
        print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
