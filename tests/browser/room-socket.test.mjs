// The WebSocket of an edge to its page: how soon it is back, and what is said then. The clock is made of numbers.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { VirtualClock } from "./virtual.mjs";
import { RoomSocket } from "../../web/call/room-socket.js";

let clock, edge, said, socket;

class FakeSocket extends EventTarget {
  static OPEN = 1;

  readyState = 0;

  constructor(url) {
    super();
    this.url = String(url);
    edge.sockets.push(this);
    setTimeout(() => {
      if (edge.down) return this.end(1006);
      this.readyState = FakeSocket.OPEN;
      return this.dispatchEvent(new Event("open"));
    }, 20);
  }

  send(text) { edge.heard.push(JSON.parse(text)); }

  say(message) { this.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(message) })); }

  end(code) {
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("close"), { code }));
  }
}

beforeEach(() => {
  clock = new VirtualClock();
  globalThis.WebSocket = FakeSocket;
  globalThis.location = { href: "http://127.0.0.1:7/" };
  edge = { down: false, sockets: [], heard: [], asked: 0, token: "one" };
  said = [];
  socket = new RoomSocket({
    find: async () => {
      edge.asked += 1;
      if (edge.down) throw new TypeError("refused");
      return { url: "/api/room", token: edge.token };
    },
    onOpen: () => said.push("open"),
    onMessage: (message) => said.push(message.type),
    onClosed: (code) => { said.push(code); return code !== 4409; },
    onGone: () => said.push("gone"),
  });
});

afterEach(() => { edge.down = true; });

const last = () => edge.sockets.at(-1);

test("an edge that was started again is entered with its new token, soon, however long it was away", async () => {
  socket.connect();
  await clock.until(() => socket.open);
  for (const away of [100, 900, 5_000, 60_000, 3_600_000]) {
    [edge.down, edge.heard, edge.token] = [true, [], `after ${away}`];
    last().end(1006);
    await clock.run(away);
    edge.down = false;
    assert.ok(await clock.until(() => socket.open) <= 800, `${away}`);
    assert.deepEqual(edge.heard, [{ type: "page", token: `after ${away}` }]);
  }
});

test("a blink is not worth a word, a longer absence is said once", async () => {
  socket.connect();
  await clock.until(() => socket.open);
  last().end(1006);
  await clock.run(1_000);
  last().say({ type: "room" });
  await clock.run(5_000);
  assert.ok(!said.includes("gone"));
  edge.down = true;
  last().end(1006);
  await clock.run(10_000);
  assert.equal(said.filter((word) => word === "gone").length, 1);
});

test("who is told not to come back does not", async () => {
  socket.connect();
  await clock.until(() => socket.open);
  last().end(4409);
  await clock.run(10_000);
  assert.equal(edge.sockets.length, 1);
  socket.connect(); // until it is wanted again
  await clock.until(() => socket.open);
});

test("there is one connection at a time, and what cannot be sent is not kept", async () => {
  socket.send({ type: "early" });
  socket.connect();
  socket.connect();
  await clock.run(5);
  socket.connect();
  await clock.until(() => socket.open);
  socket.connect();
  await clock.run(1_000);
  assert.equal(edge.sockets.length, 1);
  assert.deepEqual(edge.heard, [{ type: "page", token: "one" }]);
});

test("waiting ends when it is known that the edge is there", async () => {
  edge.down = true;
  socket.connect();
  await clock.run(20_010);
  edge.down = false;
  const before = edge.asked;
  socket.connect();
  assert.ok(await clock.until(() => socket.open) <= 30);
  await clock.run(5_000);
  assert.equal(edge.asked, before + 1);
});
