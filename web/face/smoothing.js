// Landmark noise out of motion, on the sender: the twin of telepresence/face/smoothing.py, which explains it.

import { multiply, rotationMatrix, rotationVector, transposed } from "./rotation.js";

const GAP_US = 250_000;
const POSE_TAU_S = 0.15, FACE_TAU_S = 0.12;
const POSE_OPEN = 4.5, FACE_OPEN = 4.8;
const SHARPNESS = 3;
const USUAL_HZ = 30;
const TREND = 0.8;
const VELOCITY_GAIN = 0.5;
const ROTATION_NOISE = [0.0016, 0.0015, 0.0007];
const TRANSLATION_NOISE = [0.0010, 0.0006];
const SCALE_NOISE = 0.0010;
const EXPRESSION_NOISE = [0.018, 0.0045, 0.09]; // first coefficient, more for each next, most
const GAZE_NOISE = 0.0006;

/** One group of numbers with their velocity per picture. */
class Track {
  constructor(value, size) {
    this.value = value;
    this.step = new Array(size).fill(0);
  }

  follow(innovation, gains) {
    const step = this.step.map((before, i) => TREND * before + gains[i] * innovation[i]);
    this.step = this.step.map((before, i) => before + VELOCITY_GAIN * (step[i] - before));
    return step;
  }
}

/** Smooths one stream of motion: lets a picture through as it is at first, after a gap, and when time goes back. */
export class MotionSmoother {
  #lastUs = 0;
  #rotation = [];
  #pose = null;
  #face = null;
  #noise = [];

  /** Forget everything: the next motion passes as it is. */
  reset() {
    this.#pose = null;
    this.#face = null;
  }

  /** @param {object} motion  as extracted @param {number} nowUs  when its picture was captured, any monotonic clock */
  smooth(motion, nowUs) {
    const face = [...motion.expression, ...motion.gaze];
    if (![...face, ...motion.rotation, ...motion.translation, motion.scale].every(Number.isFinite)) return motion;
    const elapsed = nowUs - this.#lastUs;
    this.#lastUs = nowUs;
    if (!this.#pose || !(elapsed > 0 && elapsed < GAP_US) || face.length !== this.#face.value.length) {
      this.#begin(motion, face);
      return motion;
    }
    const pose = this.#smoothPose(motion, elapsed / 1e6);
    const smooth = this.#smoothFace(face, elapsed / 1e6);
    return { ...pose, expression: smooth.slice(0, -4), gaze: smooth.slice(-4) };
  }

  #begin({ rotation, translation, scale }, face) {
    this.#rotation = rotationMatrix(rotation);
    this.#pose = new Track([...translation, Math.log(Math.max(scale, 1e-6))], 6);
    this.#face = new Track(face, face.length);
    const [first, more, most] = EXPRESSION_NOISE;
    this.#noise = face.map((_, i) => (i < face.length - 4 ? Math.min(most, first + more * i) : GAZE_NOISE));
  }

  /** Head pose opens as one: who turns also shifts. */
  #smoothPose({ rotation, translation, scale }, seconds) {
    const track = this.#pose;
    const guess = multiply(rotationMatrix(track.step.slice(0, 3).map((s) => TREND * s)), this.#rotation);
    const size = Math.max(scale, 1e-6);
    const place = [...translation, Math.log(size)];
    const turn = rotationVector(multiply(rotationMatrix(rotation), transposed(guess)));
    const innovation = [...turn, ...place.map((p, i) => p - track.value[i] - TREND * track.step[3 + i])];
    const noise = [...ROTATION_NOISE, ...TRANSLATION_NOISE.map((n) => n * size), SCALE_NOISE];
    const squares = innovation.reduce((sum, value, i) => sum + (value / noise[i]) ** 2, 0);
    const gain = gainOf(Math.sqrt(squares / innovation.length), POSE_OPEN, POSE_TAU_S, seconds);
    const step = track.follow(innovation, innovation.map(() => gain));
    this.#rotation = multiply(rotationMatrix(innovation.slice(0, 3).map((s) => gain * s)), guess);
    track.value = track.value.map((value, i) => value + step[3 + i]);
    const [x, y, logScale] = track.value;
    return { rotation: rotationVector(this.#rotation), translation: [x, y], scale: Math.exp(logScale) };
  }

  /** Every coefficient opens for itself: a blink must not let the jaw's noise through. */
  #smoothFace(face, seconds) {
    const track = this.#face;
    const innovation = face.map((value, i) => value - track.value[i] - TREND * track.step[i]);
    const gains = innovation.map((value, i) => gainOf(Math.abs(value) / this.#noise[i], FACE_OPEN, FACE_TAU_S, seconds));
    const step = track.follow(innovation, gains);
    track.value = track.value.map((value, i) => value + step[i]);
    return track.value;
  }
}

/** How much of the innovation is followed; `off` in deviations of noise. */
function gainOf(off, halfOpen, tauS, seconds) {
  const least = 1 - Math.exp(-seconds / tauS);
  const openness = (off / (halfOpen * Math.sqrt(seconds * USUAL_HZ))) ** SHARPNESS;
  return Number.isFinite(openness) ? least + ((1 - least) * openness) / (1 + openness) : 1;
}
