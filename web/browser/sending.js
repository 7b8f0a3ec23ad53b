// The sending half of a page by itself: camera, landmarks, motion; while no face is seen, what the voice makes of the lips.
// Without either it says so five times a second, with the last motion seen, so that whoever joins late sees the avatar
// come to rest.

import { restMotion, toSquare } from "../face/motion.js";
import { MotionSmoother } from "../face/smoothing.js";
import { MotionExtractor } from "../face/tracking.js";
import { percentiles } from "./drawing.js";
import { nowUs } from "./rules.js";
import { Speaker } from "./speaker.js";

const REST_MS = 200;
const FORGET_US = 1_000_000; // without a face for so long, somebody else may be next: their shape is learned anew
const WINDOW_MS = 5000;

export class Sending {
  #landmarks = null;
  #video = null;
  #neutral = null;
  #extractor = new MotionExtractor();
  #smoother = new MotionSmoother();
  #last = restMotion();
  #seenUs = null;
  #seenMs = -Infinity;
  #speaker = new Speaker();
  #track = null;
  #faces = []; // [when, how long its landmarks took] of the last seconds

  /**
   * @param {{onMotion: (packet: {captureUs: number, motion: object, rest: boolean}) => void,
   *   onProblem: (text: string) => void, Landmarks: Function}} options
   */
  constructor(options) {
    this.options = options;
    this.face = false; // whether one is seen now
  }

  /** Where faces are found: "worker" or "page"; empty while they are not looked for. */
  get where() { return this.#landmarks?.where ?? ""; }

  /** Begin. */
  start() {
    this.timer ??= setInterval(() => this.#rest(), REST_MS);
  }

  /** The avatar that the motion is for. @param {Float32Array|null} neutral  (478, 3) */
  follow(neutral) {
    this.#neutral = neutral;
    this.#extractor = new MotionExtractor(neutral);
  }

  /** Send this camera from now on; null: none. @param {MediaStreamTrack|null} track */
  setCamera(track) {
    if (track === this.#track) return;
    this.#track = track;
    this.#drop();
    if (!track) return;
    const video = document.createElement("video");
    Object.assign(video, { muted: true, playsInline: true, autoplay: true, srcObject: new MediaStream([track]) });
    this.#video = video;
    video.play().catch((error) => this.#video === video && this.options.onProblem(`The camera's picture cannot be read: ${error.message}`));
    try {
      this.#landmarks = new this.options.Landmarks({
        video,
        onLandmarks: (points, about) => this.#video === video && this.#see(points, about),
        onNone: () => { this.face = false; },
        onError: (error) => this.#video === video && this.#fail(error),
      });
      this.#landmarks.start?.()?.catch?.((error) => this.#video === video && this.#fail(error));
    } catch (error) {
      this.#fail(error);
    }
  }

  /** A mouth that was heard (open, wide, round; and loudness; each 0..1): it speaks for a face that is not seen. */
  hear(mouth, level) {
    this.#send(this.#speaker.voice(mouth, level, nowUs()));
  }

  close() {
    clearInterval(this.timer);
    this.timer = null;
    this.setCamera(null);
  }

  /** {cameraFps, landmarksMs: [median, 95th percentile], faces}; null where nothing is known. */
  figures(nowMs = performance.now()) {
    this.#faces = this.#faces.filter(([at]) => at > nowMs - WINDOW_MS);
    const landmarksMs = percentiles(this.#faces.map(([, took]) => took).filter(Number.isFinite));
    if (!this.#track) return { cameraFps: null, landmarksMs, faces: null };
    return { cameraFps: this.#faces.length / (WINDOW_MS / 1000), landmarksMs, faces: Number(this.face) };
  }

  /** Landmarks (478, 3) in pixels of the camera's picture. */
  #see(points, { width, height, captureUs = nowUs(), tookMs = null }) {
    this.face = true;
    if (this.#seenUs !== null && captureUs - this.#seenUs > FORGET_US) {
      this.#extractor = new MotionExtractor(this.#neutral);
      this.#smoother.reset();
    }
    this.#seenUs = captureUs;
    this.#last = this.#smoother.smooth(this.#extractor.extract(toSquare(points, width, height)), captureUs);
    this.#seenMs = performance.now();
    this.#faces.push([this.#seenMs, tookMs]);
    this.#send(this.#speaker.face({ captureUs, motion: this.#last }, nowUs()));
  }

  #rest() {
    if (this.face && performance.now() - this.#seenMs < 2 * REST_MS) return;
    this.face = false;
    this.#send(this.#speaker.rest(this.#last, nowUs()));
  }

  #send(sent) {
    if (sent) this.options.onMotion(sent);
  }

  #fail(error) {
    console.error(error);
    this.#drop();
    this.options.onProblem(`Your face cannot be followed in this browser, so your avatar rests: ${error.message}`);
  }

  #drop() {
    this.face = false;
    this.#landmarks?.close();
    this.#landmarks = null;
    if (this.#video) this.#video.srcObject = null;
    this.#video = null;
  }
}
