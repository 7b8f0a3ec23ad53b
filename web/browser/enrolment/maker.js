// The page's side of maker-worker.js, with the network that tells people from their background.

import { EnrolmentError } from "./problems.js";
import { Segmenter } from "./segmenter.js";

/** Judges and keeps pictures, and makes avatars of them. Every answer is a promise. */
export class Maker {
  #segmenter = new Segmenter();
  #asked = new Map();
  #next = 0;
  #worker;

  constructor() {
    this.#worker = new Worker(new URL("maker-worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => (data.type === "masked" ? this.#mask(data.picture) : this.#answer(data));
    this.#worker.onerror = (event) => this.#fail(event.message || "what makes avatars cannot start");
  }

  /** Load what is heavy ahead of its use. */
  warmUp() { this.#segmenter.warmUp().catch((error) => console.info(`mattes: ${error.message}`)); }

  /** @param {ImageBitmap} bitmap  taken over @param {Blob} jpeg  the same @param {Float32Array[]} faces @returns {Promise<{hint: string|null}>} */
  see(bitmap, jpeg, faces) { return this.#ask("see", { bitmap, jpeg, faces }, [bitmap]); }

  /** Keep the picture seen last. @returns {Promise<{counts: Record<string, number>}>} */
  keep(step, progress, atUs) { return this.#ask("keep", { step, progress, atUs }); }

  drop(step) { return this.#ask("drop", { step }); }

  clear() { return this.#ask("clear"); }

  /** @returns {Promise<{data: Uint8Array, references: number, lacking: string[]}>} @throws {EnrolmentError} */
  make(name) { return this.#ask("make", { name }); }

  /** @param {ImageBitmap} bitmap  taken over @returns {Promise<{said: string[]}>} @throws {EnrolmentError} */
  photo(bitmap, face, name) { return this.#ask("photo", { bitmap, face, name }, [bitmap]); }

  /** @returns {Promise<{data: Uint8Array, references: number, lacking: string[], said: string[]}>} @throws {EnrolmentError} */
  photos(name) { return this.#ask("photos", { name }); }

  close() {
    this.#fail("closed");
    this.#segmenter.close();
  }

  async #mask(picture) {
    try {
      const mask = await this.#segmenter.see(picture);
      this.#worker.postMessage({ type: "mask", mask }, [mask.buffer]);
    } catch (error) {
      this.#worker.postMessage({ type: "mask", error: error.message });
    }
  }

  #ask(type, message = {}, transfer = []) {
    if (this.failed) return Promise.reject(new Error(this.failed));
    const id = this.#next++;
    this.#worker.postMessage({ id, type, ...message }, transfer);
    return new Promise((resolve, reject) => { this.#asked.set(id, { resolve, reject }); });
  }

  #answer({ id, error, ours, ...answer }) {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (error === undefined) asked?.resolve(answer);
    else asked?.reject(ours ? new EnrolmentError(error) : new Error(error));
  }

  #fail(reason) {
    this.failed = reason;
    this.#worker.terminate();
    for (const { reject } of this.#asked.values()) reject(new Error(reason));
    this.#asked.clear();
  }
}
