// One's own avatar in a page by itself: the one made here, or the file chosen here, before or now; else the sample.

import { CallError } from "../call/call.js";
import { readAvatar } from "../face/avatar-file.js";
import { noteDeleted, wishes } from "../owner/deleted.js";
import { findKey, ownKey } from "../owner/keys.js";
import { asOurs } from "../owner/own.js";
import { signAvatar } from "../owner/signature.js";
import { MAX_AVATAR_BYTES, offerOf } from "./transfer.js";

const MADE_HERE = "Made in this browser"; // in place of a file's name; those end in .avatar
const MAGIC = [0x89, 0x41, 0x56, 0x41, 0x54, 0x41, 0x52, 0x0a]; // docs/avatar-format.md

/** Events: "change", when `ours` is another one. */
export class Wardrobe extends EventTarget {
  /** @type {import("./peer.js").Ours}  what everybody is told */
  ours = { avatar: null, offer: null, key: null, deleted: [] };
  /** Name of the file that was chosen, or that it was made here; empty for the sample. */
  name = "";
  /** Whether there is one that was made here, be it worn or not. */
  kept = false;
  #epoch = 0;

  /** @param {{store: import("./store.js").Store, sample: string, engine: () => Promise<object>}} options */
  constructor(options) {
    super();
    this.options = options;
  }

  /** Whether what is worn was made in this browser. */
  get made() { return this.name === MADE_HERE; }

  /** Be somebody, before entering. @throws {Error} the sample cannot be had */
  async choose() {
    if (this.ours.avatar) return;
    this.ours.deleted = await wishes();
    this.kept = Boolean(await this.options.store.made());
    const kept = await this.options.store.own();
    try {
      if (kept) return void await this.#wear(kept);
    } catch (error) {
      console.info(`the avatar chosen before cannot be shown any more: ${error.message}`); // its key is gone
    }
    await this.#wear(await this.#sample());
  }

  /** Be the avatar in this file from now on, also the next time. @param {File} file @throws {CallError} it cannot be used */
  async take(file) {
    if (file.size > MAX_AVATAR_BYTES) throw new CallError("unsupported", "This file is too large for an avatar: 8 MB at most.");
    const data = new Uint8Array(await file.arrayBuffer());
    if (MAGIC.some((byte, n) => data[n] !== byte)) {
      throw new CallError("unsupported", "This file is not an avatar. telepresence enrol makes one from photos.");
    }
    try {
      (await (await this.options.engine()).prepare(data)).close();
    } catch (error) {
      throw new CallError("unsupported", `This avatar cannot be used: ${error.message}`);
    }
    let ours;
    try {
      ours = await asOurs(data);
    } catch (error) {
      throw new CallError("unsupported", error.message);
    }
    await this.#change({ name: file.name, data: ours.data });
  }

  /**
   * Be what was made in this page from now on, also the next time.
   * @param {Uint8Array} data  not signed yet @param {"live"|"video"|"photos"} how
   * @throws {Error} it cannot be signed; whatever was worn before stays
   */
  async keep(data, how) {
    const made = { name: MADE_HERE, data: await signAvatar(data, await ownKey(), how) };
    await this.options.store.setMade(made);
    this.kept = true;
    await this.#change(made);
  }

  /** Be what was made here before, after a file. */
  async wearMade() {
    const made = await this.options.store.made();
    if (made) await this.#change(made);
  }

  /** Delete what was made here, and be the sample if that was worn; who is met again is asked to delete their copy. */
  async forget() {
    const { store } = this.options;
    const made = await store.made();
    const sample = this.made && await this.#sample(); // without it nothing is deleted: we would go on as what is gone
    const key = await findKey();
    if (made && key) await noteDeleted(made.data, key);
    await store.setMade(null);
    this.kept = false;
    this.ours.deleted = await wishes();
    if (!sample) return void this.dispatchEvent(new Event("change"));
    await store.setOwn(null);
    this.#epoch = (this.#epoch + 1) & 255;
    await this.#wear(sample);
  }

  /** Our avatar's own shape, (478, 3) canonical. @throws {Error} its file is damaged */
  async neutral() { return (await readAvatar(this.ours.avatar, true)).neutral; }

  async #sample() {
    const response = await fetch(this.options.sample);
    if (!response.ok) throw new Error(`the sample avatar: ${response.status}`);
    return { name: "", data: new Uint8Array(await response.arrayBuffer()) };
  }

  async #change(chosen) {
    await this.options.store.setOwn(chosen);
    this.#epoch = (this.#epoch + 1) & 255;
    await this.#wear(chosen);
  }

  async #wear({ name, data }) {
    const { key } = await asOurs(data);
    const offer = await offerOf(data, this.#epoch);
    this.name = name;
    this.ours = { avatar: data, offer, key, deleted: this.ours.deleted };
    this.dispatchEvent(new Event("change"));
  }
}
