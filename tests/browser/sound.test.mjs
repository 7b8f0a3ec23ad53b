// Sound from page to page: how soon it is back when ways were cut. Clock, hub and network are made of numbers.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Peer, VirtualClock, sleep } from "./virtual.mjs";
import { Sound } from "../../web/call/sound.js";

const HUB_MS = 30, CONNECT_MS = 200;
const UNWRITABLE_MS = 5_000; // until Chromium calls a connection without answers "disconnected"

/** Between two pages: a hub that hands payloads on, and a way that connects those who have each other's description. */
class World {
  constructor(clock, ids) {
    Object.assign(this, { clock, hub: true, way: true, pairs: [], waiting: [], relayed: 0 });
    Peer.all.length = 0;
    Peer.network = { joined: (peer) => this.#joined(peer) };
    this.pages = new Map(ids.map((id) => [id, this.#page(id)]));
  }

  #page(id) {
    const page = { id, streams: new Map(), ups: 0 };
    page.sound = new Sound({
      id,
      iceServers: [],
      relayOnly: false,
      send: (to, payload) => this.#relay(id, to, payload),
      onStream: (from, stream) => page.streams.set(from, stream),
      onState: (from, state) => { page.ups += state === "connected" ? 1 : 0; page.state = state; },
    });
    return page;
  }

  async #relay(from, to, payload) {
    if (!this.hub) return; // lost
    this.relayed += 1;
    await sleep(HUB_MS);
    if (this.hub) this.pages.get(to)?.sound.on(from, payload);
  }

  /** A peer has both descriptions; its other one does as well once it is here with ours. */
  async #joined(peer) {
    const index = (text) => Number(/a=(\d+)/.exec(text)[1]);
    const other = Peer.all[index(peer.remote.sdp)];
    if (!other?.remote || index(other.remote.sdp) !== Peer.all.indexOf(peer)) return;
    if (!this.way) await new Promise((go) => this.waiting.push(go));
    await sleep(CONNECT_MS);
    if ([peer, other].some(({ connectionState }) => connectionState === "closed")) return;
    this.pairs.push([peer, other]);
    for (const one of [peer, other]) one.become("connected");
  }

  cut({ hub = true, way = true }) {
    this.hub = !hub;
    if (!way) return;
    this.way = false;
    const { pairs } = this;
    sleep(UNWRITABLE_MS).then(() => !this.way && pairs.flat().forEach((one) => one.become("disconnected")));
  }

  /** All is as before; who is told of it hurries. */
  back() {
    [this.hub, this.way] = [true, true];
    for (const go of this.waiting.splice(0)) go();
    for (const one of this.pairs.flat()) if (one.connectionState === "disconnected") one.become("connected");
    for (const { sound } of this.pages.values()) sound.hurry();
  }

  get connected() { return [...this.pages.values()].every(({ state }) => state === "connected"); }

  close() { for (const { sound } of this.pages.values()) sound.close(); }
}

let clock, world;

beforeEach(() => {
  clock = new VirtualClock();
  console.info = () => {};
  world = new World(clock, ["ada", "grace"]);
});

afterEach(() => world.close());

const begin = async () => {
  const { sound: later } = world.pages.get("grace");
  world.pages.get("ada").sound.keep(["grace"]);
  later.join(["ada"]);
  later.keep(["ada"]);
  return clock.until(() => world.connected);
};

test("who comes later calls, and both hear each other", async () => {
  assert.ok(await begin() <= 500);
  assert.ok(world.pages.get("ada").streams.get("grace") && world.pages.get("grace").streams.get("ada"));
  await clock.run(20_000);
  assert.equal(world.relayed, 2);
});

for (const what of [{ hub: true, way: true }, { hub: false, way: true }]) {
  test(`after an outage ${what.hub ? "of everything" : "of the way alone"} sound is back within 2 s, however long it was`, async () => {
    await begin();
    for (const away of [1_000, 4_900, 5_500, 6_250, 6_500, 7_000, 9_000, 14_000, 16_000, 23_000, 60_000, 300_000]) {
      world.cut(what);
      await clock.run(away);
      world.back();
      const took = await clock.until(() => world.connected);
      assert.ok(took <= 2_000, `${took} ms after ${away} ms`);
      await clock.run(12_000);
      assert.ok(world.connected, "and stays");
    }
  });
}

test("an outage of the hub alone is not heard of", async () => {
  await begin();
  const before = world.relayed;
  world.cut({ way: false });
  await clock.run(60_000);
  world.back();
  await clock.run(10_000);
  assert.ok(world.connected);
  assert.equal(world.relayed, before);
});

test("both calling at once makes one connection, and so does hurrying at once", async () => {
  for (const { id, sound } of world.pages.values()) sound.join([id === "ada" ? "grace" : "ada"]);
  await clock.until(() => world.connected);
  await clock.run(5_000);
  assert.ok(world.connected);
  world.cut({});
  await clock.run(20_000);
  world.back();
  const made = Peer.all.length;
  await clock.until(() => world.connected);
  await clock.run(5_000);
  assert.ok(world.connected && Peer.all.length - made <= 4, `${Peer.all.length - made} connections made`);
});

test("a hurry that comes during a good attempt does not spoil it", async () => {
  const { sound } = world.pages.get("grace");
  world.pages.get("ada").sound.keep(["grace"]);
  sound.join(["ada"]);
  await clock.run(150);
  const made = Peer.all.length;
  for (const page of world.pages.values()) page.sound.hurry();
  assert.ok(await clock.until(() => world.connected) <= 300);
  assert.equal(Peer.all.length, made);
});
