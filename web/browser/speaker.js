// Whose motion is sent: that of the face in the camera, or, where none is seen, that which the voice makes. No jumps. The
// twin of telepresence/rtc/speaker.py, which explains the times. Pure: time comes in as an argument, microseconds.

import { restMotion } from "../face/motion.js";
import { Speaking } from "../face/speaking.js";
import { Still, scaled, size } from "../face/tween.js";

const FACE_GONE_US = 400_000;
const VOICE_GONE_US = 300_000;
const HANDOVER_TAU_US = 120_000;
const RESTED_US = 1_000_000;
const CALM_TAU_US = 3_000_000;
const MEET_US = 1_200_000;
const NEAR = 0.005; // what is left of a way that is not worth going on

/**
 * @typedef {object} Sent
 * @property {number} captureUs  never before that of the one sent last
 * @property {object} motion
 * @property {boolean} rest
 */

export class Speaker {
  #speaking;
  #faceUs = null;
  #voiceUs = null;
  #met = true; // whether the receivers' idea of our rest pose is that of the face
  #meetUs = 0;
  #calm = null;
  #calmUs = 0;
  #source = "";
  #last = null;
  #offset = null;
  #lastUs = 0;
  #captureUs = 0;

  /** @param {() => number} [random]  for the blinks of a face that only speaks */
  constructor(random = Math.random) {
    this.#speaking = new Speaking(random);
  }

  /** What to send of a face. @returns {Sent} */
  face({ captureUs, motion }, nowUs) {
    this.#faceUs = nowUs;
    this.#learnCalm(motion, nowUs);
    if (!this.#met) {
      this.#met = true;
      this.#meetUs = nowUs + MEET_US;
      this.#forget();
    }
    if (nowUs < this.#meetUs) return this.#ordered({ captureUs, motion, rest: true });
    return this.#ordered({ captureUs, motion: this.#handedOver("face", motion, nowUs), rest: false });
  }

  /** What to send while no face is seen, with the last motion of one; null while the voice speaks. @returns {Sent|null} */
  rest(motion, nowUs) {
    if (this.#voiceUs !== null && nowUs - this.#voiceUs < VOICE_GONE_US) return null;
    if (nowUs - this.#lastUs > RESTED_US) this.#forget();
    return this.#ordered({ captureUs: nowUs, motion, rest: true });
  }

  /** What to send of a mouth that was heard; null while a face is seen. @returns {Sent|null} */
  voice(mouth, level, nowUs) {
    this.#voiceUs = nowUs;
    if (this.#faceUs !== null && nowUs - this.#faceUs < FACE_GONE_US) return null;
    if (!this.#calm) this.#met = false;
    const motion = this.#speaking.motion(mouth, level, this.#calm?.motion() ?? restMotion(), nowUs);
    return this.#ordered({ captureUs: nowUs, motion: this.#handedOver("voice", motion, nowUs), rest: false });
  }

  #forget() {
    this.#source = "";
    this.#last = this.#offset = null;
  }

  /** The motion, or what is on the way to it from another source's. */
  #handedOver(source, motion, nowUs) {
    const target = Still.of(motion);
    if (source !== this.#source) {
      this.#offset = this.#last?.like(target) ? target.to(this.#last) : null;
      this.#source = source;
    } else if (this.#offset) {
      const keep = Math.exp(-Math.max(0, nowUs - this.#lastUs) / HANDOVER_TAU_US);
      this.#offset = size(this.#offset) > NEAR ? scaled(this.#offset, keep) : null;
    }
    this.#lastUs = nowUs;
    this.#last = this.#offset ? target.moved(this.#offset) : target;
    return this.#offset ? this.#last.motion() : motion;
  }

  #learnCalm(motion, nowUs) {
    const still = Still.of(motion);
    if (!this.#calm?.like(still)) this.#calm = still;
    else this.#calm = this.#calm.moved(scaled(this.#calm.to(still), 1 - Math.exp(-Math.max(0, nowUs - this.#calmUs) / CALM_TAU_US)));
    this.#calmUs = nowUs;
  }

  #ordered(sent) {
    this.#captureUs = Math.max(this.#captureUs + 1, Math.round(sent.captureUs));
    return { ...sent, captureUs: this.#captureUs };
  }
}
