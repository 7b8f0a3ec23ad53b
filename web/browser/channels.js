// The three data channels to another participant: motion, control, avatar. docs/edge.md specifies them; the twin of
// telepresence/rtc/channels.py. Nothing that arrives can raise out of a handler here: what breaks the rules is counted,
// and who breaks them again and again is reported, once, by `onAbuse`.

import { MotionDecoder } from "../codec/decoder.js";
import { MotionEncoder } from "../codec/encoder.js";
import { MAX_PACKET_BYTES, MissingReferenceError, PacketError, encodeAck, encodePing } from "../codec/packets.js";
import { ClockOffset } from "./clock.js";
import * as hello from "./hello.js";
import { ProtocolError, TokenBucket, nowUs } from "./rules.js";
import * as transfer from "./transfer.js";

const MOTION = { negotiated: true, id: 0, ordered: false, maxRetransmits: 0 };
const CONTROL = { negotiated: true, id: 2 };
const AVATAR = { negotiated: true, id: 4 };
const HEARTBEAT_MS = 1000;
const MAX_MISSES = 3;
const PER_SECOND = { motion: 240, control: 20, avatar: 20_000 };
const VIOLATIONS = { burst: 100, perSecond: 2 };

/** What one participant's channels have seen, over all connections to it. */
export class Counters {
  sent = 0; // messages with motion
  skipped = 0; // motions not sent, since the transport still held one
  received = 0;
  violations = 0;
  missing = 0; // references that had not arrived; they break no rule
  sentBytes = 0; // on the motion channel
  receivedBytes = 0;
}

/**
 * Who is told. All return at once.
 * @typedef {object} ChannelEvents
 * @property {() => void} onOpen  all three are open
 * @property {(packet: object, nowUs: number) => void} onMotion  may throw ProtocolError
 * @property {(message: object) => void} onControl  may throw ProtocolError
 * @property {(message: object) => void} onAvatarMessage  may throw ProtocolError
 * @property {() => void} onAbuse
 * @property {() => void} onSilence  three heartbeats without a sign of life
 */

/** The channels of one connection. Made before its offer or answer. */
export class Channels {
  clock = new ClockOffset();
  #closed = false;
  #heard = false;
  #beat = null;
  #decoder = new MotionDecoder();
  // Random, so that nobody takes this connection's packets for those of the one before.
  #encoder = new MotionEncoder({ firstSequence: Math.floor(Math.random() * 2 ** 32) });
  #bucket = new TokenBucket(VIOLATIONS);

  /** @param {RTCPeerConnection} peer @param {ChannelEvents} events @param {Counters} counters */
  constructor(peer, events, counters) {
    this.events = events;
    this.counters = counters;
    this.motion = this.#listen(peer.createDataChannel("motion", MOTION), (data, now) => this.#onMotion(data, now));
    this.control = this.#listen(peer.createDataChannel("control", CONTROL), (data) => this.#onControl(data));
    this.avatar = this.#listen(peer.createDataChannel("avatar", AVATAR), (data) => this.#onAvatar(data));
    peer.addEventListener("datachannel", ({ channel }) => {
      channel.close();
      this.violation();
    });
  }

  get open() {
    return !this.#closed && [this.motion, this.control, this.avatar].every((channel) => channel.readyState === "open");
  }

  /** Send motion, unless an older one still waits in the transport. @returns {boolean} */
  sendMotion({ captureUs, motion, epoch = 0, rest = false }) {
    if (!this.open || this.motion.bufferedAmount > 0) {
      this.counters.skipped += 1;
      return false;
    }
    if (this.#sendOnMotion(this.#encoder.encode(captureUs, motion, { epoch, rest }))) this.counters.sent += 1;
    return true;
  }

  /** Dropped when the connection is gone: the next one says hello again. */
  sendControl(message) { this.#send(this.control, hello.encode(message)); }

  /** The caller keeps to the transfer's window. */
  sendAvatar(message) { this.#send(this.avatar, message); }

  /** Count a broken rule. */
  violation() {
    this.counters.violations += 1;
    if (this.#closed || this.#bucket.take(performance.now())) return;
    this.close();
    this.events.onAbuse();
  }

  /** Fall silent; the connection is closed by its owner. */
  close() {
    this.#closed = true;
    clearInterval(this.#beat);
  }

  #listen(channel, handle) {
    channel.binaryType = "arraybuffer";
    const rate = PER_SECOND[channel.label];
    const bucket = new TokenBucket({ burst: rate, perSecond: rate });
    channel.addEventListener("message", ({ data }) => {
      if (this.#closed) return;
      try {
        if (!bucket.take(performance.now())) throw new ProtocolError("too many messages");
        handle(typeof data === "string" ? data : new Uint8Array(data), nowUs());
      } catch (error) {
        if (!(error instanceof ProtocolError || error instanceof PacketError)) console.error(error);
        else if (channel === this.control) console.info(`refused: ${error.message}`);
        this.violation();
      }
    });
    channel.addEventListener("open", () => this.#onOpen());
    return channel;
  }

  #onOpen() {
    if (!this.open || this.#beat !== null) return;
    let misses = -1; // nothing was due before the first beat
    const beat = () => {
      misses = this.#heard ? 0 : misses + 1;
      this.#heard = false;
      if (misses >= MAX_MISSES) {
        this.close();
        this.events.onSilence();
      } else if (this.motion.bufferedAmount === 0) {
        this.#sendOnMotion(encodePing(this.clock.ping(nowUs())));
      }
    };
    this.#beat = setInterval(beat, HEARTBEAT_MS);
    beat();
    this.events.onOpen();
  }

  #onMotion(data, now) {
    if (typeof data === "string") throw new ProtocolError("text on the motion channel");
    let received = { kind: "motion", packets: [] };
    try {
      received = this.#decoder.receive(data);
    } catch (error) {
      if (!(error instanceof MissingReferenceError)) throw error;
      this.counters.missing += 1;
    }
    this.#heard = true;
    this.counters.receivedBytes += data.length;
    if (received.kind === "motion") this.#onPackets(received.packets, now);
    else if (received.kind === "ack") this.#encoder.acknowledge(received);
    else if (received.kind === "ping") this.#sendOnMotion(encodePing({ ...received, kind: "pong", answeredUs: now }));
    else this.clock.pong(received, now);
  }

  /** Hand motion on, the older first, and tell the sender what it may refer to from now on. */
  #onPackets(packets, now) {
    if (packets.length) this.counters.received += 1;
    if (this.#decoder.ackDue()) this.#sendOnMotion(encodeAck(this.#decoder.ack()));
    for (const packet of packets) this.events.onMotion(packet, now);
  }

  #onControl(data) {
    const message = hello.parse(data);
    if (message) this.events.onControl(message);
  }

  #onAvatar(data) {
    if (typeof data === "string") throw new ProtocolError("text on the avatar channel");
    this.events.onAvatarMessage(transfer.parseMessage(data));
  }

  /** Send unless the transport is full. @returns {boolean} whether it was sent */
  #sendOnMotion(message) {
    if (!this.open || this.motion.bufferedAmount > MAX_PACKET_BYTES || !this.#send(this.motion, message)) return false;
    this.counters.sentBytes += message.length;
    return true;
  }

  #send(channel, message) {
    if (!this.open) return false;
    try {
      channel.send(message);
      return true;
    } catch (error) { // it closes just now, or its buffer is full
      console.info(`${channel.label}: ${error.message}`);
      return false;
    }
  }
}
