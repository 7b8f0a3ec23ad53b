// What needs saying across a call: one line each, gone when it is no longer so, or when it is closed.

import { find, icon, make } from "./dom.js";
import { ACTIONS } from "./words.js";

const INFO_MS = 6000;

/** The banners. */
export class Banners {
  constructor() {
    this.place = find("#banners");
    this.shown = new Map();
    this.closed = new Map(); // key -> the text that was closed
  }

  /**
   * Say something, or with an empty text no longer.
   * @param {string} key @param {string} text @param {{level?: string, action?: string, act?: () => void}} [options]
   */
  say(key, text, { level = "warning", action = "", act = () => {} } = {}) {
    if (!text) {
      this.closed.delete(key);
      this.#remove(key);
      return;
    }
    if (this.shown.get(key)?.dataset.text === text || this.closed.get(key) === text) return;
    this.#remove(key);
    const close = make("button", { type: "button", className: "icon quiet", "aria-label": "Close this message" }, icon("close"));
    const banner = make("div", { className: "banner", role: level === "error" ? "alert" : "status", dataset: { level, text, key } }, make("p", {}, text));
    if (action) {
      const button = make("button", { type: "button", className: "first", dataset: { action } }, ACTIONS[action]);
      button.addEventListener("click", act);
      banner.append(button);
    }
    close.addEventListener("click", () => { this.closed.set(key, text); this.#remove(key); });
    banner.append(close);
    this.shown.set(key, banner);
    this.place.append(banner);
    if (level === "info") setTimeout(() => this.shown.get(key) === banner && this.#remove(key), INFO_MS);
  }

  #remove(key) {
    this.shown.get(key)?.remove();
    this.shown.delete(key);
  }
}
