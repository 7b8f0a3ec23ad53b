// The dialog in which an avatar is made: what it shows is a function of what the edge says and what was pressed.

import { make, write } from "../ui/dom.js";
import { Camera } from "./camera.js";
import { parts, button, stepDots, words } from "./parts.js";
import { choosePhotos } from "./photos.js";
import { Prompts } from "./prompts.js";
import { CAMERA, STEPS, TEXT, hintWords, labelWords, lackingWords, newsWords, prompt } from "./words.js";

const NEWS_MS = 2600;
const SPEAK_AGAIN_MS = 9000; // while a step is not followed
const HINT_MS = 350; // that a hint has to stay, so that none flickers

/** Makes and leads the dialog. */
export class EnrolDialog {
  /**
   * @param {import("./session.js").Session} session
   * @param {{camera: () => MediaStreamTrack|null, name: () => string, closed: () => void}} page
   */
  constructor(session, page) {
    Object.assign(this, { session, page, p: parts(), prompts: new Prompts() });
    this.text = { ...TEXT, ...session.words };
    this.asked = ""; // a view that was asked for beside the guide's own: photos, remove, discard, done
    this.problem = "";
    this.note = ""; // how uploading goes
    this.sentence = Math.floor(Math.random() * 4);
    document.body.append(this.p.dialog);
    this.camera = new Camera(this.p.video, session);
    this.camera.addEventListener("change", () => this.show());
    this.p.close.addEventListener("click", () => this.leave());
    this.p.dialog.addEventListener("cancel", (event) => { event.preventDefault(); this.leave(); });
    this.#listen();
    Prompts.canSpeak().then((can) => { this.speaks = can; this.show(); });
  }

  get open() { return this.p.dialog.open; }

  /** Come up. @param {string} [asked]  "remove": to delete the avatar */
  async begin(asked = "") {
    this.asked = asked;
    this.problem = "";
    if (this.page.inCall?.()) this.prompts.on = false; // the others would hear them, too
    if (!this.session.linked) this.session.connect();
    this.p.dialog.showModal();
    this.p.title.focus();
    this.show();
    if (asked !== "remove") await this.camera.open(this.page.camera());
  }

  /** Go; what is not accepted is asked for first. */
  leave() {
    const { state } = this.session.guide;
    if (state === "review" && this.asked !== "done" && this.asked !== "discard") return this.#ask("discard");
    this.session.send("leave");
    this.#close();
    return undefined;
  }

  #close() {
    this.camera.close();
    this.prompts.close();
    clearTimeout(this.again);
    this.p.dialog.close();
    this.page.closed();
  }

  #listen() {
    const on = (type, act) => this.session.addEventListener(type, ({ detail }) => this.open && act(detail));
    on("guide", () => { this.#leadOn(); this.show(); });
    on("own", () => this.show());
    on("link", () => this.show());
    on("superseded", () => this.show());
    on("seen", (seen) => this.#seen(seen));
    on("news", (news) => this.#news(news));
    on("said", ({ text }) => { this.problem = text; this.show(); });
    on("line", ({ text }) => write(this.p.how, text));
    on("picture", (blob) => this.#draw(blob));
    on("kept", () => this.#ask("done"));
    on("deleted", () => { this.session.send("leave"); this.#close(); });
    on("tuning", () => this.show());
  }

  // what comes from the edge

  /** Say what is asked for when it changes. */
  #leadOn() {
    const { guide } = this.session;
    if (guide.state !== "guide") {
      clearTimeout(this.again);
      this.said = "";
      return;
    }
    this.asked = "";
    const key = `${guide.step} ${guide.phase}`;
    if (key === this.said) return;
    this.said = key;
    if (guide.phase === "act" && guide.step === "speak") this.sentence += 1;
    const { title } = prompt(guide, this.sentence);
    if (guide.phase === "act") this.prompts.say(title);
    clearTimeout(this.again);
    this.again = setTimeout(() => { this.said = ""; this.#leadOn(); }, SPEAK_AGAIN_MS);
  }

  #seen(seen) {
    const { guide } = this.session;
    if (seen.step !== undefined && (seen.step !== guide.step || seen.phase !== guide.phase)) {
      Object.assign(guide, { step: seen.step, phase: seen.phase });
      this.#leadOn();
      this.show();
    }
    this.p.dialog.style.setProperty("--progress", String(seen.phase === "back" ? 0 : seen.progress ?? 0));
    const now = performance.now();
    if (seen.hint !== this.hint) [this.hint, this.hintedAt] = [seen.hint, now];
    if (now - this.hintedAt < HINT_MS) return;
    const text = hintWords(this.hint);
    write(this.p.hint, text);
    this.p.hint.hidden = !text || Boolean(this.camera.problem);
    this.p.dialog.classList.toggle("blocked", Boolean(seen.blocks));
  }

  #news(news) {
    const text = newsWords(news);
    write(this.p.news, text);
    this.p.dialog.dataset.news = news.news;
    this.prompts.sound(news.news);
    if (news.news === "anew") this.prompts.say(text);
    clearTimeout(this.newsTimer);
    this.newsTimer = setTimeout(() => { write(this.p.news, ""); delete this.p.dialog.dataset.news; }, NEWS_MS);
  }

  async #draw(blob) {
    const bitmap = await createImageBitmap(blob).catch(() => null);
    if (!bitmap) return;
    this.p.canvas.getContext("2d").drawImage(bitmap, 0, 0, 256, 256);
    bitmap.close();
    this.p.dialog.classList.add("drawn");
  }

  // what is shown

  #ask(view) {
    this.asked = view;
    this.problem = "";
    this.show();
  }

  get #view() {
    const { state } = this.session.guide;
    if (this.asked && !(this.asked === "photos" && state !== "look" && state !== "failed")) return this.asked;
    if (state === "kept") return "done";
    return state === "look" ? "intro" : state;
  }

  /** Show everything as it is now. */
  show() {
    if (!this.open) return;
    const { p, session } = this, view = this.#view;
    if (view !== "review" && view !== "done" && view !== "discard") p.dialog.classList.remove("drawn");
    p.dialog.dataset.view = view;
    p.dialog.dataset.step = session.guide.phase === "act" && view === "guide" ? session.guide.step ?? "" : "";
    p.link.hidden = session.linked;
    write(p.link, session.superseded ? this.text.superseded : session.linked ? "" : this.text.gone);
    p.avatar.hidden = !["review", "done", "discard"].includes(view);
    const sees = !["photos", "remove"].includes(view) && !(view === "making" && this.camera.problem);
    p.own.hidden = !sees || (!p.avatar.hidden && Boolean(this.camera.problem));
    p.steps.hidden = p.news.hidden = view !== "guide";
    p.prompt.hidden = !["guide", "making"].includes(view);
    this.#showCamera();
    this.#sides[view]?.call(this);
    p.steps.replaceChildren(...stepDots(session.guide));
  }

  #showCamera() {
    const { p, camera } = this, words_ = CAMERA[camera.problem];
    const key = camera.problem;
    p.noCamera.hidden = !words_;
    p.own.classList.toggle("pictured", !words_);
    if (!words_) return;
    p.hint.hidden = true;
    if (p.noCamera.dataset.key === key) return;
    p.noCamera.dataset.key = key;
    const again = key !== "asking" && key !== "insecure" ? [button("Try again", () => this.camera.open())] : [];
    p.noCamera.replaceChildren(make("h3", {}, words_[0]), make("p", {}, words_[1]), ...again);
  }

  /** Fill the side column, unless it says the same already: a focus in it must not be lost. */
  #side(key, title, makeWords, makeActions) {
    const { p } = this;
    write(p.title, title);
    const all = `${key}|${this.problem}|${this.#view}`;
    if (p.words.dataset.key === all) return;
    p.words.dataset.key = all;
    const problem = this.problem ? make("p", { className: "problem", role: "alert", dataset: { testid: "enrol-problem" } }, upper(this.problem)) : null;
    p.words.replaceChildren(...words(problem, ...makeWords()));
    p.actions.replaceChildren(...makeActions().filter(Boolean));
  }

  #sides = {
    intro() {
      const { own, wears } = this.session;
      this.#side(`${own?.there}${own?.worn}${this.speaks}`, this.text.title, () => [
        this.text.intro, this.text.tips, own?.there ? this.text.stays : null, this.#aloud(), soft(this.text.disclosure),
      ], () => [
        button("Begin", () => { this.problem = ""; this.session.send("begin"); }, "first", { act: "enrol-begin" }),
        button("Use photos instead", () => this.#ask("photos")),
        wears && own?.there && own.worn !== "own" ? button("Use my own avatar again", () => { this.session.send("wear"); this.leave(); }, "", { act: "enrol-wear" }) : null,
        own?.there ? button("Delete my avatar", () => this.#ask("remove"), "plain") : null,
      ]);
    },
    guide() {
      const { title, how } = prompt(this.session.guide, this.sentence);
      write(this.p.ask, title);
      write(this.p.how, how);
      const rest = this.session.guide.step === "rest";
      this.#side(`guide${rest}`, this.text.title, () => [], () => [
        rest ? null : button("I cannot do this", () => this.session.send("skip"), "plain", { act: "enrol-skip" }),
        button("Start over", () => { this.problem = ""; this.session.send("begin"); }, "plain"),
      ]);
    },
    making() {
      write(this.p.ask, this.text.making);
      write(this.p.how, this.text.makingHow);
      this.#side("making", this.text.title, () => [make("progress", { "aria-label": this.text.making })], () => []);
    },
    failed() {
      const { why } = this.session.guide;
      this.#side(why, "That did not work", () => [this.problem ? null : make("p", { className: "problem", role: "alert" }, upper(why ?? ""))], () => [
        button("Start over", () => { this.problem = ""; this.session.send("begin"); }, "first"),
        button("Use photos instead", () => this.#ask("photos")),
        ...this.#retakes(),
      ]);
    },
    review() {
      const { guide } = this.session;
      const photos = guide.how === "photos";
      write(this.p.label, guide.how === "live" ? "avatar" : "photo avatar");
      this.#side(`${guide.how}${guide.references}${Boolean(this.camera.problem)}`, this.text.review, () => [
        this.camera.problem ? this.text.reviewPhotos : this.text.reviewHow, lackingWords(guide.lacking), soft(labelWords(guide.how)),
        soft(photos ? this.text.disclosurePhotos : this.text.disclosure),
        photos ? null : this.#again(),
      ], () => [
        button("Use this avatar", () => this.session.send("accept", { name: this.page.name() }), "first", { act: "enrol-accept" }),
        button("Start over", () => { this.problem = ""; this.session.send(photos ? "leave" : "begin"); }),
      ]);
    },
    done() {
      const refine = this.session.own?.refine, { tuning } = this.session;
      const refining = tuning ? this.text.learning : refine?.can ? this.text.refineHow : refine?.why;
      this.#side(`${refine?.can}${refine?.why}${Boolean(tuning)}`, this.text.done, () => [
        this.text.doneHow, ...(refining ? [make("h3", {}, "Refine it"), refining] : []),
      ], () => [
        refine?.can && !tuning ? button("Refine it now", () => { this.session.send("tune"); this.leave(); }, "", { act: "enrol-refine" }) : null,
        button("Done", () => this.leave(), "first", { act: "enrol-done" }),
      ]);
    },
    photos() {
      this.#side(`photos${this.note}`, "Make your avatar from photos", () => [this.note, this.text.photosHow, soft(this.text.photosLabel), soft(this.text.disclosurePhotos)], () => [
        button("Choose photos", () => this.#photos(), "first", { act: "enrol-photos" }),
        button("Back", () => { this.session.send("leave"); this.#ask(""); }),
      ]);
    },
    remove() {
      this.#side("remove", this.text.remove, () => [this.text.removeHow], () => [
        button("Delete it", () => this.session.send("delete"), "danger", { act: "enrol-delete" }),
        button("Keep it", () => this.leave(), "first"),
      ]);
    },
    discard() {
      this.#side("discard", this.text.discard, () => [this.text.discardHow], () => [
        button("Use this avatar", () => this.session.send("accept", { name: this.page.name() }), "first"),
        button("Leave without it", () => this.leave(), "danger"),
        button("Back", () => this.#ask("")),
      ]);
    },
  };

  #aloud() {
    if (!this.speaks) return null;
    const box = make("input", { type: "checkbox" });
    box.checked = this.prompts.on;
    box.addEventListener("change", () => { this.prompts.on = box.checked; });
    return make("label", { className: "check" }, box, make("span", {}, "Read the steps aloud"));
  }

  #again() {
    return make("details", {}, make("summary", {}, "Take one step again"), make("div", { className: "retakes" }, ...this.#retakes()));
  }

  #retakes() {
    const { steps } = this.session.guide;
    return steps.map(({ step }) => button(STEPS[step].short, () => { this.problem = ""; this.session.send("retake", { step }); }, "plain", { retake: step }));
  }

  async #photos() {
    this.problem = "";
    const problem = await choosePhotos(this.session, (line) => {
      this.note = line;
      this.show();
    });
    this.note = "";
    this.problem = problem; // what the edge finds wrong with them is shown here, too
    this.show();
  }
}

function soft(text) { return make("p", { className: "soft small" }, text); }

/** A sentence's first letter large, unless it begins with the name of a file. */
function upper(text) { return /^\S+\.\w{2,5}\b/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1); }
