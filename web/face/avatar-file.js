// What is in an `.avatar` file: the twin of telepresence/avatar/{sections,file,jpeg}.py; docs/avatar-format.md has the bytes.
// Every length is checked before anything of that length is read, and a picture's size before anybody decodes it.

import { sha256 } from "../browser/sha256.js";
import { N_LANDMARKS, basis } from "./basis.js";

const MAGIC = [0x89, 0x41, 0x56, 0x41, 0x54, 0x41, 0x52, 0x0a];
const VERSION = 1;
const MAX_FILE_BYTES = 8 * 1024 * 1024;
const MAX_FIRST_BYTES = 150_000;
const MAX_TABLE_BYTES = 16 * 1024;
const MAX_SECTIONS = 128;
const MAX_REFERENCES = 32;
const MAX_REFERENCE_BYTES = 240_000;
const POINTS_BYTES = 12 * N_LANDMARKS;
const LIMITS = { meta: 4096, neutral: POINTS_BYTES, owner: 1024, signature: 4096 };
const FIRST = ["meta", "neutral", "reference/0", "background"];
const HEAD_BYTES = 20, ENTRY_BYTES = 37, REFERENCE_HEAD = 12, PLATE_HEAD = 4;
const [MIN_SIDE, MAX_SIDE] = [64, 512];
const MAX_LANDMARK = 16 * MAX_SIDE, MAX_NEUTRAL = 8;
const MIN_EYES = 2, MIN_NEUTRAL_EYES = 0.3;
const SOF0 = 0xc0, SOS = 0xda;
const MARKERS = new Set([0xe0, 0xdb, 0xc4, SOF0, 0xdd, 0xfe, SOS]);
const MAX_SEGMENTS = 32;

/** A file that is no avatar, or a damaged or hostile one. */
export class AvatarError extends Error {}

/**
 * @typedef {object} Reference
 * @property {number} side  pixels
 * @property {Float32Array} landmarks  (478, 3) pixels of the picture
 * @property {Uint8Array} picture  JPEG, checked but not decoded
 * @property {Uint8Array} matte  JPEG, grey
 */

/**
 * @typedef {object} AvatarFile
 * @property {string} name
 * @property {boolean} free  anyone may be shown as this avatar
 * @property {Float32Array} neutral  (478, 3) canonical
 * @property {Reference[]} references
 * @property {{side: number, picture: Uint8Array}} background
 * @property {boolean} personal  whether it has tensors of its own, which are not used here
 */

/**
 * A whole file, or the beginning of one: then with its first reference only. `loadBasis` first.
 * @param {Uint8Array} data @param {boolean} [whole]
 * @returns {Promise<AvatarFile|null>}  null: not enough of it is there yet
 * @throws {AvatarError}
 */
export async function readAvatar(data, whole = true) {
  if (data.length > MAX_FILE_BYTES) throw new AvatarError(`${data.length} bytes; an avatar has at most ${MAX_FILE_BYTES}`);
  const table = readTable(data);
  if (whole && data.length !== table?.at(-1).end) throw new AvatarError("the avatar file is cut short, or something follows its end");
  const used = whole ? table : table?.slice(0, FIRST.length);
  if (!used || data.length < used.at(-1).end) return null;
  const bodies = await Promise.all(used.map((row) => content(data, row)));
  const sections = new Map(used.map(({ name }, i) => [name, bodies[i]]));
  const references = [];
  for (let index = 0; index < MAX_REFERENCES && sections.has(`reference/${index}`); index++) {
    references.push(readReference(sections.get(`reference/${index}`)));
  }
  const { name, free } = readMeta(sections.get("meta"));
  return {
    name, free, references,
    neutral: checkedPoints(sections.get("neutral"), "neutral shape", MAX_NEUTRAL, MIN_NEUTRAL_EYES),
    background: readPlate(sections.get("background")),
    personal: [...sections.keys()].some((key) => key.startsWith("personal/")),
  };
}

export function readTable(data) {
  if (MAGIC.some((byte, i) => i < data.length && data[i] !== byte)) throw new AvatarError("not an avatar file");
  if (data.length < HEAD_BYTES) return null;
  const view = over(data);
  const [version, count, tableBytes, fileBytes] = [view.getUint16(8), view.getUint16(10), view.getUint32(12), view.getUint32(16)];
  if (version !== VERSION) throw new AvatarError(`avatar version ${version}; this page reads ${VERSION}`);
  if (count < FIRST.length || count > MAX_SECTIONS || tableBytes > MAX_TABLE_BYTES || fileBytes > MAX_FILE_BYTES) {
    throw new AvatarError("the avatar's header breaks a limit of the format");
  }
  const end = HEAD_BYTES + tableBytes;
  if (data.length < end) return null;
  const table = parseTable(data.subarray(HEAD_BYTES, end), count, end);
  if (table.at(-1).end !== fileBytes) throw new AvatarError("the avatar's sections do not add up to its size");
  checkTable(table);
  return table;
}

function parseTable(raw, count, first) {
  const table = [];
  let [at, start] = [0, first];
  for (let row = 0; row < count; row++) {
    if (at + ENTRY_BYTES > raw.length) throw new AvatarError("the avatar's table is cut short");
    const length = raw[at];
    const size = over(raw).getUint32(at + 33);
    const hash = raw.subarray(at + 1, at + 33);
    const name = raw.subarray(at + ENTRY_BYTES, at + ENTRY_BYTES + length);
    at += ENTRY_BYTES + length;
    if (!length || name.length !== length || name.some((c) => c < 0x21 || c >= 0x7f)) throw new AvatarError("a section of the avatar has no proper name");
    if (size > MAX_FILE_BYTES - start) throw new AvatarError("a section of the avatar is longer than an avatar may be");
    table.push({ name: String.fromCharCode(...name), start, end: start + size, hash });
    start += size;
  }
  if (at !== raw.length) throw new AvatarError("the avatar's table is longer than its rows");
  return table;
}

function checkTable(table) {
  if (FIRST.some((name, i) => table[i].name !== name) || new Set(table.map(({ name }) => name)).size !== table.length) {
    throw new AvatarError(`an avatar begins with ${FIRST.join(", ")} and names no section twice`);
  }
  if (table[FIRST.length - 1].end > MAX_FIRST_BYTES) throw new AvatarError(`the avatar's first reference ends after ${MAX_FIRST_BYTES} bytes`);
  for (const { name, start, end } of table) {
    const limit = name.startsWith("reference/") ? MAX_REFERENCE_BYTES : LIMITS[name] ?? MAX_FILE_BYTES;
    if (end - start > limit) throw new AvatarError(`the avatar's section ${name} is longer than ${limit} bytes`);
  }
}

export async function content(data, { name, start, end, hash }) {
  const body = data.subarray(start, end);
  if ((await sha256(body)) !== toHex(hash)) throw new AvatarError(`the avatar's section ${name} is damaged (its hash differs)`);
  return body;
}

function readMeta(raw) {
  let meta;
  try {
    meta = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(raw));
  } catch {
    throw new AvatarError("the avatar's meta section is not JSON");
  }
  const { name, free_for_all: free } = meta ?? {};
  const proper = typeof name === "string" && name.length >= 1 && [...name].length <= 100 && !/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(name);
  if (!proper || typeof free !== "boolean") throw new AvatarError("the avatar's meta section lacks name or free_for_all");
  return { name, free };
}

/** @returns {Reference} */
function readReference(raw) {
  const start = REFERENCE_HEAD + POINTS_BYTES;
  if (raw.length < start) throw new AvatarError("a reference of the avatar is cut short");
  const view = over(raw);
  const [side, pictureBytes, matteBytes] = [view.getUint16(0), view.getUint32(4), view.getUint32(8)];
  if (side < MIN_SIDE || side > MAX_SIDE || raw.length - start !== pictureBytes + matteBytes) {
    throw new AvatarError("a reference of the avatar does not add up");
  }
  const landmarks = checkedPoints(raw.subarray(REFERENCE_HEAD, start), "landmarks", MAX_LANDMARK, MIN_EYES);
  const picture = checkedJpeg(raw.subarray(start, start + pictureBytes), side, 3);
  return { side, landmarks, picture, matte: checkedJpeg(raw.subarray(start + pictureBytes), side, 1) };
}

function readPlate(raw) {
  if (raw.length < PLATE_HEAD) throw new AvatarError("the avatar's background plate is cut short");
  const side = over(raw).getUint16(0);
  if (side < MIN_SIDE || side > MAX_SIDE) throw new AvatarError(`the avatar's background plate has ${side} pixels`);
  return { side, picture: checkedJpeg(raw.subarray(PLATE_HEAD), side, 3) };
}

function checkedPoints(raw, what, limit, eyes) {
  if (raw.length !== POINTS_BYTES) throw new AvatarError(`${raw.length} bytes of points; ${POINTS_BYTES} are needed`);
  const view = over(raw);
  const points = Float32Array.from({ length: 3 * N_LANDMARKS }, (_, i) => view.getFloat32(4 * i));
  if (!points.every((value) => Math.abs(value) <= limit)) throw new AvatarError(`${what}: values must be finite and within +-${limit}`);
  const [right, left] = basis().lists.eye_corners_outer;
  const apart = Math.hypot(...[0, 1, 2].map((axis) => points[3 * left + axis] - points[3 * right + axis]));
  if (apart < eyes) throw new AvatarError(`${what}: the outer eye corners are closer than ${eyes}; this is not a face`);
  return points;
}

/** Walks the markers of a JPEG up to its scan: baseline, one scan, exactly this side and number of channels. */
export function checkedJpeg(data, side, channels) {
  const whole = data.length >= 4 && data[0] === 0xff && data[1] === 0xd8 && data.at(-2) === 0xff && data.at(-1) === 0xd9;
  if (!whole) throw new AvatarError("a picture inside is not a whole JPEG");
  let [at, framed] = [2, false];
  for (let segment = 0; segment < MAX_SEGMENTS; segment++) {
    if (at + 4 > data.length || data[at] !== 0xff || !MARKERS.has(data[at + 1])) throw new AvatarError("a picture inside is not a plain baseline JPEG");
    const [marker, length] = [data[at + 1], (data[at + 2] << 8) | data[at + 3]];
    const body = data.subarray(at + 4, at + 2 + length);
    if (length < 2 || body.length !== length - 2) throw new AvatarError("a picture inside is cut short");
    at += 2 + length;
    if (marker === SOF0) {
      const wanted = [8, side >> 8, side & 255, side >> 8, side & 255, channels];
      if (framed || wanted.some((byte, i) => body[i] !== byte)) throw new AvatarError(`a picture inside is not ${side} x ${side} x ${channels}`);
      framed = true;
    }
    if (marker !== SOS) continue;
    if (!framed || body[0] !== channels || hasScan(data, at)) throw new AvatarError("a picture inside has more than one scan");
    return data;
  }
  throw new AvatarError("a picture inside has too many markers");
}

function hasScan(data, from) {
  for (let i = data.indexOf(0xff, from); i >= 0; i = data.indexOf(0xff, i + 1)) if (data[i + 1] === SOS) return true;
  return false;
}

const over = (data) => new DataView(data.buffer, data.byteOffset, data.byteLength);
const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
