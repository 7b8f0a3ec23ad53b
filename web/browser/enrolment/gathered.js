// The pictures of a guided enrolment, kept in memory as the camera's JPEG, and the avatar that is made of them: the twin of
// telepresence/enrolment/gathering.py. Whoever owns this decodes pictures and finds mattes: see maker-worker.js.

import { choose, missing } from "./choose.js";
import { toSquare } from "../../face/motion.js";
import { flaw } from "./flaws.js";
import { chooseSquare } from "./framing.js";
import { describe } from "./looks.js";
import { MAX_SIDE } from "./file.js";
import { matteOf, onlyPerson } from "./matte.js";
import { difference, neutralShape } from "./neutral.js";
import { evenly, median } from "./numbers.js";
import { backgroundPlate } from "./plate.js";
import { EnrolmentError } from "./problems.js";
import { STEPS } from "./steps.js";

export const REFERENCES = 8;
export const OTHER_PERSON = 0.021; // of `difference`: telepresence/avatar/photos.py
const MAX_KEPT = 400; // pictures
const PLATE_PICTURES = 8; // each costs a matte, while somebody waits; an edge takes 12
const APART_US = 60_000; // between two that are kept
const FRONTAL = ["rest", "smile", "open", "blink", "speak"]; // steps in which one looks ahead
const NEUTRAL_PICTURES = 300;
const SHAPE_PICTURES = 30;
const SHOWS = 0.5; // of a step's progress: from here on a picture shows it
const PER_STEP = 14; // pictures that are chosen from
const FEWEST = 5; // pictures of a step that are enough to tell whose face it is

/**
 * A picture that may become a reference.
 * @typedef {object} Kept
 * @property {Blob} jpeg @property {number} atUs @property {string} step @property {number} width @property {number} height
 * @property {Float32Array} landmarks  (478, 3), pixels @property {number} sharp @property {number} bright
 * @property {number} progress  how far the step had come, 0 to 1
 */

/** The pictures so far. */
export class Gathered {
  /** @type {Kept[]} */
  #kept = [];
  #lastUs = -Infinity;

  /** Whether a picture of this time would be kept. */
  wants(atUs) { return atUs - this.#lastUs >= APART_US; }

  /** Keep a usable picture of a step; many of the same step are thinned out. @param {Kept} one */
  keep(one) {
    this.#lastUs = one.atUs;
    this.#kept.push(one);
    if (this.#kept.length <= MAX_KEPT) return;
    const counts = this.counts();
    const most = Object.keys(counts).reduce((a, b) => (counts[b] > counts[a] ? b : a));
    const dropped = new Set(this.#kept.filter(({ step }) => step === most).filter((_, n) => n % 2));
    this.#kept = this.#kept.filter((kept) => !dropped.has(kept));
  }

  /** Forget the pictures of a step, which is taken anew. */
  drop(step) { this.#kept = this.#kept.filter((one) => one.step !== step); }

  clear() { this.#kept = []; }

  /** How many there are of each step. */
  counts() {
    const counts = {};
    for (const { step } of this.#kept) counts[step] = (counts[step] ?? 0) + 1;
    return counts;
  }

  /**
   * Make the avatar.
   * @param {(jpeg: Blob) => Promise<import("./pixels.js").Picture>} decoded
   * @param {(picture: import("./pixels.js").Picture) => Promise<Uint8Array>} masked
   * @returns {Promise<{made: import("./file.js").Made, lacking: string[]}>}
   * @throws {EnrolmentError} somebody else is in some of the pictures, or even the best of them cannot be used
   */
  async make(name, decoded, masked) {
    const kept = [...this.#kept].sort((a, b) => a.atUs - b.atUs);
    if (kept.length < FEWEST) throw new EnrolmentError("the camera gave hardly any picture; begin again, nearer to the lamp and the camera");
    onePerson(kept);
    const [{ width, height }] = kept;
    const square = chooseSquare(width, height, kept.map(({ landmarks }) => landmarks), "the camera's picture");
    const side = Math.min(MAX_SIDE, square.side);
    const placed = kept.map(({ landmarks }) => square.landmarks(landmarks, side));
    const stride = Math.ceil(placed.length / NEUTRAL_PICTURES);
    const neutral = neutralShape(placed.filter((_, n) => n % stride === 0).map((points) => toSquare(points, side, side)));
    const looks = placed.map((points, i) => describe(points, neutral, side, side, kept[i].sharp, kept[i].bright));
    const chosen = chosenOf(kept, looks);
    const forPlate = evenly(kept.length - 1, Math.min(PLATE_PICTURES, kept.length));
    const pictures = new Map();
    for (const i of new Set([...chosen, ...forPlate])) pictures.set(i, square.cut(await decoded(kept[i].jpeg), side));
    const reason = flaw(pictures.get(chosen[0]), placed[chosen[0]]);
    if (reason) throw new EnrolmentError(`even in the best picture ${reason}`);
    const mattes = await mattesOf(pictures, masked);
    const references = chosen.map((i) => ({
      picture: pictures.get(i), landmarks: placed[i], matte: onlyPerson(mattes.get(i), side, side, placed[i]),
    }));
    const background = backgroundPlate(forPlate.map((i) => pictures.get(i)), forPlate.map((i) => mattes.get(i)));
    return { made: { name, references, neutral, background }, lacking: lackingOf(kept, chosen.map((i) => looks[i])) };
  }
}

/** The network's masks are asked for at once: it goes on with the next while the one before is refined. */
async function mattesOf(pictures, masked) {
  const coming = [...pictures].map(([i, picture]) => [i, picture, masked(picture)]);
  for (const [, , mask] of coming) mask.catch(() => {}); // the first that fails is told below
  const mattes = new Map();
  for (const [i, picture, mask] of coming) mattes.set(i, matteOf(picture, await mask));
  return mattes;
}

/** What the references have not seen; a head that was turned as asked for is not called not turned. */
function lackingOf(kept, looks) {
  const shown = new Set(kept.filter(({ progress }) => progress >= SHOWS).map(({ step }) => step));
  const turned = shown.has("left") && shown.has("right");
  return missing(looks).filter((what) => !(turned && what.startsWith("the head")));
}

/**
 * Which pictures become references: of each step some that show it. Most pictures show a face at rest; a head that is turned
 * fits worse than those, and a mouth that moves is less sharp: each is compared with its own step alone.
 * @param {Kept[]} kept @param {import("./looks.js").Look[]} looks @returns {number[]}
 */
export function chosenOf(kept, looks) {
  const [some, even] = [[], []];
  for (const step of STEPS) {
    const all = kept.map((_, i) => i).filter((i) => kept[i].step === step && (step === "rest" || kept[i].progress >= SHOWS));
    const stride = Math.max(1, Math.ceil(all.length / PER_STEP));
    const ofIt = all.filter((_, n) => n % stride === 0);
    if (!ofIt.length) continue;
    const misfit = Math.max(1e-6, median(ofIt.map((i) => looks[i].misfit)));
    const sharp = Math.max(1e-6, median(ofIt.map((i) => looks[i].sharpness)));
    some.push(...ofIt);
    even.push(...ofIt.map((i) => ({ ...looks[i], misfit: looks[i].misfit / misfit, sharpness: looks[i].sharpness / sharp })));
  }
  return choose(even, REFERENCES).map((i) => some[i]);
}

/** Refuse pictures of two people: whoever is in the middle of it must not change. @throws {EnrolmentError} */
function onePerson(kept) {
  const shapes = new Map();
  for (const step of FRONTAL) {
    const ofIt = kept.filter((one) => one.step === step);
    const stride = Math.max(1, Math.ceil(ofIt.length / SHAPE_PICTURES));
    const some = ofIt.filter((_, n) => n % stride === 0);
    if (some.length >= FEWEST) shapes.set(step, neutralShape(some.map(({ landmarks, width, height }) => toSquare(landmarks, width, height))));
  }
  const first = shapes.get("rest");
  for (const [step, shape] of shapes) {
    if (first && difference(first, shape) > OTHER_PERSON) {
      throw new EnrolmentError(`somebody else seems to be in the pictures of one step: ${step}; take it again`);
    }
  }
}
