// One picture of the camera -> what it shows: the twin of telepresence/enrolment/looking.py. Faces are found where the call
// finds them, too.

import { N_LANDMARKS } from "../../face/basis.js";
import { landmarksOf, warmUp } from "../landmarks.js";
import { BLOCKING } from "./hints.js";
import { EnrolmentError } from "./problems.js";
import { measure } from "./steps.js";
import { faceBox, sameFace } from "./topology.js";

const MIN_SIDE = 240; // pixels of the shorter side of a camera's picture
const MAX_SIDE = 2048; // of either
const OTHERS_US = 900_000; // between two looks for somebody else: a search among all faces takes long

/**
 * @typedef {object} Seen
 * @property {number} width @property {number} height @property {number} atUs
 * @property {Float32Array|null} landmarks  (478, 3), pixels; null: nobody
 * @property {import("./steps.js").Measure|null} usable  what counts for the guide: nothing while something is badly wrong
 * @property {string|null} hint @property {boolean} blocks
 * @property {number[]} box  of the face in parts of the picture; empty: nobody
 */

/** Looks at the pictures of one camera. */
export class Looker {
  #others = [];
  #searchedUs = -Infinity;

  /** @param {import("./maker.js").Maker} maker */
  constructor(maker) {
    this.maker = maker;
  }

  /** @param {Blob} jpeg @returns {Promise<Seen>} @throws {EnrolmentError} it is no picture, or none of a camera */
  async see(jpeg, atUs) {
    const bitmap = await createImageBitmap(jpeg, { colorSpaceConversion: "none" }).catch(() => null);
    if (!bitmap) throw new EnrolmentError("a camera's picture is damaged");
    const { width, height } = bitmap;
    if (Math.min(width, height) < MIN_SIDE || Math.max(width, height) > MAX_SIDE) {
      bitmap.close();
      throw new EnrolmentError(`the camera's pictures have ${width} x ${height} pixels; ${MIN_SIDE} to ${MAX_SIDE} a side are needed: choose another camera`);
    }
    const finder = await warmUp();
    const [face = null] = (await finder.see(bitmap, { width, height })).filter(whole);
    if (face && atUs - this.#searchedUs >= OTHERS_US) {
      this.#searchedUs = atUs;
      this.#others = (await everybody(bitmap)).filter((other) => !sameFace(other, face));
    }
    const { hint } = await this.maker.see(bitmap, jpeg, face ? [face, ...this.#others] : []);
    const blocks = BLOCKING.has(hint);
    const usable = face && !blocks ? measure(face, width, height) : null;
    const box = face ? faceBox(face).map((value, n) => value / (n % 2 ? height : width)) : [];
    return { width, height, atUs, landmarks: face, usable, hint, blocks, box };
  }
}

const whole = (face) => face.length === 3 * N_LANDMARKS && face.every(Number.isFinite);

async function everybody(bitmap) {
  const { faces, width } = await landmarksOf(bitmap);
  const scale = bitmap.width / width;
  return faces.map((face) => face.map((value) => value * scale));
}
