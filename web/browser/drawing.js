// Everybody's avatar in a canvas of its own: motion in, pictures out. One picture at a time, the newest motion wins; the
// speaker first, nobody starves. What draws, and how avatars move, are given: see `parts` in browser-call.js.

const SPEAKER_MS = 1000 / 30; // between two pictures at the least
const OTHERS_MS = 1000 / 12;
const PATIENCE = 2.5; // of its intervals: who has waited for so long comes before everybody
const IDLE_MS = 100; // without anything due, until the next look
const WINDOW_MS = 5000;
const MOST_HOLD_MS = 200;

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
    this.hold = { ms: 0, age: null }; // pictures are held back by so much, or until they are so old: the sound is met then
    this.turn = 0; // counts pictures, so that one held back for long does not cover a later one
    this.shownTurn = 0;
  }

  /** For how long a picture is held back that is so old, ms; null: its age is not known. */
  holdMs(age) {
    const wanted = this.hold.age !== null && age !== null ? this.hold.age - age : this.hold.ms;
    return Math.min(MOST_HOLD_MS, Math.max(0, wanted));
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
   *   localMs: (id: string, captureUs: number) => number|null, onPicture: (id: string) => void,
   *   onShown: (id: string, capturedMs: number|null, heldMs: number) => void, onProblem: (id: string, text: string) => void}} options
   *   localMs: a time of somebody's packets on the clock of performance.now(); onPicture: whether there is a picture has
   *   changed; onShown: each picture, and when what it shows was captured (null at rest)
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

  /** Hold somebody's pictures back by so much, or, unless that is null, until they are so old, ms. */
  hold(id, ms, age = null) {
    const stage = this.#stages.get(id);
    if (stage) stage.hold = { ms, age };
  }

  /** Nothing is shown of somebody's avatar any more, be it whole or not. */
  undress(id) {
    const stage = this.#stages.get(id);
    if (!stage) return;
    stage.coming += 1; // what is being prepared is not taken
    stage.whole = false;
    this.#blank(stage);
  }

  /** The connection to somebody is gone; the next one begins anew. */
  lost(id) {
    this.#stages.get(id)?.playout.linkLost();
    this.#wake();
  }

  /** Somebody's avatar file, or its beginning; null takes the beginning back, or (whole) all of it. */
  async setAvatar(id, data, whole) {
    const stage = this.#stage(id);
    if (!whole && stage.whole) return; // of a new version: the one before is shown until the new one is whole
    stage.coming += 1;
    const turn = stage.coming;
    if (!data) {
      if (whole) stage.whole = false; // nothing of it may be shown any more
      return this.#blank(stage);
    }
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
    const capturedMs = captureUs === null ? null : this.options.localMs(stage.id, captureUs);
    stage.turn += 1;
    const held = stage.holdMs(capturedMs === null ? null : performance.now() - capturedMs);
    const shown = { turn: stage.turn, picture, capturedMs, held, took: performance.now() - began };
    if (held > 0) setTimeout(() => this.#show(stage, shown), held);
    else this.#show(stage, shown);
  }

  #show(stage, { turn, picture, capturedMs, held, took }) {
    const over = this.#stages.get(stage.id) !== stage || !stage.prepared || turn < stage.shownTurn;
    if (over) return void picture.close?.();
    stage.shownTurn = turn;
    const { canvas, context } = stage;
    if (canvas.width !== picture.width) Object.assign(canvas, { width: picture.width, height: picture.height });
    if (picture instanceof ImageData) context.putImageData(picture, 0, 0);
    else {
      context.drawImage(picture, 0, 0);
      picture.close();
    }
    const now = performance.now();
    this.#pictures.push({ at: now, took, age: capturedMs === null ? null : now - capturedMs, id: stage.id });
    if (this.#pictures.length > 2000) this.#pictures.splice(0, 1000);
    this.options.onShown(stage.id, capturedMs, held);
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
