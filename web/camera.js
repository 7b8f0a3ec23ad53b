// The camera: opened, watched, and every way in which it can fail given one name.

const WANTED = {
  audio: false,
  video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 }, facingMode: "user" },
};

const PROBLEMS = {
  NotAllowedError: "refused",
  SecurityError: "refused",
  NotFoundError: "missing",
  OverconstrainedError: "missing",
  NotReadableError: "busy",
  AbortError: "busy",
};

/** Why there is no camera; `kind` is one of the camera states in words.js. */
export class CameraProblem extends Error {
  constructor(kind, cause) {
    super(`camera: ${kind}`, { cause });
    this.kind = kind;
  }
}

/**
 * Ask for the camera.
 * @param {(kind: string) => void} onEnd called once when the camera stops by itself, for example when it is unplugged
 * @returns {Promise<MediaStream>}
 * @throws {CameraProblem}
 */
export async function openCamera(onEnd) {
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) throw new CameraProblem("insecure");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia(WANTED);
  } catch (error) {
    throw new CameraProblem(PROBLEMS[error.name] ?? "failed", error);
  }
  const [track] = stream.getVideoTracks();
  // Rather a coarser picture than a late one: landmarks need the moment more than the pixels.
  track.contentHint = "motion";
  track.addEventListener("ended", () => onEnd("unplugged"), { once: true });
  return stream;
}

/** Call `act` when the person changes their mind in the browser's own settings, or plugs a camera in. */
export async function onCameraChance(act) {
  navigator.mediaDevices?.addEventListener?.("devicechange", () => act("plugged"));
  try {
    const permission = await navigator.permissions.query({ name: "camera" });
    permission.addEventListener("change", () => permission.state === "granted" && act("granted"));
  } catch {
    // Firefox does not know the name; the button is still there.
  }
}
