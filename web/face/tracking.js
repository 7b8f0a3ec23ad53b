// From landmarks to motion over time: the twin of telepresence/face/tracking.py and of what it needs of identity.py.

import { basis, N_FACE } from "./basis.js";
import { fitPose, invertPose } from "./motion.js";

const SAME_PERSON = [0.012, 0.022]; // difference of neutral shapes: the avatar's own face below, another's above
const MEMORY_FRAMES = 900;
const MAX_ANGLE = 0.6; // radians off the camera's axis

/** Take the likely expression out of one canonical shape (478, 3). */
export function withoutExpression(shape) {
  const { mean, components } = basis();
  const coefficients = basis().likelyExpression(shape.map((value, i) => value - mean[i]));
  const out = Float32Array.from(shape);
  coefficients.forEach((value, k) => {
    for (let i = 0, at = k * 3 * N_FACE; i < 3 * N_FACE; i++, at++) out[i] -= value * components[at];
  });
  return out;
}

/** How unlike two neutral shapes are: root mean square over the points on bone, canonical units, x and y only. */
export function difference(one, other) {
  const { rigid } = basis().lists;
  const gaps = rigid.map((point) => [0, 1].map((axis) => one[3 * point + axis] - other[3 * point + axis]));
  const mean = [0, 1].map((axis) => gaps.reduce((sum, gap) => sum + gap[axis], 0) / gaps.length);
  const squares = gaps.reduce((sum, gap) => sum + (gap[0] - mean[0]) ** 2 + (gap[1] - mean[1]) ** 2, 0);
  return Math.sqrt(squares / gaps.length);
}

/** Turns one person's landmarks, picture by picture, into motion; learns their neutral shape on the way. */
export class MotionExtractor {
  #learned = null;
  #count = 0;

  /** @param {Float32Array|null} neutral  (478, 3) of the avatar that will be driven, if it is at hand */
  constructor(neutral = null) {
    this.known = neutral;
    /** (478, 3), the neutral shape in use. */
    this.neutral = basis().mean;
  }

  /** Landmarks in square coordinates (478, 3) -> motion. */
  extract(points) {
    this.#learn(points);
    const pose = fitPose(points, this.neutral);
    const shape = invertPose(pose, points);
    return { ...pose, ...basis().analyse(shape.map((value, i) => value - this.neutral[i])) };
  }

  #learn(points) {
    const { rotation } = fitPose(points, this.neutral);
    if (this.#learned && Math.hypot(...rotation) > MAX_ANGLE) return;
    // Against the mean face, so that nothing learned here feeds back into what is learned next.
    const seen = withoutExpression(invertPose(fitPose(points, basis().mean), points));
    this.#count = Math.min(this.#count + 1, MEMORY_FRAMES);
    const before = this.#learned;
    this.#learned = before ? before.map((value, i) => value + (seen[i] - value) / this.#count) : seen;
    this.neutral = this.#blend(this.#learned);
  }

  #blend(learned) {
    if (!this.known) return learned;
    const [near, far] = SAME_PERSON;
    const own = Math.min(Math.max((far - difference(learned, this.known)) / (far - near), 0), 1);
    return learned.map((value, i) => own * this.known[i] + (1 - own) * value);
  }
}
