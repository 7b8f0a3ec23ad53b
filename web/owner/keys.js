// The owner's key pair in this browser: made in the page, never extractable, kept in IndexedDB. Ed25519 (RFC 8032), as in
// telepresence/avatar/owner_key.py; docs/ownership.md.

import { asking } from "./database.js";

const NAME = "telepresence-owner";
const KEY = "owner";
const ALGORITHM = "Ed25519";

/** Something about an owner, its key or its avatar is not right; the message is for people. */
export class OwnerError extends Error {}

/**
 * @typedef {object} OwnKey
 * @property {CryptoKey} privateKey  signs, and cannot be read out
 * @property {CryptoKey} publicKey
 * @property {Uint8Array} bytes  the public key, 32 bytes: the section `owner`
 * @property {boolean} kept  false: only for as long as this page is open
 */

/** Whether this browser can sign and check: WebCrypto with Ed25519, on a page that came by HTTPS or from this machine. */
export async function supported() {
  try {
    await globalThis.crypto.subtle.importKey("raw", new Uint8Array(32).fill(1), ALGORITHM, true, ["verify"]);
    return true;
  } catch {
    return false;
  }
}

let present = null; // of this page: where nothing can be kept, it is not another one at every call

/** The key of this browser; null if none was made yet. @returns {Promise<OwnKey|null>} @throws {OwnerError} it is damaged */
export async function findKey() {
  if (present) return present;
  let found;
  try {
    found = await asking(NAME, "readonly", (all) => all.get(KEY));
  } catch {
    return null; // IndexedDB may not be used here
  }
  if (!found) return null;
  const { privateKey, publicKey } = found;
  if (!(privateKey instanceof CryptoKey) || privateKey.algorithm.name !== ALGORITHM || !(publicKey instanceof CryptoKey)) {
    throw new OwnerError("Your key in this browser is damaged. Delete this site's data to begin anew: avatars signed with it have to be enrolled again.");
  }
  present = await described(found, true);
  return present;
}

/** The same, made now if there is none. @returns {Promise<OwnKey>} @throws {OwnerError} it cannot be made here */
export async function ownKey() {
  const found = await findKey();
  if (found) return found;
  if (!(await supported())) throw new OwnerError(`This browser cannot sign avatars. ${NEEDED}`);
  const pair = await crypto.subtle.generateKey(ALGORITHM, false, ["sign", "verify"]);
  let kept = true;
  try {
    await asking(NAME, "readwrite", (all) => all.add({ privateKey: pair.privateKey, publicKey: pair.publicKey }, KEY));
  } catch (error) {
    if (error?.name === "ConstraintError") { // another tab was first
      const first = await findKey();
      if (first) return first;
    }
    kept = false;
  }
  present = await described(pair, kept);
  return present;
}

/** Delete the key for good: what it has signed cannot be shown any more. */
export async function forgetKey() {
  present = null;
  await asking(NAME, "readwrite", (all) => all.delete(KEY));
}

/** What to say where `supported` is false. */
export const NEEDED = "It needs a page that came by HTTPS or from this machine, and a browser of 2025 or later.";

async function described({ privateKey, publicKey }, kept) {
  const bytes = new Uint8Array(await crypto.subtle.exportKey("raw", publicKey));
  return { privateKey, publicKey, bytes, kept };
}

/** Sign with a key of `ownKey`. @returns {Promise<Uint8Array>} 64 bytes */
export async function signed(key, message) {
  return new Uint8Array(await crypto.subtle.sign(ALGORITHM, key.privateKey, message));
}

/** Whether the owner of a public key, 32 bytes, has signed this. @throws {OwnerError} that cannot be found out here */
export async function hasSigned(owner, signature, message) {
  if (owner.length !== 32 || signature.length !== 64) return false;
  let key;
  try {
    key = await crypto.subtle.importKey("raw", owner, ALGORITHM, true, ["verify"]);
  } catch {
    if (await supported()) return false; // it is no key
    throw new OwnerError(`This browser cannot check whose an avatar is, so it is not shown. ${NEEDED}`);
  }
  return crypto.subtle.verify(ALGORITHM, key, signature, message);
}
