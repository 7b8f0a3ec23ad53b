// Who is speaking, by the loudness of voices. Pure: time is an argument.

const HEARD = 0.35; // level from which a voice counts; breath and keys stay below
const RISE_MS = 300, FALL_MS = 900; // smoothing: a syllable is no speech, and a pause between words no end of it
const CLEARLY = 1.3; // louder than the present speaker by this factor
const STAY_MS = 1500; // between two changes

/** Picks the speaker. Whoever spoke last stays it until somebody else does. */
export class Speaker {
  constructor() {
    this.id = null;
    this.levels = new Map();
    this.at = null;
    this.changed = -Infinity;
  }

  /**
   * @param {Map<string, number>} levels  of everybody else who is there, 0 to 1 @param {number} now  ms
   * @returns {string|null}  null only while nobody is there
   */
  hear(levels, now) {
    const passed = this.at === null ? 0 : Math.min(1000, now - this.at);
    this.at = now;
    this.levels = new Map([...levels].map(([id, level]) => {
      const before = this.levels.get(id) ?? 0;
      return [id, before + (level - before) * (1 - Math.exp(-passed / (level > before ? RISE_MS : FALL_MS)))];
    }));
    if (!levels.has(this.id)) this.#choose(this.#loudest() ?? null, now);
    const loudest = this.#loudest();
    const louder = this.levels.get(loudest) > Math.max(HEARD, CLEARLY * (this.levels.get(this.id) ?? 0));
    if (loudest !== this.id && louder && now - this.changed >= STAY_MS) this.#choose(loudest, now);
    return this.id;
  }

  /** Whether somebody is heard now. */
  speaks(id) { return (this.levels.get(id) ?? 0) > HEARD / 2; }

  #loudest() {
    return [...this.levels].reduce((best, one) => (best === null || one[1] > best[1] ? one : best), null)?.[0];
  }

  #choose(id, now) {
    this.id = id;
    this.changed = now;
  }
}
