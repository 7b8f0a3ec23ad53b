// Face landmarks in a worker: MediaPipe's Face Mesh with refined lips and irises, as in telepresence/face/landmarks.py.
// A classic worker, since MediaPipe's files are scripts and no modules. landmarks.js talks to it.
//
// to here    {type: "load", vendor}           {type: "see", picture: ImageBitmap}
// from here  {type: "ready"}  {type: "seen", points: Float32Array|null}  {type: "failed", reason}

/* global importScripts, FaceMesh */

let mesh = null;
let canvas = null;
let found = null;

self.onmessage = async ({ data }) => {
  try {
    if (data.type === "load") await load(data.vendor);
    else await see(data.picture);
  } catch (error) {
    self.postMessage({ type: "failed", reason: String(error?.message ?? error) });
  }
};

async function load(vendor) {
  importScripts(`${vendor}face_mesh.js`);
  mesh = new FaceMesh({ locateFile: (file) => vendor + file });
  mesh.setOptions({ maxNumFaces: 1, refineLandmarks: true, minDetectionConfidence: 0.5, minTrackingConfidence: 0.5 });
  mesh.onResults(({ multiFaceLandmarks }) => { found = multiFaceLandmarks?.[0] ?? null; });
  await mesh.initialize();
  self.postMessage({ type: "ready" });
}

async function see(picture) {
  const { width, height } = picture;
  canvas ??= new OffscreenCanvas(width, height);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext("2d").drawImage(picture, 0, 0);
  picture.close();
  found = null;
  await mesh.send({ image: canvas });
  const points = found && new Float32Array(3 * found.length);
  found?.forEach(({ x, y, z }, i) => points.set([x * width, y * height, z * width], 3 * i));
  self.postMessage({ type: "seen", points }, points ? [points.buffer] : []);
}
