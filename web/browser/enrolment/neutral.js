// A person's own face at rest from one or more pictures: the twin of telepresence/face/identity.py.

import { basis, N_LANDMARKS } from "../../face/basis.js";
import { fitPose, invertPose } from "../../face/motion.js";
import { withoutExpression } from "../../face/tracking.js";
import { median } from "./numbers.js";
import { EYE_OPENING_LEFT, EYE_OPENING_RIGHT, apart } from "./topology.js";

export { difference } from "../../face/tracking.js";

const MANY = 20; // from so many pictures on, rest is something seen, not something inferred
const REST_SHARE = 0.15; // of many pictures, how many count as being at rest
const AWAKE = 0.8; // of the usual opening of the eyes
const EYES = [["iris_right", [33, 133]], ["iris_left", [263, 362]]];

/**
 * @param {Float32Array[]} points  landmarks in square coordinates, (478, 3) each; of the same person
 * @returns {Float32Array} (478, 3), canonical coordinates
 */
export function neutralShape(points) {
  if (!points.length) throw new Error("a neutral shape needs at least one picture's landmarks");
  const { mean } = basis();
  const shapes = points.map((one) => invertPose(fitPose(one, mean), one));
  if (shapes.length >= MANY) return symmetricGaze(each(mostAtRest(shapes), median));
  return symmetricGaze(each(shapes.map(withoutExpression), (values) => values.reduce((a, b) => a + b, 0) / values.length));
}

/** One number of many for each coordinate. */
function each(shapes, reduce) {
  const values = new Float64Array(shapes.length);
  return Float32Array.from({ length: 3 * N_LANDMARKS }, (_, i) => {
    shapes.forEach((shape, n) => { values[n] = shape[i]; });
    return reduce(values);
  });
}

/** Set both irises to the mean face's place in their sockets: a sideways glance is not how the eyes rest. */
function symmetricGaze(shape) {
  const { mean, lists } = basis();
  const out = Float32Array.from(shape);
  const middleOf = (of, points, axis) => points.reduce((sum, point) => sum + of[3 * point + axis], 0) / points.length;
  for (const [iris, corners] of EYES) {
    const width = apart(shape, corners) / apart(mean, corners);
    for (const axis of [0, 1, 2]) {
      const home = middleOf(mean, lists[iris], axis) - middleOf(mean, corners, axis);
      const moved = middleOf(shape, corners, axis) + home * width - middleOf(shape, lists[iris], axis);
      for (const point of lists[iris]) out[3 * point + axis] += moved;
    }
  }
  return out;
}

/** Those with the mouth most closed among those with open eyes. */
function mostAtRest(shapes) {
  const eyes = shapes.map((shape) => apart(shape, EYE_OPENING_LEFT) + apart(shape, EYE_OPENING_RIGHT));
  const usual = median(eyes);
  const mouth = (shape) => apart(shape, basis().lists.mouth_opening);
  const awake = shapes.filter((_, n) => eyes[n] >= AWAKE * usual).sort((a, b) => mouth(a) - mouth(b));
  return awake.slice(0, Math.max(5, Math.floor(REST_SHARE * shapes.length)));
}
