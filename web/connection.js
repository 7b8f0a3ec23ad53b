// One peer connection to one edge, kept alive: when it or the edge dies, a new one is made, after a growing pause.

const PAUSES_MS = [200, 500, 1000, 2000, 3000];
const GATHER_MS = 1000; // host candidates only; a name server that hangs must not hold up the call
const ANSWER_MS = 10_000;
const CONNECT_MS = 10_000;
const WOBBLE_MS = 1500; // "disconnected" heals by itself on a passing hiccup; after this it counts as dead
const START_KBPS = 1500; // loopback carries it at once; the browser's own start of 300 would show landmarks a smeared face

/**
 * @typedef {object} LinkOptions
 * @property {() => Promise<{url: string, token: string} | null>} find  asked before every attempt: a restarted edge has moved
 * @property {MediaStreamTrack|null} [track]  what is sent
 * @property {boolean} [sends]  whether there is a way for a track that comes later, by `replace`
 * @property {boolean|number} [receive]  how many avatars are asked for
 * @property {(state: "connecting"|"live"|"lost") => void} onState
 * @property {(stream: MediaStream, place: number) => void} [onStream]
 * @property {() => void} [onDrop]  called while the last picture can still be had
 */
export class Link {
  /** @param {LinkOptions} options */
  constructor(options) {
    this.options = options;
    this.attempts = 0;
    this.everLive = false;
    this.closed = false;
    this.peer = null;
    this.timer = 0;
  }

  /** Start, or start afresh when the edge is known to have been replaced. */
  restart() {
    this.attempts = 0;
    this.#attempt();
  }

  /** Send another track from now on, or none; for a link that `sends`. */
  replace(track) {
    this.options.track = track;
    this.sender?.replaceTrack(track).catch((error) => console.info(`link: ${error.message}`));
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
    const peer = new RTCPeerConnection({ iceServers: [] });
    this.peer = peer;
    try {
      this.#prepare(peer);
      await this.#negotiate(peer);
      await connected(peer);
      if (this.peer !== peer) return;
      this.attempts = 0;
      this.everLive = true;
      this.options.onState("live");
      this.#watch(peer);
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
    peer.addEventListener("track", ({ track: picture, transceiver }) => {
      const place = ways.indexOf(transceiver);
      if (place >= 0) onStream?.(new MediaStream([picture]), place);
    });
  }

  async #negotiate(peer) {
    const edge = await this.options.find();
    if (!edge) throw new Error("the edge is not up yet");
    await peer.setLocalDescription();
    await gathered(peer);
    const response = await fetch(new URL("/api/page", edge.url), {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${edge.token}` },
      body: JSON.stringify({ type: "offer", sdp: peer.localDescription.sdp }),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    if (!response.ok) throw new Error(`the edge answered ${response.status}`);
    const { type, sdp } = await response.json();
    await peer.setRemoteDescription({ type, sdp: this.sender ? startFast(sdp) : sdp });
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
    const pause = PAUSES_MS[Math.min(this.attempts, PAUSES_MS.length - 1)];
    this.attempts += 1;
    console.info(`link: ${reason.message}; again in ${pause} ms`);
    this.options.onState(this.everLive ? "lost" : "connecting");
    this.timer = setTimeout(() => this.#attempt(), pause);
  }

  #drop() {
    clearTimeout(this.timer);
    const peer = this.peer;
    this.peer = null;
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

function connected(peer) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("no connection in time")), CONNECT_MS);
    const look = () => {
      if (peer.connectionState === "connected") { clearTimeout(timer); resolve(); }
      if (["failed", "closed"].includes(peer.connectionState)) { clearTimeout(timer); reject(new Error(peer.connectionState)); }
    };
    peer.addEventListener("connectionstatechange", look);
    look();
  });
}
