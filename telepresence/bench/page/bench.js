// One end of a measured call: sends the camera or shows what comes, and notes when each picture was on the screen.
// The benchmark calls the functions of `window.bench`; all times leave this page on the benchmark's clock, microseconds.

import { Link, startFast } from "./connection.js";
import { Lips } from "./lips.js";

const CLOCK_ASKED = 40;
const GATHER_MS = 2000;
const CONNECT_MS = 15_000;
const SAME_US = 2000; // a picture's own time against what requestVideoFrameCallback says of it
const MARK = { left: 8, width: 24, bits: 12, picture: 640, least: 44 }; // the camera clip's frame number: bench/camera.py
const PACKED = ["RGBA", "RGBX", "BGRA", "BGRX"]; // formats without a plane of luma

const video = document.querySelector("video");
let shift = 0; // from performance.now() to the benchmark's clock, milliseconds
let camera = null;
let link = null;
let peer = null;
let lips = null;
let state = "idle";
let record = null;

const us = (ms) => (typeof ms === "number" ? Math.round((ms + shift) * 1000) : null);

/** Read the benchmark's clock: the answer with the shortest way counts. Returns the uncertainty, milliseconds. */
async function clock() {
  let best = Infinity;
  for (let asked = 0; asked < CLOCK_ASKED; asked += 1) {
    const sent = performance.now();
    const theirs = Number(await (await fetch("clock", { cache: "no-store" })).text());
    const came = performance.now();
    if (came - sent < best) {
      best = came - sent;
      shift = theirs - (sent + came) / 2;
    }
  }
  return { uncertain_ms: best / 2, wall_ms: performance.timeOrigin - shift };
}

async function openCamera() {
  const wanted = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: wanted });
  [camera] = stream.getVideoTracks();
  camera.contentHint = "motion";
  video.classList.add("own");
  show(stream);
  return camera.getSettings();
}

function show(stream) {
  video.srcObject = stream;
  video.play().catch(() => {});
}

// the avatar's path: as the product's own page connects

async function avatar({ edge, send, sound }) {
  if (sound) {
    lips = new Lips(edge, video, send);
    await lips.begin();
  }
  link = new Link({
    find: async () => edge,
    track: send ? camera : undefined,
    receive: !send,
    onState: (now) => { state = now; },
    onStream: show,
  });
  link.restart();
}

// an ordinary call

function connection() {
  peer = new RTCPeerConnection({ iceServers: [] });
  peer.addEventListener("connectionstatechange", () => { state = peer.connectionState; });
  peer.addEventListener("track", (event) => {
    hurry(event.receiver);
    show(new MediaStream([event.track]));
  });
  return peer;
}

/** The same for the ordinary call as for the avatar: pictures are shown when they come. */
function hurry(receiver) {
  try { receiver.jitterBufferTarget = 0; } catch { /* not known here */ }
  try { receiver.playoutDelayHint = 0; } catch { /* not known here */ }
}

async function offer({ send, codec, bitrate, shrink }) {
  const made = connection();
  const encoding = { ...(bitrate ? { maxBitrate: bitrate } : {}), ...(shrink > 1 ? { scaleResolutionDownBy: shrink } : {}) };
  const way = send
    ? made.addTransceiver(camera, { direction: "sendonly", sendEncodings: [encoding], streams: [new MediaStream([camera])] })
    : made.addTransceiver("video", { direction: "recvonly" });
  if (codec) prefer(way, codec);
  await made.setLocalDescription();
  await gathered(made);
  return made.localDescription.sdp;
}

async function answer(sdp) {
  const made = connection();
  await made.setRemoteDescription({ type: "offer", sdp });
  await made.setLocalDescription();
  await gathered(made);
  return made.localDescription.sdp;
}

/** @param {{sdp: string, own?: boolean}} answer  `own`: of this machine's own program, to which the way is short */
async function accept({ sdp, own }) {
  await peer.setRemoteDescription({ type: "answer", sdp: own ? startFast(sdp) : sdp });
}

function prefer(way, name) {
  const all = RTCRtpSender.getCapabilities("video").codecs;
  const first = all.filter((codec) => codec.mimeType.toLowerCase() === `video/${name}`);
  way.setCodecPreferences([...first, ...all.filter((codec) => !first.includes(codec))]);
}

async function gathered(made) {
  if (made.iceGatheringState === "complete") return;
  await new Promise((resolve) => {
    setTimeout(resolve, GATHER_MS);
    made.addEventListener("icegatheringstatechange", () => made.iceGatheringState === "complete" && resolve());
  });
}

/** Wait until the path is up and, at the receiving end, a picture of it is on the screen. */
async function up(receives) {
  const end = performance.now() + CONNECT_MS;
  while (!["live", "connected"].includes(state)) {
    if (performance.now() > end) throw new Error(`no connection in ${CONNECT_MS / 1000} s, it is ${state}`);
    await new Promise((go) => setTimeout(go, 50));
  }
  if (!receives) return;
  const shown = new Promise((resolve) => video.requestVideoFrameCallback(resolve));
  const late = new Promise((_, fail) => setTimeout(() => fail(new Error("connected, but no picture came")), CONNECT_MS));
  await Promise.race([shown, late]);
}

function close() {
  link?.close();
  peer?.close();
  lips?.close();
  link = peer = lips = null;
  state = "idle";
  if (video.srcObject && !(camera && video.srcObject.getTracks().includes(camera))) video.srcObject = null;
}

/** Bytes and packets of the connection, and what the encoder or decoder says; sums since the connection began. */
async function counters() {
  const found = {};
  const made = peer ?? link?.peer;
  if (!made) return found;
  const reports = [...(await made.getStats()).values()];
  const chosen = reports.find((one) => one.type === "transport")?.selectedCandidatePairId; // several may be nominated
  const pair = reports.find((one) => one.type === "candidate-pair" && (chosen ? one.id === chosen : one.nominated));
  if (pair) Object.assign(found, pick(pair, ["bytesSent", "packetsSent", "bytesReceived", "packetsReceived", "currentRoundTripTime"]));
  const media = reports.find((one) => ["outbound-rtp", "inbound-rtp"].includes(one.type) && one.kind === "video");
  if (media) {
    Object.assign(found, pick(media, ["framesEncoded", "totalEncodeTime", "framesDecoded", "totalDecodeTime", "framesDropped", "keyFramesEncoded",
      "frameWidth", "frameHeight", "jitterBufferDelay", "jitterBufferEmittedCount", "qualityLimitationReason", "nackCount", "pliCount", "freezeCount"]));
    found.codec = reports.find((one) => one.id === media.codecId)?.mimeType ?? null;
  }
  return found;
}

const pick = (from, names) => Object.fromEntries(names.filter((name) => name in from).map((name) => [name, from[name]]));

// measuring

/** Note every picture on the screen from now on, and keep one every `gap_ms`; 0: none. */
function begin({ gap_ms: gap }) {
  const mine = { pictures: [], samples: [], work: [], began: performance.now(), kept: -Infinity, other: 0 };
  record = mine;
  lips?.take();
  const onPicture = (now, about) => {
    if (record !== mine) return;
    video.requestVideoFrameCallback(onPicture);
    let frame = null;
    try { frame = new VideoFrame(video); } catch { /* none just now */ }
    // On a busy machine the video may have gone on to another picture than the one that this call is about.
    const same = frame && Math.abs(frame.timestamp - about.mediaTime * 1e6) < SAME_US;
    mine.other += same ? 0 : 1;
    const row = [
      us(about.presentationTime), us(about.expectedDisplayTime), us(about.captureTime), us(about.receiveTime),
      about.processingDuration ?? null, about.rtpTimestamp ?? null, about.presentedFrames, null,
    ];
    mine.pictures.push(row);
    if (!same) return void frame?.close();
    const kept = gap && about.presentationTime - mine.kept >= gap;
    if (kept) mine.kept = about.presentationTime;
    mine.work.push(look(mine, frame, row, kept ? about.presentationTime : null));
  };
  video.requestVideoFrameCallback(onPicture);
}

/** Read a picture's number, and keep the picture itself if it has a time; closes it. */
async function look(mine, frame, row, time) {
  try {
    row[7] = await readMark(frame);
    if (time !== null) mine.samples.push(await copied(frame, time, row[7]));
  } catch { /* a format that cannot be copied: no number, no picture */ } finally {
    frame.close();
  }
}

/**
 * The frame number in the left margin of the camera's clip, or null: white, black, then ten bits, highest first.
 * Only this strip is copied, without conversion: a canvas would make the whole picture RGB, which takes milliseconds.
 */
async function readMark(frame) {
  const { width, height } = frame.visibleRect;
  const scale = width / MARK.picture;
  const even = (value) => 2 * Math.max(1, Math.round(value / 2));
  const rect = { x: even(MARK.left * scale), y: 0, width: even(MARK.width * scale), height: 2 * Math.floor(height / 2) };
  const data = new Uint8Array(frame.allocationSize({ rect }));
  const [{ offset, stride }] = await frame.copyTo(data, { rect });
  const bytes = PACKED.includes(frame.format) ? 4 : 1;
  const level = (block) => {
    let sum = 0;
    for (const part of [0.35, 0.5, 0.65]) {
      const begin = offset + stride * Math.floor(((block + part) * rect.height) / MARK.bits);
      for (let x = 0; x < rect.width; x += 1) sum += data[begin + x * bytes];
    }
    return sum / (3 * rect.width);
  };
  const [white, black] = [level(0), level(1)];
  if (white - black < MARK.least) return null;
  let number = 0;
  for (let block = 2; block < MARK.bits; block += 1) number = number * 2 + (level(block) > (white + black) / 2 ? 1 : 0);
  return number;
}

/** Copy the picture on the screen as it is; it is looked at after the measurement, not during it. */
async function copied(frame, time, number) {
  const { format, visibleRect } = frame;
  const about = { time_us: us(time), number, format, width: visibleRect.width, height: visibleRect.height };
  const data = new Uint8Array(frame.allocationSize());
  await frame.copyTo(data);
  return { about, data };
}

/** Stop noting. Returns the pictures' times; the kept pictures go to the benchmark as one body. */
async function end({ upload }) {
  const mine = record;
  record = null;
  const sound = heard();
  await Promise.all(mine.work);
  const samples = mine.samples.sort((one, other) => one.about.time_us - other.about.time_us);
  if (upload) {
    const head = new TextEncoder().encode(JSON.stringify(samples.map((one) => ({ ...one.about, bytes: one.data.length }))));
    const size = new Uint8Array(new Uint32Array([head.length]).buffer);
    const body = new Blob([size, head, ...samples.map((one) => one.data)]);
    const response = await fetch(upload, { method: "POST", body });
    if (!response.ok) throw new Error(`the benchmark answered ${response.status}`);
  }
  return { pictures: mine.pictures, seconds: (performance.now() - mine.began) / 1000, kept: samples.length, other: mine.other, sound };
}

/** Loudness over time on the benchmark's clock, [seconds, level], and what the page itself thinks of lips and sound. */
function heard() {
  const found = lips?.taken();
  if (!found?.levels.length) return null;
  const begin = found.offset + shift / 1000;
  return { levels: found.levels.map(([at, level]) => [at + begin, level]), figures: found.figures };
}

window.bench = { clock, openCamera, avatar, offer, answer, accept, up, close, counters, begin, end, state: () => state };
