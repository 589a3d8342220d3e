/** What lies over the image now and then: messages, the review bar, the empty page. */

import { conceptOf, nextConcept } from "../state/concepts";
import { reviewedMask, judge, keep, nextReview } from "../state/review";
import type { Session } from "../state/session";
import type { Speaker } from "../state/speaker";
import { isEmpty } from "../state/work";
import { button, fill, h, icon, iconButton, link } from "./dom";
import { Expiry } from "./expiry";

export function toasts(session: Speaker): HTMLElement {
  const element = h("div", { class: "toasts", role: "alert" });
  const expiry = new Expiry(session, () => element.matches(":hover, :focus-within"));
  for (const event of ["pointerenter", "pointerleave", "focusin", "focusout"]) {
    element.addEventListener(event, () => setTimeout(() => expiry.follow()));
  }
  session.watchers.push(() => expiry.follow());
  session.watchers.push(() =>
    fill(element, session.messages.map((message) => message.text).join("\n"), () =>
      session.messages.map((message) =>
        h(
          "div",
          { class: "toast" },
          h("span", {}, message.text),
          ...message.actions.map(({ title, run }) =>
            link(title, () => {
              session.dismiss(message);
              run();
            }),
          ),
          iconButton("cross", "Dismiss message", "", () => session.dismiss(message)),
        ),
      ),
    ),
  );
  return element;
}

/** Accept, fix, reject: the mask, why it was sampled, three buttons. */
export function reviewBar(session: Session): HTMLElement {
  const element = h("div", { class: "review", role: "group", "aria-label": "Review" });
  session.watchers.push(() => {
    const { editor, project, review } = session;
    element.hidden = project.stage !== "review" || !editor || conceptOf(session) !== null;
    const making = editor !== null && !isEmpty(editor.draft);
    const fixing = making && editor.draft.fixes !== null;
    const mask = reviewedMask(session);
    const nameless = mask && mask.label === null && session.labels.all.length > 0;
    const { record, why } = review?.item ?? {};
    const signature = JSON.stringify([record, why, making, fixing, mask?.label, nameless]);
    fill(element, signature, () => {
      const kept = fixing ? "Keep the correction" : "Keep the new mask";
      if (!review)
        return [
          button("Next mask to review", "N", () => void nextReview(session), "primary"),
          !!session.store.nextConcept &&
            button("Review phrases", "/", () => void nextConcept(session)),
        ];
      return [
        h(
          "span",
          { class: "why" },
          mask?.label ?? h("strong", { class: "nameless" }, `no class${nameless ? ": 1–9" : ""}`),
          ` · ${review.item.why}`,
        ),
        making
          ? button(kept, "Enter", () => void keep(session), "primary")
          : button("Accept", "A", () => void judge(session, "accept"), "good"),
        !making && button("Edit", "F", () => void judge(session, "fix")),
        button("Reject", "R", () => void judge(session, "reject"), "bad"),
      ];
    });
  });
  return element;
}

/** What is there instead of an image: an invitation, or why this one could not be opened. */
export function emptyPage(
  session: Session,
  openFiles: () => void,
  openSample: () => void,
  openVideo: () => void,
): HTMLElement {
  const element = h("div", { class: "empty" });
  session.watchers.push(() => {
    element.hidden = session.editor !== null || session.opening !== null;
    const { failed, images, index, store } = session;
    fill(element, `${failed?.name} ${failed?.why} ${index} ${images.length}`, () => {
      if (failed) return unopened(session, failed);
      if (images.length) return [];
      return store.kind === "local"
        ? invitation(store.sends, openFiles, openSample, openVideo)
        : [
            h("h2", {}, "This project has no images"),
            h("p", {}, "Copy images into the project's folder, then reload this page."),
          ];
    });
  });
  return element;
}

function invitation(
  sends: boolean,
  openFiles: () => void,
  openSample: () => void,
  openVideo: () => void,
): HTMLElement[] {
  const where = sends
    ? "Images are sent to the server for encoding and are not stored there. Your " +
      "annotations are saved in this browser."
    : "Images stay on this computer: the model runs in this page. Your annotations " +
      "are saved in this browser.";
  return [
    h("h2", {}, "Open images to annotate"),
    h("p", {}, where),
    h(
      "button",
      { class: "button primary large", type: "button", onclick: openFiles },
      icon("open"),
      "Open images",
    ),
    h("p", { class: "dim" }, "or drop them here"),
    link("Try a sample image", openSample),
    link("Open a video or scan …", openVideo),
  ];
}

function unopened(session: Session, { name, why }: { name: string; why: string }): HTMLElement[] {
  const last = session.index >= session.images.length - 1;
  return [
    h("h2", {}, `${name} could not be opened`),
    h("p", { role: "alert" }, why),
    h(
      "div",
      { class: "choices" },
      button("Try again", "", () => void session.retry(), last ? "primary" : ""),
      ...(last ? [] : [button("Next image", "Page ↓", () => void session.go(1), "primary")]),
    ),
  ];
}

/** A thin line over the image while something long is going on. */
export function progressLine(session: Session): HTMLElement {
  const line = h("div", { class: "progress", role: "progressbar", "aria-label": "Progress" });
  session.watchers.push(() => {
    const { editor } = session;
    const [done, all] = editor?.finding ?? [0, 0];
    const thinking =
      session.opening !== null || (editor !== null && !editor.encoded && !!session.model());
    line.hidden = !all && !thinking;
    line.dataset.endless = String(all <= 1);
    line.style.setProperty("--done", `${all > 1 ? (100 * done) / all : 100}%`);
  });
  return line;
}
