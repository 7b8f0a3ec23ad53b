// Messages -> motion, from one sender: the twin of MotionDecoder in telepresence/wire/decoder.py.

import { FLAG_REST, FLAG_STILL, HALF_MS, HELD, read } from "./body.js";
import {
  ACK_WINDOW, KIND_ACK, KIND_DELTA, KIND_WHOLE, MissingReferenceError, PacketError, checkTime, decodeAck, decodePing,
  kindOf, readTime, view,
} from "./packets.js";
import { restore } from "./quantise.js";
import { RangeDecoder } from "./rangecoder.js";
import { tablesFor } from "./tables.js";

const ACK_EVERY = 4;

export class MotionDecoder {
  #held = new Map();
  #newest = null;
  #wanted = false;
  unacknowledged = 0; // messages with motion since the last ack
  refused = 0;
  missing = 0;

  /** Any message: {kind: "motion", packets: [one or two, the older first]}, or {kind: "ack" | "ping" | "pong", ...}. */
  receive(data) {
    try {
      const kind = kindOf(data);
      if (kind === KIND_ACK) return decodeAck(data);
      if (kind === KIND_WHOLE || kind === KIND_DELTA) return { kind: "motion", packets: this.#motions(kind, data) };
      return decodePing(data);
    } catch (error) {
      if (error instanceof PacketError) this.refused += 1;
      if (error instanceof MissingReferenceError) {
        this.missing += 1;
        this.#wanted = true;
      }
      throw error;
    }
  }

  /** Whether to send `ack` now: after every few messages, but after the first and for a missing reference at once. */
  ackDue(every = ACK_EVERY) {
    return this.unacknowledged >= every || this.#wanted;
  }

  /** What is held now: {newest, mask} for `encodeAck`. */
  ack() {
    this.unacknowledged = 0;
    this.#wanted = false;
    if (this.#newest === null) return { newest: null, mask: 0 };
    let mask = 0;
    for (let back = 0; back < ACK_WINDOW; back++) {
      if (this.#held.has((this.#newest - 1 - back) >>> 0)) mask |= 1 << back;
    }
    return { newest: this.#newest & 0xffff, mask: mask >>> 0 };
  }

  /** The integers of a motion that is held, for tests. */
  grid(sequence) {
    return this.#held.get(sequence)?.grid;
  }

  #motions(kind, data) {
    const { reference, halfMs, at, ...head } = kind === KIND_WHOLE ? wholeHead(data) : this.#deltaHead(data);
    const coder = new RangeDecoder(data, at);
    let { coded, more } = read(coder, reference && reference.grid, halfMs);
    const found = [{ ...head, ...coded }];
    if (more) {
      const time = coder.bits(11);
      ({ coded, more } = read(coder, coded.grid, time));
      if (more) throw new PacketError("more than two motions in a message");
      const sequence = (head.sequence + 1) >>> 0;
      found.push({ ...head, sequence, captureUs: checkTime(head.captureUs + time * HALF_MS), ...coded });
    }
    coder.finish();
    if (this.#newest === null) this.#wanted = true;
    found.forEach((held) => this.#keep(held));
    this.unacknowledged += 1;
    return found.map(packet);
  }

  #deltaHead(data) {
    if (data.length < 4) throw new PacketError("shorter than a motion's head");
    const word = view(data).getUint16(2);
    const [age, halfMs] = [word >> 11, word & 2047];
    for (const reference of age ? this.#held.values() : []) {
      if (((reference.sequence + age - data[1]) & 255) !== 0) continue;
      const sequence = (reference.sequence + age) >>> 0;
      const captureUs = checkTime(reference.captureUs + halfMs * HALF_MS);
      return { reference, halfMs, at: 4, sequence, captureUs, epoch: reference.epoch };
    }
    throw new MissingReferenceError("the motion that this one refers to is not held");
  }

  #keep(held) {
    const ahead = this.#newest === null ? 1 : (held.sequence - this.#newest) | 0;
    if (ahead <= -HELD) return;
    if (ahead > 0) {
      this.#newest = held.sequence;
      const oldest = held.sequence - HELD + 1;
      for (const sequence of this.#held.keys()) {
        if ((sequence - oldest) >>> 0 >= HELD) this.#held.delete(sequence);
      }
    }
    if (!this.#held.has(held.sequence)) this.#held.set(held.sequence, held);
  }
}

function wholeHead(data) {
  if (data.length < 15) throw new PacketError("shorter than a whole motion's head");
  tablesFor(data[1]);
  const [sequence, captureUs] = [view(data).getUint32(2), readTime(data, 6)];
  return { reference: null, halfMs: null, at: 15, sequence, captureUs, epoch: data[14] };
}

function packet({ sequence, captureUs, epoch, flags, grid }) {
  const [rest, still] = [(flags & FLAG_REST) !== 0, (flags & FLAG_STILL) !== 0];
  return { sequence, captureUs, epoch, rest, still, motion: restore(grid) };
}
