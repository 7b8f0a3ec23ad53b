// The headset's page: the others as avatars around a table, in a headset or, without one, flat, with the mouse as head.

import { PerspectiveCamera, Quaternion, Scene, Vector3, WebGLRenderer } from "../vendor/three/build/three.module.js";
import { Avatar, LEFT } from "./avatar.js";
import { Flat } from "./flat.js";
import { Space } from "./space.js";
import { Stream } from "./stream.js";

const IPD_M = 0.063; // until the headset tells
const POSE_MS = 12; // between poses that are sent: 72 a second at the most
const SEATED_M = 1.2; // height of the head that seats are made for

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

const avatars = new Map();
let people = [];
let lift = 0; // metres that everybody is raised, so that eyes meet
let lifted = false;
let stream = null;
let sentMs = 0;
const frameMs = [];

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
    avatars.get(one.place).place(one.seat, one.body);
  }
  const names = participants.map((one) => one.name || "someone");
  element("people").textContent = names.length ? `Here: ${names.join(", ")}` : "Nobody else is here yet.";
}

/** Once a session: the others' heads are put at the height of the viewer's own. */
function meetEyes(height) {
  lifted = true;
  const change = height - SEATED_M - lift;
  if (Math.abs(change) < 0.02 || !people.length) return;
  lift += change;
  space.table.position.y += change;
  stream?.seats(people.map((one) => {
    const [x, y, z] = one.seat.position;
    return { place: one.place, position: [x, y + change, z], yaw: one.seat.yaw };
  }));
}

const middle = new Vector3(), turn = new Quaternion(), eye = new Vector3(), other = new Vector3();

function sendPose(now) {
  if (stream === null || now - sentMs < POSE_MS) return;
  sentMs = now;
  const view = renderer.xr.isPresenting ? renderer.xr.getCamera() : camera;
  let ipd = renderer.xr.isPresenting ? IPD_M : 0;
  view.matrixWorld.decompose(middle, turn, eye);
  if (renderer.xr.isPresenting && view.cameras.length === 2) {
    eye.setFromMatrixPosition(view.cameras[0].matrixWorld);
    other.setFromMatrixPosition(view.cameras[1].matrixWorld);
    ipd = eye.distanceTo(other);
    middle.addVectors(eye, other).multiplyScalar(0.5);
    turn.setFromRotationMatrix(view.cameras[0].matrixWorld);
    if (!lifted) meetEyes(middle.y);
  }
  stream.pose(middle.toArray(), turn.toArray(), ipd, now * 1000);
}

function draw(now) {
  const begin = performance.now();
  if (!renderer.xr.isPresenting) flat.update();
  renderer.render(scene, camera);
  sendPose(now);
  frameMs.push(performance.now() - begin);
  if (frameMs.length > 600) frameMs.shift();
}

function resize() {
  if (renderer.xr.isPresenting) return;
  renderer.setSize(innerWidth, innerHeight, false);
  camera.aspect = innerWidth / innerHeight;
  camera.updateProjectionMatrix();
}

async function enter(mode) {
  try {
    const session = await navigator.xr.requestSession(mode, { requiredFeatures: ["local-floor"] });
    session.addEventListener("end", () => {
      space.show(true);
      status("You have left the room in your headset. Enter again whenever you like.");
      resize();
    });
    renderer.xr.setReferenceSpaceType("local-floor");
    await renderer.xr.setSession(session);
    lifted = false;
    space.show(mode !== "immersive-ar");
    status("You are in the room.");
  } catch (error) {
    status(`The headset does not let you in (${error.name}). Close other apps that use it, and press Enter again.`);
  }
}

async function offer() {
  const hint = (words) => { element("hint").textContent = words; element("hint").hidden = false; };
  const moves = "Here you see the room flat; move the mouse, or use the arrow keys, to move your head.";
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
}

const token = new URLSearchParams(location.hash.slice(1)).get("token");
if (token) {
  stream = new Stream(`wss://${location.host}/stream`, token);
  stream.addEventListener("state", (event) => status(event.detail.text));
  stream.addEventListener("room", (event) => places(event.detail));
  stream.addEventListener("picture", (event) => avatars.get(event.detail.place)?.show(event.detail));
} else {
  status("This link has no token. Scan the code that your computer shows, or copy the whole link.");
}
element("vr").addEventListener("click", () => enter("immersive-vr"));
element("ar").addEventListener("click", () => enter("immersive-ar"));
addEventListener("resize", resize);
navigator.xr?.addEventListener?.("devicechange", offer);
resize();
offer();
renderer.setAnimationLoop(draw);

// For tests and for the figures in docs/headset.md.
globalThis.headsetPage = { avatars, frameMs, renderer, camera };
