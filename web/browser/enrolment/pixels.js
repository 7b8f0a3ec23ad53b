// Pictures as numbers: cut out, scaled as OpenCV scales them, made grey. A picture is {data, width, height, channels}, with
// data row by row; those that come from a canvas have four channels, the last of which is not looked at.

import { clamped, round } from "./numbers.js";

/**
 * @typedef {object} Picture
 * @property {Uint8Array|Uint8ClampedArray|Float32Array} data @property {number} width @property {number} height
 * @property {number} channels
 */

/** @returns {Picture} */
export const pictureOf = (data, width, height, channels) => ({ data, width, height, channels });

/** An empty one of the same kind of numbers. */
const like = ({ data }, width, height, channels) => pictureOf(new data.constructor(width * height * channels), width, height, channels);

/** The part from left to right (not included) and top to bottom, as far as it is inside. @returns {Picture} */
export function cut(picture, left, top, right, bottom) {
  const { data, width, height, channels } = picture;
  const [x0, x1] = [clamped(left, 0, width), clamped(right, 0, width)];
  const [y0, y1] = [clamped(top, 0, height), clamped(bottom, 0, height)];
  const out = like(picture, Math.max(0, x1 - x0), Math.max(0, y1 - y0), channels);
  for (let y = 0; y < out.height; y++) {
    const from = ((y0 + y) * width + x0) * channels;
    out.data.set(data.subarray(from, from + out.width * channels), y * out.width * channels);
  }
  return out;
}

/** Without a fourth channel. @returns {Picture} */
export function colours(picture) {
  if (picture.channels === 3) return picture;
  const out = like(picture, picture.width, picture.height, 3);
  for (let i = 0, at = 0; at < out.data.length; i += picture.channels) for (let c = 0; c < 3; c++) out.data[at++] = picture.data[i + c];
  return out;
}

/** Mean of the three colours of every n-th pixel each way: (H, W) float32. */
export function luma({ data, width, height, channels }, step = 1) {
  const [wide, high] = [Math.ceil(width / step), Math.ceil(height / step)];
  const out = new Float32Array(wide * high);
  for (let y = 0, at = 0; y < height; y += step) {
    for (let x = 0; x < width; x += step, at++) {
      const i = (y * width + x) * channels;
      out[at] = (data[i] + data[i + 1] + data[i + 2]) / 3;
    }
  }
  return out;
}

/** Grey as cameras and JPEG have it, rounded: (H, W). */
export function grey({ data, width, height, channels }) {
  const out = new Float32Array(width * height);
  for (let i = 0, at = 0; at < out.length; i += channels, at++) out[at] = Math.round(0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2]);
  return out;
}

/** Variance of the Laplacian of (H, W), edges mirrored. */
export function laplacianVariance(values, width, height) {
  let [sum, squares] = [0, 0];
  const at = (x, y) => values[mirrored(y, height) * width + mirrored(x, width)];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const inside = x > 0 && y > 0 && x < width - 1 && y < height - 1;
      const i = y * width + x;
      const around = inside ? values[i - 1] + values[i + 1] + values[i - width] + values[i + width] : at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1);
      const value = around - 4 * values[i];
      sum += value;
      squares += value * value;
    }
  }
  const mean = sum / values.length;
  return squares / values.length - mean * mean;
}

/** Where a place beyond the edge lies, mirrored without the edge itself: OpenCV's BORDER_REFLECT_101. */
export function mirrored(place, size) {
  if (size === 1) return 0;
  let at = place;
  while (at < 0 || at >= size) at = at < 0 ? -at : 2 * (size - 1) - at;
  return at;
}

/** Scaled to width x height by the area that each pixel covers, as OpenCV's INTER_AREA. @returns {Picture} */
export function areaScaled(picture, width, height) {
  if (picture.width === width && picture.height === height) return picture;
  const shrinks = picture.width >= width && picture.height >= height;
  const weights = shrinks ? covered : between;
  return scaled(picture, width, height, weights(picture.width, width), weights(picture.height, height));
}

/** Scaled by what is nearest on both sides, as OpenCV's INTER_LINEAR. @returns {Picture} */
export function linearScaled(picture, width, height) {
  if (picture.width === width && picture.height === height) return picture;
  return scaled(picture, width, height, linear(picture.width, width), linear(picture.height, height));
}

function scaled(picture, width, height, across, down) {
  const { data, channels } = picture;
  const middle = new Float32Array(width * picture.height * channels);
  for (let y = 0; y < picture.height; y++) {
    const row = y * picture.width * channels;
    for (let x = 0, at = y * width * channels; x < width; x++) {
      const { first, values } = across[x];
      for (let c = 0; c < channels; c++, at++) {
        let sum = 0;
        for (let k = 0, i = row + first * channels + c; k < values.length; k++, i += channels) sum += values[k] * data[i];
        middle[at] = sum;
      }
    }
  }
  const out = like(picture, width, height, channels);
  const whole = !(out.data instanceof Float32Array);
  const line = width * channels;
  for (let y = 0; y < height; y++) {
    const { first, values } = down[y];
    for (let i = 0; i < line; i++) {
      let sum = 0;
      for (let k = 0, at = first * line + i; k < values.length; k++, at += line) sum += values[k] * middle[at];
      out.data[y * line + i] = whole ? Math.round(sum) : sum;
    }
  }
  return out;
}

/** Weights of the pixels that each new one covers. */
function covered(from, to) {
  const scale = from / to;
  return Array.from({ length: to }, (_, x) => {
    const [start, end] = [x * scale, Math.min((x + 1) * scale, from)];
    const first = Math.floor(start + 1e-9);
    const last = Math.max(first + 1, Math.ceil(end - 1e-9));
    const values = [];
    for (let i = first; i < last; i++) values.push((Math.min(i + 1, end) - Math.max(i, start)) / (end - start));
    return { first, values };
  });
}

/** INTER_AREA of OpenCV where a picture grows. */
function between(from, to) {
  const scale = from / to;
  return Array.from({ length: to }, (_, x) => {
    const at = Math.floor(x * scale);
    const part = x + 1 - (at + 1) / scale;
    return pair(at, part <= 0 ? 0 : part - Math.floor(part), from);
  });
}

function linear(from, to) {
  return Array.from({ length: to }, (_, x) => {
    const at = ((x + 0.5) * from) / to - 0.5;
    return at < 0 ? pair(0, 0, from) : pair(Math.floor(at), at - Math.floor(at), from);
  });
}

function pair(at, part, from) {
  if (at >= from - 1) return { first: from - 1, values: [1] };
  return part === 0 ? { first: at, values: [1] } : { first: at, values: [1 - part, part] };
}

/** The box of a face that is inside of a picture: rounded, right and bottom included. @param {number[]} box */
export function boxPart(picture, [left, top, right, bottom]) {
  const [x0, y0, x1, y1] = [left, top, right, bottom].map((value) => Math.max(0, round(value)));
  return cut(picture, x0, y0, x1 + 1, y1 + 1);
}
