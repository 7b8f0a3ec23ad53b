"""What all parts of `bench headset` measure with: the sample avatar, moved by the sample motion."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.samples import sample_avatar, sample_motion
from telepresence.face.retarget import Retarget
from telepresence.face.stereo import Stereo, eye_keypoints, unit_m, viewer

Report = dict[str, Any]

IPD_M: Final = 0.063
RIGHT: Final = np.array([1.0, 0.0, 0.0])
ACROSS_M: Final = 1.3


@dataclass(frozen=True)
class HeadsetConfig:
    """What is measured."""

    engine: str = "live"
    size: int = 256
    runtime: str | None = None
    seconds: float = 10.0
    page: bool = True


@dataclass
class Scene:
    """The sample avatar's keypoints as the sample motion moves them."""

    points: list[NDArray[np.float32]]
    metres: float
    at: int = 0
    keypoint_ms: list[float] = field(default_factory=list)

    @classmethod
    def made(cls) -> Scene:
        """From the samples."""
        packets = sample_motion()
        avatar = sample_avatar()
        retarget = Retarget(avatar.neutral, avatar.rest, "relative")
        points = [retarget(packet.motion, packet.capture_us) for packet in packets[:200]]
        return cls(points, unit_m(avatar.rest.scale))

    def seen(self, x: float, distance: float = ACROSS_M) -> Stereo:
        """The next motion, for a head that is aside by x metres."""
        self.at += 1
        begin = time.perf_counter()
        seen = eye_keypoints(
            self.points[self.at % len(self.points)], viewer(np.array([x, 0.0, distance]), RIGHT, IPD_M), self.metres
        )
        self.keypoint_ms.append(1e3 * (time.perf_counter() - begin))
        return seen


@contextmanager
def own_data_folder() -> Iterator[None]:
    """The certificate of a benchmark is not the user's."""
    before = os.environ.get("XDG_DATA_HOME")
    with tempfile.TemporaryDirectory(prefix="telepresence-bench-") as folder:
        os.environ["XDG_DATA_HOME"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["XDG_DATA_HOME"]
            else:
                os.environ["XDG_DATA_HOME"] = before


def median(values: list[float]) -> float:
    """To a hundredth."""
    return round(float(np.median(values)), 2)


def percentile(values: list[float], share: float) -> float | None:
    """To a tenth; None of nothing."""
    return round(float(np.percentile(values, share)), 1) if values else None
