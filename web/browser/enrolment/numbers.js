// Numbers of many, as NumPy gives them.

/** The middle one, or the mean of the two in the middle. */
export const median = (values) => percentile(values, 50);

/** Between the two nearest, in proportion. @param {ArrayLike<number>} values @param {number} share  0 to 100 */
export const percentile = (values, share) => percentiles(values, [share])[0];

/** The same for several shares: sorted once. */
export function percentiles(values, shares) {
  const sorted = Float64Array.from(values).sort();
  return shares.map((share) => {
    const at = (share / 100) * (sorted.length - 1);
    const low = Math.floor(at);
    const high = Math.min(low + 1, sorted.length - 1);
    return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
  });
}

/** `count` whole numbers from 0 to `last`, evenly spread, both included. */
export const evenly = (last, count) => Array.from({ length: count }, (_, n) => (count > 1 ? Math.trunc((n * last) / (count - 1)) : 0));

/** Half way goes to the even one, as in Python. */
export function round(value) {
  const down = Math.floor(value);
  const rest = value - down;
  if (rest !== 0.5) return rest < 0.5 ? down : down + 1;
  return down % 2 ? down + 1 : down;
}

export const clamped = (value, low, high) => Math.min(Math.max(value, low), high);
