// The hub, as a page by itself sees it: in, out, back again after the connection dropped. docs/signalling.md has the
// messages; telepresence/hub/client.py does the same for edges.

import { ProtocolError, checkedInteger, checkedName, parseObject } from "./rules.js";

const PAUSES_MS = [250, ...Array(39).fill(500)]; // then doubled, up to MOST_MS
const MOST_MS = 5000;
const LASTED_MS = 10_000; // a connection that has lasted so long begins the pauses anew
const ATTEMPT_MS = 1400;
const PATIENT_MS = 5000;
const PATIENT_FROM = 15;
const MAX_BYTES = 64 * 1024;
const MAX_SDP = 24 * 1024;
const PER_SECOND = 18; // messages; the hub allows 20
const BURST = 50;
const ID = /^[A-Za-z0-9_-]{1,32}$/;
const FOR_GOOD = new Set(["token", "full", "replaced"]);
const SLOWER = new Set(["rate", "slow", "timeout"]); // after these the pauses go on doubling
const REASONS = { 4401: "token", 4408: "timeout", 4409: "replaced", 4410: "slow", 4423: "full", 4429: "rate" };

/**
 * @typedef {object} Joined
 * @property {string} id
 * @property {{id: string, name: string, vouched: boolean}[]} participants  the others
 * @property {RTCIceServer[]} iceServers
 * @property {boolean} resumed
 * @property {boolean} relayOnly
 * @property {string} name  that the token gives; may be empty
 */

/** What can be asked of the hub by the page's own address. @returns {{room: string, token: string}} */
export function invitation(address = location.href) {
  const url = new URL(address);
  const room = /^\/room\/([^/]+)$/.exec(url.pathname);
  return { room: room ? decodeURIComponent(room[1]) : "", token: url.searchParams.get("token") ?? "" };
}

/**
 * A place in a room, kept over lost connections until `leave`.
 *
 * Events: "joined" (detail Joined), "arrived" (one of participants), "left" (id), "relay" ({from, payload}), "away"
 * (id), "lost", "refused" ({code, message}: for good). What breaks the protocol is counted in `violations`.
 */
export class Hub extends EventTarget {
  /**
   * @param {{url: string, room: string, token: string, schemas: number[]}} options
   * @param {(url: string) => WebSocket} open  for tests
   */
  constructor(options, open = (url) => new WebSocket(url)) {
    super();
    this.options = options;
    this.open = open;
    this.name = "";
    this.id = "";
    this.resume = null;
    this.connected = false;
    this.violations = 0;
    this.attempts = 0;
    this.waiting = []; // messages held back by the hub's limit
    this.left = BURST;
    this.refused = null; // the last word of the hub, before it closes
  }

  /** Begin; goes on until `leave` or a refusal for good. @param {string} name */
  join(name) {
    this.name = name;
    this.wanted = true;
    this.attempts = 0;
    this.#connect();
  }

  /** Give the place up. */
  leave() {
    this.wanted = false;
    clearTimeout(this.timer);
    clearInterval(this.drip);
    if (this.connected) this.socket.send(JSON.stringify({ type: "leave" }));
    this.socket?.close(1000);
    this.#forget();
    this.resume = null;
    this.id = "";
  }

  /** Hand a payload to another participant. @returns {boolean} whether it went to the hub */
  relay(to, payload) {
    if (!this.connected) return false;
    this.waiting.push(JSON.stringify({ type: "relay", to, payload }));
    this.#pump();
    return true;
  }

  #connect() {
    clearTimeout(this.timer);
    const began = performance.now();
    this.attempts += 1;
    const patient = this.attempts > PATIENT_FROM && this.attempts % 3 === 0;
    let socket;
    try {
      socket = this.open(this.options.url);
    } catch (error) {
      return this.#retry(error.message);
    }
    this.socket = socket;
    this.refused = null;
    const mine = (act) => (event) => this.socket === socket && act(event);
    const limit = this.id || this.attempts > 1 ? (patient ? PATIENT_MS : Math.max(ATTEMPT_MS, 3 * (this.took ?? 0))) : PATIENT_MS;
    this.timer = setTimeout(() => this.socket === socket && !this.connected && this.#drop(socket), limit);
    socket.addEventListener("open", mine(() => this.#ask(socket)));
    socket.addEventListener("message", mine(({ data }) => this.#take(data, began)));
    socket.addEventListener("close", mine(({ code }) => this.#closed(code, began)));
    return undefined;
  }

  #ask(socket) {
    const { room, token, schemas } = this.options;
    socket.send(JSON.stringify({ type: "join", protocol: 1, token, room, name: this.name, schemas, resume: this.resume }));
  }

  /** A connection that does not come up in time, as if it had been closed. */
  #drop(socket) {
    socket.close();
    if (this.socket === socket) this.#closed(1006, performance.now());
  }

  #closed(code, began) {
    this.socket = null;
    const was = this.connected;
    this.#forget();
    const why = this.refused?.code ?? REASONS[code] ?? "";
    if (!this.wanted) return;
    if (FOR_GOOD.has(why)) {
      this.wanted = false;
      this.#emit("refused", { code: why, message: this.refused?.message ?? "" });
      return;
    }
    if (was && performance.now() - began > LASTED_MS) this.attempts = 0;
    if (SLOWER.has(why)) this.attempts = Math.max(this.attempts, PAUSES_MS.length);
    this.#emit("lost", { code: why, message: this.refused?.message ?? "" });
    this.#retry();
  }

  #retry() {
    const past = this.attempts - PAUSES_MS.length;
    const pause = past < 0 ? PAUSES_MS[Math.max(0, this.attempts - 1)] : Math.min(MOST_MS, 500 * 2 ** (past + 1));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.wanted && this.#connect(), pause * (1 - 0.5 * Math.random()));
  }

  #forget() {
    clearTimeout(this.timer);
    clearInterval(this.drip);
    this.drip = null;
    this.connected = false;
    this.waiting = [];
    this.left = BURST;
  }

  #pump() {
    while (this.left >= 1 && this.waiting.length && this.connected) {
      this.left -= 1;
      this.socket.send(this.waiting.shift());
    }
    this.drip ??= setInterval(() => {
      this.left = Math.min(BURST, this.left + PER_SECOND / 10);
      this.#pump();
    }, 100);
  }

  #take(data, began) {
    try {
      if (typeof data !== "string" || data.length > MAX_BYTES) throw new ProtocolError("a message that is no text, or too long");
      this.#on(parseObject(data), began);
    } catch (error) {
      if (!(error instanceof ProtocolError)) console.error(error);
      this.violations += 1;
    }
  }

  #on(message, began) {
    if (message.type === "joined") this.#joined(message, began);
    else if (message.type === "arrived") this.#emit("arrived", participant(message));
    else if (message.type === "left") this.#emit("left", checkedId(message.id));
    else if (message.type === "relay") this.#emit("relay", { from: checkedId(message.from), payload: checkedPayload(message.payload) });
    else if (message.type === "error") this.#error(message);
    else throw new ProtocolError("a message of no known type");
  }

  #joined(message, began) {
    const joined = {
      id: checkedId(message.id),
      participants: list(message.participants, 16).map(participant),
      iceServers: list(message.ice_servers ?? [], 8).map(server).filter((one) => one.urls.length),
      resumed: message.resumed === true,
      relayOnly: message.relay_only === true,
      name: checkedName(message.name ?? ""),
    };
    if (typeof message.resume === "string" && message.resume.length <= 1024) this.resume = message.resume;
    clearTimeout(this.timer);
    this.took = performance.now() - began;
    this.id = joined.id;
    this.connected = true;
    this.#emit("joined", joined);
  }

  #error({ code, message, to }) {
    if (typeof code !== "string" || typeof message !== "string") throw new ProtocolError("an error without its code");
    if (code === "away") this.#emit("away", checkedId(to));
    else this.refused = { code, message: message.slice(0, 500) };
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** A payload that another participant sent through the hub. @throws {ProtocolError} */
export function checkedPayload(value) {
  if (value === null || typeof value !== "object") throw new ProtocolError("a payload that is no object");
  const { kind, session, sdp = "", media = "motion" } = value;
  if (!["offer", "answer", "bye"].includes(kind)) throw new ProtocolError("a payload of no known kind");
  if (media !== "motion" && media !== "sound") throw new ProtocolError("a payload of no known medium");
  checkedInteger(session, "session", Number.MAX_SAFE_INTEGER);
  if (typeof sdp !== "string" || sdp.length > MAX_SDP || (kind !== "bye" && !sdp)) throw new ProtocolError("no session description");
  return { kind, session, sdp: kind === "bye" ? "" : sdp, media };
}

function checkedId(value) {
  if (typeof value !== "string" || !ID.test(value)) throw new ProtocolError("not an id");
  return value;
}

function participant(value) {
  return { id: checkedId(value?.id), name: checkedName(value.name ?? ""), vouched: value.vouched === true };
}

function list(value, most) {
  if (!Array.isArray(value) || value.length > most) throw new ProtocolError(`not a list of at most ${most}`);
  return value;
}

/** A server as RTCPeerConnection takes it; URLs that it would not understand are left out. */
function server(value) {
  const urls = list(value?.urls, 8).filter((url) => typeof url === "string" && /^(stun|stuns|turn|turns):/.test(url));
  const { username, credential } = value;
  return typeof username === "string" && typeof credential === "string" ? { urls, username, credential } : { urls: urls.filter((url) => url.startsWith("stun")) };
}
