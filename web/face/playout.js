// Which motion is shown, moment by moment: the twin of telepresence/wire/playout.py, which explains the rules. Pure: time,
// microseconds of the page's monotonic clock, comes in as an argument. Packets are those of codec/decoder.js.

import { Arrivals } from "./arrival.js";
import { Still, limited, scaled, size } from "./tween.js";

const GONE_US = 500_000;
const STILL_GONE_US = 1_500_000;
const PREDICT_US = 100_000;
const LATE_US = 50_000;
const VELOCITY_GAP_US = 120_000;
const TURN_TAU_S = 0.066, TURN_GAIN = 0.72;
const SHIFT_TAU_S = 0.1, SHIFT_GAIN = 0.92;
const FACE_TAU_S = 0.05, JAW_GAIN = 0.7, FACE_GAIN = 0.3;
const JAW = 6;
const MEAN_TAU_S = 0.1, MEAN_SHARE = 0.4;
const FORGET_US = 1_000_000;
const EASE_US = 250_000;
const SPLICE_US = [5_000, 120_000];
const SPLICE_SHARE = 0.15;
const PICTURE_US = 33_333;
const CALM_US = 5_000_000;
const SETTLED = 0.002;
const SLEW = 0.1;
const SNAP_US = 150_000;

/** The two newest motions, and what follows from them. */
class Plan {
  constructor(before, beforeUs, newest, newestUs, velocity, mean, woke = false) {
    Object.assign(this, { before, beforeUs, newest, newestUs, velocity, mean, woke });
  }

  /** The motion at a time on the sender's clock. */
  at(shownUs) {
    if (shownUs >= this.newestUs) return this.newest.moved(this.#ahead((shownUs - this.newestUs) / 1e6));
    const span = this.newestUs - this.beforeUs;
    const part = span > 0 ? Math.max(0, (shownUs - this.beforeUs) / span) : 1;
    return this.before.moved(scaled(this.before.to(this.newest), part));
  }

  #ahead(seconds) {
    const head = Math.min(seconds, PREDICT_US / 1e6);
    const { turn, place, face } = this.velocity;
    const turning = TURN_GAIN * TURN_TAU_S * (1 - Math.exp(-head / TURN_TAU_S));
    const shifting = SHIFT_GAIN * SHIFT_TAU_S * (1 - Math.exp(-head / SHIFT_TAU_S));
    const momentum = seconds * Math.exp(-seconds / FACE_TAU_S);
    const back = MEAN_SHARE * (1 - Math.exp(-seconds / MEAN_TAU_S));
    return {
      turn: turn.map((v) => v * turning),
      place: [place[0] * shifting, place[1] * shifting, 0], // the size of a head has no momentum
      face: face.map((v, i) => v * momentum * (i < JAW ? JAW_GAIN : FACE_GAIN) + (this.mean[i] - this.newest.face[i]) * back),
    };
  }
}

/** One sender's motion, on a sink's clock of any rate. */
export class Playout {
  /** What is shown. @type {"waiting"|"live"|"predicting"|"resting"} */
  state = "waiting";
  /** Where the head comes to rest; without it, where it was on average. */
  restPose = null;
  /** Up by one with each live packet that comes after a long rest, the first one included. */
  begun = 0;
  #forget;
  #arrivals = new Arrivals();
  #plan = null;
  #shownPlan = null;
  #epoch = 0;
  #heardUs = 0;
  #livedUs = 0;
  #rest = false;
  #still = false;
  #calm = null;
  #calmPackets = 0;
  #place = null;
  #shown = null;
  #offset = null;
  #offsetTauUs = SPLICE_US[0];
  #nowUs = 0;
  #delayUs = 0;
  #shownUs = 0;

  /** @param {{forget?: boolean}} [options]  forget: who comes after a long rest begins at rest in a place of their own */
  constructor({ forget = false } = {}) {
    this.#forget = forget;
  }

  get counts() { return this.#arrivals.counts; }

  /** Whether the newest packet said that the next may be late, since nothing moves. */
  get still() { return this.#still; }

  /** How long motion is held back to even out jitter, microseconds. */
  get depthUs() { return this.#plan ? Math.max(0, this.#delayUs - this.#arrivals.fastestUs) : 0; }

  /** Packets that came too late, out of all reason, or never. */
  get dropped() { return this.counts.dropped; }

  /** Whether nothing moves until the next packet. */
  get settled() {
    return !this.#shown || (this.state === "resting" && this.#shown === this.#restingPlace());
  }

  /** When what is shown was captured, on the packets' clock; null at rest, and while a head keeps still. */
  get shownCaptureUs() {
    if (!this.#shownPlan || this.state === "waiting" || this.state === "resting") return null;
    if (this.#still && this.#shownUs > this.#shownPlan.newestUs) return null;
    return Math.min(this.#shownUs, this.#shownPlan.newestUs);
  }

  /** Take a packet in; false if it is not the newest, or nonsense. */
  receive(packet, nowUs) {
    if (!this.#arrivals.accept(packet, nowUs)) return false;
    if (!packet.rest) {
      if (!this.#plan || nowUs - this.#livedUs > FORGET_US + this.#patienceUs) this.#begin();
      this.#livedUs = nowUs;
    }
    if (packet.epoch !== this.#epoch && this.#plan) this.counts.epochs += 1;
    // `gone` goes by this packet's own arrival: it has just been heard
    this.#heardUs = nowUs;
    const fresh = this.#rest || packet.epoch !== this.#epoch || this.#arrivals.restarted || this.#gone(nowUs);
    this.#epoch = packet.epoch;
    this.#rest = packet.rest;
    const woke = this.#still && !packet.still;
    this.#still = packet.still;
    if (this.#arrivals.restarted) {
      this.#delayUs = nowUs - packet.captureUs;
      this.#shownUs = packet.captureUs;
    }
    if (packet.rest && this.#plan) return true;
    const newest = Still.of(packet.motion);
    this.#learnCalm(newest, packet.captureUs);
    const mean = packet.still || !this.#calm ? newest.face : this.#calm.face;
    this.#plan = planned(fresh ? null : this.#plan, newest, packet.captureUs, mean, woke);
    return true;
  }

  /** Come to rest now. The next packet begins a stream of its own: other numbers, another clock. */
  linkLost() {
    this.#arrivals = new Arrivals(this.#arrivals.counts);
    this.#rest = true;
  }

  /** What to show at a moment of the sink's clock; null if nothing has come yet. */
  sample(nowUs) {
    if (!this.#plan) return null;
    if (!this.#shown || !this.#shown.like(this.#plan.newest)) {
      this.#shown = this.#restingPlace();
      this.#offset = this.#shownPlan = null;
      this.#nowUs = nowUs - SPLICE_US[0];
    }
    const elapsed = Math.max(0, nowUs - this.#nowUs);
    this.#nowUs += elapsed;
    this.#advance(elapsed);
    if (this.#rest || this.#gone(nowUs)) this.#ease(elapsed);
    else this.#follow(elapsed);
    return this.#shown.motion();
  }

  #begin() {
    this.begun += 1;
    if (this.#forget) this.#shown = this.#calm = this.restPose = null;
  }

  get #patienceUs() { return this.#still ? STILL_GONE_US : GONE_US; }

  #gone(nowUs) { return nowUs - this.#heardUs > this.#patienceUs; }

  /** Move the time shown on by as much, more or less, as time has passed. */
  #advance(elapsed) {
    const towards = this.#arrivals.usualUs - this.#delayUs;
    const most = Math.round(SLEW * elapsed);
    this.#delayUs += Math.abs(towards) > SNAP_US ? towards : Math.max(-most, Math.min(most, towards));
    this.#shownUs = Math.max(this.#shownUs, this.#nowUs - this.#delayUs);
  }

  #follow(elapsed) {
    let target = this.#plan.at(this.#shownUs);
    if (this.#plan !== this.#shownPlan) this.#splice(target);
    if (this.#offset) {
      this.#offset = scaled(this.#offset, Math.exp(-elapsed / this.#offsetTauUs));
      target = target.moved(this.#offset);
    }
    this.#shown = this.#shown.moved(limited(this.#shown.to(target), elapsed / 1e6));
    this.state = this.#shownUs - this.#plan.newestUs > LATE_US && !this.#still ? "predicting" : "live";
  }

  /** Lead over from what would have been shown now to a new plan. */
  #splice(target) {
    const [least, most] = SPLICE_US;
    let tau = most;
    let expected = this.#shown;
    const old = this.#shownPlan;
    if (old && this.state !== "resting") {
      const known = this.#plan.woke ? this.#plan.beforeUs : old.newestUs;
      tau = Math.round(SPLICE_SHARE * Math.max(0, this.#shownUs - known));
      if (old.newest.like(target)) expected = old.at(this.#shownUs);
      if (this.#offset) expected = expected.moved(this.#offset);
    }
    this.#offset = target.to(expected);
    // A correction under way is not hurried by the next packet, but fades on: its time constant shortens with it.
    const before = this.#plan.woke ? 0 : Math.round(0.7 * this.#offsetTauUs); // or has long faded
    this.#offsetTauUs = Math.max(least, Math.min(most, Math.max(tau, before)));
    this.#shownPlan = this.#plan;
  }

  #ease(elapsed) {
    const rest = this.#restingPlace();
    this.state = "resting";
    this.#offset = this.#shownPlan = null;
    if (this.#shown === rest) return;
    const way = this.#shown.to(rest);
    this.#shown = this.#shown.moved(limited(scaled(way, 1 - Math.exp(-elapsed / EASE_US)), elapsed / 1e6));
    if (size(way) < SETTLED) this.#shown = rest;
  }

  #restingPlace() {
    this.#place ??= this.#calm.atRest(this.restPose);
    return this.#place;
  }

  /** The motion on average: head and face go back there when the sender falls silent. */
  #learnCalm(newest, captureUs) {
    this.#place = null;
    if (!this.#calm || !this.#plan || !this.#calm.like(newest)) {
      this.#calm = newest;
      this.#calmPackets = 1;
      return;
    }
    this.#calmPackets += 1; // at first a plain average
    const since = Math.max(0, captureUs - this.#plan.newestUs);
    const part = Math.max(1 / this.#calmPackets, Math.min(1, since / CALM_US));
    this.#calm = this.#calm.moved(scaled(this.#calm.to(newest), part));
  }
}

/**
 * The next plan; without one before, or after a gap, nothing is known of the velocity. `woke`: the motion before was said
 * to last, as far as it can be seen, until there is another.
 */
function planned(before, newest, newestUs, mean, woke) {
  const still = newest.to(newest);
  if (!before || !before.newest.like(newest)) return new Plan(newest, newestUs, newest, newestUs, still, mean);
  const beforeUs = woke ? Math.max(before.newestUs, newestUs - PICTURE_US) : before.newestUs;
  const span = newestUs - beforeUs;
  const known = span > 0 && span <= VELOCITY_GAP_US;
  const velocity = known ? scaled(limited(before.newest.to(newest), span / 1e6), 1e6 / span) : still;
  return new Plan(before.newest, beforeUs, newest, newestUs, velocity, mean, woke);
}
