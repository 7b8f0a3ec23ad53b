// Camera pictures -> face landmarks, in a worker; where that does not work, in the page itself. One picture at a time: while
// one is looked at the others pass by, so the newest is always next.

import { N_LANDMARKS } from "../face/basis.js";
import { nowUs } from "./rules.js";

const VENDOR = new URL("../vendor/@mediapipe/face_mesh/", import.meta.url);
const READY_MS = 30_000;
const SEEN_MS = 10_000; // for one picture: longer is a worker that hangs
const MOST_SIDE = 640; // of a picture that is looked at: landmarks are found in 192 x 192 of the face anyway
const TICK_MS = 33; // while the page is hidden, and browsers call for no pictures
const LATEST_US = 500_000; // a picture captured longer ago is one whose time is wrong

/** Where faces are found: a worker's messages as promises. */
class InWorker {
  where = "worker";

  async load() {
    this.worker = new Worker(new URL("landmarks-worker.js", import.meta.url));
    this.worker.onmessage = ({ data }) => this.answer?.(data);
    this.worker.onerror = (event) => this.answer?.({ type: "failed", reason: event.message || "it cannot start" });
    await this.#ask({ type: "load", vendor: VENDOR.href }, [], READY_MS);
  }

  /** @param {HTMLVideoElement} video @param {{width: number, height: number}} size */
  async see(video, { width, height }) {
    const picture = await createImageBitmap(video, { resizeWidth: width, resizeHeight: height, resizeQuality: "low" });
    return (await this.#ask({ type: "see", picture }, [picture], SEEN_MS)).points;
  }

  close() {
    this.worker?.terminate();
    this.answer?.({ type: "failed", reason: "closed" });
  }

  #ask(message, transfer, withinMs) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("no answer from the worker")), withinMs);
      this.answer = (data) => {
        clearTimeout(timer);
        if (data.type === "failed") reject(new Error(data.reason));
        else resolve(data);
      };
      this.worker.postMessage(message, transfer);
    });
  }
}

/** The same on the page's own thread: the last resort, since it holds everything else up. */
class InPage {
  where = "page";

  async load() {
    if (!globalThis.FaceMesh) await script(`${VENDOR.href}face_mesh.js`);
    this.mesh = new globalThis.FaceMesh({ locateFile: (file) => VENDOR.href + file });
    this.mesh.setOptions({ maxNumFaces: 1, refineLandmarks: true, minDetectionConfidence: 0.5, minTrackingConfidence: 0.5 });
    this.mesh.onResults(({ multiFaceLandmarks }) => { this.found = multiFaceLandmarks?.[0] ?? null; });
    await this.mesh.initialize();
  }

  async see(video, { width, height }) {
    this.found = null;
    await this.mesh.send({ image: video });
    if (!this.found) return null;
    return Float32Array.from(this.found.flatMap(({ x, y, z }) => [x * width, y * height, z * width]));
  }

}

/** @type {Promise<Finder>|null} */
let ready = null;

/**
 * Load MediaPipe and show it a picture of nobody. The first one holds the page up for seconds, long enough for the others to
 * give its connections up: do it before the call.
 * @returns {Promise<Finder>}  one for the page's life
 */
export function warmUp() {
  ready ??= (async () => {
    const finder = new Finder();
    await finder.load();
    const nobody = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
    nobody.getContext("2d").fillRect(0, 0, 64, 64);
    await finder.mesh.send({ image: nobody });
    return finder;
  })();
  ready.catch(() => { ready = null; });
  return ready;
}

/** Follows one video's face until it is closed. */
export class Landmarks {
  #busy = false;
  #closed = false;
  #finder = null;

  /**
   * @param {{video: HTMLVideoElement,
   *   onLandmarks: (points: Float32Array, about: {width: number, height: number, captureUs: number, tookMs: number}) => void,
   *   onNone: () => void, onError: (error: Error) => void, inWorker?: boolean}} options  points: (478, 3) in pixels of a
   *   picture of that width and height; captureUs: on the clock of performance.now()
   */
  constructor(options) {
    this.options = { inWorker: true, ...options };
    this.video = options.video;
  }

  /** Where faces are found: "worker" or "page"; empty before. */
  get where() { return this.#finder?.where ?? ""; }

  /** Load, then look at every picture that there is time for. */
  async start() {
    for (const Finder of this.options.inWorker ? [InWorker, InPage] : [InPage]) {
      const finder = new Finder();
      try {
        await finder.load();
        if (this.#closed) return void finder.close();
        this.#finder = finder;
        return void this.#wait();
      } catch (error) {
        finder.close();
        if (this.#closed) return;
        console.info(`landmarks in a ${finder.where}: ${error.message}`);
        if (Finder === InPage) throw error;
      }
    }
  }

  close() {
    this.#closed = true;
    clearTimeout(this.timer);
  }

  #wait() {
    if (this.#closed) return;
    let asked = false;
    const look = (now, about) => {
      if (asked) return;
      asked = true;
      clearTimeout(this.timer);
      this.#look(about);
    };
    this.video.requestVideoFrameCallback?.(look);
    const still = this.video.requestVideoFrameCallback && !document.hidden ? 10 * TICK_MS : TICK_MS;
    this.timer = setTimeout(look, still, 0, null);
  }

  async #look(about) {
    const { video } = this;
    if (this.#busy || this.#closed) return;
    if (!video.videoWidth || video.readyState < 2) return void this.#wait();
    this.#busy = true;
    const began = nowUs();
    const captureUs = captured(about, began);
    const size = within(video.videoWidth, video.videoHeight);
    try {
      const points = await this.#finder.see(video, size);
      if (this.#closed) return;
      const good = points?.length === 3 * N_LANDMARKS && points.every(Number.isFinite);
      if (good) this.options.onLandmarks(points, { ...size, captureUs, tookMs: (nowUs() - began) / 1000 });
      else this.options.onNone();
    } catch (error) {
      if (!this.#closed) await this.#fail(error);
    } finally {
      this.#busy = false;
    }
    this.#wait();
  }

  /** A worker that fails in the middle of a call gives way to the page itself. */
  async #fail(error) {
    const { where } = this.#finder;
    this.#finder.close();
    console.info(`landmarks in a ${where}: ${error.message}`);
    this.options.inWorker = false;
    try {
      if (where === "page") throw error;
      const finder = new InPage();
      await finder.load();
      this.#finder = finder;
    } catch (problem) {
      this.close();
      this.options.onError(problem);
    }
  }
}

/** When a picture was captured, as far as the browser tells. */
function captured(about, beganUs) {
  const told = about?.captureTime ? Math.round(about.captureTime * 1000) : beganUs;
  return told > beganUs || told < beganUs - LATEST_US ? beganUs : told;
}

function within(width, height) {
  const scale = Math.min(1, MOST_SIDE / Math.max(width, height));
  return { width: Math.round(width * scale), height: Math.round(height * scale) };
}

function script(url) {
  return new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.onload = resolve;
    element.onerror = () => reject(new Error(`${url} cannot be loaded`));
    element.src = url;
    element.crossOrigin = "anonymous";
    document.head.append(element);
  });
}
