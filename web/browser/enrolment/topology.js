// Sets of landmarks that only enrolment needs: the same as in telepresence/face/topology.py. basis().lists has the others.

export const OVAL = [
  10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
  152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
];
export const LIPS_OUTER = [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185];
export const LIPS_INNER = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191];
export const EYE_RIGHT = [33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246];
export const EYE_LEFT = [263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466];
export const EYE_OPENING_RIGHT = [159, 145];
export const EYE_OPENING_LEFT = [386, 374];

/** Left, top, right, bottom of the face oval, in the landmarks' unit. */
export function faceBox(landmarks) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const point of OVAL) {
    const [x, y] = [landmarks[3 * point], landmarks[3 * point + 1]];
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x);
    box[3] = Math.max(box[3], y);
  }
  return box;
}

/** Area of the face's box. */
export function faceArea(landmarks) {
  const [left, top, right, bottom] = faceBox(landmarks);
  return (right - left) * (bottom - top);
}

/** Whether two finds in a picture are one face: what their boxes share is most of the smaller one. */
export function sameFace(a, b) {
  const [one, other] = [faceBox(a), faceBox(b)];
  const wide = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const high = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  const shared = Math.max(0, wide) * Math.max(0, high);
  return shared >= SAME_FACE * Math.max(Math.min(faceArea(a), faceArea(b)), 1e-6);
}

const SAME_FACE = 0.5; // of the smaller box

/** Distance of two landmarks of a shape. */
export function apart(shape, [one, other]) {
  return Math.hypot(...[0, 1, 2].map((axis) => shape[3 * one + axis] - shape[3 * other + axis]));
}
