// One's own avatar, moved by one's own camera, before anybody else sees it: the twin of telepresence/enrolment/mirror.py. The
// call's own engine draws it.

import { basis } from "../../face/basis.js";
import { restMotion, toSquare } from "../../face/motion.js";
import { Retarget } from "../../face/retarget.js";
import { MotionSmoother } from "../../face/smoothing.js";
import { MotionExtractor } from "../../face/tracking.js";

// What shows an avatar to who has no camera: a head that sways, and a mouth that opens now and then.
const SWAY_S = 5, NOD_S = 3.4, TALK_S = 0.45, SAY_S = 4;
const SWAY_RAD = 0.22, NOD_RAD = 0.06;
const OPEN = 0.7; // of a wide open mouth

/** Draws an avatar. One picture at a time. */
export class Mirror {
  #prepared = null;
  #busy = false;
  #driven = false;
  #aloneUs = null; // since when it moves by itself

  /** @param {object} engine  of engine.js */
  constructor(engine) {
    this.engine = engine;
  }

  /**
   * Draw this one from now on: by its first reference at once, by all of them when they are ready.
   * @param {Uint8Array} data  its file @throws {Error} it cannot be drawn
   */
  async wear(data) {
    this.#take(await this.engine.prepare(data, { whole: false }));
    this.#begin();
    const first = this.#prepared;
    const whole = this.engine.prepare(data).then((prepared) => {
      if (this.#prepared === first) this.#take(prepared);
      else prepared.close();
    });
    whole.catch((error) => console.info(`drawn by its first picture alone: ${error.message}`));
  }

  /** As the face in a picture of width x height moves it; null: it is busy, or there is none. @returns {Promise<ImageData|null>} */
  draw(landmarks, width, height, atUs) {
    if (!this.#prepared || this.#busy) return null;
    if (!this.#driven) {
      this.#begin(); // it moved by itself so far
      this.#driven = true;
    }
    return this.#drawn(this.smoother.smooth(this.extractor.extract(toSquare(landmarks, width, height)), atUs), atUs);
  }

  /** As it moves by itself, for who has no camera. @returns {Promise<ImageData|null>} */
  drawAlone(atUs) {
    if (!this.#prepared || this.#busy) return null;
    if (this.#driven) this.#begin();
    this.#aloneUs ??= atUs;
    return this.#drawn(moved((atUs - this.#aloneUs) / 1e6, this.#prepared.rest), atUs);
  }

  close() {
    this.#prepared?.close();
    this.#prepared = null;
  }

  #take(prepared) {
    this.close();
    this.#prepared = prepared;
  }

  #begin() {
    const { neutral, rest } = this.#prepared;
    this.extractor = new MotionExtractor(neutral);
    this.smoother = new MotionSmoother();
    this.retarget = new Retarget(neutral, rest);
    this.#driven = false;
    this.#aloneUs = null;
  }

  async #drawn(motion, atUs) {
    this.#busy = true;
    const prepared = this.#prepared;
    try {
      return await this.engine.render(prepared, this.retarget.keypoints(motion, atUs));
    } catch (error) {
      if (prepared === this.#prepared) throw error; // else it has gone meanwhile
      return null;
    } finally {
      this.#busy = false;
    }
  }
}

/** A made-up motion at a time, s. @param {{scale: number}} rest */
export function moved(seconds, { scale }) {
  const turn = (period) => Math.sin((2 * Math.PI * seconds) / period);
  const saying = Math.floor(seconds / SAY_S) % 2;
  const open = saying ? OPEN * turn(2 * TALK_S) ** 2 : 0;
  const { mouth, size } = basis();
  const expression = Array.from({ length: size }, (_, k) => open * mouth[k]);
  return { ...restMotion(), rotation: [NOD_RAD * turn(NOD_S), SWAY_RAD * turn(SWAY_S), 0], scale, expression };
}
