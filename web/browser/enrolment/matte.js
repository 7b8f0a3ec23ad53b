// Mattes: how much of each pixel is the person. A network's answer, with its edges refined on the picture: the twin of
// telepresence/face/matte.py. Guided filter: He et al. 2010, "Guided Image Filtering", section 3.3, for a guide in colour.

import { clamped, round } from "./numbers.js";
import { cut } from "./pixels.js";
import { blurred, components, ellipse, grown, square } from "./shapes.js";
import { faceBox } from "./topology.js";

const EDGE_RADIUS = 1 / 96; // of the shorter side: how far the refined edge may lie from the network's
const EDGE_EPSILON = 1e-4; // of squared contrast: below this a difference in colour is no edge
const SINGULAR = 1e-6; // of the colours' covariance: where they differ less, the mask is only smoothed, as OpenCV does it
const HOLE = 0.002; // of the picture: a smaller gap in a person is the network's mistake
const SURE = [0.4, 0.95]; // below is background, above is person, in between is stretched

const reachOf = (width, height) => Math.max(2, round(Math.min(width, height) * EDGE_RADIUS));

/**
 * A network's mask, edges refined and stretched: (H, W) uint8, 255 where the person is.
 * @param {import("./pixels.js").Picture} picture @param {Uint8Array} mask  (H, W), 255: surely a person
 */
export function matteOf(picture, mask) {
  const level = new Float32Array(mask.length);
  for (let i = 0; i < mask.length; i++) level[i] = mask[i] / 255;
  const fine = guided(picture, level, reachOf(picture.width, picture.height));
  const out = new Uint8Array(mask.length);
  const [low, high] = SURE;
  for (let i = 0; i < out.length; i++) out[i] = Math.round(clamped((fine[i] - low) / (high - low), 0, 1) * 255);
  return out;
}

/** A mask (H, W) made to follow the edges of a picture. */
export function guided(picture, mask, radius) {
  const { width, height } = picture;
  const size = width * height;
  const mean = (values) => boxMean(values, width, height, radius);
  const guide = planes(picture);
  const means = guide.map(mean);
  const pairs = [[0, 0], [0, 1], [0, 2], [1, 1], [1, 2], [2, 2]].map(([a, b]) => mean(product(guide[a], guide[b])));
  const level = mean(mask);
  const cross = guide.map((values) => mean(product(values, mask)));
  const slopes = [0, 1, 2].map(() => new Float32Array(size));
  const offset = new Float32Array(size);
  for (let i = 0; i < size; i++) solve(i, means, pairs, level, cross, slopes, offset);
  const out = mean(offset);
  for (let c = 0; c < 3; c++) {
    const slope = mean(slopes[c]);
    const values = guide[c];
    for (let i = 0; i < size; i++) out[i] += slope[i] * values[i];
  }
  return out;
}

/** Each colour by itself, 0 to 1. */
function planes({ data, width, height, channels }) {
  return [0, 1, 2].map((c) => {
    const out = new Float32Array(width * height);
    for (let i = 0, at = c; i < out.length; i++, at += channels) out[i] = data[at] / 255;
    return out;
  });
}

function product(one, other) {
  const out = new Float32Array(one.length);
  for (let i = 0; i < out.length; i++) out[i] = one[i] * other[i];
  return out;
}

/** The line that fits the mask to the guide's colours around one pixel. */
function solve(i, [m0, m1, m2], [p00, p01, p02, p11, p12, p22], level, cross, slopes, offset) {
  const [r, g, b] = [m0[i], m1[i], m2[i]];
  const rr = p00[i] - r * r + EDGE_EPSILON, rg = p01[i] - r * g, rb = p02[i] - r * b;
  const gg = p11[i] - g * g + EDGE_EPSILON, gb = p12[i] - g * b, bb = p22[i] - b * b + EDGE_EPSILON;
  const c0 = gg * bb - gb * gb, c1 = gb * rb - rg * bb, c2 = rg * gb - gg * rb;
  const determinant = rr * c0 + rg * c1 + rb * c2;
  if (Math.abs(determinant) < SINGULAR) {
    offset[i] = level[i];
    return;
  }
  const x = cross[0][i] - r * level[i], y = cross[1][i] - g * level[i], z = cross[2][i] - b * level[i];
  const d1 = rr * bb - rb * rb, d2 = rb * rg - rr * gb, d3 = rr * gg - rg * rg;
  const a0 = (c0 * x + c1 * y + c2 * z) / determinant;
  const a1 = (c1 * x + d1 * y + d2 * z) / determinant;
  const a2 = (c2 * x + d2 * y + d3 * z) / determinant;
  slopes[0][i] = a0;
  slopes[1][i] = a1;
  slopes[2][i] = a2;
  offset[i] = level[i] - a0 * r - a1 * g - a2 * b;
}

/** Mean of (H, W) over a box, the edge's own pixels mirrored too: OpenCV's BORDER_REFLECT. */
function boxMean(values, width, height, radius) {
  const across = new Float32Array(values.length), out = new Float32Array(values.length);
  const share = 1 / (2 * radius + 1);
  const columns = Int32Array.from({ length: width + 2 * radius }, (_, k) => reflected(k - radius, width));
  for (let y = 0; y < height; y++) {
    const start = y * width;
    let sum = 0;
    for (let k = 0; k < 2 * radius; k++) sum += values[start + columns[k]];
    for (let x = 0; x < width; x++) {
      sum += values[start + columns[x + 2 * radius]];
      across[start + x] = sum * share;
      sum -= values[start + columns[x]];
    }
  }
  const sums = new Float64Array(width);
  const row = (y) => reflected(y, height) * width;
  for (let y = -radius; y < radius; y++) for (let x = 0, from = row(y); x < width; x++) sums[x] += across[from + x];
  for (let y = 0; y < height; y++) {
    const [coming, going] = [row(y + radius), row(y - radius)];
    for (let x = 0; x < width; x++) {
      sums[x] += across[coming + x];
      out[y * width + x] = sums[x] * share;
      sums[x] -= across[going + x];
    }
  }
  return out;
}

function reflected(place, size) {
  const at = place < 0 ? -1 - place : place >= size ? 2 * size - 1 - place : place;
  return clamped(at, 0, size - 1);
}

/**
 * Drop from a matte (H, W) whoever is not connected to the face of `landmarks` (478, 3) in the same pixels. The face itself
 * always counts as person, however the network saw it, and so do small holes anywhere in the person.
 */
export function onlyPerson(matte, width, height, landmarks) {
  const [left, top, right, bottom] = faceBox(landmarks);
  const centre = [round((left + right) / 2), round((top + bottom) / 2)];
  const axes = [Math.max(1, round((right - left) * 0.4)), Math.max(1, round((bottom - top) * 0.45))];
  const face = ellipse(centre, axes, width, height);
  const solid = Uint8Array.from(matte);
  raise(solid, face, width, height, centre, axes);
  fillHoles(solid, width, height);
  const { labels, sizes } = components(above(solid), width, height);
  const mine = new Uint8Array(sizes.length);
  for (let i = 0; i < face.length; i++) if (face[i]) mine[labels[i]] = 1;
  mine[0] = 0;
  const reach = 2 * reachOf(width, height) + 1; // soft edges belong to the person that they border
  const kept = grown(chosen(labels, mine), width, height, square(reach));
  for (let i = 0; i < solid.length; i++) if (!kept[i]) solid[i] = 0;
  return solid;
}

/** Raise a matte to a softened ellipse, where that is. */
function raise(matte, face, width, height, [cx, cy], [rx, ry]) {
  const sigma = Math.max(1, rx / 8);
  const reach = Math.round(3 * sigma) + 1;
  const [left, right] = [cx - rx - reach, cx + rx + reach + 1].map((x) => clamped(x, 0, width));
  const [top, bottom] = [cy - ry - reach, cy + ry + reach + 1].map((y) => clamped(y, 0, height));
  if (right <= left || bottom <= top) return;
  const part = cut({ data: face, width, height, channels: 1 }, left, top, right, bottom);
  const soft = blurred(part.data, part.width, part.height, 1, sigma, 3);
  for (let y = 0, from = 0; y < part.height; y++) {
    for (let x = 0, at = (top + y) * width + left; x < part.width; x++, at++, from++) matte[at] = Math.max(matte[at], Math.round(255 * soft[from]));
  }
}

function fillHoles(matte, width, height) {
  const outside = above(matte);
  for (let i = 0; i < outside.length; i++) outside[i] = 1 - outside[i];
  const { labels, sizes } = components(outside, width, height);
  const small = Uint8Array.from(sizes, (size, label) => (label > 0 && size < HOLE * matte.length ? 1 : 0));
  const rim = grown(chosen(labels, small), width, height, square(5));
  for (let i = 0; i < matte.length; i++) if (rim[i]) matte[i] = 255;
}

function above(matte) {
  const out = new Uint8Array(matte.length);
  for (let i = 0; i < out.length; i++) out[i] = matte[i] > 127 ? 1 : 0;
  return out;
}

/** Where a label is one of those that are set. */
function chosen(labels, set) {
  const out = new Uint8Array(labels.length);
  for (let i = 0; i < out.length; i++) out[i] = set[labels[i]];
  return out;
}
