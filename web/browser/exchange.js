// Avatars between two participants: offers, transfers. Uses a connection's channels, and outlives it. The twin of
// telepresence/rtc/exchange.py.

import { ProtocolError } from "./rules.js";
import { Incoming, Outgoing, sameOffer } from "./transfer.js";

const STALL_MS = 10_000; // without a byte of it: what is shown of an unfinished avatar goes
const OFFER_EVERY_MS = 5000;
const MAX_ATTEMPTS = 2;
const PREVIEW_BYTES = [50_000, 100_000, 150_000];

/** Sends our avatar to one participant and fetches theirs. */
export class AvatarExchange {
  #data = null;
  #outgoing = null;
  #incoming = null;
  #have = null;
  #attempts = 0;
  #offered = null; // {offer, channels, atMs}: the last
  #watch = null;

  /**
   * @param {{find: (sha256: string) => Promise<Uint8Array|null>, keep: (sha256: string, data: Uint8Array) => void,
   *   onAvatar: (data: Uint8Array, sha256: string) => void, onPreview: (data: Uint8Array|null, sha256: string) => void}} on
   *   find, keep: a cache; onPreview: the file's beginning, not verified; null takes it back. With the hash offered
   */
  constructor(on) {
    this.on = on;
  }

  /** What we show from the next offer on. @param {Uint8Array|null} data */
  change(data) { this.#data = data; }

  /** What came is not kept: it is fetched again, from the cache or from them, when it is offered again. */
  forget() { this.#have = null; }

  /** How much of theirs is here, 0 to 1; null: nothing is under way. */
  get receiving() { return this.#incoming && this.#incoming.received / this.#incoming.offer.size; }

  /** Whether ours is under way. */
  get sending() { return this.#outgoing !== null; }

  /** Their hello has come: fetch what it offers, unless it is here. @throws {ProtocolError} they change it too often */
  onOffer(offer, channels, nowMs = performance.now()) {
    const before = this.#offered;
    if (before?.channels === channels) {
      if (sameOffer(before.offer, offer)) return;
      if (nowMs - before.atMs < OFFER_EVERY_MS) throw new ProtocolError("another avatar so soon");
    } else {
      this.#outgoing = null; // a new connection: they say what they still want
    }
    this.#offered = { offer, channels, atMs: nowMs };
    if (!offer || offer.sha256 === this.#have) {
      this.#incoming = null;
      return;
    }
    this.#fetch(this.#offered);
  }

  /** They want ours; `pump` begins to send it. @throws {ProtocolError} */
  onWant({ sha256, start }, ours) {
    if (this.#data && ours?.sha256 === sha256) this.#outgoing = new Outgoing(this.#data, start);
  }

  /** A message of a transfer. @throws {ProtocolError} nobody asked for it, or it breaks the rules */
  onMessage(message, nowUs, channels) {
    if (message.received !== undefined) {
      if (!this.#outgoing) throw new ProtocolError("an acknowledgement, but nothing was sent");
      this.#outgoing.acknowledge(message.received, nowUs);
      if (this.#outgoing.done) this.#outgoing = null;
      return;
    }
    const incoming = this.#incoming;
    if (!incoming) throw new ProtocolError("avatar data that nobody asked for");
    const before = incoming.received;
    channels.sendAvatar(incoming.take(message.offset, message.chunk));
    this.#lookAfter();
    if (incoming.complete) this.#finish(incoming, channels);
    else if (PREVIEW_BYTES.some((size) => before < size && size <= incoming.received)) this.on.onPreview(incoming.prefix, incoming.offer.sha256);
  }

  /** Send as much of ours as the window allows. */
  pump(nowUs, channels) {
    for (;;) {
      const message = this.#outgoing?.next(nowUs);
      if (!message) return;
      channels.sendAvatar(message);
    }
  }

  close() {
    clearTimeout(this.#watch);
    this.#incoming = null;
    this.#outgoing = null;
    this.#offered = null;
  }

  async #fetch(offered) {
    const { offer, channels } = offered;
    const kept = await this.on.find(offer.sha256).catch(() => null);
    if (this.#offered !== offered || !channels.open) return; // overtaken; the next connection says hello again
    if (kept) {
      this.#deliver(offer, kept);
      return;
    }
    if (this.#incoming?.offer.sha256 !== offer.sha256) {
      this.#incoming = new Incoming(offer);
      this.#attempts = 1;
    }
    channels.sendControl({ type: "want", sha256: offer.sha256, start: this.#incoming.received });
    this.#lookAfter();
  }

  /** Take back what is shown of an avatar that does not come; should it go on to come, it is shown when whole. */
  #lookAfter() {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#incoming && this.on.onPreview(null, this.#incoming.offer.sha256), STALL_MS);
  }

  async #finish(incoming, channels) {
    const data = await incoming.result().catch(() => null);
    if (this.#incoming !== incoming) return;
    if (data) {
      this.on.keep(incoming.offer.sha256, data);
      this.#deliver(incoming.offer, data);
      return;
    }
    channels.violation();
    this.#incoming = null;
    if (this.#attempts < MAX_ATTEMPTS) {
      this.#attempts += 1;
      this.#incoming = new Incoming(incoming.offer);
      channels.sendControl({ type: "want", sha256: incoming.offer.sha256, start: 0 });
    } else {
      this.on.onPreview(null, incoming.offer.sha256);
    }
  }

  #deliver(offer, data) {
    clearTimeout(this.#watch);
    this.#have = offer.sha256;
    this.#incoming = null;
    this.on.onAvatar(data, offer.sha256);
  }
}
