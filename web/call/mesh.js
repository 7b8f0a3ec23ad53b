// A room's sound, as a page of an edge follows it: who can be called, who comes and goes, lips and sound in step.

import { Sound } from "./sound.js";
import { LipSync } from "./sync.js";

/**
 * @typedef {object} MeshOptions
 * @property {(message: object) => void} send  to the edge, on /api/room
 * @property {(id: string, stream: MediaStream|null) => void} onStream
 * @property {(id: string, ms: number, age: number|null) => void} hold  hold somebody's pictures back: see LipSync
 * @property {(id: string, lips: LipSync) => void} [onLips]  a connection is up: tell `lips` what is presented
 * @property {(figures: object) => void} [onFigures]  of whoever was measured last
 */

/** Sound with everybody in a room, made anew when we come back under another id. */
export class Mesh {
  #sound = null;

  /** @param {MeshOptions} options */
  constructor(options) {
    this.options = options;
    this.lips = new Map(); // id -> LipSync
  }

  /** Whether we are in the room. */
  get there() { return this.#sound !== null; }

  /** The room is as this message says (docs/edge.md). @param {MediaStreamTrack|null} microphone */
  follow(room, microphone) {
    const present = room.participants.map((one) => one.id);
    const callable = room.participants.filter((one) => one.sound).map((one) => one.id);
    if (this.#sound?.options.id === room.you.id) {
      this.#sound.setServers(room.ice_servers, room.relay_only);
    } else {
      this.close();
      this.#sound = this.#make(room);
      this.#sound.setMicrophone(microphone);
      // Whoever is there already is ours to call, be it that we joined later, be it that this page is newer than theirs.
      this.#sound.join(callable);
    }
    this.#sound.keep(callable, present);
    for (const id of [...this.lips.keys()]) if (!present.includes(id)) this.#unsync(id);
  }

  /** A payload of another page. */
  on(from, payload) { this.#sound?.on(from, payload); }

  setMicrophone(track) { this.#sound?.setMicrophone(track); }

  /** The edge, or the way to it, is another one: nothing of what was told counts any more, and calls can be made again. */
  renew() {
    for (const lips of this.lips.values()) lips.tellAgain();
    this.hurry();
  }

  /** A way is back: whatever is lost is called now. */
  hurry() { this.#sound?.hurry(); }

  /** How loud somebody is now, 0 to 1. */
  level(id) { return this.#sound?.level(id) ?? 0; }

  close() {
    for (const id of [...this.lips.keys()]) this.#unsync(id);
    this.#sound?.close();
    this.#sound = null;
  }

  #make(room) {
    const { send, onStream } = this.options;
    return new Sound({
      id: room.you.id,
      send: (to, payload) => send({ type: "relay", to, payload }),
      iceServers: room.ice_servers,
      relayOnly: room.relay_only,
      onStream: (id, stream) => {
        if (!stream) this.#unsync(id);
        onStream(id, stream);
      },
      onSync: (id, channel, receiver) => this.#synced(id, channel, receiver),
    });
  }

  #synced(id, channel, receiver) {
    this.#unsync(id);
    const { hold, onLips, onFigures } = this.options;
    const lips = new LipSync({ channel, receiver, hold: (ms, age) => hold(id, ms, age), onFigures: (figures) => onFigures?.(figures) });
    this.lips.set(id, lips);
    onLips?.(id, lips);
  }

  #unsync(id) {
    this.lips.get(id)?.unwatch?.();
    this.lips.get(id)?.close();
    this.lips.delete(id);
  }
}
