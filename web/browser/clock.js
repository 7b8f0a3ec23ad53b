// How far another machine's clock is from ours, by pings: the one with the shortest round trip of the last 16 decides.
// telepresence/wire/clock.py, without the drift, which a page has no use for.

const WINDOW = 16;
const MAX_RTT_US = 30_000_000;

export class ClockOffset {
  #waiting = new Map();
  #samples = [];
  #sequence = 0;

  /** The next ping, {kind, sequence, sentUs}; send it at once. */
  ping(nowUs) {
    this.#sequence = (this.#sequence + 1) >>> 0;
    this.#waiting.set(this.#sequence, nowUs);
    if (this.#waiting.size > WINDOW) this.#waiting.delete(this.#waiting.keys().next().value);
    return { kind: "ping", sequence: this.#sequence, sentUs: nowUs };
  }

  /** Take an answer in; false if nobody asked, which changes nothing. */
  pong({ sequence, sentUs, answeredUs }, nowUs) {
    if (this.#waiting.get(sequence) !== sentUs) return false;
    this.#waiting.delete(sequence);
    const rttUs = nowUs - sentUs;
    if (rttUs < 0 || rttUs > MAX_RTT_US) return false;
    this.#samples = [...this.#samples, { rttUs, offsetUs: answeredUs - Math.floor((sentUs + nowUs) / 2) }].slice(-WINDOW);
    return true;
  }

  get known() { return this.#samples.length > 0; }

  /** Shortest round trip; 0 until the first answer. */
  get rttUs() { return this.#best?.rttUs ?? 0; }

  /** A time on the other's clock, on ours; null until the first answer. */
  toLocalUs(theirUs) { return this.#best ? theirUs - this.#best.offsetUs : null; }

  get #best() { return this.#samples.reduce((best, one) => (best && best.rttUs <= one.rttUs ? best : one), null); }
}
