// The range-coded part of a message: the twin of telepresence/wire/body.py.

import { PacketError } from "./packets.js";
import { EXPRESSION, SCALE, rescaled } from "./quantise.js";
import { tables, timeClass } from "./tables.js";

export const MAX_AGE = 31;
export const MAX_HALF_MS = 2047;
export const HALF_MS = 500; // microseconds
export const HELD = 64; // motions that either end remembers
export const FLAG_REST = 1;
export const FLAG_STILL = 2;
export const FLAG_MORE = 4;

const RIGHT = EXPRESSION - 4;
const LEFT = EXPRESSION - 2;

/** coded: {grid, flags}; reference: a grid or null; halfMs: time since it, null with none. */
export function write(coder, coded, reference, halfMs, more) {
  tables.flags.write(coder, coded.flags | (more ? FLAG_MORE : 0));
  const number = timeClass(halfMs);
  const guess = expected(coded.grid[SCALE], reference);
  const differences = coded.grid.map((value, i) => value - guess[i]);
  for (const axis of [0, 1]) differences[LEFT + axis] -= differences[RIGHT + axis];
  tables.groups.forEach(([from, to], group) => {
    const gears = tables.gears[number][group];
    const gear = cheapest(tables.shapeOf[number], gears, differences, from, to);
    gears.write(coder, gear);
    for (let i = from; i < to; i++) tables.shapes[tables.shapeOf[number][gear][i]].write(coder, differences[i]);
  });
}

/** Reads one motion: {coded: {grid, flags}, more}. */
export function read(coder, reference, halfMs) {
  const flags = tables.flags.read(coder);
  const number = timeClass(halfMs);
  const differences = [];
  tables.groups.forEach(([from, to], group) => {
    const shapes = tables.shapeOf[number][tables.gears[number][group].read(coder)];
    for (let i = from; i < to; i++) differences.push(tables.shapes[shapes[i]].read(coder));
  });
  return { coded: { grid: sum(differences, reference), flags: flags & ~FLAG_MORE }, more: (flags & FLAG_MORE) !== 0 };
}

function cheapest(shapeOf, gears, differences, from, to) {
  let best = 0;
  let least = Infinity;
  for (let gear = 0; gear < shapeOf.length; gear++) {
    let bits = gears.bits[gear];
    for (let i = from; i < to; i++) {
      const { cost } = tables.shapes[shapeOf[gear][i]];
      bits += cost[Math.min(Math.abs(differences[i]), cost.length - 1)];
    }
    if (bits < least) [best, least] = [gear, bits];
  }
  return best;
}

function sum(differences, reference) {
  for (const axis of [0, 1]) differences[LEFT + axis] += differences[RIGHT + axis];
  const scale = (reference ?? tables.origin)[SCALE] + differences[SCALE];
  if (scale < 0 || scale > tables.limits[SCALE]) throw new PacketError("the packet's scale is out of bounds");
  const guess = expected(scale, reference);
  const grid = differences.map((difference, i) => guess[i] + difference);
  if (grid.some((value, i) => Math.abs(value) > tables.limits[i])) {
    throw new PacketError("a value in the packet is out of bounds");
  }
  return grid;
}

function expected(scale, reference) {
  if (reference === null) return tables.origin;
  const out = [...reference];
  for (const i of [SCALE + 1, SCALE + 2]) out[i] = rescaled(reference[i], reference[SCALE], scale);
  return out;
}
