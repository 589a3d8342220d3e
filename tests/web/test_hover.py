"""The mask that follows the pointer, in a real Chromium with a mouse that moves."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.web.conftest import SitDown
from tests.web.project_server import Project

ASKS = """(() => {
  window.hovers = 0;
  const post = Worker.prototype.postMessage;
  Worker.prototype.postMessage = function (message, ...rest) {
    if (message.kind === 'answer' && !message.keep) window.hovers++;
    return post.call(this, message, ...rest);
  };
})()"""
PAINTED = """(() => {
  const canvas = document.querySelector('.layer-preview');
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let i = 3; i < data.length; i += 4) if (data[i]) count++;
  return count;
})()"""


def at_the_coffee(sit_down: SitDown, images: dict[str, np.ndarray]) -> Any:
    """Somebody whose one photo the model has seen, and whose hovers are counted."""
    ann = sit_down(Project({"coffee": images["coffee"]}))
    ann.page.add_init_script(ASKS)
    ann.begin()
    return ann


def test_one_move_asks_once_and_leaving_takes_the_preview_away(
    sit_down: SitDown, images: dict[str, np.ndarray]
) -> None:
    ann = at_the_coffee(sit_down, images)
    for i, place in enumerate([(300, 180), (90, 300), (310, 170)], start=1):
        ann.page.mouse.move(*ann.at(*place))
        ann.until("window.anymask.stage.counted", i)
        assert ann.ask("window.hovers") == i  # the event before the frame, not the frame's again
        assert ann.page.evaluate(PAINTED) > 100
    ann.page.mouse.move(640, 20)  # the page's header
    ann.until("s.editor.preview", None)
    ann.until_so(lambda: ann.page.evaluate(PAINTED) == 0, "the empty layer")
