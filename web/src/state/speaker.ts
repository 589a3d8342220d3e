/** Messages to the user, and the callbacks that are called when they change. */

export interface Message {
  text: string;
  actions: { title: string; run: () => void }[];
  stays?: boolean; // until somebody closes it; others are about the open image and go with it
}

const MOST = 4; // messages at once, but for questions

export class Speaker {
  readonly messages: Message[] = [];
  readonly watchers: (() => void)[] = [];

  changed(): void {
    for (const watcher of this.watchers) watcher();
  }

  say(text: string, actions: Message["actions"] = [], stays = false): void {
    if (this.messages.some((message) => message.text === text)) return;
    this.messages.push({ text, actions, stays });
    const oldest = this.messages.findIndex((message) => !message.actions.length);
    if (this.messages.length > MOST && oldest >= 0) this.messages.splice(oldest, 1); // no question
    this.changed();
  }

  dismiss(message: Message): void {
    const place = this.messages.indexOf(message);
    if (place >= 0) this.messages.splice(place, 1);
    this.changed();
  }
}
