// From motion to an avatar's keypoints: the twin of telepresence/face/retarget.py, framing "relative".

import { applyPose, keypoints, turnBetween } from "./motion.js";
import { multiply, nearestRotation, rotationMatrix, rotationVector, transposed } from "./rotation.js";

const CALIBRATION_US = 1_000_000;
const STILL_RAD_PER_S = 0.5;
const STILL_PER_S = 0.5;
const MAX_OFFSET = 0.6;
const SCALE_CHANGE = [0.7, 1.4];

/** Puts a driver's motion on an avatar: their rest pose, learned in their first stable second, becomes the avatar's. */
export class Retarget {
  #matrixSum = new Array(9).fill(0);
  #linearSum = [0, 0, 0, 0]; // x, y, log of scale, weight
  #stableUs = 0;
  #last = null;
  /** The driver's rest pose as far as it is known. */
  driver = null;

  /** @param {Float32Array} neutral  (478, 3) @param {object} rest  the avatar's own pose at rest */
  constructor(neutral, rest) {
    this.neutral = neutral;
    this.rest = rest;
  }

  /** Motion captured at `nowUs` -> keypoints (478, 3), square coordinates. */
  keypoints(motion, nowUs) {
    const driver = this.#calibrate(motion, nowUs);
    return keypoints({ ...motion, ...this.#place(motion, driver) }, this.neutral);
  }

  /** Keypoints of the avatar at rest, where nothing has come yet. */
  atRest() {
    return applyPose(this.rest, this.neutral);
  }

  /** Forget the driver's rest pose; the next stable second sets a new one. */
  recalibrate() {
    this.driver = null;
    this.#last = null;
    this.#stableUs = 0;
    this.#matrixSum.fill(0);
    this.#linearSum.fill(0);
  }

  /** Go on with what another has learned of the driver, of the same neutral shape. @param {Retarget} before */
  takeOver(before) {
    this.driver = before.driver;
    this.#last = before.#last;
    this.#stableUs = before.#stableUs;
    this.#matrixSum = [...before.#matrixSum];
    this.#linearSum = [...before.#linearSum];
  }

  #place(pose, driver) {
    const turn = multiply(rotationMatrix(pose.rotation), transposed(rotationMatrix(driver.rotation)));
    const scale = Math.min(Math.max(pose.scale / driver.scale, SCALE_CHANGE[0]), SCALE_CHANGE[1]);
    let offset = pose.translation.map((t, i) => (t - driver.translation[i]) * (this.rest.scale / driver.scale));
    const length = Math.hypot(...offset);
    // It bends towards the bound, and never hits it.
    if (length > 1e-6) offset = offset.map((o) => (o * MAX_OFFSET * Math.tanh(length / MAX_OFFSET)) / length);
    return {
      rotation: rotationVector(multiply(turn, rotationMatrix(this.rest.rotation))),
      translation: this.rest.translation.map((t, i) => t + offset[i]),
      scale: this.rest.scale * scale,
    };
  }

  /** Take a pose in; return the driver's rest pose as far as it is known. */
  #calibrate({ rotation, translation, scale }, nowUs) {
    const pose = { rotation, translation, scale };
    let step = 0;
    if (this.driver && this.#last) {
      if (this.#stableUs >= CALIBRATION_US) return this.driver;
      step = nowUs - this.#last.nowUs;
      if (step > 0 && !still(this.#last.pose, pose, step / 1e6)) {
        this.#last = { pose, nowUs };
        return this.driver;
      }
    }
    this.#stableUs += Math.max(0, Math.min(step, CALIBRATION_US / 10));
    this.#last = { pose, nowUs };
    rotationMatrix(rotation).forEach((value, i) => { this.#matrixSum[i] += value; });
    [...translation, Math.log(scale), 1].forEach((value, i) => { this.#linearSum[i] += value; });
    this.driver = this.#mean();
    return this.driver;
  }

  #mean() {
    const [x, y, logScale] = this.#linearSum.map((value) => value / this.#linearSum[3]);
    const { rotation } = nearestRotation(this.#matrixSum);
    return { rotation: rotationVector(rotation), translation: [x, y], scale: Math.exp(logScale) };
  }
}

function still(before, after, seconds) {
  const moved = Math.hypot(after.translation[0] - before.translation[0], after.translation[1] - before.translation[1]);
  const turned = Math.hypot(...turnBetween(before.rotation, after.rotation));
  return turned < STILL_RAD_PER_S * seconds && moved < STILL_PER_S * seconds;
}
