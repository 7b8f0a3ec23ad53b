// What makes a picture of a face useless as a reference, and what to do instead: the twin of telepresence/avatar/flaws.py,
// which has where the bounds come from.

import { basis } from "../../face/basis.js";
import { fitPose, toSquare } from "../../face/motion.js";
import { rotationMatrix } from "../../face/rotation.js";
import { sharpness } from "./looks.js";
import { clamped, median, percentile, percentiles, round } from "./numbers.js";
import { areaScaled, boxPart, colours, linearScaled, luma } from "./pixels.js";
import { filled, hull } from "./shapes.js";
import { EYE_LEFT, EYE_RIGHT, LIPS_OUTER, faceBox } from "./topology.js";

const MAX_TURN = 45; // degrees off the camera
export const FRONTAL = 30; // degrees: an avatar whose first reference is turned further will not look ahead well
const MAX_OUTSIDE = 0.12; // of the face's height or width beyond the picture's edge
const SOME_OUTSIDE = 0.02; // from here on it is said
const DARK = 40; // of 255: even the brightest parts of the face are darker
export const WHITE = 250; // of 255: half of the face is brighter
export const MIN_DETAIL = 0.0012; // sharpness over contrast squared
const SHADES = 0.3; // of the cheeks' brightness: eyes and all around them are darker behind sunglasses
const PLAIN = 8; // of 100, within the lips
const SEAMLESS = 1.5; // from the lips to around them, in Lab
const LIPS_FACE_PX = 192; // height at which a face is judged
export const GREY = 2; // of 255, mean distance of a face's channels from their mean: below it black and white
export const COLOUR = 6;
const CHEEKS = [50, 280, 205, 425];

/** Why this picture of a face (478, 3) cannot be a reference, with what to use instead; empty if it can. */
export function flaw(picture, landmarks) {
  const face = facePart(picture, landmarks);
  if (Math.min(face.width, face.height) < 8) return "the face is outside the picture; use one that shows the whole head";
  return cutOff(picture, landmarks) || turnedAway(picture, landmarks) || badlyLit(face) || blurredFace(picture, face, landmarks)
    || coveredEyes(picture, landmarks) || coveredMouth(picture, landmarks);
}

/** How far the head looks past the camera, degrees; tilting it to a shoulder does not count. */
export function turnDegrees({ width, height }, landmarks) {
  const { rotation } = fitPose(toSquare(landmarks, width, height), basis().mean);
  return (Math.acos(clamped(rotationMatrix(rotation)[8], -1, 1)) * 180) / Math.PI;
}

/** The face's box, as far as it is inside the picture. */
export const facePart = (picture, landmarks) => boxPart(picture, faceBox(landmarks));

/** Mean distance of the face's channels from their mean, of 255: 0 for black and white. */
export function colourfulness(picture, landmarks) {
  const { data, channels } = facePart(picture, landmarks);
  let sum = 0;
  for (let i = 0; i < data.length; i += channels) {
    const mean = (data[i] + data[i + 1] + data[i + 2]) / 3;
    for (let c = 0; c < 3; c++) sum += Math.abs(data[i + c] - mean);
  }
  return sum / Math.max(1, (3 * data.length) / channels);
}

function cutOff(picture, landmarks) {
  const [edge, share] = outside(picture, landmarks);
  return share <= MAX_OUTSIDE ? "" : `the face is cut off at the ${edge} edge; use one that shows the whole head and the shoulders`;
}

/** What an avatar of a face that just reaches beyond the picture's edge lacks; empty where it does not. */
export function touchesEdge(picture, landmarks) {
  const [edge, share] = outside(picture, landmarks);
  return share <= SOME_OUTSIDE ? "" : `the face reaches beyond the ${edge} edge, and what is out there the avatar lacks; show the whole head`;
}

function outside({ width, height }, landmarks) {
  const [left, top, right, bottom] = faceBox(landmarks);
  const [wide, high] = [right - left, bottom - top];
  const beyond = [["left", -left / wide], ["right", (right - width) / wide], ["top", -top / high], ["bottom", (bottom - height) / high]];
  return beyond.reduce((most, one) => (one[1] > most[1] ? one : most));
}

function turnedAway(picture, landmarks) {
  const degrees = turnDegrees(picture, landmarks);
  return degrees <= MAX_TURN ? "" : `the head is turned away by ${degrees.toFixed()} degrees; use one where both eyes are seen, turned by at most ${MAX_TURN}`;
}

function badlyLit(face) {
  const [bright, half] = percentiles(luma(face), [95, 50]);
  if (bright < DARK) return "the face is too dark; use one taken in more light, with a window or a lamp in front of the person";
  return half > WHITE ? "the face is overexposed to white; use one taken in softer light or with a shorter exposure" : "";
}

function blurredFace(picture, face, landmarks) {
  const [low, high] = percentiles(luma(face), [5, 95]);
  const detail = sharpness(picture, landmarks) / Math.max(high - low, 1) ** 2;
  return detail < MIN_DETAIL ? "the face is blurred; use one that is in focus and where the head holds still" : "";
}

/** The flaw of eyes that are, with what is around them, much darker than the cheeks: sunglasses; empty of others. */
export function coveredEyes(picture, landmarks) {
  const cheek = median(CHEEKS.map((point) => brightnessAt(picture, landmarks[3 * point], landmarks[3 * point + 1])));
  const dark = [EYE_RIGHT, EYE_LEFT].map((eye) => {
    const inside = within(picture, stretched(pointsOf(landmarks, eye), 1.2, 2.6));
    return inside.length ? percentile(inside, 80) : cheek;
  });
  return Math.max(...dark) >= SHADES * cheek ? "" : "dark glasses, or something else dark, cover the eyes; use one where the eyes are seen";
}

function brightnessAt({ data, width, height, channels }, x, y) {
  const i = (clamped(round(y), 0, height - 1) * width + clamped(round(x), 0, width - 1)) * channels;
  return (data[i] + data[i + 1] + data[i + 2]) / 3;
}

const pointsOf = (landmarks, list, scale = 1) => list.map((point) => [landmarks[3 * point] * scale, landmarks[3 * point + 1] * scale]);

/** Points stretched about their middle, whole pixels. */
function stretched(points, wide, high) {
  const middle = [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
  return points.map(([x, y]) => [round((x - middle[0]) * wide + middle[0]), round((y - middle[1]) * high + middle[1])]);
}

/** Brightness of the pixels within the hull of points. */
function within({ data, width, height, channels }, points) {
  const [left, top] = [0, 1].map((axis) => Math.min(...points.map((point) => point[axis])));
  const [wide, high] = [0, 1].map((axis) => Math.max(...points.map((point) => point[axis])) + 1 - [left, top][axis]);
  const inside = filled(hull(points).map(([x, y]) => [x - left, y - top]), wide, high);
  const found = [];
  for (let y = Math.max(0, -top); y < Math.min(high, height - top); y++) {
    for (let x = Math.max(0, -left); x < Math.min(wide, width - left); x++) {
      if (!inside[y * wide + x]) continue;
      const i = ((top + y) * width + left + x) * channels;
      found.push((data[i] + data[i + 1] + data[i + 2]) / 3);
    }
  }
  return found;
}

/** Where the lips should be is nothing but what is around them. A beard has lips in it. */
function coveredMouth(picture, landmarks) {
  const [, top, , bottom] = faceBox(landmarks);
  const scale = LIPS_FACE_PX / (bottom - top);
  const [width, height] = [round(picture.width * scale), round(picture.height * scale)];
  const small = (scale < 1 ? areaScaled : linearScaled)(colours(picture), width, height);
  const outline = pointsOf(landmarks, LIPS_OUTER, scale);
  const [lips, near, far] = [[1, 1], [1.1, 1.25], [1.25, 1.7]].map(([wide, high]) => filled(hull(stretched(outline, wide, high)), width, height));
  const [inside, around] = [[], []];
  for (let i = 0; i < far.length; i++) {
    if (lips[i]) inside.push(lab(small.data, 3 * i));
    if (far[i] && !near[i]) around.push(lab(small.data, 3 * i));
  }
  if (!inside.length || !around.length) return "";
  const [low, high] = percentiles(inside.map(([light]) => light), [5, 95]);
  const gap = Math.hypot(...[0, 1, 2].map((c) => median(inside.map((one) => one[c])) - median(around.map((one) => one[c]))));
  return high - low >= PLAIN || gap >= SEAMLESS ? "" : "something plain covers the mouth; use one where the whole face is seen";
}

/** CIE L*a*b* (D65) of an sRGB pixel. */
function lab(data, at) {
  const [r, g, b] = [0, 1, 2].map((c) => linearLight(data[at + c] / 255));
  const [x, y, z] = [
    (0.412453 * r + 0.35758 * g + 0.180423 * b) / 0.950456,
    0.212671 * r + 0.71516 * g + 0.072169 * b,
    (0.019334 * r + 0.119193 * g + 0.950227 * b) / 1.088754,
  ].map((value) => (value > 0.008856 ? Math.cbrt(value) : 7.787 * value + 16 / 116));
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

const linearLight = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
