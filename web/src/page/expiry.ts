/** Messages disappear by themselves, unless they ask something or a person is reading them. */

import type { Message, Speaker } from "../state/speaker";

export const SHOWN_MS = 6000;

export class Expiry {
  private readonly timers = new Map<Message, ReturnType<typeof setTimeout>>();

  /** held  whether the pointer or the focus is on a message: all of them stay */
  constructor(
    private readonly speaker: Pick<Speaker, "messages" | "dismiss">,
    private readonly held: () => boolean,
  ) {}

  /** Start and stop timers, after messages, pointer or focus have changed. */
  follow(): void {
    const { messages } = this.speaker;
    const held = this.held();
    for (const [message, timer] of this.timers) {
      if (!held && messages.includes(message)) continue;
      clearTimeout(timer);
      this.timers.delete(message);
    }
    if (held) return;
    for (const message of messages) {
      const expires = !message.stays && !message.actions.length;
      if (!expires || this.timers.has(message)) continue;
      this.timers.set(
        message,
        setTimeout(() => this.speaker.dismiss(message), SHOWN_MS),
      );
    }
  }
}
