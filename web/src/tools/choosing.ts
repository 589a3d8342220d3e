/** Tools that change nothing: pick a mask, move the image. */

import { isEmpty } from "../state/work";
import type { Bench, Pointed, Tool } from "./tool";

/** Clicking the same place again goes to the mask below. */
export class PickTool implements Tool {
  readonly cursor = "default";

  down({ at, negative }: Pointed, bench: Bench): void {
    this.press({ at, negative } as Pointed, bench);
  }

  press({ at, negative }: Pointed, { editor, session }: Bench): void {
    if (!isEmpty(editor.draft)) {
      return session.say("Keep the current mask (Enter) or discard it (Esc) first.");
    }
    const under = editor.map.at(Math.floor(at[0]), Math.floor(at[1]));
    if (negative) return under[0] && editor.select(under[0].key, true); // Shift: beside the others
    const place = under.findIndex((mask) => mask.key === editor.state.selected);
    editor.select(under[place + 1]?.key ?? null);
  }

  move({ at }: Pointed, bench: Bench): void {
    const [top] = bench.editor.map.at(Math.floor(at[0]), Math.floor(at[1]));
    if (bench.editor.hovered === (top ?? null)) return;
    bench.editor.hovered = top ?? null;
    bench.drawn();
  }

  double(_: Pointed, { editor }: Bench): void {
    editor.edit(false);
  }
}

export class PanTool implements Tool {
  readonly cursor = "grab";
}
