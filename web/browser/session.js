// One connection to another participant, from offer to close. Once lost it is replaced by another, with a higher number.

import { onlySha256 } from "../owner/presence.js";
import { Channels } from "./channels.js";

const GATHER_MS = 1500; // candidates go inside the description: what has not been found by then is not waited for
const OPEN_LOOK_MS = 20;
const HEADERS = 28; // bytes of IPv4 and UDP
const LINES = /^m=(\S+)/gm;

/** Why a connection did not come up. */
export class SessionError extends Error {}

/**
 * The description of a participant has data channels and nothing else: media would be decoded. Of its certificate's
 * fingerprints only the SHA-256 is left, the one that a proof of presence is bound to.
 * @throws {SessionError}
 */
export function checkedDescription(sdp) {
  const sections = [...sdp.matchAll(LINES)].map(([, kind]) => kind);
  if (sections.length !== 1 || sections[0] !== "application") throw new SessionError("a description of something else than data");
  try {
    return onlySha256(sdp);
  } catch (error) {
    throw new SessionError(error.message);
  }
}

/** A connection with its channels. `lost` resolves once it is of no more use. */
export class Session {
  /**
   * @param {number} number @param {{iceServers: RTCIceServer[], relayOnly: boolean}} way
   * @param {import("./channels.js").ChannelEvents} events @param {import("./channels.js").Counters} counters
   * @param {(options: object) => RTCPeerConnection} make  for tests
   */
  constructor(number, { iceServers, relayOnly }, events, counters, make = (options) => new RTCPeerConnection(options)) {
    this.number = number;
    this.lost = new Promise((resolve) => { this.lose = () => { this.gone = true; resolve(); }; });
    this.gone = false;
    this.theirs = ""; // their description, as it was applied
    this.answered = new Promise((resolve) => { this.onAnswer = resolve; });
    this.peer = make({ iceServers, iceTransportPolicy: relayOnly ? "relay" : "all" });
    this.channels = new Channels(this.peer, events, counters);
    this.peer.addEventListener("connectionstatechange", () => {
      if (["failed", "closed"].includes(this.peer.connectionState)) this.lose();
    });
    for (const channel of [this.channels.motion, this.channels.control, this.channels.avatar]) {
      channel.addEventListener("close", () => this.lose());
    }
  }

  /** Begin as the offerer. @returns {Promise<string>} the description to relay, candidates included */
  async offer() {
    await this.peer.setLocalDescription();
    return this.#described();
  }

  /** Wait for the answer, and apply it. @throws {Error} none came, or it cannot be used */
  async answer(timeoutMs) {
    this.theirs = checkedDescription(await within(timeoutMs, this.answered));
    await this.peer.setRemoteDescription({ type: "answer", sdp: this.theirs });
  }

  /** Begin as the answerer. @returns {Promise<string>} the description to relay @throws {Error} theirs cannot be used */
  async reply(sdp) {
    this.theirs = checkedDescription(sdp);
    await this.peer.setRemoteDescription({ type: "offer", sdp: this.theirs });
    await this.peer.setLocalDescription();
    return this.#described();
  }

  /** Wait until the channels are open. @throws {SessionError} */
  async open(timeoutMs) {
    const deadline = performance.now() + timeoutMs;
    while (!this.channels.open) {
      if (this.gone || performance.now() > deadline) throw new SessionError("not open in time");
      await pause(OPEN_LOOK_MS);
    }
  }

  /** Bytes so far on the wire, with 28 of IPv4 and UDP headers a datagram, ICE's checks left out: {sent, received}; null: not known. */
  async wire() {
    const report = await this.peer.getStats().catch(() => new Map());
    const one = [...report.values()].find(({ type }) => type === "transport");
    if (!Number.isFinite(one?.packetsSent)) return null;
    return { sent: one.bytesSent + HEADERS * one.packetsSent, received: one.bytesReceived + HEADERS * one.packetsReceived };
  }

  close() {
    this.channels.close();
    this.lose();
    this.peer.close();
  }

  async #described() {
    if (this.peer.iceGatheringState !== "complete") {
      const done = new Promise((resolve) => {
        this.peer.addEventListener("icegatheringstatechange", () => this.peer.iceGatheringState === "complete" && resolve());
      });
      await Promise.race([done, pause(GATHER_MS), this.lost]);
    }
    if (this.gone) throw new SessionError("given up");
    return this.peer.localDescription.sdp;
  }
}

export const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** What a promise brings, if it does so in time. @throws {SessionError} */
export function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new SessionError("nothing came in time")), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
