// Motion <-> integers, the twin of telepresence/wire/quantise.py.
// A motion is {rotation: [3], translation: [2], scale, gaze: [4] (right x, y, left x, y), expression: [48]}.

import { tables } from "./tables.js";

export const SCALE = 3;
export const EXPRESSION = 10;
const GAZE = 6;
const SCALE_ONE = 2 ** 20;
const SCALE_RANGE = [0.02, 2];
const KEEP = 0.6; // steps
const LIMIT = { rotation: Math.PI, translation: 2, gaze: 0.12, expression: 6 };

const clip = (value, limit) => Math.fround(Math.min(Math.max(Number.isNaN(value) ? 0 : value, -limit), limit));

/** Nearest integer, ties to even. */
export function rint(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return (rest < 0.5 ? floor : floor + 1) + 0;
  return (floor % 2 === 0 ? floor : floor + 1) + 0;
}

/** What a translation on one scale's grid is on another's: rounded to the nearest, halves up. */
export function rescaled(translation, before, after) {
  if (before === after) return translation;
  const [old, now] = [tables.scales[before], tables.scales[after]];
  return Math.floor((translation * old + Math.floor(now / 2)) / now) + 0;
}

/** Motion -> integers; a value within KEEP steps of that of `near` takes it over. */
export function quantise(motion, near = null) {
  const { steps, limits, scales } = tables;
  const rotation = bounded(motion.rotation);
  const size = Number.isNaN(motion.scale) ? 1 : motion.scale;
  const octaves = Math.log2(Math.min(Math.max(size, SCALE_RANGE[0]), SCALE_RANGE[1]) / SCALE_RANGE[0]);
  const kept = near && Math.abs(octaves / steps[SCALE] - near[SCALE]) < KEEP;
  const scale = Math.min(Math.max(kept ? near[SCALE] : rint(octaves / steps[SCALE]), 0), limits[SCALE]);
  const values = [
    ...rotation,
    scale * steps[SCALE],
    ...motion.translation.map((t) => clip(t, LIMIT.translation) / (scales[scale] / SCALE_ONE)),
    ...motion.gaze.map((g) => clip(g, LIMIT.gaze)),
    ...Array.from(motion.expression, (e) => clip(e, LIMIT.expression)).slice(0, steps.length - EXPRESSION),
  ];
  return values.map((value, i) => {
    if (i === SCALE) return scale;
    let before = near ? near[i] : NaN;
    if (near && (i === SCALE + 1 || i === SCALE + 2)) before = rescaled(near[i], near[SCALE], scale);
    const steady = value / steps[i];
    const integer = Math.abs(steady - before) < KEEP ? before : rint(steady);
    return Math.min(Math.max(integer, -limits[i]), limits[i]) + 0;
  });
}

/** Integers -> motion. */
export function restore(grid) {
  const { steps, scales } = tables;
  const scale = Math.min(Math.max(scales[grid[SCALE]] / SCALE_ONE, SCALE_RANGE[0]), SCALE_RANGE[1]);
  const value = (i) => grid[i] * steps[i];
  return {
    rotation: bounded([0, 1, 2].map(value)),
    translation: [4, 5].map((i) => clip(value(i) * (scales[grid[SCALE]] / SCALE_ONE), LIMIT.translation)),
    scale,
    gaze: [0, 1, 2, 3].map((i) => clip(value(GAZE + i), LIMIT.gaze)),
    expression: grid.slice(EXPRESSION).map((_, i) => clip(value(EXPRESSION + i), LIMIT.expression)),
  };
}

function bounded(rotation) {
  const finite = Array.from(rotation, (r) => (Number.isFinite(r) ? Math.fround(r) : 0));
  const angle = Math.hypot(...finite);
  return angle > LIMIT.rotation ? finite.map((r) => Math.fround((r * LIMIT.rotation) / angle)) : finite;
}
