// WebRTC within a process, as much of it as data channels need. A description names its connection; no network is there.

const all = new Map();
let next = 1;

class Channel extends EventTarget {
  readyState = "connecting";
  bufferedAmount = 0;
  other = null;

  constructor(peer, label, { id }) {
    super();
    Object.assign(this, { peer, label, id });
  }

  send(data) {
    if (this.readyState !== "open") throw new Error("not open");
    const copy = typeof data === "string" ? data : data.slice().buffer;
    const { other } = this;
    setImmediate(() => other?.readyState === "open" && !this.peer.cut && other.dispatchEvent(new MessageEvent("message", { data: copy })));
  }

  close() {
    if (this.readyState === "closed") return;
    this.readyState = "closed";
    setImmediate(() => this.dispatchEvent(new Event("close")));
  }
}

export class FakePeer extends EventTarget {
  connectionState = "new";
  iceGatheringState = "complete";
  channels = [];
  cut = false; // messages get lost

  constructor() {
    super();
    this.id = next;
    next += 1;
    all.set(this.id, this);
  }

  createDataChannel(label, options) {
    const channel = new Channel(this, label, options);
    this.channels.push(channel);
    return channel;
  }

  async setLocalDescription() {
    const certificate = `a=fingerprint:sha-256 ${Array(32).fill((this.id & 255).toString(16).padStart(2, "0")).join(":")}`;
    this.localDescription = { type: "", sdp: `v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=${this.id}\r\n${certificate}\r\n` };
    this.#pair();
  }

  async setRemoteDescription({ sdp }) {
    this.remote = Number(/a=(\d+)/.exec(sdp)[1]);
    this.#pair();
  }

  #pair() {
    const other = all.get(this.remote);
    if (!other || other.remote !== this.id || !this.localDescription || !other.localDescription) return;
    for (const channel of this.channels) {
      const theirs = other.channels.find(({ id }) => id === channel.id);
      [channel.other, theirs.other] = [theirs, channel];
    }
    for (const channel of [...this.channels, ...other.channels]) channel.readyState = "open";
    for (const channel of [...this.channels, ...other.channels]) channel.dispatchEvent(new Event("open"));
  }

  close() {
    if (this.connectionState === "closed") return;
    this.connectionState = "closed";
    for (const channel of this.channels) channel.close();
    for (const channel of this.channels) channel.other?.close();
  }
}
