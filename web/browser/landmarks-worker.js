// Face landmarks in a worker. A classic worker, since MediaPipe's files are scripts and no modules. landmarks.js talks to it.
//
// to here    {type: "load", vendor, faces}    {type: "see", picture: ImageBitmap, still: boolean}
// from here  {type: "ready", slow}  {type: "seen", faces: Float32Array[]}  {type: "failed", reason}

/* global importScripts */

let mesh = null;

self.onmessage = async ({ data }) => {
  try {
    if (data.type === "load") await load(data);
    else await see(data);
  } catch (error) {
    self.postMessage({ type: "failed", reason: String(error?.message ?? error) });
  }
};

async function load({ vendor, faces }) {
  const { FaceMesh, shims } = await import("./face-mesh.js");
  const run = (url) => importScripts(url);
  shims(run);
  mesh = new FaceMesh();
  await mesh.load({ vendor, run, faces });
  self.postMessage({ type: "ready", slow: mesh.slow });
}

async function see({ picture, still }) {
  const faces = await mesh.see(picture, picture, still);
  picture.close();
  self.postMessage({ type: "seen", faces }, faces.map((face) => face.buffer));
}
