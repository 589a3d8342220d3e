/** Which channels are red, green and blue, and between which of their values each is drawn. */

import type { Stage } from "../canvas/stage";
import { compositeToQuery, mixable, queryToComposite } from "../state/composite";
import type { Composite, Range } from "../state/composite";
import type { Sight } from "../state/encoding";
import type { Session } from "../state/session";
import type { ChannelRange, Planes } from "../store/store";
import { fill, h, keysBack, link, select } from "./dom";

const COLOURS = ["Red", "Green", "Blue"];

interface Row {
  name: HTMLElement;
  channel: HTMLSelectElement;
  low: HTMLInputElement;
  high: HTMLInputElement;
  white: HTMLInputElement; // a slider for the same as high
  element: HTMLElement;
}

export function compositeBar(session: Session, stage: Stage): HTMLElement {
  const rows = COLOURS.map(rowOf);
  const auto = link("Auto", () => {
    for (const row of rows) writeRange(row, null);
    apply();
    stage.element.focus();
  });
  const element = h("div", { class: "composite", role: "group", "aria-label": "Composite" });
  element.append(...rows.map((row) => row.element), auto);
  const chosen = new Map<number, Range>(); // by band, while other channels are looked at
  let waiting = 0; // for what was chosen last: until it is there, the fields say it, not the page
  const known = new Values(session, () => show());

  const show = () => {
    const sight = session.editor?.sight;
    const mixed = typeof sight?.channel === "string" ? sight.channel : null;
    element.hidden = mixed === null;
    if (!sight || mixed === null) return;
    known.ask(sight);
    if (!waiting) write(rows, sight.planes, queryToComposite(mixed));
    const gray = mixable(sight.planes) === 1;
    rows.forEach((row, place) => {
      row.element.hidden = gray && place > 0;
      row.channel.hidden = gray;
      row.name.textContent = gray ? "Values" : COLOURS[place];
      hint(row, known.of(Number(row.channel.value)));
    });
  };

  const apply = () => {
    const shown = rows[1].element.hidden ? rows.map(() => rows[0]) : rows;
    const bands = shown.map(({ channel }) => Number(channel.value));
    const found = shown.map((row, place) => rangeOf(row, known.of(bands[place])));
    const wrong = found.indexOf("wrong");
    if (!bands.some((band) => band)) return session.say("Select a channel for at least one color.");
    if (wrong >= 0)
      return session.say(
        `${shown[wrong].name.textContent}: the second value must be larger than the first.`,
      );
    if (found.includes("open")) return; // its other end is still to come
    const ranges = found as (Range | null)[];
    bands.forEach((band, place) => {
      const range = ranges[place];
      if (range) chosen.set(band, range);
      else chosen.delete(band);
    });
    waiting++;
    void session.showChannel(compositeToQuery({ bands, ranges })).finally(() => {
      waiting--;
      show();
    });
  };
  for (const row of rows) {
    row.channel.addEventListener("change", () => {
      writeRange(row, chosen.get(Number(row.channel.value)) ?? null);
      apply();
    });
    keysBack(row.channel, stage.element);
    for (const field of [row.low, row.high, row.white]) field.addEventListener("change", apply);
    row.white.addEventListener("input", () => (row.high.value = short(Number(row.white.value))));
    keysBack(row.white, stage.element);
  }
  session.watchers.push(show);
  return element;
}

function rowOf(color: string): Row {
  const name = h("span", {}, color);
  const channel = select({ "aria-label": `${color} channel` });
  const [low, high] = ["from", "to"].map((what) =>
    h("input", { type: "number", step: "any", "aria-label": `${color} ${what}` }),
  );
  const white = h("input", { type: "range", step: "any", "aria-label": `${color} white level` });
  const element = h("div", {}, name, channel, low, "to", high, white);
  return { name, channel, low, high, white, element };
}

/** The fields say what is on the screen, but where somebody is typing. */
function write(rows: Row[], { channels }: Planes, { bands, ranges }: Composite): void {
  const names = ["none", ...(channels.length ? channels : ["Gray"])];
  rows.forEach((row, place) => {
    fill(row.channel, JSON.stringify(names), () =>
      names.map((name, band) => h("option", { value: band }, name)),
    );
    row.channel.value = String(bands[place]);
    const typing = [row.low, row.high, row.white].some((field) => field === document.activeElement);
    if (!typing) writeRange(row, ranges[place]);
  });
}

function writeRange({ low, high }: Row, range: Range | null): void {
  low.value = String(range?.[0] ?? "");
  high.value = String(range?.[1] ?? "");
}

/** Empty fields show what is drawn without them. */
function hint({ channel, low, high, white, element }: Row, values: ChannelRange | null): void {
  low.disabled = high.disabled = channel.value === "0";
  white.disabled = low.disabled || !values;
  low.placeholder = values ? short(values.low) : "from";
  high.placeholder = values ? short(values.high) : "to";
  white.min = low.value || String(values?.low ?? 0);
  white.max = String(Math.max(values?.most ?? 1, values?.high ?? 1));
  white.value = high.value || String(values?.high ?? 1);
  element.title = values ? `values ${short(values.least)} to ${short(values.most)}` : "";
}

/** Whole numbers, but where all values lie close together. */
const short = (value: number) =>
  Math.abs(value) < 100 ? String(Number(value.toPrecision(3))) : value.toFixed(0);

/** Two values, null for neither; an end that is left out is the channel's own, "open" unknown. */
function rangeOf({ low, high }: Row, values: ChannelRange | null): Range | null | "open" | "wrong" {
  if (low.value === "" && high.value === "") return null;
  const from = low.value === "" ? values?.low : Number(low.value);
  const to = high.value === "" ? values?.high : Number(high.value);
  if (from === undefined || to === undefined) return "open";
  return from < to ? [from, to] : "wrong";
}

/** What numbers the channels of the open page have, asked for once. */
class Values {
  private found: ChannelRange[] = [];
  private asked = "";

  constructor(
    private readonly session: Session,
    private readonly came: () => void,
  ) {}

  of(band: number): ChannelRange | null {
    return this.found[band - 1] ?? null;
  }

  ask({ page }: Sight): void {
    const image = this.session.editor!.entry.id;
    const key = `${image}#${page}`;
    if (key === this.asked) return;
    this.asked = key;
    this.found = [];
    this.session.store.values(image, page).then(
      (found) => {
        if (key !== this.asked) return;
        this.found = found;
        this.came();
      },
      () => null, // the fields do without
    );
  }
}
