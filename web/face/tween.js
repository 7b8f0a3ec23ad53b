// Motion as something that can be subtracted, scaled and moved: the twin of telepresence/face/tween.py.
// A Step is {turn: (3,), place: (3,) x, y, log of scale, face: (E + 4,)}; a Still is a motion with a matrix for a rotation.

import { clamp } from "./motion.js";
import { multiply, rotationMatrix, rotationVector, transposed } from "./rotation.js";

// The fastest that a motion may be shown to go, per second: see the Python twin.
const MAX_TURN = 12, MAX_SHIFT = 6, MAX_ZOOM = 3, MAX_EXPRESSION = 450, MAX_GAZE = 6;

/** This part of a step's way, for head and face apart. */
export function scaled({ turn, place, face }, pose, expression = pose) {
  return {
    turn: turn.map((v) => v * pose), place: place.map((v) => v * pose), face: face.map((v) => v * expression),
  };
}

/** As much of a step's way as can be gone in this time without a jump; each group keeps its direction. */
export function limited({ turn, place: [x, y, zoom], face }, seconds) {
  const shift = within(Math.hypot(x, y), MAX_SHIFT * seconds);
  const turned = within(Math.hypot(...turn), MAX_TURN * seconds);
  return {
    turn: turn.map((v) => v * turned),
    place: [x * shift, y * shift, clip(zoom, MAX_ZOOM * seconds)],
    face: face.map((v, i) => clip(v, (i < face.length - 4 ? MAX_EXPRESSION : MAX_GAZE) * seconds)),
  };
}

/** The largest number in a step. */
export const size = ({ turn, place, face }) => Math.max(...[...turn, ...place, ...face].map(Math.abs));

/** A motion at one moment, in numbers that can be calculated with. */
export class Still {
  constructor(rotation, place, face) {
    this.rotation = rotation;
    this.place = place;
    this.face = face;
  }

  /** From a motion, bounded to what a face can do. */
  static of(motion) {
    const { rotation, translation, scale, expression, gaze } = clamp(motion);
    return new Still(rotationMatrix(rotation), [...translation, Math.log(scale)], [...expression, ...gaze]);
  }

  /** Back to a motion, bounded to what a face can do. */
  motion() {
    const [x, y, logScale] = this.place;
    return clamp({
      rotation: rotationVector(this.rotation), translation: [x, y], scale: Math.exp(logScale),
      expression: this.face.slice(0, -4), gaze: this.face.slice(-4),
    });
  }

  /** Whether there is a way from one to the other. */
  like(other) {
    return this.face.length === other.face.length;
  }

  /** The shortest way to another. */
  to(other) {
    return {
      turn: rotationVector(multiply(other.rotation, transposed(this.rotation))),
      place: other.place.map((v, i) => v - this.place[i]),
      face: other.face.map((v, i) => v - this.face[i]),
    };
  }

  /** Where a step leads. */
  moved({ turn, place, face }) {
    return new Still(
      multiply(rotationMatrix(turn), this.rotation), this.place.map((v, i) => v + place[i]), this.face.map((v, i) => v + face[i]),
    );
  }

  /** The face at rest, in a given pose or where it is. */
  atRest(pose = null) {
    if (!pose) return new Still(this.rotation, this.place, this.face.map(() => 0));
    return Still.of({ ...pose, expression: this.face.slice(0, -4).map(() => 0), gaze: [0, 0, 0, 0] });
  }
}

const within = (length, most) => (length <= most ? 1 : most / length);
const clip = (value, most) => Math.min(Math.max(value, -most), most);
