// Camera pictures -> face landmarks, in a worker; where that does not work, in the page itself. One picture at a time: while
// one is looked at the others pass by, so the newest is always next.
//
// For single pictures, such as photos of which an avatar is to be made: landmarksOf.

import { N_LANDMARKS } from "../face/basis.js";
import { FaceMesh } from "./face-mesh.js";
import { nowUs } from "./rules.js";

const VENDOR = new URL("../vendor/@mediapipe/face_mesh/", import.meta.url);
const READY_MS = 60_000;
const SEEN_MS = 15_000; // for one picture: longer is a worker that hangs
const MOST_SIDE = 640; // of a picture that is looked at: landmarks are found in 192 x 192 of the face anyway
const STILL_SIDE = 1280;
const STILL_FACES = 4; // searched for in a still, so that the largest can be taken
const TICK_MS = 33; // while the page is hidden, and browsers call for no pictures
const SLOW_MS = 60; // between two looks where the processor finds faces: it has to draw as well
const LATEST_US = 500_000; // a picture captured longer ago is one whose time is wrong

/** Where faces are found: a worker's messages as promises. */
class InWorker {
  where = "worker";

  async load(faces) {
    this.worker = new Worker(new URL("landmarks-worker.js", import.meta.url));
    this.worker.onmessage = ({ data }) => this.answer?.(data);
    this.worker.onerror = (event) => this.answer?.({ type: "failed", reason: event.message || "it cannot start" });
    this.slow = (await this.#ask({ type: "load", vendor: VENDOR.href, faces }, [], READY_MS)).slow;
  }

  /** @param {CanvasImageSource} source @param {{width: number, height: number}} size  @returns {Promise<Float32Array[]>} */
  async see(source, { width, height }, still) {
    const picture = await createImageBitmap(source, { resizeWidth: width, resizeHeight: height, resizeQuality: still ? "high" : "low" });
    return (await this.#ask({ type: "see", picture, still }, [picture], SEEN_MS)).faces;
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
        this.answer = null;
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
  #mesh = new FaceMesh();

  get slow() { return this.#mesh.slow; }

  load(faces) { return this.#mesh.load({ vendor: VENDOR.href, run: script, faces }); }

  see(source, size, still) { return this.#mesh.see(source, size, still); }

  close() { this.#mesh.close(); }
}

const WAYS = [InWorker, InPage];

/** One place where faces are found, and another when that fails. @throws {Error} there is none */
class Finder {
  #at = null;
  #turn = Promise.resolve();

  constructor(faces = 1) {
    this.faces = faces;
  }

  get where() { return this.#at?.where ?? ""; }

  /** Whether it is the processor that finds them. */
  get slow() { return this.#at?.slow ?? false; }

  /** @param {boolean} inWorker  whether a worker is tried at all */
  async load(inWorker = true) {
    for (const Way of inWorker ? WAYS : [InPage]) {
      const at = new Way();
      try {
        await at.load(this.faces);
        if (this.closed) return void at.close();
        this.#at = at;
        return void console.info(`landmarks: in a ${at.where}, by ${at.slow ? "the processor" : "WebGL"}`);
      } catch (error) {
        at.close();
        if (this.closed) return;
        console.info(`landmarks in a ${at.where}: ${error.message}`);
        if (Way === InPage) throw error;
      }
    }
  }

  /** Faces of one picture after the other, whoever asks. @returns {Promise<Float32Array[]>} */
  see(source, size, still = false) {
    const look = () => this.#look(source, size, still);
    this.#turn = this.#turn.then(look, look);
    return this.#turn;
  }

  async #look(source, size, still) {
    try {
      return await this.#at.see(source, size, still);
    } catch (error) {
      if (this.closed || this.where === "page") throw error;
      console.info(`landmarks in a worker: ${error.message}`);
      this.#at.close();
      await this.load(false); // a worker that fails in the middle of a call gives way to the page itself
      return [];
    }
  }

  close() {
    this.closed = true;
    this.#at?.close();
  }
}

/** @type {Promise<Finder>|null} */
let ready = null;

/** Load what finds faces, before it is needed: it takes seconds. @returns {Promise<Finder>}  one for the page's life */
export function warmUp() {
  ready ??= loaded(new Finder());
  ready.catch(() => { ready = null; });
  return ready;
}

/** Follows one video's face until it is closed. */
export class Landmarks {
  #busy = false;
  #closed = false;
  #finder = null;
  #lookedMs = -Infinity;

  /**
   * @param {{video: HTMLVideoElement,
   *   onLandmarks: (points: Float32Array, about: {width: number, height: number, captureUs: number, tookMs: number}) => void,
   *   onNone: () => void, onError: (error: Error) => void}} options  points: (478, 3) in isotropic pixels of a
   *   picture of that width and height; captureUs: on the clock of performance.now()
   */
  constructor(options) {
    this.options = options;
    this.video = options.video;
  }

  /** Where faces are found: "worker" or "page"; empty before. */
  get where() { return this.#finder?.where ?? ""; }

  /** Load, then look at every picture that there is time for. */
  async start() {
    this.#finder = await warmUp();
    this.#wait();
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
    if (this.#finder.slow && performance.now() - this.#lookedMs < SLOW_MS) return void this.#wait();
    this.#busy = true;
    this.#lookedMs = performance.now();
    const began = nowUs();
    const captureUs = captured(about, began);
    const size = within(video.videoWidth, video.videoHeight, MOST_SIDE);
    try {
      const points = whole(await this.#finder.see(video, size))[0];
      if (this.#closed) return;
      if (points) this.options.onLandmarks(points, { ...size, captureUs, tookMs: (nowUs() - began) / 1000 });
      else this.options.onNone();
    } catch (error) {
      if (this.#closed) return;
      this.close();
      this.options.onError(error);
    } finally {
      this.#busy = false;
    }
    this.#wait();
  }
}

/** @type {Promise<Finder>|null}  another than the camera's: that one follows a face */
let stills = null;

/**
 * Landmarks of everybody in a single picture, the largest face first.
 * @param {ImageBitmap|HTMLImageElement|HTMLCanvasElement|OffscreenCanvas} picture  upright
 * @returns {Promise<{faces: Float32Array[], width: number, height: number}>}  each (478, 3) in isotropic pixels of a
 *   picture of that width and height, which is the given one made smaller if it is large
 * @throws {Error} this browser cannot
 */
export async function landmarksOf(picture) {
  stills ??= loaded(new Finder(STILL_FACES));
  stills.catch(() => { stills = null; });
  const size = within(picture.naturalWidth ?? picture.width, picture.naturalHeight ?? picture.height, STILL_SIDE);
  const faces = whole(await (await stills).see(picture, size, true));
  return { faces: faces.sort((a, b) => area(b) - area(a)), ...size };
}

async function loaded(finder) {
  await finder.load();
  return finder;
}

const whole = (faces) => faces.filter((face) => face.length === 3 * N_LANDMARKS && face.every(Number.isFinite));

function area(face) {
  const [low, high] = [[Infinity, Infinity], [-Infinity, -Infinity]];
  for (let i = 0; i < face.length; i += 3) {
    for (const axis of [0, 1]) {
      low[axis] = Math.min(low[axis], face[i + axis]);
      high[axis] = Math.max(high[axis], face[i + axis]);
    }
  }
  return (high[0] - low[0]) * (high[1] - low[1]);
}

/** When a picture was captured, as far as the browser tells. */
function captured(about, beganUs) {
  const told = about?.captureTime ? Math.round(about.captureTime * 1000) : beganUs;
  return told > beganUs || told < beganUs - LATEST_US ? beganUs : told;
}

function within(width, height, most) {
  const scale = Math.min(1, most / Math.max(width, height));
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
