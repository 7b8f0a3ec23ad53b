// When a lost connection is tried again, and how long an attempt may take: telepresence/rtc/retrying.py, which says why.
// Pure: time is an argument.

const RETRY_MS = [100, 5000]; // first, most; doubling
const EAGER_MS = 60_000;
const EAGER_RETRY_MS = 500;
const OPEN_MS = 5000;
const PATIENT_MS = 30_000;
const REOPEN_MS = 1400;
const ROUND_TRIPS = 12;

export class Retrying {
  askAgainMs = RETRY_MS[1];
  #waitMs = RETRY_MS[0];
  #attempts = 0;
  #lostMs = null;
  #rttMs = null;
  #tookMs = 0;

  /** A connection that was up is lost; its round trip, null if that is not known. */
  lost(nowMs, rttMs) {
    [this.#attempts, this.#lostMs, this.#rttMs] = [0, nowMs, rttMs];
  }

  /** An attempt is over. */
  ended(cameUp) {
    this.#waitMs = cameUp ? RETRY_MS[0] : Math.min(RETRY_MS[1], 2 * this.#waitMs);
  }

  /** All anew: somebody wants a connection now. */
  begin() { this.#waitMs = RETRY_MS[0]; }

  /** Before the next attempt. */
  waitMs(nowMs) {
    const eager = this.#lostMs !== null && nowMs < this.#lostMs + EAGER_MS;
    return eager ? Math.min(this.#waitMs, EAGER_RETRY_MS) : this.#waitMs;
  }

  /** That the attempt beginning now may take, from the answer to open channels. */
  openMs(nowMs) {
    this.#attempts += 1;
    const patient = this.#lostMs === null || nowMs > this.#lostMs + PATIENT_MS;
    if (this.#rttMs === null || (patient && this.#attempts % 3 === 0)) return OPEN_MS;
    return Math.min(OPEN_MS, Math.max(REOPEN_MS + ROUND_TRIPS * this.#rttMs, 2 * this.#tookMs));
  }

  opened(tookMs) { this.#tookMs = tookMs; }
}
