// The guide: which step is asked for now, and whether the face before the camera follows. The twin of
// telepresence/enrolment/guide.py, which explains it; no clock of its own.

import { DRAWN, LONGEST_US, SHUT, WIDE, follower, middle, since, turned } from "./steps.js";

const REST_US = 700_000; // at rest, and still, before anything is measured against it
const REST_PICTURES = 5;
const FRONT = 18; // degrees that a face at rest may look past the camera to a side
const TILTED = 25; // and up or down
const PARTED = 0.1; // canonical units between the lips at rest, at most
const STILL = 2.5; // degrees within REST_US

const BACK_US = 150_000; // near rest, between two steps
const BACK_TURN = 9;
const BACK_RAISE = 7;
const BACK_MOUTH = 0.08;
const BACK_LIDS = 0.6;

const STEP_US = 15_000_000; // for one step, while a face is seen
const WRONG_US = 300_000; // something else than what is asked for, held so long, is no accident
const GAPE_US = 350_000;
const ASLEEP_US = 250_000;
const CHIN_UP = 1.1; // of what is asked for: more is no accident
const CHIN_ALONG = 1.6; // the same where the chin goes up by itself: with a smile, or an open mouth
const LIVELY = 1.4; // who speaks moves the head
const MAX_WRONG = 2;
const MAX_ANEW = 2; // a recording that is tried often enough meets an order that suits it
const GONE_US = 1_500_000; // without a picture of the face: whoever it is comes back to rest first

/** A number below `count` that nobody can guess, each as likely. */
export function lot(count) {
  const [most] = [2 ** 32 - (2 ** 32 % count)];
  for (;;) {
    const [value] = crypto.getRandomValues(new Uint32Array(1));
    if (value < most) return value % count;
  }
}

/** In an order that nobody could have known. */
export function shuffled(steps, draw = lot) {
  const out = [...steps];
  for (let i = out.length - 1; i > 0; i--) {
    const other = draw(i + 1);
    [out[i], out[other]] = [out[other], out[i]];
  }
  return out;
}

/** Follows one enrolment. */
export class Guide {
  /** How often all had to begin anew because too much else was done. */
  anew = 0;
  #left = [];
  #rest = null;
  #resting = []; // [when, measure]
  #lastUs = null;
  #elsewhereUs = new Map(); // by what is done instead
  #warned = false;
  #follow = null;

  /** @param {() => string[]} [draw]  gives the order of DRAWN, each time that one is needed */
  constructor(draw = () => shuffled(DRAWN)) {
    this.draw = draw;
    this.begin();
  }

  /** From the beginning, in a new order. */
  begin() {
    this.#left = ["rest", ...this.draw()];
    /** @type {Map<string, boolean>} steps that are over, and whether each was followed (else skipped) */
    this.done = new Map();
    this.#rest = null;
    this.wrong = 0;
    this.#lastUs = null;
    this.#take();
  }

  /** What is asked for now; null when all is done. */
  get step() { return this.#left[0] ?? null; }

  /** All steps: those that are over, then those to come. */
  get order() { return [...this.done.keys(), ...this.#left]; }

  /** Whether every step was followed, none skipped, and not at the fourth attempt: what `live` means. */
  get followed() { return !this.#left.length && [...this.done.values()].every(Boolean) && this.anew <= MAX_ANEW; }

  /** Ask for a step once more, next. */
  retake(step) {
    this.done.delete(step);
    this.#left = [step, ...this.#left.filter((one) => one !== step)];
    if (step === "rest") this.#rest = null;
    this.#take();
  }

  /** Leave the step at hand out; rest cannot be. @returns {string|null} news */
  skip() {
    const { step } = this;
    return step === null || step === "rest" ? null : this.#over(step, false);
  }

  /**
   * A picture has come.
   * @param {import("./steps.js").Measure|null} face  null: there is none in it, or one that cannot be used
   * @param {number} atUs  any monotonic clock
   * @returns {"followed"|"wrong"|"slow"|"anew"|"finished"|null} what it has brought about
   */
  see(face, atUs) {
    const { step } = this;
    if (step === null || face === null) return null;
    let passedUs = this.#lastUs === null ? 0 : atUs - this.#lastUs;
    if (passedUs > GONE_US) this.#take();
    this.#lastUs = atUs;
    passedUs = Math.max(0, Math.min(passedUs, LONGEST_US));
    if (step === "rest" || this.#rest === null) return this.#waitForRest(face, atUs);
    const change = since(face, this.#rest);
    if (this.phase === "back") {
      this.#comeBack(change, passedUs);
      return null;
    }
    return this.#act(step, change, atUs, passedUs);
  }

  /** Begin with the step that is next. */
  #take() {
    const { step } = this;
    /** What is waited for: "back" to rest, "act", or "done". */
    this.phase = step === null ? "done" : step === "rest" ? "act" : "back";
    /** How far the step has come, 0 to 1. */
    this.progress = 0;
    this.actUs = this.backUs = 0;
    this.#resting = [];
    this.#elsewhereUs.clear();
    this.#warned = false;
    if (step !== null && step !== "rest") this.#follow = follower(step);
  }

  #waitForRest(face, atUs) {
    const resting = Math.abs(face.left) <= FRONT && Math.abs(face.up) <= TILTED && face.mouth <= PARTED;
    if (!resting || (this.#resting.length && atUs - this.#resting.at(-1)[0] > LONGEST_US * 2)) this.#resting = [];
    if (!resting) {
      this.progress = 0;
      return null;
    }
    this.#resting.push([atUs, face]);
    while (this.#spread() > STILL) this.#resting.shift();
    const spanUs = atUs - this.#resting[0][0];
    this.progress = Math.min(0.99, spanUs / REST_US);
    if (spanUs < REST_US || this.#resting.length < REST_PICTURES) return null;
    this.#rest = middle(this.#resting.map(([, measure]) => measure));
    return this.step === "rest" ? this.#over("rest", true) : null;
  }

  #spread() {
    const range = (name) => {
      const values = this.#resting.map(([, measure]) => measure[name]);
      return Math.max(...values) - Math.min(...values);
    };
    return Math.max(range("left"), range("up"));
  }

  #comeBack(change, passedUs) {
    const near = Math.abs(change.left) <= BACK_TURN && Math.abs(change.up) <= BACK_RAISE
      && change.mouth <= BACK_MOUTH && change.lids >= BACK_LIDS;
    this.backUs = near ? this.backUs + passedUs : 0;
    if (this.backUs >= BACK_US) this.phase = "act";
  }

  #act(step, change, atUs, passedUs) {
    this.actUs += passedUs;
    this.progress = this.#follow.see(change, atUs);
    if (this.progress >= 1) return this.#over(step, true);
    if (this.#somethingElse(step, change, passedUs)) {
      this.wrong += 1;
      if (this.wrong <= MAX_WRONG) return "wrong";
      this.anew += 1;
      this.begin();
      return "anew";
    }
    if (this.actUs < STEP_US) return null;
    // What comes next must not be known: a recording could wait for it.
    this.#left = [...shuffled(this.#left.filter((one) => one !== step)), step];
    this.#take();
    return "slow";
  }

  /** Whether something else is clearly being done; told once, until the face is near rest again. */
  #somethingElse(step, change, passedUs) {
    const aside = Math.abs(change.left) > BACK_TURN;
    const side = step === "speak" ? LIVELY : 1;
    const chin = step === "open" || step === "smile" ? CHIN_ALONG : CHIN_UP;
    const ahead = !aside && Math.abs(change.up) < BACK_RAISE; // landmarks of lids mean little on a head that is turned
    const is = (...steps) => steps.includes(step);
    const doing = [
      [WRONG_US, (!is("left") && turned("left", change) >= side) || (!is("right") && turned("right", change) >= side)
        || (!is("up", "speak") && !aside && turned("up", change) >= chin)],
      [GAPE_US, !is("open", "speak", "smile") && change.mouth >= WIDE],
      [ASLEEP_US, !is("blink", "smile", "speak") && ahead && change.lids <= SHUT],
    ];
    for (const [limit, done] of doing) this.#elsewhereUs.set(limit, done ? (this.#elsewhereUs.get(limit) ?? 0) + passedUs : 0);
    if (!doing.some(([, done]) => done) && !aside) this.#warned = false;
    if (this.#warned || !doing.some(([limit]) => this.#elsewhereUs.get(limit) >= limit)) return false;
    this.#warned = true;
    return true;
  }

  #over(step, followed) {
    this.done.set(step, followed);
    this.#left = this.#left.filter((one) => one !== step);
    this.#take();
    return this.#left.length ? "followed" : "finished";
  }
}
