// Sound beside the avatar, as the product's page has it: from page to page, lips steered by the same modules. What leaves
// the microphone and what leaves the receiver's jitter buffer are noted as loudness over time; the benchmark finds the same
// bursts in both, and so how old the sound is when it is heard.

import { Sound } from "./call/sound.js";
import { PictureTimes } from "./call/clocks.js";
import { LipSync } from "./call/sync.js";

const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false }; // bursts are no speech
const SAMPLE_RATE = 48_000;
const BLOCK = 128; // samples of Web Audio

/** One end: its place in the room by its edge's WebSocket, its sound, and what is noted of both. */
export class Lips {
  /** @param {{url: string, token: string}} edge @param {HTMLVideoElement} video @param {boolean} speaks */
  constructor(edge, video, speaks) {
    this.edge = edge;
    this.video = video;
    this.speaks = speaks;
    this.times = new PictureTimes();
    this.room = null;
    this.sound = null;
    this.sync = null;
    this.taking = null;
    this.heard = document.createElement("audio"); // without an element Chromium does not play what comes
    this.heard.autoplay = true;
  }

  async begin() {
    this.context = new AudioContext({ sampleRate: SAMPLE_RATE });
    await this.context.audioWorklet.addModule("tap.js");
    await this.context.resume();
    if (this.speaks) {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: RAW });
      [this.microphone] = stream.getAudioTracks();
      this.#tap(stream);
    }
    const { url, token } = this.edge;
    this.socket = new WebSocket(`${url.replace("http", "ws")}/api/room`);
    this.socket.addEventListener("open", () => {
      this.#send({ type: "page", token });
      this.#send({ type: "state", name: "", muted: !this.speaks, camera: this.speaks });
    });
    this.socket.addEventListener("message", ({ data }) => this.#on(JSON.parse(data)));
  }

  close() {
    this.socket?.close();
    this.sync?.close();
    this.sound?.close();
    this.microphone?.stop();
    this.heard.srcObject = null;
    this.context?.close();
  }

  /** Note loudness, and what the page itself thinks, from now on. */
  take() {
    this.taking = { levels: [], figures: [], offset: Infinity };
  }

  /** What was noted: levels as [seconds of the context, level], `offset` to performance.now() in seconds. */
  taken() {
    const found = this.taking;
    this.taking = null;
    return found;
  }

  #send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  #on(message) {
    if (message.type === "room") this.#onRoom(message);
    else if (message.type === "relay") this.sound?.on(message.from, message.payload);
    else if (message.type === "pictures") this.times.tell(message, performance.now());
  }

  #onRoom(room) {
    this.room = room;
    if (!room.you.id) return;
    const callable = room.participants.filter((one) => one.sound).map((one) => one.id);
    if (!this.sound) {
      this.sound = new Sound({
        id: room.you.id,
        send: (to, payload) => this.#send({ type: "relay", to, payload }),
        iceServers: room.ice_servers,
        relayOnly: room.relay_only,
        onStream: (id, stream) => this.#onStream(stream),
        onSync: (id, channel, receiver) => this.#onSync(id, channel, receiver),
      });
      this.sound.setMicrophone(this.microphone ?? null);
      this.sound.join(callable);
    }
    this.sound.keep(callable, room.participants.map((one) => one.id));
  }

  #onStream(stream) {
    if (this.speaks || !stream) return;
    this.heard.srcObject = stream;
    this.#tap(stream);
  }

  #onSync(id, channel, receiver) {
    this.sync?.close();
    const place = this.room.participants.find((one) => one.id === id)?.place ?? 0;
    this.sync = new LipSync({
      channel,
      receiver: this.speaks ? undefined : receiver,
      hold: (ms, age) => this.#send({ type: "delay", place, ms, age_ms: age }),
      onFigures: (figures) => this.taking?.figures.push({ ...figures, playout_ms: this.sync.playout }),
    });
    if (!this.speaks) this.sync.watch(this.video, place, this.times);
  }

  #tap(stream) {
    const node = new AudioWorkletNode(this.context, "tap", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => {
      if (!this.taking) return;
      const last = data.at(-1)[0] + BLOCK / this.context.sampleRate;
      this.taking.offset = Math.min(this.taking.offset, performance.now() / 1000 - last); // the quickest message tells the clock
      this.taking.levels.push(...data);
    };
    this.context.createMediaStreamSource(stream).connect(node);
  }
}
