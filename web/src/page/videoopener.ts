/** How a video is opened: a file, one of the server's own, or why there is none to be had. */

import type { VideoWork } from "../state/videowork";
import type { Session } from "../state/session";
import { isVideo } from "../store/videos";
import type { Offers, Videos } from "../store/videos";
import { dialog } from "./dialogs";
import { h, icon } from "./dom";
import { forgetVideo, keptVideo, showVideo } from "./video";

const NO_SERVER =
  "Objects are followed through a video by a server, and there is none behind this page. " +
  "Install anymask[serve,video], run “anymask serve”, and open the page that it names.";

export class VideoOpener {
  private videoWork: VideoWork | null = null;
  private opening = false;

  constructor(
    private readonly root: HTMLElement,
    private readonly session: Session,
    private readonly videos: Videos | null,
  ) {}

  /** The dialog: choose a file, or one of the server's own videos. */
  async ask(): Promise<void> {
    if (!this.videos) {
      dialog("Video", h("p", {}, NO_SERVER));
      return;
    }
    const said = h("p", { class: "said", role: "status" });
    const inside = h("div", { class: "video-offers" }, "Asking the server …");
    const element = dialog("Video", inside, said);
    try {
      const offers = await this.videos.offers();
      inside.replaceChildren(...this.choices(offers, said, element));
      inside.querySelector("button")?.focus();
    } catch (error) {
      said.textContent = (error as Error).message;
    }
  }

  private choices(offers: Offers, said: HTMLElement, element: HTMLDialogElement): HTMLElement[] {
    const open = async (source: File | string) => {
      said.textContent = `Opening ${typeof source === "string" ? source : source.name} …`;
      const why = await this.open(source, () => element.close());
      said.textContent = why ?? "";
    };
    const input = h("input", {
      type: "file",
      accept: "video/*,image/gif,.mkv,.avi,.mov",
      hidden: true,
      "aria-label": "Video file",
    });
    input.addEventListener("change", () => {
      const file = input.files?.[0];
      input.value = "";
      if (file) void open(file);
    });
    const choose = h("button", { class: "button primary large", type: "button" });
    choose.append(icon("open"), "Choose a video file");
    choose.addEventListener("click", () => input.click());
    const most = `MP4, WebM, AVI, GIF and more, up to ${Math.round(offers.upload_bytes / 1e6)} MB`;
    const clips = offers.clips.map((clip) => {
      const button = h("button", { class: "choice", type: "button" }, clip);
      button.addEventListener("click", () => void open(clip));
      return button;
    });
    return [
      ...(offers.files
        ? [choose, input, h("p", { class: "dim small" }, `${most}, or drop one on the page.`)]
        : [h("p", {}, "This server reads no video files: pip install 'anymask[video]' there.")]),
      ...(clips.length ? [h("h3", {}, "On the server"), ...clips] : []),
    ];
  }

  /** Open a video in place of what is shown; says why it could not be opened. */
  async open(source: File | string, opened: () => void = () => undefined): Promise<string | null> {
    if (!this.videos) return NO_SERVER;
    if (this.opening) return "Another video is being opened.";
    this.opening = true;
    const title = typeof source === "string" ? source : source.name;
    try {
      await this.checkSize(source);
      const facts = await this.videos.open(source);
      opened();
      this.leave();
      this.videoWork = await showVideo(this.place(), this.videos, facts, { title });
      return null;
    } catch (error) {
      return `${title} could not be opened: ${(error as Error).message}`;
    } finally {
      this.opening = false;
    }
  }

  private async checkSize(source: File | string): Promise<void> {
    if (typeof source === "string") return;
    const { upload_bytes: most } = await this.videos!.offers();
    if (source.size <= most) return;
    const [wanted, got] = [most, source.size].map((bytes) => Math.ceil(bytes / 1e6));
    throw new Error(
      `it has ${got} MB, and this server takes ${wanted}; start it with --video FILE, or with a ` +
        `larger --upload-megabytes`,
    );
  }

  private place() {
    return {
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

  /** The photos are back where a video was shown. */
  private leave(): void {
    this.videoWork?.leave();
  }

  /** Go on with the video that a reload has left. */
  async resume(): Promise<void> {
    const kept = keptVideo();
    if (!kept || !this.videos) return;
    try {
      const facts = await this.videos.look(kept.name);
      this.videoWork = await showVideo(this.place(), this.videos, facts, kept);
    } catch {
      forgetVideo();
      this.session.say(`${kept.title}: the server has closed this video's session.`);
    }
  }

  /** Open the video among files that were dropped or chosen; the others are left. */
  async take(files: readonly File[]): Promise<File[]> {
    const videos = await Promise.all(files.map(isVideo));
    const videoWork = files.find((_, i) => videos[i]);
    if (videoWork) {
      const speaker = this.videoWork ?? this.session;
      const text = `Opening ${videoWork.name} …`;
      speaker.say(text);
      const why = await this.open(videoWork);
      const message = speaker.messages.find((one) => one.text === text);
      if (message) speaker.dismiss(message);
      if (why) speaker.say(why);
    } else if (this.videoWork && files.length) this.videoWork.say(`${files[0].name} is no video.`);
    return files.filter((_, i) => !videos[i]);
  }
}
