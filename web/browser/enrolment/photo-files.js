// Files that somebody chose as photos: measured by their first bytes before anything decodes them, then read upright.

import { EnrolmentError } from "./problems.js";

export const MAX_PHOTOS = 20;
const MAX_PHOTO_BYTES = 24 * 1024 * 1024;
const MAX_ALL_BYTES = 160 * 1024 * 1024;
const HEAD_BYTES = 1024 * 1024; // a photo's size stands within them, behind what cameras write
const MAX_SIDE = 16384; // pixels
const MAX_PIXELS = 64 * 1024 * 1024;
const LARGE = 2560; // pixels of the longer side; more is scaled down before anything else
const GREY = "rgb(128, 128, 128)"; // that a transparent photo is laid over
const MAX_NAME = 60; // characters of a file's name, which messages mention
const NO_PHOTO = "not a photo that can be read; choose a JPEG, PNG or WebP file";

/** A user's file name as it reads well in a message. */
export const plainName = (name) => [...name.replace(/[^\p{L}\p{N}_ .()-]+/gu, "_")].slice(-MAX_NAME).join("").trim() || "photo";

/** Refuse a file by what is known of it before it is read. @param {File[]} before  those taken already @throws {EnrolmentError} */
export function checkFile(file, before) {
  if (file.size > MAX_PHOTO_BYTES) throw new EnrolmentError(`larger than ${MAX_PHOTO_BYTES >> 20} MiB; save it smaller, 2000 pixels are plenty`);
  if (before.length >= MAX_PHOTOS || before.reduce((sum, { size }) => sum + size, file.size) > MAX_ALL_BYTES) {
    throw new EnrolmentError(`more than ${MAX_PHOTOS} photos, or ${MAX_ALL_BYTES >> 20} MiB together; choose fewer`);
  }
}

/**
 * A photo, upright by its EXIF orientation, transparency over grey, at most LARGE pixels a side.
 * @param {Blob} file @returns {Promise<OffscreenCanvas>} @throws {EnrolmentError} it cannot be read
 */
export async function readPhoto(file) {
  let head;
  try {
    head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
  } catch {
    throw new EnrolmentError("cannot be read; is it still where it was?");
  }
  const size = photoSize(head);
  if (!size) throw new EnrolmentError(NO_PHOTO);
  if (!size.width || !size.height || Math.max(size.width, size.height) > MAX_SIDE || size.width * size.height > MAX_PIXELS) {
    throw new EnrolmentError(`${size.width} x ${size.height} pixels; at most ${MAX_PIXELS >> 20} million are read: save it smaller`);
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new EnrolmentError("the photo is damaged; copy it again or save it anew");
  }
  return overGrey(bitmap);
}

function overGrey(bitmap) {
  const scale = Math.min(1, LARGE / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale)));
  const context = canvas.getContext("2d", { alpha: false });
  context.fillStyle = GREY;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas;
}

/** Width and height as a file's first bytes tell; null: it is no JPEG, PNG or WebP. @param {Uint8Array} head */
export function photoSize(head) {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const text = (at, count) => String.fromCharCode(...head.subarray(at, at + count));
  try {
    if (head[0] === 0xff && head[1] === 0xd8 && head[2] === 0xff) return jpegSize(view);
    if (text(0, 8) === "\x89PNG\r\n\x1a\n" && text(12, 4) === "IHDR") return { width: view.getUint32(16), height: view.getUint32(20) };
    if (text(0, 4) === "RIFF" && text(8, 4) === "WEBP") return webpSize(view, text(12, 4));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // cut short
  }
  return null;
}

/** Of the first frame header (ITU-T T.81, B.2.2). @param {DataView} view */
function jpegSize(view) {
  for (let at = 2; ;) {
    if (view.getUint8(at) !== 0xff) return null;
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at += 1; // padding
      continue;
    }
    const frame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (frame) return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
    const length = view.getUint16(at + 2);
    if (marker === 0xda || length < 2) return null;
    at += 2 + length;
  }
}

/** RFC 9649. @param {DataView} view */
function webpSize(view, kind) {
  if (kind === "VP8X") return { width: 1 + threeBytes(view, 24), height: 1 + threeBytes(view, 27) };
  if (kind === "VP8 ") return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
  if (kind !== "VP8L") return null;
  const bits = view.getUint32(21, true);
  return { width: 1 + (bits & 0x3fff), height: 1 + ((bits >>> 14) & 0x3fff) };
}

const threeBytes = (view, at) => view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
