// Pictures as an engine takes them: decoded without any management of colours, scaled as Pillow does it.

/**
 * JPEG -> RGBA of its own size. Runs in a worker.
 * @param {Uint8Array} jpeg  checked: docs/avatar-format.md @param {number} side  pixels
 * @returns {Promise<Uint8ClampedArray>} (side, side, 4)
 */
export async function decodeJpeg(jpeg, side) {
  const bitmap = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }), {
    colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "none",
  });
  try {
    if (bitmap.width !== side || bitmap.height !== side) throw new Error("a picture inside is not what its section says");
    const context = new OffscreenCanvas(side, side).getContext("2d", { alpha: false, colorSpace: "srgb", willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, side, side, { colorSpace: "srgb" }).data;
  } finally {
    bitmap.close();
  }
}

/** The first `channels` of (n, n, 4) as (n, n, channels). */
export function channelsOf(rgba, channels) {
  const out = new Uint8Array((rgba.length / 4) * channels);
  for (let i = 0, at = 0; i < rgba.length; i += 4) for (let c = 0; c < channels; c++) out[at++] = rgba[i + c];
  return out;
}

/** Of a matte: what JPEG's ripple left beside an edge goes. */
export function cleanMatte(matte) {
  for (let i = 0; i < matte.length; i++) matte[i] = matte[i] < 4 ? 0 : matte[i] > 251 ? 255 : matte[i];
  return matte;
}

/**
 * Scale a square picture, bicubic with a filter as wide as the shrinking needs: the same as Pillow's `Image.resize`.
 * @param {Uint8Array} picture  (from, from, channels) @returns {Uint8Array} (to, to, channels)
 */
export function resized(picture, from, to, channels) {
  if (from === to) return picture;
  const weights = bicubic(from, to);
  const across = new Uint8Array(from * to * channels); // Pillow rounds between the two passes too
  pass(picture, across, weights, { lines: from, to, step: channels, line: from * channels, out: to * channels, outStep: channels, channels });
  const out = new Uint8Array(to * to * channels);
  const row = to * channels;
  pass(across, out, weights, { lines: to, to, step: row, line: channels, out: channels, outStep: row, channels });
  return out;
}

function pass(source, target, weights, { lines, to, step, line, out, outStep, channels }) {
  for (let n = 0; n < lines; n++) {
    for (let x = 0; x < to; x++) {
      const { first, values } = weights[x];
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let k = 0; k < values.length; k++) sum += values[k] * source[n * line + (first + k) * step + c];
        target[n * out + x * outStep + c] = Math.min(255, Math.max(0, Math.floor(sum + 0.5)));
      }
    }
  }
}

function bicubic(from, to) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const support = 2 * stretch;
  return Array.from({ length: to }, (_, x) => {
    const centre = (x + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - support + 0.5));
    const end = Math.min(from, Math.floor(centre + support + 0.5));
    const values = Array.from({ length: end - first }, (__, k) => kernel((k + first - centre + 0.5) / stretch));
    const sum = values.reduce((a, b) => a + b, 0);
    return { first, values: values.map((value) => value / sum) };
  });
}

function kernel(value) {
  const x = Math.abs(value);
  const a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}
