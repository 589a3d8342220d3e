/** Elements in one expression. */

type Child = Node | string | null | false;
type Props = Record<string, unknown>;

/** `on...` is a listener, `class`, `aria-...` and the rest are attributes; null leaves one out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value as EventListener);
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.filter((child): child is Node | string => !!child));
  return element;
}

/** Another text, but only where it is another one: a screen reader says it once. */
export function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Options by their values and texts. */
export const select = (props: Props, options: readonly (readonly unknown[])[] = []) =>
  h(
    "select",
    { class: "modes", ...props },
    ...options.map(([value, text]) => h("option", { value }, String(text))),
  );

/** A box to tick, in its label. */
export function checkbox(props: Props, ...label: Child[]) {
  const input = h("input", { type: "checkbox", ...props });
  return { input, element: h("label", { class: "check" }, input, ...label) };
}

/** A form that is not submitted to a server: `run` handles it. */
export function form(props: Props, run: () => void, ...children: Child[]): HTMLFormElement {
  const onsubmit = (event: SubmitEvent) => {
    event.preventDefault();
    run();
  };
  return h("form", { ...props, onsubmit }, ...children);
}

/** Takes files that are chosen; a button opens it. */
export function fileField(name: string, accept: string | null, take: (files: File[]) => void) {
  const input = h("input", { type: "file", accept, hidden: true, "aria-label": name });
  input.addEventListener("change", () => {
    take([...(input.files ?? [])]);
    input.value = "";
  });
  return input;
}

/** Replace what is inside, but only where it is to look different. */
export function fill(element: HTMLElement, signature: string, make: () => Child[]): void {
  if (element.dataset.signature === signature) return;
  element.dataset.signature = signature;
  const place = [...element.children].findIndex((child) => child === document.activeElement);
  element.replaceChildren(...make().filter((child): child is Node | string => !!child));
  if (place >= 0) (element.children[place] as HTMLElement | undefined)?.focus(); // the keyboard's
}

/** What the mouse has changed gives the keys back to the image; the keyboard's focus stays. */
export function keysBack(field: HTMLElement, image: HTMLElement): void {
  let pointed = false;
  field.addEventListener("pointerdown", () => (pointed = true));
  field.addEventListener("keydown", () => (pointed = false));
  field.addEventListener("change", () => pointed && image.focus());
}

const PATHS = {
  point: "M12 3v5M12 16v5M3 12h5M16 12h5M12 12h.01",
  minus: "M4 12a8 8 0 1 0 16 0a8 8 0 1 0-16 0M8 12h8",
  box: "M4 5h16v14H4z",
  lasso: "M7 17c-3-1-4-4-3-7s5-5 9-5 8 3 7 7-6 5-9 4-3 3-1 5",
  brush: "M4 20c4 1 6-1 6-4M9 15l9-11c1-1 3 1 2 2L11 17",
  eraser: "M8 19h12M5 14l9-9 6 6-8 8H9z",
  polygon: "M12 3l8 6-3 11H7L4 9z",
  pick: "M6 3l13 8-6 1.5L10 19z",
  pan: "M12 3v18M3 12h18M9 6l3-3 3 3M9 18l3 3 3-3M6 9l-3 3 3 3M18 9l3 3-3 3",
  everything: "M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h6v6h-6z",
  search: "M10 4a6 6 0 1 0 0 12a6 6 0 1 0 0-12M14.5 14.5L20 20",
  undo: "M8 6L4 10l4 4M4 10h10a5 5 0 0 1 0 10h-3",
  redo: "M16 6l4 4-4 4M20 10H10a5 5 0 0 0 0 10h3",
  previous: "M15 5l-7 7 7 7",
  next: "M9 5l7 7-7 7",
  open: "M4 7h6l2 2h8v10H4z",
  export: "M12 4v11M8 11l4 4 4-4M5 20h14",
  import: "M12 15V4M8 8l4-4 4 4M5 20h14",
  help: "M9 9a3 3 0 1 1 4 3c-1 .5-1 1-1 2M12 18h.01",
  theme: "M12 4a8 8 0 1 0 0 16zM12 4v16",
  report: "M5 20V10M12 20V4M19 20v-7",
  cut: "M4 4h11v11H4zM9 20h11V9",
  check: "M5 12l5 5 9-10",
  cross: "M6 6l12 12M18 6L6 18",
  eye: "M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12zM12 9a3 3 0 1 1 0 6 3 3 0 0 1 0-6",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  up: "M6 14l6-6 6 6",
  down: "M6 10l6 6 6-6",
  video: "M4 5h16v14H4zM8 5v14M16 5v14M4 9.7h4M4 14.3h4M16 9.7h4M16 14.3h4",
  play: "M8 5l11 7-11 7z",
  pause: "M8 5v14M16 5v14",
  first: "M17 5l-8 7 8 7M6 5v14",
  last: "M7 5l8 7-8 7M18 5v14",
  follow: "M3 12h9M9 8l4 4-4 4M15 6h6v12h-6",
  flag: "M6 21V4h11l-3 4 3 4H6",
  flagBack: "M18 21V4H7l3 4-3 4h11",
  widen: "M5 6l6 6-6 6M13 6l6 6-6 6",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  sliders: "M4 7h9M17 7h3M13 5v4M4 17h3M11 17h9M9 15v4",
  fix: "M4 20l4-1L19 8l-3-3L5 16z",
} as const;

export type Icon = keyof typeof PATHS;

export function svg(tag: string, attributes: Record<string, string>, ...inside: Element[]) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...inside);
  return element;
}

export function icon(name: Icon): SVGElement {
  const about = { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" };
  return svg("svg", about, svg("path", { d: PATHS[name] }));
}

/** A button with an icon, a name that is read out, and its key. */
export function iconButton(name: Icon, title: string, key: string, run: () => void) {
  const said = key ? `${title} (${key})` : title;
  return h(
    "button",
    { class: "icon-button", type: "button", title: said, "aria-label": said, onclick: run },
    icon(name),
  );
}

/** A button that opens and closes a panel; `turn` does so by itself. */
export function opener(name: Icon, title: string, kind: string, panel: () => HTMLElement) {
  const button = iconButton(name, title, "", () => turn(panel().dataset.open !== "true"));
  const turn = (open: boolean) => {
    panel().dataset.open = String(open);
    button.setAttribute("aria-expanded", String(open));
  };
  button.classList.add(kind);
  button.setAttribute("aria-expanded", "false");
  return { button, turn };
}

/** A button with a text and its key. */
export const button = (text: string, key: string, run: () => void, kind = "") =>
  h(
    "button",
    { class: `button ${kind}`, type: "button", onclick: run },
    text,
    key && h("kbd", {}, key),
  );

export const link = (text: string, run: () => void, title: string | null = null) =>
  h("button", { class: "link", type: "button", title, onclick: run }, text);

export const exportButton = (run: () => void) =>
  h(
    "button",
    { class: "button primary", type: "button", title: "Export (Ctrl+S)", onclick: run },
    icon("export"),
    "Export",
  );
