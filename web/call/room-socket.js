// The WebSocket of an edge to its own page, kept alive: when it or the edge goes, a new one is made.

const PAUSES_MS = [50, 200, 500, 700]; // an edge is on this machine: attempts cost little, so its return is soon noticed
const GONE_MS = 1200; // without the program, before that is said

/**
 * @typedef {object} RoomSocketOptions
 * @property {() => Promise<{url: string, token: string}>} find  asked before every attempt: a restarted edge has another token
 * @property {() => void} onOpen  this page is in, and can say what it wants to be known
 * @property {(message: object) => void} onMessage
 * @property {(code: number) => boolean} onClosed  whether another one is wanted
 * @property {() => void} onGone  there has been none for a while
 */
export class RoomSocket {
  /** @param {RoomSocketOptions} options */
  constructor(options) {
    this.options = options;
    this.socket = null;
    this.attempts = 0;
    this.trying = false;
    this.again = 0;
    this.gone = 0;
  }

  get open() { return this.socket?.readyState === WebSocket.OPEN; }

  /** Connect now, unless that stands or is on its way. */
  connect() {
    if (this.socket || this.trying) return;
    this.#attempt();
  }

  /** End it; `connect` begins anew. */
  close() {
    clearTimeout(this.again);
    this.#answered();
    const { socket } = this;
    this.socket = null;
    socket?.close();
  }

  send(message) {
    if (this.open) this.socket.send(JSON.stringify(message));
  }

  async #attempt() {
    clearTimeout(this.again);
    this.trying = true;
    try {
      const { url, token } = await this.options.find();
      this.#connect(url, token);
    } catch {
      this.#retry();
    } finally {
      this.trying = false;
    }
  }

  #connect(path, token) {
    const url = new URL(path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    this.socket = socket;
    socket.addEventListener("open", () => {
      socket.send(JSON.stringify({ type: "page", token }));
      this.options.onOpen();
    });
    socket.addEventListener("message", ({ data }) => this.socket === socket && this.#on(JSON.parse(data)));
    socket.addEventListener("close", ({ code }) => this.socket === socket && this.#closed(code));
  }

  #on(message) {
    this.#answered();
    this.options.onMessage(message);
  }

  #answered() {
    clearTimeout(this.gone);
    this.gone = 0;
    this.attempts = 0;
  }

  #closed(code) {
    this.socket = null;
    if (this.options.onClosed(code)) this.#retry();
  }

  #retry() {
    const pause = PAUSES_MS[Math.min(this.attempts, PAUSES_MS.length - 1)];
    this.attempts += 1;
    this.again = setTimeout(() => this.connect(), pause);
    this.gone ||= setTimeout(() => this.options.onGone(), GONE_MS);
  }
}
