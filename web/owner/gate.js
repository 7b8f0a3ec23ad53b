// Who may be shown: holds a participant's avatar back until they have proved that it is theirs. The twin of
// telepresence/rtc/presence_exchange.py; docs/ownership.md has the messages. One of these for each other participant.

import { AvatarError } from "../face/avatar-file.js";
import { hex } from "../browser/sha256.js";
import { OwnerError } from "./keys.js";
import { binding, certificateOf, fields, prove, proves, wished } from "./presence.js";
import { fromHex, verifyAvatar } from "./signature.js";

export const PROOF_MS = 10_000; // for a proof to come after the challenge
const CHALLENGE_BYTES = 32;
export const UNPROVED = "It did not prove that the avatar is its own, so it is not shown.";
export const NO_PROOF = `${UNPROVED} The telepresence there may be an older one: update it.`;
export const DELETED = "Its owner has deleted this avatar, so it is not shown any more.";

/**
 * What is told:
 * @typedef {object} GateEvents
 * @property {(data: Uint8Array, whole: boolean, label: string) => void} deliver  what came of their avatar may be shown
 * @property {(reason: string, all: boolean) => void} takeBack  nothing of it (all), or nothing that was not whole, is
 *   shown any more; the reason, if it is not empty, is for people
 * @property {(message: object, session: number) => void} send  over the control channel of that connection: plain JSON
 *   fields, with a type
 * @property {() => void} [forget]  what came is not kept here: it must come again when it is offered again
 */

/** Everything happens in the order of the calls; what takes time (hashes, signatures) is awaited in between. */
export class Gate {
  /** Whether what is shown may move: it was proved on this connection. True while they offer nothing. */
  admitsMotion = false;
  /** @type {{sha256: string, data: Uint8Array, whole: boolean, ownership: object}|null} what was handed on */
  shown = null;
  #us; #them; #key; #on; #now;
  #session = 0;
  #certificates = [null, null]; // ours, theirs
  #heard = false;
  #offered = null;
  #challenge = null;
  #dueMs = Infinity;
  #proof = null;
  #held = null;
  #refused = false;
  #turn = Promise.resolve();

  /**
   * @param {string} us @param {string} them  ids in the room
   * @param {import("./keys.js").OwnKey|null} key  ours @param {GateEvents} on @param {() => number} [now]  milliseconds
   */
  constructor(us, them, key, on, now = () => performance.now()) {
    this.#us = us;
    this.#them = them;
    this.#key = key;
    this.#on = { forget() {}, ...on };
    this.#now = now;
  }

  /** Ours is another one, or is there by now. */
  set key(key) { this.#key = key; }

  /** Whether a proof is still missing. */
  get waits() { return this.#challenge !== null && this.#proof === null && this.#dueMs < Infinity; }

  /** What is shown is labelled so; null: nothing is shown. */
  get label() { return this.shown?.ownership.label ?? null; }

  /** Once everything asked for so far has been done. */
  get settled() { return this.#turn; }

  /** A new connection: whatever was proved before counts no more. Both descriptions, as they were applied. */
  begin(session, ours, theirs) {
    this.admitsMotion = false; // at once: motion may come before its turn
    return this.#next(() => {
      this.#session = session;
      this.#certificates = [certificateOf(ours), certificateOf(theirs)];
      if (this.#held || this.#refused) this.#on.forget();
      this.#heard = false;
      this.admitsMotion = false;
      this.#clear();
    });
  }

  /** They offer an avatar, or none (null). The same one offered again on a connection changes nothing. */
  onOffer(sha256) {
    return this.#next(async () => {
      const first = !this.#heard;
      if (!first && sha256 === this.#offered) return;
      if (!first && (this.#held || this.#refused)) this.#on.forget();
      this.#heard = true;
      this.#offered = sha256;
      this.#clear();
      if (sha256 === null || (first && sha256 !== this.shown?.sha256)) this.#takeBack("");
      if (sha256 === null) {
        this.admitsMotion = true;
        return;
      }
      const nonce = crypto.getRandomValues(new Uint8Array(CHALLENGE_BYTES));
      this.#challenge = { nonce, sha256 };
      this.#dueMs = this.#now() + PROOF_MS;
      this.#on.send(fields({ type: "challenge", nonce, sha256 }), this.#session);
      await this.#decide();
    });
  }

  /** They want ours. @param {Uint8Array|null} avatar  our file @param {string|null} sha256  what our last hello offered */
  onChallenge({ nonce, sha256: asked }, avatar, sha256) {
    return this.#next(async () => {
      if (!avatar || !this.#key || asked !== sha256 || !this.#session) return;
      const ownership = await verifyAvatar(avatar).catch(() => null);
      if (!ownership?.owner || hex(ownership.owner) !== hex(this.#key.bytes)) return;
      const [ours, theirs] = this.#certificates;
      const moment = this.#moment({ nonce, sha256 }, this.#us, this.#them, await binding(ours, theirs));
      const signature = await prove(moment, this.#key);
      this.#on.send(fields({ type: "proof", signature, sha256 }), moment.session);
    });
  }

  /** What they send for our challenge. One is enough: a second is ignored, as is one that nobody asked for. */
  onProof({ signature, sha256 }) {
    return this.#next(async () => {
      if (!this.#challenge || sha256 !== this.#challenge.sha256 || this.#proof) return;
      const [ours, theirs] = this.#certificates;
      this.#proof = { moment: this.#moment(this.#challenge, this.#them, this.#us, await binding(theirs, ours)), signature };
      await this.#decide();
    });
  }

  /** Their avatar, or the beginning of it; null: what is shown of one that is not whole is taken back. */
  onAvatar(data, whole, sha256 = this.#offered) {
    return this.#next(async () => {
      if (!data?.length) {
        this.#held = null;
        if (this.shown && !this.shown.whole) {
          this.shown = null;
          this.admitsMotion = false;
        }
        this.#on.takeBack("", false);
      } else if (this.#refused || sha256 !== this.#offered) {
        this.#on.forget();
      } else {
        this.#held = { data, whole };
        await this.#decide();
      }
    });
  }

  /** The owner of an avatar wishes that copies of it go. @returns {Promise<boolean>} whether that is right for this copy */
  async onForget({ sha256, signature }, copy) {
    const ownership = await verifyAvatar(copy).catch(() => null);
    const right = Boolean(ownership?.owner) && (await wished(ownership.owner, sha256, signature).catch(() => false));
    if (right && this.shown?.sha256 === sha256) await this.#next(() => this.#drop(DELETED));
    return right;
  }

  /** Time passes: about once a second. */
  tick(nowMs = this.#now()) {
    return this.#next(async () => {
      if (nowMs < this.#dueMs || this.#proof) return;
      let held = this.#held;
      if (!held && this.shown?.sha256 === this.#offered && !this.admitsMotion) held = this.shown;
      if (!held || (await verifyAvatar(held.data)) === null) return; // it is still on its way
      this.#dueMs = Infinity;
      this.#takeBack(NO_PROOF);
      this.#held = held; // should the proof come after all
    });
  }

  #next(step) {
    this.#turn = this.#turn.then(step).catch((error) => console.error(error));
    return this.#turn;
  }

  #moment({ nonce, sha256 }, sender, receiver, bound) {
    return { challenge: nonce, digest: fromHex(sha256), sender, receiver, session: this.#session, binding: bound };
  }

  /** Show what is held, refuse it, or wait for the rest. */
  async #decide() {
    const { shown } = this;
    const held = this.#held;
    if (!held) {
      if (shown?.sha256 === this.#offered && !this.admitsMotion) await this.#admit(shown.ownership);
      return;
    }
    let ownership = null;
    try {
      ownership = await verifyAvatar(held.data);
    } catch (error) {
      if (!(error instanceof AvatarError || error instanceof OwnerError)) throw error;
      this.#drop(error.message);
      return;
    }
    if (!ownership) {
      if (held.whole) this.#drop("The avatar is cut short.");
      return;
    }
    if (this.#offered === null || !(await this.#admit(ownership))) return;
    this.#held = null;
    if (held.whole || !shown?.whole) this.shown = { sha256: this.#offered, ...held, ownership };
    this.#on.deliver(held.data, held.whole, ownership.label);
  }

  /** Whether what is offered may be shown by now; refuses it if it may not be at all. */
  async #admit(ownership) {
    if (!ownership.free) {
      if (!this.#proof) return false;
      const { moment, signature } = this.#proof;
      if (!(await proves(moment, ownership.owner, signature))) {
        this.#drop(UNPROVED);
        return false;
      }
    }
    this.admitsMotion = true;
    return true;
  }

  /** Refuse this offer for good, and whatever is shown of this participant. */
  #drop(reason) {
    this.#clear();
    this.#refused = true;
    this.#on.forget();
    this.#takeBack(reason);
  }

  #takeBack(reason) {
    const had = this.shown;
    this.shown = null;
    this.admitsMotion = false;
    if (had || reason) this.#on.takeBack(reason, true);
  }

  #clear() {
    this.#challenge = this.#proof = this.#held = null;
    this.#dueMs = Infinity;
    this.#refused = false;
  }
}
