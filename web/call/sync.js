// Lips and sound on one clock: how old each is when it is presented, and which of them has to wait for the other.
//
// The age of what is presented is the time since it was captured at the sender. Of the sound the browser tells it, on the
// clock of the sender's page, which is asked for on the data channel "sync". Of the pictures the edge tells it, by their
// RTP time. steering.js decides; the sound is delayed by its jitter buffer, pictures by the edge. docs/sound.md explains
// and has the figures.

import { PeerClock, soundAge, wallClock } from "./clocks.js";
import { LIMITS, atRest, steer } from "./steering.js";

const PING_MS = 1000;
const FIRST_PINGS = 5; // in a row, so that there is a clock at once
const LOOK_MS = 100; // between two looks at the sound's age
const MOST_AGE_MS = 5000; // an age outside comes from a clock that was set, not from a link
const MOST_PLAYOUT_MS = 500; // a headset by radio has 200
const FRESH_MS = 400;
const LEGS = 16; // pictures whose way from the edge to the screen is remembered
const LIPS_MS = 4; // that a mouth is later than its picture's capture time says; docs/sound.md

const NOTHING = { age: null, hold: 0 };

/**
 * One other participant's lips and sound. Both pages make one for the connection between them.
 * @param {object} options
 * @param {RTCDataChannel} options.channel  "sync"
 * @param {RTCRtpReceiver} [options.receiver]  of the other's sound
 * @param {(ms: number, age: number|null) => void} options.hold  hold each of the other's pictures back until it is `age` ms
 *   old, counted from its capture to its leaving the edge (null: no longer), or all of them alike by `ms`
 * @param {(figures: {skew_ms: number|null, sound_ms: number|null, picture_ms: number|null, hold_ms: number, sound_delay_ms: number}) => void} [options.onFigures]
 */
export class LipSync {
  constructor(options) {
    this.options = options;
    this.clock = new PeerClock();
    this.state = atRest();
    this.playout = 0; // ms from the jitter buffer to the ear, as the browser has it
    this.played = { delay: 0, count: 0 };
    this.pictures = []; // presented since the last look
    this.picture = null; // age of the newest presented, ms
    this.pictureAt = 0;
    this.legs = []; // ms from the edge to the screen, of the last pictures
    this.sound = null;
    this.buffered = null; // ms that sound has spent in the jitter buffer of late
    this.emitted = { delay: 0, count: 0 };
    this.target = 0; // asked of the jitter buffer, ms; 0: nothing
    this.told = NOTHING; // to whoever holds the pictures back
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
    if (this.told !== NOTHING) this.options.hold(0, null);
  }

  /** Whoever holds the pictures back has forgotten by how much. */
  tellAgain() { this.told = NOTHING; }

  /** Follow the pictures of a place on a video element; returns what ends that. */
  watch(video, place, times) {
    let ended = !video.requestVideoFrameCallback;
    const shown = (now, metadata) => {
      if (ended || this.closed) return;
      video.requestVideoFrameCallback(shown);
      const display = metadata.expectedDisplayTime;
      if (metadata.rtpTimestamp !== undefined) {
        times.find(place, metadata.rtpTimestamp >>> 0, ({ captured, out, held }) => this.presented(captured, display, out, held));
      }
    };
    if (!ended) video.requestVideoFrameCallback(shown);
    return () => { ended = true; };
  }

  /**
   * A picture is displayed.
   * @param {number|null} captured  when it was captured, ms of performance.now(); null: at rest
   * @param {number} display  when it is displayed, the same
   * @param {number|null} [out]  how old it was when it left the edge, ms; null: nobody holds pictures back by their age
   * @param {number} [held]  for how long it had been held back by then, ms
   */
  presented(captured, display, out = null, held = this.told.hold) {
    const age = display - captured + LIPS_MS;
    if (captured === null || !(Math.abs(age) < MOST_AGE_MS)) return;
    if (out !== null) this.legs.push(display - captured - out);
    if (this.legs.length > LEGS) this.legs.shift();
    this.pictures.push({ at: display, age, held });
    [this.picture, this.pictureAt] = [age, display];
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
    const [pictures, sound] = [this.pictures.splice(0), valid(this.sound) ? this.sound : null];
    this.#apply(steer(this.state, { pictures, sound }, now));
    const fresh = now - this.pictureAt < FRESH_MS;
    onFigures?.({
      skew_ms: fresh && sound !== null ? this.state.skew : null, sound_ms: sound, picture_ms: fresh ? this.picture : null,
      hold_ms: this.state.hold, sound_delay_ms: this.state.sound,
    });
  };

  #apply(next) {
    const before = this.state;
    this.state = next;
    this.#tell();
    if (next.sound === before.sound) return;
    // The browser takes the least that the buffer is to hold, not what is to be added to what it holds anyway.
    const from = this.target || this.buffered || 0;
    this.target = next.sound ? Math.max(1, Math.round(from + next.sound - before.sound)) : 0;
    delaySound(this.options.receiver, this.target);
  }

  #tell() {
    const { age, hold } = this.state;
    const leg = [...this.legs].sort((a, b) => a - b)[this.legs.length >> 1];
    const wanted = age === null || leg === undefined ? null : Math.max(0, Math.round(age - LIPS_MS - leg));
    const { told } = this;
    const same = wanted === null || told.age === null ? wanted === told.age : Math.abs(wanted - told.age) <= LIMITS.quiet;
    if (same && hold === told.hold) return;
    this.told = { age: wanted, hold };
    this.options.hold(hold, wanted);
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

/** Delay of each of the samples between two readings, ms; null without any. */
function mean(before, now) {
  return now.count > before.count ? (1000 * (now.delay - before.delay)) / (now.count - before.count) : null;
}

/** Ask for this much in the jitter buffer, ms; 0 leaves it to the browser. Neither knob exists everywhere. */
export function delaySound(receiver, ms) {
  try { receiver.jitterBufferTarget = ms || null; } catch { /* not known here */ }
  try { receiver.playoutDelayHint = ms ? ms / 1000 : null; } catch { /* not known here */ }
}

const valid = (age) => age !== null && Math.abs(age) < MOST_AGE_MS;

function parsed(data) {
  if (typeof data !== "string" || data.length > 1000) return null;
  try { return JSON.parse(data); } catch { return null; }
}
