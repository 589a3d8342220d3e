/** How image and masks are drawn: sliders, kept in this browser; nothing of it is exported. */

import { PLAIN, type DisplaySettings, type Session } from "../state/session";
import { checkbox, h, link, svg } from "./dom";
import { pixelFields } from "./ruler";

const KEY = "anymask-look";

const SLIDERS: [
  name: keyof DisplaySettings,
  title: string,
  min: number,
  max: number,
  step: number,
][] = [
  ["fill", "Mask opacity", 0, 1, 0.02],
  ["outline", "Mask outline", 0, 5, 1],
  ["brightness", "Brightness", 0.2, 3, 0.05],
  ["contrast", "Contrast", 0.2, 4, 0.05],
  ["gamma", "Gamma", 0.2, 3, 0.05],
];

const SWITCHES: [name: "guides" | "bar", title: string, key: string][] = [
  ["guides", "Guide lines", "Ctrl+G"],
  ["bar", "Scale bar", "Ctrl+U"],
];

export function storedDisplay(): DisplaySettings {
  try {
    return {
      ...PLAIN,
      ...(JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<DisplaySettings>),
    };
  } catch {
    return PLAIN;
  }
}

export function adjustPanel(session: Session, stage: HTMLElement): HTMLElement {
  const ramps = ["R", "G", "B"].map((channel) => svg(`feFunc${channel}`, { type: "gamma" }));
  const gamma = svg("filter", { id: "gamma", "color-interpolation-filters": "sRGB" });
  gamma.append(svg("feComponentTransfer", {}, ...ramps));
  const rows = SLIDERS.map(([name, title, min, max, step]) => {
    const input = h("input", { type: "range", min, max, step, "aria-label": title });
    input.addEventListener("input", () => change({ [name]: Number(input.value) }));
    return { name, input, element: h("label", {}, h("span", {}, title), input) };
  });
  const switches = SWITCHES.map(([name, title, key]) => {
    const { input, element } = checkbox({}, title, h("kbd", {}, key));
    input.addEventListener("change", () => change({ [name]: input.checked }));
    return { name, input, element };
  });
  const image = () => stage.querySelector<HTMLElement>(".layer-image");
  const apply = () => {
    const { display } = session;
    for (const { name, input } of rows) input.value = String(display[name]);
    for (const { name, input } of switches) input.checked = display[name];
    for (const ramp of ramps) ramp.setAttribute("exponent", String(1 / display.gamma));
    const parts = [
      display.brightness !== 1 && `brightness(${display.brightness})`,
      display.contrast !== 1 && `contrast(${display.contrast})`,
      display.gamma !== 1 && "url(#gamma)",
    ];
    if (image()) image()!.style.filter = parts.filter(Boolean).join(" ");
  };
  const change = (part: Partial<DisplaySettings>) => {
    session.display = { ...session.display, ...part };
    localStorage.setItem(KEY, JSON.stringify(session.display));
    apply();
    session.editor?.refresh();
    session.redraw();
  };
  const reset = link("Reset", () => change(PLAIN));
  const element = h(
    "div",
    { class: "adjust", role: "group", "aria-label": "Display settings", hidden: true },
    ...rows.map((row) => row.element),
    ...switches.map((one) => one.element),
    pixelFields(session),
    reset,
  );
  element.append(svg("svg", { width: "0", height: "0", "aria-hidden": "true" }, gamma));
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation(); // it is about this panel, not about the mask in the making
    element.hidden = true;
    stage.focus();
  });
  session.changeDisplay = change;
  apply();
  return element;
}
