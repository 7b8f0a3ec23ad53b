// Everybody's avatar in a canvas of its own: motion in, pictures out. One picture at a time, the newest motion wins; the
// speaker first, nobody starves. What draws, and how avatars move, are given: see `parts` in browser-call.js.

const SPEAKER_MS = 1000 / 30; // between two pictures at the least
const OTHERS_MS = 1000 / 12;
const PATIENCE = 2.5; // of its intervals: who has waited for so long comes before everybody
const IDLE_MS = 100; // without anything due, until the next look
const WINDOW_MS = 5000;

/** One participant's avatar. */
class Stage {
  constructor(id, playout, size) {
    this.id = id;
    this.playout = playout;
    this.canvas = document.createElement("canvas");
    Object.assign(this.canvas, { width: size, height: size });
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.prepared = null;
    this.puppet = null;
    this.whole = false; // whether it is made from the whole file
    this.drawn = false; // whether the canvas shows anything
    this.coming = 0; // counts avatars, so that an older one that is prepared late is not taken
    this.drawnMs = -Infinity;
    this.fresh = true; // whether motion has come since the last picture
  }

  /** When it wants to be drawn, on the clock of performance.now(); Infinity: not before something comes. */
  dueMs(nowMs, interval) {
    if (!this.puppet) return Infinity;
    const due = this.fresh ? nowMs : this.puppet.dueUs;
    if (due === null) return Infinity;
    return Math.max(this.fresh ? nowMs : due / 1000, this.drawnMs + interval);
  }
}

export class Drawing {
  /** @type {Map<string, Stage>} */
  #stages = new Map();
  #view = { speaker: null, hidden: new Set() };
  #timer = null;
  #busy = false;
  #closed = false;
  #drawing = null; // whose picture is being drawn
  #pictures = []; // of the last seconds: when, of whom, how long it took, how old its motion was

  /**
   * @param {{engine: object, size: number, newPlayout: () => object, newPuppet: (prepared: object) => object,
   *   ageMs: (id: string, captureUs: number) => number|null, onPicture: (id: string) => void, onProblem: (id: string, text: string) => void}} options
   */
  constructor(options) {
    this.options = options;
  }

  /** What can be seen. */
  setView({ speaker, hidden }) {
    this.#view = { speaker, hidden: new Set(hidden) };
    this.#wake();
  }

  /** The canvas that shows somebody; null before the first picture. */
  canvas(id) {
    const stage = this.#stages.get(id);
    return stage?.drawn ? stage.canvas : null;
  }

  /** A motion packet of somebody has come. */
  receive(id, packet, nowUs) {
    const stage = this.#stage(id);
    if (stage.playout.receive(packet, nowUs)) {
      stage.fresh = true;
      this.#wake();
    }
  }

  /** The connection to somebody is gone; the next one begins anew. */
  lost(id) {
    this.#stages.get(id)?.playout.linkLost();
    this.#wake();
  }

  /** Somebody's avatar file, or its beginning; null takes the beginning back. */
  async setAvatar(id, data, whole) {
    const stage = this.#stage(id);
    if (!whole && stage.whole) return; // of a new version: the one before is shown until the new one is whole
    stage.coming += 1;
    const turn = stage.coming;
    if (!data) return this.#blank(stage);
    try {
      const prepared = await this.options.engine.prepare(data, { whole });
      if (!prepared || stage.coming !== turn || this.#stages.get(id) !== stage) return void prepared?.close?.();
      this.#dress(stage, prepared, whole);
    } catch (error) {
      if (stage.coming !== turn) return undefined;
      if (whole) this.options.onProblem(id, error.message);
      else console.info(`the beginning of an avatar: ${error.message}`);
    }
    return undefined;
  }

  remove(id) {
    this.#stages.get(id)?.prepared?.close?.();
    this.#stages.delete(id);
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const id of [...this.#stages.keys()]) this.remove(id);
  }

  /** Of the last seconds: {fps: of whom it draws most, renderMs, ageMs: [median, 95th percentile]}; null: not known. */
  figures(nowMs = performance.now()) {
    this.#pictures = this.#pictures.filter(({ at }) => at > nowMs - WINDOW_MS);
    if (!this.#pictures.length) return { fps: null, renderMs: [null, null], ageMs: [null, null] };
    const each = new Map();
    for (const { id } of this.#pictures) each.set(id, (each.get(id) ?? 0) + 1);
    return {
      fps: Math.max(...each.values()) / (WINDOW_MS / 1000),
      renderMs: percentiles(this.#pictures.map(({ took }) => took)),
      ageMs: percentiles(this.#pictures.map(({ age }) => age).filter((age) => age !== null)),
    };
  }

  /** Motions that came too late, or never. */
  get dropped() { return [...this.#stages.values()].reduce((sum, { playout }) => sum + (playout.dropped ?? 0), 0); }

  #stage(id) {
    let stage = this.#stages.get(id);
    if (!stage) {
      stage = new Stage(id, this.options.newPlayout(), this.options.size);
      this.#stages.set(id, stage);
    }
    return stage;
  }

  #dress(stage, prepared, whole) {
    const [before, old] = [stage.puppet, stage.prepared];
    stage.prepared = prepared;
    stage.puppet = this.options.newPuppet(prepared);
    if (before) stage.puppet.takeOver(before);
    stage.whole = whole;
    stage.fresh = true;
    if (old && stage !== this.#drawing) old.close?.();
    this.#wake();
  }

  #blank(stage) {
    if (stage.whole) return;
    stage.prepared?.close?.();
    Object.assign(stage, { prepared: null, puppet: null, drawn: false });
    this.options.onPicture(stage.id);
  }

  #wake() {
    if (this.#busy || this.#closed) return;
    clearTimeout(this.#timer);
    const now = performance.now();
    const due = Math.min(...[...this.#seen()].map((stage) => stage.dueMs(now, this.#interval(stage))), now + IDLE_MS);
    this.#timer = setTimeout(() => this.#turn(), Math.max(0, due - now));
  }

  *#seen() {
    for (const stage of this.#stages.values()) if (!this.#view.hidden.has(stage.id)) yield stage;
  }

  #interval({ id }) { return id === this.#view.speaker || this.#stages.size === 1 || !this.#view.speaker ? SPEAKER_MS : OTHERS_MS; }

  /** Whose turn it is: who has waited too long, else the speaker, else who was drawn longest ago. */
  #next(now) {
    const due = [...this.#seen()].filter((stage) => stage.dueMs(now, this.#interval(stage)) <= now);
    const late = (stage) => (now - stage.drawnMs > PATIENCE * this.#interval(stage) && Number.isFinite(stage.drawnMs) ? 1 : 0);
    const first = (stage) => (stage.id === this.#view.speaker ? 1 : 0);
    return due.sort((a, b) => late(b) - late(a) || first(b) - first(a) || a.drawnMs - b.drawnMs)[0] ?? null;
  }

  async #turn() {
    if (this.#busy || this.#closed) return;
    const began = performance.now();
    const stage = this.#next(began);
    if (stage) {
      this.#busy = true;
      this.#drawing = stage;
      try {
        await this.#draw(stage, began);
      } catch (error) {
        this.#fail(stage, error);
      }
      this.#drawing = null;
      this.#busy = false;
    }
    this.#wake();
  }

  async #draw(stage, began) {
    stage.fresh = false;
    stage.drawnMs = began;
    const keypoints = stage.puppet.keypoints(stage.playout, Math.round(began * 1000));
    if (!keypoints && stage.drawn) return;
    const { prepared } = stage;
    const captureUs = stage.playout.shownCaptureUs ?? null;
    const picture = await this.options.engine.render(prepared, keypoints ?? prepared.neutral);
    if (stage.prepared !== prepared || this.#stages.get(stage.id) !== stage) {
      picture.close?.();
      prepared.close?.();
      return;
    }
    this.#show(stage, picture);
    const now = performance.now();
    const age = captureUs === null ? null : this.options.ageMs(stage.id, captureUs);
    this.#pictures.push({ at: now, took: now - began, age, id: stage.id });
    if (this.#pictures.length > 2000) this.#pictures.splice(0, 1000);
  }

  #show(stage, picture) {
    const { canvas, context } = stage;
    if (canvas.width !== picture.width) Object.assign(canvas, { width: picture.width, height: picture.height });
    if (picture instanceof ImageData) context.putImageData(picture, 0, 0);
    else {
      context.drawImage(picture, 0, 0);
      picture.close();
    }
    if (stage.drawn) return;
    stage.drawn = true;
    this.options.onPicture(stage.id);
  }

  #fail(stage, error) {
    console.error(error);
    stage.puppet = null; // its next version may be drawable
    this.options.onProblem(stage.id, error.message);
  }
}

/** Median and 95th percentile; null of nothing. */
export function percentiles(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? null;
  return [at(0.5), at(0.95)];
}
