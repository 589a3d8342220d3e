/** The bar below a video of the project: accept, reject, correct the chosen track, go on. */

import { isCorrected } from "../state/correcting";
import type { ClipWork } from "../state/clipwork";
import type { VideoWork } from "../state/videowork";
import type { TrackEntry } from "../store/clips";
import { button, fill, h } from "./dom";

type Press = [text: string, key: string, run: () => void, kind?: string];

/** keep  stores an object where the video is no clip yet; null: there is no project */
export function clipBar(videoWork: VideoWork, keep: (() => void) | null): HTMLElement {
  const element = h("div", { class: "track-bar", role: "group", "aria-label": "Track" });
  videoWork.watchers.push(() => {
    const { clip, chosen } = videoWork;
    const [why, presses] = clip ? ofClip(videoWork, clip) : ofVideo(videoWork, keep);
    element.hidden = !clip && !keep; // always there in a project, so that the frame stays in place
    const signature = JSON.stringify([chosen, why, presses.map(([text]) => text), clip?.saving]);
    fill(element, signature, () => [
      h("span", { class: "why" }, h("strong", {}, videoWork.nameOf(chosen)), ` · ${why}`),
      ...presses.map(([text, key, run, kind = ""]) => {
        const press = button(text, key, run, kind);
        press.disabled = !!clip?.saving;
        return press;
      }),
    ]);
  });
  return element;
}

function ofVideo(videoWork: VideoWork, keep: (() => void) | null): [string, Press[]] {
  if (!keep || !videoWork.tracks.objects.length) return ["click the object", []];
  return ["not in the project", [["Save to project", "C", keep, "primary"]]];
}

function ofClip(videoWork: VideoWork, clip: ClipWork): [string, Press[]] {
  const entry = clip.of(videoWork.chosen);
  const next: Press = ["Next track", "Page ↓", () => void clip.next()];
  const keep = (text: string): Press => [text, "C", () => void clip.keep(), "primary"];
  if (isCorrected(videoWork, videoWork.chosen)) {
    const away: Press = ["Discard", "Esc", () => void clip.dropCorrection()];
    return ["corrected, not saved", [keep("Save correction"), away]];
  }
  if (!entry) {
    const masks = videoWork.tracks.all(videoWork.chosen).length;
    if (!masks) return ["click the object", []];
    return ["not in the project", [keep("Save to project")]];
  }
  const left = clip.counts.proposed > 0 ? [next] : [];
  if (entry.state !== "proposed") {
    const back: Press = ["Undo review", "U", () => void clip.removeVerdict()];
    return [`${entry.state} by ${entry.author}`, [back, ...left]];
  }
  return [
    doubtful(entry),
    [
      ["Accept", "A", () => void clip.judge("accept"), "good"],
      ["Reject", "R", () => void clip.judge("reject"), "bad"],
      next,
    ],
  ];
}

function doubtful({ doubtful: count }: TrackEntry): string {
  if (!count) return "no frames to review";
  return count === 1 ? "1 frame to review" : `${count} frames to review`;
}
