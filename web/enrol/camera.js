// The camera for enrolment: shown mirrored, and its pictures sent to the edge, never more than it can look at.

import { DeviceProblem, openDevice } from "../call/devices.js";

const EVERY_MS = 50; // between pictures, at the least
const ANSWER_MS = 1500; // then a picture is taken for lost
const UNDER_WAY = 2;
const QUALITY = 0.92; // of JPEG; references are made of these pictures
const SIDE = 720; // pixels of the shorter side, at most: an avatar has 512

/** Event "change" when `problem` is another one. */
export class Camera extends EventTarget {
  /** Why there is no picture, as in devices.js; empty: there is one. */
  problem = "asking";
  #number = 0;
  #waiting = new Map(); // number -> when it was sent
  #turn = 0;
  #canvas = document.createElement("canvas");

  /** @param {HTMLVideoElement} video @param {import("./session.js").Session} session */
  constructor(video, session) {
    super();
    this.video = video;
    this.session = session;
    session.addEventListener("seen", ({ detail }) => this.#waiting.delete(detail.n));
  }

  /** Open it. @param {MediaStreamTrack|null} track  one that is open already, of which a copy is taken */
  async open(track = null) {
    this.close();
    const turn = this.#turn;
    this.#become("asking");
    try {
      const onEnd = (kind) => turn === this.#turn && this.#lost(kind);
      let mine = track?.readyState === "live" ? track.clone() : null;
      if (mine) track.addEventListener("ended", () => onEnd("unplugged"), { once: true });
      mine ??= await openDevice("camera", { onEnd });
      if (turn !== this.#turn) return mine.stop();
      mine.addEventListener("ended", () => onEnd("unplugged"), { once: true });
      this.track = mine;
      this.video.srcObject = new MediaStream([mine]);
      await this.video.play().catch(() => {});
      this.#become("");
      this.#pump(turn);
    } catch (error) {
      if (turn === this.#turn) this.#become(error instanceof DeviceProblem ? error.kind : "failed");
    }
    return undefined;
  }

  /** Let go of it. */
  close() {
    this.#turn += 1;
    this.track?.stop();
    this.track = null;
    this.video.srcObject = null;
    this.#waiting.clear();
  }

  #lost(kind) {
    this.close();
    this.#become(kind);
  }

  #become(problem) {
    this.problem = problem;
    this.dispatchEvent(new Event("change"));
  }

  async #pump(turn) {
    let shown = -1;
    while (turn === this.#turn) {
      const began = performance.now();
      for (const [number, at] of this.#waiting) if (began - at > ANSWER_MS) this.#waiting.delete(number);
      const { video } = this;
      if (this.session.open && this.#waiting.size < UNDER_WAY && video.videoWidth && video.currentTime !== shown) {
        shown = video.currentTime;
        const jpeg = await this.#grab();
        if (turn !== this.#turn) return;
        if (jpeg) {
          this.#number = (this.#number + 1) % 2 ** 32;
          this.#waiting.set(this.#number, performance.now());
          this.session.sendPicture(this.#number, jpeg);
        }
      }
      const passed = performance.now() - began;
      await new Promise((resolve) => { setTimeout(resolve, Math.max(8, EVERY_MS - passed)); });
    }
  }

  #grab() {
    const { video } = this;
    const scale = Math.min(1, SIDE / Math.min(video.videoWidth, video.videoHeight));
    const width = Math.round(video.videoWidth * scale), height = Math.round(video.videoHeight * scale);
    if (this.#canvas.width !== width || this.#canvas.height !== height) Object.assign(this.#canvas, { width, height });
    this.#canvas.getContext("2d").drawImage(video, 0, 0, width, height);
    return new Promise((resolve) => { this.#canvas.toBlob(resolve, "image/jpeg", QUALITY); });
  }
}
