// A call by way of this machine's edge: its WebSocket tells of the room, one connection brings the pictures and takes
// the camera, and sound goes from here to the other pages. docs/edge.md has the messages.

import { Link } from "../connection.js";
import { pollStats } from "../overlay.js";
import { listen } from "../voice.js";
import { Call, CallError } from "./call.js";
import { PictureTimes } from "./clocks.js";
import { loudness } from "./devices.js";
import { Mesh } from "./mesh.js";
import { RoomSocket } from "./room-socket.js";

const SECTIONS = [3, 7, 11]; // pictures that are asked for: renegotiating is a new connection, so rarely
const CONFIG_URL = "/api/page-config"; // an edge is always at the root of this machine's address
const CONFIG_MS = 5000;
const VIEW_MS = 100;
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
    this.headset = config.headset ?? "";
    this.own = { name: "", camera: null, microphone: null, muted: false };
    this.socket = new RoomSocket({
      find: async () => (await this.#fresh()).room,
      onOpen: () => this.#onOpen(),
      onMessage: (message) => this.#on(message),
      onClosed: (code) => this.#onClosed(code),
      onGone: () => this.#onGone(),
    });
    this.wanted = false; // whether we want to be in the call
    this.link_ = null;
    this.sections = 0;
    this.pictures = [];
    this.times = new PictureTimes();
    this.mesh = new Mesh({
      send: (message) => this.#send(message),
      onStream: (id, stream) => this.#heard(id, stream),
      hold: (id, ms, age) => this.#hold(id, ms, age),
      onLips: (id) => this.#follow(id),
      onFigures: (figures) => { this.lips = figures; },
    });
    this.watched = new Map(); // id -> video
    this.seen = null; // the view as last told
    this.polling = false;
    for (const [target, event] of [[document, "resume"], [document, "visibilitychange"], [window, "online"]]) {
      target.addEventListener(event, () => document.hidden || this.#wake());
    }
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
      if (this.socket.open) {
        this.#return();
        this.#present();
      } else {
        this.socket.connect();
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
    this.mesh.setMicrophone(track);
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
      this.#tellView();
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
    this.elsewhere = false;
    this.#become("joining");
    if (!this.socket.open) return void this.socket.connect();
    this.#send({ type: "take" });
    this.#present();
    this.#tellView();
    if (this.told) this.#onRoom(this.told);
    return undefined;
  }

  // the WebSocket

  /** This page is in: what the edge has to know of it, which forgets that with a connection. */
  #onOpen() {
    this.#present();
    this.#tellView();
    this.mesh.renew();
    this.link_?.hurry();
  }

  /** The configuration as it is now: an edge that was started again has another token. */
  async #fresh() {
    const response = await fetch(new URL(CONFIG_URL, location.href), { cache: "no-store", signal: AbortSignal.timeout(CONFIG_MS) });
    if (!response.ok) throw new Error(`the program answered ${response.status}`);
    this.config = await response.json();
    return this.config;
  }

  #onClosed(code) {
    this.elsewhere = false;
    if (code === REPLACED) this.#superseded();
    return this.wanted && this.state !== "superseded"; // entering again would take the call from the other tab
  }

  #onGone() {
    if (!this.wanted) return;
    this.tell("The program on this machine does not answer. Start it again in the terminal; this page then goes on by itself.", "error", PROGRAM);
    this.#become("lost");
  }

  /** After a sleep, or out of the background, where timers are slow: what waits is tried now. */
  #wake() {
    if (!this.wanted || this.state === "superseded") return;
    this.socket.connect();
    this.link_?.hurry();
    this.mesh.hurry();
  }

  #send(message) { this.socket.send(message); }

  #tellView() {
    if (this.seen) this.#send({ type: "view", ...this.seen });
  }

  #present() {
    const { name, microphone, muted, camera } = this.own;
    this.#send({ type: "state", name, muted: muted || !microphone, camera: Boolean(camera) });
  }

  #on(message) {
    if (message.type === "room") this.#onRoom(message);
    else if (message.type === "relay") this.mesh.on(message.from, message.payload);
    else if (message.type === "pictures") this.times.tell(message, performance.now());
    else if (message.type === "superseded") this.#superseded(message.by);
    else if (message.type === "returned") this.#returned();
    else if (message.type === "said") this.#said(message);
  }

  #superseded(by = "page") {
    if (by === "headset") {
      this.elsewhere = true;
      this.mesh.close();
      this.#listen();
      this.emit("change");
      return;
    }
    this.#hangUp();
    this.#become("superseded");
  }

  /** The headset's page has gone: the sound is here again. */
  #returned() {
    this.elsewhere = false;
    if (this.told) this.#onRoom(this.told);
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
    this.link_?.slow(room.camera_per_s);
    this.tell("", "info", PROGRAM);
    const back = this.#isBack(room);
    Object.assign(this, { you: room.you, room: room.room, link: room.link, hub: room.hub });
    if (this.state !== "superseded") {
      this.inRoom = room.joined && Boolean(room.you.id) && (room.hub || room.participants.length > 0 || this.state === "joined");
      if (!room.joined && this.wanted && !this.asked) this.#return();
      this.#keep(room.joined ? room.participants : []);
      if (this.inRoom && this.wanted) this.#enter(room);
      if (back) this.mesh.hurry();
    }
    this.emit("change");
    this.emit("participants");
  }

  /** Whether a way is back by which sound may have been lost as well: to the hub, or to somebody. */
  #isBack({ hub, participants }) {
    const lost = (id) => this.participants.get(id)?.state === "lost";
    return (hub && !this.hub) || participants.some(({ id, state }) => state === "connected" && lost(id));
  }

  #enter(room) {
    this.asked = false;
    if (!this.elsewhere) this.mesh.follow(room, this.own.microphone);
    this.#listen();
    this.#begin();
    this.#become("joined");
  }

  /** Into the room again, which this page, or another one of the same program, has left. */
  #return() {
    this.asked = true;
    this.#send({ type: "join" });
  }

  #keep(told) {
    const before = this.participants;
    const level = (id) => loudness(this.mesh.level(id));
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
      perSecond: this.told?.camera_per_s,
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

  #heard(id, stream) {
    const one = this.participants.get(id);
    if (one) one.sound = stream;
    this.emit("participants");
  }

  #hold(id, ms, age) {
    const place = this.participants.get(id)?.place;
    if (place !== undefined) this.#send({ type: "delay", place, ms, age_ms: age });
  }

  #follow(id) {
    const [sync, video, one] = [this.mesh.lips.get(id), this.watched.get(id), this.participants.get(id)];
    if (!sync || !video || !one) return;
    sync.unwatch?.();
    sync.unwatch = sync.watch(video, one.place, this.times);
  }

  /** While no camera moves the lips, the voice does. */
  #listen() {
    const { microphone, muted, camera } = this.own;
    const track = microphone && !muted && this.mesh.there && (!camera || this.figures.faces === 0) ? microphone : null;
    if (track === (this.listened ?? null)) return;
    this.deaf?.();
    this.listened = track;
    this.deaf = track ? listen(track, ({ mouth, level }) => this.#send({ type: "voice", mouth, level })) : null;
  }

  #hangUp() {
    this.mesh.close();
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
