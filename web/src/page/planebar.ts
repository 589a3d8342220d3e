/** Which page of a stack is shown, and in which channel; hidden where nothing is to be chosen. */

import type { Stage } from "../canvas/stage";
import { channelsOf, pageBeside, turnPage } from "../state/encoding";
import type { Session } from "../state/session";
import type { Channel, Planes } from "../store/store";
import { compositeBar } from "./compositebar";
import { fill, h, iconButton, keysBack, select, setText } from "./dom";

export function planeBar(session: Session, stage: Stage): HTMLElement {
  const previous = iconButton("previous", "Previous page", "<", () => void turnPage(session, -1));
  const next = iconButton("next", "Next page", ">", () => void turnPage(session, 1));
  const slider = h("input", { type: "range", min: 0, step: 1, "aria-label": "Page" });
  const place = h("span", { class: "dim" });
  const channel = select({ "aria-label": "Channel" });
  const pages = h("div", { class: "pages" }, previous, slider, next, place);
  const element = h("div", { class: "planes", role: "group", "aria-label": "Planes" });
  element.append(pages, channel, compositeBar(session, stage));
  slider.addEventListener("input", () => tell(session, place, Number(slider.value)));
  slider.addEventListener("change", () => {
    const { editor } = session;
    const chosen = editor?.sight.planes.pages[Number(slider.value)];
    if (editor && chosen) void session.open(editor.entry.id, chosen.page);
  });
  channel.addEventListener("change", () => {
    const sight = session.editor?.sight;
    if (sight) void session.showChannel(channelsOf(sight)[channel.selectedIndex]);
  });
  keysBack(slider, stage.element);
  keysBack(channel, stage.element);
  stage.turned = (step) => {
    if (!session.opening && session.editor && pageBeside(session.editor.sight, step) !== null)
      void turnPage(session, step);
  };
  session.watchers.push(() => {
    const sight = session.editor?.sight;
    const channels = sight ? channelsOf(sight) : [];
    const count = sight?.planes.pages.length ?? 0;
    element.hidden = count < 2 && channels.length < 2;
    pages.hidden = count < 2;
    channel.hidden = channels.length < 2;
    if (!sight || element.hidden) return;
    const at = sight.planes.pages.findIndex((one) => one.page === sight.page);
    previous.disabled = at <= 0;
    next.disabled = at >= count - 1;
    slider.max = String(count - 1);
    if (document.activeElement !== slider || !session.opening) slider.value = String(at);
    tell(session, place, at);
    const names = channels.map((channel) => nameOf(channel, sight.planes));
    fill(channel, JSON.stringify(names), () => names.map((name) => h("option", {}, name)));
    const shown = sight.channel ?? channels[0];
    channel.selectedIndex = channels.indexOf(shown);
  });
  return element;
}

function nameOf(channel: Channel, { channels }: Planes): string {
  if (typeof channel === "string") return channels.length > 1 ? "Composite" : "Value range";
  return channel === null ? "Colors" : channels[channel];
}

function tell(session: Session, place: HTMLElement, at: number): void {
  const pages = session.editor?.sight.planes.pages ?? [];
  const name = pages[at]?.name;
  const fromOne = name?.replace(/\d+/g, (digits) => String(Number(digits) + 1));
  const alone = pages.every((one) => /^\D*\d+\D*$/.test(one.name)); // one axis: Z 1 of 2
  const text = `${alone ? fromOne : `page ${at + 1}`} of ${pages.length}`;
  setText(place, name && !alone ? `${text} · ${fromOne}` : text);
  place.title = `--page ${pages[at]?.page ?? 0} on the command line`;
}
