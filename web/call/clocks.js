// What clocks are behind lips and sound: the other page's, the edge's, and how old what is presented is.

const NTP_MS = 2_208_988_800_000; // from 1900, where the reports count from, to 1970
const PINGS = 16; // answers remembered; the one with the shortest round trip decides
const SET_MS = 50; // by which two answers may differ, beyond what their ways explain: else a clock was set
const LATE_MS = 2000;
const MAX_REMEMBERED = 64; // pictures whose time is known and that were not shown yet, and the other way round
const STALE_MS = 500; // a sound that stands still has no age
const OPUS_FRAME_MS = 20;
const DECODED_MS = 20; // from being decoded to leaving the jitter buffer; measured in Chromium 156, docs/sound.md
const APART_MS = 250; // by which a capture time may contradict what is known of the sound's way: beyond, a clock was set

/** The other page's clock: asked again and again, the shortest round trip decides. Pure: time is an argument. */
export class PeerClock {
  constructor() {
    this.answers = [];
    this.waiting = new Map();
    this.number = 0;
  }

  /** The next question; to be sent at once. */
  ask(now) {
    this.number += 1;
    this.waiting.set(this.number, now);
    if (this.waiting.size > PINGS) this.waiting.delete(this.waiting.keys().next().value);
    return { type: "ping", n: this.number };
  }

  /** An answer has come; false if nobody asked. `theirs`: ms on the other's clock as it answered. */
  answered({ n, at }, now) {
    const asked = this.waiting.get(n);
    if (asked === undefined || !Number.isFinite(at)) return false;
    this.waiting.delete(n);
    const answer = { rtt: now - asked, offset: at - (asked + now) / 2 };
    const best = this.#best;
    if (best && Math.abs(answer.offset - best.offset) > (answer.rtt + best.rtt) / 2 + SET_MS) this.answers = [];
    this.answers.push(answer);
    if (this.answers.length > PINGS) this.answers.shift();
    return true;
  }

  /** The other's clock less ours, ms; null before the first answer. */
  get offset() { return this.#best?.offset ?? null; }

  /** Shortest round trip, ms; null before the first answer. */
  get rtt() { return this.#best?.rtt ?? null; }

  get #best() {
    return this.answers.reduce((best, one) => (best && best.rtt <= one.rtt ? best : one), null);
  }
}

/**
 * A picture as its edge knows it.
 * @typedef {object} Sent
 * @property {number|null} captured  ms on this page's clock; null at rest
 * @property {number|null} out  how old it was when it went to the page, ms
 * @property {number} held  how much of that it had been held back, ms
 */

/** When the pictures of each place were captured, on this page's clock, from the edge's messages "pictures". */
export class PictureTimes {
  constructor() {
    this.offsets = []; // page's clock less the edge's, each too large by the message's way
    this.known = new Map(); // "place rtp" -> Sent
    this.waiting = new Map(); // the same key -> what to call
  }

  /** A message of the edge, received at `now` (performance.now()). */
  tell(message, now) {
    if (!Array.isArray(message.at) || !Number.isFinite(message.now_ms)) return;
    const late = now - message.now_ms;
    if (late > Math.min(...this.offsets) + LATE_MS) this.offsets = []; // no message takes so long: a machine has slept
    this.offsets.push(late);
    if (this.offsets.length > 4 * PINGS) this.offsets.shift();
    const offset = Math.min(...this.offsets);
    for (const [place, rtp, age, out, held] of message.at) {
      const captured = Number.isFinite(age) ? message.now_ms - age + offset : null;
      const sent = { captured, out: out ?? null, held: held ?? 0 };
      const key = `${place} ${rtp}`;
      const wanted = this.waiting.get(key);
      this.waiting.delete(key);
      if (wanted) wanted(sent);
      else remember(this.known, key, sent);
    }
  }

  /** Call `then` with a picture's Sent, now or when the edge tells it. */
  find(place, rtp, then) {
    const key = `${place} ${rtp}`;
    if (this.known.has(key)) {
      then(this.known.get(key));
      this.known.delete(key);
    } else {
      remember(this.waiting, key, then);
    }
  }
}

function remember(map, key, value) {
  map.set(key, value);
  if (map.size > MAX_REMEMBERED) map.delete(map.keys().next().value);
}

/** Have each packet of sound say when it was captured; before the offer, and before the answer. Not every browser can. */
export function askCaptureTime(transceiver) {
  try {
    const extensions = transceiver.getHeaderExtensionsToNegotiate();
    for (const one of extensions) if (one.uri.endsWith("abs-capture-time")) one.direction = "sendrecv";
    transceiver.setHeaderExtensionsToNegotiate(extensions);
  } catch { /* then the age is estimated */ }
}

/**
 * How old the sound is that plays, ms; null while that is not known.
 *
 * Its capture time is on a clock that the other browser has set once. If that contradicts what is known of the sound's
 * way (a machine has slept, or was told the time), the way decides.
 * @param {RTCRtpSynchronizationSource | undefined} source  what was decoded last, and when
 * @param {PeerClock} clock  of the sender's page
 * @param {{buffered: number | null, playout: number}} delays  ms in the jitter buffer, and from there to the ear
 * @param {number} wall  this page's wall clock, ms
 */
export function soundAge(source, clock, delays, wall) {
  if (!source || clock.offset === null || wall - source.timestamp > STALE_MS) return null;
  const way = delays.buffered === null ? null : OPUS_FRAME_MS + clock.rtt / 2 + delays.buffered + delays.playout;
  const captured = source.captureTimestamp;
  if (!Number.isFinite(captured)) return way;
  const ours = (captured > NTP_MS ? captured - NTP_MS : captured) - clock.offset;
  const age = source.timestamp - ours + DECODED_MS + delays.playout;
  return way !== null && Math.abs(age - way) > APART_MS ? way : age;
}

/** This page's wall clock, ms, that never jumps. */
export function wallClock() { return performance.timeOrigin + performance.now(); }
