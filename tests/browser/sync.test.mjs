// Lips and sound: what is decided, with a receiver made of numbers. Run by test_page_modules.py.

import assert from "node:assert/strict";
import { test } from "node:test";

import { PeerClock, PictureTimes, soundAge } from "../../web/call/clocks.js";
import { LIMITS, atRest, steer } from "../../web/call/steering.js";

const PICTURE_MS = 39; // 25.6 a second
const LEG_MS = 25; // from the edge to the screen, and a refresh of the screen of 17 ms
const HOP_MS = 20; // until the edge knows what the page wants

/**
 * A receiver: pictures come when they come, wait at the edge until they are as old as is wanted, and are seen at the next
 * refresh; the jitter buffer follows `sound` at 150 ms a second. `picture` and `sound` are ages without any of that.
 */
class Receiver {
  constructor({ picture, sound, spread = 0, alike = false, seed = 1 }) {
    Object.assign(this, { picture, sound, spread, alike, seed });
    this.state = atRest();
    this.now = 0;
    this.next = 0;
    this.delayed = 0;
    this.wishes = [];
    this.wish = { age: null, hold: 0 };
    this.shown = [];
    this.skews = [];
    this.ages = [];
    this.changes = 0;
  }

  random() { // uniform, 0..1
    this.seed = (this.seed * 1103515245 + 12345) % 2147483648;
    return this.seed / 2147483648;
  }

  /** Ages of pictures have a long tail: `spread` is a fifth of what the latest are late by. */
  natural() { return this.picture - this.spread * Math.log(1 - this.random()); }

  run(ms) {
    for (const end = this.now + ms; this.now < end;) {
      this.now += 100;
      this.delayed += Math.max(-15, Math.min(15, this.state.sound - this.delayed));
      for (; this.next < this.now; this.next += PICTURE_MS) this.#picture(this.next);
      const pictures = this.shown.filter(({ at }) => at <= this.now);
      this.shown = this.shown.filter(({ at }) => at > this.now);
      const before = this.state;
      const sound = this.deaf ? null : this.sound + this.delayed + 2 * this.random() - 1;
      this.state = steer(before, { pictures, sound }, this.now);
      this.changes += before.sound !== this.state.sound ? 1 : 0;
      if (before.age !== this.state.age || before.hold !== this.state.hold) this.wishes.push([this.now + HOP_MS, this.state]);
    }
    return this;
  }

  #picture(captured) {
    while (this.wishes.length && this.wishes[0][0] <= captured) [, this.wish] = this.wishes.shift();
    const ready = Math.max(10, this.natural() - LEG_MS);
    const wanted = this.alike ? this.wish.hold : this.wish.age === null ? 0 : this.wish.age - LEG_MS - ready;
    const held = Math.max(0, Math.min(LIMITS.hold, wanted));
    const at = captured + ready + held + LEG_MS + 17 * (this.random() - 0.5);
    const age = at - captured;
    this.shown.push({ at, age, held });
    this.skews.push([at, age - this.sound - this.delayed]);
    this.ages.push([at, age]);
  }

  /** The skew, absolute, that this share of the pictures keeps below. */
  worst(from, to = Infinity, share = 0.95) { return level(this.skews.filter(([at]) => at > from && at <= to).map(([, skew]) => Math.abs(skew)), share); }

  middle(from) { return level(this.skews.filter(([at]) => at > from).map(([, skew]) => skew), 0.5); }
}

function level(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(share * (sorted.length - 1))];
}

test("pictures of uneven ages and a sound that comes early are together to 45 ms, at 25 a second", () => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const call = new Receiver({ picture: 115, sound: 74, spread: 25, seed }).run(40_000); // as on the machine of docs/sound.md
    assert.ok(call.worst(6_000) <= 45, `${call.worst(6_000)}`);
    assert.ok(Math.abs(call.middle(6_000)) <= 10, `${call.middle(6_000)}`);
    assert.ok(level(call.ages.map(([, age]) => age), 0.95) < 115 + 25 * 5, "pictures wait for nothing that never comes");
    assert.ok(call.changes <= 5, `${call.changes} changes of the sound in 40 s`);
  }
});

test("pictures that come early are as old as their sound within a second, each of them", () => {
  const call = new Receiver({ picture: 60, sound: 160, spread: 15 }).run(20_000);
  assert.ok(call.worst(1_200) <= 20, `${call.worst(1_200)}`);
  assert.equal(call.state.sound, 0);
});

test("who can only hold all pictures alike has them together on average", () => {
  const call = new Receiver({ picture: 60, sound: 160, spread: 10, alike: true }).run(20_000);
  assert.ok(Math.abs(call.middle(3_000)) <= LIMITS.dead + 3, `${call.middle(3_000)}`);
});

test("sound that comes early waits for most pictures, and is then left alone", () => {
  const call = new Receiver({ picture: 200, sound: 90, spread: 10 }).run(20_000);
  assert.ok(call.worst(6_000) <= 30, `${call.worst(6_000)}`);
  assert.ok(call.changes <= 3, `${call.changes} changes`);
});

test("what a loss adds to the sound's delay is made up for within a second, both ways", () => {
  const call = new Receiver({ picture: 100, sound: 110, spread: 8 }).run(8_000);
  call.sound += 80;
  call.run(5_000);
  assert.ok(call.worst(9_000, 13_000) <= 25, `${call.worst(9_000, 13_000)}`);
  call.sound -= 80;
  call.run(5_000);
  assert.ok(call.worst(14_000, 18_000) <= 25, `${call.worst(14_000, 18_000)}`);
});

test("a sound that waits for pictures which are quick again waits no longer", () => {
  const call = new Receiver({ picture: 300, sound: 90, spread: 8 }).run(10_000);
  assert.ok(call.state.sound > 150);
  call.picture = 80;
  call.run(15_000);
  assert.ok(call.state.sound <= LIMITS.dead, `${call.state.sound}`);
});

test("pictures that are late for a moment delay no sound", () => {
  const call = new Receiver({ picture: 90, sound: 100, spread: 4 }).run(8_000);
  call.picture = 500;
  call.run(800);
  call.picture = 90;
  call.run(8_000);
  assert.equal(call.state.sound, 0);
});

test("no delay exceeds its bound", () => {
  const late = new Receiver({ picture: 100, sound: 2_000 }).run(20_000);
  assert.ok(late.skews.at(-1)[1] < -1_600);
  assert.deepEqual([late.state.hold, late.state.sound], [LIMITS.hold, 0]);
  const early = new Receiver({ picture: 3_000, sound: 100 }).run(60_000);
  assert.equal(early.state.sound, LIMITS.sound);
});

test("who falls silent holds nothing back", () => {
  const call = new Receiver({ picture: 60, sound: 160, spread: 5 }).run(5_000);
  assert.ok(call.state.age > 150);
  call.deaf = true;
  call.run(1_000);
  assert.ok(call.state.age > 150, "a gap is no silence");
  call.run(2_000);
  assert.deepEqual(call.state, atRest());
});

test("pictures too few to judge by delay no sound", () => {
  let state = atRest();
  for (let now = 100; now < 20_000; now += 100) {
    const pictures = now % 500 ? [] : [{ at: now, age: 400, held: 0 }];
    state = steer(state, { pictures, sound: 100 }, now);
  }
  assert.equal(state.sound, 0);
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

test("after a clock was set, its new offset counts at once", () => {
  const clock = new PeerClock();
  const ask = (offset, rtt) => {
    const { n } = clock.ask(1_000);
    clock.answered({ n, at: 1_000 + rtt / 2 + offset }, 1_000 + rtt);
  };
  ask(5_000, 4);
  ask(5_020, 60); // no more than its way explains
  assert.equal(clock.offset, 5_000);
  ask(3_605_000, 60);
  assert.equal(clock.offset, 3_605_000);
});

test("a picture's capture time is found whether the edge or the screen is first", () => {
  const times = new PictureTimes();
  const found = [];
  const note = ({ captured }) => found.push(captured);
  times.find(0, 7, note);
  times.tell({ now_ms: 10_000, at: [[0, 7, 50, 30, 10], [1, 7, 90, 40, 0], [0, 8, null, 0, 0]] }, 500);
  times.find(1, 7, note);
  times.find(0, 8, note);
  assert.deepEqual(found, [450, 410, null]);
  times.tell({ now_ms: 11_000, at: [[0, 9, 50, 35, 12.5]] }, 1_520); // 20 ms on its way: the quickest message decides
  times.find(0, 9, (sent) => assert.deepEqual(sent, { captured: 1_450, out: 35, held: 12.5 }));
  times.tell({ now_ms: 11_100, at: [[0, 10, 50]] }, 3_602_000); // one of the two has slept
  times.find(0, 10, (sent) => assert.deepEqual(sent, { captured: 3_601_950, out: null, held: 0 }));
  for (const nonsense of [{}, { at: 3, now_ms: 1 }, { at: [], now_ms: "x" }]) times.tell(nonsense, 1);
});

test("what is never asked for is forgotten", () => {
  const times = new PictureTimes();
  for (let rtp = 0; rtp < 1_000; rtp += 1) times.tell({ now_ms: rtp, at: [[0, rtp, 1, 1, 0]] }, rtp);
  for (let rtp = 0; rtp < 1_000; rtp += 1) times.find(1, rtp, () => {});
  assert.ok(times.known.size <= 64 && times.waiting.size <= 64);
});

test("the sound's age comes from its capture time on the sender's clock, else from what delays it", () => {
  const wall = 1_700_000_000_000;
  const clock = { offset: 250, rtt: 40 };
  const delays = { buffered: 50, playout: 30 };
  const source = { timestamp: wall - 5, captureTimestamp: wall - 85 + 250 + 2_208_988_800_000 };
  assert.equal(soundAge(source, clock, delays, wall), 80 + 20 + 30);
  const way = 20 + 20 + 50 + 30;
  assert.equal(soundAge({ timestamp: wall - 5 }, clock, delays, wall), way);
  for (const slept of [-3_600_000, -400, 400, 3_600_000]) { // their browser's clock, since it was started
    const off = { ...source, captureTimestamp: source.captureTimestamp + slept };
    assert.equal(soundAge(off, clock, delays, wall), way);
  }
  assert.equal(soundAge({ timestamp: wall - 5 }, clock, { buffered: null, playout: 30 }, wall), null);
  assert.equal(soundAge({ timestamp: wall - 5000 }, clock, delays, wall), null);
  assert.equal(soundAge(undefined, clock, delays, wall), null);
  assert.equal(soundAge(source, { offset: null }, delays, wall), null);
});
