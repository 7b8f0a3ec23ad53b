// What everything that comes from a network has in common here: it may be wrong, and there may be too much of it.

/** Something from outside breaks the protocol: count it and go on. */
export class ProtocolError extends Error {}

/** So much at once, and so much a second. The twin of TokenBucket in telepresence/hub/limits.py. */
export class TokenBucket {
  #left;
  #atMs = null;

  /** @param {{burst: number, perSecond: number}} limits */
  constructor({ burst, perSecond }) {
    this.burst = burst;
    this.perSecond = perSecond;
    this.#left = burst;
  }

  /** Whether one more is allowed. @param {number} nowMs  any monotonic clock */
  take(nowMs) {
    const passed = this.#atMs === null ? 0 : Math.max(0, nowMs - this.#atMs) / 1000;
    this.#atMs = nowMs;
    this.#left = Math.min(this.burst, this.#left + passed * this.perSecond);
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}

const CONTROL = /[\p{Cc}\p{Cf}\p{Cn}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/u;
const JOINERS = /[\u200c\u200d]/g;

/** Whether text has nothing in it but what can be seen; the two joiners that scripts need are allowed. */
export const printable = (text) => !CONTROL.test(text.replace(JOINERS, ""));

/** A participant's name, as the hub checks it: at most 64 characters, all printable. @throws {ProtocolError} */
export function checkedName(value) {
  if (typeof value !== "string" || [...value].length > 64 || !printable(value)) throw new ProtocolError("not a name");
  return value;
}

/** An integer from 0 to `most`. @throws {ProtocolError} */
export function checkedInteger(value, field, most) {
  if (!Number.isSafeInteger(value) || value < 0 || value > most) throw new ProtocolError(`${field}: not an integer from 0 to ${most}`);
  return value;
}

/** JSON -> object. Never anything else. @throws {ProtocolError} */
export function parseObject(text) {
  let fields;
  try {
    fields = JSON.parse(text);
  } catch {
    throw new ProtocolError("not JSON");
  }
  if (fields === null || typeof fields !== "object" || Array.isArray(fields)) throw new ProtocolError("not an object");
  return fields;
}

/** Microseconds of this page's monotonic clock. */
export const nowUs = () => Math.round(performance.now() * 1000);
