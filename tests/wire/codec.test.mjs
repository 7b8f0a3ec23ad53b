// node --test tests/wire/codec.test.mjs: the vectors that telepresence/wire passes too.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { MotionDecoder } from "../../web/codec/decoder.js";
import { MotionEncoder } from "../../web/codec/encoder.js";
import { MissingReferenceError, PacketError, decodeAck, encodeAck } from "../../web/codec/packets.js";
import fields from "../../web/codec/tables-1.js";

const root = new URL("../../", import.meta.url);
const json = (path) => JSON.parse(readFileSync(new URL(path, root)));
const hex = (data) => Buffer.from(data).toString("hex");
const bytes = (text) => new Uint8Array(Buffer.from(text, "hex"));

const given = ({ capture_us: captureUs, ...rest }) => ({ captureUs, ...rest });

test("the tables are Python's", () => {
  assert.deepEqual(fields, json("telepresence/wire/tables-1.json"));
});

test("encoder and decoder answer as Python's do, byte for byte", () => {
  const { first_sequence: firstSequence, steps } = json("tests/wire/vectors/stream.json");
  const encoder = new MotionEncoder({ firstSequence });
  const decoder = new MotionDecoder();
  steps.forEach((step, number) => {
    const [first, second] = step.given.map(given);
    const message = second ? encoder.encodePair(first, second) : encoder.encode(first.captureUs, first.motion, first);
    assert.equal(hex(message), step.message, `step ${number}`);
    assert.equal(encoder.repeating, step.repeating, `step ${number}`);
    if (!step.packets) return;
    const { packets } = decoder.receive(bytes(step.message));
    const found = packets.map(({ sequence, captureUs, epoch, rest, still }) => {
      return { sequence, capture_us: captureUs, epoch, rest, still, grid: decoder.grid(sequence) };
    });
    assert.deepEqual(found, step.packets, `step ${number}`);
    assert.equal(hex(encodeAck(decoder.ack())), step.ack, `step ${number}`);
    if (step.ack_arrives) encoder.acknowledge(decodeAck(bytes(step.ack)));
  });
});

test("what Python refuses is refused", () => {
  for (const { why, message, error } of json("tests/wire/vectors/refused.json")) {
    const wanted = error === "missing" ? MissingReferenceError : PacketError;
    assert.throws(() => new MotionDecoder().receive(bytes(message)), wanted, why);
  }
});

const near = (found, wanted) => found.every((value, i) => Math.abs(value - wanted[i]) <= 1e-6);

test("leaps, times at their end and motion itself are Python's", () => {
  const decoder = new MotionDecoder();
  for (const { why, message, packets, error, ack } of json("tests/wire/vectors/received.json")) {
    if (error) {
      const wanted = error === "missing" ? MissingReferenceError : PacketError;
      assert.throws(() => decoder.receive(bytes(message)), wanted, why);
    } else {
      decoder.receive(bytes(message)).packets.forEach((found, i) => {
        const { motion, grid, sequence, capture_us: captureUs } = packets[i];
        assert.equal(found.sequence, sequence, why);
        assert.deepEqual(decoder.grid(sequence), grid, why);
        if (grid) assert.equal(found.captureUs, captureUs, why);
        for (const [name, values] of Object.entries(motion)) {
          assert.ok(near([found.motion[name]].flat(), [values].flat()), `${why}: ${name}`);
        }
      });
    }
    assert.equal(hex(encodeAck(decoder.ack())), ack, why);
  }
});

test("whatever is encoded can be decoded", () => {
  const { motion } = json("tests/wire/vectors/stream.json").steps[0].given[0];
  const [encoder, decoder] = [new MotionEncoder(), new MotionDecoder()];
  const times = [1000.3, 2 ** 25 - 0.7, 2 ** 25 + 70_000.1, 2 ** 26 + 0.9, NaN];
  for (const captureUs of times) {
    const [one, two] = [captureUs, captureUs + 33_333.4].map((time) => ({ captureUs: time, motion }));
    const { packets } = decoder.receive(encoder.encodePair(one, two));
    assert.equal(packets.length, 2);
    assert.ok(packets.every((p) => Number.isInteger(p.captureUs)));
    if (captureUs) assert.ok(Math.abs(packets[0].captureUs - captureUs) <= 501);
    encoder.acknowledge(decoder.ack());
  }
  for (const bad of [{ scale: NaN }, { gaze: [NaN, 0, 0, 0] }, { expression: [...motion.expression, 1, 2, 3] }]) {
    const { packets } = decoder.receive(new MotionEncoder().encode(0, { ...motion, ...bad }));
    assert.equal(packets[0].motion.expression.length, 48);
    assert.ok(Object.values(packets[0].motion).flat().every(Number.isFinite));
    if (Number.isNaN(bad.scale)) assert.ok(Math.abs(packets[0].motion.scale - 1) < 0.01);
  }
});

test("any bytes are a packet or a PacketError, and values stay within bounds", () => {
  const { steps } = json("tests/wire/vectors/stream.json");
  let seed = 7;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const decoder = new MotionDecoder();
  for (let i = 0; i < 3000; i++) {
    const data = bytes(steps[Math.floor(random() * steps.length)].message);
    for (let n = 0; n < 3; n++) data[Math.floor(random() * data.length)] = Math.floor(random() * 256);
    try {
      const { packets = [] } = decoder.receive(data);
      for (const { motion } of packets) {
        assert.ok(motion.scale >= 0.02 && motion.scale <= 2);
        assert.ok(motion.expression.every((value) => Math.abs(value) <= 6));
        assert.ok(Math.hypot(...motion.rotation) < 3.1416);
      }
    } catch (error) {
      assert.ok(error instanceof PacketError, `${hex(data)}: ${error.stack}`);
    }
  }
});
