"""How far what is seen in the headset lags behind the head that moves, in pixels of the emulated headset's display.

A head sways before an avatar that keeps still. In every frame that the page draws, MediaPipe finds how far the nose is
beside the middle of the eyes: that is the parallax within the head, which only a relief or a new picture changes. The
lag is the time by which the head's way, as the same frames show it, has to be shifted to explain the nose's.
"""

from __future__ import annotations

import base64
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.bench.headset_page import SHOWN, worn
from telepresence.bench.headset_scene import HeadsetConfig, Report, percentile
from telepresence.errors import InputError
from telepresence.sinks.headset.rehearsal import show

Doubles = NDArray[np.float64]

SWAY_M: Final = 0.2  # to either side
SWAY_HZ: Final = 0.25  # at most 31 cm a second
FOV: Final = 0.35  # radians: a telephoto lens, so that a nose is many pixels
NOSE: Final = 4
CORNERS: Final = (33, 263)
EARLIEST_MS: Final = -150.0
LATEST_MS: Final = 1000.0
STOPS: Final = (-1.0, -0.5, 0.0, 0.5, 1.0)  # of the sway: where the head waits for its picture
LEAST_FRAMES: Final = 30
HOLD_MS: Final = 1000

# A head aside that faces whoever sits opposite, so that the face stays in the middle of the picture.
LOOK = """const look = (x) => {
    const angle = Math.atan2(x, 1.3);
    device.position.x = x;
    device.quaternion.set(0, Math.sin(angle / 2), 0, Math.cos(angle / 2));
  };"""

# Of every frame: when, where the head was, which picture, and what the left eye saw.
SWAY = (
    """async ([seconds, metres, hertz]) => {
  """
    + LOOK
    + """
  const { renderer } = headsetPage, frames = [];
  const small = document.createElement("canvas"), brush = small.getContext("2d");
  const begin = performance.now(), from = renderer.domElement;
  const timer = setInterval(() => {
    look(metres * Math.sin(2 * Math.PI * hertz * (performance.now() - begin) / 1000));
  }, 3);
  small.width = from.width / 2;
  small.height = from.height;
  while (performance.now() - begin < 1000 * seconds) {
    await new Promise((resolve) => requestAnimationFrame(resolve));
    brush.drawImage(from, 0, 0);
    const [left, right] = renderer.xr.getCamera().cameras.map((one) => one.matrixWorld.elements[12]);
    const picture = [...headsetPage.avatars.values()][0].pictures;
    frames.push([performance.now(), (left + right) / 2, picture, small.toDataURL("image/jpeg", 0.95)]);
  }
  clearInterval(timer);
  return frames;
}"""
)

# What the left eye sees now, in the frame after so long a wait.
HOLD = (
    """async ([metres, ms]) => {
  """
    + LOOK
    + """
  look(metres);
  await new Promise((resolve) => setTimeout(resolve, ms));
  await new Promise((resolve) => requestAnimationFrame(resolve));
  const from = headsetPage.renderer.domElement, small = document.createElement("canvas");
  small.width = from.width / 2;
  small.height = from.height;
  small.getContext("2d").drawImage(from, 0, 0);
  return small.toDataURL("image/jpeg", 0.95);
}"""
)


async def measure_parallax(config: HeadsetConfig) -> Report:
    """The lag with the page's relief, and with nothing but pictures; what a picture takes.

    Raises:
        InputError: as of `worn`; or no face is to be found.
    """
    async with (
        show(engine=config.engine, size=config.size, runtime=config.runtime, moving=False) as sink,
        worn(sink) as (page, _),
    ):
        await page.evaluate(f"device.fovy = {FOV}")
        found: Report = {"drawn_per_m": await _drawn(page), "seen": await _sway(page, config.seconds)}
        await page.evaluate("for (const avatar of headsetPage.avatars.values()) avatar.flat = true")
        await page.wait_for_timeout(500)
        found["pictures_alone"] = await _sway(page, config.seconds)
        pictures = await page.evaluate(SHOWN)
    return {"sway_m": SWAY_M, "sway_hz": SWAY_HZ, "pictures": pictures, **found}


async def _drawn(page: Any) -> float:
    """The nose's way by metre of the head's in pictures that are drawn for where the head is: how much is right."""
    places = SWAY_M * np.array(STOPS)
    noses = _noses([_jpeg(await page.evaluate(HOLD, [float(place), HOLD_MS])) for place in places])
    known = np.isfinite(noses)
    if known.sum() < 3:
        raise InputError("in the frames of the page there is no face")
    return round(float(np.polyfit(places[known], noses[known], 1)[0]), 3)


async def _sway(page: Any, seconds: float) -> Report:
    frames = await page.evaluate(SWAY, [seconds, SWAY_M, SWAY_HZ])
    noses = _noses([_jpeg(frame[3]) for frame in frames])
    known = np.isfinite(noses)
    if known.sum() < LEAST_FRAMES:
        raise InputError(f"only in {known.sum()} of {len(frames)} frames of the page is there a face")
    times, places = (np.array([frame[n] for frame in frames], np.float64) for n in (0, 1))
    new = np.flatnonzero(np.diff([frame[2] for frame in frames])) + 1
    lag_ms, slope, rest = lag(times[known], places[known], noses[known])
    return {
        "lag_ms": round(lag_ms, 1), "per_m": round(slope, 3), "unexplained": round(rest, 4), "frames": int(known.sum()),
        "frame_ms": percentile(np.diff(times).tolist(), 50),
        "picture_ms": percentile(np.diff(times[new]).tolist(), 50),
    }  # fmt: skip


def _jpeg(url: str) -> bytes:
    return base64.b64decode(url.split(",")[1])


def lag(times_ms: Doubles, places: Doubles, seen: Doubles) -> tuple[float, float, float]:
    """By how many ms `seen` (N,) comes after `places` (N,); `seen` by a metre; the share of it that is left over."""
    best = (np.inf, 0.0, 0.0)
    for shift in np.arange(EARLIEST_MS, LATEST_MS, 2.0):
        inside = (times_ms - shift >= times_ms[0]) & (times_ms - shift <= times_ms[-1])
        then = np.interp(times_ms[inside] - shift, times_ms, places)
        columns = np.stack([then, np.ones_like(then)], axis=1)
        fitted, *_ = np.linalg.lstsq(columns, seen[inside], rcond=None)
        left = float(np.var(seen[inside] - columns @ fitted) / np.var(seen[inside]))
        best = min(best, (left, float(shift), float(fitted[0])))
    return best[1], best[2], best[0]


def _noses(pictures: list[bytes]) -> Doubles:
    """(N,) how far noses are beside the middle of the eyes' corners, over their distance; NaN where no face is."""
    import cv2

    from telepresence.face.landmarks import LandmarkTracker

    found = []
    with LandmarkTracker(still=True) as track:
        for data in pictures:
            bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            points = track(np.ascontiguousarray(bgr[..., ::-1]))
            if points is None:
                found.append(np.nan)
                continue
            corners = points[list(CORNERS)]
            found.append((points[NOSE, 0] - corners[:, 0].mean()) / np.linalg.norm(corners[1] - corners[0]))
    return np.array(found)
