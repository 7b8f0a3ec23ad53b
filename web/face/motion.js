// Motion: landmarks -> pose and expression, and back to keypoints. The twin of telepresence/face/motion.py, which explains
// the spaces. A motion is what the codec has: {rotation: (3,), translation: (2,), scale, gaze: (4,), expression: (E,)}; the
// first three are its pose. Points are flat: x, y, z of one landmark after the other, Float32Array of 3 * 478.

import { basis, N_LANDMARKS } from "./basis.js";
import { multiply, nearestRotation, rotationMatrix, rotationVector, transposed } from "./rotation.js";

export const MAX_ROTATION = Math.PI;
export const MAX_TRANSLATION = 2;
export const SCALE_RANGE = [0.02, 2];
const HALFWAY = 0.5; // scale of a face at rest that nobody has seen

/** Motion of a face at rest, for a sender that has not seen any. */
export const restMotion = () => ({
  rotation: [0, 0, 0], translation: [0, 0], scale: HALFWAY, gaze: [0, 0, 0, 0], expression: new Array(basis().size).fill(0),
});

/** Canonical points -> square coordinates. */
export function applyPose({ rotation, translation: [x, y], scale }, canonical) {
  const m = rotationMatrix(rotation);
  const out = new Float32Array(canonical.length);
  for (let i = 0; i < canonical.length; i += 3) {
    const [a, b, c] = [canonical[i], canonical[i + 1], canonical[i + 2]];
    out[i] = scale * (m[0] * a + m[1] * b + m[2] * c) + x;
    out[i + 1] = scale * (m[3] * a + m[4] * b + m[5] * c) + y;
    out[i + 2] = scale * (m[6] * a + m[7] * b + m[8] * c);
  }
  return out;
}

/** Square points -> canonical coordinates. */
export function invertPose({ rotation, translation: [x, y], scale }, square) {
  const m = rotationMatrix(rotation);
  const out = new Float32Array(square.length);
  for (let i = 0; i < square.length; i += 3) {
    const [a, b, c] = [square[i] - x, square[i + 1] - y, square[i + 2]];
    out[i] = (m[0] * a + m[3] * b + m[6] * c) / scale;
    out[i + 1] = (m[1] * a + m[4] * b + m[7] * c) / scale;
    out[i + 2] = (m[2] * a + m[5] * b + m[8] * c) / scale;
  }
  return out;
}

/** Landmarks (478, 3) in pixels of a width x height frame -> square coordinates of its central square. */
export function toSquare(landmarks, width, height) {
  const { weights } = basis();
  const half = Math.min(width, height) / 2;
  let depth = 0;
  for (let i = 0; i < N_LANDMARKS; i++) depth += weights[i] * landmarks[3 * i + 2];
  const centre = [width / 2, height / 2, depth];
  return Float32Array.from(landmarks, (value, i) => (value - centre[i % 3]) / half);
}

/** Weighted Procrustes of square points onto a canonical shape: the pose. */
export function fitPose(points, shape) {
  const { weights } = basis();
  const [meanP, meanS] = [centroid(points, weights), centroid(shape, weights)];
  const cross = new Array(9).fill(0);
  let spread = 0;
  for (let i = 0; i < N_LANDMARKS; i++) {
    const weight = weights[i];
    if (weight === 0) continue;
    for (let a = 0; a < 3; a++) {
      const s = shape[3 * i + a] - meanS[a];
      spread += weight * s * s;
      for (let b = 0; b < 3; b++) cross[3 * b + a] += weight * (points[3 * i + b] - meanP[b]) * s;
    }
  }
  const { rotation, trace } = nearestRotation(cross);
  const scale = Math.max(trace / Math.max(spread, 1e-9), 1e-6);
  const translation = [0, 1].map((a) => {
    const turned = rotation[3 * a] * meanS[0] + rotation[3 * a + 1] * meanS[1] + rotation[3 * a + 2] * meanS[2];
    return meanP[a] - scale * turned;
  });
  return { rotation: rotationVector(rotation), translation, scale };
}

function centroid(points, weights) {
  const out = [0, 0, 0];
  for (let i = 0; i < N_LANDMARKS; i++) for (let a = 0; a < 3; a++) out[a] += weights[i] * points[3 * i + a];
  return out;
}

/** Apply motion to a person's neutral shape: keypoints in square coordinates. */
export function keypoints(motion, neutral) {
  const moved = basis().displacement(motion.expression, motion.gaze);
  for (let i = 0; i < moved.length; i++) moved[i] += neutral[i];
  return applyPose(motion, moved);
}

/** Bound every value to what a face can do; NaN becomes rest. */
export function clamp(motion) {
  const { limit, gazeLimit } = basis();
  let rotation = motion.rotation.map((r) => (Number.isFinite(r) ? r : 0));
  const angle = Math.hypot(...rotation);
  if (angle > MAX_ROTATION) rotation = rotation.map((r) => (r * MAX_ROTATION) / angle);
  const scale = Number.isNaN(motion.scale) ? 1 : motion.scale;
  return {
    rotation,
    translation: motion.translation.map((t) => within(t, MAX_TRANSLATION)),
    scale: Math.min(Math.max(scale, SCALE_RANGE[0]), SCALE_RANGE[1]),
    gaze: Array.from(motion.gaze, (g) => within(g, gazeLimit)),
    expression: Array.from(motion.expression, (e) => within(e, limit)),
  };
}

const within = (value, most) => Math.min(Math.max(Number.isNaN(value) ? 0 : value, -most), most);

/** The rotation vector of one rotation after another's inverse: the way from `from` to `to`. */
export function turnBetween(from, to) {
  return rotationVector(multiply(rotationMatrix(to), transposed(rotationMatrix(from))));
}
