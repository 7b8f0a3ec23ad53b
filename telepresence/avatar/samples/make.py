"""Make the samples anew: `python -m telepresence.avatar.samples.make [--motion CLIP]`. Needs scikit-image.

The avatar is made from `skimage.data.astronaut()`. The motion is made from a clip of a face: only its coefficients are
kept, and the end is blended into the beginning so that it loops.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.enrol import enrol
from telepresence.avatar.file import save
from telepresence.avatar.samples import SAMPLE_AVATAR, SAMPLE_MOTION
from telepresence.face.identity import neutral_shape
from telepresence.face.landmarks import LandmarkTracker
from telepresence.face.motion import Motion, Pose, rotation_matrix, rotation_vector, to_square
from telepresence.face.tracking import MotionExtractor
from telepresence.media import read_frames
from telepresence.wire.packets import MotionPacket
from telepresence.wire.track import MotionTrack, pack_track

PORTRAIT: Final = (slice(0, 320), slice(65, 385))  # rows, columns: head and shoulders of the 512 x 512 picture
LOOP_S: Final = 16.0
BLEND_S: Final = 0.8  # of the end, blended into what came before the beginning
BEGIN_S: Final = 3.0  # where in the clip the loop begins


def main() -> None:
    """Write `astronaut.avatar` and, if a clip is given, `talk.motion`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--motion", type=Path, metavar="CLIP", help="clip to take talk.motion from")
    options = parser.parse_args()
    make_avatar(SAMPLE_AVATAR)
    if options.motion:
        SAMPLE_MOTION.write_bytes(pack_track(make_motion(options.motion)))


def make_avatar(out: Path) -> None:
    """Enrol the astronaut and mark it free for all."""
    from PIL import Image
    from skimage.data import astronaut

    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "astronaut.png"
        Image.fromarray(astronaut()[PORTRAIT]).save(photo)
        save(enrol([photo], name="Astronaut", free_for_all=True), out)
    out.chmod(0o644)


def make_motion(clip: Path) -> MotionTrack:
    """Take a loop of motion from a clip."""
    times: list[int] = []
    points: list[NDArray[np.float32]] = []
    with LandmarkTracker() as tracker:
        for frame in read_frames(clip):
            landmarks = tracker(frame.picture)
            if landmarks is not None:
                height, width = frame.picture.shape[:2]
                points.append(to_square(landmarks, width, height))
                times.append(frame.time_us)
    extractor = MotionExtractor(neutral=neutral_shape(points))
    motions = [extractor(p) for p in points]
    step_us = round(float(np.median(np.diff(times))))
    begin, blend, length = (round(s * 1e6 / step_us) for s in (BEGIN_S, BLEND_S, LOOP_S))
    taken = motions[begin - blend : begin + length]
    if len(taken) < blend + length:
        raise SystemExit(f"{clip}: too short; {BEGIN_S + LOOP_S:.0f} s with a face in every frame are needed")
    before, loop = taken[:blend], taken[blend:]
    for i, early in enumerate(before):
        at = length - blend + i
        share = 0.5 - 0.5 * np.cos(np.pi * (i + 1) / (blend + 1))
        loop[at] = mix(loop[at], early, float(share))
    packets = tuple(MotionPacket(i, i * step_us, motion) for i, motion in enumerate(loop))
    return MotionTrack(packets, length * step_us)


def mix(one: Motion, other: Motion, share: float) -> Motion:
    """Motion between two: 0 gives the first, 1 the second."""

    def between(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
        return ((1 - share) * a + share * b).astype(np.float32)

    turn = rotation_vector(rotation_matrix(other.pose.rotation) @ rotation_matrix(one.pose.rotation).T)
    rotation = rotation_vector(rotation_matrix(share * turn) @ rotation_matrix(one.pose.rotation))
    pose = Pose(
        rotation,
        between(one.pose.translation, other.pose.translation),
        one.pose.scale ** (1 - share) * other.pose.scale**share,
    )
    return Motion(pose, between(one.expression, other.expression), between(one.gaze, other.gaze), one.schema)


if __name__ == "__main__":
    main()
