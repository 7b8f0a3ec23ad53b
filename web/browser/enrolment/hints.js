// What is wrong with the camera's picture before it is an avatar's: the twin of telepresence/enrolment/hints.py.

import { MIN_DETAIL, WHITE, coveredEyes, facePart } from "./flaws.js";
import { sharpness } from "./looks.js";
import { percentiles } from "./numbers.js";
import { cut, luma } from "./pixels.js";
import { EYE_LEFT, EYE_RIGHT, faceArea, faceBox } from "./topology.js";

const DARK = 60; // of 255, 95th percentile of the face
const FAR = 0.27; // of the picture's shorter side: a smaller face makes a coarse avatar
const NEAR = 0.8;
const EDGE = 0.02; // of the face beyond the picture's edge
const ASIDE = 0.24; // of the shorter side, from the middle to the face's
const GLARE = 248; // of 255
const GLARE_PART = 0.045; // of an eye and what is around it
const OTHER = 0.3; // of one's own face's area: a smaller one is a poster, or far behind

/** No picture counts while one of these is so; of the others it is only told. */
export const BLOCKING = new Set(["nobody", "two", "dark", "bright", "far", "near", "cut", "shades"]);

/**
 * The most important thing that is wrong with a picture; null: nothing.
 * @param {Float32Array[]} faces  landmarks (478, 3) of those in it, pixels; the one who enrols first
 */
export function hint(picture, faces) {
  if (!faces.length) return "nobody";
  const [face, ...others] = faces;
  if (others.some((other) => faceArea(other) >= OTHER * faceArea(face))) return "two";
  return light(picture, face) ?? place(picture, face) ?? detail(picture, face);
}

function light(picture, face) {
  const part = facePart(picture, face);
  if (Math.min(part.width, part.height) < 7) return "cut";
  const [bright, half] = percentiles(luma(part, 2), [95, 50]);
  if (bright < DARK) return "dark";
  return half > WHITE ? "bright" : null;
}

function place({ width, height }, face) {
  const side = Math.min(width, height);
  const [left, top, right, bottom] = faceBox(face);
  if (bottom - top < FAR * side) return "far";
  if (bottom - top > NEAR * side) return "near";
  const beyond = Math.max(-left, right - width, -top, bottom - height);
  return beyond > EDGE * (bottom - top) ? "cut" : null;
}

function detail(picture, face) {
  if (coveredEyes(picture, face)) return "shades";
  const [low, high] = percentiles(luma(facePart(picture, face), 2), [5, 95]);
  if (sharpness(picture, face) < MIN_DETAIL * Math.max(high - low, 1) ** 2) return "blurred";
  const { width, height } = picture;
  const [left, top, right, bottom] = faceBox(face);
  const off = Math.max(Math.abs(left + right - width), Math.abs(top + bottom - height)) / 2;
  if (off > ASIDE * Math.min(width, height)) return "aside";
  return Math.max(...[EYE_RIGHT, EYE_LEFT].map((eye) => glare(picture, face, eye))) > GLARE_PART ? "glare" : null;
}

/** Which part of an eye and its surroundings is white: light in a pair of glasses. */
function glare(picture, face, eye) {
  const range = [0, 1].map((axis) => {
    const values = eye.map((point) => face[3 * point + axis]);
    return [Math.min(...values), Math.max(...values)];
  });
  const reach = [0.25, 1].map((share, axis) => share * (range[axis][1] - range[axis][0]));
  const [left, top] = [0, 1].map((axis) => Math.max(0, Math.floor(range[axis][0] - reach[axis])));
  const [right, bottom] = [0, 1].map((axis) => Math.ceil(range[axis][1] + reach[axis]));
  const { data, channels } = cut(picture, left, top, right, bottom);
  let white = 0;
  for (let i = 0; i < data.length; i += channels) if (Math.min(data[i], data[i + 1], data[i + 2]) >= GLARE) white += 1;
  return data.length ? (white * channels) / data.length : 0;
}
