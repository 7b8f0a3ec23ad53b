// A call by way of this machine's edge: its WebSocket tells of the room, one connection brings the pictures and takes
// the camera, and sound goes from here to the other pages. docs/edge.md has the messages.

import { Link } from "../connection.js";
import { pollStats } from "../overlay.js";
import { listen } from "../voice.js";
import { Call, CallError } from "./call.js";
import { loudness } from "./devices.js";
import { Sound } from "./sound.js";
import { LipSync, PictureTimes } from "./sync.js";

const PAUSES_MS = [100, 300, 700, 1500, 3000];
const SECTIONS = [3, 7, 11]; // pictures that are asked for: renegotiating is a new connection, so rarely
const CONFIG_URL = "/api/page-config"; // an edge is always at the root of this machine's address
const CONFIG_MS = 5000;
const VIEW_MS = 100;
const GONE_MS = 1200; // without the program, before that is said
const PROGRAM = "program"; // keys of problems
const REPLACED = 4409; // closing code: too many tabs

/** A call through the edge at the page's own address. */
export class EdgeCall extends Call {
  /** @param {{shows: boolean, camera: object|null, stats: string[], room: {url: string, token: string}}} config  /api/page-config */
  constructor(config) {
    super();
    this.config = config;
    this.shows = config.shows !== false;
    this.takesCamera = Boolean(config.camera);
    this.own = { name: "", camera: null, microphone: null, muted: false };
    this.socket = null;
    this.attempts = 0;
    this.wanted = false; // whether we want to be in the call
    this.link_ = null;
    this.sections = 0;
    this.pictures = [];
    this.sound = null;
    this.times = new PictureTimes();
    this.syncs = new Map(); // id -> LipSync
    this.watched = new Map(); // id -> video
    this.seen = { speaker: null, tiles: {}, hidden: [] };
    this.polling = false;
  }

  async look() {
    try {
      const response = await fetch(this.config.stats[0], { cache: "no-store", signal: AbortSignal.timeout(CONFIG_MS) });
      const stats = await response.json();
      return { room: "", names: stats.participants.map((one) => one.name) };
    } catch {
      return null;
    }
  }

  join(own) {
    Object.assign(this.own, own);
    this.wanted = true;
    this.#poll();
    return new Promise((resolve, reject) => {
      const check = () => {
        if (this.state === "ended") reject(this.ending);
        else if (this.state !== "joined" && this.state !== "superseded") return;
        else resolve();
        this.removeEventListener("change", check);
      };
      this.addEventListener("change", check);
      this.ending = null;
      this.#become("joining");
      if (this.socket?.readyState === WebSocket.OPEN) {
        this.#return();
        this.#present();
      } else {
        this.#connect();
      }
    });
  }

  leave() {
    this.wanted = false;
    this.inRoom = false;
    this.#send({ type: "leave" });
    this.#hangUp();
    this.participants.clear();
    this.#become("left");
    this.emit("participants");
  }

  setCamera(track) {
    this.own.camera = track;
    this.link_?.replace(track);
    this.#present();
    this.#listen();
  }

  setMicrophone(track) {
    this.own.microphone = track;
    if (track) track.enabled = !this.own.muted;
    this.sound?.setMicrophone(track);
    this.#listen();
    this.#present();
  }

  setMuted(muted) {
    this.own.muted = muted;
    if (this.own.microphone) this.own.microphone.enabled = !muted;
    this.#present();
    this.#listen();
  }

  setName(name) {
    this.own.name = name;
    this.#present();
  }

  setView(view) {
    this.seen = view;
    this.viewing ??= setTimeout(() => {
      this.viewing = null;
      this.#send({ type: "view", ...this.seen });
    }, VIEW_MS);
  }

  watch(id, video) {
    this.watched.set(id, video);
    this.#follow(id);
    return () => {
      if (this.watched.get(id) === video) this.watched.delete(id);
    };
  }

  take() {
    this.wanted = true;
    this.#become("joining");
    if (this.socket?.readyState !== WebSocket.OPEN) return void this.#connect();
    this.#send({ type: "take" });
    this.#present();
    if (this.told) this.#onRoom(this.told);
    return undefined;
  }

  // the WebSocket

  async #connect() {
    clearTimeout(this.again);
    let token;
    try {
      token = (await this.#fresh()).room.token;
    } catch {
      return this.#retry();
    }
    const url = new URL(this.config.room.url, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    this.socket = socket;
    socket.addEventListener("open", () => {
      socket.send(JSON.stringify({ type: "page", token }));
      this.#present();
    });
    socket.addEventListener("message", ({ data }) => this.socket === socket && this.#on(JSON.parse(data)));
    socket.addEventListener("close", ({ code }) => this.socket === socket && this.#closed(code));
    return undefined;
  }

  /** The configuration as it is now: an edge that was started again has another token. */
  async #fresh() {
    const response = await fetch(new URL(CONFIG_URL, location.href), { cache: "no-store", signal: AbortSignal.timeout(CONFIG_MS) });
    if (!response.ok) throw new Error(`the program answered ${response.status}`);
    this.config = await response.json();
    return this.config;
  }

  #closed(code) {
    this.socket = null;
    if (code === REPLACED) this.#superseded();
    if (this.state === "superseded") return; // entering again would take the call from the other tab
    this.#retry();
  }

  #retry() {
    if (!this.wanted) return;
    const pause = PAUSES_MS[Math.min(this.attempts, PAUSES_MS.length - 1)];
    this.attempts += 1;
    this.again = setTimeout(() => this.#connect(), pause);
    this.gone ??= setTimeout(() => {
      this.tell("The program on this machine does not answer. Start it again in the terminal; this page then goes on by itself.", "error", PROGRAM);
      this.#become("lost");
    }, GONE_MS);
  }

  #send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  #present() {
    const { name, microphone, muted, camera } = this.own;
    this.#send({ type: "state", name, muted: muted || !microphone, camera: Boolean(camera) });
  }

  #on(message) {
    if (message.type === "room") this.#onRoom(message);
    else if (message.type === "relay") this.sound?.on(message.from, message.payload);
    else if (message.type === "pictures") this.times.tell(message, performance.now());
    else if (message.type === "superseded") this.#superseded();
    else if (message.type === "said") this.#said(message);
  }

  #superseded() {
    this.#hangUp();
    this.#become("superseded");
  }

  #said({ text, level }) {
    if (level !== "error" || this.inRoom) return this.tell(text, level);
    this.wanted = false;
    this.#hangUp();
    this.ending = new CallError(/full/i.test(text) ? "full" : "refused", text);
    return this.#become("ended");
  }

  #onRoom(room) {
    this.told = room;
    this.#answered();
    Object.assign(this, { you: room.you, room: room.room, link: room.link, hub: room.hub });
    if (this.state !== "superseded") {
      this.inRoom = room.joined && Boolean(room.you.id) && (room.hub || room.participants.length > 0 || this.state === "joined");
      if (!room.joined && this.wanted && !this.asked) this.#return();
      this.#keep(room.joined ? room.participants : []);
      if (this.inRoom && this.wanted) this.#enter(room);
    }
    this.emit("change");
    this.emit("participants");
  }

  #enter(room) {
    this.asked = false;
    this.#mesh(room);
    this.#begin();
    this.#become("joined");
  }

  /** Into the room again, which this page, or another one of the same program, has left. */
  #return() {
    this.asked = true;
    this.#send({ type: "join" });
  }

  #answered() {
    clearTimeout(this.gone);
    this.gone = null;
    this.attempts = 0;
    this.tell("", "info", PROGRAM);
  }

  #keep(told) {
    const before = this.participants;
    const level = (id) => loudness(this.sound?.level(id) ?? 0);
    this.participants = new Map(told.map(({ sound, ...one }) => [one.id, {
      ...one,
      listening: sound,
      sound: before.get(one.id)?.sound ?? null,
      picture: this.pictures[one.place] ?? null,
      get level() { return level(one.id); },
    }]));
  }

  // pictures and the camera

  #begin() {
    const places = Math.max(0, ...[...this.participants.values()].map((one) => one.place + 1));
    const sections = this.shows ? SECTIONS.find((many) => many >= places) ?? SECTIONS.at(-1) : 0;
    if (this.link_ && sections <= this.sections) return;
    this.link_?.close();
    this.sections = sections;
    if (!sections && !this.takesCamera) return;
    this.link_ = new Link({
      find: async () => { const { camera, avatar } = await this.#fresh(); return camera ?? avatar; },
      sends: this.takesCamera,
      track: this.own.camera,
      receive: sections,
      onStream: (stream, place) => this.#picture(place, stream),
      onDrop: () => this.#dropped(),
      onState: () => {},
    });
    this.link_.restart();
  }

  #picture(place, stream) {
    this.pictures[place] = stream;
    for (const one of this.participants.values()) if (one.place === place) one.picture = stream;
    this.emit("participants");
  }

  /** Before the pictures end: whoever shows them can keep the last one. */
  #dropped() {
    this.pictures = [];
    for (const one of this.participants.values()) one.picture = null;
    this.emit("participants");
  }

  // sound

  #mesh(room) {
    if (this.sound?.options.id !== room.you.id) {
      this.#silence();
      this.sound = new Sound({
        id: room.you.id,
        send: (to, payload) => this.#send({ type: "relay", to, payload }),
        iceServers: room.ice_servers,
        relayOnly: room.relay_only,
        onStream: (id, stream) => this.#heard(id, stream),
        onSync: (id, channel, receiver) => this.#synced(id, channel, receiver),
      });
      this.sound.setMicrophone(this.own.microphone);
      // Whoever is there already is ours to call, be it that we joined later, be it that this page is newer than theirs.
      this.sound.join(room.participants.filter((one) => one.sound).map((one) => one.id));
    } else {
      this.sound.setServers(room.ice_servers, room.relay_only);
    }
    this.sound.keep(room.participants.filter((one) => one.sound).map((one) => one.id), this.participants.keys());
    for (const id of [...this.syncs.keys()]) if (!this.participants.has(id)) this.#unsync(id);
    this.#listen();
  }

  #heard(id, stream) {
    const one = this.participants.get(id);
    if (one) one.sound = stream;
    if (!stream) this.#unsync(id);
    this.emit("participants");
  }

  #synced(id, channel, receiver) {
    this.#unsync(id);
    this.syncs.set(id, new LipSync({
      channel,
      receiver,
      hold: (ms) => {
        const place = this.participants.get(id)?.place;
        if (place !== undefined) this.#send({ type: "delay", place, ms });
      },
      onFigures: (figures) => { this.lips = figures; },
    }));
    this.#follow(id);
  }

  #unsync(id) {
    this.syncs.get(id)?.unwatch?.();
    this.syncs.get(id)?.close();
    this.syncs.delete(id);
  }

  #follow(id) {
    const [sync, video, one] = [this.syncs.get(id), this.watched.get(id), this.participants.get(id)];
    if (!sync || !video || !one) return;
    sync.unwatch?.();
    sync.unwatch = sync.watch(video, one.place, this.times);
  }

  /** While no camera moves the lips, the voice does. */
  #listen() {
    const { microphone, muted, camera } = this.own;
    const track = microphone && !muted && this.sound && (!camera || this.figures.faces === 0) ? microphone : null;
    if (track === (this.listened ?? null)) return;
    this.deaf?.();
    this.listened = track;
    this.deaf = track ? listen(track, ({ mouth, level }) => this.#send({ type: "voice", mouth, level })) : null;
  }

  #silence() {
    for (const id of [...this.syncs.keys()]) this.#unsync(id);
    this.sound?.close();
    this.sound = null;
  }

  #hangUp() {
    this.#silence();
    this.#listen();
    this.link_?.close();
    this.link_ = null;
    this.sections = 0;
    this.pictures = [];
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.emit("change");
  }

  #poll() {
    if (this.polling) return;
    this.polling = true;
    pollStats(() => this.config.stats, (stats) => {
      const engine = [stats.engine, stats.size, stats.runtime].filter(Boolean).join(" \u00b7 ");
      this.figures = { ...stats, ...this.lips, drawn_by: engine };
      this.#listen();
      this.emit("figures");
    }, () => {
      this.figures = {};
      this.emit("figures");
    });
  }
}
