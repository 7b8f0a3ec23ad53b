// Enrolment where there is no program on this machine: the same to the dialog as web/enrol/session.js, which speaks to an
// edge. Everything happens in this page; no picture leaves it, and none is kept.

import { verifyAvatar } from "../../owner/signature.js";
import { ownKey } from "../../owner/keys.js";
import { readAvatar } from "../../face/avatar-file.js";
import { renamed } from "./file.js";
import { checkFile, plainName } from "./photo-files.js";
import { Studio } from "./studio.js";

const WHY_NOT = "Refining is for a machine with telepresence: a browser cannot learn. Your avatar works without.";
const LOOK = { state: "look", steps: [], step: null, phase: "act" };

/** What the dialog says otherwise than with a program: nothing here is kept but in this browser. */
const WORDS = {
  disclosure: "The camera\u2019s pictures stay in this page. But an avatar is made of some of them: when you join a room, those go to everybody in it.",
  disclosurePhotos: "The photos stay in this page. But an avatar is made of them: when you join a room, those in it go to everybody there.",
  makingHow: "A few seconds.",
  reviewHow: "Move, speak, smile: it follows. It stays in this browser until you accept it and join a room.",
  reviewPhotos: "Without a camera it moves by itself. It stays in this browser until you accept it and join a room.",
  doneHow: "In this call, and in all to come in this browser. Whoever deletes this site\u2019s data deletes it, too.",
  removeHow: "It is deleted from this browser, and whoever you meet in a call again is asked to delete their copy. You are shown as the sample avatar. This cannot be undone.",
};

/** Events carry messages as `detail`, as those of web/enrol/session.js; "picture" has ImageData. */
export class PageSession extends EventTarget {
  own = null;
  guide = LOOK;
  tuning = null;
  linked = false;
  superseded = false;
  words = WORDS;
  wears = true;
  photoTypes = "image/jpeg,image/png,image/webp"; // phones then hand over a JPEG of what they keep as HEIC
  #studio = null;
  #files = [];

  /** @param {{wardrobe: import("../wardrobe.js").Wardrobe, engine: () => Promise<object>, draw?: () => string[]}} options  draw: for tests */
  constructor(options) {
    super();
    this.options = options;
    options.wardrobe.addEventListener("change", () => this.#tellOwn());
  }

  /** Whether something can be asked for. */
  get open() { return this.linked; }

  async connect() {
    if (this.linked) return;
    this.linked = true;
    this.#tell("link", true);
    await this.#tellOwn();
  }

  /** As to an edge: see docs/enrolment.md. */
  async send(type, fields = {}) {
    try {
      if (type === "leave") this.#leave();
      else if (type === "delete") await this.#delete();
      else if (type === "wear") await this.options.wardrobe.wearMade();
      else if (type === "photos") await this.#do("photos", { files: this.#files });
      else await this.#do(type, fields);
    } catch (error) {
      this.#tell("said", { text: error.message, level: "error" });
    }
  }

  /** @param {number} number @param {Blob} jpeg */
  async sendPicture(number, jpeg) { this.#atWork().put(number, jpeg); }

  /** Take a photo; it is read when all are here. @param {File} file @throws {Error} why it is refused */
  async upload(file) {
    checkFile(file, this.#files);
    this.#files.push(file);
    return plainName(file.name);
  }

  /** What others are shown one as: a Blob, or null. */
  async picture() {
    const { avatar } = this.options.wardrobe.ours;
    const file = avatar && (await readAvatar(avatar, true).catch(() => null));
    return file && new Blob([file.references[0].picture], { type: "image/jpeg" });
  }

  async #do(type, fields) {
    if (type === "begin" || type === "photos") await ownKey(); // a damaged one is told before the work
    this.#atWork().do(type, fields);
  }

  #atWork() {
    this.#studio ??= new Studio({
      engine: this.options.engine,
      draw: this.options.draw,
      tell: (type, detail) => this.#tell(type, detail),
      accept: (data, how, name) => this.#keep(data, how, name),
    });
    return this.#studio;
  }

  /** What was not accepted is forgotten, and what was loaded for it is freed. */
  #leave() {
    this.#files = [];
    this.#studio?.close();
    this.#studio = null;
    this.#tell("guide", LOOK);
  }

  async #keep(data, how, name) {
    await this.options.wardrobe.keep(await renamed(data, name), how);
    this.#files = [];
    this.#tell("kept", {});
  }

  async #delete() {
    await this.options.wardrobe.forget();
    this.#tell("deleted", {});
  }

  async #tellOwn() {
    const { wardrobe } = this.options;
    const { avatar } = wardrobe.ours;
    if (!avatar) return; // it is still being looked for
    const ownership = await verifyAvatar(avatar).catch(() => null);
    const sample = ownership?.free ?? false;
    const worn = sample ? "sample" : wardrobe.made ? "own" : "file";
    const made = ownership?.made ?? null;
    this.#tell("own", { there: wardrobe.kept, worn, name: wardrobe.name.replace(/\.avatar$/, ""), label: ownership?.label ?? "", made, refine: { can: false, why: WHY_NOT } });
  }

  #tell(type, detail) {
    if (type === "own") this.own = detail;
    if (type === "guide") this.guide = detail;
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
