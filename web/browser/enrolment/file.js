// What is made in the page -> an `.avatar` file, not signed yet: the writing half of telepresence/avatar/file.py.
// docs/avatar-format.md has the bytes; ../../face/avatar-file.js reads them.

import { content, readTable } from "../../face/avatar-file.js";
import { bytesOf, joined, writeSections } from "../../owner/signature.js";
import { encodeWithin } from "./jpeg.js";
import { EnrolmentError } from "./problems.js";

export const MAX_SIDE = 512; // pixels of a reference or plate
const MAX_NAME = 100; // characters
// How the first 150 kB are shared out: the face first, the plate is calm and needs little.
const FIRST_PICTURE = 88_000; // bytes
const MATTE = 16_000;
const PLATE_PICTURE = 24_000;
const LATER_PICTURE = 150_000;

/**
 * @typedef {object} Made
 * @property {string} name
 * @property {{picture: import("./pixels.js").Picture, landmarks: Float32Array, matte: Uint8Array}[]} references  square
 * @property {Float32Array} neutral  (478, 3) canonical @property {import("./pixels.js").Picture} background  square
 */

/** @param {Made} made @returns {Promise<Uint8Array>} @throws {EnrolmentError} a picture does not fit */
export async function writeAvatar({ name, references, neutral, background }) {
  const meta = { engine: null, free_for_all: false, name: properName(name) };
  const packed = references.map((reference, n) => packReference(reference, n ? LATER_PICTURE : FIRST_PICTURE));
  const side = background.width;
  const plate = joined([numbers([[side, 2], [0, 2]]), fitted(background, PLATE_PICTURE)]);
  return writeSections([
    ["meta", bytesOf(JSON.stringify(meta))], ["neutral", packPoints(neutral)], ["reference/0", packed[0]], ["background", plate],
    ...packed.slice(1).map((body, n) => [`reference/${n + 1}`, body]),
  ]);
}

/** A file that is not signed -> the same under another name. @param {Uint8Array} data @returns {Promise<Uint8Array>} */
export async function renamed(data, name) {
  const sections = [];
  for (const row of readTable(data)) sections.push([row.name, await content(data, row)]);
  const meta = JSON.parse(new TextDecoder().decode(sections[0][1]));
  sections[0][1] = bytesOf(JSON.stringify({ ...meta, name: properName(name) }));
  return writeSections(sections);
}

// No character, or emoji of after Unicode 14: an edge with Python 3.11 takes those for none, and refuses the file.
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}\u{1f6d8}-\u{1f6dc}\u{1fa70}-\u{1faff}]|(?! )\p{Zs}/u;

/** A name as a file may have it. */
export function properName(name) {
  const plain = [...name].filter((c) => !UNPRINTABLE.test(c)).join("").trim();
  return [...plain].slice(0, MAX_NAME).join("").trim() || "Me";
}

function packReference({ picture, landmarks, matte }, budget) {
  const { width: side } = picture;
  const [face, grey] = [fitted(picture, budget), fitted({ data: matte, width: side, height: side, channels: 1 }, MATTE)];
  return joined([numbers([[side, 2], [0, 2], [face.length, 4], [grey.length, 4]]), packPoints(landmarks), face, grey]);
}

function fitted(picture, budget) {
  const jpeg = encodeWithin(picture, budget);
  if (!jpeg) throw new EnrolmentError(`a ${picture.width} pixel picture does not fit in ${budget} bytes; use a calmer background`);
  return jpeg;
}

/** Float32, big-endian. */
function packPoints(points) {
  const out = new DataView(new ArrayBuffer(4 * points.length));
  points.forEach((value, i) => out.setFloat32(4 * i, value));
  return new Uint8Array(out.buffer);
}

/** Whole numbers of 2 or 4 bytes, big-endian. */
function numbers(given) {
  return joined(given.map(([value, size]) => Uint8Array.from({ length: size }, (_, i) => (value >>> (8 * (size - 1 - i))) & 255)));
}
