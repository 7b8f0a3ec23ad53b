// Everybody in the room: follows the hub, and keeps a peer for each participant. The twin of telepresence/rtc/room.py.

import { Hub } from "./hub.js";
import { Peer } from "./peer.js";

const GRACE_MS = 20_000; // neither connected nor known to the hub for so long: they have left
const LOOK_MS = 1000;
const MAX_OTHERS = 11;

/**
 * Events: "change" (anything of who is there), "hub" (whether it can be reached), "refused" (detail {code, message}).
 * What is urgent goes to the functions of `on`.
 */
export class Network extends EventTarget {
  /** @type {Map<string, {peer: Peer, name: string, vouched: boolean, place: number}>} */
  others = new Map();
  iceServers = [];
  relayOnly = false;
  #unlisted = new Map(); // id -> since when the hub does not know it
  #presence = { name: "", muted: true, camera: false, sound: false };

  /**
   * @param {{url: string, room: string, token: string, schemas: number[]}} address
   * @param {import("./peer.js").Ours} ours
   * @param {{onMotion: (id: string, packet: object, nowUs: number) => void,
   *   onAvatar: (id: string, data: Uint8Array, label: string) => void,
   *   onPreview: (id: string, data: Uint8Array|null, label: string) => void, onUnshown?: (id: string, reason: string) => void,
   *   onSound: (from: string, payload: object) => boolean, cache: {find: Function, keep: Function, drop?: Function}}} on
   *   onUnshown: nothing is shown of somebody's avatar any more; onSound: false if we have no sound now
   * @param {{hub?: Hub, make?: Function}} [parts]  for tests
   */
  constructor(address, ours, on, { hub = new Hub(address), make = undefined } = {}) {
    super();
    this.hub = hub;
    this.ours = ours;
    this.on = on;
    this.make = make;
    const follow = (type, act) => hub.addEventListener(type, ({ detail }) => act(detail));
    follow("joined", (joined) => this.#joined(joined));
    follow("arrived", (one) => { this.#add(one); this.#emit("change"); });
    follow("left", (id) => { this.#remove(id); this.#emit("change"); });
    follow("relay", ({ from, payload }) => this.#relayed(from, payload));
    follow("lost", () => this.#emit("hub"));
    follow("refused", (why) => this.#emit("refused", why));
  }

  get id() { return this.hub.id; }

  get violations() {
    return [...this.others.values()].reduce((sum, { peer }) => sum + peer.counters.violations, this.hub.violations);
  }

  join(name) {
    this.hub.join(name);
    this.looking ??= setInterval(() => this.#lookAround(), LOOK_MS);
  }

  leave() {
    clearInterval(this.looking);
    this.looking = null;
    this.hub.leave();
    for (const id of [...this.others.keys()]) this.#remove(id);
  }

  /** To everybody who is connected. @returns {number} how many it went to */
  sendMotion(packet) {
    let many = 0;
    const ours = { ...packet, epoch: this.ours.offer?.epoch ?? 0 };
    for (const { peer } of this.others.values()) if (peer.sendMotion(ours)) many += 1;
    return many;
  }

  /** Another avatar of ours. @param {import("./peer.js").Ours} ours */
  change(ours) {
    this.ours = ours;
    for (const { peer } of this.others.values()) peer.change(ours);
  }

  /** How we want to be shown: {name, muted, camera, sound}. */
  present(presence) {
    this.#presence = presence;
    this.hub.name = presence.name;
    for (const { peer } of this.others.values()) peer.present(presence);
  }

  /** What its token says, else what a participant calls itself, else what the hub says. */
  name(id) {
    const one = this.others.get(id);
    return one.vouched ? one.name : one.peer.presence?.name || one.name;
  }

  relay(to, payload) { return this.hub.relay(to, payload); }

  #joined({ resumed, participants, iceServers, relayOnly }) {
    if (!resumed) for (const id of [...this.others.keys()]) this.#remove(id); // they know us under an id that is gone
    Object.assign(this, { iceServers, relayOnly });
    for (const one of participants) {
      const peer = this.#add(one);
      if (peer && peer.state !== "connected") peer.start(); // they may have forgotten us, and nobody else would offer
    }
    const listed = new Set(participants.map(({ id }) => id));
    this.#unlisted = new Map([...this.others.keys()].filter((id) => !listed.has(id)).map((id) => [id, performance.now()]));
    this.#emit("hub");
    this.#emit("change");
  }

  #add({ id, name, vouched }) {
    this.#unlisted.delete(id);
    const present = this.others.get(id);
    if (present && present.peer.state !== "refused") {
      Object.assign(present, { name, vouched });
      return present.peer;
    }
    if (present) this.#remove(id); // it may be another version by now
    if (id === this.id || this.others.size >= MAX_OTHERS) return null;
    const peer = this.#peer(id);
    this.others.set(id, { peer, name, vouched, place: this.#place() });
    peer.present(this.#presence);
    return peer;
  }

  #peer(id) {
    const on = {
      relay: (payload) => this.hub.relay(id, { ...payload, media: "motion" }),
      way: () => ({ iceServers: this.iceServers, relayOnly: this.relayOnly }),
      onMotion: (packet, now) => this.on.onMotion(id, packet, now),
      us: this.id,
      onAvatar: (data, label) => this.on.onAvatar(id, data, label),
      onPreview: (data, label) => this.on.onPreview(id, data, label),
      onUnshown: (reason) => this.on.onUnshown?.(id, reason),
      cache: this.on.cache,
    };
    const peer = new Peer(id, this.ours, on, this.make);
    for (const type of ["state", "presence", "progress"]) peer.addEventListener(type, () => this.#emit("change"));
    return peer;
  }

  #place() {
    const taken = new Set([...this.others.values()].map(({ place }) => place));
    let place = 0;
    while (taken.has(place)) place += 1;
    return place;
  }

  #remove(id) {
    this.#unlisted.delete(id);
    this.others.get(id)?.peer.close();
    this.others.delete(id);
  }

  #relayed(from, payload) {
    const one = this.others.get(from);
    if (!one) return;
    if (payload.media === "motion") one.peer.onPayload(payload, this.id > from);
    else if (!this.on.onSound(from, payload) && payload.kind === "offer") {
      this.hub.relay(from, { kind: "bye", session: payload.session, sdp: "", media: "sound" });
    }
  }

  /** Drop who is neither connected nor known to the hub: it will never tell us that they left. */
  #lookAround() {
    const over = performance.now() - GRACE_MS;
    for (const [id, since] of [...this.#unlisted]) {
      if (since > over || !this.hub.connected || this.others.get(id)?.peer.state === "connected") continue;
      this.#remove(id);
      this.#emit("change");
    }
  }

  #emit(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }
}
