// A face that is driven by its voice alone: the mouth moves, now and then it blinks, its head is never quite still. The twin
// of telepresence/face/speaking.py. Pure: time, microseconds of any monotonic clock, comes in as an argument.

import { basis } from "./basis.js";
import { clamp } from "./motion.js";
import { multiply, rotationMatrix, rotationVector } from "./rotation.js";

const BLINK_US = [110_000, 60_000, 150_000]; // closing, closed, opening
const BETWEEN_BLINKS_US = [2_000_000, 6_000_000];
const SWAY = [[0.013, 0.19, 0], [0.018, 0.13, 1], [0.008, 0.11, 2]]; // nod, turn, tilt: radians, Hz, phase
const NOD = 0.012; // radians with a full voice: people stress with their heads
const NOD_TAU_S = 0.25;

/** Coefficients (E,) for a mouth (open, wide, round) and lids closed by `blink`, each 0..1: see telepresence/face/mouth.py. */
export function mouthExpression([open, wide, round], blink = 0) {
  const { mouth, size } = basis();
  const parts = [open, wide, round, blink];
  return Array.from({ length: size }, (_, k) => parts.reduce((sum, part, row) => sum + part * mouth[row * size + k], 0));
}

/** Motion of a face that nobody sees. */
export class Speaking {
  #random;
  #blinkUs = null;
  #nod = 0;
  #beforeUs = null;
  #begunUs = 0;

  /** @param {() => number} [random]  0..1, for the blinks */
  constructor(random = Math.random) {
    this.#random = random;
  }

  /**
   * The motion at a moment.
   * @param {number[]} mouth  open, wide, round @param {number} level  loudness, 0..1
   * @param {{rotation: number[], translation: number[], scale: number}} rest  where the head is when it is still
   */
  motion(mouth, level, rest, nowUs) {
    if (this.#beforeUs === null) this.#begunUs = nowUs;
    const seconds = Math.max(0, (nowUs - (this.#beforeUs ?? nowUs)) / 1e6);
    this.#beforeUs = nowUs;
    this.#nod += (NOD * Math.min(1, Math.max(0, level)) - this.#nod) * (1 - Math.exp(-seconds / NOD_TAU_S));
    const at = (nowUs - this.#begunUs) / 1e6;
    const ease = Math.min(1, at); // begins where the head is
    const [nod, turn, tilt] = SWAY.map(([most, hertz, phase]) => ease * most * Math.sin(2 * Math.PI * hertz * at + phase));
    const sway = rotationMatrix([nod + this.#nod, turn, tilt]);
    return clamp({
      rotation: rotationVector(multiply(sway, rotationMatrix(rest.rotation))),
      translation: rest.translation,
      scale: rest.scale,
      gaze: [0, 0, 0, 0],
      expression: mouthExpression(mouth, this.#lids(nowUs)),
    });
  }

  /** How far the lids are closed, 0..1. */
  #lids(nowUs) {
    const [closing, closed, opening] = BLINK_US;
    if (this.#blinkUs === null || nowUs > this.#blinkUs + closing + closed + opening) {
      const [least, most] = BETWEEN_BLINKS_US;
      this.#blinkUs = nowUs + Math.round(least + (most - least) * this.#random());
    }
    const into = nowUs - this.#blinkUs;
    if (into <= 0) return 0;
    if (into < closing) return into / closing;
    return Math.max(0, Math.min(1, (closing + closed + opening - into) / opening));
  }
}
