// What a picture of a face shows, as far as choosing goes: the first half of telepresence/avatar/choose.py, whose twin this is.

import { basis } from "../../face/basis.js";
import { fitPose, invertPose, toSquare } from "../../face/motion.js";
import { median, round } from "./numbers.js";
import { areaScaled, boxPart, cut, grey, laplacianVariance } from "./pixels.js";
import { filled } from "./shapes.js";
import { EYE_OPENING_LEFT, EYE_OPENING_RIGHT, LIPS_INNER, apart, faceBox } from "./topology.js";

const LIPS_STEP = 0.03; // canonical units, root mean square over the lips
const LIDS_STEP = 0.018;
const TURN_STEP = 0.12; // radians
const GAZE_STEP = 0.04;
const SHARP_SIDE = 128; // pixels that a face is scaled to before its sharpness is told

/**
 * @typedef {object} Look
 * @property {Float32Array} features  in steps; the distance of two looks is that of these
 * @property {number} yaw  radians; positive when the head turns to the picture's right
 * @property {number} turn  radians off frontal
 * @property {number} mouth  between the inner lips, canonical units @property {number} lids  mean opening of the eyes
 * @property {number} teeth  bright area in the mouth, canonical units squared
 * @property {number} rest  steps from a frontal face at rest that looks ahead
 * @property {number} sharpness @property {number} misfit  of the bones to the neutral shape, canonical units
 */

/**
 * @param {Float32Array} landmarks  (478, 3) pixels of a width x height picture
 * @param {number} sharp @param {number} bright  what `sharpness` and `brightMouth` said of it
 * @returns {Look}
 */
export function describe(landmarks, neutral, width, height, sharp, bright) {
  const { lists } = basis();
  const points = toSquare(landmarks, width, height);
  const pose = fitPose(points, neutral);
  const shape = invertPose(pose, points);
  const moved = shape.map((value, i) => value - neutral[i]);
  const flat = (list, step) => list.flatMap((point) => [0, 1].map((axis) => moved[3 * point + axis] / (step * Math.sqrt(list.length))));
  const [lips, lids] = [flat(lists.lips, LIPS_STEP), flat(lists.eyelids, LIDS_STEP)];
  const turn = [...pose.rotation].map((value) => value / TURN_STEP);
  const irises = [lists.iris_right[0], lists.iris_left[0]];
  const gaze = [0, 1].map((axis) => irises.reduce((sum, point) => sum + moved[3 * point + axis], 0) / 2 / GAZE_STEP);
  const squares = (values) => values.reduce((sum, value) => sum + value * value, 0);
  const bones = lists.rigid.reduce((sum, point) => sum + moved[3 * point] ** 2 + moved[3 * point + 1] ** 2, 0);
  return {
    features: Float32Array.from([...lips, ...lids, ...turn]),
    yaw: pose.rotation[1],
    turn: Math.hypot(...pose.rotation),
    mouth: apart(shape, lists.mouth_opening),
    lids: (apart(shape, EYE_OPENING_RIGHT) + apart(shape, EYE_OPENING_LEFT)) / 2,
    teeth: bright * mouthArea(shape),
    rest: Math.sqrt(squares(lips) + 0.5 * squares(lids) + squares(turn) + squares(gaze)),
    sharpness: sharp,
    misfit: Math.sqrt(bones / lists.rigid.length),
  };
}

/** Variance of the Laplacian over the face at a fixed size: larger is sharper; for pictures of one person only. */
export function sharpness(picture, landmarks) {
  const [left, top, right, bottom] = faceBox(landmarks).map(round);
  const face = cut(picture, Math.max(0, left), Math.max(0, top), Math.max(1, right), Math.max(1, bottom));
  if (Math.min(face.width, face.height) < 8) return 0;
  return laplacianVariance(grey(areaScaled(face, SHARP_SIDE, SHARP_SIDE)), SHARP_SIDE, SHARP_SIDE);
}

/** Which part of the inner mouth, 0 to 1, is bright and not red: teeth. */
export function brightMouth(picture, landmarks) {
  const outline = LIPS_INNER.map((point) => [round(landmarks[3 * point]), round(landmarks[3 * point + 1])]);
  const [xs, ys] = [outline.map(([x]) => x), outline.map(([, y]) => y)];
  const [left, top] = [Math.max(0, Math.min(...xs)), Math.max(0, Math.min(...ys))];
  const mouth = cut(picture, left, top, Math.max(Math.max(...xs) + 1, 0), Math.max(Math.max(...ys) + 1, 0));
  if (Math.min(mouth.width, mouth.height) < 2) return 0;
  const inside = filled(outline.map(([x, y]) => [x - left, y - top]), mouth.width, mouth.height);
  const skin = median(brightest(boxPart(picture, faceBox(landmarks))));
  let [bright, count] = [0, 0];
  for (let i = 0, at = 0; i < inside.length; i++, at += mouth.channels) {
    if (!inside[i]) continue;
    const [r, g, b] = [mouth.data[at], mouth.data[at + 1], mouth.data[at + 2]];
    const [least, most] = [Math.min(r, g, b), Math.max(r, g, b)];
    count += 1;
    if (least > 0.45 * skin && least > 0.6 * most) bright += 1;
  }
  return count ? bright / count : 0;
}

function brightest({ data, channels }) {
  return Float32Array.from({ length: data.length / channels }, (_, i) => Math.max(data[i * channels], data[i * channels + 1], data[i * channels + 2]));
}

function mouthArea(shape) {
  let twice = 0;
  LIPS_INNER.forEach((point, n) => {
    const before = LIPS_INNER.at(n - 1);
    twice += shape[3 * point] * shape[3 * before + 1] - shape[3 * point + 1] * shape[3 * before];
  });
  return Math.abs(twice) / 2;
}
