/** Masks that somebody else changed meanwhile: whose counts is asked, of all of them at once. */

import type { Conflict } from "../store/outbox";
import type { Session } from "./session";
import type { Message } from "./speaker";
import { toMask } from "./work";

export class Asking {
  private open: readonly Conflict[] = [];
  private message: Message | null = null;

  constructor(private readonly session: Session) {}

  ask(conflict: Conflict): void {
    const { key } = conflict.note;
    this.open = [...this.open.filter((one) => one.note.key !== key), conflict];
    this.tell();
  }

  /** Ask once more where nobody has answered. */
  remind(): void {
    const { messages } = this.session;
    if (this.open.length && !(this.message && messages.includes(this.message))) this.tell();
  }

  private tell(): void {
    const { session } = this;
    if (this.message) session.dismiss(this.message);
    const answer = (how: (conflict: Conflict) => void) => () => {
      for (const conflict of this.open) how(conflict);
      this.open = [];
      session.changed();
    };
    const mine = answer((one) => void session.outbox.insist(one));
    const theirs = answer((one) => this.take(one));
    const actions = [
      { title: "Keep mine", run: mine },
      { title: "Use theirs", run: theirs },
    ];
    session.say(this.text(), actions, true);
    this.message = session.messages.at(-1) ?? null;
  }

  private text(): string {
    const [{ note, theirs }, ...more] = this.open;
    const count = this.open.length;
    if (more.length)
      return `Another user changed or deleted ${count} masks. Your versions are shown.`;
    const { images, editor } = this.session;
    const name = images.find(({ id }) => id === note.image)?.name ?? "another image";
    const which = editor?.entry.id === note.image ? "this mask" : `a mask of ${name}`;
    return `Another user ${theirs ? "changed" : "deleted"} ${which}. Your version is shown.`;
  }

  private take(conflict: Conflict): void {
    const { note, theirs } = conflict;
    const { editor, outbox } = this.session;
    void outbox.letGo(conflict);
    if (theirs) outbox.learn(note.key, theirs);
    if (editor?.entry.id !== note.image) return;
    const rest = editor.state.masks.filter((mask) => mask.key !== note.key);
    const here = theirs && (theirs.page ?? 0) === editor.sight.page;
    editor.work.quietly({ masks: here ? [...rest, toMask(theirs, note.key)] : rest });
    editor.refresh();
  }
}
