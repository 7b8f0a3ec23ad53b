// Lips and sound on one clock: how old each is when it is presented, and which of them has to wait for the other.
//
// The age of what is presented is the time since it was captured at the sender. Of the sound the browser tells it: the
// sender's wall clock at the sample that is playing, by RTCP sender reports; the sender's page tells on the data channel
// "sync" what its clock shows. Of the pictures the edge tells it, by their RTP time. The later one decides: the other is
// delayed, the sound by its jitter buffer, the pictures by the edge. docs/sound.md explains and has the figures.

const NTP_MS = 2_208_988_800_000; // from 1900, where the reports count from, to 1970
const PINGS = 16; // answers remembered; the one with the shortest round trip decides
const PING_MS = 1000;
const FIRST_PINGS = 5; // in a row, so that there is a clock at once
const LOOK_MS = 100; // between two looks at the sound's age
const MOST_AGE_MS = 5000; // an age outside comes from a clock that was set, not from a link
const MAX_REMEMBERED = 64; // pictures whose time is known and that were not shown yet, and the other way round

export const LIMITS = {
  hold: 200, // ms that pictures may be held back: the edge takes no more
  sound: 400, // ms that the sound may be delayed; later than that, people talk into each other
  dead: 12, // ms of skew that nobody sees: nothing is changed
  relaxed: 4, // ms that a correction leaves to the side on which it came, lest it go back and forth
  window: 400, // ms over which the median is taken
  least: 3, // samples in it
  sustained: 1500, // ms for which pictures must have been late before the sound is made to wait
  share: 0.25, // of the skews in that time that may be smaller than what the sound then waits
  step: 60, // ms at once, unless the skew is worse than `bad`
  bad: 90, // ms: what a loss leaves behind; then at once
  holdSettles: 350, // ms until a changed hold can be seen
  soundSettles: 900, // ms until the browser's jitter buffer has followed; it stretches and shortens the sound
};

/** Nothing delayed, nothing known. */
export function atRest() {
  return { hold: 0, sound: 0, samples: [], blindUntil: 0, skew: null };
}

/**
 * What to delay by how much, from a new sample. Pure: time is an argument.
 *
 * Pictures are held back, and let go, at once: it costs nothing, and a sound that was lost on its way comes late for a
 * while. Sound is made to wait only for pictures that stay late: a machine that is busy for a moment is no reason.
 * @param {ReturnType<typeof atRest>} state  of the time before; not changed
 * @param {{picture: number, sound: number} | null} ages  ms at presentation; null: not known just now
 * @param {number} now  ms, any monotonic clock
 * @returns the next state: `hold` for the pictures and `sound` for the sound, ms; `skew`, ms, positive when the
 *   pictures are later than their sound
 */
export function steer(state, ages, now, limits = LIMITS) {
  const kept = state.samples.filter(([at]) => at > now - limits.sustained - limits.window);
  if (!ages || !valid(ages)) return { ...state, samples: kept };
  const newest = ages.picture - ages.sound;
  if (now < state.blindUntil) return { ...state, samples: [], skew: newest };
  const samples = [...kept, [now, newest]];
  const recent = samples.filter(([at]) => at > now - limits.window).map(([, value]) => value);
  const skew = quantile(recent, 0.5);
  const wanted = recent.length < limits.least ? 0 : wantedOf(state, skew, samples, now, limits);
  const { hold, sound } = shared(state, wanted, limits);
  if (hold === state.hold && sound === state.sound) return { ...state, samples, skew };
  const settles = sound === state.sound ? limits.holdSettles : limits.soundSettles;
  return { hold, sound, samples: [], blindUntil: now + settles, skew };
}

/** How much is to be corrected now: positive when the pictures are later. */
function wantedOf(state, skew, samples, now, limits) {
  let late = skew;
  if (skew > 0 && state.hold === 0) {
    if (samples[0][0] > now - limits.sustained) return 0;
    late = Math.min(skew, quantile(samples.map(([, value]) => value), limits.share));
  }
  if (Math.abs(late) <= limits.dead) return 0;
  const most = Math.abs(late) > limits.bad ? Infinity : limits.step;
  return Math.sign(late) * Math.min(most, Math.abs(late) - limits.relaxed);
}

/** Correct by `skew`: first by waiting less with what waits, then by more with the other. */
function shared({ hold, sound }, skew, limits) {
  if (skew > 0) {
    const less = Math.min(hold, skew);
    const more = hold > 0 ? 0 : skew; // the sound waits only for what stays late without any hold
    return { hold: Math.round(hold - less), sound: Math.round(Math.min(limits.sound, sound + more)) };
  }
  const less = Math.min(sound, -skew);
  return { hold: Math.round(Math.min(limits.hold, hold - skew - less)), sound: Math.round(sound - less) };
}

function valid({ picture, sound }) {
  return [picture, sound].every((age) => Number.isFinite(age) && Math.abs(age) < MOST_AGE_MS);
}

function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = share * (sorted.length - 1), low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

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
    this.answers.push({ rtt: now - asked, offset: at - (asked + now) / 2 });
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

/** When the pictures of each place were captured, on this page's clock, from the edge's messages "pictures". */
export class PictureTimes {
  constructor() {
    this.offsets = []; // page's clock less the edge's, each too large by the message's way
    this.known = new Map(); // "place rtp" -> capture, ms on this page's clock
    this.waiting = new Map(); // the same key -> what to call
  }

  /** A message of the edge, received at `now` (performance.now()). */
  tell(message, now) {
    if (!Array.isArray(message.at) || !Number.isFinite(message.now_ms)) return;
    this.offsets.push(now - message.now_ms);
    if (this.offsets.length > 4 * PINGS) this.offsets.shift();
    const offset = Math.min(...this.offsets);
    for (const [place, rtp, age] of message.at) {
      const captured = Number.isFinite(age) ? message.now_ms - age + offset : null;
      const key = `${place} ${rtp}`;
      const wanted = this.waiting.get(key);
      this.waiting.delete(key);
      if (wanted) wanted(captured);
      else remember(this.known, key, captured);
    }
  }

  /** Call `then` with the capture time (ms, or null at rest) of a picture, now or when the edge tells it. */
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
 * @param {RTCRtpSynchronizationSource | undefined} source  what was decoded last, and when
 * @param {PeerClock} clock  of the sender's page
 * @param {{buffered: number | null, playout: number}} delays  ms in the jitter buffer, and from there to the ear
 * @param {number} wall  this page's wall clock, ms
 */
export function soundAge(source, clock, delays, wall) {
  if (!source || clock.offset === null || wall - source.timestamp > STALE_MS) return null;
  const captured = source.captureTimestamp;
  if (Number.isFinite(captured)) {
    const ours = (captured > NTP_MS ? captured - NTP_MS : captured) - clock.offset;
    return source.timestamp - ours + DECODED_MS + delays.playout;
  }
  return delays.buffered === null ? null : OPUS_FRAME_MS + clock.rtt / 2 + delays.buffered + delays.playout;
}

const STALE_MS = 500; // a sound that stands still has no age
const OPUS_FRAME_MS = 20;
const DECODED_MS = 20; // from being decoded to leaving the jitter buffer; measured in Chromium 156, docs/sound.md

/** This page's wall clock, ms, that never jumps. */
export function wallClock() { return performance.timeOrigin + performance.now(); }

/**
 * One other participant's lips and sound. Both pages make one for the connection between them.
 * @param {object} options
 * @param {RTCDataChannel} options.channel  "sync"
 * @param {RTCRtpReceiver} [options.receiver]  of the other's sound
 * @param {(ms: number) => void} options.hold  hold the other's pictures back by so much
 * @param {(figures: {skew_ms: number|null, sound_ms: number|null, picture_ms: number|null, hold_ms: number, sound_delay_ms: number}) => void} [options.onFigures]
 */
export class LipSync {
  constructor(options) {
    this.options = options;
    this.clock = new PeerClock();
    this.state = atRest();
    this.playout = 0; // ms from the jitter buffer to the ear, as the browser has it
    this.played = { delay: 0, count: 0 };
    this.picture = null; // age of the newest presented, ms
    this.pictureAt = 0;
    this.sound = null;
    this.buffered = null; // ms that sound has spent in the jitter buffer of late
    this.emitted = { delay: 0, count: 0 };
    this.target = 0; // asked of the jitter buffer, ms; 0: nothing
    this.asked = 0;
    this.closed = false;
    options.channel.addEventListener("message", this.onMessage);
    options.channel.addEventListener("open", this.ping);
    this.ping();
    this.timer = setInterval(this.look, LOOK_MS);
  }

  close() {
    this.closed = true;
    clearInterval(this.timer);
    clearTimeout(this.pinging);
    this.options.channel.removeEventListener("message", this.onMessage);
    this.options.channel.removeEventListener("open", this.ping);
    if (this.state.hold) this.options.hold(0);
  }

  /** Follow the pictures of a place on a video element; returns what ends that. */
  watch(video, place, times) {
    let ended = !video.requestVideoFrameCallback;
    const shown = (now, metadata) => {
      if (ended || this.closed) return;
      video.requestVideoFrameCallback(shown);
      const display = metadata.expectedDisplayTime;
      if (metadata.rtpTimestamp !== undefined) {
        times.find(place, metadata.rtpTimestamp >>> 0, (captured) => this.presented(captured, display));
      }
    };
    if (!ended) video.requestVideoFrameCallback(shown);
    return () => { ended = true; };
  }

  /** A picture captured at `captured` (null: at rest) is displayed at `display`; ms of performance.now(). */
  presented(captured, display) {
    if (captured === null) return;
    this.picture = display - captured;
    this.pictureAt = display;
  }

  ping = () => {
    clearTimeout(this.pinging);
    if (this.closed) return;
    const { channel } = this.options;
    if (channel.readyState === "open" && channel.bufferedAmount === 0) {
      this.asked += 1;
      channel.send(JSON.stringify(this.clock.ask(wallClock())));
    }
    this.pinging = setTimeout(this.ping, this.asked < FIRST_PINGS ? PING_MS / 10 : PING_MS);
  };

  onMessage = ({ data }) => {
    const now = wallClock();
    const message = parsed(data);
    if (message?.type === "ping" && Number.isInteger(message.n)) {
      const { channel } = this.options;
      if (channel.readyState !== "open" || channel.bufferedAmount > 0) return;
      channel.send(JSON.stringify({ type: "pong", n: message.n, at: now }));
    } else if (message?.type === "pong") {
      this.clock.answered(message, now);
    }
  };

  look = async () => {
    const { receiver, onFigures } = this.options;
    if (!receiver || this.looking) return;
    this.looking = true;
    try {
      this.#measureDelays(await receiver.getStats());
      this.sound = soundAge(receiver.getSynchronizationSources()[0], this.clock, this, wallClock());
    } catch {
      this.sound = null; // the connection has just been closed
    } finally {
      this.looking = false;
    }
    if (this.closed) return;
    const now = performance.now();
    const fresh = now - this.pictureAt < LIMITS.window;
    const ages = fresh && this.picture !== null && this.sound !== null ? { picture: this.picture, sound: this.sound } : null;
    this.#apply(steer(this.state, ages, now));
    onFigures?.({
      skew_ms: ages && ages.picture - ages.sound, sound_ms: this.sound, picture_ms: fresh ? this.picture : null,
      hold_ms: this.state.hold, sound_delay_ms: this.state.sound,
    });
  };

  #apply(next) {
    const before = this.state;
    this.state = next;
    if (next.hold !== before.hold) this.options.hold(next.hold);
    if (next.sound === before.sound) return;
    // The browser takes the least that the buffer is to hold, not what is to be added to what it holds anyway.
    const from = this.target || this.buffered || 0;
    this.target = next.sound ? Math.max(1, Math.round(from + next.sound - before.sound)) : 0;
    delaySound(this.options.receiver, this.target);
  }

  #measureDelays(report) {
    report.forEach((entry) => {
      if (entry.type === "inbound-rtp" && entry.kind === "audio") {
        const now = { delay: entry.jitterBufferDelay ?? 0, count: entry.jitterBufferEmittedCount ?? 0 };
        this.buffered = mean(this.emitted, now) ?? this.buffered;
        this.emitted = now;
      } else if (entry.type === "media-playout") {
        const now = { delay: entry.totalPlayoutDelay ?? 0, count: entry.totalSamplesCount ?? 0 };
        this.playout = Math.min(MOST_PLAYOUT_MS, mean(this.played, now) ?? this.playout);
        this.played = now;
      }
    });
  }
}

const MOST_PLAYOUT_MS = 500; // a headset by radio has 200

/** Delay of each of the samples between two readings, ms; null without any. */
function mean(before, now) {
  return now.count > before.count ? (1000 * (now.delay - before.delay)) / (now.count - before.count) : null;
}

/** Ask for this much in the jitter buffer, ms; 0 leaves it to the browser. Neither knob exists everywhere. */
export function delaySound(receiver, ms) {
  try { receiver.jitterBufferTarget = ms || null; } catch { /* not known here */ }
  try { receiver.playoutDelayHint = ms ? ms / 1000 : null; } catch { /* not known here */ }
}

function parsed(data) {
  if (typeof data !== "string" || data.length > 1000) return null;
  try { return JSON.parse(data); } catch { return null; }
}
