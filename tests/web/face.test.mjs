// The face in JavaScript against vectors that make_vectors.py makes of the Python: node --test tests/web/face.test.mjs

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { AvatarError, readAvatar } from "../../web/face/avatar-file.js";
import { points } from "../../web/browser/face-mesh.js";
import { Speaker } from "../../web/browser/speaker.js";
import { basis, loadBasis } from "../../web/face/basis.js";
import { clamp, fitPose, invertPose, keypoints, toSquare } from "../../web/face/motion.js";
import { resized } from "../../web/face/pictures.js";
import { Playout } from "../../web/face/playout.js";
import { Puppet } from "../../web/face/puppet.js";
import { Retarget } from "../../web/face/retarget.js";
import { rotationMatrix, rotationVector } from "../../web/face/rotation.js";
import { MotionSmoother } from "../../web/face/smoothing.js";
import { MotionExtractor, difference, withoutExpression } from "../../web/face/tracking.js";

const read = (path) => readFileSync(new URL(path, import.meta.url));
const vectors = JSON.parse(read("face_vectors.json"));
const file = new Uint8Array(read("../../telepresence/avatar/samples/astronaut.avatar"));
const data = read("../../web/face/basis-1.data");
await loadBasis(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));

const FACE = 468;
const noise = (frame, i) => 0.0015 * Math.sin(0.37 * i + 1.3 * frame);
const motions = vectors.motions;
const shape = neutralOf(vectors.person);
const frames = motions.map((motion, n) => keypoints(motion, shape).map((value, i) => value + noise(n, i)));

function neutralOf(coefficients) {
  const { mean, identity } = basis();
  return mean.map((value, i) => (i < 3 * FACE ? coefficients.reduce((sum, c, k) => sum + c * identity[k * 3 * FACE + i], value) : value));
}

const looked = (points) => vectors.looked_at.flatMap((point) => [...points.subarray(3 * point, 3 * point + 3)]);
const pose = ({ rotation, translation, scale }) => [...rotation, ...translation, scale];
const short = (motion) => [...pose(motion), ...motion.gaze, ...motion.expression.slice(0, 10)];

function near(found, wanted, tolerance, what) {
  assert.equal(found.length, wanted.length, what);
  found.forEach((value, i) => {
    assert.ok(Math.abs(value - wanted[i]) <= tolerance, `${what}[${i}]: ${value}, not ${wanted[i]}`);
  });
}

test("rotations there and back", () => {
  for (const { vector, matrix, back } of vectors.rotations) {
    near(rotationMatrix(vector), matrix, 1e-6, "matrix");
    const found = rotationVector(matrix);
    // Half a turn has two axes.
    const sign = found.reduce((sum, value, i) => sum + value * back[i], 0) < 0 && Math.hypot(...back) > 3.14 ? -1 : 1;
    near(found.map((value) => sign * value), back, 2e-4, "vector");
  }
});

test("nonsense is bounded", () => {
  for (const { given, clamped } of vectors.clamped) near(short(clamp(given)), clamped, 1e-6, "clamped");
  const broken = clamp({ rotation: [NaN, Infinity, 0], translation: [NaN, 1], scale: NaN, gaze: [NaN, 0, 0, 0], expression: new Array(48).fill(NaN) });
  assert.ok([...short(broken)].every(Number.isFinite));
});

test("keypoints of a motion", () => {
  motions.forEach((motion, n) => near(looked(keypoints(motion, shape)), vectors.keypoints[n], 2e-6, `keypoints ${n}`));
});

test("poses, likely expression, difference of people, squares", () => {
  frames.forEach((points, n) => near(pose(fitPose(points, shape)), vectors.poses[n], 2e-5, `pose ${n}`));
  const plain = withoutExpression(invertPose(fitPose(frames[3], basis().mean), frames[3]));
  near(looked(plain), vectors.plain, 2e-5, "plain");
  near([difference(shape, basis().mean)], [vectors.difference], 1e-6, "difference");
  near(looked(toSquare(frames[0].map((value) => (value + 1) * 240), 640, 480)), vectors.square, 1e-5, "square");
});

test("motion of landmarks, with the neutral shape learned on the way", () => {
  const known = shape.map((value) => value + 0.004 * Math.sign(value));
  for (const [extractor, wanted] of [[new MotionExtractor(), vectors.extracted], [new MotionExtractor(known), vectors.extracted_known]]) {
    frames.forEach((points, n) => near(short(extractor.extract(points)), wanted[n], 5e-4, `motion ${n}`));
  }
});

test("smoothing", () => {
  const smoother = new MotionSmoother();
  motions.forEach((motion, n) => {
    const at = 1_000_000 + 33_333 * n + (n >= motions.length - 3 ? 400_000 : 0);
    near(short(smoother.smooth(motion, at)), vectors.smoothed[n], 2e-5, `smoothed ${n}`);
  });
  const broken = { ...motions[0], scale: NaN };
  assert.equal(smoother.smooth(broken, 9e6), broken);
});

test("retargeting", () => {
  const retarget = new Retarget(shape, { rotation: [0.1, -0.15, 0.02], translation: [0.03, 0.1], scale: 0.45 });
  motions.forEach((motion, n) => near(looked(retarget.keypoints(motion, 1_000_000 + 200_000 * n)), vectors.retargeted[n], 5e-6, `keypoints ${n}`));
});

test("playout: jitter, losses, copies, nonsense, rest and silence", () => {
  const { arrivals, samples, counts } = vectors.playout;
  const playout = new Playout({ forget: true });
  const line = [...arrivals];
  const wanted = new Map(samples.map(([now, ...sample]) => [now, sample]));
  for (let now = 5_020_000; now < 9_400_000; now += 20_000) {
    while (line.length && line[0][0] <= now) {
      const [came, sequence, captureUs, index, rest, still] = line.shift();
      playout.receive({ sequence, captureUs, motion: motions[index % motions.length], epoch: 0, rest, still }, came);
    }
    const motion = playout.sample(now);
    if (!wanted.has(now)) continue;
    const [state, numbers] = wanted.get(now);
    assert.equal(playout.state, state, `state at ${now}`);
    if (numbers) near(short(motion), numbers, 2e-4, `motion at ${now}`);
    else assert.equal(motion, null);
  }
  assert.deepEqual(playout.counts, counts);
  assert.ok(playout.settled);
});

test("a puppet rests, moves, and settles", () => {
  const puppet = new Puppet({ neutral: shape, rest: { rotation: [0, 0, 0], translation: [0, 0], scale: 0.5 } });
  const playout = new Playout({ forget: true });
  assert.ok(puppet.keypoints(playout, 1_000_000).every(Number.isFinite));
  playout.receive({ sequence: 1, captureUs: 1_000_000, motion: motions[5], epoch: 0, rest: false, still: false }, 1_040_000);
  let now = 1_050_000;
  const first = puppet.keypoints(playout, now);
  assert.ok(first && puppet.dueUs > now);
  for (; now < 20_000_000 && puppet.dueUs !== null; now += 33_333) puppet.keypoints(playout, now);
  assert.equal(puppet.dueUs, null, "nothing moves any more");
  assert.equal(puppet.keypoints(playout, now), null);
});

test("landmarks as MediaPipe writes them", () => {
  const point = (...fields) => fields.flatMap(([number, value]) => [(number << 3) | 5, ...new Uint8Array(Float32Array.of(value).buffer)]);
  const message = (...all) => Uint8Array.from(all.flatMap((one) => [0x0a, one.length, ...one]));
  const written = message(point([1, 0.5], [2, 0.25], [3, -0.125]), point([1, 0.75], [2, 1]), point([3, 2], [1, 1], [4, 9], [5, 9]));
  assert.deepEqual([...points(written)], [0.5, 0.25, -0.125, 0.75, 1, 0, 1, 0, 2]);
  assert.deepEqual([...points(new Uint8Array(0))], []);
  const shifted = new Uint8Array([7, ...written]).subarray(1); // as it lies in WebAssembly's memory
  assert.deepEqual([...points(shifted)], [...points(written)]);
  for (const broken of [Uint8Array.of(0x12, 0), Uint8Array.of(0x0a, 5, 0x08, 1, 1, 1, 1), Uint8Array.of(0x0a, 0xff, 1), written.subarray(0, 9)]) {
    assert.throws(() => points(broken), /another way/);
  }
});

test("a voice without a face moves the lips, and hands over to a face and back", () => {
  const { random, events } = vectors.speaking;
  const chances = [...random];
  const speaker = new Speaker(() => chances.shift());
  let wanted = null;
  for (const [kind, now, ...given] of events) {
    let sent = null;
    wanted = given.pop();
    if (kind === "voice") sent = speaker.voice(given[0], given[1], now);
    else if (kind === "face") sent = speaker.face({ captureUs: now - 20_000, motion: motions[given[0]] }, now);
    else sent = speaker.rest(motions[given[0]], now);
    if (wanted === null) assert.equal(sent, null, `${kind} at ${now}`);
    else {
      assert.deepEqual([sent.captureUs, sent.rest], wanted.slice(0, 2), `${kind} at ${now}`);
      if (wanted[2]) near(short(sent.motion), wanted[2], 2e-4, `${kind} at ${now}`);
    }
  }
  assert.ok(chances.length < random.length - 1, "it has blinked");
});

test("the sample avatar", async () => {
  const avatar = await readAvatar(file);
  const wanted = vectors.avatar;
  assert.deepEqual([avatar.name, avatar.references.length, avatar.references[0].side], [wanted.name, wanted.references, wanted.side]);
  near(looked(avatar.references[0].landmarks), wanted.landmarks, 1e-3, "landmarks");
  near(looked(avatar.neutral), wanted.neutral, 1e-6, "neutral");
  const [first] = avatar.references;
  near(pose(fitPose(toSquare(first.landmarks, first.side, first.side), avatar.neutral)), wanted.rest, 2e-5, "rest");
});

test("the beginning of an avatar", async () => {
  assert.equal(await readAvatar(file.slice(0, 15), false), null);
  assert.equal(await readAvatar(file.slice(0, 5000), false), null);
  const beginning = await readAvatar(file.slice(0, 150_000), false);
  assert.equal(beginning.references.length, 1);
});

test("damaged and hostile avatars are refused in words", async () => {
  await assert.rejects(readAvatar(new Uint8Array(9 * 1024 * 1024)), AvatarError);
  await assert.rejects(readAvatar(file.slice(0, -1)), AvatarError);
  await assert.rejects(readAvatar(new TextEncoder().encode("<html>")), AvatarError);
  let seed = 7;
  const random = (below) => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    return seed % below;
  };
  for (let n = 0; n < 300; n++) {
    const bad = file.slice(0, 3000 + random(file.length - 3000));
    for (let k = 0; k <= random(4); k++) bad[random(n % 2 ? 400 : bad.length)] = random(256);
    const whole = n % 3 === 0;
    await readAvatar(bad, whole).then(
      (found) => assert.ok(found === null || found.references.length >= 1),
      (error) => assert.ok(error instanceof AvatarError, String(error.stack)),
    );
  }
});

test("pictures are scaled as Pillow does it", () => {
  for (const { side, size, given, scaled } of vectors.resized) near([...resized(Uint8Array.from(given), side, size, 1)], scaled, 1, `${side} to ${size}`);
});
