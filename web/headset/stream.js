// The headset stream (docs/headset.md): frames in, frames out, a connection that comes back by itself.

export const VERSION = 1;
const HELLO = 1, WELCOME = 2, ROOM = 3, ERROR = 4, PICTURE = 5, POSE = 7, SEATS = 8, RELIEF = 9;
const HEAD = 5; // bytes of a frame's length and type
const PICTURE_HEAD = 44; // bytes before the JPEG
const STEP_M = 0.002, ZERO_STEP = 128; // of a relief
const PAUSES_MS = [200, 400, 800, 1600, 3000];
const FINAL = new Set([4401, 4406, 4409]); // trying again would change nothing
const MOST_WAITING_BYTES = 4096; // of poses that the network has not taken: newer ones are not added

const text = new TextDecoder();
const bytes = new TextEncoder();

/** One frame with a JSON body. */
function jsonFrame(kind, fields) {
  const body = bytes.encode(JSON.stringify(fields));
  const frame = new Uint8Array(HEAD + body.length);
  new DataView(frame.buffer).setUint32(0, body.length + 1);
  frame[4] = kind;
  frame.set(body, HEAD);
  return frame;
}

/** The fields of a PICTURE frame's body. */
export function readPicture(body) {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const angle = (n) => view.getFloat32(28 + 4 * n);
  return {
    place: view.getUint8(0),
    captureUs: view.getUint8(1) & 1 ? Number(view.getBigInt64(4)) : null,
    side: view.getUint16(2),
    renderedUs: Number(view.getBigUint64(12)),
    poseUs: Number(view.getBigUint64(20)),
    drawn: [angle(0), angle(1)],
    beyond: [angle(2), angle(3)],
    jpeg: body.subarray(PICTURE_HEAD),
  };
}

/** How near a picture is, metres from its plane, by rows from above: side * side numbers. Null if it is none. */
export function readRelief(body) {
  const side = body[1];
  if (body.length !== 2 + side * side || side < 2) return null;
  return { place: body[0], side, near: Float32Array.from(body.subarray(2), (step) => (step - ZERO_STEP) * STEP_M) };
}

/**
 * Events: "welcome" (detail: its fields), "room" (detail: the participants), "picture" (detail: readPicture
 * and, if there is one, its `relief`), "state"
 * (detail: {text, live}).
 */
export class Stream extends EventTarget {
  #socket = null;
  #token;
  #attempt = 0;
  #closed = false;
  #said = "";

  constructor(url, token) {
    super();
    this.url = url;
    this.#token = token;
    this.#open();
  }

  close() {
    this.#closed = true;
    this.#socket?.close();
  }

  /** Where the head is: position and quaternion as arrays, metres, and the eyes' distance; `atUs` comes back. */
  pose(position, quaternion, ipd, atUs) {
    if (this.#socket?.readyState !== WebSocket.OPEN || this.#socket.bufferedAmount > MOST_WAITING_BYTES) return;
    const view = new DataView(new ArrayBuffer(HEAD + 40));
    view.setUint32(0, 41);
    view.setUint8(4, POSE);
    view.setBigUint64(HEAD, BigInt(atUs));
    [...position, ...quaternion, ipd].forEach((value, n) => view.setFloat32(HEAD + 8 + 4 * n, value));
    this.#socket.send(view.buffer);
  }

  /** Everybody sits higher by so many metres than the computer puts them. */
  raise(metres) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(jsonFrame(SEATS, { raised: metres }));
  }

  #open() {
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    this.#said = "";
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(jsonFrame(HELLO, { version: VERSION, token: this.#token, mode: "pictures" }));
    socket.onmessage = (event) => this.#read(new Uint8Array(event.data));
    socket.onclose = (event) => this.#lost(event.code);
  }

  #lost(code) {
    if (this.#closed) return;
    if (FINAL.has(code)) {
      this.#tell(this.#said || "Your computer refuses the connection; scan the code anew", false);
      return;
    }
    this.#tell("The connection to your computer is lost; trying again", false);
    const pause = PAUSES_MS[Math.min(this.#attempt++, PAUSES_MS.length - 1)];
    setTimeout(() => this.#closed || this.#open(), pause);
  }

  #tell(words, live) {
    this.dispatchEvent(new CustomEvent("state", { detail: { text: words, live } }));
  }

  #read(data) {
    const view = new DataView(data.buffer);
    let picture = null; // what comes after it in the same message may be its relief
    for (let at = 0; at + HEAD <= data.length; ) {
      const end = at + 4 + view.getUint32(at);
      const kind = data[at + 4], body = data.subarray(at + HEAD, end);
      if (kind === PICTURE) {
        this.#picture(picture);
        picture = readPicture(body);
      } else if (kind === RELIEF) {
        const relief = readRelief(body);
        if (relief !== null && relief.place === picture?.place) picture.relief = relief;
      } else this.#frame(kind, body);
      at = end;
    }
    this.#picture(picture);
  }

  #picture(picture) {
    if (picture !== null) this.dispatchEvent(new CustomEvent("picture", { detail: picture }));
  }

  #frame(kind, body) {
    if (kind === ROOM) this.dispatchEvent(new CustomEvent("room", { detail: JSON.parse(text.decode(body)).participants }));
    if (kind === WELCOME) {
      this.#attempt = 0;
      this.dispatchEvent(new CustomEvent("welcome", { detail: JSON.parse(text.decode(body)) }));
      this.#tell("Connected", true);
    }
    if (kind === ERROR) this.#said = JSON.parse(text.decode(body)).message;
  }
}
