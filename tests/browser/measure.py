"""How a face moves in a series of pictures, and whether another one moves as it does."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from itertools import pairwise

import av
import numpy as np
from numpy.typing import NDArray

from telepresence.face.landmarks import LandmarkTracker

STEP_S = 0.02  # grid on which two series are compared
MAX_LAG_S = 1.5
SMOOTH_S = 0.2  # mean over this: single late pictures and the landmarks' tremble are not what is compared

# Pictures of both videos, drawn at the same moments; the frame callbacks count what really reaches the screen.
CAPTURE = """
async ([seconds, perSecond]) => {
  const names = ['camera', 'avatar'];
  const taken = { camera: [], avatar: [] }, shown = { camera: 0, avatar: 0 };
  const find = (name) => document.querySelector(`video[data-testid=${name}]`);
  const began = performance.now(), end = began + seconds * 1000;
  for (const name of names) {
    const video = find(name);
    const count = () => { shown[name] += 1; if (performance.now() < end) video.requestVideoFrameCallback(count); };
    video.requestVideoFrameCallback(count);
  }
  const encode = async (canvas) => {
    const blob = await canvas.convertToBlob({ type: 'image/jpeg', quality: 0.92 });
    const bytes = new Uint8Array(await blob.arrayBuffer());
    let text = '';
    for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text);
  };
  for (let tick = 0; performance.now() < end; tick += 1) {
    for (const name of names) {
      const video = find(name);
      if (video.readyState < 2 || !video.videoWidth) continue;
      const scale = Math.min(1, 320 / video.videoWidth);
      const canvas = new OffscreenCanvas(video.videoWidth * scale, video.videoHeight * scale);
      const time = performance.now();
      canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
      taken[name].push([time / 1000, await encode(canvas)]);
    }
    await new Promise((go) => setTimeout(go, began + (tick + 1) * 1000 / perSecond - performance.now()));
  }
  return { taken, shown, seconds: (performance.now() - began) / 1000 };
}
"""


@dataclass(frozen=True)
class Movement:
    """A face's movement over time."""

    times: NDArray[np.float64]
    """Seconds."""
    yaw: NDArray[np.float64]
    """Degrees; positive when the head turns to the picture's right."""
    mouth: NDArray[np.float64]
    """Opening between the inner lips, in distances between the outer eye corners."""
    missed: int
    """Pictures in which no face was found."""


def movement(taken: list[tuple[float, str]]) -> Movement:
    """Follow the face through `(seconds, JPEG in base64)`."""
    rows, missed = [], 0
    with LandmarkTracker() as tracker:
        for time, text in taken:
            picture = _decoded(text)
            points = tracker(picture)
            if points is None:
                missed += 1
                continue
            across = points[454] - points[234]  # from ear to ear
            eyes = np.linalg.norm(points[263] - points[33])
            yaw = np.degrees(np.arctan2(across[2], across[0]))
            rows.append((time, yaw, np.linalg.norm(points[14] - points[13]) / eyes))
    series = np.array(rows, np.float64).reshape(-1, 3).T
    return Movement(series[0], series[1], series[2], missed)


def change(taken: list[tuple[float, str]]) -> float:
    """Mean absolute difference from picture to picture, grey levels."""
    pictures = [_decoded(text).astype(np.int16) for _, text in taken]
    pairs = [(a, b) for a, b in pairwise(pictures) if a.shape == b.shape]
    return float(np.mean([np.abs(a - b).mean() for a, b in pairs])) if pairs else 0.0


@dataclass(frozen=True)
class Agreement:
    """How one movement follows another."""

    lag_s: float
    """By how much the second is later."""
    yaw: float
    """Pearson correlation at that lag."""
    mouth: float


def agreement(first: Movement, second: Movement) -> Agreement:
    """The lag at which `second` follows `first` best in yaw and mouth together, and how well it does."""
    lags = np.arange(0.0, MAX_LAG_S, STEP_S).tolist()
    what = ("yaw", "mouth")
    scored = [Agreement(lag, *(_correlation(first, second, one, lag) for one in what)) for lag in lags]
    return max(scored, key=lambda agreed: agreed.yaw + agreed.mouth)


def _correlation(first: Movement, second: Movement, what: str, lag: float) -> float:
    start = max(first.times[0], second.times[0] - lag)
    end = min(first.times[-1], second.times[-1] - lag)
    grid = np.arange(start, end, STEP_S)
    a = np.interp(grid, first.times, getattr(first, what))
    b = np.interp(grid + lag, second.times, getattr(second, what))
    if a.std() == 0 or b.std() == 0:
        return 0.0
    box = np.ones(round(SMOOTH_S / STEP_S)) * STEP_S / SMOOTH_S
    a, b = np.convolve(a, box, "valid"), np.convolve(b, box, "valid")
    return float(np.corrcoef(a, b)[0, 1])


def _decoded(jpeg_base64: str) -> NDArray[np.uint8]:
    codec = av.CodecContext.create("mjpeg", "r")
    [frame] = codec.decode(av.Packet(base64.b64decode(jpeg_base64)))
    return frame.to_ndarray(format="rgb24")
