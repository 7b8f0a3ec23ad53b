// The one face that a photo is of, and which way up the photo belongs: the twin of `upright` in telepresence/avatar/photos.py.

import { basis } from "../../face/basis.js";
import { fitPose, toSquare } from "../../face/motion.js";
import { MIN_FACE_PX } from "./framing.js";
import { describe } from "./looks.js";
import { difference, neutralShape } from "./neutral.js";
import { EnrolmentError } from "./problems.js";
import { faceArea, sameFace } from "./topology.js";

const CLEARLY_LARGER = 2; // areas: the largest face is meant when it is this much larger than the next
const CLOSE_PARTS = [2, 4]; // a picture without a face is searched in parts of half its size, then a quarter
const LYING = 60; // degrees of roll: nobody tilts the head so far, the photo lies on its side
const STRANGE = 0.035; // canonical units: a face so unlike the mean, or so ill fitting, may be an inverted one
const CLEARLY_LESS = 0.8;

/**
 * @param {OffscreenCanvas} photo
 * @param {(picture: OffscreenCanvas) => Promise<{faces: Float32Array[], width: number, height: number}>} landmarksOf
 * @returns {Promise<{photo: OffscreenCanvas, face: Float32Array, turns: number}>}  turned counter-clockwise by so many quarters
 * @throws {EnrolmentError} there is no face, or there are several alike
 */
export async function upright(photo, landmarksOf) {
  const find = (picture) => facesIn(picture, landmarksOf);
  const faces = await find(photo);
  if (!faces.length) return hidden(photo, find);
  const face = theOne(faces);
  const [roll, strangeness] = judged(photo, face);
  if (Math.abs(roll) <= LYING && strangeness <= STRANGE) return { photo, face, turns: 0 };
  // Positive roll is clockwise on the picture; over an inverted face the network may draw an upright, strange one.
  const side = Math.abs(roll) > LYING && Math.abs(roll) < 180 - LYING;
  const turns = side ? (roll > 0 ? 1 : 3) : 2;
  const turned = await plausible(photo, turns, Math.abs(roll) > LYING ? 2 * STRANGE : CLEARLY_LESS * strangeness, find);
  return turned ?? { photo, face, turns: 0 };
}

/** A photo in which no face is seen as it is: it may be a small one, or lie. */
async function hidden(photo, find) {
  for (const parts of CLOSE_PARTS) {
    const close = await closely(photo, parts, find);
    if (close.length) return { photo, face: theOne(close), turns: 0 };
  }
  for (const turns of [1, 3, 2]) {
    const turned = await plausible(photo, turns, STRANGE, find);
    if (turned) return turned;
  }
  return theOne([]);
}

/** Faces in overlapping parts, largest first; of those that lie in each other the largest. */
async function closely(photo, parts, find) {
  const { width, height } = photo;
  const [wide, high] = [Math.ceil(width / parts), Math.ceil(height / parts)];
  if (Math.min(wide, high) < 2 * MIN_FACE_PX) return []; // a face in there is too small to be of use
  const found = [];
  for (let top = 0; top <= height - high; top += high >> 1) {
    for (let left = 0; left <= width - wide; left += wide >> 1) {
      const part = drawn(wide, high, photo, [1, 0, 0, 1, -left, -top]);
      for (const face of await find(part)) found.push(face.map((value, i) => value + [left, top, 0][i % 3]));
    }
  }
  const kept = [];
  for (const face of found.sort((a, b) => faceArea(b) - faceArea(a))) if (!kept.some((other) => sameFace(face, other))) kept.push(face);
  return kept;
}

/** A turned photo, if the largest face in it is upright there and no stranger than `limit`; else null. */
async function plausible(photo, turns, limit, find) {
  const turned = quarterTurned(photo, turns);
  const faces = await find(turned);
  if (!faces.length) return null;
  const [roll, strangeness] = judged(turned, faces[0]);
  return Math.abs(roll) < LYING && strangeness < limit ? { photo: turned, face: theOne(faces), turns } : null;
}

function theOne(faces) {
  if (!faces.length) throw new EnrolmentError("no face found; use a picture that shows one whole face from the front, well lit and not covered");
  if (faces.length > 1 && faceArea(faces[0]) < CLEARLY_LARGER * faceArea(faces[1])) {
    throw new EnrolmentError(`${faces.length} faces of about the same size; crop it so that only the person to enrol is left`);
  }
  return faces[0];
}

/** Degrees of roll; and how far the face is from the mean one, plus how ill its bones fit its own neutral shape. */
function judged({ width, height }, face) {
  const { mean } = basis();
  const points = toSquare(face, width, height);
  const neutral = neutralShape([points]);
  const { misfit } = describe(face, neutral, width, height, 0, 0);
  return [(fitPose(points, mean).rotation[2] * 180) / Math.PI, difference(neutral, mean) + misfit];
}

/** In the photo's own pixels, largest first. */
async function facesIn(picture, landmarksOf) {
  const { faces, width } = await landmarksOf(picture);
  const scale = picture.width / width;
  return faces.map((face) => face.map((value) => value * scale)).sort((a, b) => faceArea(b) - faceArea(a));
}

/** Turned counter-clockwise by so many quarters. */
function quarterTurned(photo, turns) {
  const { width: w, height: h } = photo;
  const ways = { 1: [0, -1, 1, 0, 0, w], 2: [-1, 0, 0, -1, w, h], 3: [0, 1, -1, 0, h, 0] };
  return turns === 2 ? drawn(w, h, photo, ways[2]) : drawn(h, w, photo, ways[turns]);
}

function drawn(width, height, photo, transform) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { alpha: false });
  context.setTransform(...transform);
  context.drawImage(photo, 0, 0);
  return canvas;
}
