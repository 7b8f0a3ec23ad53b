// Enrolment in a page by itself against vectors that enrolment_vectors.py makes of the Python: node --test.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { onePerson } from "../../web/browser/enrolment/album.js";
import { choose, missing } from "../../web/browser/enrolment/choose.js";
import { properName, renamed, writeAvatar } from "../../web/browser/enrolment/file.js";
import { colourfulness, flaw, touchesEdge, turnDegrees } from "../../web/browser/enrolment/flaws.js";
import { chooseSquare } from "../../web/browser/enrolment/framing.js";
import { Gathered, chosenOf } from "../../web/browser/enrolment/gathered.js";
import { Guide, lot, shuffled } from "../../web/browser/enrolment/guide.js";
import { hint } from "../../web/browser/enrolment/hints.js";
import { encode, encodeWithin } from "../../web/browser/enrolment/jpeg.js";
import { brightMouth, describe, sharpness } from "../../web/browser/enrolment/looks.js";
import { guided, matteOf, onlyPerson } from "../../web/browser/enrolment/matte.js";
import { moved } from "../../web/browser/enrolment/mirror.js";
import { neutralShape } from "../../web/browser/enrolment/neutral.js";
import { checkFile, photoSize, plainName } from "../../web/browser/enrolment/photo-files.js";
import { areaScaled, linearScaled, pictureOf } from "../../web/browser/enrolment/pixels.js";
import { backgroundPlate } from "../../web/browser/enrolment/plate.js";
import { EnrolmentError } from "../../web/browser/enrolment/problems.js";
import { DRAWN, measure } from "../../web/browser/enrolment/steps.js";
import * as topology from "../../web/browser/enrolment/topology.js";
import { checkedJpeg, readAvatar } from "../../web/face/avatar-file.js";
import { loadBasis } from "../../web/face/basis.js";
import { keypoints, toSquare } from "../../web/face/motion.js";
import { ownKey } from "../../web/owner/keys.js";
import { signAvatar, verifyAvatar } from "../../web/owner/signature.js";

const folder = process.env.VECTORS;
const vectors = JSON.parse(readFileSync(join(folder, "vectors.json")));
const KINDS = { uint8: Uint8Array, float32: Float32Array };
const basisFile = readFileSync(new URL("../../web/face/basis-1.data", import.meta.url));
await loadBasis(basisFile.buffer.slice(basisFile.byteOffset, basisFile.byteOffset + basisFile.byteLength));

function array({ file, type }) {
  const raw = readFileSync(join(folder, file));
  return new KINDS[type](raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength));
}

const picture = (about) => pictureOf(array(about), about.shape[1], about.shape[0], about.shape[2] ?? 1);
const split = (values, size = 3 * 478) => Array.from({ length: values.length / size }, (_, n) => values.slice(n * size, (n + 1) * size));
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const gap = (one, other) => mean(Array.from(one, (value, i) => Math.abs(value - other[i])));

function near(found, wanted, tolerance, what) {
  assert.ok(Math.abs(found - wanted) <= tolerance, `${what}: ${found}, not ${wanted}`);
}

const faces = split(array(vectors.measures.faces));
const WIDTH = 640, HEIGHT = 480;

test("sets of landmarks are the Python's", () => {
  for (const [name, list] of Object.entries(vectors.lists)) assert.deepEqual(topology[name], list, name);
  topology.faceBox(faces[0]).forEach((value, i) => near(value, vectors.choosing.box[i], 1e-3, "box"));
});

test("what a face does is measured alike", () => {
  vectors.measures.measures.forEach((wanted, n) => {
    const found = measure(faces[n], WIDTH, HEIGHT);
    for (const [name, value] of Object.entries(wanted)) near(found[name], value, name === "left" || name === "up" ? 0.02 : 2e-4, `${name} of ${n}`);
  });
});

test("the guide says the same of the same faces", () => {
  const kinds = new Set();
  for (const { order, shown, told, followed, anew } of vectors.guides) {
    const guide = new Guide(() => order);
    shown.forEach(([atUs, face, skipped], n) => {
      const news = skipped ? guide.skip() : guide.see(face, atUs);
      kinds.add(news);
      const step = news === "slow" ? told[n][1] : guide.step; // drawn by lot
      assert.deepEqual([news, step, guide.phase], told[n].slice(0, 3), `picture ${n}`);
      near(guide.progress, told[n][3], 1e-5, `progress at ${n}`);
    });
    assert.equal(guide.followed, followed);
    assert.equal(guide.anew, anew);
  }
  for (const news of ["followed", "wrong", "anew", "finished"]) assert.ok(kinds.has(news), `none of the vectors has ${news}`);
});

test("a step that is not followed in its time comes again as the last, and can be left out", () => {
  const guide = new Guide(() => [...DRAWN]);
  const rest = { left: 0, up: 0, mouth: 0.02, lids: 0.1, corners: 0.3 };
  let [atUs, slow] = [0, 0];
  while (!slow) {
    if (guide.see(rest, (atUs += 100_000)) === "slow") slow = atUs;
    assert.ok(atUs < 30e6);
  }
  assert.ok(slow > 15e6);
  assert.equal(guide.order.at(-1), "left");
  while (guide.step !== null) guide.skip();
  assert.equal(guide.followed, false);
});

test("a retaken step is next, and orders are drawn by lot", () => {
  const guide = new Guide(() => [...DRAWN]);
  guide.retake("blink");
  assert.equal(guide.step, "blink");
  const firsts = new Set(Array.from({ length: 200 }, () => shuffled(DRAWN)[0]));
  assert.equal(firsts.size, DRAWN.length);
  assert.deepEqual([...shuffled(DRAWN)].sort(), [...DRAWN].sort());
  for (let n = 0; n < 100; n++) assert.ok(lot(7) < 7);
});

test("the neutral shape, looks and choice are the Python's", () => {
  const { neutral, few, marks, looks, chosen, some, missing: lacking } = vectors.choosing;
  const shapes = faces.map((face) => toSquare(face, WIDTH, HEIGHT));
  const found = neutralShape(shapes);
  assert.ok(gap(found, array(neutral)) < 1e-4, `neutral shape: ${gap(found, array(neutral))}`);
  assert.ok(gap(neutralShape(shapes.slice(0, 5)), array(few)) < 2e-3);
  const seen = faces.map((face, n) => describe(face, array(neutral), WIDTH, HEIGHT, ...marks[n]));
  looks.forEach(({ features, ...numbers }, n) => {
    for (const [name, value] of Object.entries(numbers)) near(seen[n][name], value, 2e-3 * Math.max(1, Math.abs(value)), `${name} of ${n}`);
    assert.ok(gap(seen[n].features, features) < 2e-3);
  });
  assert.deepEqual(choose(seen, 8), chosen);
  assert.deepEqual(choose(seen.slice(0, 7), 4), some);
  assert.deepEqual(missing(some.map((i) => seen[i])), lacking);
  const kept = vectors.choosing.steps.map((step, n) => ({ step, progress: vectors.choosing.progress[n] }));
  assert.deepEqual(chosenOf(kept, seen), vectors.choosing.of_steps);
});

test("the same square becomes the avatar's picture", () => {
  const square = (all) => {
    const { left, top, side } = chooseSquare(WIDTH, HEIGHT, all, "x");
    return [left, top, side];
  };
  const changed = (scale, offset) => faces.map((face) => face.map((value, i) => value * scale + offset[i % 3]));
  assert.deepEqual(square(faces), vectors.choosing.square);
  assert.deepEqual(square(changed(Math.fround(0.4), [100, 100, 100])), vectors.choosing.small);
  assert.deepEqual(square(changed(1, [190, 0, 0])), vectors.choosing.aside);
  assert.throws(() => chooseSquare(WIDTH, HEIGHT, changed(0.05, [0, 0, 0]), "x"), EnrolmentError);
});

test("pictures are judged alike", () => {
  for (const wanted of vectors.pictures) {
    const [shown, landmarks] = [picture(wanted.picture), array(wanted.landmarks)];
    const { what } = wanted;
    near(sharpness(shown, landmarks), wanted.sharpness, 0.03 * wanted.sharpness + 0.5, `sharpness, ${what}`);
    near(brightMouth(shown, landmarks), wanted.bright, 0.05, `bright mouth, ${what}`);
    near(colourfulness(shown, landmarks), wanted.colour, 0.01, `colour, ${what}`);
    near(turnDegrees(shown, landmarks), wanted.turn, 0.05, `turn, ${what}`);
    assert.equal(flaw(shown, landmarks), wanted.flaw, what);
    assert.equal(touchesEdge(shown, landmarks), wanted.touches, what);
    assert.equal(hint(shown, [landmarks]), wanted.hint, what);
    assert.equal(hint(shown, [landmarks, landmarks.map((value) => value + 1)]), wanted.two, what);
  }
  assert.equal(hint(picture(vectors.pictures[0].picture), []), "nobody");
  assert.ok(new Set(vectors.pictures.map(({ flaw: reason }) => reason)).size >= 6, "the vectors show several flaws");
});

test("pictures are scaled as OpenCV scales them", () => {
  const { mattes } = vectors;
  const given = picture(mattes.picture);
  for (const [name, how] of [["smaller", areaScaled], ["half", areaScaled], ["larger", linearScaled], ["grown", areaScaled]]) {
    const [height, width] = mattes[name].shape;
    assert.ok(gap(how(given, width, height).data, array(mattes[name])) < 0.3, `${name}: ${gap(how(given, width, height).data, array(mattes[name]))}`);
  }
});

test("mattes and plates are the Python's", () => {
  const { mattes } = vectors;
  const [given, landmarks] = [picture(mattes.picture), array(mattes.landmarks)];
  const { width: side } = given;
  const network = array(mattes.network);
  const fine = guided(given, Float32Array.from(network, (value) => value / 255), Math.max(2, Math.round(side / 96)));
  assert.ok(gap(fine, array(mattes.fine)) < 1e-3, `guided: ${gap(fine, array(mattes.fine))}`);
  assert.ok(gap(matteOf(given, network), array(mattes.matte)) < 0.3);
  const mine = onlyPerson(array(mattes.littered), side, side, landmarks);
  assert.ok(gap(mine, array(mattes.mine)) < 0.3, `only the person: ${gap(mine, array(mattes.mine))}`);
  assert.equal(mine[10 * side + 10], 0, "whoever else is in it goes");
  const plate = backgroundPlate(mattes.pictures.map(picture), mattes.mattes.map(array));
  assert.ok(gap(plate.data, array(mattes.plate)) < 0.5, `plate: ${gap(plate.data, array(mattes.plate))}`);
  assert.ok(gap(backgroundPlate([given], [array(mattes.matte)]).data, array(mattes.photo)) < 3);
  assert.deepEqual(backgroundPlate([given], [new Uint8Array(side * side).fill(255)]).data, array(mattes.nothing));
});

test("of photos of several people those of one are left", () => {
  const { shapes, kept, said } = vectors.people;
  const told = [];
  const photos = split(array(shapes)).map((neutral, n) => ({ name: `${n}.jpg`, neutral, turn: 3 }));
  assert.deepEqual(onePerson(photos, told).map(({ name }) => name), kept);
  assert.deepEqual(told, said);
});

test("its files are read by the page's own reader, and by the Python", async () => {
  const { mattes } = vectors;
  const sample = await readAvatar(new Uint8Array(readFileSync(new URL("../../telepresence/avatar/samples/astronaut.avatar", import.meta.url))));
  const given = picture(mattes.picture);
  const reference = { picture: given, landmarks: array(mattes.landmarks), matte: array(mattes.matte) };
  const references = [reference, reference];
  const background = picture(mattes.photo);
  const blank = await writeAvatar({ name: "Me", references, neutral: sample.neutral, background });
  const data = await renamed(blank, "\u0000Ådä \u{1f600}\n");
  const found = await readAvatar(data);
  assert.equal(found.name, "Ådä \u{1f600}");
  assert.equal(found.free, false);
  assert.deepEqual(found.neutral, sample.neutral);
  assert.deepEqual(found.references.map(({ side }) => side), [given.width, given.width]);
  const signed = await signAvatar(data, await ownKey(), "live");
  assert.equal((await verifyAvatar(signed)).label, "avatar");
  // For the Python: the sample's own pictures, so that it can compare.
  const clean = array(mattes.mattes[1]);
  const again = await writeAvatar({ name: "x", references: [{ ...reference, matte: clean }, reference], neutral: sample.neutral, background });
  writeFileSync(join(folder, "made.avatar"), await renamed(again, "Ådä \u{1f600}"));
  writeFileSync(join(folder, "signed.avatar"), signed);
});

test("names are made fit for a file", () => {
  assert.equal(properName("  Ada\u200b \u0007 Lovelace\n"), "Ada  Lovelace");
  assert.equal(properName("\n"), "Me");
  assert.equal(properName("Ada \u{1fae8}"), "Ada", "which Python 3.11 does not know");
  assert.equal([...properName("\u{1f600}".repeat(300))].length, 100);
  assert.equal(plainName("../../etc/pass?wd.png"), ".._.._etc_pass_wd.png");
});

test("JPEG as avatars have it", () => {
  const { mattes } = vectors;
  const given = picture(mattes.picture);
  const { width: side } = given;
  const matte = { data: array(mattes.matte), width: side, height: side, channels: 1 };
  const made = { "grey.jpg": [matte, 95, false], "colour.jpg": [given, 92, false], "quartered.jpg": [given, 78, true] };
  const odd = pictureOf(array(mattes.smaller), 201, 230, 3);
  made["odd.jpg"] = [odd, 92, true];
  const about = {};
  for (const [name, [one, quality, quartered]] of Object.entries(made)) {
    const jpeg = encode(one, quality, quartered);
    if (one.width === one.height) checkedJpeg(jpeg, side, one.channels);
    about[name] = { width: one.width, height: one.height };
    writeFileSync(join(folder, name), jpeg);
    writeFileSync(join(folder, `${name}.raw`), Buffer.from(one.data));
    assert.deepEqual(photoSize(jpeg), about[name]);
  }
  writeFileSync(join(folder, "jpegs.json"), JSON.stringify(about));
  const noise = pictureOf(Uint8Array.from({ length: 3 * 512 * 512 }, (_, i) => (i * 2654435761) >>> 24), 512, 512, 3);
  const fitted = encodeWithin(noise, 88_000);
  assert.ok(fitted.length <= 88_000);
  assert.equal(encodeWithin(noise, 1000), null);
});

test("files are measured before they are read", () => {
  const png = new Uint8Array(33);
  png.set([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52, 0, 0, 0x80, 0, 0, 1, 0, 0]);
  assert.deepEqual(photoSize(png), { width: 32768, height: 65536 });
  const webp = new Uint8Array(40);
  webp.set([..."RIFF\0\0\0\0WEBPVP8X"].map((c) => c.charCodeAt(0)));
  webp.set([0xff, 0x3f, 0, 0x0f, 0, 0], 24);
  assert.deepEqual(photoSize(webp), { width: 0x4000, height: 0x10 });
  assert.equal(photoSize(new TextEncoder().encode("GIF89a and more")), null);
  assert.equal(photoSize(new Uint8Array([0xff, 0xd8, 0xff])), null);
  assert.equal(photoSize(Uint8Array.from([0xff, 0xd8, ...new Array(400).fill(0xff)])), null);
  assert.throws(() => checkFile({ size: 25 << 20 }, []), EnrolmentError);
  assert.throws(() => checkFile({ size: 1 }, new Array(20).fill({ size: 1 })), EnrolmentError);
  assert.throws(() => checkFile({ size: 20 << 20 }, new Array(8).fill({ size: 20 << 20 })), EnrolmentError);
  checkFile({ size: 1 << 20 }, []);
});

test("pictures are thinned out, and those of a step go", async () => {
  const gathered = new Gathered();
  for (let n = 0; n < 500; n++) gathered.keep({ step: n < 20 ? "blink" : "rest", atUs: n * 100_000 });
  const counts = gathered.counts();
  assert.equal(counts.blink, 20);
  assert.ok(counts.rest <= 400 && counts.rest > 150);
  gathered.drop("rest");
  assert.deepEqual(gathered.counts(), { blink: 20 });
  assert.equal(gathered.wants(499 * 100_000 + 10_000), false);
  gathered.clear();
  await assert.rejects(gathered.make("Me"), EnrolmentError);
});

test("who has no camera sees an avatar that moves", () => {
  const still = { rotation: [0, 0, 0], translation: [0, 0], scale: 0.5 };
  const neutral = array(vectors.choosing.neutral);
  const [one, other] = [moved(0, still), moved(5.2, still)].map((motion) => keypoints(motion, neutral));
  assert.ok(gap(one, other) > 0.005);
  assert.ok(other.every(Number.isFinite));
});
