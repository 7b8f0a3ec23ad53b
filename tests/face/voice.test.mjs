// web/voice.js against the vectors that telepresence/face/voice.py made. Run by test_voice.py.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { BLOCK, VoiceMouth } from "../../web/voice.js";

const cases = JSON.parse(readFileSync(new URL("./voice_vectors.json", import.meta.url)));

function samples(tones, rate, first) {
  return Float32Array.from({ length: BLOCK }, (_, k) => {
    let sum = 0;
    tones.forEach(([hertz, amplitude], n) => { sum += amplitude * Math.sin((2 * Math.PI * hertz * (first + k)) / rate + n * n); });
    return sum;
  });
}

for (const { rate, step_ms: stepMs, parts, heard } of cases) {
  test(`the same mouth is heard at ${rate} samples a second`, () => {
    const voice = new VoiceMouth(rate);
    let step = 0;
    for (const { blocks, tones } of parts) {
      for (let n = 0; n < blocks; n += 1, step += 1) {
        const block = samples(tones, rate, Math.floor((step * stepMs * rate) / 1000));
        const { mouth, level } = voice.hear(block, 1000 + step * stepMs);
        [...mouth, level].forEach((value, i) => {
          assert.ok(Math.abs(value - heard[step][i]) < 1e-4, `block ${step}: ${[...mouth, level]} is not ${heard[step]}`);
        });
      }
    }
  });
}

test("any samples give a mouth within its bounds", () => {
  const voice = new VoiceMouth(48000);
  for (const value of [0, 1, -1, 1e9, 1e-30]) {
    const { mouth, level } = voice.hear(new Float32Array(10).fill(value), value);
    for (const one of [...mouth, level]) assert.ok(one >= 0 && one <= 1, `${one}`);
  }
});
