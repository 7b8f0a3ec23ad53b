// One other participant on the stage: the avatar's picture, the name, what is to be said of it.

import { PictureRate } from "../overlay.js";
import { freeze, icon, make, write } from "./dom.js";
import { initials, nameOf, states, tileWords } from "./words.js";

/** A tile. Events go to `on`. */
export class Tile {
  /**
   * @param {string} id
   * @param {{shows: boolean, pin: (id: string) => void, watch: (id: string, video: HTMLVideoElement) => () => void}} on
   */
  constructor(id, on) {
    this.id = id;
    this.on = on;
    this.picture = null; // what is shown now
    this.pictured = false; // whether a picture has come
    this.one = null;
    this.video = make("video", { playsinline: "", autoplay: "", disablepictureinpicture: "", "aria-hidden": "true" });
    this.video.muted = true;
    this.rate = new PictureRate(this.video, () => this.#pictureCame());
    this.place = make("div", { className: "picture" }, this.video);
    this.blank = make("div", { className: "blank", "aria-hidden": "true" });
    this.words = make("p", { className: "words" });
    this.progress = make("progress", { max: "1", "aria-label": "Avatar arriving" });
    this.name = make("span", { className: "name" });
    this.badges = make("span", { className: "badges", "aria-hidden": "true" });
    this.pin = make("button", { type: "button", className: "pin" });
    this.pin.addEventListener("click", () => on.pin(id));
    this.label = make("span", { className: "label" }, "avatar");
    this.element = make("article", { className: "tile", dataset: { id, testid: "tile" } },
      this.place, this.blank, make("div", { className: "said" }, this.words, this.progress), this.label,
      make("footer", {}, this.name, this.badges), this.pin);
  }

  /** Show somebody as they are now. */
  show(one, { pinned }) {
    this.one = one;
    this.pinned = pinned;
    this.#showPicture(one.picture);
    this.#say();
  }

  /** Mark whether the voice is heard, and how loud. */
  sound(speaks, level) {
    this.element.classList.toggle("speaking", speaks);
    this.element.style.setProperty("--level", speaks ? level.toFixed(2) : "0");
  }

  /** Longer side, device pixels. */
  get side() {
    return Math.round(Math.max(this.place.clientWidth, this.place.clientHeight) * devicePixelRatio);
  }

  remove() {
    this.unwatch?.();
    this.element.remove();
    this.video.srcObject = null;
    if (this.video.poster) URL.revokeObjectURL(this.video.poster);
  }

  #say() {
    const { one, pinned } = this;
    const said = tileWords(one, { shows: this.on.shows, pictured: this.pictured });
    write(this.words, said?.text ?? "");
    this.progress.hidden = said?.progress == null;
    if (said?.progress != null) this.progress.value = said.progress;
    this.element.classList.toggle("pictured", this.pictured);
    this.element.classList.toggle("stale", Boolean(said?.text));
    this.element.dataset.state = one.state;
    const name = nameOf(one);
    write(this.name, name);
    write(this.blank, initials(name));
    this.#badge("mic-off", one.muted || !one.listening);
    this.#badge("camera-off", !one.camera);
    this.#badge("pin", pinned);
    const spoken = states(one);
    this.element.setAttribute("aria-label", [name, ...spoken].join(", "));
    this.pin.setAttribute("aria-label", `Keep ${[name, ...spoken].join(", ")} large`);
    this.pin.setAttribute("aria-pressed", String(pinned));
    this.pin.title = pinned ? `Do not keep ${name} large` : `Keep ${name} large`;
    const label = one.label === undefined ? "avatar" : one.label; // null: what may be there is grey, and nobody's
    this.label.hidden = !this.pictured || label === null;
    write(this.label, label ?? "");
  }

  #badge(name, on) {
    const present = this.badges.querySelector(`[data-badge=${name}]`);
    if (on && !present) {
      const badge = icon(name);
      badge.dataset.badge = name;
      this.badges.append(badge);
    } else if (!on) {
      present?.remove();
    }
  }

  #showPicture(picture) {
    if (picture === this.picture) return;
    this.picture = picture;
    if (picture instanceof HTMLCanvasElement) {
      this.place.replaceChildren(picture);
      this.pictured = true;
    } else if (picture) {
      if (!this.video.isConnected) this.place.replaceChildren(this.video);
      this.video.srcObject = picture;
      this.video.play().catch(() => {}); // muted, so nobody minds; a hidden page plays later
      this.unwatch?.();
      this.unwatch = this.on.watch(this.id, this.video);
    } else if (this.one.unshown && !this.video.isConnected) {
      this.place.replaceChildren(this.video); // the canvas has a picture that may not be shown any more
      this.pictured = false;
    } else {
      freeze(this.video);
    }
  }

  #pictureCame() {
    if (this.pictured || !this.one) return;
    this.pictured = true;
    this.#say();
  }
}
