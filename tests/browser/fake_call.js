// A call that is whatever a test says: window.set(changes) from the test, and window.did tells what the page asked for.

import { Call, CallError } from "../call/call.js";

export class BrowserCall extends Call {
  constructor(config) {
    super();
    this.takesAvatar = Boolean(config.takes_avatar);
    window.did = [];
    window.set = (changes) => this.set(changes);
    window.tell = (...problem) => this.tell(...problem);
  }

  async look() { return { room: "room", names: window.names ?? [] }; }

  async join(own) {
    const { name, camera, microphone, muted } = own;
    window.did.push(["join", { name, camera: Boolean(camera), microphone: Boolean(microphone), muted }]);
    if (window.refusal) throw new CallError(...window.refusal);
    this.set({ state: "joined", you: { id: "me", name }, room: "monday", link: "https://hub.example/room/monday?token=abc" });
  }

  leave() { window.did.push(["leave"]); this.set({ state: "left", others: [] }); }
  take() { window.did.push(["take"]); this.set({ state: "joined" }); }
  setCamera(track) { window.did.push(["camera", Boolean(track)]); }
  setMicrophone(track) { window.did.push(["microphone", Boolean(track)]); }
  setMuted(muted) { window.did.push(["muted", muted]); }
  setName(name) { window.did.push(["name", name]); }
  setView(view) { window.seen = view; }

  set({ others, figures, ...changes }) {
    Object.assign(this, changes);
    if (others) this.participants = new Map(others.map((one, place) => [one.id, this.someone(one, place)]));
    if (figures) {
      this.figures = figures;
      this.emit("figures");
    }
    this.emit("change");
    this.emit("participants");
  }

  someone({ pictured = true, ...one }, place) {
    const picture = pictured ? this.participants.get(one.id)?.picture ?? drawn(place) : null;
    return {
      name: "", place, state: "connected", reason: "", avatar: null, muted: false, camera: true, listening: true, level: 0,
      sound: null, picture, ...one,
    };
  }
}

function drawn(place) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [256, 256];
  const pen = canvas.getContext("2d");
  pen.fillStyle = `hsl(${place * 47} 30% 45%)`;
  pen.fillRect(0, 0, 256, 256);
  window.face?.decode().then(() => pen.drawImage(window.face, 0, 0, 256, 256));
  return canvas;
}
