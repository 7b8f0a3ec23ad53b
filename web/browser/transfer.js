// An avatar on its way: cut into chunks, acknowledged, put together, verified. The twin of telepresence/rtc/transfer.py,
// which explains the window; docs/edge.md has the bytes.

import { ProtocolError } from "./rules.js";
import { sha256 } from "./sha256.js";

export const MAX_AVATAR_BYTES = 8 * 1024 * 1024;
export const WINDOW_BYTES = 8 * 1024;
export const CHUNK_BYTES = 1152;
const MAX_DELAY_US = 8000;
const FILTER = 4;
const KIND_DATA = 1;
const KIND_ACK = 2;
const HEAD_BYTES = 5;

/** What a participant says of its avatar in its hello: {sha256, size, epoch}. @throws {ProtocolError} */
export function parseOffer(value) {
  const { sha256: hash, size, epoch = 0 } = value ?? {};
  if (typeof hash !== "string" || !/^[0-9a-f]{64}$/.test(hash)) throw new ProtocolError("avatar.sha256");
  if (!Number.isSafeInteger(size) || size < 1 || size > MAX_AVATAR_BYTES) throw new ProtocolError("avatar.size");
  if (!Number.isInteger(epoch) || epoch < 0 || epoch > 255) throw new ProtocolError("avatar.epoch");
  return { sha256: hash, size, epoch };
}

/** The offer of one's own avatar file. @param {Uint8Array} data */
export async function offerOf(data, epoch = 0) {
  return { sha256: await sha256(data), size: data.length, epoch };
}

export const sameOffer = (one, other) => one === other
  || Boolean(one && other && one.sha256 === other.sha256 && one.size === other.size && one.epoch === other.epoch);

/** The sending side: ask `next` until it has nothing, then after every `acknowledge`. */
export class Outgoing {
  #underWay = []; // [end of a chunk in the file, when it was sent]
  #window = WINDOW_BYTES;
  #shortest = Infinity;
  #shrunkUs = 0;
  #recent = [];

  /** @param {Uint8Array} data @param {number} start  what the other has already @throws {ProtocolError} */
  constructor(data, start = 0) {
    if (start > data.length) throw new ProtocolError("to go on beyond the avatar's end");
    this.data = data;
    this.sent = start;
    this.acknowledged = start;
  }

  get done() { return this.acknowledged === this.data.length; }

  /** The next message to send now; null while the window is full, or when all is sent. */
  next(nowUs) {
    const chunk = Math.min(CHUNK_BYTES, this.data.length - this.sent);
    const used = this.sent - this.acknowledged + this.#underWay.length * HEAD_BYTES;
    if (!chunk || (used && used + HEAD_BYTES + chunk > this.#window)) return null;
    const message = head(KIND_DATA, this.sent, chunk);
    message.set(this.data.subarray(this.sent, this.sent + chunk), HEAD_BYTES);
    this.sent += chunk;
    this.#underWay.push([this.sent, nowUs]);
    return message;
  }

  /** Take the receiver's count in. @throws {ProtocolError} it claims what cannot be */
  acknowledge(received, nowUs) {
    if (received < this.acknowledged || received > this.sent) throw new ProtocolError("an acknowledgement of what was not sent");
    this.acknowledged = received;
    while (this.#underWay.length && this.#underWay[0][0] <= received) this.#adapt(this.#underWay.shift()[1], nowUs);
  }

  #adapt(sentUs, nowUs) {
    const took = nowUs - sentUs;
    this.#shortest = Math.min(took, this.#shortest);
    this.#recent = [...this.#recent, took].slice(-FILTER);
    if (Math.min(...this.#recent) <= this.#shortest + MAX_DELAY_US) {
      this.#window = Math.min(WINDOW_BYTES, this.#window + (CHUNK_BYTES * CHUNK_BYTES) / this.#window);
    } else if (sentUs >= this.#shrunkUs) { // once for all that was under way together
      this.#window = Math.max(CHUNK_BYTES, this.#window / 2);
      this.#shrunkUs = nowUs;
    }
  }
}

/** The receiving side. Survives a connection: ask for the rest from `received`. */
export class Incoming {
  #buffer;

  /** @param {{sha256: string, size: number, epoch: number}} offer  checked */
  constructor(offer) {
    this.offer = offer;
    this.#buffer = new Uint8Array(Math.min(offer.size, 64 * 1024)); // grows with what comes, not with what is promised
    this.received = 0;
  }

  get complete() { return this.received === this.offer.size; }

  /** What is here so far, not verified. A copy. */
  get prefix() { return this.#buffer.slice(0, this.received); }

  /** Take a piece in; returns the acknowledgement to send. @throws {ProtocolError} the transfer is as it was */
  take(offset, chunk) {
    const end = this.received + chunk.length;
    if (offset !== this.received) throw new ProtocolError(`data for offset ${offset}; ${this.received} is next`);
    if (!chunk.length || end > this.offer.size) throw new ProtocolError("more than was offered");
    if (end > this.#buffer.length) this.#grow(Math.min(this.offer.size, Math.max(end, 2 * this.#buffer.length)));
    this.#buffer.set(chunk, this.received);
    this.received = end;
    return head(KIND_ACK, this.received, 0);
  }

  /** The whole file. @returns {Promise<Uint8Array|null>} null: it is not what was offered */
  async result() {
    const data = this.#buffer.subarray(0, this.received);
    return (await sha256(data)) === this.offer.sha256 ? data : null;
  }

  #grow(size) {
    const larger = new Uint8Array(size);
    larger.set(this.#buffer);
    this.#buffer = larger;
  }
}

/** A message of the avatar channel: {offset, chunk} or {received}. @param {Uint8Array} data @throws {ProtocolError} */
export function parseMessage(data) {
  if (data.length < HEAD_BYTES || data.length > HEAD_BYTES + CHUNK_BYTES) throw new ProtocolError(`an avatar message of ${data.length} bytes`);
  const number = new DataView(data.buffer, data.byteOffset).getUint32(1);
  if (data[0] === KIND_DATA) return { offset: number, chunk: data.subarray(HEAD_BYTES) };
  if (data[0] === KIND_ACK && data.length === HEAD_BYTES) return { received: number };
  throw new ProtocolError("an avatar message of no known kind");
}

function head(kind, number, extra) {
  const message = new Uint8Array(HEAD_BYTES + extra);
  message[0] = kind;
  new DataView(message.buffer).setUint32(1, number);
  return message;
}
