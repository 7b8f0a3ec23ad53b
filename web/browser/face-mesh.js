// MediaPipe's Face Mesh with refined lips and irises, as in telepresence/face/landmarks.py: a picture in, landmarks out. Its
// files are scripts for a page; `shims` lets them run in a worker as well, where they hold nothing else up.
//
// Whoever wants the landmarks of a picture, not of a camera, calls landmarksOf in landmarks.js.

const SOFTWARE = /swiftshader|llvmpipe|software|basic render/i; // WebGL renderers that are a processor

/** What the graph is asked for: landmarks alone. By default it hands every picture out as well, drawn anew each time. */
const LISTENERS = [{
  wants: ["multi_face_landmarks"],
  outs: { faces: { type: "proto_list", stream: "multi_face_landmarks", transform: (faces) => faces.map(points) } },
}];

/** One graph. One picture at a time. */
export class FaceMesh {
  #mesh = null;
  #found = [];

  /** Whether faces are found by the processor, since WebGL is none of a graphics card. */
  slow = false;

  /**
   * @param {{vendor: string, run: (url: string) => unknown, faces?: number}} options  vendor: address of the package's
   *   folder; run: loads a script; faces: how many are looked for
   * @throws {Error} this browser cannot
   */
  async load({ vendor, run, faces = 1 }) {
    this.slow = drawnInSoftware();
    if (!globalThis.FaceMesh) await run(`${vendor}face_mesh.js`);
    const mesh = new globalThis.FaceMesh({ locateFile: (file) => vendor + file, listeners: LISTENERS });
    mesh.setOptions({
      maxNumFaces: faces,
      refineLandmarks: true,
      minDetectionConfidence: 0.5,
      minTrackingConfidence: 0.5,
      useCpuInference: this.slow,
    });
    mesh.onResults(({ faces: found }) => { this.#found = found ?? []; });
    await mesh.initialize();
    this.#mesh = mesh;
    const nobody = new OffscreenCanvas(64, 64);
    nobody.getContext("2d").fillRect(0, 0, 64, 64);
    await mesh.send({ image: nobody }); // models are loaded and shaders made at the first picture: it takes seconds
  }

  /**
   * @param {ImageBitmap|HTMLVideoElement|OffscreenCanvas} picture @param {{width: number, height: number}} size  in whose pixels
   * @param {boolean} [still]  whether it has nothing to do with the picture before
   * @returns {Promise<Float32Array[]>}  of each face (478, 3) isotropic pixels
   */
  async see(picture, { width, height }, still = false) {
    if (still) this.#mesh.reset();
    this.#found = [];
    await this.#mesh.send({ image: picture });
    const scale = [width, height, width];
    return this.#found.map((face) => face.map((value, i) => value * scale[i % 3]));
  }

  close() {
    this.#mesh?.close();
    this.#mesh = null;
  }
}

/** Whether WebGL is emulated here. @throws {Error} there is none */
export function drawnInSoftware() {
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  if (!gl) throw new Error("this browser has no WebGL, which faces are found with");
  const about = gl.getExtension("WEBGL_debug_renderer_info");
  const renderer = gl.getParameter(about ? about.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return SOFTWARE.test(String(renderer));
}

/** NormalizedLandmarkList, a protobuf message: repeated (1) of x (1), y (2), z (3), each a float. @param {Uint8Array} bytes */
export function points(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + 2 + bytes[at + 1];
    if (bytes[at] !== 0x0a || bytes[at + 1] > 127 || !(end <= bytes.length)) throw new Error("landmarks that are written in another way than known");
    const point = [0, 0, 0];
    for (at += 2; at < end; at += 5) {
      const [field, type] = [bytes[at] >> 3, bytes[at] & 7];
      if (type !== 5 || at + 5 > end) throw new Error("landmarks that are written in another way than known");
      if (field <= 3) point[field - 1] = view.getFloat32(at + 1, true);
    }
    found.push(...point);
  }
  return Float32Array.from(found);
}

/** What MediaPipe's scripts need of a page, in a classic worker. Without it they look for a graphics context that nobody made. */
export function shims(importScripts) {
  const element = (kind) => (kind === "canvas" ? canvas() : new Script(importScripts));
  globalThis.window = globalThis;
  globalThis.document = {
    createElement: element,
    addEventListener() {},
    body: { appendChild: (script) => script.load() },
  };
  globalThis.alert = (text) => { throw new Error(text); };
}

function canvas() {
  const made = new OffscreenCanvas(1, 1);
  made.style = {};
  return made;
}

class Script extends EventTarget {
  constructor(run) {
    super();
    this.run = run;
  }

  setAttribute(name, value) { if (name === "src") this.src = value; }

  load() {
    this.run(this.src);
    queueMicrotask(() => this.dispatchEvent(new Event("load")));
  }
}
