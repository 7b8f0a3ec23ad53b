"""Landmark noise out of motion, on the sender: a still face stays still, a moving one is not held back. Sans-I/O.

A filter that predicts from its own velocity and then goes towards the measurement by a gain that depends on how far
off the prediction was, in units of what noise alone would make of it: near nought the gain is that of a slow low-pass,
far off it is one. Unlike One-Euro (Casiez, Roussel, Vogel 2012), whose cut-off follows a velocity that is itself
low-passed, it is open on the very picture on which a lid falls. On held-out face clips it left less jitter than
the One-Euro settings tried and lagged by 1 to 3 ms instead of 5 to 8: `telepresence.bench.smoothing` measures both.

It works on motion, not on landmarks, so that lips and lids can be quick where the head is calm, and rotations stay
rotations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.motion import Motion, Pose, rotation_matrix, rotation_vector

Floats = NDArray[np.float32]
_Doubles = NDArray[np.float64]

GAP_US: Final = 250_000  # after such a gap the state says nothing about the present: start anew
POSE_TAU_S: Final = 0.15  # time constant at rest
FACE_TAU_S: Final = 0.12
POSE_OPEN: Final = 4.5  # deviations of noise at which the gain is half: more is calmer, and later
FACE_OPEN: Final = 4.8
SHARPNESS: Final = 3  # exponent of the passage from calm to open
USUAL_HZ: Final = 30.0  # pictures a second that the deviations above are for
TREND: Final = 0.8  # how much of the last steps the prediction carries on
VELOCITY_GAIN: Final = 0.5

# Deviation of landmark noise in still stretches of face clips (faces of 150 to 450 pixels), by part of a motion.
ROTATION_NOISE: Final = (0.0016, 0.0015, 0.0007)  # radians: nod, turn, tilt
TRANSLATION_NOISE: Final = (0.0010, 0.0006)  # of a face's scale, that is of the outer eye-corner distance
SCALE_NOISE: Final = 0.0010  # natural logarithm
EXPRESSION_NOISE: Final = (0.018, 0.0045, 0.09)  # standard deviations: first coefficient, more for each next, most
GAZE_NOISE: Final = 0.0006  # canonical units


@dataclass(slots=True)
class _Track:
    """One group of numbers that open together (or each for itself), with their velocity per picture."""

    value: _Doubles
    step: _Doubles

    def follow(self, innovation: _Doubles, gain: float | _Doubles) -> _Doubles:
        """Go on by the trend and by `gain` of the innovation; returns the whole step."""
        step: _Doubles = TREND * self.step + gain * innovation
        self.step = self.step + VELOCITY_GAIN * (step - self.step)
        return step


class MotionSmoother:
    """Smooths one stream of motion. One per camera; not thread-safe.

    It starts anew, that is lets a picture through as it is, after a gap, when time goes backwards, and when the
    motion's schema changes. A motion with a number that is not finite passes unchanged and leaves no trace.
    """

    def __init__(self) -> None:
        self._last_us = 0
        self._schema = 0
        self._rotation = np.eye(3)
        self._pose: _Track | None = None
        self._face: _Track | None = None
        self._noise = np.zeros(0)

    def reset(self) -> None:
        """Forget everything: the next motion passes as it is."""
        self._pose = self._face = None

    def __call__(self, motion: Motion, now_us: int) -> Motion:
        """Smooth one picture's motion.

        Args:
            motion: as extracted.
            now_us: the picture's capture time, any monotonic clock, microseconds.
        """
        face = np.concatenate([motion.expression, motion.gaze.reshape(-1)]).astype(np.float64)
        pose = motion.pose
        if not (np.isfinite(face).all() and np.isfinite([*pose.rotation, *pose.translation, pose.scale]).all()):
            return motion
        elapsed_us, self._last_us = now_us - self._last_us, now_us
        if (
            self._pose is None
            or self._face is None
            or not 0 < elapsed_us < GAP_US
            or len(face) != len(self._face.value)
            or motion.schema != self._schema
        ):
            self._begin(motion, face)
            return motion
        smooth_pose = self._smooth_pose(self._pose, pose, elapsed_us / 1e6)
        smooth = self._smooth_face(self._face, face, elapsed_us / 1e6).astype(np.float32)
        return Motion(smooth_pose, smooth[:-4], smooth[-4:].reshape(2, 2), motion.schema)

    def _begin(self, motion: Motion, face: _Doubles) -> None:
        pose = motion.pose
        self._schema = motion.schema
        self._rotation = rotation_matrix(pose.rotation)
        self._pose = _Track(np.array([*pose.translation, np.log(max(pose.scale, 1e-6))]), np.zeros(6))
        self._face = _Track(face, np.zeros(len(face)))
        first, more, most = EXPRESSION_NOISE
        expression = np.minimum(most, first + more * np.arange(len(face) - 4))
        self._noise = np.concatenate([expression, np.full(4, GAZE_NOISE)])

    def _smooth_pose(self, track: _Track, pose: Pose, seconds: float) -> Pose:
        """Head pose opens as one: who turns also shifts."""
        guess = rotation_matrix(TREND * track.step[:3]) @ self._rotation
        place = np.array([*pose.translation, np.log(max(pose.scale, 1e-6))])
        turn = rotation_vector(rotation_matrix(pose.rotation) @ guess.T)
        innovation = np.concatenate([turn, place - track.value - TREND * track.step[3:]])
        noise = np.array([*ROTATION_NOISE, *TRANSLATION_NOISE, SCALE_NOISE])
        noise[3:5] *= max(pose.scale, 1e-6)
        off = float(np.sqrt(np.mean((innovation / noise) ** 2)))
        gain = float(_gain(np.array(off), POSE_OPEN, POSE_TAU_S, seconds))
        step = track.follow(innovation, gain)
        self._rotation = rotation_matrix(gain * innovation[:3]) @ guess
        track.value = track.value + step[3:]
        x, y, log_scale = track.value
        return Pose(rotation_vector(self._rotation), np.array([x, y], np.float32), float(np.exp(log_scale)))

    def _smooth_face(self, track: _Track, face: _Doubles, seconds: float) -> _Doubles:
        """Every coefficient opens for itself: a blink must not let the jaw's noise through."""
        innovation = face - track.value - TREND * track.step
        gain = _gain(np.abs(innovation) / self._noise, FACE_OPEN, FACE_TAU_S, seconds)
        track.value = track.value + track.follow(innovation, gain)
        return track.value


def _gain(off: _Doubles, half_open: float, tau_s: float, seconds: float) -> _Doubles:
    """How much of the innovation is followed: `off` in deviations of noise."""
    least = 1 - np.exp(-seconds / tau_s)
    # At more pictures a second each moves less, and more of them share in the noise.
    openness = (off / (half_open * np.sqrt(seconds * USUAL_HZ))) ** SHARPNESS
    gain: _Doubles = least + (1 - least) * openness / (1 + openness)
    return gain
