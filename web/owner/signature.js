// Whose an avatar file is: the twin of telepresence/avatar/owner.py. docs/avatar-format.md has the bytes.

import { AvatarError, content, readTable } from "../face/avatar-file.js";
import { hex, sha256 } from "../browser/sha256.js";
import { OwnerError, hasSigned, signed } from "./keys.js";

const MADE = ["live", "photos", "video", "sample"];
const DOMAIN = bytesOf("telepresence avatar 1\0");
const FIRST = ["meta", "neutral", "reference/0", "background"];
const MAGIC = [0x89, 0x41, 0x56, 0x41, 0x54, 0x41, 0x52, 0x0a];
const HEAD_BYTES = 20, ENTRY_BYTES = 37;
const MAX_FILE_BYTES = 8 * 1024 * 1024;
const WRONG = "The avatar's signature is wrong: it was changed after its owner signed it, or never signed by them.";
const UNSIGNED = "Its owner can sign it: telepresence avatar sign FILE.";

/** SHA-256 of header and table of every sample that was ever shipped: free for all without a signature. */
export const SAMPLES = new Set([
  "32665900e63be9a71e0621c0ee194749010780163a7696ce9f022cdc068b29c6",
  "45e4799ab8485af9f7994287e6d3e9b2bbbb13f97db5d11bc7d34f629629141e",
]);

/**
 * @typedef {object} Ownership
 * @property {Uint8Array|null} owner  the public key that signed it; null for a sample
 * @property {string|null} made  "live", "photos", "video", "sample", or null: the file does not say
 * @property {boolean} free  anybody may be shown as it
 * @property {"avatar"|"photo avatar"|"sample avatar"} label  what everybody is shown
 */

/**
 * A file, or its beginning -> whose it is; null until enough of it is there.
 * @param {Uint8Array} data @returns {Promise<Ownership|null>}
 * @throws {AvatarError|OwnerError} damaged, signed wrongly, unsigned and no sample; or it cannot be found out here
 */
export async function verifyAvatar(data) {
  const table = readTable(data);
  if (table === null) return null;
  const rows = new Map(table.map((row) => [row.name, row]));
  if (rows.has("owner") !== rows.has("signature")) throw new OwnerError(`The avatar has an owner or a signature, and lacks the other. ${UNSIGNED}`);
  const needed = rows.has("owner") ? ["meta", "owner", "signature"] : ["meta"];
  if (needed.some((name) => data.length < rows.get(name).end)) return null;
  const meta = readMeta(await content(data, rows.get("meta")));
  const free = meta.free_for_all === true;
  if (!rows.has("owner")) {
    if (!free) throw new OwnerError(`The avatar is not signed, so nobody can tell whose it is. ${UNSIGNED}`);
    if (!SAMPLES.has(await sha256(data.subarray(0, table[0].start)))) {
      throw new OwnerError(`The avatar says that it is free for all, but nobody signed that. ${UNSIGNED}`);
    }
    return { owner: null, made: null, free, label: labelOf(free, null) };
  }
  const owner = (await content(data, rows.get("owner"))).slice();
  if (!(await hasSigned(owner, await content(data, rows.get("signature")), covered(table)))) throw new OwnerError(WRONG);
  const made = MADE.includes(meta.made) ? meta.made : null;
  return { owner, made, free, label: labelOf(free, made) };
}

/**
 * A file -> the same, signed; an earlier signature of one's own goes. Pictures are not encoded again.
 * @param {Uint8Array} data @param {import("./keys.js").OwnKey} key
 * @param {"live"|"photos"|"video"} [made]  how it was enrolled; left out: as the file says
 * @returns {Promise<Uint8Array>}
 * @throws {AvatarError|OwnerError} damaged, another's, or too large
 */
export async function signAvatar(data, key, made = undefined) {
  const table = readTable(data);
  if (!table || data.length !== table.at(-1).end) throw new AvatarError("the avatar file is cut short, or something follows its end");
  const sections = new Map();
  for (const row of table) sections.set(row.name, await content(data, row));
  const earlier = sections.get("owner");
  if (earlier && hex(earlier) !== hex(key.bytes)) throw new OwnerError("The avatar belongs to another key; only its owner can sign it again.");
  sections.delete("owner");
  sections.delete("signature");
  if (made !== undefined) {
    if (!MADE.includes(made)) throw new TypeError(`made is one of ${MADE}, not ${made}`);
    sections.set("meta", writeMeta({ ...readMeta(sections.get("meta")), made }));
  }
  // Next to what is shown first, so that its owner is known before the rest has come.
  const later = [...sections].filter(([name]) => !FIRST.includes(name));
  const begin = [...FIRST.map((name) => [name, sections.get(name)]), ["owner", key.bytes]];
  const blank = await writeSections([...begin, ["signature", new Uint8Array(64)], ...later]);
  const signature = await signed(key, covered(readTable(blank)));
  return writeSections([...begin, ["signature", signature], ...later]);
}

/** A public key for people to compare: 8 groups of 4 hexadecimal digits, the first half of the key. */
export const fingerprint = (owner) => hex(owner).slice(0, 32).match(/.{4}/g).join(" ");

function labelOf(free, made) {
  if (free) return "sample avatar";
  return made === "live" ? "avatar" : "photo avatar";
}

/** What a signature covers: every row but its own, as in the file. */
function covered(table) {
  const rows = table.filter(({ name }) => name !== "signature").flatMap(({ name, start, end, hash }) => {
    const size = new Uint8Array(4);
    new DataView(size.buffer).setUint32(0, end - start);
    return [Uint8Array.of(name.length), hash, size, bytesOf(name)];
  });
  return joined([DOMAIN, ...rows]);
}

/** Named sections, in their order -> file. @param {[string, Uint8Array][]} sections @throws {AvatarError} */
export async function writeSections(sections) {
  const entries = [];
  for (const [name, body] of sections) {
    const entry = new Uint8Array(ENTRY_BYTES + name.length);
    entry[0] = name.length;
    entry.set(fromHex(await sha256(body)), 1);
    new DataView(entry.buffer).setUint32(33, body.length);
    entry.set(bytesOf(name), ENTRY_BYTES);
    entries.push(entry);
  }
  const table = joined(entries);
  const size = HEAD_BYTES + table.length + sections.reduce((sum, [, body]) => sum + body.length, 0);
  if (size > MAX_FILE_BYTES) throw new AvatarError(`${size} bytes; an avatar has at most ${MAX_FILE_BYTES}`);
  const head = new Uint8Array(HEAD_BYTES);
  head.set(MAGIC);
  const view = new DataView(head.buffer);
  view.setUint16(8, 1);
  view.setUint16(10, sections.length);
  view.setUint32(12, table.length);
  view.setUint32(16, size);
  const data = joined([head, table, ...sections.map(([, body]) => body)]);
  readTable(data); // holds the writer to the reader's rules
  return data;
}

function readMeta(raw) {
  let meta = null;
  try {
    meta = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(raw));
  } catch {
    // as if it were something else than an object
  }
  if (meta === null || typeof meta !== "object" || Array.isArray(meta)) throw new AvatarError("the avatar's meta section is not a JSON object");
  return meta;
}

/** With sorted keys and without spaces, as the Python writes it. */
function writeMeta(meta) {
  return bytesOf(JSON.stringify(Object.fromEntries(Object.keys(meta).sort().map((key) => [key, meta[key]]))));
}

export function bytesOf(text) { return new TextEncoder().encode(text); }

export function joined(parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export const fromHex = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
