// Where the eyes were when a head pose was sent: a picture says for which pose it was drawn.

const MOST = 256; // poses; three seconds of them

export class Poses {
  #eyes = new Map(); // at -> [left, right], oldest first

  /** @param {number} at  what goes out with the pose @param {import("../vendor/three/build/three.module.js").Vector3[]} eyes  left, right: in the room */
  keep(at, eyes) {
    this.#eyes.set(at, eyes);
    if (this.#eyes.size > MOST) this.#eyes.delete(this.#eyes.keys().next().value);
  }

  /** Null if it is long gone, or was somebody else's. */
  at(at) {
    return this.#eyes.get(at) ?? null;
  }
}
