// Avatars of one's own that were deleted in this browser: the newest of these tombstones go to everybody who is met, so that
// their copies go, too. The twin of telepresence/avatar/deletion.py; docs/ownership.md, "Deleting".

import { sha256 } from "../browser/sha256.js";
import { asking } from "./database.js";
import { wish } from "./presence.js";

const NAME = "telepresence-deleted";
const MOST_KEPT = 64;
const MOST_TOLD = 8; // on a connection

/** Keep a tombstone for a file. @param {Uint8Array} data  the file @param {import("./keys.js").OwnKey} key  that signed it */
export async function noteDeleted(data, key) {
  const hash = await sha256(data);
  const signature = await wish(key, hash);
  try {
    await asking(NAME, "readwrite", (all) => all.put({ sha256: hash, signature, atMs: Date.now() }, hash));
    for (const { sha256: old } of (await tombstones()).slice(MOST_KEPT)) await asking(NAME, "readwrite", (all) => all.delete(old));
  } catch (error) {
    console.info(`nobody will be asked to delete their copy: ${error.message}`); // IndexedDB may not be used here
  }
}

/** What to ask whoever is met for: {sha256, signature} of each, newest first. */
export async function wishes() {
  const all = await tombstones().catch(() => []);
  return all.slice(0, MOST_TOLD).map(({ sha256: hash, signature }) => ({ sha256: hash, signature }));
}

async function tombstones() {
  return (await asking(NAME, "readonly", (all) => all.getAll())).sort((a, b) => b.atMs - a.atMs);
}
