// Where an avatar is made: looks at the camera's pictures, leads the guide, and draws what came of it. The twin of
// telepresence/enrolment/studio.py. Commands are taken in order; of the pictures only the newest waits.

import { OwnerError } from "../../owner/keys.js";
import { landmarksOf } from "../landmarks.js";
import { nowUs } from "../rules.js";
import { Guide } from "./guide.js";
import { Looker } from "./looking.js";
import { Maker } from "./maker.js";
import { Mirror } from "./mirror.js";
import { plainName, readPhoto } from "./photo-files.js";
import { upright } from "./photo-faces.js";
import { EnrolmentError } from "./problems.js";

const NO_CAMERA_US = 1_200_000; // without a picture: the avatar moves by itself
const ALONE_MS = 66; // between two pictures of that
const SHOWS = new Set(["review", "kept"]); // states in which the avatar is drawn
const DEFAULT_NAME = "Me";

/** Makes one person's avatar. */
export class Studio {
  #maker = new Maker();
  #looker = new Looker(this.#maker);
  #guide;
  #mirror = null;
  #state = "look";
  #made = null; // {data, references, lacking}
  #how = "live";
  #why = ""; // that it has failed
  #said = "";
  #size = ""; // of the camera's pictures
  #counts = {};
  #commands = [];
  #picture = null;
  #seenUs = 0;
  #closed = false;
  #working = false;

  /**
   * @param {{engine: () => Promise<object>, tell: (type: string, detail: unknown) => void, draw?: () => string[],
   *   accept: (data: Uint8Array, how: "live"|"video"|"photos", name: string) => Promise<void>}} options
   *   accept: keeps what the person has accepted; it may throw; draw: see Guide
   */
  constructor({ engine, tell, accept, draw }) {
    Object.assign(this, { engine, accept });
    this.tell = (type, detail) => { if (!this.#closed) tell(type, detail); };
    this.#guide = new Guide(draw);
    this.alone = setInterval(() => this.#showAlone(), ALONE_MS);
  }

  /** Do something, after what was asked for before: "begin", "retake", "skip", "photos", "accept". */
  do(type, fields = {}) {
    this.#commands.push([type, fields]);
    this.#work();
  }

  /** A picture of the camera; one that was not looked at yet gives way. @param {number} number @param {Blob} jpeg */
  put(number, jpeg) {
    this.#picture = [number, jpeg, nowUs()];
    this.#work();
  }

  /** Pictures and whatever was made are forgotten. */
  close() {
    this.#closed = true;
    clearInterval(this.alone);
    this.#maker.close();
    this.#mirror?.close();
  }

  async #work() {
    if (this.#working) return;
    this.#working = true;
    while (!this.#closed && (this.#commands.length || this.#picture)) {
      try {
        if (this.#commands.length) {
          await this.#obey(...this.#commands.shift());
        } else {
          const picture = this.#picture;
          this.#picture = null;
          await this.#look(...picture);
        }
      } catch (error) {
        this.#problem(error);
      }
    }
    this.#working = false;
  }

  #problem(error) {
    if (this.#closed) return;
    const text = words(error);
    if (text !== this.#said || this.#state !== "look") this.tell("said", { text, level: "error" });
    this.#said = text;
  }

  #tellState() {
    const guide = this.#guide;
    const steps = guide.order.map((step) => ({
      step, done: guide.done.has(step), followed: guide.done.get(step) ?? null, pictures: this.#counts[step] ?? 0,
    }));
    const made = this.#made && { how: this.#how, references: this.#made.references, lacking: this.#made.lacking };
    const why = this.#state === "failed" ? { why: this.#why } : {};
    this.tell("guide", { state: this.#state, step: guide.step, phase: guide.phase, ...made, ...why, steps });
  }

  #enter(state) {
    this.#state = state;
    this.#tellState();
  }

  // commands

  async #obey(type, fields) {
    this.#said = "";
    if (type === "begin") await this.#begin();
    else if (type === "retake") await this.#retake(fields.step);
    else if (type === "skip" && this.#state === "guide") await this.#onNews(this.#guide.step, this.#guide.skip());
    else if (type === "photos") await this.#fromPhotos(fields.files);
    else if (type === "accept" && this.#made) await this.#keep(fields.name);
  }

  async #begin() {
    this.#made = null;
    await this.#clear();
    this.#guide.begin();
    this.#maker.warmUp(); // while the person follows the guide
    this.#enter("guide");
  }

  async #clear() {
    this.#size = "";
    this.#counts = (await this.#maker.clear()).counts;
  }

  async #retake(step) {
    if ((this.#how === "photos" && this.#made) || !this.#guide.order.includes(step)) return;
    this.#guide.retake(step);
    this.#counts = (await this.#maker.drop(step)).counts;
    this.#made = null;
    this.#enter("guide");
  }

  async #keep(name) {
    await this.accept(this.#made.data, this.#how, name || DEFAULT_NAME);
    this.#made = null;
    await this.#clear();
    this.#enter("kept");
  }

  async #wear(data) {
    this.#mirror ??= new Mirror(await this.engine());
    await this.#mirror.wear(data);
  }

  // the camera

  async #look(number, jpeg, atUs) {
    const seen = await this.#looker.see(jpeg, atUs);
    this.#seenUs = atUs;
    const guide = this.#guide;
    const phase = guide.phase;
    let [step, news] = [guide.step, null];
    if (this.#state === "guide") {
      await this.#checkCamera(seen);
      step = guide.step;
      news = guide.see(seen.usable, atUs);
      if (step !== null && seen.usable) {
        const followed = news === "followed" || news === "finished";
        this.#counts = (await this.#maker.keep(step, followed ? 1 : guide.progress, atUs)).counts;
      }
    }
    const { hint, blocks, box } = seen;
    const how = this.#state === "guide" ? { progress: guide.progress, phase: guide.phase, step: guide.step } : {};
    this.tell("seen", { n: number, hint, blocks, box, ...how });
    if (news !== null) await this.#onNews(step, news);
    else if (this.#state === "guide" && guide.phase !== phase) this.#tellState();
    else if (SHOWS.has(this.#state)) this.#show(seen);
  }

  async #checkCamera({ width, height }) {
    const size = `${width} x ${height}`;
    if (this.#size && this.#size !== size) {
      this.#problem(new EnrolmentError("the camera gives pictures of another size now, which do not go together; from the beginning"));
      await this.#begin();
    }
    this.#size = size;
  }

  async #onNews(step, news) {
    if (news === null) return;
    this.tell("news", { news, step });
    if (news === "anew") await this.#clear();
    if (news === "finished") await this.#make();
    else this.#tellState();
  }

  async #make() {
    const began = performance.now();
    this.#enter("making");
    try {
      this.#made = await this.#maker.make(DEFAULT_NAME);
      await this.#wear(this.#made.data);
    } catch (error) {
      if (this.#closed) return;
      this.#made = null;
      this.#why = words(error);
      this.#enter("failed");
      return;
    }
    this.#how = this.#guide.followed ? "live" : "video";
    this.#enter("review");
    const seconds = (performance.now() - began) / 1000;
    console.info(`avatar: made in ${seconds.toFixed(2)} s`);
    this.tell("made", { seconds });
  }

  #show({ landmarks, width, height, atUs }) {
    if (landmarks) this.#drawn(this.#mirror?.draw(landmarks, width, height, atUs));
  }

  #showAlone() {
    const atUs = nowUs();
    if (SHOWS.has(this.#state) && atUs - this.#seenUs > NO_CAMERA_US) this.#drawn(this.#mirror?.drawAlone(atUs));
  }

  async #drawn(coming) {
    try {
      const picture = await coming;
      if (picture) this.tell("picture", picture);
    } catch (error) {
      this.#problem(error);
    }
  }

  // photos

  /** @param {File[]} files  checked by size */
  async #fromPhotos(files) {
    if (!files.length) throw new EnrolmentError("no photo has come; choose them again");
    this.#made = null;
    await this.#clear();
    this.#guide.begin();
    this.#maker.warmUp();
    this.#enter("making");
    try {
      await this.#take(files);
      const made = await this.#maker.photos(DEFAULT_NAME);
      for (const text of made.said) this.tell("line", { text });
      await this.#wear(made.data);
      [this.#made, this.#how] = [made, "photos"];
    } catch (error) {
      if (!this.#closed) this.#enter("look");
      throw error;
    }
    this.#enter("review");
  }

  /** Look at each photo; those that cannot be used are left out, as long as one is left. @throws {EnrolmentError} none is */
  async #take(files) {
    const problems = [];
    for (const file of files) {
      const name = plainName(file.name);
      try {
        const { said, turns } = await this.#takeOne(file, name);
        if (turns) said.unshift(`${name}: was ${turns === 2 ? "upside down" : "lying on its side"}; read as turned upright`);
        for (const text of [...said, `${name}: face found`]) this.tell("line", { text });
      } catch (error) {
        if (!(error instanceof EnrolmentError)) throw error;
        problems.push(error.message.startsWith(name) ? error.message : `${name}: ${error.message}`);
      }
    }
    if (problems.length === files.length) throw new EnrolmentError(problems.length === 1 ? problems[0] : `no usable photo: ${problems.join("; ")}`);
    for (const problem of problems) this.tell("line", { text: `left out: ${problem}` });
  }

  async #takeOne(file, name) {
    const { photo, face, turns } = await upright(await readPhoto(file), landmarksOf);
    const { said } = await this.#maker.photo(photo.transferToImageBitmap(), face, name);
    return { said: [...said], turns };
  }
}

/** What to tell the user. */
function words(error) {
  if (error instanceof EnrolmentError || error instanceof OwnerError) return error.message;
  console.error(error);
  return `something went wrong (${error.message}); begin again`;
}
