// Motion -> messages for one receiver: the twin of MotionEncoder in telepresence/wire/encoder.py.

import { FLAG_REST, FLAG_STILL, HALF_MS, HELD, MAX_AGE, MAX_HALF_MS, write } from "./body.js";
import { ACK_WINDOW, KIND_DELTA, KIND_WHOLE, firstByte, view, writeTime } from "./packets.js";
import { quantise } from "./quantise.js";
import { RangeEncoder } from "./rangecoder.js";
import { tables } from "./tables.js";

const LOSS_MEMORY = 1 / 100;
const LATE = 3;
const REPEAT_FROM = 0.02;
const REPEAT_FOR = 900;
const PAIR_US = 1_000_000;

export class MotionEncoder {
  #next;
  #sent = new Map();
  #repeat;
  #left = 0;
  repeating = false;
  loss = 0;

  constructor({ firstSequence = 0, repeat = true } = {}) {
    this.#next = firstSequence >>> 0;
    this.#repeat = repeat;
  }

  /** One motion -> a message; the motion before travels along while `repeating`. */
  encode(captureUs, motion, { epoch = 0, rest = false, still = false } = {}) {
    const before = this.repeating ? this.#sent.get((this.#next - 1) >>> 0) : undefined;
    const held = this.#hold({ captureUs, motion, epoch, rest, still });
    const along = before && !before.known && before.epoch === held.epoch && halfMs(before, held) !== null;
    return along ? this.#message(before, held) : this.#message(held);
  }

  /** Two motions {captureUs, motion, epoch, rest, still} in one message, the older first. */
  encodePair(first, second) {
    const apart = second.captureUs - first.captureUs;
    if ((first.epoch ?? 0) !== (second.epoch ?? 0) || apart < 0 || apart > PAIR_US) {
      throw new RangeError("the motions of a pair must be of one epoch and follow each other within a second");
    }
    return this.#message(this.#hold(first), this.#hold(second));
  }

  /** Takes in what the receiver holds: only that is referred to from now on. */
  acknowledge({ newest, mask }) {
    if (newest === null) {
      for (const held of this.#sent.values()) held.known = false;
      return;
    }
    const behind = (this.#next - 1 - newest) & 0xffff;
    if (behind >= HELD) return;
    for (let back = 0; back <= ACK_WINDOW; back++) {
      const held = this.#sent.get((this.#next - 1 - behind - back) >>> 0);
      if (!held) continue;
      held.known = back === 0 || ((mask >>> (back - 1)) & 1) === 1;
      if ((held.known || back >= LATE) && !held.counted) {
        held.counted = true;
        this.#count(!held.known);
      }
    }
  }

  #count(lost) {
    this.loss += ((lost ? 1 : 0) - this.loss) * LOSS_MEMORY;
    this.#left = Math.max(this.#left - 1, 0);
    if (this.loss >= REPEAT_FROM || (lost && this.#left)) this.#left = REPEAT_FOR;
    this.repeating = this.#repeat && this.#left > 0;
  }

  #hold({ captureUs, motion, epoch = 0, rest = false, still = false }) {
    const newest = this.#sent.get((this.#next - 1) >>> 0);
    const near = newest && newest.epoch === epoch ? newest.grid : null;
    let time = Math.floor(Math.max(captureUs, 0) || 0); // performance.now() has fractions
    if (newest) {
      const steps = Math.max(0, Math.floor((time - newest.captureUs + HALF_MS / 2) / HALF_MS));
      time = newest.captureUs + steps * HALF_MS;
    }
    const flags = (rest ? FLAG_REST : 0) | (still ? FLAG_STILL : 0);
    const grid = quantise(motion, near);
    const held = { sequence: this.#next, captureUs: time, epoch: epoch & 255, grid, flags, known: false, counted: false };
    this.#next = (this.#next + 1) >>> 0;
    this.#sent.set(held.sequence, held);
    if (this.#sent.size > HELD) this.#sent.delete(this.#sent.keys().next().value);
    return held;
  }

  #reference(held) {
    for (let age = 1; age <= MAX_AGE; age++) {
      const found = this.#sent.get((held.sequence - age) >>> 0);
      if (found?.known && found.epoch === held.epoch && halfMs(found, held) !== null) return found;
    }
    return null;
  }

  #message(first, second = null) {
    const reference = this.#reference(first);
    const time = reference && halfMs(reference, first);
    const coder = new RangeEncoder();
    write(coder, first, reference && reference.grid, time, second !== null);
    if (second) {
      coder.bits(halfMs(first, second), 11);
      write(coder, second, first.grid, halfMs(first, second), false);
    }
    const head = reference ? deltaHead(first, reference, time) : wholeHead(first);
    const body = coder.finish();
    const data = new Uint8Array(head.length + body.length);
    data.set(head);
    data.set(body, head.length);
    return data;
  }
}

function wholeHead(held) {
  const head = new Uint8Array(15);
  head[0] = firstByte(KIND_WHOLE);
  head[1] = tables.schema;
  view(head).setUint32(2, held.sequence);
  writeTime(head, 6, held.captureUs);
  head[14] = held.epoch;
  return head;
}

function deltaHead(held, reference, time) {
  const head = new Uint8Array(4);
  head[0] = firstByte(KIND_DELTA);
  head[1] = held.sequence & 255;
  view(head).setUint16(2, ((held.sequence - reference.sequence) << 11) | time);
  return head;
}

/** Time since the reference in half milliseconds, or null if a message cannot say it. */
function halfMs(reference, held) {
  const steps = (held.captureUs - reference.captureUs) / HALF_MS;
  return Number.isInteger(steps) && steps >= 0 && steps <= MAX_HALF_MS ? steps : null;
}
