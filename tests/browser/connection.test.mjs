// The page's link to its edge: how soon it is back. The clock is made of numbers, the edge too.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Peer, VirtualClock, sleep } from "./virtual.mjs";
import { Link, Pace, known } from "../../web/connection.js";

const CODECS = [
  { n: 1, mimeType: "video/VP8" },
  { n: 2, mimeType: "video/rtx" },
  { n: 3, mimeType: "video/H264", sdpFmtpLine: "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f" },
  { n: 4, mimeType: "video/H264", sdpFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f" },
  { n: 5, mimeType: "video/H264", sdpFmtpLine: "profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1" }, // Firefox
  { n: 6, mimeType: "video/H264", sdpFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f" },
  { n: 7, mimeType: "video/AV1", sdpFmtpLine: "level-idx=5;profile=0;tier=0" },
  { n: 8, mimeType: "video/ulpfec" },
];
globalThis.RTCRtpReceiver = { getCapabilities: () => ({ codecs: CODECS }) };

const ANSWER_MS = 150, CONNECT_MS = 250;

/** An edge that, while it is `down`, refuses, or does not answer, or answers and does not connect: until it is back. */
class Edge {
  constructor(clock) {
    this.clock = clock;
    this.down = "";
    this.connected = new Set();
    this.waiting = [];
    this.slow = 1;
    globalThis.fetch = (url, { signal }) => Promise.race([this.#answer(), aborted(signal)]);
    Peer.network = { joined: (peer) => this.#join(peer) };
  }

  cut(how) {
    this.down = how;
    for (const peer of this.connected) {
      if (how === "refuses") peer.transport.become("closed");
      else sleep(5_000).then(() => this.connected.has(peer) && peer.become("disconnected"));
    }
    if (how === "refuses") this.connected.clear();
  }

  back() {
    this.down = "";
    for (const peer of this.connected) if (peer.connectionState === "disconnected") peer.become("connected");
    for (const go of this.waiting.splice(0)) go();
  }

  #up() { return new Promise((go) => this.waiting.push(go)); }

  async #answer() {
    if (this.down === "refuses") throw new TypeError("refused");
    if (this.down === "hangs") await this.#up();
    await sleep(ANSWER_MS * this.slow);
    return { ok: true, json: async () => ({ type: "answer", sdp: "v=0\r\n" }) };
  }

  async #join(peer) {
    if (this.down) await this.#up();
    await sleep(CONNECT_MS * this.slow);
    if (this.down) await this.#up();
    if (peer.connectionState === "closed") return;
    peer.transport.state = "connected";
    this.connected.add(peer);
    peer.become("connected");
  }
}

const aborted = (signal) => new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));

let clock, edge, states, link;

beforeEach(() => {
  clock = new VirtualClock();
  Peer.all.length = 0;
  edge = new Edge(clock);
  states = [];
  link = new Link({ find: async () => ({ url: "http://127.0.0.1:1", token: "t" }), receive: 3, onState: (state) => states.push(state) });
  console.info = () => {};
});

afterEach(() => link.close());

const live = () => states.at(-1) === "live";

for (const how of ["refuses", "hangs", "is mute"]) {
  test(`an edge that ${how} for a while is connected soon after its return, however long it was away`, async () => {
    link.restart();
    await clock.until(live);
    for (const away of [300, 1_000, 2_400, 2_600, 5_000, 7_600, 9_000, 11_000, 13_000, 20_000, 60_000]) {
      edge.cut(how);
      await clock.run(away);
      edge.back();
      const took = await clock.until(live);
      assert.ok(took <= 1_500, `${took} ms after ${away} ms away`);
      await clock.run(3_000);
    }
  });
}

test("an edge that says goodbye is asked again at once", async () => {
  link.restart();
  await clock.until(live);
  edge.cut("refuses");
  edge.back();
  const took = await clock.until(() => states.includes("lost") && live());
  assert.ok(took <= ANSWER_MS + CONNECT_MS + 100, `${took} ms`);
});

test("an edge that says goodbye while it is being connected is not waited for", async () => {
  link.restart();
  await clock.run(ANSWER_MS + 50);
  Peer.all.at(-1).transport.become("closed");
  const took = await clock.until(live);
  assert.ok(took <= ANSWER_MS + CONNECT_MS + 100, `${took} ms`);
});

test("a machine so busy that connecting takes five seconds is waited for", async () => {
  edge.slow = 12;
  link.restart();
  await clock.until(live);
  assert.equal(Peer.all.length, 1);
  edge.slow = 1;
  edge.cut("refuses");
  edge.back();
  await clock.until(() => states.includes("lost") && live());
  edge.slow = 20; // what took 0.4 s takes 8 s
  edge.cut("refuses");
  edge.back();
  states.push("lost");
  await clock.until(live, 30_000);
});

test("who knows that the edge is there need not wait for the next attempt", async () => {
  link.restart();
  await clock.until(live);
  edge.cut("refuses");
  await clock.run(10_000);
  edge.back();
  link.hurry();
  const many = Peer.all.length;
  link.hurry(); // the attempt is on its way
  assert.equal(Peer.all.length, many);
  assert.ok(await clock.until(live) <= ANSWER_MS + CONNECT_MS + 20);
  link.hurry(); // nothing to hurry
  assert.equal(Peer.all.length, many);
});

test("one transport is offered, and only what an edge knows", async () => {
  link.restart();
  await clock.until(live);
  const [peer] = Peer.all;
  assert.equal(peer.options.bundlePolicy, "max-bundle");
  assert.deepEqual(peer.ways.map((way) => way.preferred), [...Array(3)].map(() => CODECS.filter(known)));
  assert.deepEqual(CODECS.filter(known).map((codec) => codec.n), [1, 2, 4, 5]);
});

test("an edge that is behind gets fewer pictures, on every connection, until it is not", async () => {
  link.close();
  link = new Link({ find: async () => ({ url: "http://127.0.0.1:1", token: "t" }), sends: true, onState: (state) => states.push(state) });
  link.restart();
  await clock.until(live);
  const rate = () => Peer.all.at(-1).ways[0].sender.asked?.encodings[0].maxFramerate;
  assert.equal(rate(), undefined);
  link.slow(15);
  assert.equal(rate(), 15);
  edge.cut("refuses");
  edge.back();
  states.push("lost");
  await clock.until(() => Peer.all.length === 2 && live());
  assert.equal(rate(), 15);
  link.slow(null);
  assert.equal(rate(), undefined);
});

test("a link that was closed stays so", async () => {
  link.restart();
  await clock.until(live);
  edge.cut("refuses");
  link.close();
  link.hurry();
  const many = Peer.all.length;
  await clock.run(10_000);
  assert.equal(Peer.all.length, many);
});

test("pauses stay short, patience follows what a connection takes", () => {
  const pace = new Pace();
  assert.equal(pace.patienceMs, 10_000); // nothing is known
  pace.connected(300);
  assert.equal(pace.patienceMs, 3_000);
  assert.deepEqual([0, 0, 0, 0, 0, 0].map(() => pace.pauseMs()), [50, 200, 500, 700, 700, 700]);
  pace.connected(2_000);
  assert.equal(pace.patienceMs, 8_000);
  pace.connected(300);
  assert.equal(pace.pauseMs(true), 50); // it has waited long enough
  assert.equal(pace.pauseMs(true), 50);
  assert.equal(pace.patienceMs, 10_000); // two were too slow: the machine may be busier by now
  pace.pauseMs(true);
  assert.equal(pace.patienceMs, 3_000);
});
