// Cameras, microphones and loudspeakers: opened, watched, listed; every way in which one can fail has one name.

const WANTED = {
  camera: { video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } } },
  microphone: { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: { ideal: 1 } } },
};
const INPUT = { camera: "video", microphone: "audio" };
const KINDS = { camera: "videoinput", microphone: "audioinput", speaker: "audiooutput" };

const PROBLEMS = {
  NotAllowedError: "refused",
  SecurityError: "refused",
  NotFoundError: "missing",
  OverconstrainedError: "missing",
  NotReadableError: "busy",
  AbortError: "busy",
};

/** Why there is no camera or microphone; `kind` is refused, missing, busy, insecure, unplugged or failed. */
export class DeviceProblem extends Error {
  constructor(device, kind, cause) {
    super(`${device}: ${kind}`, { cause });
    this.device = device;
    this.kind = kind;
  }
}

/**
 * Open a device.
 * @param {"camera"|"microphone"} device
 * @param {{id?: string, onEnd?: (kind: string) => void}} [options]  `id` of the one that is preferred: another is taken
 *   if it is gone; `onEnd` is called once when it stops by itself, for example when it is unplugged
 * @returns {Promise<MediaStreamTrack>}
 * @throws {DeviceProblem}
 */
export async function openDevice(device, { id = "", onEnd } = {}) {
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) throw new DeviceProblem(device, "insecure");
  const track = await opened(device, id);
  // Rather a coarser picture than a late one: landmarks need the moment more than the pixels.
  track.contentHint = device === "camera" ? "motion" : "speech";
  track.addEventListener("ended", () => onEnd?.("unplugged"), { once: true });
  return track;
}

async function opened(device, id) {
  const wanted = structuredClone(WANTED[device]);
  if (id) wanted[INPUT[device]].deviceId = { exact: id }; // "ideal" would weigh it against the picture's size
  else if (device === "camera") wanted.video.facingMode = "user";
  try {
    const stream = await navigator.mediaDevices.getUserMedia(wanted);
    return stream.getTracks()[0];
  } catch (error) {
    if (id && error.name === "OverconstrainedError") return opened(device, "");
    throw new DeviceProblem(device, PROBLEMS[error.name] ?? "failed", error);
  }
}

/**
 * What there is to choose from. Browsers name devices only after one has been allowed.
 * @returns {Promise<{camera: {id: string, label: string}[], microphone: {id: string, label: string}[], speaker: {id: string, label: string}[]}>}
 */
export async function listDevices() {
  const all = await (navigator.mediaDevices?.enumerateDevices?.() ?? []);
  const named = (kind) => all.filter((one) => one.kind === kind && one.label)
    .map(({ deviceId, label }) => ({ id: deviceId, label: label.replace(/ \([0-9a-f]{4}:[0-9a-f]{4}\)$/, "") }));
  return { camera: named(KINDS.camera), microphone: named(KINDS.microphone), speaker: choosesSpeaker() ? named(KINDS.speaker) : [] };
}

/** Whether this browser lets a page choose the loudspeaker. */
export function choosesSpeaker() { return "setSinkId" in HTMLMediaElement.prototype; }

/** Call `act` when the person changes their mind in the browser's own settings, or plugs a device in or out. */
export async function onDeviceChance(device, act) {
  navigator.mediaDevices?.addEventListener?.("devicechange", () => act("plugged"));
  try {
    const permission = await navigator.permissions.query({ name: device });
    permission.addEventListener("change", () => permission.state === "granted" && act("granted"));
  } catch {
    // Firefox does not know the name; the button is still there.
  }
}

/**
 * How loud a microphone is, told about 20 times a second until the result is called.
 * @param {MediaStreamTrack} track @param {(level: number) => void} onLevel  0 to 1
 * @returns {() => void}
 */
export function meter(track, onLevel) {
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 1024 });
  const source = context.createMediaStreamSource(new MediaStream([track]));
  source.connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    if (context.state === "suspended") context.resume().catch(() => {});
    analyser.getFloatTimeDomainData(samples);
    let sum = 0;
    for (const value of samples) sum += value * value;
    onLevel(loudness(Math.sqrt(sum / samples.length)));
  }, METER_MS);
  return () => {
    clearInterval(timer);
    source.disconnect();
    context.close();
  };
}

const METER_MS = 50;
const QUIET_DB = -55, LOUD_DB = -12;

/** A root mean square of samples as a level, 0 to 1, even to the ear. */
export function loudness(rms) {
  const db = 20 * Math.log10(Math.max(rms, 1e-6));
  return Math.min(1, Math.max(0, (db - QUIET_DB) / (LOUD_DB - QUIET_DB)));
}
