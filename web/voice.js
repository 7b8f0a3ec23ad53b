// What a voice tells of the mouth: how loud it is, and where its energy lies. The same as telepresence/face/voice.py,
// with the same test vectors; docs/sound.md explains it.

export const BLOCK = 1024; // samples that are looked at: 21 ms at 48 kHz
const EMPHASIS = 0.95;
const BANDS = [[200, 500], [500, 1100], [1100, 2200], [2200, 3600], [4500, 8000]]; // Hz
const QUIET_DB = -60, LOUD_DB = -25, ABOVE_DB = 8, RANGE_DB = 15;
const FLOOR_RISE = 3, LOUD_FALL = 2; // dB a second
const ATTACK_MS = 35, RELEASE_MS = 80, LONGEST_MS = 200;
const TINY = 1e-12;
const EVERY_MS = 33;

/** One voice: blocks of samples in, the mouth's shape out. Pure: time is an argument. */
export class VoiceMouth {
  /** @param {number} rate  samples a second */
  constructor(rate) {
    this.window = Float64Array.from({ length: BLOCK }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / (BLOCK - 1)));
    this.bands = BANDS.map(([low, high]) => [Math.ceil((low * BLOCK) / rate), Math.ceil((high * BLOCK) / rate)]);
    this.floor = QUIET_DB;
    this.loud = LOUD_DB;
    this.shape = [0, 0, 0];
    this.heardMs = null;
  }

  /**
   * @param {Float32Array} samples  the newest BLOCK, -1..1
   * @param {number} nowMs  when they were heard, any monotonic clock
   * @returns {{mouth: [number, number, number], level: number}}  open, wide, round, and loudness; each 0..1
   */
  hear(samples, nowMs) {
    const block = new Float64Array(BLOCK);
    const newest = samples.subarray(Math.max(0, samples.length - BLOCK));
    block.set(newest, BLOCK - newest.length);
    const seconds = this.heardMs === null ? 0 : clip(nowMs - this.heardMs, 0, LONGEST_MS) / 1000;
    this.heardMs = nowMs;
    const level = this.#loudness(block, seconds);
    const wanted = shape(this.#energies(block));
    this.shape = this.shape.map((value, n) => {
      const target = wanted[n] * level;
      const tau = target > value ? ATTACK_MS : RELEASE_MS;
      return value + (target - value) * (1 - Math.exp((-1000 * seconds) / tau));
    });
    return { mouth: this.shape.map((value) => clip(value, 0, 1)), level };
  }

  #loudness(block, seconds) {
    let sum = 0;
    for (const value of block) sum += value * value;
    const db = 10 * Math.log10(sum / BLOCK + TINY);
    this.floor = Math.max(-90, db < this.floor ? this.floor + 0.3 * (db - this.floor) : this.floor);
    if (db > this.floor) this.floor += Math.min(FLOOR_RISE * seconds, db - this.floor);
    this.loud = db > this.loud ? this.loud + 0.3 * (db - this.loud) : this.loud - LOUD_FALL * seconds;
    this.loud = Math.max(this.loud, this.floor + ABOVE_DB + RANGE_DB, -50);
    this.floor = Math.min(this.floor, this.loud - ABOVE_DB - RANGE_DB);
    const begin = this.floor + ABOVE_DB;
    return clip((db - begin) / (this.loud - begin), 0, 1);
  }

  #energies(block) {
    const real = new Float64Array(BLOCK), imaginary = new Float64Array(BLOCK);
    for (let n = 0; n < BLOCK; n += 1) real[n] = (block[n] - (n ? EMPHASIS * block[n - 1] : 0)) * this.window[n];
    transform(real, imaginary);
    return this.bands.map(([first, end]) => {
      let sum = 0;
      for (let n = first; n < Math.min(end, BLOCK / 2 + 1); n += 1) sum += real[n] ** 2 + imaginary[n] ** 2;
      return sum;
    });
  }
}

/** Open, wide and round of a full voice with this energy in the bands. */
function shape([low, mid, high, front, hiss]) {
  const voiced = low + mid + high + front + TINY;
  const hissing = ramp(hiss / (voiced + hiss), 0.35, 0.7);
  const opened = ramp(mid / (low + mid + TINY), 0.3, 0.8);
  const bright = (high + front) / voiced;
  const spread = ramp(front / (high + front + TINY), 0.35, 0.75) * ramp(bright, 0.15, 0.5);
  return [
    (1 - 0.85 * hissing) * (0.3 + 0.7 * opened),
    Math.max(0.5 * hissing, spread * (1 - 0.5 * opened)),
    (1 - hissing) * ramp(0.3 - bright, 0, 0.25) * (1 - 0.7 * opened),
  ];
}

/** Fast Fourier transform in place; the length is a power of two (Cooley and Tukey 1965). */
function transform(real, imaginary) {
  const size = real.length;
  for (let n = 1, m = 0; n < size; n += 1) {
    let bit = size >> 1;
    for (; m & bit; bit >>= 1) m ^= bit;
    m ^= bit;
    if (n < m) {
      [real[n], real[m]] = [real[m], real[n]];
      [imaginary[n], imaginary[m]] = [imaginary[m], imaginary[n]];
    }
  }
  for (let length = 2; length <= size; length *= 2) {
    for (let n = 0; n < length / 2; n += 1) {
      const angle = (-2 * Math.PI * n) / length;
      const cos = Math.cos(angle), sin = Math.sin(angle);
      for (let a = n; a < size; a += length) {
        const b = a + length / 2;
        const r = real[b] * cos - imaginary[b] * sin, i = real[b] * sin + imaginary[b] * cos;
        real[b] = real[a] - r;
        imaginary[b] = imaginary[a] - i;
        real[a] += r;
        imaginary[a] += i;
      }
    }
  }
}

const ramp = (value, start, end) => clip((value - start) / (end - start), 0, 1);
const clip = (value, least, most) => Math.min(most, Math.max(least, value));

/**
 * Listen to a microphone and tell the mouth's shape, 30 times a second, until the result is called.
 * @param {MediaStreamTrack} track
 * @param {(heard: {mouth: [number, number, number], level: number}) => void} onMouth
 * @returns {() => void}
 */
export function listen(track, onMouth) {
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 2048 });
  const source = context.createMediaStreamSource(new MediaStream([track]));
  source.connect(analyser);
  const voice = new VoiceMouth(context.sampleRate);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => { // not by animation frames: a page that is not looked at talks too
    if (context.state === "suspended") context.resume().catch(() => {});
    analyser.getFloatTimeDomainData(samples);
    onMouth(voice.hear(track.enabled ? samples : samples.fill(0), performance.now()));
  }, EVERY_MS);
  return () => {
    clearInterval(timer);
    source.disconnect();
    context.close();
  };
}
