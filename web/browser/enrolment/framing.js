// Which square of a camera's picture, or of a photo, becomes the avatar's picture: the twin of telepresence/avatar/framing.py.

import { clamped, median, percentile, round } from "./numbers.js";
import { areaScaled, colours, cut } from "./pixels.js";
import { EnrolmentError } from "./problems.js";
import { faceBox } from "./topology.js";

const SMALL_FACE = 0.25; // of the picture's height: a smaller face is cropped to, a larger one never is
const CROP_SIDE = 2.8; // face heights: head and shoulders
const CROP_ABOVE = 0.75; // face heights between the crop's top and the forehead
export const MIN_FACE_PX = 48; // pixels high; below this a reference shows a stranger
const HAIR_ABOVE = 0.3; // face heights from forehead to crown
const EARS_BESIDE = 0.1; // face widths

/** Part of a frame, pixels. */
export class Square {
  constructor(left, top, side) {
    Object.assign(this, { left, top, side });
  }

  /** Cut this square out of a picture and scale it: (size, size, 3). */
  cut(picture, size) {
    const part = cut(picture, this.left, this.top, this.left + this.side, this.top + this.side);
    return areaScaled(colours(part), size, size);
  }

  /** Landmarks in pixels of the whole frame -> in pixels of the cut. */
  landmarks(points, size) {
    const offset = [this.left, this.top, 0];
    return Float32Array.from(points, (value, i) => ((value - offset[i % 3]) * size) / this.side);
  }
}

/**
 * The central square, unless the face is small in it or not inside it.
 * @param {Float32Array[]} faces  landmarks in pixels of that frame; of a camera, of many pictures: the square fits them all
 * @param {string} where  what to call the source in a message
 * @throws {EnrolmentError} the face is too small to make an avatar of
 */
export function chooseSquare(width, height, faces, where) {
  const boxes = faces.map(faceBox);
  const tall = median(boxes.map(([, top, , bottom]) => bottom - top));
  if (tall < MIN_FACE_PX) {
    throw new EnrolmentError(`${where}: the face is only ${tall.toFixed()} pixels high; at least ${MIN_FACE_PX} are needed, so move closer to the camera or use a larger picture`);
  }
  // Nearly all pictures, so that one wild one does not move the square.
  const [left, top, right, bottom] = [5, 5, 95, 95].map((share, n) => percentile(boxes.map((box) => box[n]), share));
  const side = Math.min(width, height);
  if (tall < SMALL_FACE * side) {
    const smaller = Math.min(side, round(Math.max(CROP_SIDE * tall, right - left + tall, bottom - top + tall)));
    return inside((left + right - smaller) / 2, top - CROP_ABOVE * tall, smaller, width, height);
  }
  const beside = EARS_BESIDE * (right - left);
  const x = shift(Math.floor((width - side) / 2), side, left - beside, right + beside);
  const y = shift(Math.floor((height - side) / 2), side, top - HAIR_ABOVE * tall, bottom);
  return inside(x, y, side, width, height);
}

/** Move the span [start, start + side] as little as it takes to hold [low, high]; its middle, if that is longer. */
function shift(start, side, low, high) {
  return high - low > side ? (low + high - side) / 2 : clamped(start, high - side, low);
}

function inside(left, top, side, width, height) {
  return new Square(clamped(round(left), 0, width - side), clamped(round(top), 0, height - side), side);
}
