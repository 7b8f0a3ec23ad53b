// JPEG as avatars have it (docs/avatar-format.md): baseline, one scan, colour or grey. A canvas writes no grey ones, and what
// it writes differs from browser to browser. ITU-T T.81, with the tables of its Annex K and the quality of libjpeg.

const ZIGZAG = [
  0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
  35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];
const LUMINANCE = [
  16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
  18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
];
const CHROMINANCE = [
  17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
  ...new Array(32).fill(99),
];
// How many codes there are of each length, 1 to 16 bits; and what they stand for.
const DC = [[[0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], range(12)], [[0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], range(12)]];
const AC = [
  [[0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d], bytes("01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa")],
  [[0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77], bytes("0001020311040521310612415107617113223281081442 91a1b1c109233352f0156272d10a162434e125f11718191a262728292a35363738393a434445464748494a535455565758595a636465666768696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa")],
];
// What `cosines` leaves each of its eight results multiplied by.
const LEFT = Array.from({ length: 8 }, (_, u) => (u ? Math.cos((u * Math.PI) / 16) * Math.SQRT2 : 1) * Math.sqrt(8));

function range(count) { return Array.from({ length: count }, (_, n) => n); }

function bytes(text) { return text.replaceAll(" ", "").match(/../g).map((pair) => parseInt(pair, 16)); }

/** Of each value its code, and how many bits that has. */
function codesOf([counts, values]) {
  const codes = { code: new Int32Array(256), bits: new Uint8Array(256) };
  let [code, at] = [0, 0];
  counts.forEach((count, n) => {
    for (let k = 0; k < count; k++, at++) {
      codes.code[values[at]] = code++;
      codes.bits[values[at]] = n + 1;
    }
    code <<= 1;
  });
  return codes;
}

const DC_CODES = DC.map(codesOf), AC_CODES = AC.map(codesOf);

/** Qualities that are tried until a picture fits; from the fourth on colours have every part of a picture, later a quarter. */
const QUALITIES = [95, 92, 88, 84, 78, 70, 60, 45, 30, 18, 10];
const FULL_COLOUR = 84;

/**
 * Encode at the best quality that fits.
 * @param {{data: ArrayLike<number>, width: number, height: number, channels: 1|3|4}} picture  @param {number} budget  bytes
 * @returns {Uint8Array|null}  null: not even the lowest quality fits
 */
export function encodeWithin(picture, budget) {
  for (const quality of QUALITIES) {
    const out = encode(picture, quality, quality < FULL_COLOUR);
    if (out.length <= budget) return out;
  }
  return null;
}

/** Encode. @param {boolean} [quartered]  colours at half the size each way @returns {Uint8Array} */
export function encode(picture, quality, quartered = false) {
  const { width, height, channels } = picture;
  const colour = channels > 1;
  const planes = colour ? colourPlanes(picture, quartered) : [plane(picture.data, width, height)];
  const tables = [LUMINANCE, CHROMINANCE].slice(0, colour ? 2 : 1).map((table) => scaledTable(table, quality));
  const out = new Bits(width * height);
  out.segment(0xe0, [0x4a, 0x46, 0x49, 0x46, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0], true);
  tables.forEach((table, n) => out.segment(0xdb, [n, ...ZIGZAG.map((at) => table[at])]));
  const twice = colour && quartered ? 2 : 1;
  const parts = planes.flatMap((_, n) => [n + 1, n ? 0x11 : (twice << 4) | twice, n ? 1 : 0]);
  out.segment(0xc0, [8, height >> 8, height & 255, width >> 8, width & 255, planes.length, ...parts]);
  tables.forEach((_, n) => {
    out.segment(0xc4, [n, ...DC[n][0], ...DC[n][1]]);
    out.segment(0xc4, [0x10 | n, ...AC[n][0], ...AC[n][1]]);
  });
  out.segment(0xda, [planes.length, ...planes.flatMap((_, n) => [n + 1, n ? 0x11 : 0]), 0, 63, 0]);
  scan(out, planes, tables, width, height, twice);
  return out.end();
}

function scaledTable(table, quality) {
  const scale = quality < 50 ? Math.floor(5000 / quality) : 200 - 2 * quality;
  return table.map((value) => Math.min(255, Math.max(1, Math.floor((value * scale + 50) / 100))));
}

/** {values, width, height}: numbers about 0. */
function plane(data, width, height) {
  return { values: Float32Array.from({ length: width * height }, (_, i) => data[i] - 128), width, height };
}

/** JFIF's Y, Cb and Cr. */
function colourPlanes({ data, width, height, channels }, quartered) {
  const found = [0, 1, 2].map(() => new Float32Array(width * height));
  for (let i = 0, at = 0; i < width * height; i++, at += channels) {
    const [r, g, b] = [data[at], data[at + 1], data[at + 2]];
    found[0][i] = Math.round(0.299 * r + 0.587 * g + 0.114 * b) - 128;
    found[1][i] = Math.round(-0.168735892 * r - 0.331264108 * g + 0.5 * b);
    found[2][i] = Math.round(0.5 * r - 0.418687589 * g - 0.081312411 * b);
  }
  return found.map((values, n) => (n && quartered ? quarter(values, width, height) : { values, width, height }));
}

function quarter(values, width, height) {
  const [wide, high] = [(width + 1) >> 1, (height + 1) >> 1];
  const out = new Float32Array(wide * high);
  for (let y = 0; y < high; y++) {
    for (let x = 0; x < wide; x++) {
      const [x0, x1, y0, y1] = [2 * x, Math.min(2 * x + 1, width - 1), 2 * y, Math.min(2 * y + 1, height - 1)];
      out[y * wide + x] = (values[y0 * width + x0] + values[y0 * width + x1] + values[y1 * width + x0] + values[y1 * width + x1]) / 4;
    }
  }
  return { values: out, width: wide, height: high };
}

function scan(out, planes, tables, width, height, twice) {
  const before = planes.map(() => 0);
  const block = new Float64Array(64), levels = new Int32Array(64);
  const shares = tables.map((table) => Float64Array.from(table, (value, i) => 1 / (value * LEFT[i >> 3] * LEFT[i & 7])));
  const unit = 8 * twice;
  for (let y = 0; y < height; y += unit) {
    for (let x = 0; x < width; x += unit) {
      for (let n = 0; n < planes.length; n++) {
        const many = n ? 1 : twice * twice;
        for (let i = 0; i < many; i++) {
          const left = n ? x / twice : x + 8 * (i % twice), top = n ? y / twice : y + 8 * Math.floor(i / twice);
          transformed(planes[n], left, top, block, shares[n ? 1 : 0], levels);
          before[n] = write(out, levels, before[n], n ? 1 : 0);
        }
      }
    }
  }
}

/** The cosines of a block of 8 x 8, quantised, in zigzag; beyond the edge the last pixels go on. */
function transformed({ values, width, height }, left, top, block, shares, levels) {
  for (let y = 0; y < 8; y++) {
    const row = Math.min(top + y, height - 1) * width;
    for (let x = 0; x < 8; x++) block[8 * y + x] = values[row + Math.min(left + x, width - 1)];
  }
  for (let n = 0; n < 8; n++) cosines(block, 8 * n, 1);
  for (let n = 0; n < 8; n++) cosines(block, n, 8);
  for (let k = 0; k < 64; k++) {
    const at = ZIGZAG[k];
    levels[k] = Math.round(block[at] * shares[at]);
  }
}

/** Eight cosines in place, each but for a factor. Arai, Agui and Nakajima 1988, "A fast DCT-SQ scheme for images". */
function cosines(d, at, step) {
  const [i1, i2, i3, i4, i5, i6, i7] = [at + step, at + 2 * step, at + 3 * step, at + 4 * step, at + 5 * step, at + 6 * step, at + 7 * step];
  const a0 = d[at] + d[i7], a7 = d[at] - d[i7], a1 = d[i1] + d[i6], a6 = d[i1] - d[i6];
  const a2 = d[i2] + d[i5], a5 = d[i2] - d[i5], a3 = d[i3] + d[i4], a4 = d[i3] - d[i4];
  const b0 = a0 + a3, b3 = a0 - a3, b1 = a1 + a2, b2 = a1 - a2;
  d[at] = b0 + b1;
  d[i4] = b0 - b1;
  const c1 = (b2 + b3) * Math.SQRT1_2;
  d[i2] = b3 + c1;
  d[i6] = b3 - c1;
  const e0 = a4 + a5, e1 = a5 + a6, e2 = a6 + a7;
  const z5 = (e0 - e2) * 0.382683433, z2 = 0.5411961 * e0 + z5, z4 = 1.306562965 * e2 + z5, z3 = e1 * Math.SQRT1_2;
  const z11 = a7 + z3, z13 = a7 - z3;
  d[i5] = z13 + z2;
  d[i3] = z13 - z2;
  d[i1] = z11 + z4;
  d[i7] = z11 - z4;
}

/** One block in Huffman's codes. @returns {number} its mean, to which the next one's is told as a difference */
function write(out, levels, before, table) {
  const codes = AC_CODES[table];
  const [mean] = levels;
  out.value(DC_CODES[table], 0, mean - before);
  let last = 63;
  while (last > 0 && !levels[last]) last -= 1;
  let zeros = 0;
  for (let k = 1; k <= last; k++) {
    if (!levels[k]) {
      zeros += 1;
      continue;
    }
    for (; zeros > 15; zeros -= 16) out.put(codes.code[0xf0], codes.bits[0xf0]);
    out.value(codes, zeros << 4, levels[k]);
    zeros = 0;
  }
  if (last < 63) out.put(codes.code[0], codes.bits[0]);
  return mean;
}

/** A file in the making. */
class Bits {
  #out;
  #size = 0;
  #held = 0;
  #count = 0;

  constructor(size) {
    this.#out = new Uint8Array(size + 4096);
  }

  segment(marker, body, first = false) {
    for (const byte of [...(first ? [0xff, 0xd8] : []), 0xff, marker, (body.length + 2) >> 8, (body.length + 2) & 255, ...body]) this.#byte(byte);
  }

  /** How many bits a number has, then those. */
  value(codes, high, number) {
    const size = number ? 32 - Math.clz32(Math.abs(number)) : 0;
    this.put(codes.code[high | size], codes.bits[high | size]);
    if (size) this.put(number > 0 ? number : number + (1 << size) - 1, size);
  }

  put(bits, count) {
    this.#held = (this.#held << count) | bits; // at most 7 + 16 of them
    this.#count += count;
    while (this.#count >= 8) {
      this.#count -= 8;
      const byte = (this.#held >> this.#count) & 255;
      this.#byte(byte);
      if (byte === 255) this.#byte(0);
    }
    this.#held &= (1 << this.#count) - 1;
  }

  end() {
    if (this.#count) this.put((1 << (8 - this.#count)) - 1, 8 - this.#count);
    this.#byte(0xff);
    this.#byte(0xd9);
    return this.#out.slice(0, this.#size);
  }

  #byte(byte) {
    if (this.#size === this.#out.length) {
      const larger = new Uint8Array(2 * this.#size);
      larger.set(this.#out);
      this.#out = larger;
    }
    this.#out[this.#size++] = byte;
  }
}
