// Keys, signatures and proofs of the page, against vectors that test_owner_js.py makes of the Python: node --test.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { AvatarError } from "../../web/face/avatar-file.js";
import { hex } from "../../web/browser/sha256.js";
import { ProtocolError } from "../../web/browser/rules.js";
import { Gate, NO_PROOF, UNPROVED } from "../../web/owner/gate.js";
import { OwnerError, findKey, hasSigned, ownKey, supported } from "../../web/owner/keys.js";
import { asOurs } from "../../web/owner/own.js";
import { PARSERS, binding, certificateOf, fields, message, onlySha256, prove, proves, wish, wished } from "../../web/owner/presence.js";
import { SAMPLES, fingerprint, fromHex, signAvatar, verifyAvatar } from "../../web/owner/signature.js";

const folder = process.env.VECTORS;
const vectors = JSON.parse(readFileSync(join(folder, "vectors.json")));
const file = (name) => new Uint8Array(readFileSync(join(folder, `${name}.avatar`)));
const bytes = (letter) => new Uint8Array(32).fill(letter.charCodeAt(0));
const MOMENT = { challenge: bytes("c"), digest: bytes("d"), sender: "alice", receiver: "bøb", session: 2 ** 40 + 7, binding: fromHex(vectors.binding) };
const PKCS8 = "302e020100300506032b657004220420"; // RFC 8410

/** The Python's key: the tests may read it, as no page can. */
async function pythons() {
  const privateKey = await crypto.subtle.importKey("pkcs8", fromHex(PKCS8 + vectors.private), "Ed25519", false, ["sign"]);
  return { privateKey, bytes: fromHex(vectors.public), kept: false };
}

const other = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
const stranger = { privateKey: other.privateKey, bytes: new Uint8Array(await crypto.subtle.exportKey("raw", other.publicKey)), kept: false };
const owner = await pythons();

// keys

test("a key is made once for a page, and cannot be read out", async () => {
  assert.equal(await supported(), true);
  assert.equal(await findKey(), null);
  const [one, again] = [await ownKey(), await ownKey()];
  assert.equal(one, again);
  assert.equal(one.bytes.length, 32);
  assert.equal(one.privateKey.extractable, false);
  assert.equal(one.kept, false); // there is no IndexedDB here
  await assert.rejects(crypto.subtle.exportKey("pkcs8", one.privateKey));
});

test("what is no key and no signature has signed nothing", async () => {
  const signature = fromHex(vectors.proof);
  assert.equal(await hasSigned(owner.bytes, signature, message(MOMENT)), true);
  assert.equal(await hasSigned(stranger.bytes, signature, message(MOMENT)), false);
  assert.equal(await hasSigned(owner.bytes.slice(1), signature, message(MOMENT)), false);
  assert.equal(await hasSigned(owner.bytes, signature.slice(1), message(MOMENT)), false);
  assert.equal(await hasSigned(new Uint8Array(32).fill(255), signature, message(MOMENT)), false);
});

// signatures

test("files of the program are somebody's", async () => {
  const found = await verifyAvatar(file("signed"));
  assert.equal(hex(found.owner), vectors.public);
  assert.deepEqual([found.made, found.free, found.label], ["live", false, "avatar"]);
  assert.equal((await verifyAvatar(file("photos"))).label, "photo avatar");
  assert.deepEqual(await verifyAvatar(file("sample")), { owner: null, made: null, free: true, label: "sample avatar" });
  assert.equal(await verifyAvatar(file("signed").slice(0, 100)), null);
  assert.match(fingerprint(found.owner), /^([0-9a-f]{4} ){7}[0-9a-f]{4}$/);
  assert.deepEqual([...SAMPLES].sort(), vectors.samples);
});

test("unsigned, stolen and changed files are refused", async () => {
  await assert.rejects(verifyAvatar(file("unsigned")), { name: "Error", message: /telepresence avatar sign/ });
  await assert.rejects(verifyAvatar(file("stolen")), /nobody signed that/);
  const changed = file("signed");
  changed[20 + 33 + 3] ^= 1; // within the table
  await assert.rejects(verifyAvatar(changed), (error) => error instanceof OwnerError || error instanceof AvatarError);
  const small = file("second");
  const at = small.length - 10;
  small[at] ^= 1; // the rest of a file is held to its hash when it is read, not here
  assert.equal((await verifyAvatar(small)).label, "photo avatar");
});

test("what is signed here is what the program signs", async () => {
  assert.deepEqual(await signAvatar(file("unsigned"), owner, "live"), file("signed"));
  assert.deepEqual(await signAvatar(file("photos"), owner, "live"), file("signed"));
  await assert.rejects(signAvatar(file("signed"), stranger, "live"), /another key/);
  await assert.rejects(signAvatar(file("signed").slice(0, -1), owner), AvatarError);
  const key = await ownKey();
  writeFileSync(join(folder, "made.avatar"), await signAvatar(file("unsigned"), key, "live"));
  writeFileSync(join(folder, "again.avatar"), await signAvatar(file("signed"), owner));
  writeFileSync(join(folder, "made.json"), JSON.stringify({ public: hex(key.bytes), proof: hex(await prove(MOMENT, key)) }));
});

// proofs

test("moments, bindings and wishes are the program's", async () => {
  assert.equal(hex(message(MOMENT)), vectors.moment);
  assert.equal(hex(await binding(bytes("a"), bytes("b"))), vectors.binding);
  assert.equal(hex(await prove(MOMENT, owner)), vectors.proof);
  assert.equal(await proves(MOMENT, owner.bytes, fromHex(vectors.proof)), true);
  for (const change of [{ challenge: bytes("x") }, { sender: "bøb" }, { session: 8 }, { sender: "alicebø", receiver: "b" }]) {
    assert.equal(await proves({ ...MOMENT, ...change }, owner.bytes, fromHex(vectors.proof)), false);
  }
  assert.equal(hex(await wish(owner, vectors.hashes.signed)), vectors.wish);
  assert.equal(await wished(owner.bytes, vectors.hashes.signed, fromHex(vectors.wish)), true);
  assert.equal(await wished(owner.bytes, vectors.hashes.photos, fromHex(vectors.wish)), false);
});

const AB = `a=fingerprint:sha-256 ${Array(32).fill("AB").join(":")}`;
const CD = `a=fingerprint:sha-512 ${Array(64).fill("CD").join(":")}`;

test("a description is held to one SHA-256 fingerprint", () => {
  assert.equal(hex(certificateOf(`v=0\r\n${AB}\r\n${AB.toLowerCase()}\r\n`)), "ab".repeat(32));
  const kept = onlySha256(`v=0\r\n${CD}\r\nm=application 9\r\n${AB}\r\n${CD}\r\na=mid:0\r\n`);
  assert.equal(kept, `v=0\r\nm=application 9\r\n${AB}\r\na=mid:0\r\n`);
  for (const wrong of ["v=0\r\n", `${AB}\r\n${AB.replace("AB", "AC")}\r\n`, `${CD}\r\n`, `${AB}:AB\r\n`]) {
    assert.throws(() => onlySha256(wrong), ProtocolError);
  }
});

test("malformed messages are refused", () => {
  const nonce = btoa("x".repeat(32));
  assert.equal(PARSERS.challenge({ nonce, sha256: "0".repeat(64) }).nonce.length, 32);
  for (const wrong of [{ nonce: "AAAA", sha256: "0".repeat(64) }, { nonce, sha256: "A".repeat(64) }, { nonce: 7 }, {}]) {
    assert.throws(() => PARSERS.challenge(wrong), ProtocolError);
  }
  assert.throws(() => PARSERS.proof({ signature: "*".repeat(88), sha256: "0".repeat(64) }), ProtocolError);
  assert.deepEqual(fields({ type: "proof", signature: Uint8Array.of(1) }), { type: "proof", signature: "AQ==" });
});

// the gate

const sdp = (pair) => `a=fingerprint:sha-256 ${Array(32).fill(pair).join(":")}\r\n`;
const [OURS, THEIRS, MIDDLE] = ["BB", "AA", "CC"].map(sdp);

/** A sender's half and a receiver's. */
class Ends {
  constructor(key) {
    this.told = []; // what the receiver shows, in words
    this.sent = []; // its challenges
    this.answers = []; // the sender's proofs
    this.forgotten = 0;
    this.now = 0;
    const silent = { deliver() {}, takeBack() {}, send: (sent) => this.answers.push(sent) };
    this.sender = new Gate("alice", "bob", key, silent);
    this.receiver = new Gate("bob", "alice", null, {
      deliver: (data, whole, label) => this.told.push(`${whole ? "whole" : "begun"} ${label}`),
      takeBack: (reason, all) => this.told.push(all ? `gone ${reason}`.trim() : "begun gone"),
      send: (sent) => this.sent.push(sent),
      forget: () => { this.forgotten += 1; },
    }, () => this.now);
    this.connect(5);
  }

  connect(session, theirs = THEIRS) {
    this.sender.begin(session, THEIRS, OURS);
    this.receiver.begin(session, OURS, theirs);
  }

  async offer(name, claimed = name) {
    const before = this.sent.length;
    await this.receiver.onOffer(vectors.hashes[name]);
    if (this.sent.length === before) return null;
    const challenge = PARSERS.challenge(this.sent.at(-1));
    const answers = this.answers.length;
    await this.sender.onChallenge(challenge, file(claimed), vectors.hashes[name]);
    return this.answers.length > answers ? PARSERS.proof(this.answers.at(-1)) : null;
  }

  send(name, whole = true) { return this.receiver.onAvatar(file(name), whole, vectors.hashes[name]); }
  async prove(proof) { if (proof) await this.receiver.onProof(proof); }

  async meet(name, claimed = name) {
    const proof = await this.offer(name, claimed);
    await this.send(name);
    await this.prove(proof);
  }
}

test("its owner is shown, at first and after a reconnect", async () => {
  const ends = new Ends(owner);
  const proof = await ends.offer("signed");
  await ends.send("signed", false);
  assert.deepEqual(ends.told, []);
  assert.equal(ends.receiver.admitsMotion, false);
  await ends.prove(proof);
  await ends.send("signed");
  assert.deepEqual(ends.told, ["begun avatar", "whole avatar"]);
  assert.equal(ends.receiver.label, "avatar");
  assert.equal(ends.receiver.admitsMotion, true);
  ends.connect(6);
  assert.equal(ends.receiver.admitsMotion, false);
  await ends.prove(await ends.offer("signed"));
  assert.equal(ends.receiver.admitsMotion, true);
  assert.equal(ends.told.length, 2);
});

test("a copy of somebody else's is not shown", async () => {
  const lacks = new Ends(null);
  await lacks.meet("signed");
  lacks.now = 10_001;
  await lacks.receiver.tick();
  assert.deepEqual(lacks.told, [`gone ${NO_PROOF}`]);
  const claims = new Ends(stranger);
  writeFileSync(join(folder, "claimed.avatar"), await signAvatar(file("unsigned"), stranger, "live"));
  await claims.meet("signed", "claimed");
  assert.deepEqual(claims.told, [`gone ${UNPROVED}`]);
});

test("a replayed proof, and one through somebody in between, do not count", async () => {
  for (const theirs of [THEIRS, MIDDLE]) {
    const ends = new Ends(owner);
    const old = await ends.offer("signed");
    ends.connect(theirs === THEIRS ? 5 : 6, theirs);
    await ends.receiver.onOffer(vectors.hashes.signed);
    await ends.send("signed");
    await ends.prove(old);
    assert.deepEqual(ends.told, [`gone ${UNPROVED}`]);
  }
});

test("swapped after the proof, or on the next connection, the first goes too", async () => {
  const ends = new Ends(owner);
  await ends.meet("second");
  await ends.meet("unsigned");
  assert.deepEqual(ends.told.slice(0, 1), ["whole photo avatar"]);
  assert.match(ends.told[1], /^gone The avatar is not signed/);
  assert.equal(ends.receiver.admitsMotion, false);
  const again = new Ends(owner);
  await again.meet("second");
  again.connect(6);
  await again.offer("signed");
  assert.deepEqual(again.told, ["whole photo avatar", "gone"]);
  assert.equal(again.receiver.admitsMotion, false);
  await again.receiver.onOffer(null);
  assert.equal(again.receiver.admitsMotion, true);
});

test("a late proof counts, and samples need none", async () => {
  const ends = new Ends(owner);
  const proof = await ends.offer("signed");
  await ends.send("signed");
  ends.now = 10_001;
  await ends.receiver.tick();
  await ends.prove(proof);
  assert.deepEqual(ends.told, [`gone ${NO_PROOF}`, "whole avatar"]);
  const sample = new Ends(null);
  await sample.meet("sample");
  assert.deepEqual(sample.told, ["whole sample avatar"]);
});

test("an owner's wish takes its picture away, and nobody else's does", async () => {
  const ends = new Ends(owner);
  await ends.meet("signed");
  const wrong = await wish(stranger, vectors.hashes.signed);
  assert.equal(await ends.receiver.onForget({ sha256: vectors.hashes.signed, signature: wrong }, file("signed")), false);
  assert.equal(ends.told.length, 1);
  assert.equal(await ends.receiver.onForget({ sha256: vectors.hashes.signed, signature: fromHex(vectors.wish) }, file("signed")), true);
  assert.match(ends.told[1], /^gone Its owner has deleted/);
});

// one's own

test("a file becomes ours if nobody signed it, and stays who it is otherwise", async () => {
  const key = await ownKey();
  const mine = await asOurs(file("unsigned"));
  assert.equal(mine.key, key);
  assert.deepEqual([(await verifyAvatar(mine.data)).label, mine.label], ["photo avatar", "photo avatar"]);
  const live = await signAvatar(file("unsigned"), key, "live");
  assert.deepEqual(await asOurs(live), { data: live, key, label: "avatar" });
  assert.deepEqual(await asOurs(file("sample")), { data: file("sample"), key: null, label: "sample avatar" });
  await assert.rejects(asOurs(file("signed")), /belongs to another key/);
  await assert.rejects(asOurs(new Uint8Array(100)), AvatarError);
});
