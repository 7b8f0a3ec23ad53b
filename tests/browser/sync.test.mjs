// Lips and sound: what is decided, with a receiver made of numbers. Run by test_sound_steering.py.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LIMITS, PeerClock, PictureTimes, atRest, soundAge, steer } from "../../web/call/sync.js";

/** A receiver: pictures follow `hold` after 150 ms, the jitter buffer follows `sound` at 150 ms a second. */
class Receiver {
  constructor({ picture, sound, noise = 0, seed = 1 }) {
    Object.assign(this, { picture, sound, noise, seed });
    this.state = atRest();
    this.now = 0;
    this.held = 0;
    this.delayed = 0;
    this.holds = [];
    this.skews = [];
    this.changes = 0;
  }

  random() { // uniform, -1..1
    this.seed = (this.seed * 1103515245 + 12345) % 2147483648;
    return (2 * this.seed) / 2147483648 - 1;
  }

  run(ms) {
    for (const end = this.now + ms; this.now < end;) {
      this.now += 100;
      this.holds.push([this.now + 150, this.state.hold]);
      this.holds = this.holds.filter(([at, hold]) => at > this.now || ((this.held = hold), false));
      this.delayed += Math.max(-15, Math.min(15, this.state.sound - this.delayed));
      const ages = { picture: this.picture + this.held + this.noise * this.random(), sound: this.sound + this.delayed };
      this.skews.push([this.now, this.picture + this.held - this.sound - this.delayed]);
      const before = this.state;
      this.state = steer(before, ages, this.now);
      this.changes += before.hold !== this.state.hold || before.sound !== this.state.sound ? 1 : 0;
    }
    return this;
  }

  worst(from, to = Infinity) {
    return Math.max(...this.skews.filter(([at]) => at > from && at <= to).map(([, skew]) => Math.abs(skew)));
  }
}

test("nothing is delayed while they are together", () => {
  const call = new Receiver({ picture: 120, sound: 115, noise: 15 }).run(20_000);
  assert.deepEqual([call.state.hold, call.state.sound], [0, 0]);
});

test("pictures that come early are held back within a second, and then left alone", () => {
  const call = new Receiver({ picture: 80, sound: 160, noise: 10 }).run(20_000);
  assert.ok(call.worst(1_500) <= 20, `${call.worst(1_500)}`);
  assert.ok(call.state.hold > 60 && call.state.hold < 100);
  assert.equal(call.state.sound, 0);
  assert.ok(call.changes <= 4, `${call.changes} changes`);
});

test("sound that comes early is delayed, and then left alone", () => {
  const call = new Receiver({ picture: 220, sound: 90, noise: 10 }).run(20_000);
  assert.ok(call.worst(6_000) <= 25, `${call.worst(6_000)}`);
  assert.equal(call.state.hold, 0);
  assert.ok(call.changes <= 4, `${call.changes} changes`);
});

test("what a loss adds to the sound's delay is made up for within a second, both ways", () => {
  const call = new Receiver({ picture: 110, sound: 110, noise: 8 }).run(5_000);
  call.sound = 190;
  call.run(5_000);
  assert.ok(call.worst(6_000, 10_000) <= 25, `${call.worst(6_000, 10_000)}`);
  call.sound = 110;
  call.run(5_000);
  assert.ok(call.worst(11_000, 15_000) <= 25, `${call.worst(11_000, 15_000)}`);
});

test("what waits is let go before the other has to wait", () => {
  const held = { ...atRest(), hold: 100 };
  let state = held;
  for (let now = 100; state.hold === 100; now += 100) state = steer(state, { picture: 160, sound: 100 }, now);
  assert.ok(state.hold < 100);
  assert.equal(state.sound, 0);
});

test("a picture that is late for a moment delays no sound", () => {
  const call = new Receiver({ picture: 110, sound: 100, noise: 8 }).run(5_000);
  call.picture = 500;
  call.run(800);
  call.picture = 110;
  call.run(5_000);
  assert.deepEqual([call.state.hold, call.state.sound], [0, 0]);
});

test("no delay exceeds its bound", () => {
  const late = new Receiver({ picture: 100, sound: 2_000 }).run(20_000);
  assert.deepEqual([late.state.hold, late.state.sound], [LIMITS.hold, 0]);
  const early = new Receiver({ picture: 3_000, sound: 100 }).run(60_000);
  assert.deepEqual([early.state.hold, early.state.sound], [0, LIMITS.sound]);
});

test("nonsense and silence change nothing", () => {
  const state = { ...atRest(), hold: 50, samples: [[90, 3]] };
  for (const ages of [null, { picture: NaN, sound: 1 }, { picture: 1e9, sound: 1 }, { picture: 5, sound: Infinity }]) {
    const next = steer(state, ages, 100);
    assert.deepEqual([next.hold, next.sound], [50, 0]);
  }
  assert.deepEqual(steer(state, null, 10_000).samples, []); // what is long past counts no more
});

test("one wild sample is no reason", () => {
  let state = atRest();
  for (let now = 100; now < 3_000; now += 100) {
    state = steer(state, { picture: now === 1_000 ? 900 : 100, sound: 100 }, now);
  }
  assert.deepEqual([state.hold, state.sound], [0, 0]);
});

test("the clock of the quickest answer counts; forged answers do not", () => {
  const clock = new PeerClock();
  assert.equal(clock.offset, null);
  for (const [rtt, wrong] of [[80, 30], [10, 1], [300, 140]]) {
    const { n } = clock.ask(1_000);
    assert.ok(clock.answered({ n, at: 1_000 + rtt / 2 + 5_000 + wrong }, 1_000 + rtt));
    assert.ok(!clock.answered({ n, at: 0 }, 2_000));
  }
  assert.equal(clock.offset, 5_001);
  assert.equal(clock.rtt, 10);
  assert.ok(!clock.answered({ n: 99, at: 1 }, 1));
  assert.ok(!clock.answered({ n: clock.ask(1).n, at: "x" }, 1));
});

test("a picture's capture time is found whether the edge or the screen is first", () => {
  const times = new PictureTimes();
  const found = [];
  times.find(0, 7, (captured) => found.push(captured));
  times.tell({ now_ms: 10_000, at: [[0, 7, 50], [1, 7, 90], [0, 8, null]] }, 500);
  times.find(1, 7, (captured) => found.push(captured));
  times.find(0, 8, (captured) => found.push(captured));
  assert.deepEqual(found, [450, 410, null]);
  times.tell({ now_ms: 11_000, at: [[0, 9, 50]] }, 1_520); // 20 ms on its way: the quickest message decides
  times.find(0, 9, (captured) => found.push(captured));
  assert.equal(found[3], 1_450);
  for (const nonsense of [{}, { at: 3, now_ms: 1 }, { at: [], now_ms: "x" }]) times.tell(nonsense, 1);
});

test("what is never asked for is forgotten", () => {
  const times = new PictureTimes();
  for (let rtp = 0; rtp < 1_000; rtp += 1) times.tell({ now_ms: rtp, at: [[0, rtp, 1]] }, rtp);
  for (let rtp = 0; rtp < 1_000; rtp += 1) times.find(1, rtp, () => {});
  assert.ok(times.known.size <= 64 && times.waiting.size <= 64);
});

test("the sound's age comes from its capture time on the sender's clock, else from what delays it", () => {
  const wall = 1_700_000_000_000;
  const clock = { offset: 250, rtt: 40 };
  const delays = { buffered: 50, playout: 30 };
  const source = { timestamp: wall - 5, captureTimestamp: wall - 85 + 250 + 2_208_988_800_000 };
  assert.equal(soundAge(source, clock, delays, wall), 80 + 20 + 30);
  assert.equal(soundAge({ timestamp: wall - 5 }, clock, delays, wall), 20 + 20 + 50 + 30);
  assert.equal(soundAge({ timestamp: wall - 5 }, clock, { buffered: null, playout: 30 }, wall), null);
  assert.equal(soundAge({ timestamp: wall - 5000 }, clock, delays, wall), null);
  assert.equal(soundAge(undefined, clock, delays, wall), null);
  assert.equal(soundAge(source, { offset: null }, delays, wall), null);
});
