"""A clip whose mouth and sound have the same known events, a page that is sender and receiver, and what came of it.

Skew is measured from outside: how old each mouth movement is when the avatar shows it, less how old each sound is when
it is played. So nothing needs to be known of how Chromium's fake camera and fake microphone lie to each other; that is
measured on the way, in the sender's half of the page.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from telepresence.bench.lips import (
    RATE,
    SECONDS,
    STEP_S,
    ages,
    envelope,
    gridded,
    onsets,
    openness,
    skews,
    write_microphone,
)
from tests.browser.measure import movement

__all__ = ["SECONDS", "ages", "envelope", "openness", "skews"]

Doubles = NDArray[np.float64]

FPS, SIDE = 30, 480
LEVELS = 9  # mouth openings that are drawn
FACE = (50, 0, 160)  # left, top and side of the face in the sample avatar's picture of 256


def write_clip(folder: Path) -> tuple[Path, Path]:
    """The fake camera's file (YUV4MPEG2) and the fake microphone's (WAV), of equal length."""
    import av
    import cv2

    from telepresence.avatar.samples import sample_avatar
    from telepresence.face.motion import Motion, keypoints
    from telepresence.face.mouth import Mouth, expression
    from telepresence.runtime.engine import open_engine

    avatar, engine = sample_avatar(), open_engine("live", 256)
    prepared = engine.prepare(avatar)
    left, top, side = FACE
    planes = []
    for level in np.linspace(0, 1, LEVELS):
        motion = Motion(avatar.rest, expression(Mouth(float(level))), np.zeros((2, 2), np.float32))
        picture = engine.render(prepared, keypoints(motion, avatar.neutral))[top : top + side, left : left + side, :3]
        large = cv2.resize(np.ascontiguousarray(picture), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        planes.append(av.VideoFrame.from_ndarray(large, format="rgb24").to_ndarray(format="yuv420p").tobytes())
    engine.close()
    camera, microphone = folder / "lips.y4m", folder / "lips.wav"
    shown = openness(np.arange(SECONDS * FPS) / FPS)
    with camera.open("wb") as file:
        file.write(f"YUV4MPEG2 W{SIDE} H{SIDE} F{FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for value in shown:
            file.write(b"FRAME\n" + planes[round(value * (LEVELS - 1))])
    write_microphone(microphone)
    return camera, microphone


# Both halves of a call in one page: its camera goes to the sender's edge, the avatar comes from the receiver's, and the
# sound takes a connection from the page to itself. Everything shown and played is noted with its time.
PAGE = """<!doctype html><meta charset="utf-8"><title>lips</title>
<video id="camera" autoplay muted playsinline width="240"></video>
<video id="avatar" autoplay muted playsinline width="256"></video><audio id="sound" autoplay></audio>
<script type="module">
import { Link } from "/connection.js";
import { PictureTimes, askCaptureTime } from "/call/clocks.js";
import { LipSync } from "/call/sync.js";

const TAP = `registerProcessor("tap", class extends AudioWorkletProcessor {
  constructor() { super(); this.rows = []; }
  process([input]) {
    const samples = input[0] ?? new Float32Array(128);
    let sum = 0;
    for (const value of samples) sum += value * value;
    this.rows.push([currentTime, Math.sqrt(sum / samples.length)]);
    if (this.rows.length >= 16) { this.port.postMessage(this.rows); this.rows = []; }
    return true;
  }
});`;
const element = (id) => document.querySelector(`#${id}`);
const notes = { camera: [], avatar: [], microphone: [], sound: [], figures: [], states: [] };
let taking = false, offset = Infinity;

async function jpeg(video, side) {
  const canvas = new OffscreenCanvas(side, side);
  canvas.getContext("2d").drawImage(video, 0, 0, side, side);
  const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 })).arrayBuffer());
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

function note(name, side, when) {
  const video = element(name);
  const shown = async (now, metadata) => {
    video.requestVideoFrameCallback(shown);
    if (!taking) return;
    const row = [when(metadata) / 1000, ""];
    notes[name].push(row);
    row[1] = await jpeg(video, side);
  };
  video.requestVideoFrameCallback(shown);
}

function tap(context, stream, name) {
  const node = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
  node.port.onmessage = ({ data }) => {
    const last = data.at(-1)[0] + 128 / context.sampleRate;
    offset = Math.min(offset, performance.now() / 1000 - last); // the quickest message tells the context's clock
    if (taking) notes[name].push(...data);
  };
  context.createMediaStreamSource(stream).connect(node);
}

async function loop(track, microphone) {
  const servers = { iceServers: [] };
  const out = new RTCPeerConnection(servers), back = new RTCPeerConnection(servers);
  const channel = { negotiated: true, id: 1, ordered: false, maxRetransmits: 0 };
  const [ours, theirs] = [out.createDataChannel("sync", channel), back.createDataChannel("sync", channel)];
  askCaptureTime(out.addTransceiver(track, { direction: "sendonly" }));
  const sound = new Promise((done) => back.addEventListener("track", (event) => done(event)));
  await out.setLocalDescription(); await gathered(out);
  await back.setRemoteDescription(window.changed ? window.changed(out.localDescription) : out.localDescription);
  askCaptureTime(back.getTransceivers()[0]);
  await back.setLocalDescription(); await gathered(back);
  await out.setRemoteDescription(window.changed ? window.changed(back.localDescription) : back.localDescription);
  const { receiver } = await sound;
  return { ours, theirs, receiver, back };
}

function gathered(peer) {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  const complete = () => peer.iceGatheringState === "complete";
  return new Promise((done) => peer.addEventListener("icegatheringstatechange", () => complete() && done()));
}

window.begin = async ({ sender, receiver }) => {
  const sound = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const wanted = { audio: sound, video: { width: 480, height: 480, frameRate: 30 } };
  const stream = await navigator.mediaDevices.getUserMedia(wanted);
  const [camera] = stream.getVideoTracks(), [microphone] = stream.getAudioTracks();
  element("camera").srcObject = new MediaStream([camera]);
  const onState = (state) => notes.states.push(state);
  const link = (edge, more) => new Link({ find: async () => edge, onState, ...more }).restart();
  link(sender, { track: camera });
  link(receiver, { receive: true, onStream: (pictures) => { element("avatar").srcObject = pictures; } });
  const call = await loop(microphone);
  element("sound").srcObject = new MediaStream([call.receiver.track]);
  const context = new AudioContext({ sampleRate: 48000 });
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([TAP], { type: "text/javascript" })));
  tap(context, new MediaStream([microphone]), "microphone");
  tap(context, new MediaStream([call.receiver.track]), "sound");
  await context.resume();
  window.times = new PictureTimes();
  new LipSync({ channel: call.ours, hold: () => {} });
  const ends = new LipSync({
    channel: call.theirs, receiver: call.receiver,
    hold: (ms, age) => window.hold(ms, age),
    onFigures: (figures) => {
      const { buffered, target, playout } = ends;
      if (taking) notes.figures.push({ at: performance.now() / 1000, ...figures, buffered, target, playout });
    },
  });
  ends.watch(element("avatar"), 0, window.times);
  note("camera", 160, (metadata) => metadata.captureTime ?? metadata.expectedDisplayTime);
  note("avatar", 256, (metadata) => metadata.expectedDisplayTime);
  window.call = { ...call, microphone, context, ends };
};
window.tell = (message) => window.times.tell(message, performance.now());
window.take = () => { taking = true; };
window.taken = () => { taking = false; return { ...notes, offset }; };
</script>
"""


def mouth(rows: list[Any]) -> tuple[Doubles, Doubles]:
    """Mouth opening over time of `[seconds, JPEG]`, by landmarks.

    Where no picture came for a while the one before was seen all that time: else a mouth that opens at once after a
    pause would seem to have begun in the middle of it.
    """
    moved = movement([(at, text) for at, text in rows if text])
    times, values = [moved.times[:1]], [moved.mouth[:1]]
    for n in range(1, len(moved.times)):
        if moved.times[n] - moved.times[n - 1] > 1.5 / FPS:
            times.append(moved.times[n : n + 1] - 1 / FPS)
            values.append(moved.mouth[n - 1 : n])
        times.append(moved.times[n : n + 1])
        values.append(moved.mouth[n : n + 1])
    return np.concatenate(times), np.concatenate(values)


def clip_offset(camera: tuple[Doubles, Doubles], microphone: tuple[Doubles, Doubles]) -> float:
    """By how much the fake microphone is later than the fake camera, seconds, modulo the clip's length."""
    at_s = np.arange(0, SECONDS, STEP_S)
    wanted = openness(at_s)

    def phase(series: tuple[Doubles, Doubles]) -> float:
        grid, values = gridded(series)
        shifts = np.arange(0, SECONDS, 2 * STEP_S)
        scores = [float(np.corrcoef(values, np.interp((grid + s) % SECONDS, at_s, wanted))[0, 1]) for s in shifts]
        return float(shifts[int(np.argmax(scores))])

    apart = phase(camera) - phase(microphone)
    return (apart + SECONDS / 2) % SECONDS - SECONDS / 2


def write_movie(folder: Path) -> Path:
    """The same clip as one MP4 with sound, for an edge whose camera is a file."""
    import av

    camera, microphone = write_clip(folder)
    movie = folder / "lips.mp4"
    with av.open(str(movie), "w") as out, av.open(str(camera)) as pictures, av.open(str(microphone)) as sounds:
        video = out.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "16"})
        video.width = video.height = SIDE
        video.pix_fmt = "yuv420p"
        audio = out.add_stream("aac", rate=RATE, layout="mono")
        for n, picture in enumerate(pictures.decode(video=0)):
            picture.pts, picture.time_base = n, Fraction(1, FPS)
            out.mux(video.encode(picture))
        out.mux(video.encode(None))
        for sound in sounds.decode(audio=0):
            out.mux(audio.encode(sound))
        out.mux(audio.encode(None))
    camera.unlink()
    return movie


def recorded(path: Path) -> tuple[tuple[Doubles, Doubles], tuple[Doubles, Doubles]]:
    """Mouth opening over time, and loudness over time, of a recording."""
    import av

    from telepresence.face.landmarks import LandmarkTracker

    rows = []
    with av.open(str(path)) as container, LandmarkTracker() as tracker:
        for frame in container.decode(video=0):
            points = tracker(frame.to_ndarray(format="rgb24"))
            if points is not None:
                eyes = np.linalg.norm(points[263] - points[33])
                rows.append((frame.time, np.linalg.norm(points[14] - points[13]) / eyes))
    levels = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().reshape(-1)
            for n in range(0, len(samples) - 127, 128):
                levels.append((frame.time + n / frame.sample_rate, float(np.sqrt(np.mean(samples[n : n + 128] ** 2)))))
    series, sound = np.array(rows, np.float64).T, np.array(levels, np.float64).T
    smooth = np.convolve(sound[1], np.ones(4) / 4, "same")
    return (series[0], series[1]), (sound[0], smooth)


def apart(lips: tuple[Doubles, Doubles], sound: tuple[Doubles, Doubles]) -> Doubles:
    """By how much each opening of the mouth is later than its sound, seconds, where both are of one clip."""
    first, second = onsets(*sound), onsets(*lips)
    late = [second[np.argmin(np.abs(second - time))] - time for time in first]
    return np.array([one for one in late if abs(one) < 0.25])
