// Asks the worker that tells people from what is behind them; made when it is needed, and once.

const VENDOR = new URL("../../vendor/@mediapipe/selfie_segmentation/", import.meta.url);
const READY_MS = 60_000;
const SEEN_MS = 20_000; // for one picture

/** One at a time. */
export class Segmenter {
  #worker = null;
  #answer = null;
  #ready = null;
  #turn = Promise.resolve();

  /** Load, ahead of the first picture: it takes a second. */
  warmUp() {
    this.#ready ??= this.#load();
    this.#ready.catch(() => { this.close(); });
    return this.#ready;
  }

  /**
   * @param {import("./pixels.js").Picture} picture  three channels
   * @returns {Promise<Uint8Array>} (H, W), 255: surely a person
   * @throws {Error} this browser cannot
   */
  see(picture) {
    const look = async () => {
      await this.warmUp();
      const bitmap = await createImageBitmap(imageOf(picture));
      return (await this.#ask({ type: "see", picture: bitmap }, [bitmap], SEEN_MS)).mask;
    };
    this.#turn = this.#turn.then(look, look);
    return this.#turn;
  }

  close() {
    this.#worker?.terminate();
    this.#answer?.({ type: "failed", reason: "closed" });
    this.#worker = this.#ready = null;
  }

  async #load() {
    this.#worker = new Worker(new URL("segmenter-worker.js", import.meta.url));
    this.#worker.onmessage = ({ data }) => this.#answer?.(data);
    this.#worker.onerror = (event) => this.#answer?.({ type: "failed", reason: event.message || "it cannot start" });
    await this.#ask({ type: "load", vendor: VENDOR.href }, [], READY_MS);
  }

  #ask(message, transfer, withinMs) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("no answer from what tells people from their background")), withinMs);
      this.#answer = (data) => {
        clearTimeout(timer);
        this.#answer = null;
        if (data.type === "failed") reject(new Error(data.reason));
        else resolve(data);
      };
      this.#worker.postMessage(message, transfer);
    });
  }
}

/** For a canvas. @param {import("./pixels.js").Picture} picture @returns {ImageData} */
export function imageOf({ data, width, height, channels }) {
  const out = new ImageData(width, height);
  for (let i = 0, at = 0; at < out.data.length; i += channels, at += 4) {
    out.data[at] = data[i];
    out.data[at + 1] = data[i + 1];
    out.data[at + 2] = data[i + 2];
    out.data[at + 3] = 255;
  }
  return out;
}
