// Steps, bounds and statistics that both ends share: the twin of telepresence/wire/tables.py.

import { PacketError } from "./packets.js";
import { TOTAL } from "./rangecoder.js";
import fields from "./tables-1.js";

const ESCAPE_ORDER = 3;
const ESCAPE_COST = 5 * 256;

class Symbols {
  constructor(frequencies) {
    this.frequencies = frequencies;
    this.starts = [];
    this.ofSlot = new Uint8Array(TOTAL);
    let start = 0;
    frequencies.forEach((frequency, symbol) => {
      this.starts.push(start);
      this.ofSlot.fill(symbol, start, start + frequency);
      start += frequency;
    });
    if (start !== TOTAL) throw new Error(`frequencies must add up to ${TOTAL}`);
    // What a symbol costs, 1/256 bit: whole numbers, so that every encoder chooses alike.
    this.bits = frequencies.map((frequency) => Math.round(256 * (12 - Math.log2(frequency))));
  }

  write(coder, symbol) {
    coder.symbol(this.starts[symbol], this.frequencies[symbol]);
  }

  read(coder) {
    const symbol = this.ofSlot[coder.slot()];
    coder.take(this.starts[symbol], this.frequencies[symbol]);
    return symbol;
  }
}

class Residuals {
  constructor(half) {
    this.largest = half.length - 2;
    this.escape = 2 * this.largest + 1;
    this.symbols = new Symbols([half[0], ...half.slice(1, -1).flatMap((f) => [f, f]), half.at(-1)]);
    const { bits } = this.symbols;
    this.cost = [bits[0]];
    for (let symbol = 1; symbol < this.escape; symbol += 2) this.cost.push(bits[symbol]);
    this.cost.push(bits[this.escape] + ESCAPE_COST);
  }

  write(coder, difference) {
    const size = Math.abs(difference);
    if (size <= this.largest) {
      this.symbols.write(coder, 2 * size - (difference > 0 ? 1 : 0));
      return;
    }
    this.symbols.write(coder, this.escape);
    coder.bits(difference < 0 ? 1 : 0, 1);
    coder.number(size - this.largest - 1, ESCAPE_ORDER);
  }

  read(coder) {
    const symbol = this.symbols.read(coder);
    if (symbol < this.escape) return symbol & 1 ? (symbol + 1) / 2 : -(symbol / 2) + 0;
    const negative = coder.bits(1);
    const size = coder.number(ESCAPE_ORDER) + this.largest + 1;
    return negative ? -size : size;
  }
}

function parse({ schema, groups, steps, limits, origin, scales, times, flags, gears, shapes, shape_of: shapeOf }) {
  const edges = [0];
  for (const size of groups) edges.push(edges.at(-1) + size);
  return {
    schema,
    groups: groups.map((_, i) => [edges[i], edges[i + 1]]),
    steps,
    limits,
    origin,
    scales,
    times,
    flags: new Symbols(flags),
    gears: gears.map((of) => of.map((frequencies) => new Symbols(frequencies))),
    shapes: shapes.map((half) => new Residuals(half)),
    shapeOf,
  };
}

export const tables = parse(fields);

export function tablesFor(schema) {
  if (schema !== tables.schema) throw new PacketError(`motion schema ${schema}; this page knows ${tables.schema}`);
  return tables;
}

/** Class of a time since the reference in half milliseconds; null: there is none. */
export function timeClass(halfMs) {
  if (halfMs === null) return 0;
  const at = tables.times.findIndex((bound) => halfMs <= bound);
  return at < 0 ? tables.times.length + 1 : at + 1;
}
