// Choosing devices, in the lobby and in the call alike.

import { listDevices, meter } from "../call/devices.js";
import { make, write } from "./dom.js";
import { microphoneHelp } from "./words.js";

const LABELS = { camera: "Camera", microphone: "Microphone", speaker: "Loudspeaker" };

/** Pickers of every kind of device that there is a choice of, and the microphone's level. */
export class Pickers {
  /** @param {HTMLElement} place @param {import("./own.js").Own} own */
  constructor(place, own) {
    this.own = own;
    this.place = place;
    this.fields = Object.fromEntries(Object.keys(LABELS).map((device) => [device, this.#field(device)]));
    this.level = make("span", { className: "level" }, make("span"));
    this.level.setAttribute("role", "meter");
    this.level.setAttribute("aria-label", "Loudness of your microphone");
    this.level.setAttribute("aria-valuemin", "0");
    this.level.setAttribute("aria-valuemax", "100");
    this.help = make("p", { className: "help", role: "status" });
    this.fields.microphone.field.append(this.level, this.help);
    own.addEventListener("change", () => this.show());
  }

  /** Show what there is now. */
  async show() {
    const { own } = this;
    write(this.help, microphoneHelp(own.microphoneProblem));
    this.help.hidden = !own.microphoneProblem;
    this.level.hidden = !own.microphone;
    this.#measure();
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const devices = await listDevices();
    if (turn !== this.turn) return;
    for (const [device, { field, select }] of Object.entries(this.fields)) {
      const many = devices[device];
      field.hidden = device === "camera" && !own.takesCamera || (device !== "microphone" && many.length === 0);
      this.#fill(select, many, own[device]?.getSettings?.().deviceId ?? own.ids[device]);
      select.disabled = many.length === 0;
    }
  }

  /** Measure the microphone only while somebody looks. */
  look(looked) {
    this.looked = looked;
    this.show();
  }

  #field(device) {
    const select = make("select", { name: device });
    select.addEventListener("change", () => {
      if (device === "speaker") this.own.setSpeaker(select.value);
      else this.own.open(device, select.value);
    });
    const field = make("div", { className: `field ${device}` }, make("label", {}, make("span", {}, LABELS[device]), select));
    this.place.append(field);
    return { field, select };
  }

  #fill(select, devices, chosen) {
    const entries = devices.length ? devices : [{ id: "", label: "None found" }];
    const key = JSON.stringify(entries);
    if (select.dataset.key !== key) {
      select.dataset.key = key;
      select.replaceChildren(...entries.map(({ id, label }) => make("option", { value: id }, label)));
    }
    if (entries.some((one) => one.id === chosen)) select.value = chosen;
  }

  #measure() {
    const track = this.looked ? this.own.microphone : null;
    if (track === this.measured) return;
    this.stop?.();
    this.measured = track;
    const bar = this.level.firstChild;
    this.stop = track && meter(track, (level) => {
      bar.style.setProperty("--level", level.toFixed(3));
      this.level.setAttribute("aria-valuenow", String(Math.round(level * 10) * 10));
    });
  }
}
