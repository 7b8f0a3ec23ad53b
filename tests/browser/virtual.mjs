// A clock that goes as fast as the machine does, and what of a browser the page's connections need, on it.

const real = globalThis.setImmediate;

/** Puts its own setTimeout, clearTimeout and performance.now in place. */
export class VirtualClock {
  constructor() {
    this.now = 0;
    this.jobs = new Map();
    this.next = 1;
    Object.defineProperty(globalThis, "performance", { value: { now: () => this.now, timeOrigin: 0 }, configurable: true });
    globalThis.setTimeout = (act, ms = 0) => {
      this.jobs.set(this.next, { at: this.now + ms, act });
      this.next += 1;
      return this.next - 1;
    };
    globalThis.clearTimeout = (id) => this.jobs.delete(id);
    AbortSignal.timeout = (ms) => {
      const controller = new AbortController();
      setTimeout(() => controller.abort(new DOMException("too late", "TimeoutError")), ms);
      return controller.signal;
    };
  }

  /** Let so much time pass. */
  async run(ms) {
    const end = this.now + ms;
    for (;;) {
      await settle();
      const due = [...this.jobs].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      const [id, { at, act }] = due;
      this.jobs.delete(id);
      this.now = Math.max(this.now, at);
      act();
    }
    this.now = end;
  }

  /** Until it is so; how long that took. */
  async until(condition, most = 60_000) {
    const begun = this.now;
    while (!condition()) {
      if (this.now - begun > most) throw new Error(`not within ${most} ms`);
      await this.run(10);
    }
    return this.now - begun;
  }
}

/** Whatever has been promised by now is done. */
async function settle() {
  for (let n = 0; n < 5; n += 1) await new Promise((done) => real(done));
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

class Transport extends EventTarget {
  state = "new";

  become(state) {
    this.state = state;
    this.dispatchEvent(new Event("statechange"));
  }
}

/** An RTCPeerConnection that `network.connect(peer)` may connect; `all` has every one that was made. */
export class Peer extends EventTarget {
  static all = [];

  static network = null;

  constructor(options) {
    super();
    this.options = options;
    this.connectionState = "new";
    this.signalingState = "stable";
    this.iceGatheringState = "complete";
    this.transport = new Transport();
    this.ways = [];
    Peer.all.push(this);
  }

  addTransceiver(kind, { direction }) {
    const track = { kind: "audio" };
    const sender = {
      transport: this.transport,
      replaceTrack: async () => {},
      getParameters: () => structuredClone(sender.asked ?? { encodings: [{ active: true }] }),
      setParameters: async (asked) => { sender.asked = asked; },
    };
    const way = { kind, direction, sender, receiver: { transport: this.transport, track }, setCodecPreferences: (all) => { way.preferred = all; } };
    this.ways.push(way);
    return way;
  }

  getTransceivers() { return this.ways; }

  createDataChannel() { return Object.assign(new EventTarget(), { readyState: "connecting", bufferedAmount: 0 }); }

  async setLocalDescription() {
    this.localDescription = { type: this.remote ? "answer" : "offer", sdp: `v=0\r\na=${Peer.all.indexOf(this)}\r\n` };
    this.signalingState = this.remote ? "stable" : "have-local-offer";
    if (this.remote) Peer.network?.joined(this);
  }

  async setRemoteDescription(description) {
    this.remote = description;
    if (description.type === "offer") this.addTransceiver("audio", { direction: "sendrecv" });
    else {
      this.signalingState = "stable";
      Peer.network?.joined(this);
    }
  }

  become(state) {
    if (this.connectionState === "closed" || this.connectionState === state) return;
    this.connectionState = state;
    this.dispatchEvent(new Event("connectionstatechange"));
  }

  close() { this.connectionState = "closed"; }
}

globalThis.RTCPeerConnection = Peer;
globalThis.MediaStream = class { constructor(tracks = []) { this.tracks = tracks; } };
globalThis.DOMException ??= class extends Error {};
