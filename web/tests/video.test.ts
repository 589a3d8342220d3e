import { describe, expect, test } from "vitest";

import { View } from "../src/canvas/view";
import { VideoWork } from "../src/state/videowork";
import { promptOf, type Said } from "../src/state/said";
import { Tracks, type Found, type ObjectState, type Stretch } from "../src/state/tracks";
import { frameAt, isVideo, lineOf, secondsOf } from "../src/store/videos";
import type { Line, Prompt, VideoFacts, Videos } from "../src/store/videos";

const LENGTH = 8;

function found(state: ObjectState = "visible", prompted = false, doubts: string[] = []): Found {
  const segmentation = { size: [2, 2] as [number, number], counts: [0, 4] };
  return { segmentation, area: state === "lost" ? 0 : 4, score: 1, state, doubts, prompted };
}

/** Object 1 is prompted on frame 2 and known up to frame 4, object 2 prompted on frame 5. */
function tracks(): Tracks {
  const made = new Tracks();
  made.add(1, 2, found("visible", true));
  made.add(1, 3, found());
  made.add(1, 4, found("occluded", false, ["gone"]));
  made.add(2, 5, found("visible", true, ["area"]));
  return made;
}

describe("what is known of a video", () => {
  test("following begins and ends where masks are missing", () => {
    expect(tracks().span("forward", LENGTH)).toEqual({ start: 5, stop: 7 });
    expect(tracks().span("backward", LENGTH)).toEqual({ start: 4, stop: 0 });
    expect(tracks().left(["forward"], LENGTH)).toBe(3);
    expect(tracks().left(["backward"], LENGTH)).toBe(5);
    expect(tracks().left(["forward", "backward"], LENGTH)).toBe(7);
    expect(new Tracks().span("forward", LENGTH)).toBe(null);
  });

  test("what the project keeps is not followed, and a correction runs from its first change", () => {
    const made = new Tracks();
    const masks = [0, 1, 2, 3].map((frame) => [frame, found("visible", frame === 0)] as const);
    made.store(1, masks);
    made.keep(1, []);
    expect([made.isResting(1), made.all(1).length, made.corrected(1).length]).toEqual([true, 4, 0]);
    expect(made.left(["forward", "backward"], LENGTH)).toBe(0);
    made.wake(1);
    made.add(1, 2, found("visible", true));
    made.keep(1, [[0, 2]]);
    expect(made.left(["forward"], 4)).toBe(1);
    made.add(1, 3, { ...found(), area: 4 });
    expect(made.corrected(1).map(([frame]) => frame)).toEqual([2]);
    made.add(1, 1, found("occluded"));
    expect(made.corrected(1).map(([frame]) => frame)).toEqual([1, 2]);
    made.restore(1);
    expect(made.all(1)).toEqual(masks);
    expect([made.isStored(1), made.isResting(1), made.isStored(2)]).toEqual([true, true, false]);
  });

  test("what a correction makes unknown is missing again, between two prompts too", () => {
    const made = tracks();
    for (const frame of [5, 6, 7]) made.add(1, frame, found("visible", frame === 7));
    for (const frame of [6, 7]) made.add(2, frame, found());
    expect(made.span("forward", LENGTH)).toBe(null);
    made.keep(1, [
      [2, 4],
      [7, 7],
    ]);
    expect(made.span("forward", LENGTH)).toEqual({ start: 5, stop: 6 });
    expect(made.prompted(1)).toEqual([2, 7]);
    made.keep(1, []);
    expect(made.objects).toEqual([2]);
  });

  test("a person looks at doubted frames, not at those that were clicked on", () => {
    expect(tracks().doubtful()).toEqual([{ frame: 4, object: 1, doubts: ["gone"] }]);
  });

  test.each([8, 4, 16, 3])("a row of %d cells has every frame in it", (count) => {
    const cells = tracks().cells(1, LENGTH, count);
    expect(cells.length).toBe(count);
    const begin = (i: number) => Math.floor((i * LENGTH) / count);
    const inside = (frame: number) => cells.findLast((_, i) => begin(i) <= frame)!;
    expect(inside(2).prompted).toBe(true);
    expect(inside(4)).toMatchObject({ state: "occluded", doubtful: true });
    expect(inside(7).state).toBe(null);
  });
});

test("what was said of an object on a frame is one prompt, of which the last box counts", () => {
  const said: Said[] = [
    { object: 1, frame: 0, point: [3, 4, 1], box: null, mask: null },
    { object: 2, frame: 0, point: [9, 9, 1], box: null, mask: null },
    { object: 1, frame: 0, point: null, box: [0, 0, 5, 5], mask: null },
    { object: 1, frame: 0, point: [7, 8, 0], box: null, mask: null },
    { object: 1, frame: 0, point: null, box: [1, 1, 6, 6], mask: null },
  ];
  expect(promptOf(said, 1, 0)).toEqual({
    frame: 0,
    object: 1,
    points: [
      [3, 4],
      [7, 8],
    ],
    labels: [1, 0],
    box: [1, 1, 6, 6],
    mask: null,
  });
  expect(promptOf(said, 1, 3)).toBe(null);
});

test("a mask takes the place of what was said before it, and clicks behind it correct it", () => {
  const mask = { size: [2, 2] as [number, number], counts: [0, 4] };
  const click = { object: 1, frame: 0, box: null, mask: null };
  const said: Said[] = [
    { ...click, point: [3, 4, 1], box: [0, 0, 5, 5] },
    { ...click, point: null, mask: { ...mask, counts: [1, 3] } },
    { ...click, point: null, mask },
  ];
  const alone = { frame: 0, object: 1, points: null, labels: null, box: null, mask };
  expect(promptOf(said, 1, 0)).toEqual(alone);
  const more: Said[] = [...said, { ...click, point: [7, 8, 0] }];
  expect(promptOf(more, 1, 0)).toEqual({ ...alone, points: [[7, 8]], labels: [0] });
});

test("a line with an error is one", () => {
  expect(lineOf('{"frame": 3, "seconds": 0, "objects": []}').frame).toBe(3);
  const bad = '{"error": {"message": "The model is broken."}}';
  expect(() => lineOf(bad)).toThrow("The model is broken.");
});

test("videos are known by kind or by name", () => {
  const file = (name: string, type: string) => new File([], name, { type });
  expect(isVideo(file("a.mp4", "video/mp4"))).toBe(true);
  expect(isVideo(file("a.MKV", ""))).toBe(true);
  expect(isVideo(file("a.gif", "image/gif"))).toBe(false);
});

test("a frame is shown when the file says, and at the rate where that is even", () => {
  const even = new Pretended().facts();
  expect([secondsOf(even, 5), frameAt(even, 0.21)]).toEqual([0.2, 5]);
  const varying = { ...even, times: [0, 0.03, 0.5, 0.53] };
  expect([0, 1, 2, 3].map((frame) => secondsOf(varying, frame))).toEqual(varying.times);
  expect([0, 0.4, 0.5, 9].map((seconds) => frameAt(varying, seconds))).toEqual([0, 1, 2, 3]);
});

/** A server in memory: masks are found one by one, and what is forgotten is as on ours. */
class Pretended {
  readonly asked: string[] = [];
  readonly known = new Map<number, Set<number>>();
  private readonly prompts = new Map<number, Set<number>>();
  private turn = 0;
  error: string | null = null;
  step: () => Promise<void> = async () => undefined;

  facts = (): VideoFacts => ({
    model: "fake",
    name: "n",
    frames: LENGTH,
    rate: 25,
    times: null,
    size: [2, 2],
    objects: [...this.known.keys()],
    known: Object.fromEntries([...this.known.keys()].map((object) => [object, this.rows(object)])),
    error: this.error,
    seconds_left: 600,
  });

  private rows = (object: number): Stretch[] =>
    [...this.known.get(object)!].map((frame) => [frame, frame] as const);

  getState = async () => this.facts();
  pause = async () => void (this.asked.push("pause"), this.turn++);

  async prompt(_: string, { frame, object, points, labels }: Prompt) {
    this.asked.push(`prompt ${object} ${frame} ${points?.length ?? 0} ${labels?.join("")}`);
    const known = this.known.get(object) ?? new Set();
    this.known.set(object, new Set([...known].filter((one) => one < frame)).add(frame));
    this.prompts.set(object, (this.prompts.get(object) ?? new Set()).add(frame));
    return { ...found("visible", true), known: this.rows(object) };
  }

  async removePrompts(_: string, object: number, frame: number) {
    this.asked.push(`take back ${object} ${frame}`);
    this.prompts.get(object)!.delete(frame);
    const rest = [...this.known.get(object)!].filter((one) => one < frame);
    if (this.prompts.get(object)!.size) this.known.set(object, new Set(rest));
    else this.known.delete(object);
    return this.facts();
  }

  async *follow(_: string, way: string, start: number, stop: number): AsyncGenerator<Line> {
    this.asked.push(`${way} ${start} ${stop}`);
    const turn = ++this.turn;
    for (let frame = start; frame <= stop; frame++) {
      await this.step();
      if (turn !== this.turn) return;
      const objects = [...this.known].map(([object, known]) => {
        known.add(frame);
        return { object, ...found("visible", this.prompts.get(object)!.has(frame)) };
      });
      yield { frame, objects };
    }
  }
}

function opened(error: string | null = null): { videoWork: VideoWork; server: Pretended } {
  const server = new Pretended();
  server.error = error;
  const videoWork = new VideoWork(server as unknown as Videos, server.facts(), "clip", new View());
  videoWork.frameCache.get = async () => null;
  return { videoWork, server };
}

describe("the open video", () => {
  test("what was clicked on is followed to the end, and the place goes along", async () => {
    const { videoWork, server } = opened();
    await videoWork.speak([1, 1, 1]);
    expect(videoWork.left).toBe(7);
    await videoWork.follow();
    expect(server.asked).toEqual(["prompt 1 0 1 1", "forward 1 7"]);
    expect([videoWork.left, videoWork.frame, videoWork.following]).toEqual([0, 7, null]);
    await videoWork.follow();
    expect(videoWork.messages[0].text).toContain("Every frame is tracked");
  });

  test("a file that was cut off is told of once, also where it was known from the start", async () => {
    const { videoWork } = opened("a.mkv is cut off");
    await videoWork.speak([1, 1, 1]);
    await videoWork.follow();
    await videoWork.speak([2, 2, 1]);
    await videoWork.follow();
    const told = videoWork.messages.map(({ text }) => text).filter((text) => /cut off/.test(text));
    expect(told).toEqual(["a.mkv is cut off."]);
  });

  test("a correction forgets what comes after it, and only that is followed again", async () => {
    const { videoWork, server } = opened();
    await videoWork.speak([1, 1, 1]);
    await videoWork.follow();
    await videoWork.seek(4);
    await videoWork.speak([1, 0, 0]);
    expect(videoWork.left).toBe(3);
    await videoWork.follow();
    expect(server.asked.slice(-2)).toEqual(["prompt 1 4 1 0", "forward 5 7"]);
  });

  test("clicks are taken back one by one, up to an object of which nothing is known", async () => {
    const { videoWork, server } = opened();
    await videoWork.speak([1, 1, 1]);
    await videoWork.speak([0, 1, 0]);
    await videoWork.undo();
    expect(server.asked.at(-1)).toBe("prompt 1 0 1 1");
    await videoWork.undo();
    expect(server.asked.at(-1)).toBe("take back 1 0");
    expect([videoWork.tracks.objects, videoWork.said, videoWork.objects.length]).toEqual([
      [],
      [],
      1,
    ]);
    await videoWork.undo();
    expect(videoWork.messages[0].text).toContain("no click to undo");
  });

  test("a click while it is followed pauses, corrects, and goes on", async () => {
    const { videoWork, server } = opened();
    await videoWork.speak([1, 1, 1]);
    let click: Promise<void> = Promise.resolve();
    let steps = 0;
    server.step = async () => {
      if (++steps !== 4) return;
      videoWork.frame = 2;
      click = videoWork.speak([0, 0, 0]);
      await Promise.resolve();
    };
    await videoWork.follow();
    await click;
    await videoWork.follow();
    expect(server.asked.slice(1, 4)).toEqual(["forward 1 7", "pause", "prompt 1 2 1 0"]);
    expect(server.asked[4]).toBe("forward 3 7");
    expect(videoWork.left).toBe(0);
  });

  test("a first click that takes away is refused, and so is following without one", async () => {
    const { videoWork, server } = opened();
    await videoWork.speak([1, 1, 0]);
    await videoWork.follow();
    expect(videoWork.messages.map(({ text }) => text.slice(0, 18))).toEqual([
      "Click the object f",
      "Click an object fi",
    ]);
    expect(server.asked).toEqual([]);
  });

  test("a click that the server refuses is not kept", async () => {
    const { videoWork, server } = opened();
    server.prompt = async () => {
      throw new Error("at most 1 objects; got another");
    };
    await videoWork.speak([1, 1, 1]);
    expect([videoWork.said, videoWork.messages[0].text]).toEqual([
      [],
      "at most 1 objects; got another",
    ]);
  });

  test("a session that the server has closed is told of once, and nothing more is asked", async () => {
    const { videoWork, server } = opened();
    await videoWork.speak([1, 1, 1]);
    server.getState = server.prompt = async () => {
      throw new Error("The session 'n' does not exist or was closed. Open a session.");
    };
    await videoWork.greet();
    await videoWork.speak([0, 0, 1]);
    await videoWork.follow();
    await videoWork.greet();
    const told = "The server has closed the session of this video. Open the video again.";
    expect(videoWork.messages.map(({ text }) => text)).toEqual([told]);
    expect(server.asked).toEqual(["prompt 1 0 1 1"]);
  });

  test("another object is begun once the last one was clicked on", async () => {
    const { videoWork } = opened();
    videoWork.addObject();
    expect(videoWork.objects.length).toBe(1);
    await videoWork.speak([1, 1, 1]);
    videoWork.addObject();
    expect([videoWork.chosen, videoWork.objects.length]).toEqual([2, 2]);
    expect(videoWork.objects[0].color).not.toBe(videoWork.objects[1].color);
  });
});
