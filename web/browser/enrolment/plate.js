// The background plate: what is behind the person, as far as it was ever seen, and something calm where it was not. The twin
// of telepresence/avatar/background.py, which explains the bounds.

import { linearScaled, pictureOf } from "./pixels.js";
import { blurred, convolved, disc, grown, shrunk } from "./shapes.js";

const CLEAR = 10; // of 255: a pixel counts as background only where the matte is this low
const KEPT = 0.012; // of the side: background nearer to the person is not kept
const KEPT_PHOTO = 0.02;
const SOURCE = 0.04; // of the side: nor is its colour spread behind them unless it is so far away
const MIN_SHARE = 0.1; // of the pictures in which a pixel must be background
const FEATHER = 0.015; // of the side, passage from seen to filled
const WALL = 96; // grey of a wall of which nothing is known
const HALVING = [1, 4, 6, 4, 1].map((value) => value / 16);

/**
 * @param {import("./pixels.js").Picture[]} pictures  (S, S, 3) of one framing @param {Uint8Array[]} mattes  (S, S)
 * @returns {import("./pixels.js").Picture} (S, S, 3)
 */
export function backgroundPlate(pictures, mattes) {
  const side = pictures[0].width;
  const margin = side * (pictures.length === 1 ? KEPT_PHOTO : KEPT);
  const hidden = mattes.map((matte) => {
    const person = new Uint8Array(matte.length);
    for (let i = 0; i < person.length; i++) person[i] = matte[i] > CLEAR ? 1 : 0;
    return grown(person, side, side, disc(margin));
  });
  const most = pictures.length - Math.max(1, Math.round(MIN_SHARE * pictures.length)); // pictures in which it may be hidden
  const count = new Uint8Array(side * side);
  for (const mask of hidden) for (let i = 0; i < count.length; i++) count[i] += mask[i];
  const seen = count.map((times) => (times <= most ? 1 : 0));
  if (!seen.includes(1)) return pictureOf(new Uint8Array(3 * side * side).fill(WALL), side, side, 3);
  const far = shrunk(seen, side, side, disc(side * SOURCE - margin));
  return calm(medians(pictures, hidden, seen), seen, far.includes(1) ? far : seen, side);
}

/** The median of what was seen at each pixel beside the person; 0 where nothing was. */
function medians(pictures, hidden, seen) {
  const plate = new Float32Array(3 * seen.length);
  const values = new Float64Array(pictures.length);
  for (let i = 0; i < seen.length; i++) {
    if (!seen[i]) continue;
    for (let c = 0; c < 3; c++) {
      let count = 0;
      for (let n = 0; n < pictures.length; n++) {
        if (hidden[n][i]) continue;
        const value = pictures[n].data[i * pictures[n].channels + c];
        let at = count++;
        for (; at > 0 && values[at - 1] > value; at--) values[at] = values[at - 1];
        values[at] = value;
      }
      plate[3 * i + c] = (values[count >> 1] + values[(count - 1) >> 1]) / 2;
    }
  }
  return plate;
}

function calm(plate, seen, source, side) {
  const filled = spread(plate, source, side);
  const soft = blurred(seen, side, side, 1, Math.max(1, side * FEATHER));
  const out = new Uint8Array(plate.length);
  for (let i = 0; i < plate.length; i++) {
    const trust = Math.min(1, Math.max(0, 2 * soft[(i / 3) | 0] - 1)); // nothing of an unseen pixel passes
    out[i] = Math.round(Math.min(255, Math.max(0, trust * plate[i] + (1 - trust) * filled[i])));
  }
  return pictureOf(out, side, side, 3);
}

/**
 * Fill the unknown pixels of (S, S, 3) smoothly from the known ones (S, S; 0 or 1), near ones first.
 * Source: pull-push, Gortler et al. 1996, "The Lumigraph", section 3.4.
 */
export function spread(picture, known, side) {
  const sums = Float32Array.from(picture);
  for (let i = 0; i < sums.length; i++) sums[i] *= known[(i / 3) | 0];
  const levels = [{ weight: Float32Array.from(known), sums, size: side }];
  while (levels.at(-1).size > 1) {
    const { weight, sums: all, size } = levels.at(-1);
    levels.push({ weight: halved(weight, size, 1), sums: halved(all, size, 3), size: (size + 1) >> 1 });
  }
  let filled = own(levels.at(-1));
  let before = levels.at(-1).size;
  for (const level of levels.reverse().slice(1)) {
    const { weight, size } = level;
    const larger = linearScaled(pictureOf(filled, before, before, 3), size, size).data;
    const coarse = blurred(larger, size, size, 3, 1.5);
    filled = own(level);
    for (let i = 0; i < filled.length; i++) {
      const sure = Math.min(1, 2 * weight[(i / 3) | 0]);
      filled[i] = sure * filled[i] + (1 - sure) * coarse[i];
    }
    before = size;
  }
  return filled;
}

/** What was seen at each pixel, as far as anything was. */
function own({ weight, sums }) {
  const out = new Float32Array(sums.length);
  for (let i = 0; i < out.length; i++) out[i] = sums[i] / Math.max(weight[(i / 3) | 0], 1e-6);
  return out;
}

/** Half the size, as OpenCV's pyrDown. */
function halved(values, size, channels) {
  const soft = convolved(values, size, size, channels, HALVING);
  const half = (size + 1) >> 1;
  const out = new Float32Array(half * half * channels);
  for (let y = 0, at = 0; y < half; y++) {
    for (let x = 0; x < half; x++) for (let c = 0; c < channels; c++) out[at++] = soft[(2 * y * size + 2 * x) * channels + c];
  }
  return out;
}
