/** Which channels are red, green and blue, and between which of their values. */

import { compositeToQuery, queryToComposite } from "../state/composite";
import type { Range } from "../state/composite";
import type { Session } from "../state/session";
import { fill, h } from "./dom";

const COLOURS = ["Red", "Green", "Blue"];

export function compositeBar(session: Session): HTMLElement {
  const rows = COLOURS.map((colour) => {
    const channel = h("select", { class: "modes", "aria-label": `${colour} shows` });
    const [low, high] = ["from", "to"].map((what) =>
      h("input", {
        type: "number",
        step: "any",
        placeholder: "auto",
        "aria-label": `${colour} ${what}`,
      }),
    );
    return { channel, low, high, element: h("div", {}, h("span", {}, colour), channel, low, high) };
  });
  const element = h("div", { class: "composite", role: "group", "aria-label": "Composite" });
  element.append(...rows.map((row) => row.element));

  element.addEventListener("change", () => {
    const bands = rows.map(({ channel }) => Number(channel.value));
    const ranges = rows.map(({ low, high }) => rangeOf(low, high));
    if (!bands.some((band) => band)) return session.say("One of the colours needs a channel.");
    if (ranges.includes(undefined)) return; // its other end is still to come
    const query = compositeToQuery({ bands, ranges: ranges as (Range | null)[] });
    void session.showChannel(query);
  });

  session.watchers.push(() => {
    const sight = session.editor?.sight;
    const mixed = typeof sight?.channel === "string" ? sight.channel : null;
    element.hidden = mixed === null;
    if (!sight || mixed === null) return;
    const { channels } = sight.planes;
    const looks = JSON.stringify([channels, mixed]);
    if (element.dataset.looks === looks) return; // what was chosen since is still on its way
    element.dataset.looks = looks;
    const { bands, ranges } = queryToComposite(mixed);
    rows.forEach(({ channel, low, high }, place) => {
      fill(channel, JSON.stringify(channels), () =>
        ["none", ...channels].map((name, band) => h("option", { value: band }, name)),
      );
      channel.value = String(bands[place]);
      for (const [end, field] of [low, high].entries()) {
        if (field === document.activeElement) continue; // somebody is typing there
        field.value = String(ranges[place]?.[end] ?? "");
      }
    });
  });
  return element;
}

/** Two values, null for neither; undefined while they make no range. */
function rangeOf(low: HTMLInputElement, high: HTMLInputElement): Range | null | undefined {
  if (low.value === "" && high.value === "") return null;
  const range = [Number(low.value), Number(high.value)] as const;
  const whole = low.value !== "" && high.value !== "" && range[0] < range[1];
  high.setCustomValidity(whole || high.value === "" ? "" : "must be larger");
  return whole ? range : undefined;
}
