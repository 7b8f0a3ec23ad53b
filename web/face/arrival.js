// Which packets count, and how long they take: the twin of telepresence/wire/arrival.py, which explains the rules.

const HALF = 2 ** 31;
const RESTART_GAP = 2 ** 16;
const WINDOW_PACKETS = 64;
const USUAL_SHARE = 0.2;
const STALE_US = 250_000;
const FUTURE_US = 1_000_000;
const RESYNC_PACKETS = 5;
const RESYNC_US = 100_000;

/** Newest wins: lets a packet through if it is newer than all before it, and counts what it keeps back. */
export class Newest {
  #sequence = null;
  #captureUs = 0;
  dropped = 0;

  accept({ sequence, captureUs }) {
    const ahead = this.#sequence === null ? 1 : (sequence - this.#sequence) >>> 0;
    if (this.#sequence !== null) {
      if (ahead === 0 || ahead >= HALF || ahead > RESTART_GAP || captureUs < this.#captureUs) {
        this.dropped += 1;
        return false;
      }
      this.dropped += ahead - 1;
    }
    this.#sequence = sequence;
    this.#captureUs = captureUs;
    return true;
  }
}

/** What became of packets that were not shown. */
export const newCounts = () => ({ dropped: 0, repeated: 0, stale: 0, future: 0, epochs: 0, restarts: 0 });

/** Judges packets by their sequence and their delay, and measures the delays. */
export class Arrivals {
  #newest = new Newest();
  #delays = [];
  #recent = []; // [sequence, captureUs]
  #odd = []; // refused, but in agreement with each other: [packet, nowUs]; newest last
  /** Whether the packet accepted last began the stream, or began it anew. */
  restarted = false;

  constructor(counts = newCounts()) {
    this.counts = counts;
  }

  /** Shortest delay in the window; 0 before the first packet. */
  get fastestUs() {
    return this.#delays.length ? Math.min(...this.#delays) : 0;
  }

  /** The delay within which USUAL_SHARE of the packets come. */
  get usualUs() {
    if (!this.#delays.length) return 0;
    return [...this.#delays].sort((a, b) => a - b)[Math.floor(USUAL_SHARE * (this.#delays.length - 1))];
  }

  /** Whether a packet counts. */
  accept(packet, nowUs) {
    const delay = nowUs - packet.captureUs;
    if (!this.#delays.length) {
      this.#newest.accept(packet);
      return this.#take(packet, delay, true);
    }
    const same = ([sequence, captureUs]) => sequence === packet.sequence && captureUs === packet.captureUs;
    if (this.#recent.some(same) || this.#odd.some(([odd]) => same([odd.sequence, odd.captureUs]))) {
      this.counts.repeated += 1;
      return false;
    }
    const excess = delay - this.fastestUs;
    const before = this.#newest.dropped;
    if (excess > STALE_US) this.counts.stale += 1;
    else if (excess < -FUTURE_US) this.counts.future += 1;
    else if (this.#newest.accept(packet)) {
      this.counts.dropped += this.#newest.dropped - before;
      return this.#take(packet, delay, false);
    }
    this.counts.dropped += 1;
    return this.#resync(packet, nowUs);
  }

  #take(packet, delay, restarted) {
    this.#odd = [];
    push(this.#recent, [packet.sequence, packet.captureUs]);
    this.restarted = restarted;
    push(this.#delays, delay);
    return true;
  }

  /** Follow packets that were refused but agree with each other. */
  #resync(packet, nowUs) {
    const last = this.#odd.at(-1);
    if (last && trails(...last, packet, nowUs)) return false; // overtaken on its way
    if (last && !follows(...last, packet, nowUs)) this.#odd = [];
    this.#odd = [...this.#odd.slice(0, RESYNC_PACKETS - 1), [packet, nowUs]];
    if (this.#odd.length < RESYNC_PACKETS || nowUs - this.#odd[0][1] < RESYNC_US) return false;
    this.#newest = new Newest();
    this.#newest.accept(packet);
    this.#delays = [];
    this.#recent = this.#odd.map(([odd]) => [odd.sequence, odd.captureUs]);
    this.counts.restarts += 1;
    return this.#take(packet, nowUs - packet.captureUs, true);
  }
}

function push(window, value) {
  window.push(value);
  if (window.length > WINDOW_PACKETS) window.shift();
}

function follows(before, beforeUs, packet, nowUs) {
  const ahead = (packet.sequence - before.sequence) >>> 0;
  const after = ahead > 0 && ahead <= RESYNC_PACKETS && packet.captureUs > before.captureUs;
  return after && agree(before, beforeUs, packet, nowUs);
}

function trails(newer, newerUs, packet, nowUs) {
  const behind = (newer.sequence - packet.sequence) >>> 0;
  return behind <= RESYNC_PACKETS && packet.captureUs <= newer.captureUs && agree(newer, newerUs, packet, nowUs);
}

const agree = (one, oneUs, other, otherUs) => Math.abs(otherUs - other.captureUs - (oneUs - one.captureUs)) <= STALE_US;
