/** Steps that brought proposals, kept on the disk: undo takes them back after a reload, too. */

import type { Database } from "../store/database";
import type { Outbox } from "../store/outbox";
import type { Editor } from "./editor";
import { Work, type Mask, type State } from "./work";

/** What a step was, and the keys of the proposals that came with it. */
interface Step {
  what: string;
  keys: string[];
}

const steps = new WeakMap<Work, Step[]>();

/** What is kept of a page of an image, by name. */
export const rowOf = (what: string, image: string, page: number) =>
  `${what}:${image}${page ? `#${page}` : ""}`;

/** Add proposals as one step; `known`: the store has them already. */
export function propose(
  db: Database,
  editor: Editor,
  what: string,
  masks: Mask[],
  known: boolean,
): void {
  const { entry, sight, state, work } = editor;
  const existing = new Set(state.masks.map(({ key }) => key));
  const keys = masks.map(({ key }) => key).filter((key) => !existing.has(key));
  editor.add(what, masks, known);
  if (!keys.length) return;
  const all = [...(steps.get(work) ?? []), { what, keys }];
  steps.set(work, all);
  void db.keep("settings", { name: rowOf("proposed", entry.id, sight.page), steps: all });
}

/** Whether this browser has seen proposals of an image, taken back or not. */
export const hadProposals = (work: Work) => steps.has(work);

/**
 * The work on an image as it was left. Its steps back are those that brought proposals, without the
 * proposals that somebody has judged or changed since: undo leaves these alone.
 */
export async function resume(
  db: Database,
  outbox: Outbox,
  image: string,
  page: number,
  state: State,
): Promise<Work> {
  const row = await db.get<{ steps: Step[] }>("settings", rowOf("proposed", image, page));
  const all = row?.steps ?? [];
  const names = [...outbox.namesById().values()];
  const changed = new Set(names.filter(({ version }) => version > 1).map(({ key }) => key));
  const open = state.masks.filter(({ key, state }) => state === "proposed" && !changed.has(key));
  const proposed = new Set(all.flatMap(({ keys }) => keys));
  const away = new Set(open.map(({ key }) => key).filter((key) => proposed.has(key)));
  const masks = () => state.masks.filter(({ key }) => !away.has(key));
  const work = new Work({ ...state, masks: masks() });
  for (const { what, keys } of all) {
    if (keys.filter((key) => away.delete(key)).length) work.act(what, { masks: masks() });
  }
  if (row) steps.set(work, all);
  return work;
}
