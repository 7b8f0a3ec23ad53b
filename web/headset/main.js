// The headset's page: the others as avatars around a table, in a headset or, without one, flat, with the mouse as head.

import { PerspectiveCamera, Quaternion, Scene, Vector3, WebGLRenderer } from "../vendor/three/build/three.module.js";
import { Avatar, LEFT } from "./avatar.js";
import { Board } from "./board.js";
import { Flat } from "./flat.js";
import { Poses } from "./poses.js";
import { Space } from "./space.js";
import { Stream } from "./stream.js";
import { Voices } from "./voices.js";

const IPD_M = 0.063; // until the headset tells
const POSE_MS = 12; // between poses that are sent: 72 a second at the most
const SEATED_M = 1.2; // height of the head that seats are made for
const REMEMBERED = 600; // frames
const NARROW = 0.6; // of the page: a panel that is wider lies below

const element = (id) => document.getElementById(id);
const status = (words) => { element("status").textContent = words; };

const renderer = new WebGLRenderer({ canvas: element("view"), antialias: true, alpha: true });
renderer.xr.enabled = true;
renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
const scene = new Scene();
const space = new Space(scene);
const camera = new PerspectiveCamera(34, 1, 0.05, 30);
camera.layers.enable(LEFT); // flat, there is one eye
const flat = new Flat(element("view"), camera);
const token = new URLSearchParams(location.hash.slice(1)).get("token");
const voices = new Voices(token);
const board = new Board(scene, renderer, () => voices.setMuted(voices.speaking === "on"));

const avatars = new Map(); // place -> Avatar
const poses = new Poses();
let people = [];
let lift = 0; // metres that everybody is raised, so that eyes meet
let lifted = false;
let stream = null;
let trouble = ""; // of the stream
let silent = true; // whether the computer gives no sound
let asked = false; // whether the button, and not a session, has the sound here
let sentMs = 0;
const frameMs = [];

// who is here

function places(participants) {
  people = participants;
  for (const [place, avatar] of avatars) {
    if (participants.some((one) => one.place === place)) continue;
    scene.remove(avatar.group);
    avatar.dispose();
    avatars.delete(place);
  }
  for (const one of participants) {
    if (!avatars.has(one.place)) {
      avatars.set(one.place, new Avatar());
      scene.add(avatars.get(one.place).group);
    }
    avatars.get(one.place).place(one);
    voices.ears?.seat(one.id, one.seat.position, one.seat.yaw);
  }
  frame();
  const names = participants.map((one) => `${one.name || "somebody"} (${one.label})`);
  element("people").textContent = names.length ? `Here: ${names.join(", ")}` : "Nobody else is here yet.";
}

function show(picture) {
  const one = people.find(({ place }) => place === picture.place);
  if (!one) return;
  const put = () => avatars.get(picture.place)?.show(picture, () => voices.presented(one.id, picture)); // it may have left
  picture.eyes = poses.at(picture.poseUs);
  const wait = voices.hold(one.id, picture);
  if (wait > 0) setTimeout(put, wait);
  else put();
}

/** Once a session: the others' heads are put at the height of the viewer's own. */
function meetEyes(height) {
  lifted = true;
  const change = height - SEATED_M - lift;
  if (Math.abs(change) < 0.02) return;
  lift += change;
  space.table.position.y += change;
  board.raise(lift);
  stream.raise(lift);
}

// the viewer's head

const middle = new Vector3(), turn = new Quaternion(), eye = new Vector3(), other = new Vector3(), size = new Vector3();

function follow(now) {
  const view = renderer.xr.isPresenting ? renderer.xr.getCamera() : camera;
  let ipd = renderer.xr.isPresenting ? IPD_M : 0;
  view.matrixWorld.decompose(middle, turn, size);
  eye.copy(middle);
  other.copy(middle);
  if (renderer.xr.isPresenting && view.cameras.length === 2) {
    eye.setFromMatrixPosition(view.cameras[0].matrixWorld);
    other.setFromMatrixPosition(view.cameras[1].matrixWorld);
    ipd = eye.distanceTo(other);
    middle.addVectors(eye, other).multiplyScalar(0.5);
    turn.setFromRotationMatrix(view.cameras[0].matrixWorld);
    if (!lifted && stream) meetEyes(middle.y);
  }
  voices.ears?.head(middle.toArray(), turn.toArray());
  if (stream === null || now - sentMs < POSE_MS) return;
  sentMs = now;
  const at = Math.round(now * 1000);
  poses.keep(at, [eye.clone(), other.clone()]);
  stream.pose(middle.toArray(), turn.toArray(), ipd, at);
}

function draw(now) {
  const begin = performance.now();
  if (renderer.xr.isPresenting) board.update();
  else flat.update();
  renderer.render(scene, camera);
  follow(now);
  frameMs.push(performance.now() - begin);
  if (frameMs.length > REMEMBERED) frameMs.shift();
}

function resize() {
  if (renderer.xr.isPresenting) return;
  renderer.setSize(innerWidth, innerHeight, false);
  frame();
}

/** Flat, people are shown beside the panel, or above it on a narrow screen. */
function frame() {
  if (renderer.xr.isPresenting) return;
  const { width, right, top } = element("panel").getBoundingClientRect();
  const taken = width < NARROW * innerWidth ? { left: right } : { below: innerHeight - top };
  flat.frame(people.map((one) => one.seat.position), { width: innerWidth, height: innerHeight, ...taken });
}

// going in and out

async function enter(mode) {
  try {
    if (!silent) await voices.begin(); // a question of the browser's could not be seen inside
    seatVoices();
    if (navigator.userActivation && !navigator.userActivation.isActive) {
      status("Your microphone is decided. Press Enter once more.");
      return;
    }
    const session = await navigator.xr.requestSession(mode, { requiredFeatures: ["local-floor"] });
    session.addEventListener("end", left);
    renderer.xr.setReferenceSpaceType("local-floor");
    await renderer.xr.setSession(session);
    lifted = false;
    space.show(mode !== "immersive-ar");
    status("You are in the room.");
  } catch (error) {
    if (!asked) voices.end();
    status(`The headset does not let you in (${error.name}). Close other apps that use it, and press Enter again.`);
  }
  say();
}

function left() {
  space.show(true);
  status("You have left the room in your headset. Enter again whenever you like.");
  if (!asked) voices.end();
  say();
  resize();
}

async function hear() {
  asked = !asked || voices.state === "elsewhere";
  if (!asked) {
    voices.end();
    return;
  }
  await voices.begin();
  seatVoices();
}

function seatVoices() {
  for (const one of people) voices.ears?.seat(one.id, one.seat.position, one.seat.yaw);
}

const SOUND = {
  off: "The sound is with the page on your computer.",
  joining: "Getting the sound",
  on: "You hear everybody from where they sit.",
  elsewhere: "The page on your computer has taken the sound.",
  lost: "The sound's way to your computer is lost; trying again",
};

/** What the buttons and the board say. */
function say() {
  const here = voices.wanted && voices.state !== "elsewhere";
  element("sound").hidden = silent || renderer.xr.isPresenting;
  element("sound").textContent = here ? "Give the sound back" : "Hear them here";
  element("mute").hidden = !here || voices.speaking === "none";
  element("mute").textContent = voices.speaking === "on" ? "Microphone off" : "Microphone on";
  element("sounding").textContent = silent ? "" : SOUND[voices.state];
  const worry = trouble || (voices.state === "elsewhere" || voices.state === "lost" ? SOUND[voices.state] : "");
  board.show(renderer.xr.isPresenting && here ? voices.speaking : "", renderer.xr.isPresenting ? worry : "");
}

async function offer() {
  const hint = (words) => { element("hint").textContent = words; element("hint").hidden = false; };
  const moves = "Here you see the room flat; move the mouse or a finger, or use the arrow keys, to move your head.";
  if (!navigator.xr) {
    const why = isSecureContext ? "This browser has no WebXR" : "WebXR needs a page that comes by https";
    hint(`${why}. ${moves} For stereo, open the link in your headset's own browser.`);
    return;
  }
  const supports = (mode) => navigator.xr.isSessionSupported(mode).catch(() => false);
  const [vr, ar] = await Promise.all([supports("immersive-vr"), supports("immersive-ar")]);
  element("vr").hidden = !vr;
  element("ar").hidden = !ar;
  if (!vr && !ar) hint(`No headset is connected to this browser. ${moves}`);
  else element("hint").hidden = true;
}

if (token) {
  stream = new Stream(`wss://${location.host}/stream`, token);
  stream.addEventListener("state", ({ detail }) => {
    trouble = detail.live ? "" : detail.text;
    status(detail.live && renderer.xr.isPresenting ? "You are in the room." : detail.text);
    say();
  });
  stream.addEventListener("welcome", ({ detail }) => {
    silent = !detail.sound;
    if (lift !== 0) stream.raise(lift);
    say();
  });
  stream.addEventListener("room", (event) => places(event.detail));
  stream.addEventListener("picture", (event) => show(event.detail));
} else {
  status("This link has no token. Scan the code that your computer shows, or copy the whole link.");
}
voices.addEventListener("change", say);
element("vr").addEventListener("click", () => enter("immersive-vr"));
element("ar").addEventListener("click", () => enter("immersive-ar"));
element("sound").addEventListener("click", hear);
element("mute").addEventListener("click", () => voices.setMuted(voices.speaking === "on"));
addEventListener("resize", resize);
new ResizeObserver(frame).observe(element("panel"));
navigator.xr?.addEventListener?.("devicechange", offer);
resize();
offer();
renderer.setAnimationLoop(draw);

// For tests and for the figures in docs/headset.md.
globalThis.headsetPage = { avatars, frameMs, renderer, camera, voices, board };
