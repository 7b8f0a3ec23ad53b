// A file that somebody wants to be shown as in this browser: theirs by this browser's key, or it becomes so.

import { hex } from "../browser/sha256.js";
import { OwnerError, findKey, ownKey } from "./keys.js";
import { fingerprint, signAvatar, verifyAvatar } from "./signature.js";
import { readTable } from "../face/avatar-file.js";

/**
 * What to offer for a file, and the key that proves it. One that nobody has signed is signed here, as made from photos:
 * how it was made nobody knows.
 * @param {Uint8Array} data  a whole file
 * @returns {Promise<{data: Uint8Array, key: import("./keys.js").OwnKey|null, label: string}>}  key: null for a sample
 * @throws {OwnerError|import("../face/avatar-file.js").AvatarError} somebody else's, damaged, or it cannot be signed here
 */
export async function asOurs(data) {
  const unsigned = readTable(data)?.every(({ name }) => name !== "owner" && name !== "signature");
  const sample = unsigned && (await verifyAvatar(data).catch(() => null));
  if (sample) return { data, key: null, label: sample.label };
  if (unsigned) {
    const key = await ownKey();
    return { data: await signAvatar(data, key, "photos"), key, label: "photo avatar" };
  }
  const ownership = await verifyAvatar(data);
  if (ownership === null) throw new OwnerError("The avatar is cut short.");
  if (ownership.free) return { data, key: null, label: ownership.label };
  const key = await findKey();
  if (key && hex(key.bytes) === hex(ownership.owner)) return { data, key, label: ownership.label };
  throw new OwnerError(
    `This avatar belongs to another key (${fingerprint(ownership.owner)}), so nobody would be shown it from here. `
    + "Enrol in this browser, or take part with telepresence join on the machine where it was made.",
  );
}
