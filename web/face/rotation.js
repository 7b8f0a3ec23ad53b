// Rotations: vectors (3,) in radians and matrices (9,), row by row. The twin of what telepresence/face/motion.py has of them.

/** The identity. */
export const EYE = Object.freeze([1, 0, 0, 0, 1, 0, 0, 0, 1]);

/** Product of two matrices. */
export function multiply(a, b) {
  const out = new Array(9);
  for (let row = 0; row < 9; row += 3) {
    for (let column = 0; column < 3; column++) {
      out[row + column] = a[row] * b[column] + a[row + 1] * b[3 + column] + a[row + 2] * b[6 + column];
    }
  }
  return out;
}

/** The inverse of a rotation. */
export const transposed = (m) => [m[0], m[3], m[6], m[1], m[4], m[7], m[2], m[5], m[8]];

/** Rotation vector -> matrix (Rodrigues). */
export function rotationMatrix(rotation) {
  const angle = Math.hypot(...rotation);
  if (angle < 1e-9) return [...EYE];
  const [x, y, z] = rotation.map((r) => r / angle);
  const [s, c] = [Math.sin(angle), 1 - Math.cos(angle)];
  return [
    1 - c * (y * y + z * z), -s * z + c * x * y, s * y + c * x * z,
    s * z + c * x * y, 1 - c * (x * x + z * z), -s * x + c * y * z,
    -s * y + c * x * z, s * x + c * y * z, 1 - c * (x * x + y * y),
  ];
}

/** Matrix -> rotation vector, length at most pi. */
export function rotationVector(m) {
  const angle = Math.acos(Math.min(1, Math.max(-1, (m[0] + m[4] + m[8] - 1) / 2)));
  const axis = [m[7] - m[5], m[2] - m[6], m[3] - m[1]];
  const length = Math.hypot(...axis);
  if (angle < 1e-7) return [0, 0, 0];
  if (length < 1e-6) { // half a turn: the axis is the eigenvector of eigenvalue 1
    const t = transposed(m);
    const { vector } = largest(m.map((value, i) => (value + t[i]) / 2), 3);
    return vector.map((value) => angle * value);
  }
  return axis.map((value) => (angle * value) / length);
}

/**
 * The rotation R nearest to a matrix, that is with the largest trace of R^T M, and that trace.
 * Source: Horn 1987, "Closed-form solution of absolute orientation using unit quaternions"; what Umeyama's singular values
 * give too, without them.
 * @param {number[]} m  (9,)
 * @returns {{rotation: number[], trace: number}}
 */
export function nearestRotation(m) {
  const [xx, xy, xz, yx, yy, yz, zx, zy, zz] = m;
  const { value, vector: [w, x, y, z] } = largest([
    xx + yy + zz, zy - yz, xz - zx, yx - xy,
    zy - yz, xx - yy - zz, xy + yx, xz + zx,
    xz - zx, xy + yx, yy - xx - zz, yz + zy,
    yx - xy, xz + zx, yz + zy, zz - xx - yy,
  ], 4);
  const rotation = [
    1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
    2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
    2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
  ];
  return { rotation, trace: value };
}

/** Largest eigenvalue of a symmetric matrix (n * n) and its eigenvector, by Jacobi's rotations. */
function largest(matrix, n) {
  const a = [...matrix];
  const v = Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0));
  for (let sweep = 0; sweep < 30; sweep++) {
    let off = 0;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) off += a[p * n + q] ** 2;
    if (!(off > 1e-30)) break;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) rotate(a, v, n, p, q);
  }
  let best = 0;
  for (let i = 1; i < n; i++) if (a[i * n + i] > a[best * n + best]) best = i;
  return { value: a[best * n + best], vector: Array.from({ length: n }, (_, i) => v[i * n + best]) };
}

function rotate(a, v, n, p, q) {
  const apq = a[p * n + q];
  if (apq === 0) return;
  const theta = (a[q * n + q] - a[p * n + p]) / (2 * apq);
  const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.hypot(theta, 1));
  const c = 1 / Math.hypot(t, 1);
  const s = t * c;
  for (let k = 0; k < n; k++) {
    const [kp, kq] = [a[k * n + p], a[k * n + q]];
    a[k * n + p] = c * kp - s * kq;
    a[k * n + q] = s * kp + c * kq;
  }
  for (let k = 0; k < n; k++) {
    const [pk, qk] = [a[p * n + k], a[q * n + k]];
    a[p * n + k] = c * pk - s * qk;
    a[q * n + k] = s * pk + c * qk;
    const [vp, vq] = [v[k * n + p], v[k * n + q]];
    v[k * n + p] = c * vp - s * vq;
    v[k * n + q] = s * vp + c * vq;
  }
}
