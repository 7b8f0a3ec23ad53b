// Without a headset: the mouse, a finger or the arrow keys move the viewer's head, which always looks at those opposite.

import { Vector3 } from "../vendor/three/build/three.module.js";

const REACH_M = 0.45; // sideways, from the middle of the picture to its edge
const UP_M = 0.25;
const HEAD_M = 1.2;
const STEP = 0.1; // of an arrow key, of the whole reach
const EASE = 0.15; // of what is left, a frame
const AT = new Vector3(0, HEAD_M, -1.3);
const LEAST_FOV = 34, MOST_FOV = 135; // degrees, from top to bottom
const BESIDE = (13 * Math.PI) / 180; // of the outermost head's middle: room for its shoulders
const MOST_ASIDE = 1.13; // radians: beyond, faces are drawn too wide

export class Flat {
  #x = 0;
  #y = 0;
  #at = new Vector3(0, HEAD_M, 0);

  constructor(canvas, camera) {
    this.camera = camera;
    addEventListener("pointermove", (event) => this.move(2 * event.clientX / innerWidth - 1, 1 - 2 * event.clientY / innerHeight));
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Put the head somewhere: -1..1 to the right, and up. */
  move(x, y) {
    this.#x = Math.max(-1, Math.min(1, x));
    this.#y = Math.max(-1, Math.min(1, y));
  }

  /**
   * Show everybody in what is free of the picture: the view is as wide as the outermost seats.
   * @param {[number, number, number][]} heads
   * @param {{width: number, height: number, left?: number, below?: number}} page  pixels; the last two are taken
   */
  frame(heads, { width, height, left = 0, below = 0 }) {
    const aside = Math.max(0, ...heads.map(([x, , z]) => Math.abs(Math.atan2(x, -z))));
    const wide = Math.tan(Math.min(aside + BESIDE, MOST_ASIDE)) * (height / (width - left));
    const high = Math.tan((LEAST_FOV * Math.PI) / 360) * (height / (height - below));
    this.camera.aspect = width / height;
    this.camera.fov = Math.min(MOST_FOV, (2 * Math.atan(Math.max(wide, high)) * 180) / Math.PI);
    this.camera.setViewOffset(width, height, -left / 2, below / 2, width, height);
  }

  /** Once a frame. */
  update() {
    this.#at.lerp(new Vector3(this.#x * REACH_M, HEAD_M + this.#y * UP_M, 0), EASE);
    this.camera.position.copy(this.#at);
    this.camera.lookAt(AT);
    this.camera.updateMatrixWorld();
  }

  #key(event) {
    const moves = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] }[event.key];
    if (!moves) return;
    event.preventDefault();
    this.move(this.#x + moves[0], this.#y + moves[1]);
  }
}
