// How much of each pixel is a person, as a network says: MediaPipe's selfie segmentation in a worker. A classic worker, since
// MediaPipe's files are scripts, and one of its own: they leave names behind that those of Face Mesh have, too. segmenter.js
// talks to it.
//
// to here    {type: "load", vendor}    {type: "see", picture: ImageBitmap}
// from here  {type: "ready"}  {type: "seen", mask: Uint8Array, width, height}  {type: "failed", reason}

/* global importScripts */

const GENERAL = 0; // 256 x 256; the other model, for landscapes, loses hair in portraits: telepresence/face/matte.py

let network = null;
let found = null;

self.onmessage = async ({ data }) => {
  try {
    if (data.type === "load") await load(data);
    else await see(data);
  } catch (error) {
    self.postMessage({ type: "failed", reason: String(error?.message ?? error) });
  }
};

async function load({ vendor }) {
  const { shims, drawnInSoftware } = await import("../face-mesh.js");
  shims((url) => importScripts(url));
  const slow = drawnInSoftware();
  importScripts(`${vendor}selfie_segmentation.js`);
  const made = new globalThis.SelfieSegmentation({ locateFile: (file) => vendor + file });
  made.setOptions({ modelSelection: GENERAL, selfieMode: false, useCpuInference: slow });
  made.onResults(({ segmentationMask }) => { found = segmentationMask; });
  await made.initialize();
  network = made;
  const nobody = new OffscreenCanvas(64, 64);
  nobody.getContext("2d").fillRect(0, 0, 64, 64);
  await made.send({ image: nobody }); // the model is loaded at the first picture
  self.postMessage({ type: "ready" });
}

async function see({ picture }) {
  const { width, height } = picture;
  found = null;
  await network.send({ image: picture });
  picture.close();
  if (!found) throw new Error("no mask came");
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(found, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const mask = new Uint8Array(width * height);
  for (let i = 0, at = 3; i < mask.length; i++, at += 4) mask[i] = data[at];
  self.postMessage({ type: "seen", mask, width, height }, [mask.buffer]);
}
