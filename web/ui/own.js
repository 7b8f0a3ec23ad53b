// What is one's own in a call: the devices with what is wrong with them, mute, the name; and what is remembered of it.

import { openDevice, onDeviceChance } from "../call/devices.js";

const KEY = "telepresence";
const DEVICES = ["camera", "microphone"];

/** What this browser remembers between calls; nothing where it may not. */
export const memory = {
  read() {
    try { return JSON.parse(localStorage.getItem(KEY)) ?? {}; } catch { return {}; }
  },
  write(change) {
    try { localStorage.setItem(KEY, JSON.stringify({ ...memory.read(), ...change })); } catch { /* then not */ }
  },
};

/** One's own devices. Event "change" at every change. */
export class Own extends EventTarget {
  /** @type {MediaStreamTrack|null} */ camera = null;
  /** @type {MediaStreamTrack|null} */ microphone = null;
  cameraProblem = "";
  microphoneProblem = "";
  muted = false;
  takesCamera = true;
  #wanted = { camera: true, microphone: true };
  #opening = { camera: 0, microphone: 0 };
  #lent = { camera: false, microphone: false };

  constructor() {
    super();
    const { name = "", camera = "", microphone = "", speaker = "" } = memory.read();
    this.name = name;
    this.ids = { camera, microphone, speaker };
    for (const device of DEVICES) onDeviceChance(device, () => this.#chance(device));
  }

  /** Open what is wanted. */
  async begin() {
    // One after the other: asked for at once, one that is missing would cost us the other too.
    if (this.takesCamera && this.#wanted.camera) await this.open("camera");
    if (this.#wanted.microphone) await this.open("microphone");
  }

  /** Open a device, or another one of its kind. */
  async open(device, id = this.ids[device]) {
    this.#wanted[device] = true;
    const turn = (this.#opening[device] += 1);
    const stale = () => turn !== this.#opening[device];
    if (id !== this.ids[device]) this.#remember(device, id);
    this[device]?.stop();
    this.#set(device, null, "asking");
    try {
      const track = await openDevice(device, { id, onEnd: (kind) => this[device] === track && this.#set(device, null, kind) });
      if (stale()) return track.stop();
      if (device === "microphone") track.enabled = !this.muted;
      this.#set(device, track, "");
    } catch (error) {
      if (!stale()) this.#set(device, null, error.kind ?? "failed");
    }
    return undefined;
  }

  /** Switch a device off: its light goes out. */
  close(device) {
    this.#wanted[device] = false;
    this.#stop(device);
  }

  /** Switch a device off while something else has one of its kind. */
  lend(device) {
    this.#lent[device] = this[device] !== null;
    this.#stop(device);
  }

  /** Have it back, if it was on. */
  retrieve(device) {
    if (this.#lent[device]) this.open(device);
    this.#lent[device] = false;
  }

  /** Switch everything off; `begin` brings back what was on. */
  rest() {
    for (const device of DEVICES) this.#stop(device);
  }

  toggleCamera() {
    if (this.camera) this.close("camera");
    else this.open("camera");
  }

  setMuted(muted) {
    this.muted = muted;
    if (this.microphone) this.microphone.enabled = !muted;
    this.#changed();
  }

  setName(name) {
    this.name = name.trim();
    memory.write({ name: this.name });
    this.#changed();
  }

  setSpeaker(id) { this.#remember("speaker", id); this.#changed(); }

  #stop(device) {
    this.#opening[device] += 1;
    this[device]?.stop();
    this.#set(device, null, "");
  }

  #chance(device) {
    const problem = this[`${device}Problem`];
    if (["refused", "missing", "unplugged"].includes(problem) && this.#wanted[device]) this.open(device);
    this.#changed(); // the list is another one
  }

  #remember(device, id) {
    this.ids[device] = id;
    memory.write({ [device]: id });
  }

  #set(device, track, problem) {
    this[device] = track;
    this[`${device}Problem`] = problem;
    this.#changed();
  }

  #changed() { this.dispatchEvent(new Event("change")); }
}
