/** Where the page starts: find the server, or work without one. */

import "./style.css";

import { View } from "./canvas/view";
import { Model } from "./model/client";
import { readFeatures, type Features } from "./model/features";
import { showApp } from "./page/app";
import { goOn } from "./page/commands";
import { h } from "./page/dom";
import { showSignIn } from "./page/signin";
import { VideoOpener } from "./page/videoopener";
import { startTheme } from "./page/theme";
import { Session } from "./state/session";
import { scanWhenBack } from "./state/folder";
import { watchOthers } from "./state/others";
import { nextReview } from "./state/review";
import { Clips } from "./store/clips";
import { Database } from "./store/database";
import { LocalStore } from "./store/local";
import { PageNamer, ServerNamer } from "./store/namer";
import { Server, ServerStore, takeToken } from "./store/server";
import { StoreError, type Project, type Store } from "./store/store";
import { Videos } from "./store/videos";
import { Volumes } from "./store/volumes";

/** What answers behind this page: a project, a model alone, or nothing but files. */
async function behind(server: Server, local: boolean): Promise<"project" | "model" | "files"> {
  if (local) return "files";
  try {
    const health = await server.json<{ status?: string }>("health");
    if (!health.status) return "files";
    await server.json<Project>("api/project");
    return "project";
  } catch (error) {
    const spoke = error instanceof StoreError && error.kind !== "lost";
    if (!spoke) return "files";
    if (error.kind === "token") throw error;
    return (await isServer(server)) ? "model" : "files";
  }
}

const isServer = (server: Server) =>
  server.json<{ status?: string }>("health").then(
    (health) => !!health.status,
    () => false,
  );

async function openStore(server: Server, local: boolean): Promise<[Store, Database]> {
  const what = await behind(server, local);
  if (what === "project") {
    const store = new ServerStore(server);
    const { name, made } = await store.project();
    return [store, await Database.open(`anymask-project-${name}-${made ?? ""}`)];
  }
  const db = await Database.open("anymask-local");
  return [new LocalStore(db, what === "model" ? (image) => encode(server, image) : null), db];
}

/** What the server's model sees in an image. */
async function encode(server: Server, image: Blob): Promise<Features> {
  const response = await server.ask("api/encode", { method: "POST", body: image });
  return readFeatures(await response.arrayBuffer());
}

async function start(): Promise<void> {
  startTheme();
  const root = document.getElementById("page")!;
  const base = new URL("./", location.href.split("?")[0]).href;
  const server = new Server(base, takeToken());
  const query = new URLSearchParams(location.search);
  try {
    const [store, db] = await openStore(server, query.has("local"));
    const view = new View();
    const own = new PageNamer(() => session.model());
    const namer = store.sends ? new ServerNamer(server) : own;
    const session: Session = new Session(store, db, view, namer);
    await session.start();
    const clips = store.kind === "server" ? new Clips(server) : null;
    const [videos, volumes] = store.sends
      ? [new Videos(server), new Volumes(server)]
      : [null, null];
    const door = new VideoOpener(root, session, videos, clips, volumes);
    showApp(root, session, view, door);
    session.modelFrom = () =>
      Model.open(
        (file) => server.ask(`model/${file}`),
        (image) => encode(server, image),
      );
    void session.wantModel();
    const { images } = session;
    const left = await session.unfinished.left();
    const first =
      images.find((image) => image.id === left?.image) ??
      images.find((image) => image.id === query.get("image")) ??
      images.find((image) => image.status !== "done") ??
      images[0];
    if (session.project.stage === "review") await nextReview(session);
    if (first && !session.editor && !session.failed) await session.open(first.id, left?.page);
    if (left) void session.wantModel().then(() => goOn(session, left));
    await door.resume();
    if (store.kind !== "server") return;
    scanWhenBack(session);
    watchOthers(session);
  } catch (error) {
    if (error instanceof StoreError && error.kind === "token") return showSignIn(root);
    const text = `anymask could not start. ${(error as Error).message}`;
    root.replaceChildren(h("p", { class: "waiting", role: "alert" }, text));
  }
}

void start();
