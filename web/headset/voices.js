// The room's sound in the headset's page: it takes the place of the page on the computer for as long as it is wanted.
// Messages of /api/room: docs/edge.md. Lips: pictures are held back here, and not by the edge.

import { openDevice } from "../call/devices.js";
import { Mesh } from "../call/mesh.js";
import { RoomSocket } from "../call/room-socket.js";
import { listen } from "../voice.js";
import { Ears } from "./ears.js";

const ROOM = "/api/room";
const MOST_HELD_MS = 200;
const REMEMBERED = 64; // pictures by which the edge's clock is known
const NEXT_FRAME_MS = 12; // from a picture's being ready to its being seen

/**
 * Event "change" at every change of:
 * - `state`: "off"; "joining"; "on"; "elsewhere": another page of this computer's has taken the sound; "lost"
 * - `speaking`: "none": there is no microphone, or it was refused; "muted"; "on"
 */
export class Voices extends EventTarget {
  #socket;
  #mesh = null;
  #room = null;
  #opening = null;
  #deaf = null;
  #muted = false;
  #holds = new Map(); // id -> { ms, age }
  #offsets = []; // this page's clock less the edge's, ms, each too large by the stream's way

  constructor(token) {
    super();
    this.#socket = new RoomSocket({
      find: async () => ({ url: ROOM, token }),
      onOpen: () => this.#onOpen(),
      onMessage: (message) => this.#on(message),
      onClosed: () => this.#onClosed(),
      onGone: () => this.wanted && this.#become("lost"),
    });
    this.state = "off";
    this.microphone = null;
    this.ears = null;
    this.figures = null;
  }

  get wanted() { return this.state !== "off"; }

  get speaking() { return !this.microphone ? "none" : this.#muted ? "muted" : "on"; }

  /** Have the sound here. From a click only: browsers let nothing out before. Resolves once the microphone is decided. */
  async begin() {
    this.ears ??= new Ears(new AudioContext({ latencyHint: "interactive" }));
    this.ears.context.resume().catch(() => {});
    if (this.state === "elsewhere") this.#take();
    if (this.state === "off") {
      this.#become("joining");
      this.#socket.connect();
    }
    this.#opening ??= this.#open();
    await this.#opening;
  }

  /** Give it back. */
  end() {
    this.#become("off");
    this.#socket.close();
    this.#silence();
    this.#room = null;
    this.#opening = null;
    this.#use(null);
  }

  setMuted(muted) {
    this.#muted = muted;
    if (this.microphone) this.microphone.enabled = !muted;
    this.#tell();
    this.#changed();
  }

  /** How loud somebody is now, 0 to 1. */
  level(id) { return this.#mesh?.level(id) ?? 0; }

  /** For how long a picture that has just come is to wait for its sound, ms. */
  hold(id, picture) {
    const now = performance.now();
    this.#offsets.push(now - picture.renderedUs / 1000);
    if (this.#offsets.length > REMEMBERED) this.#offsets.shift();
    const { ms = 0, age = null } = this.#holds.get(id) ?? {};
    if (picture.captureUs === null) return ms;
    picture.captured = picture.captureUs / 1000 + Math.min(...this.#offsets);
    const old = now - picture.captured;
    picture.held = Math.min(MOST_HELD_MS, Math.max(0, age === null ? ms : age - old));
    picture.out = old + picture.held;
    return picture.held;
  }

  /** A picture can be seen from the next frame on. */
  presented(id, picture) {
    if (picture.captured === undefined) return;
    const display = performance.now() + NEXT_FRAME_MS;
    this.#mesh?.lips.get(id)?.presented(picture.captured, display, picture.out, picture.held);
  }

  // the microphone

  async #open() {
    let track = null;
    try {
      track = await openDevice("microphone", { onEnd: () => this.microphone === track && this.#use(null) });
    } catch (problem) {
      console.info(problem.message); // they can still be heard
    }
    if (this.wanted) this.#use(track);
    else track?.stop();
  }

  #use(track) {
    this.#deaf?.();
    this.#deaf = null;
    this.microphone?.stop();
    this.microphone = track;
    this.#mesh?.setMicrophone(track);
    if (track) {
      track.enabled = !this.#muted;
      // No camera sees a face that a headset covers: its lips follow the voice.
      this.#deaf = listen(track, ({ mouth, level }) => this.#muted || this.#send({ type: "voice", mouth, level }));
    }
    this.#tell();
    this.#changed();
  }

  // the WebSocket

  #onOpen() {
    if (!this.wanted) return void this.#socket.close();
    this.#tell();
    this.#mesh?.renew();
    return undefined;
  }

  /** Sound that runs goes on by itself; whoever has taken it keeps it. */
  #onClosed() { return this.wanted && this.state !== "elsewhere"; }

  #on(message) {
    if (message.type === "room") this.#follow(message);
    else if (message.type === "relay") this.#mesh?.on(message.from, message.payload);
    else if (message.type === "superseded") {
      this.#silence();
      this.#become("elsewhere");
    }
  }

  #follow(room) {
    this.#room = room;
    if (this.state === "elsewhere") return;
    if (!room.joined || !room.you.id) {
      this.#silence();
      return;
    }
    this.#mesh ??= new Mesh({
      send: (message) => this.#send(message),
      onStream: (id, stream) => this.ears.hear(id, stream),
      hold: (id, ms, age) => this.#holds.set(id, { ms, age }),
      onFigures: (figures) => { this.figures = figures; },
    });
    this.#mesh.follow(room, this.microphone);
    this.#become("on");
  }

  #take() {
    this.#become("joining");
    if (!this.#socket.open) return void this.#socket.connect();
    this.#send({ type: "take" });
    this.#tell();
    if (this.#room) this.#follow(this.#room);
    return undefined;
  }

  #tell() { this.#send({ type: "microphone", muted: this.speaking !== "on" }); }

  #send(message) { this.#socket.send(message); }

  #silence() {
    this.#mesh?.close();
    this.#mesh = null;
    this.#holds.clear();
    this.ears?.keep([]);
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.#changed();
  }

  #changed() { this.dispatchEvent(new Event("change")); }
}
