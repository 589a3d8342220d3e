/** How a video is opened: a file, one of the server's own, or why there is none to be had. */

import type { TrackStep } from "../state/clipwork";
import { View } from "../canvas/view";
import { VideoWork } from "../state/videowork";
import { VolumeWork } from "../state/volumework";
import type { KeptVideo } from "../state/said";
import type { Session } from "../state/session";
import type { ClipEntry, Clips } from "../store/clips";
import { isVideo, type Offers, type Videos } from "../store/videos";
import type { VolumeOffers, Volumes } from "../store/volumes";
import { dialog, saidLine } from "./dialogs";
import { fileField, h, icon } from "./dom";
import { forgetVideo, keptVideo, showVideo, type VideoPlace } from "./video";
import { scanExtras } from "./scan";

const NO_SERVER =
  "Tracking in videos and scans requires a server, and this page runs without one. See the " +
  "guide “Serve” in the documentation of anymask.";

type Kind = "video" | "scan";

const VIDEO_FILES = "video/*,.mkv,.avi,.mov";
const SCAN_FILES = ".nii,.gz,.mgh,.mgz,.nrrd,.tif,.tiff,.zip,.dcm";
const SCANS = /\.(nii|nii\.gz|mgh|mgz|nrrd|dcm)$/i; // of files that are dropped

/** A button, and the field behind it. */
function chooser(
  what: Kind,
  accept: string,
  open: (file: File) => Promise<void>,
): [HTMLElement, HTMLElement] {
  const name = what === "video" ? "Video file" : "Scan file";
  const input = fileField(name, accept, ([file]) => {
    if (file) void open(file);
  });
  const kind = what === "video" ? "button primary large" : "button large";
  const onclick = () => input.click();
  const about = { class: kind, type: "button", onclick };
  return [h("button", about, icon("open"), `Choose a ${what} file`), input];
}

/** A clip of the project; a video of its folder becomes one. */
async function entryOf(clips: Clips, source: ClipEntry | number | string): Promise<ClipEntry> {
  if (typeof source === "string") return clips.take(source);
  if (typeof source !== "number") return source;
  const found = (await clips.list()).clips.find(({ id }) => id === source);
  if (!found) throw new Error("The video is no longer in the project.");
  return found;
}

function farOf({ proposals, accepted, rejected }: ClipEntry): string {
  const counts = [
    proposals && `${proposals} to review`,
    accepted && `${accepted} accepted`,
    rejected && `${rejected} rejected`,
  ];
  return counts.filter(Boolean).join(", ") || "no tracks";
}

export class VideoOpener {
  private videoWork: VideoWork | null = null;
  private opening = false;
  private readonly done: TrackStep[] = []; // what can be undone in clips

  constructor(
    private readonly root: HTMLElement,
    private readonly session: Session,
    private readonly videos: Videos | null,
    private readonly clips: Clips | null,
    private readonly volumes: Volumes | null,
  ) {}

  /** The dialog: choose a file, or one of the server's own videos. */
  async ask(): Promise<void> {
    if (!this.videos) {
      dialog("Video or scan", h("p", {}, NO_SERVER));
      return;
    }
    const said = saidLine();
    const inside = h("div", { class: "video-offers" }, "Loading …");
    const element = dialog("Video or scan", inside, said);
    try {
      const asked = [this.videos.offers(), this.volumes!.offers(), this.clips?.list()] as const;
      const [offers, scans, own] = await Promise.all(asked);
      inside.replaceChildren(
        ...(own ? this.ofProject(own, said, element) : []),
        ...this.choices(offers, scans, said, element),
      );
      inside.querySelector("button")?.focus();
    } catch (error) {
      said.textContent = (error as Error).message;
    }
  }

  private choices(
    offers: Offers,
    scans: VolumeOffers,
    said: HTMLElement,
    element: HTMLDialogElement,
  ): HTMLElement[] {
    const open = (kind: Kind) => async (source: File | string) => {
      said.textContent = `Opening ${typeof source === "string" ? source : source.name} …`;
      const why = await this.open(source, () => element.close(), kind);
      said.textContent = why ?? "";
    };
    const own = (names: string[], kind: Kind) =>
      names.map((name) => {
        const onclick = () => void open(kind)(name);
        return h("button", { class: "choice", type: "button", onclick }, name);
      });
    const listed = [...own(offers.clips, "video"), ...own(scans.scans, "scan")];
    const most =
      `The maximum size is ${Math.round(offers.upload_bytes / 1e6)} MB. You can also ` +
      `drop a file on the page.`;
    const video = `MP4, WebM, AVI or another video file. ${most}`;
    const scan = `NIfTI, MGH, NRRD, TIFF stack or zipped DICOM series. ${most}`;
    const none = (what: string, extra: string) =>
      h(
        "p",
        {},
        `This server does not support ${what}. Ask its administrator to install the ` +
          `'${extra}' extra of anymask.`,
      );
    const about = (text: string) => h("p", { class: "dim small" }, text);
    return [
      ...(offers.files
        ? [...chooser("video", VIDEO_FILES, open("video")), about(video)]
        : [none("video files", "video")]),
      ...(scans.files
        ? [...chooser("scan", SCAN_FILES, open("scan")), about(scan)]
        : [none("scans", "volumes")]),
      ...(listed.length ? [h("h3", {}, "On the server"), ...listed] : []),
    ];
  }

  /** The project's clips with how far their tracks are, and the videos of its folder. */
  private ofProject(
    { clips, found }: { clips: ClipEntry[]; found: string[] },
    said: HTMLElement,
    element: HTMLDialogElement,
  ): HTMLElement[] {
    const open = (source: ClipEntry | string) => async () => {
      said.textContent = `Opening ${typeof source === "string" ? source : source.name} …`;
      const why = await this.openClip(source, null, () => element.close());
      said.textContent = why ?? "";
    };
    const line = (name: string, about: string, run: () => Promise<void>) =>
      h(
        "button",
        { class: "clip-line", type: "button", onclick: () => void run() },
        h("span", { class: "name" }, name),
        h("span", { class: "dim" }, about),
      );
    const lines = [
      ...clips.map((clip) => line(clip.name, farOf(clip), open(clip))),
      ...found.map((name) => line(name, "not started", open(name))),
    ];
    return lines.length
      ? [h("h3", {}, "In this project"), h("div", { class: "clip-list" }, ...lines)]
      : [];
  }

  /** Open a clip by its entry or number, or a video of the folder by its name. */
  async openClip(
    source: ClipEntry | number | string,
    object: number | null = null,
    opened: () => void = () => undefined,
  ): Promise<string | null> {
    const { clips, videos } = this;
    if (!clips || !videos) return NO_SERVER;
    let title = "The video";
    const work = async () => {
      const clip = await entryOf(clips, source);
      title = clip.name;
      const made = new VideoWork(videos, await clips.session(clip.id), title, new View());
      opened();
      this.leave();
      this.videoWork = await this.shown(made, { title, object }, clip);
    };
    return this.alone(work, () => title);
  }

  /** Open one video at a time; says why it could not be opened. */
  private async alone(work: () => Promise<void>, title: () => string): Promise<string | null> {
    if (this.opening) return "Another video is being opened.";
    this.opening = true;
    try {
      await work();
      return null;
    } catch (error) {
      return `${title()} could not be opened. ${(error as Error).message}`;
    } finally {
      this.opening = false;
    }
  }

  /** Open a video in place of what is shown; says why it could not be opened. */
  async open(
    source: File | string,
    opened: () => void = () => undefined,
    kind: Kind = "video",
  ): Promise<string | null> {
    const { videos, volumes } = this;
    if (!videos) return NO_SERVER;
    const title = typeof source === "string" ? source : source.name;
    const work = async () => {
      await this.checkSize(source);
      const made =
        kind === "scan"
          ? new VolumeWork(await volumes!.open(source), title, new View())
          : new VideoWork(videos, await videos.open(source), title, new View());
      opened();
      this.leave();
      this.videoWork = await this.shown(made, { title, object: null });
    };
    return this.alone(work, () => title);
  }

  /** A session whose page cannot be shown is ended. */
  private async shown(
    work: VideoWork,
    kept: KeptVideo | { title: string; object: number | null },
    clip: ClipEntry | null = null,
  ): Promise<VideoWork> {
    const extras = work instanceof VolumeWork ? scanExtras(work) : undefined;
    try {
      return await showVideo(this.place(clip), work, kept, extras);
    } catch (error) {
      await work.videos.end(work.facts.name);
      throw error;
    }
  }

  private async checkSize(source: File | string): Promise<void> {
    if (typeof source === "string") return;
    const { upload_bytes: most } = await this.videos!.offers();
    if (source.size <= most) return;
    const [wanted, got] = [most, source.size].map((bytes) => Math.ceil(bytes / 1e6));
    throw new Error(
      `The file has ${got} MB, but this server accepts at most ${wanted} MB. ` +
        `Use a smaller file, or ` +
        `ask the administrator of the server to raise the limit.`,
    );
  }

  private place(clip: ClipEntry | null = null): VideoPlace {
    const say = (why: string | null) => {
      if (why) (this.videoWork ?? this.session).say(why);
    };
    return {
      clip,
      project: this.clips,
      done: this.done,
      openClip: (source, object) => void this.openClip(source, object).then(say),
      root: this.root,
      names: this.session.labels.all.map(({ name }) => name),
      open: () => void this.ask(),
      take: (files: File[]) => void this.take(files),
      closed: () => {
        this.videoWork = null;
        document.querySelector<HTMLElement>(".stage")?.focus();
      },
    };
  }

  /** The images are back where a video was shown. */
  private leave(): void {
    this.videoWork?.leave();
  }

  /** Go on with the video that a reload has left. */
  async resume(): Promise<void> {
    const kept = keptVideo();
    if (!kept || !this.videos) return;
    try {
      const clip = kept.clip === null ? null : await entryOf(this.clips!, kept.clip);
      const made = kept.scan
        ? new VolumeWork(await this.volumes!.again(kept.name), kept.title, new View())
        : new VideoWork(this.videos, await this.videos.getState(kept.name), kept.title, new View());
      this.videoWork = await this.shown(made, kept, clip);
    } catch {
      forgetVideo();
      if (kept.clip !== null && (await this.openClip(kept.clip, kept.chosen)) === null) return;
      this.session.say(`The server has closed the session of ${kept.title}. Open it again.`);
    }
  }

  /** Open the video among files that were dropped or chosen; the others are left. */
  async take(files: readonly File[]): Promise<File[]> {
    const scans = files.map(({ name }) => SCANS.test(name));
    const videos = files.map((file, i) => scans[i] || isVideo(file));
    const videoWork = files.find((_, i) => videos[i]);
    if (videoWork) {
      const speaker = this.videoWork ?? this.session;
      const text = `Opening ${videoWork.name} …`;
      speaker.say(text);
      const kind = SCANS.test(videoWork.name) ? "scan" : "video";
      const why = await this.open(videoWork, () => undefined, kind);
      const message = speaker.messages.find((one) => one.text === text);
      if (message) speaker.dismiss(message);
      if (why) speaker.say(why);
    } else if (this.videoWork && files.length)
      this.videoWork.say(`${files[0].name} is not a supported video or scan.`);
    return files.filter((_, i) => !videos[i]);
  }
}
