// Avatars in canvases, without a browser: what is shown when, and what no longer. node --test tests/web/drawing.test.mjs

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

globalThis.ImageData = class { constructor(number) { Object.assign(this, { number, width: 4, height: 4 }); } };
globalThis.document = {
  createElement() {
    const canvas = { shown: [] };
    canvas.getContext = () => ({ putImageData: (picture) => canvas.shown.push(picture.number) });
    return canvas;
  },
};
const { Drawing } = await import("../../web/browser/drawing.js");

/** A drawing of one participant, whose avatar is drawn at once; each packet's capture time is its picture's number. */
async function drawing({ localMs = () => null } = {}) {
  const seen = { shown: [], pictures: 0 };
  let number = 0;
  const made = new Drawing({
    size: 4,
    engine: { prepare: async () => ({ neutral: [], close() {} }), render: async () => new ImageData(number) },
    newPlayout: () => ({ receive({ captureUs }) { this.shownCaptureUs = number = captureUs; return true; } }),
    newPuppet: () => ({ dueUs: null, keypoints: () => [0], takeOver() {} }),
    localMs,
    onPicture: () => { seen.pictures += 1; },
    onShown: (id, capturedMs, heldMs) => seen.shown.push([capturedMs, heldMs]),
    onProblem: (id, text) => assert.fail(text),
  });
  made.receive("ada", { captureUs: 1 }, 0);
  await made.setAvatar("ada", new Uint8Array(1), true);
  await sleep(60);
  return { made, seen, canvas: made.canvas("ada") };
}

test("motion becomes pictures, and is told of", async () => {
  const { made, seen, canvas } = await drawing();
  assert.equal(canvas.shown.at(-1), 1);
  made.receive("ada", { captureUs: 2 }, 0);
  await sleep(80);
  assert.equal(canvas.shown.at(-1), 2);
  assert.deepEqual([seen.pictures, seen.shown.at(-1)], [1, [null, 0]]);
  made.close();
});

test("pictures are held back, and none covers a later one", async () => {
  const { made, seen, canvas } = await drawing();
  made.hold("ada", 150);
  made.receive("ada", { captureUs: 2 }, 0);
  await sleep(80);
  assert.equal(canvas.shown.at(-1), 1, "held back");
  made.hold("ada", 0);
  made.receive("ada", { captureUs: 3 }, 0);
  await sleep(60);
  assert.equal(canvas.shown.at(-1), 3);
  await sleep(120);
  assert.equal(canvas.shown.at(-1), 3, "the one held back came too late");
  assert.ok(!canvas.shown.includes(2));
  assert.ok(seen.shown.every(([, held]) => held === 0));
  made.close();
});

test("pictures are held back until they are so old, and never for long", async () => {
  const { made, seen } = await drawing({ localMs: (id, captureUs) => captureUs / 1000 });
  made.hold("ada", 0, 100);
  made.receive("ada", { captureUs: Math.round((performance.now() - 40) * 1000) }, 0);
  await sleep(150);
  const [captured, held] = seen.shown.at(-1);
  assert.ok(captured !== null && held > 0 && held < 61, `held for ${held} ms`);
  made.hold("ada", 0, 60_000);
  made.receive("ada", { captureUs: Math.round(performance.now() * 1000) }, 0);
  await sleep(300);
  assert.equal(seen.shown.at(-1)[1], 200);
  made.close();
});

test("an avatar that may not be shown any more goes, and what was held back of it does not come", async () => {
  const { made, seen, canvas } = await drawing();
  made.hold("ada", 120);
  made.receive("ada", { captureUs: 2 }, 0);
  await sleep(60);
  made.undress("ada");
  assert.equal(made.canvas("ada"), null);
  await sleep(150);
  assert.ok(!canvas.shown.includes(2));
  assert.equal(made.canvas("ada"), null);
  assert.equal(seen.pictures, 2, "came, and went");
  await made.setAvatar("ada", new Uint8Array(1), true);
  await sleep(220);
  assert.equal(made.canvas("ada"), canvas);
  made.close();
});
