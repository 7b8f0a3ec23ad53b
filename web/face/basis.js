// The mean face and the linear expression basis: the twin of telepresence/face/basis.py and topology.py. All numbers
// come from basis-1.data, which `python -m telepresence.face.export` makes from the package's own file.

export const N_LANDMARKS = 478;
export const N_FACE = 468;
const FILE = new URL("basis-1.data", import.meta.url);
const EYES = [["iris_right", [33, 133]], ["iris_left", [263, 362]]]; // iris, corners of the socket

/** What turns expression coefficients into displacements of a face, and back. */
export class Basis {
  /** @param {ArrayBuffer} data  basis-1.data */
  constructor(data) {
    const view = new DataView(data);
    const head = view.getUint32(0, true);
    const fields = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, head)));
    const read = (name) => {
      const { type, shape, start } = fields.arrays[name];
      const size = shape.reduce((a, b) => a * b, 1);
      const at = 4 + head + start;
      if (type === "float32") return new Float32Array(data.slice(at, at + 4 * size));
      return Float32Array.from(new Uint16Array(data.slice(at, at + 2 * size)), half);
    };
    this.schema = fields.schema;
    this.limit = fields.limit;
    this.gazeLimit = fields.gaze_limit;
    /** @type {Record<string, number[]>}  named sets of landmarks */
    this.lists = fields.lists;
    /** (478, 3), the mean neutral shape in canonical coordinates. */
    this.mean = read("mean");
    /** (478,), of the rigid fit; their sum is 1. */
    this.weights = read("weights");
    /** (E, 468, 3): displacement for one standard deviation of each coefficient. */
    this.components = read("components");
    /** (E, 1404): displacement -> coefficients. */
    this.projector = read("projector");
    /** (I, 468, 3): how neutral shapes of people differ from the mean. */
    this.identity = read("identity");
    /** (E, E) and (E, I): see `likelyExpression`. */
    this.gain = read("gain");
    this.share = read("share");
    /** (4, E): coefficients of an open, wide and round mouth, and of closed lids. */
    this.mouth = read("mouth");
    /** E, how many expression coefficients there are. */
    this.size = this.components.length / (3 * N_FACE);
  }

  /** Coefficients (E,) and gaze (4,) -> displacement (478, 3) in canonical units. */
  displacement(expression, gaze) {
    const out = new Float32Array(3 * N_LANDMARKS);
    const face = 3 * N_FACE;
    for (let k = 0; k < Math.min(expression.length, this.size); k++) {
      const value = expression[k];
      if (value === 0) continue;
      for (let i = 0, at = k * face; i < face; i++, at++) out[i] += value * this.components[at];
    }
    EYES.forEach(([iris, [outer, inner]], eye) => {
      for (let axis = 0; axis < 3; axis++) {
        // The eyeball moves with its corners, the iris by the gaze on top.
        const moved = (out[3 * outer + axis] + out[3 * inner + axis]) / 2 + (axis < 2 ? gaze[2 * eye + axis] : 0);
        for (const point of this.lists[iris]) out[3 * point + axis] = moved;
      }
    });
    return out;
  }

  /** Displacement (478, 3) from neutral -> {expression: (E,), gaze: (4,)}. */
  analyse(displacement) {
    const gaze = EYES.flatMap(([iris, [outer, inner]]) => [0, 1].map((axis) => {
      const points = this.lists[iris];
      const mean = points.reduce((sum, point) => sum + displacement[3 * point + axis], 0) / points.length;
      return mean - (displacement[3 * outer + axis] + displacement[3 * inner + axis]) / 2;
    }));
    return { expression: times(this.projector, this.size, displacement), gaze };
  }

  /** The likely expression (E,) in a residual from the mean (478, 3): see telepresence/face/identity.py. */
  likelyExpression(residual) {
    const count = this.identity.length / (3 * N_FACE);
    const identity = times(this.identity, count, residual);
    const seen = times(this.components, this.size, residual);
    const rest = seen.map((value, k) => value - dot(this.share, k * count, identity));
    return seen.map((_, k) => dot(this.gain, k * this.size, rest));
  }
}

/** @type {Basis} */
let shipped = null;

/** The shipped basis; `loadBasis` first. */
export function basis() {
  if (!shipped) throw new Error("the basis is not loaded");
  return shipped;
}

/** Make the shipped basis available. @param {ArrayBuffer} [data]  its file, where that is not to be fetched */
export async function loadBasis(data) {
  if (shipped) return shipped;
  let bytes = data;
  if (!bytes) {
    const response = await fetch(FILE);
    if (!response.ok) throw new Error(`${FILE.pathname} answered ${response.status}`);
    bytes = await response.arrayBuffer();
  }
  shipped ??= new Basis(bytes);
  return shipped;
}

/** Rows of 1404 times a displacement's face. */
function times(matrix, rows, displacement) {
  const width = 3 * N_FACE;
  return Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let i = 0, at = row * width; i < width; i++, at++) sum += matrix[at] * displacement[i];
    return sum;
  });
}

function dot(matrix, start, vector) {
  let sum = 0;
  for (let i = 0; i < vector.length; i++) sum += matrix[start + i] * vector[i];
  return sum;
}

/** A half precision number (IEEE 754 binary16) of its bits. */
function half(bits) {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
