/** Tools that change nothing: pick a mask, move the photo. */

import { isEmpty } from "../state/work";
import type { Bench, Pointed, Tool } from "./tool";

/** Clicking the same place again goes to the mask below. */
export class PickTool implements Tool {
  readonly cursor = "default";

  down({ at }: Pointed, bench: Bench): void {
    this.press({ at } as Pointed, bench);
  }

  press({ at }: Pointed, { desk, session }: Bench): void {
    if (!isEmpty(desk.draft)) {
      return session.say("Keep the mask in the making first (Enter), or drop it (Esc).");
    }
    const under = desk.map.at(Math.floor(at[0]), Math.floor(at[1]));
    const place = under.findIndex((mask) => mask.key === desk.state.selected);
    desk.select(under[place + 1]?.key ?? null);
  }

  move({ at }: Pointed, bench: Bench): void {
    const [top] = bench.desk.map.at(Math.floor(at[0]), Math.floor(at[1]));
    if (bench.desk.hovered === (top ?? null)) return;
    bench.desk.hovered = top ?? null;
    bench.drawn();
  }

  double(_: Pointed, { desk }: Bench): void {
    desk.edit(false);
  }
}

export class PanTool implements Tool {
  readonly cursor = "grab";
}
