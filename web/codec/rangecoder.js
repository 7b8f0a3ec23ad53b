// A range coder in integers, the twin of telepresence/wire/rangecoder.py. docs/packets.md, "Range coder".
// Every number stays below 2^53, so plain numbers do.

import { PacketError } from "./packets.js";

export const TOTAL_BITS = 12;
export const TOTAL = 1 << TOTAL_BITS;
const WORD = 2 ** 32;
const SMALL = 2 ** 24;
const MAX_PREFIX = 16;

export class RangeEncoder {
  #bytes = []; // what is certain but for a carry
  #low = 0; // the 32 bits in work
  #range = WORD - 1;

  symbol(start, frequency) {
    const unit = Math.floor(this.#range / TOTAL);
    this.#low += unit * start;
    if (this.#low >= WORD) this.#carry();
    let width = unit * frequency;
    while (width < SMALL) {
      this.#bytes.push(Math.floor(this.#low / SMALL));
      this.#low = (this.#low % SMALL) * 256;
      width *= 256;
    }
    this.#range = width;
  }

  bits(value, count) {
    this.symbol(value << (TOTAL_BITS - count), 1 << (TOTAL_BITS - count));
  }

  /** Exp-Golomb code of a number from 0 up. */
  number(value, order) {
    while (value >= 2 ** order) {
      this.bits(1, 1);
      value -= 2 ** order;
      order += 1;
    }
    this.bits(0, 1);
    for (let bit = order - 1; bit >= 0; bit--) this.bits(Math.floor(value / 2 ** bit) & 1, 1);
  }

  /** The shortest bytes that decode to what was written, without zeros at their end. */
  finish() {
    for (let dropped = 32; dropped >= 0; dropped -= 8) {
      const step = 2 ** dropped;
      const value = Math.ceil(this.#low / step) * step;
      if (value < this.#low + this.#range) {
        this.#low = value;
        if (this.#low >= WORD) this.#carry();
        break;
      }
    }
    for (let shift = 24; shift >= 0; shift -= 8) this.#bytes.push(Math.floor(this.#low / 2 ** shift) & 255);
    while (this.#bytes.length && this.#bytes.at(-1) === 0) this.#bytes.pop();
    return Uint8Array.from(this.#bytes);
  }

  #carry() {
    this.#low -= WORD;
    let at = this.#bytes.length - 1;
    while (this.#bytes[at] === 255) this.#bytes[at--] = 0;
    this.#bytes[at] += 1;
  }
}

export class RangeDecoder {
  #data;
  #at;
  #code = 0;
  #range = WORD - 1;
  #unit = 0;

  constructor(data, at = 0) {
    this.#data = data;
    this.#at = at;
    for (let i = 0; i < 4; i++) this.#code = this.#code * 256 + this.#byte();
  }

  /** Where in TOTAL the next symbol lies; `take` must follow. */
  slot() {
    this.#unit = Math.floor(this.#range / TOTAL);
    const slot = Math.floor(this.#code / this.#unit);
    if (slot >= TOTAL) throw new PacketError("the packet's body is damaged");
    return slot;
  }

  take(start, frequency) {
    this.#code -= this.#unit * start;
    let width = this.#unit * frequency;
    while (width < SMALL) {
      width *= 256;
      this.#code = this.#code * 256 + this.#byte();
    }
    this.#range = width;
  }

  bits(count) {
    const shift = TOTAL_BITS - count;
    const value = this.slot() >> shift;
    this.take(value << shift, 1 << shift);
    return value;
  }

  number(order) {
    let value = 0;
    let prefix = 0;
    while (this.bits(1)) {
      if (++prefix > MAX_PREFIX) throw new PacketError("a number in the packet's body does not end");
      value += 2 ** order;
      order += 1;
    }
    let rest = 0;
    for (let i = 0; i < order; i++) rest = rest * 2 + this.bits(1);
    return value + rest;
  }

  finish() {
    if (this.#data.length > this.#at) throw new PacketError("bytes follow the packet's end");
  }

  #byte() {
    const byte = this.#at < this.#data.length ? this.#data[this.#at] : 0;
    this.#at += 1;
    return byte;
  }
}
