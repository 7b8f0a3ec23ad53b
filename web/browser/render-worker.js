// Draws avatars: an engine's two graphs in ONNX Runtime Web, in a worker of their own. engine.js talks to it.
//
// to here    {id, type: "load", way, threads, vendor, graphs: {encode, render}, references, size}
//            {id, type: "prepare", avatar: number, data, whole}      {type: "free", avatar}
//            {id, type: "render", avatar, keypoints}
// from here  {id, ...answer} or {id, error}

import { loadBasis } from "../face/basis.js";
import { readAvatar } from "../face/avatar-file.js";
import { fitPose, toSquare } from "../face/motion.js";
import { channelsOf, cleanMatte, decodeJpeg, resized } from "../face/pictures.js";

const BUNDLES = { wasm: "ort.wasm.min.mjs", webgpu: "ort.webgpu.min.mjs" };

let ort = null;
let engine = null; // {encode, render, references, size}
let bound = null; // whose tensors are in `feeds`
let feeds = {};
const avatars = new Map(); // number -> {features: {name: {data, dims}}, used, background}

const doings = {
  async load({ way, threads, vendor, graphs, references, size }) {
    [ort] = await Promise.all([import(vendor + BUNDLES[way]), loadBasis()]);
    ort.env.wasm.wasmPaths = vendor;
    ort.env.wasm.numThreads = threads;
    ort.env.logLevel = "error";
    // Threads that wait sleep: those that spin take the processor from what finds faces, and from sound.
    const options = { executionProviders: [way], extra: { session: { intra_op: { allow_spinning: "0" } } } };
    const encode = await ort.InferenceSession.create(graphs.encode, options);
    const render = await ort.InferenceSession.create(graphs.render, options);
    engine = { encode, render, references, size };
    feeds = Object.fromEntries(render.inputMetadata.map(({ name, type, shape }) => [name, empty(type, shape)]));
    return {};
  },

  async prepare({ avatar, data, whole }) {
    const file = await readAvatar(data, whole);
    if (!file) return { more: true };
    const used = file.references.slice(0, engine.references);
    const prepared = { used: used.length, features: {}, background: await plate(file.background) };
    for (const [slot, reference] of used.entries()) {
      await encode(prepared, reference, slot);
      await pause(); // whoever waits for a picture of somebody else
    }
    avatars.set(avatar, prepared);
    const [first] = file.references;
    const rest = fitPose(toSquare(first.landmarks, first.side, first.side), file.neutral);
    return { name: file.name, neutral: file.neutral, rest, personal: file.personal };
  },

  async render({ avatar, keypoints }) {
    bind(avatar);
    feeds.keypoints.data.set(keypoints);
    const began = performance.now();
    const { picture } = await run(engine.render, feeds);
    const rgba = Uint8ClampedArray.from(picture.data);
    for (let i = 3; i < rgba.length; i += 4) rgba[i] = 255; // A is the matte; RGB is composed over the background already
    return { rgba, tookMs: performance.now() - began };
  },

  async free({ avatar }) {
    avatars.delete(avatar);
    return {};
  },
};

async function encode(prepared, { picture, matte, side, landmarks }, slot) {
  const { size } = engine;
  const points = toSquare(landmarks, side, side);
  const [rgb, grey] = [channelsOf(await decodeJpeg(picture, side), 3), cleanMatte(channelsOf(await decodeJpeg(matte, side), 1))];
  const found = await run(engine.encode, {
    picture: new ort.Tensor("uint8", resized(rgb, side, size, 3), [1, size, size, 3]),
    matte: new ort.Tensor("uint8", resized(grey, side, size, 1), [1, size, size, 1]),
    keypoints: new ort.Tensor("float32", points, [1, points.length / 3, 3]),
  });
  for (const [name, tensor] of Object.entries({ ...found, reference_keypoints: { data: points } })) {
    if (!(name in feeds)) continue;
    const whole = prepared.features[name] ??= new tensor.data.constructor(tensor.data.length * prepared.used);
    whole.set(tensor.data, slot * tensor.data.length);
  }
}

/** One graph at a time: with WebGPU a second run would fail. */
let running = Promise.resolve();
function run(session, inputs) {
  const act = () => session.run(inputs);
  running = running.then(act, act);
  return running;
}

async function plate({ picture, side }) {
  return resized(channelsOf(await decodeJpeg(picture, side), 3), side, engine.size, 3);
}

/** Put an avatar's tensors where the next picture takes them from; free slots are filled with the first reference. */
function bind(number) {
  if (bound === number) return;
  const prepared = avatars.get(number);
  if (!prepared) throw new Error("this avatar is not prepared");
  bound = null;
  for (const [name, values] of Object.entries(prepared.features)) {
    const target = feeds[name].data;
    const one = values.length / prepared.used;
    target.set(values);
    for (let at = values.length; at < target.length; at += one) target.set(values.subarray(0, one), at);
  }
  feeds.background.data.set(prepared.background);
  bound = number;
}

function empty(type, shape) {
  const size = shape.reduce((a, b) => a * b, 1);
  return new ort.Tensor(type, type === "uint8" ? new Uint8Array(size) : new Float32Array(size), shape);
}

/** A number is bound and drawn in one go: pictures do not overlap, so that no tensor changes under one. */
let turn = Promise.resolve();

self.onmessage = ({ data: { id, type, ...message } }) => {
  const act = () => doings[type](message);
  const done = type === "render" || type === "load" ? (turn = turn.then(act, act)) : act();
  done.then(
    (answer) => self.postMessage({ id, ...answer }, answer.rgba ? [answer.rgba.buffer] : []),
    (error) => self.postMessage({ id, error: String(error?.message ?? error) }),
  );
};

// A macrotask, so that messages are handled in between.
const channel = new MessageChannel();
const waiting = [];
channel.port1.onmessage = () => waiting.shift()?.();
function pause() {
  return new Promise((resolve) => {
    waiting.push(resolve);
    channel.port2.postMessage(null);
  });
}
