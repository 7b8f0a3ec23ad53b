// What a page says to a hub and to other participants, without a browser: node --test.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { Channels, Counters } from "../../web/browser/channels.js";
import { ClockOffset } from "../../web/browser/clock.js";
import { AvatarExchange } from "../../web/browser/exchange.js";
import * as hello from "../../web/browser/hello.js";
import { Hub, checkedPayload, invitation } from "../../web/browser/hub.js";
import { Network } from "../../web/browser/network.js";
import { Peer, nextNumber } from "../../web/browser/peer.js";
import { Retrying } from "../../web/browser/retrying.js";
import { ProtocolError, TokenBucket, checkedName, parseObject } from "../../web/browser/rules.js";
import { checkedDescription } from "../../web/browser/session.js";
import { hex, sha256, slowly } from "../../web/browser/sha256.js";
import { CHUNK_BYTES, Incoming, Outgoing, WINDOW_BYTES, offerOf, parseMessage, parseOffer } from "../../web/browser/transfer.js";
import { wish } from "../../web/owner/presence.js";
import { signAvatar, writeSections } from "../../web/owner/signature.js";
import { FakePeer } from "./fake_rtc.mjs";

const bytes = (size, seed = 1) => Uint8Array.from({ length: size }, (_, n) => (n * 7 + (n >> 8) * seed) & 255);
const soon = () => new Promise((resolve) => { setTimeout(resolve, 5); });
console.info = () => {}; // what is refused is told there

async function until(condition, what, ms = 5000) {
  const end = performance.now() + ms;
  while (!condition()) {
    assert.ok(performance.now() < end, `not in time: ${what}`);
    await soon();
  }
}

// rules

test("a bucket lets its burst through, then its rate", () => {
  const bucket = new TokenBucket({ burst: 3, perSecond: 2 });
  assert.deepEqual([0, 0, 0, 0].map((at) => bucket.take(at)), [true, true, true, false]);
  assert.equal(bucket.take(400), false);
  assert.equal(bucket.take(600), true);
});

test("names and numbers are checked as the hub does", () => {
  assert.equal(checkedName("Zoë \u200d 愛"), "Zoë \u200d 愛");
  for (const bad of ["a\nb", "x".repeat(65), "\u202e", 5, null]) assert.throws(() => checkedName(bad), ProtocolError);
  for (const bad of ["[]", "null", "3", "{", "NaN"]) assert.throws(() => parseObject(bad), ProtocolError);
});

test("SHA-256 with and without the browser's help", async () => {
  for (const size of [0, 1, 55, 56, 63, 64, 65, 1000, 100_000]) {
    const data = bytes(size);
    const expected = createHash("sha256").update(data).digest("hex");
    assert.equal(await sha256(data), expected);
    assert.equal(Buffer.from(slowly(data)).toString("hex"), expected);
  }
});

test("the ping with the shortest round trip tells the clock; forged answers tell nothing", () => {
  const clock = new ClockOffset();
  const answer = (sentUs, rtt, offset) => clock.pong({ ...clock.ping(sentUs), answeredUs: sentUs + rtt / 2 + offset }, sentUs + rtt);
  assert.equal(clock.toLocalUs(5), null);
  assert.ok(answer(1000, 900, 50_000));
  assert.ok(answer(2000, 100, 50_010));
  assert.equal(clock.rttUs, 100);
  assert.equal(clock.toLocalUs(60_010), 10_000);
  assert.equal(clock.pong({ sequence: 1, sentUs: 1000, answeredUs: 0 }, 2000), false); // replayed
});

// the control channel

test("control messages go there and back", () => {
  const avatar = { sha256: "0f".repeat(32), size: 5, epoch: 3 };
  for (const message of [
    { type: "hello", protocol: 1, schemas: [1, 7], avatar }, { type: "hello", protocol: 1, schemas: [1], avatar: null },
    { type: "want", sha256: "ab".repeat(32), start: 77 }, { type: "refuse", code: "schema", message: "no" },
    { type: "state", name: "Ada", muted: true, camera: false, sound: true, pageMs: 21.5 },
  ]) assert.deepEqual(hello.parse(hello.encode(message)), message);
  assert.equal(hello.parse('{"type":"later"}'), null);
  assert.equal(hello.parse('{"type":"constructor"}'), null);
});

test("control messages that break a rule are refused", () => {
  const wrong = [
    "{", '{"a":1}', '{"type":5}', '{"type":"hello","protocol":1,"schemas":[]}', '{"type":"hello","protocol":1,"schemas":[256]}',
    '{"type":"hello","protocol":-1,"schemas":[1]}', '{"type":"hello","protocol":1,"schemas":[1],"avatar":{"sha256":"x","size":1}}',
    '{"type":"want","sha256":"ab","start":0}', '{"type":"state","muted":1}', '{"type":"state","page_ms":-1}',
    '{"type":"state","name":"\\u0007"}', '{"type":"refuse","code":5,"message":""}', Uint8Array.of(0xff, 0xfe), " ".repeat(20_000),
  ];
  for (const data of wrong) assert.throws(() => hello.parse(data), ProtocolError, String(data).slice(0, 60));
});

test("a common schema or a reason", () => {
  assert.deepEqual(hello.agreed([1, 2], { protocol: 1, schemas: [2, 1, 9] }), { schema: 2 });
  assert.equal(hello.agreed([1], { protocol: 1, schemas: [9] }).refuse.code, "schema");
  assert.equal(hello.agreed([1], { protocol: 2, schemas: [1] }).refuse.code, "protocol");
});

// transfers

test("an avatar comes over whole, within the window, and goes on where it was", async () => {
  const data = bytes(40_000);
  const incoming = new Incoming(await offerOf(data));
  let outgoing = new Outgoing(data);
  for (let turn = 0; !incoming.complete; turn += 1) {
    const under = [];
    for (let message; (message = outgoing.next(turn));) under.push(message);
    assert.ok(under.reduce((sum, { length }) => sum + length, 0) <= WINDOW_BYTES);
    for (const message of under) {
      const { offset, chunk } = parseMessage(message);
      outgoing.acknowledge(parseMessage(incoming.take(offset, chunk)).received, turn);
    }
    if (turn === 2) outgoing = new Outgoing(data, incoming.received); // another connection
  }
  assert.deepEqual(await incoming.result(), data);
  assert.ok(outgoing.done);
});

test("what breaks a transfer's rules changes nothing of it", async () => {
  const data = bytes(3000);
  const incoming = new Incoming(await offerOf(data));
  for (const [offset, chunk] of [[1, bytes(3)], [0, bytes(0)], [0, bytes(3001)]]) assert.throws(() => incoming.take(offset, chunk), ProtocolError);
  assert.equal(incoming.received, 0);
  incoming.take(0, bytes(3000, 2).fill(9));
  assert.equal(await incoming.result(), null);
  const outgoing = new Outgoing(data);
  outgoing.next(0);
  assert.throws(() => outgoing.acknowledge(CHUNK_BYTES + 1, 0), ProtocolError);
  assert.throws(() => new Outgoing(data, 3001), ProtocolError);
  for (const size of [0, 4, 5 + CHUNK_BYTES + 1]) assert.throws(() => parseMessage(new Uint8Array(size)), ProtocolError);
  assert.throws(() => parseMessage(Uint8Array.of(9, 0, 0, 0, 0)), ProtocolError);
  for (const offer of [null, {}, { sha256: "0f".repeat(32), size: 9e6 }, { sha256: "0F".repeat(32), size: 1 }, { sha256: "0f".repeat(32), size: 1, epoch: 256 }]) {
    assert.throws(() => parseOffer(offer), ProtocolError);
  }
});

test("the window shrinks while acknowledgements are late", () => {
  const outgoing = new Outgoing(bytes(200_000));
  const turn = (nowUs, rttUs) => {
    let many = 0;
    while (outgoing.next(nowUs)) many += 1;
    outgoing.acknowledge(outgoing.sent, nowUs + rttUs);
    return many;
  };
  assert.equal(turn(0, 1000), 7);
  for (let n = 1; n < 6; n += 1) turn(n * 100_000, 60_000);
  assert.equal(turn(900_000, 60_000), 1);
});

// the hub

class FakeSocket extends EventTarget {
  static opened = [];

  constructor() {
    super();
    this.sent = [];
    FakeSocket.opened.push(this);
    setImmediate(() => this.dispatchEvent(new Event("open")));
  }

  send(text) { this.sent.push(JSON.parse(text)); }

  say(message) { this.dispatchEvent(new MessageEvent("message", { data: typeof message === "string" ? message : JSON.stringify(message) })); }

  end(code) { const event = new Event("close"); event.code = code; this.dispatchEvent(event); }

  close() { this.closed = true; }
}

const JOINED = { type: "joined", id: "me", resume: "r1", participants: [], ice_servers: [], resumed: false };

function enter() {
  FakeSocket.opened = [];
  const hub = new Hub({ url: "ws://x/signal", room: "den", token: "t", schemas: [1] }, () => new FakeSocket());
  const told = [];
  for (const type of ["joined", "arrived", "left", "relay", "away", "lost", "refused"]) {
    hub.addEventListener(type, ({ detail }) => told.push([type, detail]));
  }
  hub.join("Ada");
  return { hub, told, socket: () => FakeSocket.opened.at(-1) };
}

test("the page's address is the invitation", () => {
  assert.deepEqual(invitation("https://h/room/den%2D1?token=a.b"), { room: "den-1", token: "a.b" });
  assert.deepEqual(invitation("https://h/"), { room: "", token: "" });
});

test("joins, follows, and comes back under the same id", async () => {
  const { hub, told, socket } = enter();
  await until(() => socket().sent.length, "asks");
  assert.deepEqual(socket().sent[0], { type: "join", protocol: 1, token: "t", room: "den", name: "Ada", schemas: [1], resume: null });
  const servers = [{ urls: ["turn:a", "gopher:b"], username: "u", credential: "c" }, { urls: ["turn:no-password"] }];
  socket().say({ ...JOINED, ice_servers: servers, relay_only: true, participants: [{ id: "p", name: "Bob", schemas: [1], vouched: true }] });
  assert.deepEqual(told[0], ["joined", {
    id: "me", participants: [{ id: "p", name: "Bob", vouched: true }], resumed: false, relayOnly: true, name: "",
    iceServers: [{ urls: ["turn:a"], username: "u", credential: "c" }],
  }]);
  socket().end(1012);
  assert.equal(told[1][0], "lost");
  await until(() => socket().sent[0]?.resume === "r1", "comes back with its resume token");
  hub.leave();
});

test("nonsense of a hub is counted, and changes nothing", async () => {
  const { hub, told, socket } = enter();
  await until(() => socket().sent.length, "asks");
  const wrong = ["{", "[]", { type: "x" }, { ...JOINED, id: "not an id" }, { ...JOINED, participants: Array(17).fill({ id: "a" }) },
    { type: "relay", from: "p", payload: { kind: "call", session: 1 } }, { type: "arrived", id: "p", name: "\n" }, "x".repeat(70_000)];
  for (const message of wrong) socket().say(message);
  assert.deepEqual([hub.violations, told.length, hub.connected], [wrong.length, 0, false]);
  hub.leave();
});

test("a refusal for good ends it, in words", async () => {
  const { hub, told, socket } = enter();
  await until(() => socket().sent.length, "asks");
  socket().say({ type: "error", code: "token", message: "the token has expired" });
  socket().end(4401);
  assert.deepEqual(told, [["refused", { code: "token", message: "the token has expired" }]]);
  await soon();
  assert.equal(FakeSocket.opened.length, 1);
  hub.leave();
});

test("payloads are checked", () => {
  assert.deepEqual(checkedPayload({ kind: "bye", session: 2 ** 53 - 1 }), { kind: "bye", session: 2 ** 53 - 1, sdp: "", media: "motion" });
  const wrong = [null, {}, { kind: "offer", session: 1 }, { kind: "offer", session: 2 ** 53, sdp: "v" }, { kind: "offer", session: -1, sdp: "v" },
    { kind: "offer", session: 1, sdp: "v", media: "smell" }, { kind: "offer", session: 1, sdp: "v".repeat(25_000) }];
  for (const payload of wrong) assert.throws(() => checkedPayload(payload), ProtocolError);
});

test("no more messages than the hub allows", async () => {
  const { hub, socket } = enter();
  await until(() => socket().sent.length, "asks");
  socket().say(JOINED);
  for (let n = 0; n < 80; n += 1) hub.relay("p", { kind: "bye", session: n });
  assert.equal(socket().sent.length, 51);
  await until(() => socket().sent.length > 53, "the rest follows");
  hub.leave();
});

// two participants

test("attempts: eager at first after a loss, patient later", () => {
  const retrying = new Retrying();
  assert.equal(retrying.openMs(0), 5000);
  for (let n = 0; n < 10; n += 1) retrying.ended(false);
  assert.equal(retrying.waitMs(0), 5000);
  retrying.lost(1000, 10);
  assert.equal(retrying.waitMs(2000), 500);
  assert.equal(retrying.openMs(2000), 1520);
  assert.deepEqual([40_000, 40_000, 40_000].map((at) => retrying.openMs(at)).filter((ms) => ms === 5000).length, 1);
});

test("only data is accepted", () => {
  const print = `a=fingerprint:sha-256 ${Array(32).fill("AB").join(":")}\r\n`;
  const good = `v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n${print}`;
  assert.equal(checkedDescription(`${good}a=fingerprint:sha-512 ${Array(64).fill("CD").join(":")}\r\n`), good);
  for (const sdp of ["v=0", good.replace(print, ""), `${good}${print.replace("AB", "AC")}`, "m=audio 9 x\r\n", "m=application 9 x\r\nm=video 9 x\r\n"]) assert.throws(() => checkedDescription(sdp));
});

test("numbers go up, also over a reload", () => {
  assert.equal(nextNumber(2 ** 53 - 2), 2 ** 53 - 1);
  assert.equal(nextNumber(2 ** 53 - 1), 2 ** 53 - 1);
  assert.ok(nextNumber(0) > 1.7e15);
});

const pairOfKeys = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
const KEY = { privateKey: pairOfKeys.privateKey, bytes: new Uint8Array(await crypto.subtle.exportKey("raw", pairOfKeys.publicKey)) };

/** A file of about so many bytes, signed with KEY; nobody can be seen in it. */
async function avatarFile(size, seed = 1) {
  const meta = new TextEncoder().encode('{"engine":null,"free_for_all":false,"name":"x"}');
  const sections = [["meta", meta], ["neutral", bytes(1)], ["reference/0", bytes(1)], ["background", bytes(1)], ["rest", bytes(size, seed)]];
  return signAvatar(await writeSections(sections), KEY, "photos");
}

async function participant(id, data, key = KEY) {
  const got = { motion: [], avatars: [], previews: [], payloads: [], unshown: [], labels: [] };
  const ours = { avatar: data, offer: data && (await offerOf(data)), key };
  const made = [];
  const on = {
    relay: (payload) => { got.payloads.push(payload); setImmediate(() => got.other?.onPayload(payload, got.otherWins)); return !got.deaf; },
    way: () => ({ iceServers: [], relayOnly: false }),
    onMotion: (packet) => got.motion.push(packet),
    us: id === "a" ? "b" : "a",
    onAvatar: (avatar, label) => { got.avatars.push(avatar); got.labels.push(label); },
    onUnshown: (reason) => got.unshown.push(reason),
    onPreview: (preview) => got.previews.push(preview),
    cache: { find: async () => null, keep: () => {} },
  };
  const peer = new Peer(id, ours, on, () => { const fake = new FakePeer(); made.push(fake); return fake; });
  return { peer, got, made, on };
}

const LARGE = await avatarFile(120_000);

async function pair(one = LARGE, other = null, key = KEY) {
  const [a, b] = [await participant("b", one, key), await participant("a", other, key)];
  [a.got.other, b.got.other, a.got.otherWins, b.got.otherWins] = [b.peer, a.peer, true, false];
  return [a, b];
}

const MOTION = { rotation: [0.1, 0, 0], translation: [0, 0.1], scale: 0.5, gaze: [0, 0, 0, 0], expression: new Array(48).fill(0.2) };
const connected = (...all) => all.every(({ peer }) => peer.state === "connected");
const end = (...all) => all.forEach(({ peer }) => peer.close());

test("two meet: hello, the avatar, its preview, motion, how they want to be shown", async () => {
  const [a, b] = await pair();
  a.peer.present({ name: "Ada", muted: true, camera: true, sound: true });
  a.peer.start();
  await until(() => connected(a, b), "connected");
  await until(() => b.got.avatars.length, "the avatar");
  await until(() => !a.peer.exchange.sending && b.peer.presence, "its acknowledgement, and how they are shown");
  assert.deepEqual(b.got.avatars[0], LARGE);
  assert.deepEqual([b.got.labels[0], b.peer.label], ["photo avatar", "photo avatar"]);
  assert.equal(b.got.previews.length, 2);
  assert.deepEqual([b.peer.exchange.receiving, a.peer.exchange.sending, a.got.avatars.length], [null, false, 0]);
  assert.deepEqual(b.peer.presence, { name: "Ada", muted: true, camera: true, sound: true, pageMs: null });
  for (let n = 1; n < 30; n += 1) {
    assert.ok(a.peer.sendMotion({ captureUs: n * 33_000, motion: MOTION, rest: false }));
    await soon();
  }
  await until(() => b.got.motion.length === 29, "motion");
  assert.ok(Math.abs(b.got.motion[5].motion.rotation[0] - 0.1) < 0.02);
  assert.equal(a.peer.counters.violations + b.peer.counters.violations, 0);
  assert.ok(a.peer.clock.known);
  end(a, b);
});

test("who is met is asked to forget what was deleted, once on a connection, and does", async () => {
  const gone = await avatarFile(3000, 9);
  const hash = hex(new Uint8Array(await crypto.subtle.digest("SHA-256", gone)));
  const deleted = await Promise.all(Array.from({ length: 12 }, async (_, n) => ({
    sha256: n ? `${n}`.padStart(64, "0") : hash, signature: await wish(KEY, n ? `${n}`.padStart(64, "0") : hash),
  })));
  const [a, b] = await pair();
  const [asked, dropped] = [[], []];
  b.on.cache.find = async (one) => { asked.push(one); return one === hash ? gone : null; };
  b.on.cache.drop = async (one) => dropped.push(one);
  b.peer.proving.on.cache = b.on.cache;
  a.peer.change({ ...a.peer.ours, deleted });
  a.peer.start();
  await until(() => connected(a, b) && dropped.length, "it is forgotten");
  await until(() => asked.filter((one) => one !== a.peer.ours.offer.sha256).length === 8, "eight wishes have come");
  assert.deepEqual(dropped, [hash]);
  assert.equal(b.peer.counters.violations, 0);
  end(a, b);
});

test("both offer at once: one connection comes of it", async () => {
  const [a, b] = await pair(await avatarFile(2000), await avatarFile(3000, 3));
  a.peer.start();
  b.peer.start();
  await until(() => connected(a, b), "connected");
  await until(() => a.got.avatars.length && b.got.avatars.length, "avatars both ways");
  assert.equal(a.peer.rebuilds + b.peer.rebuilds, 0);
  end(a, b);
});

test("a lost connection is made anew, whoever notices; the avatar is not sent twice", async () => {
  const [a, b] = await pair(await avatarFile(2000));
  a.peer.start();
  await until(() => b.got.avatars.length, "the avatar");
  for (const side of [a, b]) {
    const before = a.made.length;
    side.made.at(-1).close();
    await until(() => a.made.length > before && connected(a, b), "connected again");
  }
  await soon();
  assert.equal(b.got.avatars.length, 1);
  assert.ok(a.peer.rebuilds >= 2);
  end(a, b);
});

test("who only has the file, or nobody's signature on it, is not shown and does not move", async () => {
  const stranger = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  const other = { privateKey: stranger.privateKey, bytes: KEY.bytes }; // says that it is the owner
  const [a, b] = await pair(await avatarFile(2000), null, other);
  a.peer.start();
  await until(() => b.got.unshown.length, "refused");
  assert.match(b.peer.unshown, /did not prove/);
  assert.deepEqual([b.got.avatars.length, b.got.previews.length, b.peer.label], [0, 0, null]);
  for (let n = 1; n < 10; n += 1) {
    a.peer.sendMotion({ captureUs: n * 33_000, motion: MOTION, rest: false });
    await soon();
  }
  assert.deepEqual([b.got.motion.length, b.peer.state], [0, "connected"]);
  end(a, b);
  const [c, d] = await pair(bytes(2000));
  c.peer.start();
  await until(() => d.got.unshown.length, "refused");
  assert.equal(d.got.avatars.length, 0);
  end(c, d);
});

test("silence ends a connection after three heartbeats", async () => {
  const [a, b] = await pair(null);
  a.peer.start();
  await until(() => connected(a, b), "connected");
  a.made[0].cut = true;
  b.made[0].cut = true;
  await until(() => a.made.length > 1 && connected(a, b), "a new connection", 8000);
  end(a, b);
});

test("a peer of another schema is refused, in words to both", async () => {
  const [a, b] = await pair(null);
  a.peer.start();
  await until(() => connected(a, b), "connected");
  b.made[0].channels[1].send(JSON.stringify({ type: "hello", protocol: 1, schemas: [77], avatar: null }));
  await until(() => a.peer.state === "refused" && b.peer.state === "refused", "refused");
  assert.match(b.peer.reason, /the other side refused: no common motion schema/);
  end(a, b);
});

test("nonsense on every channel is counted; too much of it parts for good", async () => {
  const [a, b] = await pair(null);
  a.peer.start();
  await until(() => connected(a, b), "connected");
  const [motion, control, avatar] = b.made[0].channels;
  const nonsense = [Uint8Array.of(0x99, 1, 2), new Uint8Array(0), new Uint8Array(2000), "text"];
  for (const data of nonsense) motion.send(data);
  for (const data of ["{", "[]", Uint8Array.of(0xff), '{"type":"want","sha256":1}']) control.send(data);
  for (const data of ["text", new Uint8Array(3), Uint8Array.of(2, 0, 0, 0, 9), Uint8Array.of(1, 0, 0, 0, 0, 1)]) avatar.send(data);
  await until(() => a.peer.counters.violations === 12, "counted");
  assert.equal(a.peer.state, "connected");
  for (let n = 0; n < 120; n += 1) motion.send("text");
  await until(() => a.peer.state === "refused", "parted");
  end(a, b);
});

test("data before hello breaks a rule", async () => {
  const { peer, made } = await participant("x", null);
  peer.start();
  await until(() => made.length, "an attempt");
  const events = { onOpen() {}, onMotion() {}, onControl() {}, onAvatarMessage() {}, onAbuse() {}, onSilence() {} };
  const counters = new Counters();
  const lonely = new Channels(new FakePeer(), events, counters);
  lonely.sendControl({ type: "want", sha256: "ab".repeat(32), start: 0 }); // not open: dropped
  assert.equal(lonely.sendMotion({ captureUs: 1, motion: MOTION }), false);
  assert.equal(counters.skipped, 1);
  peer.close();
});

test("an avatar that is not what was offered is asked for once more, then given up", async () => {
  const told = { previews: [], wants: [], violations: 0 };
  const exchange = new AvatarExchange({ find: async () => null, keep() {}, onAvatar: () => assert.fail("shown"), onPreview: (data) => told.previews.push(data) });
  const channels = { open: true, sendControl: (message) => told.wants.push(message), sendAvatar() {}, violation: () => { told.violations += 1; } };
  const offer = { ...(await offerOf(bytes(100))), size: 100 };
  exchange.onOffer(offer, channels);
  for (const wants of [1, 2]) {
    await until(() => told.wants.length === wants, "wanted");
    exchange.onMessage({ offset: 0, chunk: new Uint8Array(100) }, 0, channels);
  }
  await until(() => told.previews.length, "given up");
  assert.deepEqual([told.previews, told.violations], [[null], 2]);
  assert.throws(() => exchange.onOffer({ ...offer, epoch: 1 }, channels), ProtocolError); // too soon
  exchange.close();
});

// the room

test("a room follows its hub: places, names, who forgot us", async () => {
  const hub = Object.assign(new EventTarget(), { id: "me", name: "", connected: true, violations: 0, join() {}, leave() {}, relayed: [], relay(to, payload) { this.relayed.push([to, payload.kind, payload.media]); return true; } });
  const say = (type, detail) => hub.dispatchEvent(new CustomEvent(type, { detail }));
  const on = { onMotion() {}, onAvatar() {}, onPreview() {}, onSound: () => false, cache: { find: async () => null, keep() {} } };
  const network = new Network({}, { avatar: null, offer: null }, on, { hub, make: () => new FakePeer() });
  const one = (id, vouched = false) => ({ id, name: id.toUpperCase(), vouched });
  say("joined", { resumed: false, participants: [one("a"), one("b", true)], iceServers: [], relayOnly: false });
  say("arrived", one("c"));
  await until(() => hub.relayed.length === 2, "offers to who was there");
  assert.deepEqual(hub.relayed.map(([to, kind, media]) => [to, kind, media]).sort(), [["a", "offer", "motion"], ["b", "offer", "motion"]]);
  say("left", "a");
  say("arrived", one("d"));
  assert.deepEqual([...network.others].map(([id, { place }]) => [id, place]), [["b", 1], ["c", 2], ["d", 0]]);
  network.others.get("b").peer.presence = { name: "somebody else" };
  network.others.get("c").peer.presence = { name: "Cleo" };
  assert.deepEqual(["b", "c", "d"].map((id) => network.name(id)), ["B", "Cleo", "D"]);
  say("relay", { from: "c", payload: { kind: "offer", session: 4, sdp: "v", media: "sound" } });
  assert.deepEqual(hub.relayed.at(-1), ["c", "bye", "sound"]); // no sound here
  say("joined", { resumed: false, participants: [], iceServers: [], relayOnly: false });
  assert.equal(network.others.size, 0);
  network.leave();
});
