// The list of who is in the call, and the words that are spoken when somebody comes or goes.

import { find, icon, make, write } from "./dom.js";
import { nameOf, states } from "./words.js";

/** Fill the list. */
export function showPeople(call, own) {
  const you = {
    id: "", name: `${own.name || call.you.name || "You"} (you)`, listening: true, muted: own.muted || !own.microphone,
    camera: call.takesCamera ? Boolean(own.camera) : true, avatar: null, state: "connected",
  };
  const rows = [you, ...call.participants.values()];
  const key = JSON.stringify(rows.map((one) => [one.id, nameOf(one), states(one)]));
  const list = find("#people-list");
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...rows.map((one) => make("li", { dataset: { id: one.id } },
    make("span", { className: "name" }, nameOf(one)),
    make("span", { className: "states" }, states(one).join(", ")),
    icon(one.muted || !one.listening ? "mic-off" : "mic"))));
}

/** Tells of arrivals and departures, to those who hear the page rather than see it. */
export class Announcer {
  constructor() { this.names = null; }

  /** @param {Map<string, import("../call/call.js").Participant>} participants */
  show(participants) {
    const names = new Map([...participants.values()].filter((one) => one.name || one.state === "connected").map((one) => [one.id, nameOf(one)]));
    if (this.names) {
      const came = [...names].filter(([id]) => !this.names.has(id)).map(([, name]) => `${name} has joined.`);
      const went = [...this.names].filter(([id]) => !participants.has(id)).map(([, name]) => `${name} has left.`);
      if (came.length || went.length) this.say([...came, ...went].join(" "));
    }
    this.names = new Map([...(this.names ?? []), ...names].filter(([id]) => participants.has(id)));
  }

  /** The next call begins without memories. */
  forget() { this.names = null; }

  say(text) { write(find("#announce"), text); }
}
