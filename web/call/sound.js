// Sound from page to page: one connection to every other page, a section of sound and the data channel "sync" on each.
// The hub only carries offers and answers. docs/page.md explains who offers, and what numbers are for.

import { askCaptureTime } from "./clocks.js";

const PAUSES_MS = [100, 300, 600, 1000];
const GATHER_MS = 1500; // candidates go inside the offer: what has not been found by then is not waited for
const CONNECT_MS = 8000;
const EXPECT_MS = 2500; // for those who are to offer; then we do
const YOUNG_MS = 1000; // an attempt that may well come through yet gets so much longer
const WOBBLE_MS = 1200; // "disconnected" heals by itself on a passing hiccup; after this it counts as lost
const SYNC = { negotiated: true, id: 1, ordered: false, maxRetransmits: 0 };

/**
 * @typedef {object} SoundOptions
 * @property {string} id  our own, which decides when both offer at once
 * @property {(to: string, payload: {kind: "offer"|"answer"|"bye", session: number, sdp: string, media: "sound"}) => void} send
 * @property {RTCIceServer[]} iceServers
 * @property {boolean} relayOnly
 * @property {(id: string, stream: MediaStream|null) => void} onStream
 * @property {(id: string, state: "connecting"|"connected"|"lost") => void} [onState]
 * @property {(id: string, channel: RTCDataChannel, receiver: RTCRtpReceiver) => void} [onSync]  a new connection is up
 */

/** Sound to and from all other pages of a room. */
export class Sound {
  /** @param {SoundOptions} options */
  constructor(options) {
    this.options = options;
    this.lines = new Map();
    this.microphone = null;
    this.closed = false;
  }

  /** Call these; for those who were there before us. */
  join(ids) {
    for (const id of ids) this.#line(id).call();
  }

  /**
   * These are who can be called now: new ones are waited for. Who is in the room but cannot be called, since the page
   * has gone or has lost its way to its program, keeps a connection that stands, and gets no new one.
   * @param {Iterable<string>} ids @param {Iterable<string>} [present]  who is in the room; anybody else is forgotten
   */
  keep(ids, present = ids) {
    const [wanted, here] = [new Set(ids), new Set(present)];
    for (const [id, line] of [...this.lines]) {
      line.wanted = wanted.has(id);
      if (!here.has(id) || (!line.wanted && !line.up)) this.leave(id);
    }
    for (const id of wanted) this.#line(id).expect();
  }

  /** Somebody has left, or has no page any more. */
  leave(id) {
    this.lines.get(id)?.close();
    this.lines.delete(id);
  }

  /** A payload of another page. */
  on(from, payload) {
    if (this.closed || payload?.media !== "sound" || !Number.isSafeInteger(payload.session)) return;
    this.#line(from).on(payload);
  }

  /** Send this microphone from now on. @param {MediaStreamTrack|null} track */
  setMicrophone(track) {
    this.microphone = track;
    for (const line of this.lines.values()) line.replace(track);
  }

  /** New servers, for connections yet to be made. */
  setServers(iceServers, relayOnly) {
    Object.assign(this.options, { iceServers, relayOnly });
  }

  /** A way that was cut is back: whatever is not connected does not wait for its next attempt. */
  hurry() {
    for (const line of this.lines.values()) line.hurry();
  }

  /** How loud somebody is now, 0 to 1. */
  level(id) {
    const source = this.lines.get(id)?.receiver?.getSynchronizationSources?.()[0];
    return source && performance.timeOrigin + performance.now() - source.timestamp < 500 ? source.audioLevel ?? 0 : 0;
  }

  /** End all of it. */
  close() {
    this.closed = true;
    for (const id of [...this.lines.keys()]) this.leave(id);
  }

  #line(id) {
    let line = this.lines.get(id);
    if (!line) {
      line = new Line(id, this);
      this.lines.set(id, line);
    }
    return line;
  }
}

/** The connection to one other page, made anew under a higher number whenever it is lost. */
class Line {
  constructor(id, sound) {
    this.id = id;
    this.sound = sound;
    this.number = 0; // the highest seen
    this.peer = null;
    this.offered = false; // whether the present connection is by our offer
    this.live = false;
    this.attempts = 0;
    this.timer = 0;
    this.begun = 0; // when the present attempt was
    this.known = false; // whether anything has been begun
    this.wanted = true; // whether a lost connection is made anew
    this.up = null; // the connection that is connected
  }

  call() {
    if (this.peer) return;
    this.known = true;
    this.#offer();
  }

  expect() {
    if (this.known) return;
    this.known = true;
    this.#later(EXPECT_MS);
  }

  hurry() {
    if (this.up || !this.known || !this.wanted) return;
    const [ours, young] = [this.offered, this.peer && performance.now() - this.begun < YOUNG_MS];
    this.attempts = 0;
    if (young) return void this.#lostIn(YOUNG_MS); // or its offer went into the void just before
    this.#drop();
    this.#later(ours ? 0 : EXPECT_MS / 4);
  }

  replace(track) {
    this.sender?.replaceTrack(track).catch((error) => console.info(`sound: ${error.message}`));
  }

  on({ kind, session, sdp }) {
    if (kind === "offer") this.#onOffer(session, sdp);
    else if (kind === "answer") this.#onAnswer(session, sdp);
    else if (kind === "bye" && session >= this.number) {
      this.number = session;
      this.#lost("the other page began anew");
    }
  }

  close() {
    this.#drop();
    this.closed = true;
    this.sound.options.onStream(this.id, null);
  }

  async #offer() {
    this.number += 1;
    const peer = this.#make(true);
    const number = this.number;
    try {
      const way = peer.addTransceiver(this.sound.microphone ?? "audio", { direction: "sendrecv" });
      this.#own(way);
      await peer.setLocalDescription(); // browsers offer Opus first, with in-band error correction
      await gathered(peer);
      if (this.peer === peer) this.#send("offer", number, peer.localDescription.sdp);
    } catch (error) {
      if (this.peer === peer) this.#lost(error.message);
    }
  }

  async #onOffer(number, sdp) {
    const { id } = this.sound.options;
    if (number < this.number) return this.#send("bye", this.number, "");
    if (number === this.number && this.peer && (!this.offered || id > this.id)) return undefined; // seen, or ours wins
    this.number = number;
    this.known = true;
    const peer = this.#make(false);
    try {
      await peer.setRemoteDescription({ type: "offer", sdp });
      const way = peer.getTransceivers().find((one) => one.receiver.track.kind === "audio");
      if (!way) throw new Error("an offer without sound");
      way.direction = "sendrecv";
      await way.sender.replaceTrack(this.sound.microphone);
      this.#own(way);
      await peer.setLocalDescription();
      await gathered(peer);
      if (this.peer === peer) this.#send("answer", number, peer.localDescription.sdp);
    } catch (error) {
      if (this.peer === peer) this.#lost(error.message);
    }
    return undefined;
  }

  async #onAnswer(number, sdp) {
    const { peer } = this;
    if (!peer || !this.offered || number !== this.number || peer.signalingState !== "have-local-offer") return;
    try {
      await peer.setRemoteDescription({ type: "answer", sdp });
    } catch (error) {
      if (this.peer === peer) this.#lost(error.message);
    }
  }

  #make(offered) {
    this.#drop();
    const { iceServers, relayOnly, onState } = this.sound.options;
    const peer = new RTCPeerConnection({ iceServers, iceTransportPolicy: relayOnly ? "relay" : "all", bundlePolicy: "max-bundle" });
    this.peer = peer;
    this.begun = performance.now();
    this.offered = offered;
    this.channel = peer.createDataChannel("sync", SYNC);
    peer.addEventListener("connectionstatechange", () => this.peer === peer && this.#look(peer));
    this.channel.addEventListener("close", () => this.peer === peer && this.#lost("the other page has closed it"));
    this.#lostIn(CONNECT_MS);
    onState?.(this.id, this.live ? "lost" : "connecting");
    return peer;
  }

  #own(way) {
    this.sender = way.sender;
    this.receiver = way.receiver;
    askCaptureTime(way);
  }

  #look(peer) {
    const state = peer.connectionState;
    if (state === "connected") {
      clearTimeout(this.timer);
      if (this.up === peer) return; // healed
      this.up = peer;
      this.attempts = 0;
      this.live = true;
      const { onStream, onState, onSync } = this.sound.options;
      onStream(this.id, new MediaStream([this.receiver.track]));
      onState?.(this.id, "connected");
      onSync?.(this.id, this.channel, this.receiver);
    } else if (state === "failed" || state === "closed") {
      this.#lost(state);
    } else if (state === "disconnected") {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.peer === peer && this.#lost(state), WOBBLE_MS);
    }
  }

  /** Lost, or refused: who is to offer the next one? Whoever offered this one, at once; the other, if nothing comes. */
  #lost(reason) {
    if (this.closed) return undefined;
    const ours = this.offered;
    this.#drop();
    if (!this.wanted) return void this.sound.leave(this.id);
    this.sound.options.onState?.(this.id, this.live ? "lost" : "connecting");
    const pause = PAUSES_MS[Math.min(this.attempts, PAUSES_MS.length - 1)];
    this.attempts += 1;
    console.info(`sound: ${reason}; again in ${pause} ms`);
    this.#later(ours ? pause : pause + EXPECT_MS / 4);
    return undefined;
  }

  #lostIn(ms) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#lost("no connection in time"), ms);
  }

  #later(pause) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => !this.closed && this.#offer(), pause);
  }

  #send(kind, session, sdp) {
    this.sound.options.send(this.id, { kind, session, sdp, media: "sound" });
  }

  #drop() {
    clearTimeout(this.timer);
    const { peer } = this;
    this.peer = null;
    this.up = null;
    this.sender = null;
    this.receiver = null;
    this.channel = null;
    peer?.close();
  }
}

function gathered(peer) {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    setTimeout(resolve, GATHER_MS);
    peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && resolve());
  });
}
