// Whether one participant may be shown as the avatar that it offers: the gate, its clock, and what follows from it. The
// twin of telepresence/rtc/proving.py.

import { Gate, PROOF_MS } from "../owner/gate.js";
import { AvatarExchange } from "./exchange.js";

const TICK_MS = 1000; // between looks at whether a proof has come

/** One participant's right to be shown, over all connections to it. */
export class Proving {
  unshown = ""; // why its avatar is not shown, for people; empty if it is, or is on its way
  #session = null;

  /**
   * @param {string} us @param {string} them  ids in the room @param {import("./peer.js").Ours} ours
   * @param {{onAvatar: (data: Uint8Array, label: string) => void, onPreview: (data: Uint8Array|null, label: string) => void,
   *   onUnshown?: (reason: string) => void, cache: {find: Function, keep: Function, drop?: Function},
   *   changed: () => void}} on
   */
  constructor(us, them, ours, on) {
    this.on = on;
    this.ours = ours;
    this.gate = new Gate(us, them, ours.key ?? null, {
      deliver: (data, whole, label) => this.#show(data, whole, label),
      takeBack: (reason, all) => this.#takeBack(reason, all),
      send: (message, number) => this.#session?.number === number && this.#session.channels.sendControl(message),
      forget: () => this.exchange.forget(),
    });
    this.exchange = new AvatarExchange({
      ...on.cache,
      onAvatar: (data, sha256) => this.gate.onAvatar(data, true, sha256),
      onPreview: (data, sha256) => this.gate.onAvatar(data, false, sha256),
    });
  }

  /** What its pictures are labelled with; null: none are shown. */
  get label() { return this.gate.label; }

  /** Whether its motion may be shown. */
  get admits() { return this.gate.admitsMotion; }

  /** Show us as this from the next offer on. @param {import("./peer.js").Ours} ours */
  change(ours) {
    this.ours = ours;
    this.gate.key = ours.key ?? null;
  }

  /** The channels of a connection are open. */
  begin(session) {
    this.#session = session;
    this.gate.begin(session.number, session.peer.localDescription.sdp, session.theirs);
  }

  /** Its hello has come. @throws {import("./rules.js").ProtocolError} it changes its avatar too often */
  onOffer(offer) {
    this.exchange.onOffer(offer, this.#session.channels);
    this.gate.onOffer(offer?.sha256 ?? null);
    this.#lookAfter(PROOF_MS + TICK_MS);
  }

  /** Something about an avatar's owner. @param {object|null} offered  what our last hello said */
  onMessage(message, offered) {
    if (message.type === "challenge") this.gate.onChallenge(message, this.ours.avatar, offered?.sha256 ?? null);
    else if (message.type === "proof") this.gate.onProof(message);
    else this.#forget(message);
  }

  close() {
    clearTimeout(this.looking);
    this.exchange.close();
  }

  #lookAfter(waitMs) {
    clearTimeout(this.looking);
    this.looking = setTimeout(async () => {
      await this.gate.tick();
      if (this.gate.waits && this.looking) this.#lookAfter(TICK_MS);
    }, waitMs);
  }

  #show(data, whole, label) {
    this.unshown = "";
    if (whole) this.on.onAvatar(data, label);
    else this.on.onPreview(data, label);
    this.on.changed();
  }

  #takeBack(reason, all) {
    if (all) {
      this.unshown = reason;
      this.on.onUnshown?.(reason);
    } else {
      this.on.onPreview(null);
    }
    this.on.changed();
  }

  /** The owner of an avatar wishes that copies of it go. */
  async #forget(message) {
    const copy = await this.on.cache.find(message.sha256);
    if (copy && (await this.gate.onForget(message, copy))) await this.on.cache.drop?.(message.sha256);
  }
}
