// The tiles of a call: a grid, or the speaker large. Tells what of it can be seen, and how large.

import { find, write } from "./dom.js";
import { arrange } from "./layout.js";
import { Speaker } from "./speaker.js";
import { Tile } from "./tile.js";
import { initials } from "./words.js";

const LISTEN_MS = 100;
const SMALLEST = 88, LARGEST = 176; // side of a tile beside the large one, CSS pixels

/** The stage. */
export class Stage {
  /** @param {import("../call/call.js").Call} call @param {import("./own.js").Own} own @param {() => void} onMode */
  constructor(call, own, onMode) {
    this.call = call;
    this.own = own;
    this.onMode = onMode;
    this.element = find("#stage");
    this.self = find("#self");
    this.empty = find("#empty");
    this.tiles = new Map();
    this.unseen = new Set();
    this.speaker = new Speaker();
    this.pinned = null;
    this.mode = "grid";
    this.told = "";
    this.sizes = new ResizeObserver(() => this.#arrange());
    this.sizes.observe(this.element);
    this.seen = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) this.unseen[isIntersecting ? "delete" : "add"](target.dataset.id);
      this.#tell();
    }, { root: this.element });
    document.addEventListener("visibilitychange", () => this.#tell());
    setInterval(() => this.#listen(), LISTEN_MS);
  }

  /** Show the call as it is now. */
  show() {
    const { participants } = this.call;
    for (const [id, tile] of this.tiles) if (!participants.has(id)) this.#remove(id, tile);
    if (!participants.has(this.pinned)) this.pinned = null;
    for (const [id, one] of participants) {
      const tile = this.tiles.get(id) ?? this.#add(id);
      tile.show(one, { pinned: id === this.pinned });
    }
    this.#showSelf();
    this.empty.hidden = participants.size > 0 || this.call.state !== "joined";
    find("#link").value = this.call.link;
    this.#arrange();
  }

  /** Grid, or the speaker large. */
  toggle() {
    this.mode = this.mode === "grid" ? "speaker" : "grid";
    if (this.mode === "grid") this.pinned = null;
    this.show();
    this.onMode();
  }

  /** Keep somebody large, or let go. */
  pin(id) {
    const letsGo = this.pinned === id;
    this.pinned = letsGo ? null : id;
    if (!letsGo) this.mode = "speaker";
    else if (this.call.participants.size === 1) this.mode = "grid";
    this.show();
    this.onMode();
  }

  /** Who is large; null in a grid. */
  get large() {
    if (this.mode === "grid" || !this.tiles.size) return null;
    return this.pinned ?? this.speaker.id ?? this.tiles.keys().next().value;
  }

  /** Pictures per second of who is large, or first; null: not known. */
  get perSecond() {
    const tile = this.tiles.get(this.large) ?? this.tiles.values().next().value;
    return tile?.picture instanceof MediaStream ? tile.rate.perSecond : null;
  }

  #add(id) {
    const tile = new Tile(id, {
      shows: this.call.shows,
      pin: (who) => this.pin(who),
      watch: (who, video) => this.call.watch(who, video),
    });
    this.tiles.set(id, tile);
    this.element.insertBefore(tile.element, this.self);
    this.seen.observe(tile.element);
    return tile;
  }

  #remove(id, tile) {
    this.seen.unobserve(tile.element);
    this.unseen.delete(id);
    tile.remove();
    this.tiles.delete(id);
  }

  #showSelf() {
    const { own, call } = this;
    const video = this.self.querySelector("video");
    if (video.srcObject?.getVideoTracks()[0] !== (own.camera ?? undefined)) {
      video.srcObject = own.camera ? new MediaStream([own.camera]) : null;
      if (own.camera) video.play().catch(() => {});
    }
    this.self.classList.toggle("pictured", Boolean(own.camera));
    this.self.classList.toggle("muted", own.muted || !own.microphone);
    this.self.hidden = !call.takesCamera && call.participants.size < 2;
    write(this.self.querySelector(".blank"), initials(own.name || call.you.name || "You"));
    const state = [own.muted || !own.microphone ? "muted" : "", own.camera ? "" : "camera off"].filter(Boolean);
    this.self.setAttribute("aria-label", ["You", ...state].join(", "));
  }

  #arrange() {
    const { element } = this;
    const others = this.tiles.size;
    const large = this.large;
    const speaks = large !== null && others > 0;
    const inGrid = !speaks && others > 1 && !this.self.hidden; // else it floats, or stands with the small ones
    element.dataset.mode = speaks ? "speaker" : "grid";
    element.classList.toggle("floats", !inGrid && !(speaks && others > 1));
    element.classList.toggle("alone", others === 0);
    for (const [id, tile] of this.tiles) tile.element.classList.toggle("large", speaks && id === large);
    const style = getComputedStyle(element);
    const gap = parseFloat(style.columnGap) || 0;
    const inner = { width: element.clientWidth - 2 * parseFloat(style.paddingLeft), height: element.clientHeight - 2 * parseFloat(style.paddingTop) };
    const strip = others > 1 || !this.self.hidden && !element.classList.contains("floats");
    const wide = inner.width > inner.height;
    element.classList.toggle("beside", wide);
    if (speaks) {
      const small = others - 1 + (strip && !this.self.hidden ? 1 : 0);
      const along = wide ? inner.height : inner.width;
      const share = (along - gap * (small - 1)) / small;
      const side = strip ? Math.round(Math.max(SMALLEST, Math.min(share, LARGEST, (wide ? inner.width : inner.height) * 0.17))) : 0;
      element.classList.toggle("scrolls", small * side + (small - 1) * gap > along);
      const room = strip ? side + gap : 0;
      const fit = arrange(1, inner.width - (wide ? room : 0), inner.height - (wide ? 0 : room), gap);
      this.#set({ "--w": `${fit.width}px`, "--h": `${fit.height}px`, "--side": `${side}px`, "--small": Math.max(1, small) });
    } else {
      const fit = arrange(Math.max(1, others + (inGrid ? 1 : 0)), inner.width, inner.height, gap);
      this.#set({ "--w": `${fit.width}px`, "--h": `${fit.height}px`, "--columns": fit.columns });
    }
    this.#tell();
  }

  #set(values) {
    for (const [name, value] of Object.entries(values)) this.element.style.setProperty(name, value);
  }

  #listen() {
    const levels = new Map([...this.call.participants].map(([id, one]) => [id, one.muted ? 0 : one.level]));
    const before = this.large;
    this.speaker.hear(levels, performance.now());
    for (const [id, tile] of this.tiles) tile.sound(this.speaker.speaks(id), levels.get(id) ?? 0);
    if (this.large !== before) this.#arrange();
  }

  #tell() {
    const ids = [...this.tiles.keys()];
    const hidden = document.hidden ? ids : ids.filter((id) => this.unseen.has(id));
    const tiles = Object.fromEntries([...this.tiles].filter(([id]) => !hidden.includes(id)).map(([id, tile]) => [id, tile.side]));
    const view = { speaker: this.large, tiles, hidden };
    const text = JSON.stringify(view);
    if (text === this.told) return;
    this.told = text;
    this.call.setView(view);
  }

  /** What can be seen, told again: to an edge that has just begun. */
  tellAgain() {
    this.told = "";
    this.#tell();
  }
}
