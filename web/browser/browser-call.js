// A call of this browser by itself: the page is the edge. It finds the face in the camera, sends motion, draws the
// others' avatars, and speaks to the hub. docs/browser.md explains what it can and cannot do.

import { Call, CallError } from "../call/call.js";
import { Drawing } from "./drawing.js";
import { checkPossible, refused, whyNot } from "./endings.js";
import { Figures } from "./figures.js";
import { Hearing } from "./hearing.js";
import { SCHEMAS } from "./hello.js";
import { invitation } from "./hub.js";
import { Network } from "./network.js";
import { loadParts } from "./parts.js";
import { Sending } from "./sending.js";
import { Store } from "./store.js";
import { Wardrobe } from "./wardrobe.js";

const SIZE = 256;
const FIGURES_MS = 1000;
const HUB_MS = 1200; // without the hub before we are in, before that is said
const HUB = "hub-answer"; // keys of problems

/** A call without a program on this machine. */
export class BrowserCall extends Call {
  takesAvatar = true;
  lostWords = "Hub out of reach, trying again";
  #own = { name: "", camera: null, microphone: null, muted: false };
  #store = new Store();
  #loading = null; // a promise of what is heavy
  #network = null;
  #drawing = null;
  #sending = null;
  #hearing = null;
  #figures = null;

  /** @param {{signal: string, engine: string, engines: string, sample_avatar: string, problem: string|null}} config */
  constructor(config) {
    super();
    checkPossible(config);
    this.config = config;
    const { room, token } = invitation();
    this.token = token;
    this.room = room;
    this.link = location.href;
    if (!room || !token) throw new CallError("refused", "This address lacks its invitation. Open the link as it was given to you.");
    this.wardrobe = new Wardrobe({ store: this.#store, sample: config.sample_avatar, engine: async () => (await this.#load()).engine });
    this.wardrobe.addEventListener("change", () => this.#dressed());
    addEventListener("pagehide", () => this.#network && this.leave()); // else the others wait for us to come back
    for (const early of [this.#load(), this.wardrobe.choose()]) early.catch(() => {}); // while the lobby is looked at; who fails says so when joining
  }

  async join(own) {
    Object.assign(this.#own, own);
    this.ending = null;
    this.#become("joining");
    try {
      const [parts] = await Promise.all([this.#load(), this.wardrobe.choose()]);
      if (this.state === "joining") this.#begin(parts);
    } catch (error) {
      this.#become("left");
      throw whyNot(error);
    }
    return this.#entered();
  }

  leave() {
    this.#end();
    this.#become("left");
  }

  setCamera(track) {
    this.#own.camera = track;
    this.#sending?.setCamera(track);
    this.#present();
  }

  setMicrophone(track) {
    this.#own.microphone = track;
    if (track) track.enabled = !this.#own.muted;
    this.#hearing?.setMicrophone(track);
    this.#present();
  }

  setMuted(muted) {
    this.#own.muted = muted;
    if (this.#own.microphone) this.#own.microphone.enabled = !muted;
    this.#present();
  }

  setName(name) {
    this.#own.name = name;
    this.#present();
  }

  setView(view) {
    this.view = view;
    this.#drawing?.setView(view);
  }

  avatar(file) { return this.wardrobe.take(file); }

  async enrolment() {
    const { PageSession } = await import("./enrolment/session.js");
    return new PageSession({ wardrobe: this.wardrobe, engine: async () => (await this.#load()).engine });
  }

  take() {
    this.join({}).catch((error) => {
      this.ending = error;
      this.#become("ended");
    });
  }

  // beginning and ending

  #load() {
    this.#loading ??= loadParts({ ...this.config, size: SIZE });
    this.#loading.catch(() => { this.#loading = null; }); // the next attempt may find what this one did not
    return this.#loading;
  }

  /** Until we are in. @throws {CallError} */
  #entered() {
    return new Promise((resolve, reject) => {
      const check = () => {
        if (this.state === "ended") reject(this.ending);
        else if (this.state === "left") reject(new CallError("unreachable", "You left before you were in."));
        else if (this.state !== "joined") return;
        else resolve();
        this.removeEventListener("change", check);
      };
      this.addEventListener("change", check);
      check();
    });
  }

  #begin(parts) {
    this.#drawing = new Drawing({
      ...parts,
      size: SIZE,
      localMs: (id, captureUs) => this.#localMs(id, captureUs),
      onPicture: () => this.#tell(),
      onShown: (id, capturedMs, heldMs) => this.#hearing?.shown(id, capturedMs, heldMs),
      onProblem: (id, text) => this.tell(`The avatar of ${this.#name(id)} cannot be drawn: ${text}`, "warning", `avatar-${id}`),
    });
    if (this.view) this.#drawing.setView(this.view);
    this.#sending = new Sending({
      Landmarks: parts.Landmarks,
      onMotion: (packet) => this.#network?.sendMotion(packet),
      onProblem: (text) => this.tell(text, "warning", "landmarks"),
    });
    this.#hearing = new Hearing({
      relay: (to, payload) => this.#network?.relay(to, payload) ?? false,
      onStream: (id, stream) => this.#heard(id, stream),
      hold: (id, ms, age) => this.#drawing?.hold(id, ms, age),
      onVoice: (mouth, level) => this.#sending?.hear(mouth, level),
    });
    this.#hearing.setMicrophone(this.#own.microphone);
    this.#network = this.#connect();
    this.#sending.start();
    this.#sending.setCamera(this.#own.camera);
    this.#follow();
    this.#network.join(this.#own.name);
    this.#present();
    this.#figures = new Figures({ engine: parts.engine, name: this.config.engine, network: this.#network, drawing: this.#drawing, sending: this.#sending, hearing: this.#hearing });
    this.figuring = setInterval(() => this.#figure(), FIGURES_MS);
    this.waiting = setTimeout(() => this.#hubGone(), HUB_MS);
  }

  #connect() {
    const url = new URL(this.config.signal, location.origin);
    url.protocol = url.protocol.replace("http", "ws");
    const on = {
      onMotion: (id, packet, now) => this.#drawing.receive(id, packet, now),
      onAvatar: (id, data) => this.#drawing.setAvatar(id, data, true),
      onPreview: (id, data) => this.#drawing.setAvatar(id, data, false),
      onUnshown: (id) => this.#drawing.undress(id),
      onSound: (from, payload) => this.#hearing.relayed(from, payload),
      cache: {
        find: (hash) => this.#store.find(hash), keep: (hash, data) => this.#store.keep(hash, data), drop: (hash) => this.#store.drop(hash),
      },
    };
    const network = new Network({ url: url.href, room: this.room, token: this.token, schemas: SCHEMAS }, this.wardrobe.ours, on);
    network.hub.addEventListener("joined", ({ detail }) => this.#joined(detail));
    network.addEventListener("change", () => this.#tell());
    network.addEventListener("hub", () => this.#hubChanged());
    network.addEventListener("refused", ({ detail }) => this.#refused(detail));
    return network;
  }

  #end() {
    clearInterval(this.figuring);
    clearTimeout(this.waiting);
    this.#hearing?.close();
    this.#network?.leave();
    this.#sending?.close();
    this.#drawing?.close();
    this.#hearing = this.#network = this.#sending = this.#drawing = this.#figures = null;
    this.participants = new Map();
    this.you = { id: "", name: this.#own.name };
    this.figures = {};
    this.emit("participants");
  }

  // the hub

  #joined({ id, name, participants, resumed }) {
    clearTimeout(this.waiting);
    this.tell("", "info", HUB);
    this.you = { id, name: name || this.#own.name };
    if (resumed && this.#hearing.begun) this.#hearing.resume(this.#network);
    else this.#hearing.begin(id, participants.map((one) => one.id), this.#network);
    this.#tell();
    this.#become("joined");
  }

  #hubChanged() {
    this.hub = this.#network?.hub.connected ?? false;
    this.emit("change");
  }

  #hubGone() {
    if (this.state !== "joining") return;
    this.tell("The hub does not answer. This page goes on trying.", "error", HUB);
    this.#become("lost");
  }

  #refused({ code, message }) {
    const ending = refused(code, message);
    const connected = [...this.participants.values()].some((one) => one.state === "connected");
    this.hub = false;
    if (connected && code !== "replaced") {
      this.tell(`Nobody new can join: ${ending.message}`, "warning", "refusal"); // those who are connected stay so
      this.emit("change");
      return;
    }
    this.#end();
    this.ending = ending;
    this.#become(code === "replaced" ? "superseded" : "ended");
  }

  // ourselves

  #dressed() {
    this.avatarName = this.wardrobe.name;
    this.emit("change");
    this.#network?.change(this.wardrobe.ours);
    this.#follow();
  }

  /** Track against our own avatar's shape. */
  async #follow() {
    const { ours } = this.wardrobe;
    const sending = this.#sending;
    if (!sending) return;
    try {
      const neutral = await this.wardrobe.neutral();
      if (this.wardrobe.ours === ours) sending.follow(neutral);
    } catch (error) {
      console.info(`tracking without the avatar's own shape: ${error.message}`);
    }
  }

  #present() {
    const { name, microphone, muted, camera } = this.#own;
    this.you = { ...this.you, name };
    this.#network?.present({ name, muted: muted || !microphone, camera: Boolean(camera), sound: true });
    this.#speak();
  }

  /** While no camera moves the lips, the voice does. */
  #speak() {
    const { microphone, muted, camera } = this.#own;
    this.#hearing?.speak(Boolean(microphone) && !muted && (!camera || !this.#sending.face));
  }

  // the others

  #name(id) { return this.participants.get(id)?.name || "a participant"; }

  #tell() {
    if (!this.#network) return;
    const found = [...this.#network.others].map(([id, other]) => this.#participant(id, other));
    const before = this.participants;
    this.participants = new Map(found.sort((a, b) => a.place - b.place).map((one) => [one.id, one]));
    for (const [id, { state }] of before) {
      if (!this.participants.has(id)) this.#drawing.remove(id);
      else if (state === "connected" && this.participants.get(id).state !== "connected") this.#drawing.lost(id);
    }
    this.#hearing.keep([...this.participants.values()]);
    this.emit("participants");
  }

  #participant(id, { peer, place }) {
    const { muted = false, camera = true, sound = false } = peer.presence ?? {};
    const level = () => this.#hearing?.level(id) ?? 0;
    return {
      id, place, muted, camera,
      name: this.#network.name(id),
      state: peer.state,
      reason: peer.reason,
      avatar: peer.exchange.receiving,
      label: peer.label,
      unshown: peer.unshown,
      listening: sound,
      picture: this.#drawing.canvas(id),
      sound: this.participants.get(id)?.sound ?? null,
      get level() { return level(); },
    };
  }

  #heard(id, stream) {
    const one = this.participants.get(id);
    if (!one) return;
    one.sound = stream;
    this.emit("participants");
  }

  /** A time on another's clock on ours; null: not known. */
  #localMs(id, captureUs) {
    const localUs = this.#network?.others.get(id)?.peer.clock?.toLocalUs(captureUs) ?? null;
    return localUs === null ? null : localUs / 1000;
  }

  #figure() {
    this.#speak();
    this.figures = this.#figures.read(Boolean(this.#own.camera));
    this.emit("figures");
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.emit("change");
  }
}
