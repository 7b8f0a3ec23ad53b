// Sound beside the avatar, as the product's page has it: from page to page, lips steered by the same modules. What leaves
// the microphone and what leaves the receiver's jitter buffer are noted as loudness over time; the benchmark finds the same
// bursts in both, and so how old the sound is when it is heard.

import { Sound } from "./call/sound.js";
import { PictureTimes } from "./call/clocks.js";
import { LipSync } from "./call/sync.js";

const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false }; // bursts are no speech
const BLOCK = 120; // samples, about, whose loudness is noted: four or five of what a track delivers at once

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
    if (this.speaks) {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: RAW });
      [this.microphone] = stream.getAudioTracks();
      this.#tap(this.microphone);
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
  }

  /** Note loudness, and what the page itself thinks, from now on. */
  take() {
    this.taking = { levels: [], figures: [], offset: Infinity };
  }

  /** What was noted: levels as [seconds of the tracks' clock, level], `offset` to performance.now() in seconds. */
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
    this.#tap(stream.getAudioTracks()[0]);
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

  /**
   * What a track delivers, as it delivers it. Web Audio would do, but for its queue between the track and itself: that
   * grows by some 10 ms whenever the machine is late, and stays so, and the sound seems to be older than it is.
   */
  async #tap(track) {
    const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      if (this.taking) this.#note(next.value, this.taking);
      next.value.close();
    }
  }

  #note(data, taking) {
    const { numberOfFrames: count, sampleRate } = data;
    const samples = new Float32Array(count);
    data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    const begin = data.timestamp / 1e6;
    taking.offset = Math.min(taking.offset, performance.now() / 1000 - begin); // the quickest tells the clock
    const blocks = Math.max(1, Math.round(count / BLOCK)), length = Math.floor(count / blocks);
    for (let block = 0; block < blocks; block += 1) {
      let sum = 0;
      for (let n = block * length; n < (block + 1) * length; n += 1) sum += samples[n] * samples[n];
      taking.levels.push([begin + (block * count) / blocks / sampleRate, Math.sqrt(sum / length)]);
    }
  }
}
