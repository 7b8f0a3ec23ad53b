// Sound in a page by itself: to and from the other pages, in step with the avatars' lips, and one's own voice for a face
// that is not seen. The twin of what edge-call.js does for an edge's page.

import { loudness } from "../call/devices.js";
import { Sound } from "../call/sound.js";
import { LipSync } from "../call/sync.js";
import { listen } from "../voice.js";

export class Hearing {
  /** Of the last look at lips and sound; for the overlay. @type {Record<string, number|null>} */
  lips = {};
  #sound = null;
  #before = new Set(); // who was in the room before us, and has not been called yet
  #microphone = null;
  #syncs = new Map(); // id -> LipSync
  #listened = null; // the microphone whose voice moves our lips
  #deaf = null;

  /**
   * @param {{relay: (to: string, payload: object) => boolean, onStream: (id: string, stream: MediaStream|null) => void,
   *   hold: (id: string, ms: number, age: number|null) => void, onVoice: (mouth: number[], level: number) => void}} on
   *   hold: somebody's pictures, as LipSync says
   */
  constructor(on) {
    this.on = on;
  }

  /** We are in the room, under this id: whoever was there before us is ours to call, once it can be called. */
  begin(id, before, { iceServers, relayOnly }) {
    this.#end();
    this.#before = new Set(before);
    this.#sound = new Sound({
      id,
      iceServers,
      relayOnly,
      send: (to, payload) => this.on.relay(to, payload),
      onStream: (from, stream) => {
        if (!stream) this.#unsync(from);
        this.on.onStream(from, stream);
      },
      onSync: (from, channel, receiver) => this.#synced(from, channel, receiver),
    });
    this.#sound.setMicrophone(this.#microphone);
  }

  /** The hub is back, and we are who we were. */
  resume({ iceServers, relayOnly }) { this.#sound?.setServers(iceServers, relayOnly); }

  get begun() { return this.#sound !== null; }

  setMicrophone(track) {
    this.#microphone = track;
    this.#sound?.setMicrophone(track);
  }

  /** Who is there: {id, listening}. Those who can be called are. */
  keep(participants) {
    if (!this.#sound) return;
    const here = new Set(participants.map(({ id }) => id));
    const listening = participants.filter((one) => one.listening).map(({ id }) => id);
    this.#sound.join(listening.filter((id) => this.#before.delete(id)));
    this.#sound.keep(listening, here);
    for (const id of [...this.#syncs.keys()]) if (!here.has(id)) this.#unsync(id);
  }

  /** A payload of another page; false if there is no sound to be had here now. */
  relayed(from, payload) {
    this.#sound?.on(from, payload);
    return this.begun;
  }

  /** How loud somebody is now, 0 to 1. */
  level(id) { return loudness(this.#sound?.level(id) ?? 0); }

  /** A picture of somebody is shown, captured at this time of performance.now() (null: at rest), and held back for so long. */
  shown(id, capturedMs, heldMs) {
    const now = performance.now();
    this.#syncs.get(id)?.presented(capturedMs, now, now - capturedMs, heldMs);
  }

  /** Let the voice move the lips, or no longer. */
  speak(wanted) {
    const track = wanted && this.#sound ? this.#microphone : null;
    if (track === this.#listened) return;
    this.#deaf?.();
    this.#listened = track;
    this.#deaf = track ? listen(track, ({ mouth, level }) => this.on.onVoice(mouth, level)) : null;
  }

  close() {
    this.#end();
    this.speak(false);
  }

  #end() {
    for (const id of [...this.#syncs.keys()]) this.#unsync(id);
    this.#sound?.close();
    this.#sound = null;
  }

  #synced(id, channel, receiver) {
    this.#unsync(id);
    this.#syncs.set(id, new LipSync({
      channel,
      receiver,
      hold: (ms, age) => this.on.hold(id, ms, age),
      onFigures: (figures) => { this.lips = figures; },
    }));
  }

  #unsync(id) {
    this.#syncs.get(id)?.close();
    this.#syncs.delete(id);
  }
}
