// An engine in this page: a worker draws, by WebAssembly, or by WebGPU where that is faster and draws the same. The twin of
// telepresence/runtime/engine.py.

import { sha256 } from "./sha256.js";

const VENDOR = new URL("../vendor/onnxruntime-web/dist/", import.meta.url);
const MOST_THREADS = 4;
const LOAD_MS = 60_000;
const TRIALS = 5; // pictures by which two ways are compared, after one that warms up
const GPU_MS = 20_000; // for all of that; a GPU that takes longer is none
const GAIN = 0.7; // of the other way's time: less is not worth the change
const ALIKE = 3; // of 255: mean difference between pictures of two ways

/**
 * @typedef {object} Prepared
 * @property {Float32Array} neutral  (478, 3) canonical
 * @property {{rotation: number[], translation: number[], scale: number}} rest  the avatar's own pose at rest
 * @property {string} name
 * @property {() => void} close  frees it
 */

/** A worker with the engine's graphs in it. */
class Drawer {
  #worker;
  #asked = new Map();
  #next = 0;

  constructor(way, threads) {
    this.way = way;
    this.threads = threads;
    this.#worker = new Worker(new URL("render-worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data: { id, error, ...answer } }) => {
      const asked = this.#asked.get(id);
      this.#asked.delete(id);
      if (error) asked?.reject(new Error(error));
      else asked?.resolve(answer);
    };
    this.#worker.onerror = (event) => this.#fail(event.message || "the worker that draws cannot start");
  }

  /** @param {string} type @param {object} [message] @param {number} [withinMs]  else it is given up for good; 0: for ever */
  ask(type, message = {}, withinMs = 0) {
    if (this.failed) return Promise.reject(new Error(this.failed));
    const id = this.#next++;
    this.#worker.postMessage({ id, type, ...message });
    return new Promise((resolve, reject) => {
      const timer = withinMs && setTimeout(() => this.#asked.has(id) && this.#fail(`${type}: no answer`), withinMs);
      const ended = (act) => (value) => { clearTimeout(timer); act(value); };
      this.#asked.set(id, { resolve: ended(resolve), reject: ended(reject) });
    });
  }

  close() {
    this.#fail("closed");
  }

  #fail(reason) {
    this.failed = reason;
    this.#worker.terminate();
    for (const { reject } of this.#asked.values()) reject(new Error(reason));
    this.#asked.clear();
  }
}

/** Make it with `createEngine`. */
class Engine {
  #drawer;
  #avatars = new Map(); // number -> {data, whole}
  #next = 0;

  constructor(drawer, size) {
    this.#drawer = drawer;
    this.size = size;
    /** What came of WebGPU, in a few words; for the console and for tests. */
    this.reason = "";
    /** Why it does not draw faster, for the user; empty: nothing is known to be in the way. */
    this.note = "";
  }

  /** What draws, in a few words. */
  get drawnBy() {
    const { way, threads } = this.#drawer;
    if (way === "webgpu") return "ONNX Runtime Web \u00b7 WebGPU";
    const why = [this.note, globalThis.crossOriginIsolated ? "" : "no more threads without HTTPS"].filter(Boolean).join(", ");
    return `ONNX Runtime Web \u00b7 WebAssembly, ${threads} thread${threads === 1 ? "" : "s"}${why && ` (${why})`}`;
  }

  /** Threads that it draws with. */
  get threads() { return this.#drawer.way === "wasm" ? this.#drawer.threads : null; }

  /**
   * Make an avatar ready to be drawn.
   * @param {Uint8Array} data  its file, or the beginning @param {{whole?: boolean}} [options]
   * @returns {Promise<Prepared|null>}  null: not enough of the file is there yet
   */
  async prepare(data, { whole = true } = {}) {
    const avatar = this.#next++;
    const drawer = this.#drawer;
    this.#avatars.set(avatar, { data, whole });
    try {
      const { more, name, neutral, rest } = await drawer.ask("prepare", { avatar, data, whole });
      if (more) this.#avatars.delete(avatar);
      if (drawer !== this.#drawer && !more) await this.#drawer.ask("prepare", { avatar, data, whole });
      return more ? null : { name, neutral, rest, avatar, close: () => this.#free(avatar) };
    } catch (error) {
      this.#avatars.delete(avatar);
      throw error;
    }
  }

  /** Draw one picture. @param {Prepared} prepared @param {Float32Array} keypoints  (478, 3) @returns {Promise<ImageData>} */
  async render({ avatar }, keypoints) {
    if (!keypoints.every(Number.isFinite)) throw new Error("keypoints that are not finite");
    const { rgba } = await this.#drawer.ask("render", { avatar, keypoints });
    return new ImageData(rgba, this.size, this.size);
  }

  close() {
    this.#drawer.close();
  }

  #free(avatar) {
    if (this.#avatars.delete(avatar)) this.#drawer.ask("free", { avatar }).catch(() => {});
  }

  /** Take another way of drawing, if it is faster and its pictures are the same. @param {() => Promise<Drawer>} make */
  async improve(make, sample) {
    let other = null;
    try {
      other = await make();
      const [mine, theirs] = [await trial(this.#drawer, sample), await trial(other, sample)];
      const apart = mine.rgba.reduce((sum, value, i) => sum + Math.abs(value - theirs.rgba[i]), 0) / mine.rgba.length;
      this.reason = `WebGPU ${theirs.ms.toFixed()} ms, WebAssembly ${mine.ms.toFixed()} ms a picture; they differ by ${apart.toFixed(2)} of 255`;
      if (theirs.ms > GAIN * mine.ms || apart > ALIKE) throw new Error("no gain");
      for (const [avatar, made] of this.#avatars) await other.ask("prepare", { avatar, ...made });
      const before = this.#drawer;
      this.#drawer = other;
      setTimeout(() => before.close(), LOAD_MS); // pictures of it may be under way
    } catch (error) {
      other?.close();
      this.reason ||= `no WebGPU: ${error.message}`;
      this.note = "WebGPU is no better here";
    }
    console.info(`drawing: ${this.drawnBy}. ${this.reason}`);
  }
}

/** Milliseconds a picture, and the last one. */
async function trial(drawer, { data, keypoints }) {
  const avatar = -1;
  await drawer.ask("prepare", { avatar, data, whole: false }, GPU_MS);
  const times = [];
  let rgba = null;
  for (let n = 0; n <= TRIALS; n++) {
    const began = performance.now();
    ({ rgba } = await drawer.ask("render", { avatar, keypoints }, GPU_MS));
    times.push(performance.now() - began);
  }
  await drawer.ask("free", { avatar });
  return { ms: times.slice(1).sort((a, b) => a - b)[TRIALS >> 1], rgba };
}

/**
 * Load an engine: its description, its graphs, a worker. Resolves when WebAssembly is ready; WebGPU is tried after that.
 * @param {{engines: string, name: string, size: number, sample?: string, gpu?: boolean, threads?: number}} config  engines: address of the
 *   folder; sample: that of an avatar to compare by, without which WebGPU is not tried; gpu: try it even on a slow one; threads: of WebAssembly
 * @returns {Promise<Engine>}
 */
export async function createEngine({ engines, name, size, sample = "", gpu = false, threads = threadsHere() }) {
  const folder = new URL(`${engines}${name}/`, location.href);
  const info = await (await fetched(new URL("engine.json", folder), "no-cache")).json();
  if (!info.sizes?.includes(size)) throw new Error(`engine ${name} has no size ${size}`);
  const [encode, render] = await Promise.all(["encode", "render"].map((kind) => graph(folder, info, `${kind}-${size}.onnx`)));
  const load = async (way, threads, withinMs) => {
    const drawer = new Drawer(way, threads);
    try {
      const message = { way, threads, vendor: VENDOR.href, graphs: { encode, render }, references: info.references, size };
      await drawer.ask("load", message, withinMs);
      return drawer;
    } catch (error) {
      drawer.close();
      throw error;
    }
  };
  const engine = new Engine(await load("wasm", threads, LOAD_MS), size);
  if (sample) tryGpu(engine, () => load("webgpu", 1, GPU_MS), sample, gpu);
  return engine;
}

/**
 * Without isolation from other pages there is no memory to share. One core is left for faces and for sound: two threads on
 * two busy cores wait for each other, and draw half as fast as one.
 */
function threadsHere() {
  if (!globalThis.crossOriginIsolated) return 1;
  return Math.max(1, Math.min(MOST_THREADS, (navigator.hardwareConcurrency ?? 2) - 1));
}

async function tryGpu(engine, make, sample, anyway) {
  try {
    const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
    const slow = adapter && (adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter ?? false);
    engine.reason = adapter ? "" : "no WebGPU here";
    if (slow) engine.reason = "WebGPU is done in software here";
    engine.note = engine.reason;
    if (!adapter || (slow && !anyway)) return;
    const data = new Uint8Array(await (await fetched(sample)).arrayBuffer());
    const { basis } = await import("../face/basis.js");
    await engine.improve(make, { data, keypoints: basis().mean.map((value) => value * 0.4) });
  } catch (error) {
    engine.reason = `no WebGPU: ${error.message}`;
    engine.note = "no WebGPU here";
  }
}

async function graph(folder, info, file) {
  const hash = info.files[file];
  const data = new Uint8Array(await (await fetched(new URL(`${file}?v=${hash}`, folder))).arrayBuffer());
  if ((await sha256(data)) !== hash) throw new Error(`${file} is damaged: its hash differs`);
  return data;
}

async function fetched(url, cache = "default") {
  const response = await fetch(url, { cache });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return response;
}
