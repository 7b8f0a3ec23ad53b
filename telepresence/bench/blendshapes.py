"""What the 52 blendshape weights do on real clips: how far each goes, and whether eyes and jaw follow the face's own.

    python -m telepresence.bench.blendshapes CLIP_OR_FOLDER...

A clip goes through landmarks, motion and smoothing as in a call. Truth is the clip's landmarks themselves: how far lids
and lips are apart, over the distance of the eyes' outer corners.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.bench.link import clip_files
from telepresence.bench.wire import Clip, read_clip
from telepresence.face.blendshapes import MEASURED, NAMES, blendshapes

Doubles = NDArray[np.float64]

SETTLED: Final = 30  # pictures, after which the person's neutral shape is known
CORNERS: Final = (33, 263)  # outer corners of the eyes
LIPS: Final = (13, 14)
LIDS: Final = {"Left": (386, 374), "Right": (159, 145)}  # of the person's own eye: upper, lower


def measure(clip: Clip) -> dict[str, Any]:
    """Weights of a clip: the 99th percentile of each, and the correlations of eyes and jaw with the landmarks."""
    weights = np.stack([blendshapes(motion) for motion in clip.motions[SETTLED:]]).astype(np.float64)
    points = clip.points[SETTLED:].astype(np.float64)
    column = {name: weights[:, place] for place, name in enumerate(NAMES)}
    truth = {f"eyeBlink{side}": -_apart(points, pair) for side, pair in LIDS.items()} | {
        "jawOpen": _apart(points, LIPS)
    }
    return {
        "clip": clip.name,
        "pictures": len(weights),
        "reached": {name: round(float(np.percentile(column[name], 99)), 3) for name in NAMES},
        "correlation": {name: _correlation(column[name], values) for name, values in truth.items()},
    }


def report(clips: Sequence[Clip]) -> dict[str, Any]:
    """Of several clips: each, the range of the correlations, and what each weight reaches in any of them."""
    rows = [measure(clip) for clip in clips]
    reached = {name: [row["reached"][name] for row in rows] for name in NAMES}
    found = {name: [row["correlation"][name] for row in rows] for name in rows[0]["correlation"]}
    return {
        "clips": rows,
        "correlation": {name: [min(values), float(np.median(values)), max(values)] for name, values in found.items()},
        "reached": {name: [float(np.median(reached[name])), max(reached[name])] for name in MEASURED},
        "never_over_a_tenth": [name for name in MEASURED if max(reached[name]) < 0.1],
    }  # fmt: skip


def report_text(found: dict[str, Any]) -> str:
    """For a terminal."""
    lines = [f"{len(found['clips'])} clips, {sum(row['pictures'] for row in found['clips'])} pictures"]
    for name, (least, middle, most) in found["correlation"].items():
        lines.append(f"{name}: correlation {least:.2f} to {most:.2f}, median {middle:.2f}")
    lines.append("99th percentile, median of the clips and most of any:")
    reached = sorted(found["reached"].items(), key=lambda item: -item[1][1])
    lines += [f"  {name:20} {middle:.2f} {most:.2f}" for name, (middle, most) in reached]
    return "\n".join(lines)


def _apart(points: Doubles, pair: tuple[int, int]) -> Doubles:
    """(T,) distance of two landmarks, over that of the eyes' corners."""
    ends = [np.linalg.norm(points[:, a] - points[:, b], axis=-1) for a, b in (pair, CORNERS)]
    apart: Doubles = ends[0] / ends[1]
    return apart


def _correlation(ours: Doubles, truth: Doubles) -> float:
    if ours.std() < 1e-9 or truth.std() < 1e-9:
        return 0.0
    return round(float(np.corrcoef(ours, truth)[0, 1]), 3)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--most", type=int, default=270, help="pictures of a clip")
    parser.add_argument("--cache", type=Path, default=Path("out/landmarks"), help="where landmarks are kept")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    read = [read_clip(path, options.cache) for path in clip_files(options.clips)]
    found = report([_first(clip, options.most) for clip in read])
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(report_text(found))


def _first(clip: Clip, most: int) -> Clip:
    return Clip(clip.name, clip.fps, clip.points[:most], clip.neutral, clip.motions[:most])


if __name__ == "__main__":
    main()
