"""Vectors that the Python and the JavaScript of faces both pass; `python -m tests.web.make_vectors` writes them.

Faces are given by numbers from which both sides make the same points, so that the file stays small.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.file import load
from telepresence.avatar.samples import SAMPLE_AVATAR, sample_motion
from telepresence.face.basis import default_basis
from telepresence.face.identity import difference, without_expression
from telepresence.face.motion import (
    Motion,
    Pose,
    clamp,
    fit_pose,
    keypoints,
    rotation_matrix,
    rotation_vector,
    to_square,
)
from telepresence.face.mouth import Mouth
from telepresence.face.retarget import Retarget
from telepresence.face.smoothing import MotionSmoother
from telepresence.face.tracking import MotionExtractor
from telepresence.rtc.landmarker import Tracked
from telepresence.rtc.speaker import Speaker
from telepresence.runtime.engine import resized
from telepresence.wire.codec import MotionPacket
from telepresence.wire.playout import Playout

Floats = NDArray[np.float32]
FILE: Final = Path(__file__).with_name("face_vectors.json")
LOOKED_AT: Final = (0, 13, 14, 33, 61, 152, 234, 291, 386, 454, 468, 473)  # landmarks that results are compared at
FRAMES: Final = 12
EVERY: Final = 3  # of the recorded motion: larger steps than a camera's
COEFFICIENTS: Final = 10  # of an expression, that are compared


def person() -> list[float]:
    """Coefficients of a made-up neutral shape in the basis of identities."""
    return [round(float(0.9 * np.sin(1.7 * k + 0.4)), 4) for k in range(len(default_basis().identity))]


def neutral_of(coefficients: list[float]) -> Floats:
    """(478, 3), as `neutralOf` in face.test.mjs."""
    basis = default_basis()
    out = basis.mean.astype(np.float64).copy()
    out[:468] += np.tensordot(coefficients, basis.identity.astype(np.float64), 1)
    return out.astype(np.float32)


def noise(frame: int) -> Floats:
    """(478, 3), as `noise` in face.test.mjs."""
    at = np.arange(478 * 3, dtype=np.float64)
    return (0.0015 * np.sin(0.37 * at + 1.3 * frame)).reshape(478, 3).astype(np.float32)


def make() -> dict[str, Any]:
    """All vectors."""
    motions = [packet.motion for packet in sample_motion()[: FRAMES * EVERY : EVERY]]
    shape = neutral_of(person())
    frames = [(keypoints(motion, shape) + noise(n)).astype(np.float32) for n, motion in enumerate(motions)]
    return {
        "looked_at": list(LOOKED_AT),
        "person": person(),
        "motions": [written(motion) for motion in motions],
        "rotations": rotations(),
        "clamped": clamped(),
        "keypoints": [looked(keypoints(motion, shape)) for motion in motions],
        "poses": [pose_of(fit_pose(points, shape)) for points in frames],
        "plain": looked(without_expression(fit_pose(frames[3], default_basis().mean).invert(frames[3]))),
        "difference": float(difference(shape, default_basis().mean)),
        "square": looked(to_square((frames[0] + 1) * 240, 640, 480)),
        "extracted": extracted(frames, None),
        "extracted_known": extracted(frames, (shape + 0.004 * np.sign(shape)).astype(np.float32)),
        "smoothed": smoothed(motions),
        "retargeted": retargeted(motions, shape),
        "playout": playout(),
        "speaking": speaking(motions),
        "avatar": avatar(),
        "resized": resizes(),
    }


def written(motion: Motion) -> dict[str, Any]:
    """A motion as the page has it."""
    numbers = {"translation": motion.pose.translation, "gaze": motion.gaze, "expression": motion.expression}
    return {
        "rotation": values(motion.pose.rotation),
        "scale": float(np.float32(motion.pose.scale)),
        **{name: values(array) for name, array in numbers.items()},
    }


def short(motion: Motion) -> list[float]:
    """What of a motion is compared."""
    pose = motion.pose
    return values(
        [*pose.rotation, *pose.translation, pose.scale, *motion.gaze.reshape(-1), *motion.expression[:COEFFICIENTS]]
    )


def values(array: Any) -> list[float]:
    """Seven digits, as many as float32 has."""
    return [float(f"{value:.7g}") for value in np.asarray(array, np.float64).reshape(-1)]


def looked(points: Floats) -> list[float]:
    return values(points[list(LOOKED_AT)])


def pose_of(pose: Pose) -> list[float]:
    return values([*pose.rotation, *pose.translation, pose.scale])


def rotations() -> list[dict[str, list[float]]]:
    vectors = [[0, 0, 0], [0.3, -0.2, 0.1], [1.2, 2.0, -0.7], [0, np.pi, 0], [1e-5, 0, 0], [-2, 1, 1]]
    return [
        {
            "vector": values(v),
            "matrix": values(m := rotation_matrix(np.array(v, np.float64))),
            "back": values(rotation_vector(m)),
        }
        for v in vectors
    ]


def clamped() -> list[dict[str, Any]]:
    """Nonsense, and what is left of it."""
    size = default_basis().size
    given = Motion(
        Pose(np.array([9, -9, 1], np.float32), np.array([7, -0.5], np.float32), 40.0),
        np.linspace(-50, 50, size).astype(np.float32),
        np.array([[5, 0.01], [-5, -0.02]], np.float32),
    )
    return [{"given": written(given), "clamped": short(clamp(given))}]


def extracted(frames: list[Floats], known: Floats | None) -> list[list[float]]:
    extractor = MotionExtractor(known)
    return [short(extractor(points)) for points in frames]


def smoothed(motions: list[Motion]) -> list[list[float]]:
    """At 30 a second, with a gap before the last but two."""
    smoother = MotionSmoother()
    return [short(smoother(motion, time_us(n))) for n, motion in enumerate(motions)]


def time_us(n: int) -> int:
    return 1_000_000 + 33_333 * n + (400_000 if n >= FRAMES - 3 else 0)


def retargeted(motions: list[Motion], shape: Floats) -> list[list[float]]:
    rest = Pose(np.array([0.1, -0.15, 0.02], np.float32), np.array([0.03, 0.1], np.float32), 0.45)
    puppet = Retarget(shape, rest, "relative")
    return [looked(puppet(motion, 1_000_000 + 200_000 * n)) for n, motion in enumerate(motions)]


def playout() -> dict[str, Any]:
    """A stream with jitter, losses, a copy, one of nonsense, rest, and silence at the end; sampled at 50 a second."""
    recorded = sample_motion()
    arrivals: list[list[Any]] = []  # when it comes, sequence, captured, index of the motion, rest, still
    for n in range(30):
        captured = 5_000_000 + 33_333 * n
        late = (7 * n * n) % 29 * 1000
        if n not in (6, 7, 8, 15):
            arrivals.append([captured + 40_000 + late, 100 + n, captured, n, n in (22, 23), n >= 28])
    arrivals += [[5_300_500, 104, 5_133_332, 4, False, False], [5_400_200, 70_000_000, 900, 5, False, False]]
    arrivals.sort(key=lambda item: item[0])
    shown, line = Playout(forget=True), list(arrivals)
    samples = []
    for now in range(5_020_000, 9_400_000, 20_000):
        while line and line[0][0] <= now:
            came, sequence, captured, index, rest, still = line.pop(0)
            motion = recorded[index * EVERY % (FRAMES * EVERY)].motion
            shown.receive(MotionPacket(sequence, captured, motion, 0, rest, still), came)
        motion_now = shown.sample(now)
        if len(samples) < 70 or now % 200_000 == 0:
            samples.append([now, shown.state.value, None if motion_now is None else short(motion_now)])
    counts = shown.counts
    return {
        "arrivals": arrivals,
        "samples": samples,
        "counts": {name: getattr(counts, name) for name in counts.__slots__},
    }


def speaking(motions: list[Motion]) -> dict[str, Any]:
    """A voice of eight seconds alone, a face for three, the voice again for two, and rest; 20 a second."""
    chance = random.Random(1)  # as the speaker's own, for its blinks
    events: list[list[Any]] = []
    speaker = Speaker()
    for n in range(20 * 15):
        now = 3_000_000 + 50_000 * n
        mouth, level = [values(abs(np.sin(0.3 * n + k)))[0] for k in range(3)], values(abs(np.cos(0.1 * n)))[0]
        index = n % len(motions)
        if 160 <= n < 220:
            packet = MotionPacket(0, now - 20_000, motions[index])
            events.append(["face", now, index, _sent(speaker.camera(Tracked(packet, True, 0), now))])
        elif n >= 260:
            packet = MotionPacket(0, now, motions[index], rest=True)
            events.append(["rest", now, index, _sent(speaker.camera(Tracked(packet, False, 0), now))])
        if n < 260:
            events.append(["voice", now, mouth, level, _sent(speaker.voice(Mouth(*mouth), level, now))])
    return {"random": [chance.random() for _ in range(8)], "events": events}


def _sent(packet: MotionPacket | None) -> list[Any] | None:
    """When, whether at rest, and of every other one the motion."""
    if packet is None:
        return None
    written_out = packet.capture_us // 50_000 % 2 == 0
    return [packet.capture_us, packet.rest, short(packet.motion) if written_out else None]


def avatar() -> dict[str, Any]:
    """What the page reads of the sample avatar."""
    sample = load(SAMPLE_AVATAR)
    first = sample.references[0]
    return {
        "name": sample.name,
        "references": len(sample.references),
        "side": first.side,
        "landmarks": looked(first.landmarks),
        "neutral": looked(sample.neutral),
        "rest": pose_of(sample.rest),
    }


def resizes() -> list[dict[str, Any]]:
    """Pictures (side, side) of one channel, scaled down and up."""
    out = []
    for side, size in ((24, 10), (10, 16)):
        y, x = np.mgrid[:side, :side]
        picture = ((x * x * 3 + y * 11 + (x > side // 2) * 120) % 256).astype(np.uint8)
        out.append(
            {
                "side": side,
                "size": size,
                "given": picture.reshape(-1).tolist(),
                "scaled": resized(picture, size).reshape(-1).tolist(),
            }
        )
    return out


def text() -> str:
    """The file's text."""
    return json.dumps(make(), separators=(",", ":")) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
    print(f"{FILE.stat().st_size} bytes: {FILE}")
