// One other participant: keeps a connection to it, and says hello on each. The twin of telepresence/rtc/peer.py.
//
// One side offers, and offers again, with a higher number, when the connection is lost; the other asks it to. Who has
// just joined offers; an offer with a higher number than one's own makes its receiver the one who asks.

import { fields } from "../owner/presence.js";
import { Counters } from "./channels.js";
import { SCHEMAS, agreed } from "./hello.js";
import { Proving } from "./proving.js";
import { Retrying } from "./retrying.js";
import { ProtocolError, nowUs } from "./rules.js";
import { Session, pause, within } from "./session.js";
import { sameOffer } from "./transfer.js";

const ANSWER_MS = 10_000;
const OPEN_MS = 5000;
const HELLO_MS = 5000;
const FAREWELL_MS = 200; // for a refusal to leave before the connection closes
const PRESENT_MS = 250; // between two messages of how we want to be shown
const OFFER_AGAIN_MS = 8000; // between two avatars of ours
const MAX_WISHES = 8; // on a connection
const OWNERS = new Set(["challenge", "proof", "forget"]);

/**
 * @typedef {object} Ours  what we tell everybody
 * @property {Uint8Array|null} avatar @property {{sha256: string, size: number, epoch: number}|null} offer
 * @property {import("../owner/keys.js").OwnKey|null} [key]  what proves that it is ours; none for a sample
 * @property {{sha256: string, signature: Uint8Array}[]} [deleted]  avatars of ours that are to be forgotten, newest first
 */

/** Events: "state", "presence", "progress" (of its avatar). What is urgent goes to the functions of `on`. */
export class Peer extends EventTarget {
  /** @type {"connecting"|"connected"|"lost"|"refused"} */ state = "connecting";
  reason = "";
  counters = new Counters();
  rebuilds = 0;
  schema = null; // of this connection, before its hello null
  presence = null; // as last told: {name, muted, camera, sound, pageMs}
  #session = null;
  #closed = false;
  #offers = false;
  #number = 0;
  #turn = 0; // which of the loops that keep the connection up is the present one
  #retrying = new Retrying();
  #greeted = null; // {promise, resolve} of the present connection
  #offered = null; // the avatar that we have offered last, and when
  #offeredMs = 0;
  #toldMs = -Infinity;
  #wished = new Set(); // what was asked to be forgotten on this connection
  #own = { name: "", muted: true, camera: false, sound: false };

  /**
   * @param {string} id @param {Ours} ours
   * @param {{relay: (payload: object) => boolean, way: () => {iceServers: RTCIceServer[], relayOnly: boolean},
   *   onMotion: (packet: object, nowUs: number) => void, onAvatar: (data: Uint8Array, label: string) => void,
   *   onPreview: (data: Uint8Array|null, label: string) => void, onUnshown?: (reason: string) => void, us?: string,
   *   cache: {find: Function, keep: Function, drop?: Function}}} on  us: our id. What comes of its avatar may be shown;
   *   onUnshown: nothing of it any more
   * @param {Function} [make]  makes an RTCPeerConnection, for tests
   */
  constructor(id, ours, on, make = undefined) {
    super();
    this.id = id;
    this.ours = ours;
    this.on = on;
    this.make = make;
    this.proving = new Proving(on.us ?? "", id, ours, { ...on, changed: () => this.#emit("progress") });
    this.exchange = this.proving.exchange;
  }

  /** What its pictures are labelled with; null: none are shown. */
  get label() { return this.proving.label; }

  /** Why its avatar is not shown, for people; empty if it is, or is on its way. */
  get unshown() { return this.proving.unshown; }

  /** Offer now, whatever there was before, and keep the connection up from now on. */
  start() {
    this.#offers = true;
    this.#restart(null);
  }

  /** Something came from it through the hub. @param {boolean} weWin  if both offer at once with the same number */
  onPayload({ kind, session, sdp }, weWin) {
    if (this.state === "refused" || this.#closed) return;
    if (kind === "answer") {
      if (this.#session?.number === session) this.#session.onAnswer(sdp);
    } else if (kind === "bye") {
      this.#onBye(session);
    } else if (session > this.#number || (session === this.#number && this.#offers && !weWin)) {
      this.#number = session;
      this.#offers = false;
      this.#restart({ session, sdp });
    }
  }

  /** Send motion if the connection is up and the transport has let go of the one before. */
  sendMotion(packet) {
    return this.state === "connected" && this.schema !== null && this.#session.channels.sendMotion(packet);
  }

  /** Bytes of the present connection on the wire; null: not known. @returns {Promise<{sent: number, received: number}|null>} */
  async wire() { return (await this.#session?.wire()) ?? null; }

  /** The connection's clock; null while there is none. */
  get clock() { return this.#session?.channels.clock ?? null; }

  /** Show us as this from now on: as soon as the rules allow. @param {Ours} ours */
  change(ours) {
    this.ours = ours;
    this.proving.change(ours);
    this.#follow();
  }

  /** How we want to be shown. */
  present(own) {
    this.#own = own;
    if (this.presenting) return;
    this.presenting = setTimeout(() => this.#present(), Math.max(0, this.#toldMs + PRESENT_MS - performance.now()));
  }

  close() {
    this.#closed = true;
    this.#turn += 1;
    clearTimeout(this.presenting);
    clearTimeout(this.following);
    this.proving.close();
    this.#drop();
  }

  // the connection

  #onBye(number) {
    if (number < this.#number) return; // a newer one is under way
    this.#number = number;
    const before = this.#offers;
    this.#offers = true;
    if (this.#session) this.#session.lose();
    else if (!before) this.#restart(null); // an offerer without a connection is about to offer anyway
  }

  #restart(offer) {
    this.#turn += 1;
    this.#lose();
    this.#keepUp(offer, this.#turn).catch((error) => console.error(error));
  }

  /** Make a connection, and another one each time it is lost. */
  async #keepUp(theirs, turn) {
    const stale = () => this.#turn !== turn || this.state === "refused";
    let offer = theirs;
    this.#retrying.begin();
    while (!stale()) {
      if (offer || this.#offers) {
        const cameUp = await this.#attempt(offer, stale);
        if (this.#turn !== turn) return;
        this.#lose();
        offer = null;
        this.#retrying.ended(cameUp);
      }
      if (stale()) return;
      if (this.#offers) {
        await pause(this.#retrying.waitMs(performance.now()));
      } else { // it is theirs to offer: tell them that the last one is of no use here
        this.on.relay({ kind: "bye", session: this.#number, sdp: "" });
        await pause(this.#retrying.askAgainMs);
      }
    }
  }

  /** One connection until it is lost. @returns {Promise<boolean>} whether it came up */
  async #attempt(offer, stale) {
    const session = this.#begin(offer);
    const greeted = this.#greeted.promise;
    const steps = offer ? this.#take(session, offer, greeted) : this.#make(session, greeted);
    try {
      const up = await Promise.race([steps.then(() => true), session.lost.then(() => false)]);
      steps.catch(() => {});
      if (up && !stale()) await session.lost;
      return up;
    } catch (error) {
      console.info(`no connection to a participant yet: ${error.message}`);
      return false;
    }
  }

  async #make(session, greeted) {
    const sdp = await session.offer();
    if (!this.on.relay({ kind: "offer", session: session.number, sdp })) throw new Error("the hub is out of reach");
    await session.answer(ANSWER_MS);
    const began = performance.now();
    await session.open(this.#retrying.openMs(began));
    this.#retrying.opened(performance.now() - began);
    await within(HELLO_MS, greeted);
  }

  async #take(session, { sdp }, greeted) {
    const answer = await session.reply(sdp);
    this.on.relay({ kind: "answer", session: session.number, sdp: answer });
    await session.open(ANSWER_MS + OPEN_MS);
    await within(HELLO_MS, greeted);
  }

  #begin(offer) {
    this.#number = offer ? offer.session : nextNumber(this.#number);
    this.#greeted = {};
    this.#greeted.promise = new Promise((resolve) => { this.#greeted.resolve = resolve; });
    this.schema = null;
    const session = new Session(this.#number, this.on.way(), this.#events(() => session), this.counters, this.make);
    this.#session = session;
    return session;
  }

  #drop() {
    const session = this.#session;
    this.#session = null;
    session?.close();
  }

  /** There is no connection: all that ends or replaces one comes through here. */
  #lose() {
    const { clock } = this;
    this.#drop();
    if (this.state === "connected") {
      this.rebuilds += 1;
      this.#retrying.lost(performance.now(), clock?.known ? clock.rttUs / 1000 : null);
    }
    if (this.state !== "refused") this.#set(this.rebuilds ? "lost" : "connecting");
  }

  #set(state, reason = "") {
    if (state === this.state && reason === this.reason) return;
    this.state = state;
    this.reason = reason;
    this.#emit("state");
  }

  // what the channels tell, each of its own session

  #events(session) {
    const present = (act) => (...all) => { if (this.#session === session()) act(...all); };
    return {
      onOpen: present(() => {
        this.proving.begin(this.#session);
        this.#wished.clear();
        this.#greet();
      }),
      onMotion: present((packet, now) => this.#onMotion(packet, now)),
      onControl: present((message) => this.#onControl(message)),
      onAvatarMessage: present((message) => this.#onAvatarMessage(message)),
      onAbuse: present(() => this.#end("it sent too many messages that break the protocol")),
      onSilence: present(() => this.#session.lose()),
    };
  }

  #onMotion(packet, now) {
    if (this.state !== "connected") return; // it overtook its hello
    if (this.proving.admits) this.on.onMotion(packet, now); // else its avatar is not proved yet, on this connection
  }

  #onControl(message) {
    if (message?.type === "hello") return this.#onHello(message);
    if (message.type === "refuse") return this.#end(`the other side refused: ${message.message}`);
    this.#checkGreeted();
    if (message.type === "want") {
      this.exchange.onWant(message, this.#offered);
      return this.exchange.pump(nowUs(), this.#session.channels);
    }
    if (OWNERS.has(message.type)) return this.proving.onMessage(message, this.#offered);
    const { name, muted, camera, sound, pageMs } = message;
    this.presence = { name, muted, camera, sound, pageMs };
    return this.#emit("presence");
  }

  #onHello(message) {
    const found = agreed(SCHEMAS, message);
    if (found.refuse) {
      const session = this.#session;
      session.channels.sendControl(found.refuse);
      this.#set("refused", found.refuse.message);
      setTimeout(() => session.lose(), FAREWELL_MS);
      return;
    }
    this.schema = found.schema;
    this.#greeted.resolve();
    this.#set("connected");
    this.proving.onOffer(message.avatar);
    this.#emit("progress");
  }

  #onAvatarMessage(message) {
    this.#checkGreeted();
    this.exchange.onMessage(message, nowUs(), this.#session.channels);
    this.exchange.pump(nowUs(), this.#session.channels);
    if (message.chunk) this.#emit("progress");
    else this.#follow();
  }

  /** Part for good. */
  #end(reason) {
    this.#set("refused", reason);
    this.#session?.lose();
  }

  #checkGreeted() {
    if (this.schema === null) throw new ProtocolError("something else before hello");
  }

  // what we tell

  #greet() {
    this.#offered = this.ours.offer;
    this.#offeredMs = performance.now();
    this.exchange.change(this.ours.avatar);
    this.#session.channels.sendControl({ type: "hello", schemas: SCHEMAS, avatar: this.#offered });
    this.#present();
    for (const { sha256, signature } of this.ours.deleted ?? []) {
      if (this.#wished.has(sha256) || this.#wished.size >= MAX_WISHES) continue;
      this.#wished.add(sha256);
      this.#session.channels.sendControl(fields({ type: "forget", sha256, signature }));
    }
  }

  #present() {
    clearTimeout(this.presenting);
    this.presenting = null;
    this.#toldMs = performance.now();
    this.#session?.channels.sendControl({ type: "state", ...this.#own });
  }

  /** Greet again if our avatar is another one by now, but not while one is under way: they would get a mixture. */
  #follow() {
    clearTimeout(this.following);
    if (!this.#session?.channels.open || sameOffer(this.ours.offer, this.#offered) || this.exchange.sending) return;
    const wait = this.#offeredMs + OFFER_AGAIN_MS - performance.now();
    if (wait > 0) this.following = setTimeout(() => this.#follow(), wait);
    else this.#greet();
  }

  #emit(type) { this.dispatchEvent(new Event(type)); }
}

/** A number above `last`, and above those of any page before: whoever starts anew is not taken for stale. */
export function nextNumber(last) {
  const clock = Math.floor((performance.timeOrigin + performance.now()) * 1000);
  return Math.min(Number.MAX_SAFE_INTEGER, Math.max(last + 1, clock));
}
