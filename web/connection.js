// One peer connection to one edge, kept alive: when it or the edge dies, a new one is made.

const PAUSES_MS = [50, 200, 500, 700]; // an edge is on this machine: attempts cost little, so its return is soon noticed
const GATHER_MS = 1000; // host candidates only; a name server that hangs must not hold up the call
const PATIENCE_MS = [3000, 10_000]; // for the answer, and again for the connection: least, and where nothing is known
const TIMES = 4; // what the last connection took: on a machine that is busy everything takes longer
const PATIENT = 3; // every so many attempts in a row that took too long, one gets the most: it may be busier by now
const WOBBLE_MS = 1500; // "disconnected" heals by itself on a passing hiccup; after this it counts as dead
// Loopback carries it at once. The encoder keeps to its own 1.7 Mbit/s or so, but a picture's packets are paced at 2.5 times this;
// and the browser's own start of 300 would show landmarks a smeared face.
const START_KBPS = 10_000;

/** How soon an attempt follows the last, and how long it may take. Pure. */
export class Pace {
  #attempts = 0; // in a row that came to nothing at once
  #late = 0; // that took too long
  #tookMs = null;

  /** An attempt has come to nothing, or a connection is lost. @returns {number} ms before the next attempt */
  pauseMs(late = false) {
    if (late) {
      this.#late += 1;
      return PAUSES_MS[0]; // it has waited long enough
    }
    this.#attempts += 1;
    return PAUSES_MS[Math.min(this.#attempts, PAUSES_MS.length) - 1];
  }

  /** How long the present attempt may wait for its answer, and then for its connection. */
  get patienceMs() {
    const [least, most] = PATIENCE_MS;
    if (this.#tookMs === null || this.#late % PATIENT === PATIENT - 1) return most;
    return Math.min(most, Math.max(least, TIMES * this.#tookMs));
  }

  connected(tookMs) {
    this.#tookMs = tookMs;
    this.again();
  }

  /** Begin with the shortest pause. */
  again() { [this.#attempts, this.#late] = [0, 0]; }
}

/**
 * @typedef {object} LinkOptions
 * @property {() => Promise<{url: string, token: string} | null>} find  asked before every attempt: a restarted edge has moved
 * @property {MediaStreamTrack|null} [track]  what is sent
 * @property {boolean} [sends]  whether there is a way for a track that comes later, by `replace`
 * @property {number|null} [perSecond]  pictures sent a second at the most; `slow` changes it
 * @property {boolean|number} [receive]  how many avatars are asked for
 * @property {(state: "connecting"|"live"|"lost") => void} onState
 * @property {(stream: MediaStream, place: number) => void} [onStream]
 * @property {() => void} [onDrop]  called while the last picture can still be had
 */
export class Link {
  /** @param {LinkOptions} options */
  constructor(options) {
    this.options = options;
    this.pace = new Pace();
    this.everLive = false;
    this.closed = false;
    this.peer = null;
    this.waiting = false; // for the next attempt
    this.timer = 0;
  }

  /** Start, or start afresh when the edge is known to have been replaced. */
  restart() {
    this.pace.again();
    this.#attempt();
  }

  /** The edge can be reached now, as far as is known elsewhere: do not wait any longer for the next attempt. */
  hurry() {
    if (this.waiting && !this.closed) this.restart();
  }

  /** Send another track from now on, or none; for a link that `sends`. */
  replace(track) {
    this.options.track = track;
    this.sender?.replaceTrack(track).catch((error) => console.info(`link: ${error.message}`));
  }

  /** Send so many pictures a second at the most: an edge that is behind would only throw them away. @param {number|null} perSecond */
  slow(perSecond) {
    if ((this.options.perSecond ?? null) === (perSecond ?? null)) return;
    this.options.perSecond = perSecond;
    this.#slow();
  }

  /** Stop for good. */
  close() {
    this.closed = true;
    this.#drop();
  }

  async #attempt() {
    this.#drop();
    if (this.closed) return;
    this.options.onState(this.everLive ? "lost" : "connecting");
    // One transport for all sections: each would bring its own to the offer, and a busy machine takes long for every one.
    const [peer, begun] = [new RTCPeerConnection({ iceServers: [], bundlePolicy: "max-bundle" }), performance.now()];
    this.peer = peer;
    try {
      this.#prepare(peer);
      await this.#negotiate(peer);
      if (this.peer !== peer) return;
      this.#watch(peer);
      await connected(peer, this.pace.patienceMs);
      if (this.peer !== peer) return;
      const tookMs = performance.now() - begun;
      this.pace.connected(tookMs);
      console.info(`link: live after ${Math.round(tookMs)} ms`);
      this.everLive = true;
      if (this.options.perSecond) this.#slow();
      this.options.onState("live");
    } catch (error) {
      if (this.peer === peer) this.#again(error);
    }
  }

  #prepare(peer) {
    const { track, sends, receive, onStream } = this.options;
    this.sender = null;
    if (track || sends) {
      const streams = track ? [new MediaStream([track])] : [];
      this.sender = peer.addTransceiver(track ?? "video", { direction: "sendonly", streams }).sender;
    }
    const ways = Array.from({ length: Number(receive ?? 0) }, () => peer.addTransceiver("video", { direction: "recvonly" }));
    for (const way of ways) hurry(way.receiver);
    for (const way of peer.getTransceivers()) onlyKnown(way);
    peer.addEventListener("track", ({ track: picture, transceiver }) => {
      const place = ways.indexOf(transceiver);
      if (place >= 0) onStream?.(new MediaStream([picture]), place);
    });
  }

  async #negotiate(peer) {
    const [edge] = await Promise.all([this.options.find(), peer.setLocalDescription().then(() => gathered(peer))]);
    if (!edge) throw new Error("the edge is not up yet");
    const response = await fetch(new URL("/api/page", edge.url), {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${edge.token}` },
      body: JSON.stringify({ type: "offer", sdp: peer.localDescription.sdp }),
      signal: AbortSignal.timeout(this.pace.patienceMs),
    });
    if (!response.ok) throw new Error(`the edge answered ${response.status}`);
    const { type, sdp } = await response.json();
    await peer.setRemoteDescription({ type, sdp: this.sender ? startFast(sdp) : sdp });
  }

  #slow() {
    const asked = this.sender?.getParameters();
    for (const encoding of asked?.encodings ?? []) {
      if (this.options.perSecond) encoding.maxFramerate = this.options.perSecond;
      else delete encoding.maxFramerate;
    }
    if (asked?.encodings?.length) this.sender.setParameters(asked).catch((error) => console.info(`link: ${error.message}`));
  }

  #watch(peer) {
    // An edge that leaves says so on the DTLS transport at once; the connection's own state would take seconds to notice.
    for (const transport of new Set(peer.getTransceivers().map((way) => way.receiver.transport ?? way.sender.transport))) {
      transport?.addEventListener("statechange", () => {
        if (this.peer === peer && ["closed", "failed"].includes(transport.state)) this.#again(new Error("the edge left"));
      });
    }
    peer.addEventListener("connectionstatechange", () => {
      if (this.peer !== peer) return;
      clearTimeout(this.timer);
      if (["failed", "closed"].includes(peer.connectionState)) this.#again(new Error(peer.connectionState));
      if (peer.connectionState === "disconnected") {
        this.timer = setTimeout(() => this.peer === peer && this.#again(new Error("disconnected")), WOBBLE_MS);
      }
    });
  }

  #again(reason) {
    this.#drop();
    if (this.closed) return;
    const pause = this.pace.pauseMs(reason.name === "TimeoutError");
    console.info(`link: ${reason.message}; again in ${pause} ms`);
    this.options.onState(this.everLive ? "lost" : "connecting");
    this.waiting = true;
    this.timer = setTimeout(() => this.#attempt(), pause);
  }

  #drop() {
    clearTimeout(this.timer);
    const { peer } = this;
    this.peer = null;
    this.waiting = false;
    this.sender = null;
    if (!peer) return;
    this.options.onDrop?.();
    peer.close();
  }
}

/** Ask the browser to show pictures when they come instead of smoothing their arrival; neither knob exists everywhere. */
function hurry(receiver) {
  try { receiver.jitterBufferTarget = 0; } catch { /* not known here */ }
  try { receiver.playoutDelayHint = 0; } catch { /* not known here */ }
}

/** What an edge can decode and encode (aiortc), and how packets are sent again. */
export function known({ mimeType, sdpFmtpLine = "" }) {
  const baseline = /profile-level-id=42/i.test(sdpFmtpLine) && /packetization-mode=1/.test(sdpFmtpLine);
  return /^video\/(?:VP8|rtx)$/i.test(mimeType) || (/^video\/H264$/i.test(mimeType) && baseline);
}

/** Offer only that: of a browser's thirty codecs in each section an edge reads every line, four fifths of its answer's time. */
function onlyKnown(way) {
  try {
    way.setCodecPreferences(RTCRtpReceiver.getCapabilities("video").codecs.filter(known));
  } catch { /* all of them, then */ }
}

/** Have the browser's encoder begin at START_KBPS (`x-google-start-bitrate`, honoured by Chromium, ignored by others). */
export function startFast(sdp) {
  const lines = sdp.split("\r\n");
  const codecs = lines.map((line) => /^a=rtpmap:(\d+) (?:VP8|VP9|H264|AV1)\//i.exec(line)?.[1]).filter(Boolean);
  for (const codec of codecs) {
    const at = lines.findIndex((line) => line.startsWith(`a=fmtp:${codec} `));
    if (at >= 0) lines[at] += `;x-google-start-bitrate=${START_KBPS}`;
    else lines.splice(lines.findIndex((line) => line.startsWith(`a=rtpmap:${codec} `)) + 1, 0, `a=fmtp:${codec} x-google-start-bitrate=${START_KBPS}`);
  }
  return lines.join("\r\n");
}

function gathered(peer) {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    setTimeout(resolve, GATHER_MS);
    peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && resolve());
  });
}

function connected(peer, withinMs) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new DOMException("no connection in time", "TimeoutError")), withinMs);
    const look = () => {
      if (peer.connectionState === "connected") { clearTimeout(timer); resolve(); }
      if (["failed", "closed"].includes(peer.connectionState)) { clearTimeout(timer); reject(new Error(peer.connectionState)); }
    };
    peer.addEventListener("connectionstatechange", look);
    look();
  });
}
