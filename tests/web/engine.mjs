// Draws an engine's golden pictures with ONNX Runtime Web's WebAssembly, in Node: node engine.mjs FOLDER, for test_engine_js.py.
// The folder has job.json, the graphs' paths and raw arrays; pictures.bin goes there.

import { readFileSync, writeFileSync } from "node:fs";

const folder = process.argv[2];
const job = JSON.parse(readFileSync(`${folder}/job.json`));
const ort = await import(job.runtime);
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
const options = { executionProviders: ["wasm"] };
const encode = await ort.InferenceSession.create(new Uint8Array(readFileSync(job.encode)), options);
const render = await ort.InferenceSession.create(new Uint8Array(readFileSync(job.render)), options);
const bytes = (name) => new Uint8Array(readFileSync(`${folder}/${name}.bin`));
const floats = (name) => new Float32Array(bytes(name).buffer);
const part = (array, n, many) => array.slice((n * array.length) / many, ((n + 1) * array.length) / many);

const { size, references } = job;
const feeds = Object.fromEntries(render.inputMetadata.map(({ name, type, shape }) => {
  const count = shape.reduce((a, b) => a * b, 1);
  return [name, new ort.Tensor(type, type === "uint8" ? new Uint8Array(count) : new Float32Array(count), shape)];
}));
const [pictures, mattes, points] = [bytes("picture"), bytes("matte"), floats("reference_keypoints")];
for (let n = 0; n < references; n++) {
  const found = await encode.run({
    picture: new ort.Tensor("uint8", part(pictures, n, references), [1, size, size, 3]),
    matte: new ort.Tensor("uint8", part(mattes, n, references), [1, size, size, 1]),
    keypoints: new ort.Tensor("float32", part(points, n, references), [1, 478, 3]),
  });
  for (const [name, { data }] of Object.entries({ ...found, reference_keypoints: { data: part(points, n, references) } })) {
    if (!(name in feeds)) continue;
    const target = feeds[name].data;
    // The first fills every slot; the next take theirs.
    for (let at = n * data.length; at < (n ? (n + 1) * data.length : target.length); at += data.length) target.set(data, at);
  }
}
feeds.background.data.set(bytes("background"));
const drawn = [];
const times = [];
for (let n = 0; n < job.pictures; n++) {
  feeds.keypoints.data.set(part(floats("keypoints"), n, job.pictures));
  const began = performance.now();
  drawn.push(Buffer.from((await render.run(feeds)).picture.data));
  times.push(performance.now() - began);
}
writeFileSync(`${folder}/pictures.bin`, Buffer.concat(drawn));
console.log(JSON.stringify({ render_ms: times }));
process.exit(0);
