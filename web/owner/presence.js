// Proof, on every connection, that a participant owns the avatar it is to be shown as: the twin of
// telepresence/avatar/presence.py and of rtc/presence_messages.py. docs/ownership.md has the bytes.

import { ProtocolError } from "../browser/rules.js";
import { sha256 } from "../browser/sha256.js";
import { hasSigned, signed } from "./keys.js";
import { bytesOf, fromHex, joined } from "./signature.js";

const DOMAIN = bytesOf("telepresence presence 1\0");
const BINDING = bytesOf("telepresence binding 1\0");
const FORGET = bytesOf("telepresence forget 1\0");
const DIGEST_BYTES = 32;
const MAX_ID_BYTES = 255;
const SIGNATURE_BYTES = 64;
const FINGERPRINT = /^a=fingerprint:sha-256 ([0-9a-f]{2}(?::[0-9a-f]{2}){31})\s*$/gim;

/**
 * @typedef {object} Moment  what a proof is valid for, and nothing else is
 * @property {Uint8Array} challenge  32 random bytes of the receiver's
 * @property {Uint8Array} digest  SHA-256 of the whole avatar file
 * @property {string} sender  the id of who is shown @property {string} receiver  of who looks
 * @property {number} session  the connection's number @property {Uint8Array} binding  the connection itself
 */

/** What is signed. @param {Moment} moment */
export function message({ challenge, digest, sender, receiver, session, binding: bound }) {
  if ([challenge, digest, bound].some(({ length }) => length !== DIGEST_BYTES)) throw new TypeError("a challenge, a digest and a binding have 32 bytes each");
  const ids = [sender, receiver].map(bytesOf);
  if (ids.some(({ length }) => length > MAX_ID_BYTES)) throw new TypeError(`a participant's id has at most ${MAX_ID_BYTES} bytes`);
  const number = new Uint8Array(8);
  new DataView(number.buffer).setBigUint64(0, BigInt(session));
  return joined([DOMAIN, challenge, digest, ...ids.flatMap((id) => [Uint8Array.of(id.length), id]), number, bound]);
}

/** A connection's binding, from the SHA-256 fingerprints of both ends' certificates. @returns {Promise<Uint8Array>} */
export async function binding(senderCertificate, receiverCertificate) {
  return fromHex(await sha256(joined([BINDING, senderCertificate, receiverCertificate])));
}

/** The sender's proof, 64 bytes. @param {Moment} moment @param {import("./keys.js").OwnKey} key */
export const prove = (moment, key) => signed(key, message(moment));

/** Whether `owner`, the public key in the avatar's file, has signed this moment. */
export const proves = (moment, owner, proof) => hasSigned(owner, proof, message(moment));

/** Whether the owner of an avatar has signed the wish that copies of it go. @param {string} file  SHA-256, hexadecimal */
export const wished = (owner, file, signature) => hasSigned(owner, signature, joined([FORGET, fromHex(file)]));

/** The wish that copies of one's own avatar go, 64 bytes. */
export const wish = (key, file) => signed(key, joined([FORGET, fromHex(file)]));

/** The SHA-256 fingerprint of a description's certificate, 32 bytes. @throws {ProtocolError} it has not exactly one */
export function certificateOf(sdp) {
  const found = new Set([...sdp.matchAll(FINGERPRINT)].map(([, one]) => one.replaceAll(":", "").toLowerCase()));
  if (found.size !== 1) throw new ProtocolError("a description without exactly one SHA-256 fingerprint");
  return fromHex([...found][0]);
}

/**
 * A description without fingerprints of other kinds, so that the browser holds the other side to exactly the certificate
 * that a proof is bound to. For every description that comes, before it is applied.
 * @throws {ProtocolError} it has not exactly one SHA-256 fingerprint
 */
export function onlySha256(sdp) {
  const kept = sdp.split("\n").filter((line) => !/^a=fingerprint:/i.test(line) || /^a=fingerprint:sha-256 /i.test(line)).join("\n");
  certificateOf(kept);
  return kept;
}

const HASH = /^[0-9a-f]{64}$/;

function base64(text, field, size) {
  let data = null;
  try {
    if (typeof text === "string" && text.length <= 2 * size) data = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  } catch {
    // not base64
  }
  if (data?.length !== size) throw new ProtocolError(`${field} is not ${size} bytes of base64`);
  return data;
}

const toBase64 = (bytes) => btoa(String.fromCharCode(...bytes));

function hash(value) {
  if (typeof value !== "string" || !HASH.test(value)) throw new ProtocolError("sha256");
  return value;
}

/** For the parsers of hello.js: fields of the message -> the message with bytes. @throws {ProtocolError} */
export const PARSERS = {
  challenge: (given) => ({ nonce: base64(given.nonce, "nonce", DIGEST_BYTES), sha256: hash(given.sha256) }),
  proof: (given) => ({ signature: base64(given.signature, "signature", SIGNATURE_BYTES), sha256: hash(given.sha256) }),
  forget: (given) => ({ signature: base64(given.signature, "signature", SIGNATURE_BYTES), sha256: hash(given.sha256) }),
};

/** A message with bytes -> as it goes over the control channel. */
export function fields(sent) {
  return Object.fromEntries(Object.entries(sent).map(([name, value]) => [name, value instanceof Uint8Array ? toBase64(value) : value]));
}
