// The WebSocket `/api/enrol` of the edge: what the page asks of enrolment, and what it is told. docs/enrolment.md.

const PAUSES_MS = [200, 500, 1000, 2000, 3000];
const REPLACED = 4409; // closing code: another tab

/**
 * One page's enrolment. Events carry the edge's messages as `detail`: "own", "guide", "seen", "news", "made", "kept",
 * "deleted", "tuning", "said", "line"; "picture" has a Blob, "link" whether the edge answers, "superseded" nothing.
 */
export class Session extends EventTarget {
  own = null;
  guide = { state: "look", steps: [], step: null, phase: "act" };
  tuning = null;
  linked = false;
  superseded = false;
  /** What is to be said otherwise than in words.js. @type {Record<string, string>} */
  words = {};
  /** Whether one can be shown again as what was made before: "wear". An edge wears the file that it was started with. */
  wears = false;
  /** Files that are taken as photos, as a file input has it. */
  photoTypes = "image/*,.heic,.heif,.avif";
  #socket = null;
  #attempts = 0;
  #timer = 0;

  /** @param {() => Promise<{url: string, token: string} | null>} find  asked before every attempt */
  constructor(find) {
    super();
    this.find = find;
  }

  /** Connect, and stay connected. */
  async connect() {
    clearTimeout(this.#timer);
    this.superseded = false;
    if (this.#socket) return;
    const opening = {};
    this.#socket = opening;
    const place = await this.find().catch(() => null);
    if (this.#socket !== opening) return;
    if (!place) return void this.#closed(0);
    const url = new URL(place.url, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    socket.binaryType = "blob";
    this.#socket = socket;
    this.place = place;
    socket.addEventListener("open", () => {
      socket.send(JSON.stringify({ type: "page", token: place.token }));
      this.#attempts = 0;
      this.#link(true);
    });
    socket.addEventListener("message", ({ data }) => this.#socket === socket && this.#on(data));
    socket.addEventListener("close", ({ code }) => this.#socket === socket && this.#closed(code));
  }

  /** Tell the edge. */
  send(type, fields = {}) {
    if (this.open) this.#socket.send(JSON.stringify({ type, ...fields }));
  }

  /** Send a camera's picture with its number. */
  async sendPicture(number, jpeg) {
    const head = new Uint8Array(4);
    new DataView(head.buffer).setUint32(0, number);
    if (this.open) this.#socket.send(new Blob([head, jpeg]));
  }

  get open() { return this.#socket instanceof WebSocket && this.#socket.readyState === WebSocket.OPEN; }

  /** Send a photo; its name there. @throws {Error} why it is refused */
  async upload(file) {
    const url = new URL(`${this.place.url}/photo?name=${encodeURIComponent(file.name)}`, location.href);
    const response = await fetch(url, { method: "POST", body: file, headers: this.#headers() })
      .catch(() => { throw new Error("was not taken; is it still where it was?"); });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.error ?? `refused (${response.status})`);
    return answer.name;
  }

  /** What others are shown one as: a Blob, or null. */
  async picture() {
    try {
      const response = await fetch(new URL(`${this.place.url}/picture`, location.href), { headers: this.#headers(), cache: "no-store" });
      return response.ok ? await response.blob() : null;
    } catch {
      return null;
    }
  }

  #headers() { return { Authorization: `Bearer ${this.place.token}`, "Content-Type": "application/octet-stream" }; }

  #on(data) {
    if (data instanceof Blob) return this.#tell("picture", data);
    const message = JSON.parse(data);
    if (message.type === "own") this.own = message;
    if (message.type === "guide") this.guide = message;
    if (message.type === "tuning") this.tuning = message.state === "running" ? message : null;
    if (message.type === "superseded") this.superseded = true;
    return this.#tell(message.type, message);
  }

  #closed(code) {
    this.#socket = null;
    this.#link(false);
    if (code === REPLACED || this.superseded) return; // to come back would take it from the other tab
    const pause = PAUSES_MS[Math.min(this.#attempts, PAUSES_MS.length - 1)];
    this.#attempts += 1;
    this.#timer = setTimeout(() => this.connect(), pause);
  }

  #link(linked) {
    this.linked = linked;
    if (linked) this.guide = { state: "look", steps: [], step: null, phase: "act" }; // the edge tells if it is otherwise
    this.#tell("link", linked);
  }

  #tell(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }
}
