// One's own avatar in a page by itself: the file chosen here before, or now, else the sample.

import { CallError } from "../call/call.js";
import { readAvatar } from "../face/avatar-file.js";
import { asOurs } from "../owner/own.js";
import { MAX_AVATAR_BYTES, offerOf } from "./transfer.js";

const MAGIC = [0x89, 0x41, 0x56, 0x41, 0x54, 0x41, 0x52, 0x0a]; // docs/avatar-format.md

/** Events: "change", when `ours` is another one. */
export class Wardrobe extends EventTarget {
  /** @type {import("./peer.js").Ours}  what everybody is told */
  ours = { avatar: null, offer: null, key: null };
  /** Name of the file that was chosen; empty for the sample. */
  name = "";
  #epoch = 0;

  /** @param {{store: import("./store.js").Store, sample: string, engine: () => Promise<object>}} options */
  constructor(options) {
    super();
    this.options = options;
  }

  /** Be somebody, before entering. @throws {Error} the sample cannot be had */
  async choose() {
    if (this.ours.avatar) return;
    const kept = await this.options.store.own();
    try {
      if (kept) return void await this.#wear(kept);
    } catch (error) {
      console.info(`the avatar chosen before cannot be shown any more: ${error.message}`); // its key is gone
    }
    const response = await fetch(this.options.sample);
    if (!response.ok) throw new Error(`the sample avatar: ${response.status}`);
    await this.#wear({ name: "", data: new Uint8Array(await response.arrayBuffer()) });
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
    await this.options.store.setOwn({ name: file.name, data: ours.data });
    this.#epoch = (this.#epoch + 1) & 255;
    await this.#wear({ name: file.name, data: ours.data });
  }

  /** Our avatar's own shape, (478, 3) canonical. @throws {Error} its file is damaged */
  async neutral() { return (await readAvatar(this.ours.avatar, true)).neutral; }

  async #wear({ name, data }) {
    const { key } = await asOurs(data);
    this.name = name;
    this.ours = { avatar: data, offer: await offerOf(data, this.#epoch), key };
    this.dispatchEvent(new Event("change"));
  }
}
