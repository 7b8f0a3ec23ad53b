// What lips and sound have to wait for, decided. Pure: ages come in, and time is an argument.
//
// Ages are from capture to presentation. Sound has one age for long stretches; pictures have one each, and some are much
// later than others. So pictures wait for the sound: each is held until it is as old as the sound is, and those that are
// older anyway are late by so much. And the sound waits for most of the pictures, so that few of them are.

export const LIMITS = {
  hold: 200, // ms that a picture may be held back: the edge takes no more
  sound: 400, // ms that the sound may be delayed; later than that, people talk into each other
  dead: 12, // ms that nobody sees: the sound is left alone
  relaxed: 4, // ms that a correction of the sound leaves, lest it go back and forth
  quiet: 3, // ms by which the sound's age has to change for the pictures to be told
  window: 300, // ms over which the sound's age is taken
  slices: 3, // that have to agree before the sound is delayed, or delayed less: one may be of a machine busy for a moment
  slice: 1000, // ms
  least: 4, // pictures in a slice
  share: 0.85, // of the pictures that the sound waits for
  settles: 900, // ms until the browser's jitter buffer has followed; it stretches and shortens the sound
  forget: 2000, // ms without sound after which nothing waits for it any more
};

/** Nothing delayed, nothing known. */
export function atRest() {
  return { age: null, hold: 0, sound: 0, heard: [], late: [], blindUntil: 0, skew: null };
}

/**
 * What is to be delayed by how much, from what was presented since the last time.
 * @param {ReturnType<typeof atRest>} state  of the time before; not changed
 * @param {{pictures: {at: number, age: number, held: number}[], sound: number|null}} seen  pictures: when each was
 *   presented (ms, as `now`), how old it was then, and how much of that it was held back; sound: how old the sound is
 *   that plays now, null if that is not known
 * @param {number} now  ms, any monotonic clock
 * @returns the next state: `age` that pictures are to have (null: show them at once), `hold` that comes to the same on
 *   average, ms; `sound`, ms more than none that it is to be delayed; `skew` of the newest picture, ms, positive when it
 *   is later than its sound
 */
export function steer(state, { pictures, sound }, now, limits = LIMITS) {
  const span = limits.slices * limits.slice;
  const known = Number.isFinite(sound) ? [...state.heard, [now, sound]] : state.heard;
  const heard = known.filter(([at]) => at > now - limits.forget);
  if (!heard.length) return atRest();
  const level = quantile(heard.filter(([at]) => at > now - limits.window).map(([, age]) => age), 0.5) ?? heard.at(-1)[1];
  const newest = pictures.at(-1);
  const skew = newest ? newest.age - level : state.skew;
  const more = now < state.blindUntil ? [] : pictures.map(({ at, age, held }) => [at, age - held - level]);
  const late = [...state.late, ...more].filter(([at]) => at > now - span);
  const age = state.age === null || Math.abs(level - state.age) > limits.quiet ? level : state.age;
  const hold = holdOf(late, state, limits);
  const change = changeOf(late, state.sound, now, limits);
  const next = Math.round(clip(state.sound + change, 0, limits.sound));
  if (next === state.sound) return { ...state, age, hold, heard, late, skew };
  return { ...state, age, hold, sound: next, heard, late: [], blindUntil: now + limits.settles, skew };
}

/** How much more the sound is to be delayed; negative: less. All slices have to want it. */
function changeOf(late, delayed, now, limits) {
  const slices = Array.from({ length: limits.slices }, (_, n) => late
    .filter(([at]) => at > now - (n + 1) * limits.slice && at <= now - n * limits.slice).map(([, value]) => value));
  if (slices.some((slice) => slice.length < limits.least)) return 0;
  const levels = slices.map((slice) => quantile(slice, limits.share));
  const [least, most] = [Math.min(...levels), Math.max(...levels)];
  if (least > limits.dead) return least - limits.relaxed;
  if (most < -limits.dead && delayed > 0) return Math.max(-delayed, most + limits.relaxed);
  return 0;
}

/** For whoever can only hold all pictures back alike. */
function holdOf(late, state, limits) {
  const middle = quantile(late.map(([, value]) => value), 0.5);
  if (middle === null) return state.hold;
  const hold = Math.round(clip(-middle, 0, limits.hold));
  return Math.abs(hold - state.hold) > limits.dead ? hold : state.hold;
}

function quantile(values, share) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const at = share * (sorted.length - 1), low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

const clip = (value, least, most) => Math.min(most, Math.max(least, value));
