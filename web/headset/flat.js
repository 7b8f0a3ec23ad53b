// Without a headset: the mouse, a finger or the arrow keys move the viewer's head, which always looks at those opposite.

import { Vector3 } from "../vendor/three/build/three.module.js";

const REACH_M = 0.45; // sideways, from the middle of the picture to its edge
const UP_M = 0.25;
const HEAD_M = 1.2;
const STEP = 0.1; // of an arrow key, of the whole reach
const EASE = 0.15; // of what is left, a frame
const AT = new Vector3(0, HEAD_M, -1.3);
const LEAST_FOV = 34; // degrees, from top to bottom
const BESIDE = (13 * Math.PI) / 180; // of the outermost head's middle: room for its shoulders

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

  /** Show everybody: the view is as wide as the outermost seats. @param {[number, number, number][]} heads */
  frame(heads, aspect) {
    const aside = Math.max(0, ...heads.map(([x, , z]) => Math.abs(Math.atan2(x, -z))));
    const wide = Math.min(aside + BESIDE, 1.35);
    const fov = (2 * Math.atan(Math.tan(wide) / aspect) * 180) / Math.PI;
    this.camera.aspect = aspect;
    this.camera.fov = Math.min(100, Math.max(LEAST_FOV, fov));
    this.camera.updateProjectionMatrix();
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
