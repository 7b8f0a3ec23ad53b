// Everything of enrolment that looks at pixels, in a worker: the camera's pictures are judged and kept here, avatars are made
// here. Pictures are in memory alone, and go when the worker ends. maker.js talks to it; one thing is done after the other.
//
// to here    {id, type, ...}: see maker.js; a mask that was asked for comes as {type: "mask", mask} or {type: "mask", error}
// from here  {id, ...answer}, {id, error, ours: whether its text is for people}, {type: "masked", picture} asks for a mask

import { loadBasis } from "../../face/basis.js";
import { writeAvatar } from "./file.js";
import { Gathered } from "./gathered.js";
import { hint } from "./hints.js";
import { brightMouth, sharpness } from "./looks.js";
import { Album } from "./album.js";
import { pictureOf } from "./pixels.js";
import { EnrolmentError } from "./problems.js";

const gathered = new Gathered();
const album = new Album();
let seen = null; // the newest picture of the camera
let canvas = null;

const doings = {
  /** A picture of the camera and the faces in it, one's own first -> what is wrong with it. */
  see({ bitmap, jpeg, faces }) {
    const picture = pixelsOf(bitmap);
    seen = { picture, jpeg, face: faces[0] ?? null };
    return { hint: hint(picture, faces) };
  },

  /** Keep the picture that was seen last. */
  keep({ step, progress, atUs }) {
    const { picture, jpeg, face } = seen ?? {};
    if (face && gathered.wants(atUs)) {
      const [sharp, bright] = [sharpness(picture, face), brightMouth(picture, face)];
      gathered.keep({ jpeg, atUs, step, width: picture.width, height: picture.height, landmarks: face, sharp, bright, progress });
    }
    return { counts: gathered.counts() };
  },

  drop({ step }) {
    gathered.drop(step);
    return { counts: gathered.counts() };
  },

  clear() {
    gathered.clear();
    album.clear();
    seen = null;
    return { counts: {} };
  },

  /** An avatar of what was kept. */
  async make({ name }) {
    const began = performance.now();
    const { made, lacking } = await gathered.make(name, decoded, masked);
    const between = performance.now();
    const data = await writeAvatar(made);
    console.info(`avatar: ${(between - began).toFixed()} ms for its pictures, ${(performance.now() - between).toFixed()} ms for its file`);
    return { data, references: made.references.length, lacking };
  },

  /** A photo, upright, and the face that it is of -> what is to be said of it. */
  photo({ bitmap, face, name }) {
    return { said: album.add(pixelsOf(bitmap), face, name) };
  },

  /** An avatar of the photos. */
  async photos({ name }) {
    const { made, lacking, said } = await album.make(name, masked);
    return { data: await writeAvatar(made), references: made.references.length, lacking, said };
  },
};

/** RGBA of a bitmap, which is closed. */
function pixelsOf(bitmap) {
  const { width, height } = bitmap;
  if (canvas?.width !== width || canvas?.height !== height) canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { alpha: false, colorSpace: "srgb", willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return pictureOf(context.getImageData(0, 0, width, height, { colorSpace: "srgb" }).data, width, height, 4);
}

async function decoded(jpeg) {
  return pixelsOf(await createImageBitmap(jpeg, { colorSpaceConversion: "none" }));
}

const waiting = []; // for masks, which come in the order in which they were asked for

/** A mask of the network that the page holds. */
function masked(picture) {
  return new Promise((resolve, reject) => {
    waiting.push({ resolve, reject });
    self.postMessage({ type: "masked", picture });
  });
}

let turn = loadBasis();

self.onmessage = ({ data }) => {
  if (data.type === "mask") {
    const first = waiting.shift();
    if (data.error) first?.reject(new Error(data.error));
    else first?.resolve(data.mask);
    return;
  }
  const { id, type, ...message } = data;
  turn = turn.then(() => doings[type](message)).then(
    (answer) => self.postMessage({ id, ...answer }),
    (error) => self.postMessage({ id, error: String(error?.message ?? error), ours: error instanceof EnrolmentError }),
  );
};
