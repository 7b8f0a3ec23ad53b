// Shapes on grids of numbers: filled, grown, blurred, told apart. What telepresence/avatar and face/matte.py do with OpenCV.

import { mirrored } from "./pixels.js";

/** What lies within points ([x, y], whole numbers), their outline included: (H, W), 1 inside. */
export function filled(points, width, height) {
  const out = new Uint8Array(width * height);
  const edges = points.map((point, n) => [point, points[(n + 1) % points.length]]);
  const top = Math.max(0, Math.min(...points.map(([, y]) => y)));
  const bottom = Math.min(height - 1, Math.max(...points.map(([, y]) => y)));
  for (let y = top; y <= bottom; y++) {
    const crossings = [];
    for (const [[x0, y0], [x1, y1]] of edges) {
      if (y0 <= y !== y1 <= y) crossings.push(x0 + ((y - y0) * (x1 - x0)) / (y1 - y0));
    }
    crossings.sort((a, b) => a - b);
    for (let n = 0; n + 1 < crossings.length; n += 2) {
      const [from, to] = [Math.max(0, Math.round(crossings[n])), Math.min(width - 1, Math.round(crossings[n + 1]))];
      out.fill(1, y * width + from, y * width + Math.max(from, to + 1));
    }
  }
  for (const [from, to] of edges) line(out, width, height, from, to);
  return out;
}

function line(out, width, height, [x0, y0], [x1, y1]) {
  const steps = Math.max(Math.abs(x1 - x0), Math.abs(y1 - y0), 1);
  for (let n = 0; n <= steps; n++) {
    const [x, y] = [Math.round(x0 + ((x1 - x0) * n) / steps), Math.round(y0 + ((y1 - y0) * n) / steps)];
    if (x >= 0 && y >= 0 && x < width && y < height) out[y * width + x] = 1;
  }
}

/** The convex hull of points ([x, y]), in order. Andrew 1979, "Another efficient algorithm for convex hulls in two dimensions". */
export function hull(points) {
  const sorted = [...points].sort(([a, c], [b, d]) => a - b || c - d);
  const half = (all) => {
    const out = [];
    for (const point of all) {
      while (out.length > 1 && turn(out.at(-2), out.at(-1), point) <= 0) out.pop();
      out.push(point);
    }
    return out.slice(0, -1);
  };
  const found = [...half(sorted), ...half(sorted.reverse())];
  return found.length ? found : sorted.slice(0, 1);
}

const turn = ([ax, ay], [bx, by], [cx, cy]) => (bx - ax) * (cy - ay) - (by - ay) * (cx - ax);

/** An upright ellipse: (H, W), 1 inside. */
export function ellipse([cx, cy], [rx, ry], width, height) {
  const out = new Uint8Array(width * height);
  for (let y = Math.max(0, cy - ry); y <= Math.min(height - 1, cy + ry); y++) {
    const half = Math.round(rx * Math.sqrt(Math.max(0, 1 - ((y - cy) / ry) ** 2)));
    const [from, to] = [Math.max(0, cx - half), Math.min(width - 1, cx + half)];
    if (from <= to) out.fill(1, y * width + from, y * width + to + 1);
  }
  return out;
}

/** Half-widths of the rows of a disc, from the topmost on, as OpenCV's MORPH_ELLIPSE. */
export function disc(radius) {
  const r = Math.round(radius);
  return Array.from({ length: 2 * r + 1 }, (_, n) => Math.round(Math.sqrt(Math.max(0, r * r - (n - r) ** 2))));
}

/** Half-widths of the rows of a square. */
export const square = (across) => new Array(across).fill(across >> 1);

/** Grow what is set in (H, W) by a shape given by its rows' half-widths. */
export function grown(mask, width, height, rows) {
  const out = new Uint8Array(mask.length);
  const sums = new Int32Array(width + 1);
  const half = rows.length >> 1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) sums[x + 1] = sums[x] + (mask[y * width + x] ? 1 : 0);
    if (!sums[width]) continue;
    const [first, last] = [sums.lastIndexOf(0), sums.indexOf(sums[width]) - 1]; // of those that are set
    for (let n = 0; n < rows.length; n++) {
      const to = y + half - n;
      if (to < 0 || to >= height) continue;
      const reach = rows[n];
      for (let x = Math.max(0, first - reach); x <= Math.min(width - 1, last + reach); x++) {
        if (sums[Math.min(width, x + reach + 1)] > sums[Math.max(0, x - reach)]) out[to * width + x] = 1;
      }
    }
  }
  return out;
}

/** Shrink what is set by the same; what is beyond the edge counts as set. */
export function shrunk(mask, width, height, rows) {
  const outside = new Uint8Array(mask.length);
  for (let i = 0; i < mask.length; i++) outside[i] = mask[i] ? 0 : 1;
  const out = grown(outside, width, height, rows);
  for (let i = 0; i < out.length; i++) out[i] = 1 - out[i];
  return out;
}

/**
 * Which pixels that are set hang together, diagonals included.
 * @returns {{labels: Int32Array, sizes: number[]}}  0: not set; sizes[label]
 */
export function components(mask, width, height) {
  const labels = new Int32Array(mask.length);
  const sizes = [0];
  const stack = new Int32Array(mask.length);
  for (let start = 0; start < mask.length; start++) {
    if (!mask[start] || labels[start]) continue;
    const label = sizes.length;
    let [count, size] = [1, 0];
    stack[0] = start;
    labels[start] = label;
    while (count) {
      const at = stack[--count];
      size += 1;
      const y = (at / width) | 0, x = at - y * width;
      const [left, right, bottom] = [x && x - 1, x < width - 1 ? x + 1 : x, y < height - 1 ? y + 1 : y];
      for (let j = y && y - 1; j <= bottom; j++) {
        for (let i = left; i <= right; i++) {
          const other = j * width + i;
          if (!mask[other] || labels[other]) continue;
          labels[other] = label;
          stack[count++] = other;
        }
      }
    }
    sizes.push(size);
  }
  return { labels, sizes };
}

/** Blurred (H, W, channels) by a Gaussian that reaches `reach` deviations to each side, edges mirrored. */
export function blurred(values, width, height, channels, sigma, reach = 4) {
  const radius = Math.max(1, Math.round(sigma * reach));
  const weights = Float64Array.from({ length: 2 * radius + 1 }, (_, k) => Math.exp(-((k - radius) ** 2) / (2 * sigma * sigma)));
  const total = weights.reduce((a, b) => a + b, 0);
  return convolved(values, width, height, channels, weights.map((value) => value / total));
}

/** Weighed with the same odd number of weights both ways, edges mirrored. */
export function convolved(values, width, height, channels, weights) {
  const radius = weights.length >> 1;
  const line = width * channels;
  const across = new Float32Array(values.length);
  const row = new Float64Array(line + 2 * radius * channels);
  for (let y = 0; y < height; y++) {
    for (let x = -radius; x < width + radius; x++) {
      const from = y * line + mirrored(x, width) * channels;
      for (let c = 0; c < channels; c++) row[(x + radius) * channels + c] = values[from + c];
    }
    for (let i = 0; i < line; i++) {
      let sum = 0;
      for (let k = 0, at = i; k < weights.length; k++, at += channels) sum += weights[k] * row[at];
      across[y * line + i] = sum;
    }
  }
  const out = new Float32Array(values.length);
  const sums = new Float64Array(line);
  for (let y = 0; y < height; y++) {
    sums.fill(0);
    for (let k = 0; k < weights.length; k++) {
      const [weight, from] = [weights[k], mirrored(y + k - radius, height) * line];
      for (let i = 0; i < line; i++) sums[i] += weight * across[from + i];
    }
    out.set(sums, y * line);
  }
  return out;
}
