// Which keypoints an avatar shows, moment by moment: the twin of telepresence/rtc/puppet.py.

import { Retarget } from "./retarget.js";

const MISSED_US = 45_000; // without a packet: later ones are predicted until they come
const STEP_US = 33_333; // between pictures while none come

/** One avatar's movement. Without motion it comes to rest. */
export class Puppet {
  #begun = null;
  #settled = false;
  #dueUs = 0;

  /** @param {{neutral: Float32Array, rest: object}} avatar */
  constructor({ neutral, rest }) {
    this.retarget = new Retarget(neutral, rest);
  }

  /** Go on for another puppet, if the neutral shape is the same. @param {Puppet} before */
  takeOver(before) {
    if (!before.retarget.neutral.every((value, i) => value === this.retarget.neutral[i])) return;
    this.retarget.takeOver(before.retarget);
    this.#begun = before.#begun;
  }

  /** Keypoints (478, 3) to draw now; null if the picture would be the same as the last one. */
  keypoints(playout, nowUs) {
    this.#dueUs = nowUs + STEP_US;
    const motion = playout.sample(nowUs);
    if (this.#settled && playout.settled) return null;
    this.#settled = playout.settled;
    if (playout.state === "live") this.#dueUs = nowUs + (playout.still ? STEP_US : MISSED_US);
    if (!motion) return this.retarget.atRest();
    if (playout.begun !== this.#begun) {
      this.#begun = playout.begun;
      this.retarget.recalibrate();
    }
    const shown = this.retarget.keypoints(motion, nowUs);
    playout.restPose = this.retarget.driver;
    return shown;
  }

  /** When `keypoints` wants to be asked although nothing has come; null if only a packet changes anything. */
  get dueUs() {
    return this.#settled ? null : this.#dueUs;
  }

  /** Draw the present moment once more, whatever was drawn before: of a new engine or size. */
  refresh() {
    this.#settled = false;
    this.#dueUs = 0;
  }
}
