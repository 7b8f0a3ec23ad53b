// What the guide asks for, and how far a face has to go for each: the twin of telepresence/enrolment/steps.py, which
// explains it. Measures are changes from the person's own face at rest.

import { basis } from "../../face/basis.js";
import { fitPose, invertPose, toSquare } from "../../face/motion.js";
import { rotationMatrix } from "../../face/rotation.js";
import { EYE_OPENING_LEFT, EYE_OPENING_RIGHT, apart } from "./topology.js";

/** Those that come in an order drawn by lot; rest is always first. Left and right are the person's own. */
export const DRAWN = ["left", "right", "up", "smile", "open", "blink", "speak"];
export const STEPS = ["rest", ...DRAWN];

const TURN = 15; // degrees from rest, to either side
const RAISE = 8; // degrees
const SMILE = 0.045; // canonical units that the corners of the mouth go up, outward by half
export const WIDE = 0.16; // canonical units between the inner lips, more than at rest
const CLOSED = 0.07;
export const SHUT = 0.5; // of the lids' opening at rest
const AWAKE = 0.7;
const TALK = 0.03; // canonical units that the lips' opening changes within TALK_WINDOW_US while one speaks
const TALK_WINDOW_US = 700_000;
const REVERSALS = 5; // times that the mouth goes from opening to closing or back in a sentence
const REVERSAL = 0.015;

const TURN_US = 350_000; // to be held
const SMILE_US = 400_000;
const WIDE_US = 250_000;
const SHUT_US = 130_000;
const SPEAK_US = 1_800_000;
export const LONGEST_US = 250_000; // between two pictures: what happened in a longer gap nobody saw

const CHIN = [152, 175, 199];
const CORNER_DROP = 0.35; // of how far the chin goes down, which takes the corners of the mouth along

/**
 * What a face does, in one picture; or, as a difference from rest, how far it has gone.
 * @typedef {object} Measure
 * @property {number} left  degrees to the person's own left @property {number} up  degrees
 * @property {number} mouth  canonical units between the inner lips
 * @property {number} lids  mean opening of the eyes, canonical units; in a difference, of the opening at rest
 * @property {number} corners  how high and how far apart the corners of the mouth are, canonical units
 */

/** How far a measure is from rest. @param {Measure} seen @param {Measure} rest @returns {Measure} */
export const since = (seen, rest) => ({
  left: seen.left - rest.left,
  up: seen.up - rest.up,
  mouth: seen.mouth - rest.mouth,
  lids: seen.lids / Math.max(rest.lids, 1e-3),
  corners: seen.corners - rest.corners,
});

/** Measure a face (478, 3), landmarks in pixels of a width x height picture. @returns {Measure} */
export function measure(landmarks, width, height) {
  const { mean, lists } = basis();
  const points = toSquare(landmarks, width, height);
  const pose = fitPose(points, mean);
  const turned_ = rotationMatrix(pose.rotation);
  const shape = invertPose(pose, points);
  const [right, left] = lists.mouth_corners.map((point) => shape.subarray(3 * point, 3 * point + 3));
  const chin = CHIN.reduce((sum, point) => sum + shape[3 * point + 1], 0) / CHIN.length;
  const raised = -(right[1] + left[1]) / 2 + CORNER_DROP * chin;
  return {
    // The face looks along -z of its own coordinates; the picture's right is the person's left, and its y is down.
    left: degrees(Math.atan2(-turned_[2], turned_[8])),
    up: degrees(Math.asin(Math.min(1, Math.max(-1, turned_[5])))),
    mouth: apart(shape, lists.mouth_opening),
    lids: (apart(shape, EYE_OPENING_RIGHT) + apart(shape, EYE_OPENING_LEFT)) / 2,
    corners: raised + (left[0] - right[0]) / 4,
  };
}

const degrees = (radians) => (radians * 180) / Math.PI;

/** The median of several measures: what is at rest. @param {Measure[]} measures @returns {Measure} */
export function middle(measures) {
  const median = (name) => {
    const sorted = measures.map((one) => one[name]).sort((a, b) => a - b);
    const half = sorted.length >> 1;
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  };
  return Object.fromEntries(["left", "up", "mouth", "lids", "corners"].map((name) => [name, median(name)]));
}

/** Something has to be reached, and held. */
class Held {
  #heldUs = 0;
  #lastUs = null;

  constructor(amount, holdUs) {
    Object.assign(this, { amount, holdUs });
  }

  /** Six tenths for reaching it, the rest for holding it. */
  see(change, atUs) {
    const amount = this.amount(change);
    const passedUs = this.#lastUs === null ? 0 : Math.min(atUs - this.#lastUs, LONGEST_US);
    this.#lastUs = atUs;
    this.#heldUs = amount >= 1 ? this.#heldUs + passedUs : 0;
    if (this.#heldUs >= this.holdUs) return 1;
    return 0.6 * Math.max(0, Math.min(1, amount)) + (0.39 * this.#heldUs) / this.holdUs;
  }
}

/** Something has to be reached and held for a moment, and then let go again. */
class ThereAndBack {
  #reached = false;

  constructor(there, back) {
    Object.assign(this, { there, back });
  }

  /** Seven tenths for getting there. */
  see(change, atUs) {
    if (!this.#reached) {
      const far = this.there.see(change, atUs);
      this.#reached = far >= 1;
      return 0.7 * far;
    }
    return this.back(change) ? 1 : 0.7;
  }
}

/** Both eyes have to be shut for a moment, and open again: counted from the first shut picture to the first open. */
class Closing {
  #sinceUs = null;
  #lastUs = 0;

  /** Half for the lids on their way down. */
  see(change, atUs) {
    if (change.lids <= SHUT) {
      if (this.#sinceUs === null || atUs - this.#lastUs > LONGEST_US) this.#sinceUs = atUs;
      this.#lastUs = atUs;
      return 0.8;
    }
    if (this.#sinceUs !== null && change.lids >= AWAKE) {
      const shutUs = Math.min(atUs, this.#lastUs + LONGEST_US) - this.#sinceUs;
      this.#sinceUs = null;
      if (shutUs >= SHUT_US) return 1;
    }
    return 0.5 * Math.max(0, Math.min(1, (1 - change.lids) / (1 - SHUT)));
  }
}

/** The lips have to move as they do in a sentence: for so long, and to and fro. */
class Talking {
  #recent = []; // [when, how far open]
  #talkedUs = 0;
  #reversals = 0;
  #rising = true;
  #extreme = null;

  /** By time and by reversals, whichever is less. */
  see({ mouth }, atUs) {
    const passedUs = this.#recent.length ? Math.min(atUs - this.#recent.at(-1)[0], LONGEST_US) : 0;
    this.#recent.push([atUs, mouth]);
    while (atUs - this.#recent[0][0] > TALK_WINDOW_US) this.#recent.shift();
    const openings = this.#recent.map(([, open]) => open);
    if (Math.max(...openings) - Math.min(...openings) >= TALK) this.#talkedUs += passedUs;
    this.#turn(mouth);
    return Math.min(this.#talkedUs / SPEAK_US, this.#reversals / REVERSALS, 1);
  }

  #turn(mouth) {
    const extreme = this.#extreme ?? mouth;
    const on = (mouth - extreme) * (this.#rising ? 1 : -1) >= 0;
    if (on || Math.abs(mouth - extreme) < REVERSAL) {
      this.#extreme = on ? mouth : extreme;
      return;
    }
    this.#rising = !this.#rising;
    this.#reversals += 1;
    this.#extreme = mouth;
  }
}

/** How far a head is on its way to a side or up, of what is asked for; 0 for other steps. */
export function turned(step, change) {
  if (step === "up") return change.up / RAISE;
  return (({ left: 1, right: -1 }[step] ?? 0) * change.left) / TURN;
}

/** Who watches a step: `see(change, atUs)` -> how far it has come, 0 to 1. Rest has none: the guide itself waits for it. */
export function follower(step) {
  if (step === "left" || step === "right" || step === "up") return new Held((change) => turned(step, change), TURN_US);
  if (step === "smile") return new Held((change) => change.corners / SMILE, SMILE_US);
  if (step === "open") return new ThereAndBack(new Held((change) => change.mouth / WIDE, WIDE_US), (change) => change.mouth <= CLOSED);
  return step === "blink" ? new Closing() : new Talking();
}
