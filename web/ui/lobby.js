// Before the call: who one is, what one is seen and heard by, and what joining discloses.

import { dress, find, showActions, write } from "./dom.js";
import { Pickers } from "./pickers.js";
import { ACTIONS, cameraNotice, joinLabel, presence } from "./words.js";

const LOOK_MS = 3000;
const SAMPLE = "A sample, free for all";

/** The lobby. */
export class Lobby {
  /** @param {import("../call/call.js").Call} call @param {import("./own.js").Own} own @param {() => void} onJoin */
  constructor(call, own, onJoin) {
    Object.assign(this, { call, own });
    this.element = find("#lobby");
    this.pickers = new Pickers(find("#lobby-pickers"), own);
    this.video = find("#preview");
    find("#name").value = own.name;
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      own.setName(find("#name").value);
      onJoin();
    });
    find("#avatar-field").hidden = !call.takesAvatar;
    find("#avatar").addEventListener("click", () => find("#avatar-file").click());
    find("#avatar-file").addEventListener("change", (event) => this.#choose(event.target));
    own.addEventListener("change", () => this.show());
    call.addEventListener("change", () => this.#showAvatar());
    this.#showAvatar();
  }

  /** Come up, or go. */
  open(opened) {
    this.element.hidden = !opened;
    this.pickers.look(opened);
    clearInterval(this.looking);
    if (!opened) {
      this.video.srcObject = null;
      return;
    }
    this.show();
    this.#look();
    this.looking = setInterval(() => this.#look(), LOOK_MS);
  }

  show() {
    if (this.element.hidden) return;
    const { own, call } = this;
    if (this.video.srcObject?.getVideoTracks()[0] !== (own.camera ?? undefined)) {
      this.video.srcObject = own.camera ? new MediaStream([own.camera]) : null;
    }
    const notice = this.element.querySelector(".notice");
    const words = cameraNotice(own, call.takesCamera);
    notice.hidden = !words;
    this.element.classList.toggle("pictured", !words);
    write(notice.querySelector("h2"), words?.title ?? "");
    write(notice.querySelector("p"), words?.text ?? "");
    showActions(notice.querySelector(".actions"), words?.actions ?? [], ACTIONS, () => own.open("camera"));
    dressOwn(this.element, own, call.takesCamera);
    write(find("#join"), joinLabel(own, call.takesCamera));
  }

  async #look() {
    const seen = await this.call.look();
    write(find("#present"), presence(seen?.names));
  }

  #showAvatar() {
    const { avatarName = "" } = this.call;
    write(find("#avatar-name"), avatarName.replace(/\.avatar$/, "") || SAMPLE);
    find("#avatar-name").classList.remove("bad");
  }

  async #choose(input) {
    const [file] = input.files;
    input.value = "";
    if (!file) return;
    const output = find("#avatar-name");
    try {
      await this.call.avatar(file);
    } catch (error) {
      write(output, error.message);
      output.classList.add("bad");
    }
  }
}

/** Give the buttons for one's own microphone and camera, wherever they are, their present faces. */
export function dressOwn(root, own, takesCamera) {
  const off = own.muted || !own.microphone;
  for (const button of root.querySelectorAll("[data-do=mute]")) {
    dress(button, off ? "mic-off" : "mic", own.microphone ? (own.muted ? "Microphone on" : "Microphone off") : "Allow the microphone", off);
    button.classList.toggle("off", off);
  }
  for (const button of root.querySelectorAll("[data-do=camera]")) {
    button.hidden = !takesCamera;
    dress(button, own.camera ? "camera" : "camera-off", own.camera ? "Camera off" : "Camera on", !own.camera);
    button.classList.toggle("off", !own.camera);
  }
}
