// What the page knows of a call, whoever makes it: an edge on this machine (edge-call.js), or this browser by itself
// (../browser/browser-call.js). The page (main.js, ui/) uses nothing else.

/**
 * Another participant, as the page shows it.
 * @typedef {object} Participant
 * @property {string} id
 * @property {string} name  may be empty
 * @property {number} place  0 to 10; kept until it leaves
 * @property {"connecting"|"connected"|"lost"|"refused"} state  of the motion's way
 * @property {string} reason  why it was refused; else empty
 * @property {number|null} avatar  how much of its avatar has come, 0 to 1; null: nothing is under way
 * @property {"avatar"|"photo avatar"|"sample avatar"|null} [label]  what its pictures are labelled with; null: none are shown
 * @property {string} [unshown]  why its avatar is not shown; empty if it is, or is on its way
 * @property {boolean} muted
 * @property {boolean} camera  whether its camera is on; its avatar rests without
 * @property {boolean} listening  whether it can be called by sound
 * @property {number} level  loudness of its voice now, 0 to 1
 * @property {MediaStream|HTMLCanvasElement|null} picture  its avatar; null until there is one, or where none is shown
 * @property {MediaStream|null} sound
 */

/**
 * Something for the user. One with a `key` replaces the one with the same key; an empty text ends it.
 * @typedef {object} Problem
 * @property {string} text
 * @property {"info"|"warning"|"error"} level
 * @property {string} [key]
 */

/** Why a call cannot go on, or cannot begin. */
export class CallError extends Error {
  /**
   * @param {"refused"|"full"|"unreachable"|"unsupported"|"incomplete"} kind  refused: the link is not (or no longer)
   *   good; full: no place is free; unreachable: nobody answers; unsupported: not with this browser; incomplete: the
   *   server lacks something
   * @param {string} text  for the user
   */
  constructor(kind, text) {
    super(text);
    this.kind = kind;
  }
}

/**
 * A call, of which the page makes one. Nothing happens before `join`, but for `look`.
 *
 * Events, none of which bubbles:
 * - "change": something of `you`, `state`, `room`, `link`, `hub`, `avatarName` or `ending` is new
 * - "participants": somebody came, went, or changed; not for levels, which are to be read when they are drawn
 * - "figures": `figures` is new, about once a second
 * - "problem": detail is a Problem
 */
export class Call extends EventTarget {
  /** @type {{id: string, name: string}}  id is empty while we are not in the room */
  you = { id: "", name: "" };
  /**
   * outside: not joined yet. joining. joined. lost: the program, or the hub before we were in, does not answer; trying
   * again. left: by `leave`. superseded: another tab has the call. ended: see `ending`.
   * @type {"outside"|"joining"|"joined"|"lost"|"left"|"superseded"|"ended"}
   */
  state = "outside";
  /** @type {CallError|null}  why the call has ended */
  ending = null;
  /** Name of the room; empty if not known. */
  room = "";
  /** The link that invites others; empty if not known. */
  link = "";
  /** Whether the hub can be reached; the call goes on without, but nobody new can come. */
  hub = true;
  /** What the status line says in the state `lost`. */
  lostWords = "Program stopped";
  /** Whether the headset's page of the same program has the sound; the camera stays here. `take` brings it back. */
  elsewhere = false;
  /** Where the way into a headset is shown; empty if the program has none. */
  headset = "";
  /** Whether this page shows pictures at all. */
  shows = true;
  /** Whether this page's camera is of use; false if the program has one of its own. */
  takesCamera = true;
  /** Whether `avatar` can be called. */
  takesAvatar = false;
  /** Name of the file of our avatar; empty: the sample, or not known here. */
  avatarName = "";
  /** @type {Map<string, Participant>}  in order of their places */
  participants = new Map();
  /**
   * For the overlay, as of GET /api/stats (docs/edge.md); whatever is unknown is missing or null. `drawn_by` says in
   * a few words what draws.
   * @type {Record<string, any>}
   */
  figures = {};

  /**
   * Who is there, without entering. Never throws.
   * @returns {Promise<{room: string, names: string[]} | null>}  null: not known
   */
  async look() { return null; }

  /**
   * Enter the room. Resolves when we are in; until then, and when the link is lost later, attempts go on.
   * @param {{name: string, camera: MediaStreamTrack|null, microphone: MediaStreamTrack|null, muted: boolean}} own
   * @throws {CallError}
   */
  async join(own) { throw new Error(`not implemented: join ${own.name}`); } // eslint-disable-line class-methods-use-this

  /** Leave the room; `join` comes back. */
  leave() {}

  /** Send this camera from now on; null: none, the avatar rests. @param {MediaStreamTrack|null} track */
  setCamera(track) {}

  /** @param {MediaStreamTrack|null} track  null: none */
  setMicrophone(track) {}

  /** @param {boolean} muted */
  setMuted(muted) {}

  /** @param {string} name */
  setName(name) {}

  /**
   * What of the call can be seen, so that effort goes where it is looked at.
   * @param {{speaker: string|null, tiles: Record<string, number>, hidden: string[]}} view  speaker: who is shown large;
   *   tiles: id to longer side in device pixels; hidden: whose pictures cannot be seen
   */
  setView(view) {}

  /** Be shown as the avatar in this file. @param {File} file @throws {CallError} it cannot be used */
  async avatar(file) { throw new CallError("unsupported", `An avatar cannot be chosen here: ${file.name}`); }

  /** Where an avatar of one's own is made, if that is in this page: see web/enrol/session.js; null: it is not. */
  async enrolment() { return null; }

  /**
   * Follow the element that shows a participant's picture, so that lips and sound are in step.
   * @param {string} id @param {HTMLVideoElement} video
   * @returns {() => void}  ends it
   */
  watch(id, video) { return () => {}; }

  /** After `superseded`: have the call in this tab again. */
  take() {}

  /** Tell of an event. @protected */
  emit(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  /** @protected @param {Problem} problem */
  tell(text, level = "info", key = undefined) { this.emit("problem", { text, level, key }); }
}
