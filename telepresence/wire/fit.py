"""Make the codec's tables from landmarks of face clips: `python -m telepresence.wire.fit CLIPS_DIR`.

Takes the same clips as `telepresence.face.fit`, without its held-out people, through the sender's own path (motion,
smoothing, quantiser), and fits what differences look like at each distance in time. Writes `tables-1.json` and the same
content for pages, `web/codec/tables-1.js`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.basis import Basis, default_basis
from telepresence.face.fit import HELD_OUT, clip_landmarks, point_weights
from telepresence.face.motion import MAX_ROTATION, MAX_TRANSLATION, SCALE_RANGE, to_square
from telepresence.face.smoothing import MotionSmoother
from telepresence.face.tracking import MotionExtractor
from telepresence.media import clip_info
from telepresence.wire.quantise import EXPRESSION, SCALE, SCALE_ONE, TRANSLATION, Grid, quantise
from telepresence.wire.rangecoder import TOTAL
from telepresence.wire.tables import FILE, GEARS, Residuals, Tables, parse

Ints = NDArray[np.int64]

# Steps: half of one is what rounding costs at most. Chosen on the curve that `telepresence bench wire` draws.
ROTATION_STEP: Final = 0.004  # radians
SCALE_STEP: Final = 1 / 128  # octaves
TRANSLATION_STEP: Final = 0.002  # canonical units
GAZE_STEP: Final = 0.004  # canonical units
EXPRESSION_STEP: Final = 0.002  # canonical units: root mean square over the landmarks, lips and lids counting threefold

GROUPS: Final = (6, 4, 48)  # pose, gaze, expression
TIMES: Final = (50, 90, 150, 250, 450, 900)  # half milliseconds: upper bounds of the classes
SHAPES: Final = 24
LARGEST: Final = 12  # difference with a symbol of its own
FLAGS: Final = (2800, 48, 160, 8, 1000, 32, 40, 8)  # rest | still << 1 | more << 2, in 4096
ROWS: Final = 5000  # differences a class is fitted on
ROUNDS: Final = 12


def main() -> None:
    """Fit and write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("out/landmarks"))
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--web", type=Path, default=FILE.parents[2] / "web" / "codec" / "tables-1.js")
    options = parser.parse_args()
    fields = _fixed_fields()
    grids = [(fps, clip) for fps, clip in read_grids(options.clips, options.cache, parse(fields))]
    fields.update(fit(grids, parse(fields)))
    text = dump(fields)
    options.out.write_text(text)
    options.web.parent.mkdir(parents=True, exist_ok=True)
    options.web.write_text(
        f"// Made by telepresence.wire.fit from tables-1.json; do not edit.\nexport default {text};\n"
    )
    print(f"{len(grids)} clips, {len(text)} bytes: {options.out}")


def read_grids(folder: Path, cache: Path, tables: Tables) -> list[tuple[float, Ints]]:
    """Every usable clip's integers (T, V) with its frame rate."""
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    out = []
    for item in manifest["items"]:
        tier, real = item["rights_tier"], item["real_human"]
        if tier.startswith("B") or real.startswith("real person, pixels") or item["identity"] in HELD_OUT:
            continue
        info = clip_info(folder / item["file"])
        extract, smooth, near = MotionExtractor(), MotionSmoother(), None
        rows: list[Grid] = []
        for i, points in enumerate(clip_landmarks(folder / item["file"], cache)):
            if np.isfinite(points).all():
                motion = smooth(extract(to_square(points, info.width, info.height)), round(i * 1e6 / info.fps))
                near = quantise(motion, tables, near)
                rows.append(near)
        out.append((info.fps, np.array(rows)))
    return out


def _fixed_fields() -> dict[str, Any]:
    """Everything that no statistics decide, with statistics that say nothing."""
    basis = default_basis()
    octaves = float(np.log2(SCALE_RANGE[1] / SCALE_RANGE[0]))
    steps = [*[ROTATION_STEP] * 3, SCALE_STEP, *[TRANSLATION_STEP] * 2, *[GAZE_STEP] * 4]
    steps += [float(f"{EXPRESSION_STEP / n:.4g}") for n in component_reach(basis)]
    bounds = [*[MAX_ROTATION] * 3, octaves, *[MAX_TRANSLATION / SCALE_RANGE[0]] * 2, *[basis.gaze_limit] * 4]
    limits = [int(np.ceil(b / s)) for b, s in zip([*bounds, *[basis.limit] * basis.size], steps, strict=True)]
    scales = SCALE_RANGE[0] * 2 ** (np.arange(limits[SCALE] + 1) * SCALE_STEP)
    values = len(steps)
    return {
        "version": 1, "schema": basis.schema, "groups": list(GROUPS), "steps": steps, "limits": limits,
        "origin": [0] * values, "scales": [round(s * SCALE_ONE) for s in scales], "times": list(TIMES),
        "flags": list(FLAGS), "gears": [[[TOTAL // GEARS] * GEARS for _ in GROUPS] for _ in range(len(TIMES) + 2)],
        "shapes": [_laplace(0.12 * 1.32**i) for i in range(SHAPES)],
        "shape_of": np.zeros((len(TIMES) + 2, GEARS, values), int).tolist(),
    }  # fmt: skip


def component_reach(basis: Basis) -> NDArray[np.float64]:
    """(E,) how far one standard deviation of a coefficient moves the face, as EXPRESSION_STEP counts it."""
    weights = point_weights()
    out: NDArray[np.float64] = np.sqrt((weights[:, None] * basis.components**2).sum((1, 2)) / weights.sum())
    return out


def fit(clips: list[tuple[float, Ints]], tables: Tables) -> dict[str, Any]:
    """Statistics of differences: shapes, which value has which, and gears (a Lloyd iteration over code lengths)."""
    origin = np.zeros(len(tables.steps), np.int64)
    everything = np.concatenate([rows for _, rows in clips])
    origin[SCALE] = int(np.median(everything[:, SCALE]))
    sizes = [_sizes(rows) for rows in _rows_by_class(clips, origin, tables)]
    shapes = [_laplace(0.12 * 1.32**i) for i in range(SHAPES)]
    widths = np.array([s.mean(0) for s in sizes])
    gain = np.geomspace(0.35, 3.0, GEARS)
    nearest = np.round(np.log(np.maximum(widths[:, None] * gain[:, None], 0.1) / 0.12) / np.log(1.32))
    shape_of = np.clip(nearest, 0, SHAPES - 1).astype(int)
    gears = np.full((len(sizes), len(GROUPS), GEARS), TOTAL / GEARS)
    for _ in range(ROUNDS):
        cost = np.stack([Residuals(s).cost for s in shapes])
        pooled = np.zeros((SHAPES, LARGEST + 2))
        for number, size in enumerate(sizes):
            for g, group in enumerate(tables.groups):
                bits = cost[shape_of[number, :, group][:, None, :], size[None, :, group]].sum(2)
                best = np.argmin(bits + 256 * (12 - np.log2(gears[number, g]))[:, None], 0)
                gears[number, g] = np.bincount(best, minlength=GEARS) + 1.0
                gears[number, g] *= TOTAL / gears[number, g].sum()
                for gear in range(GEARS):
                    for value in range(group.start, group.stop):
                        counts = np.bincount(size[best == gear, value], minlength=LARGEST + 2) + 1e-3
                        shape_of[number, gear, value] = int(np.argmin(cost @ counts))
                        pooled[shape_of[number, gear, value]] += counts
        shapes = [_frequencies(p, old) for p, old in zip(pooled, shapes, strict=True)]
    return {
        "origin": origin.tolist(),
        "shapes": shapes,
        "shape_of": shape_of.tolist(),
        "gears": [[_round_up(f) for f in groups] for groups in gears],
    }


def _rows_by_class(clips: list[tuple[float, Ints]], origin: Ints, tables: Tables) -> list[Ints]:
    """Differences (N, V) by time class: from the origin, then from earlier and earlier motions."""
    classes: list[list[Ints]] = [[] for _ in range(len(TIMES) + 2)]
    for fps, rows in clips:
        classes[0].append(rows - origin)
        for lag in range(1, min(31, len(rows))):
            number = tables.time_class(round(2000 * lag / fps))
            classes[number].append(rows[lag:] - _rescaled(rows[:-lag], rows[lag:, SCALE], tables))
            if lag == 1:  # no clip is at 60 a second: half of the step of 30
                classes[1].append(np.rint(classes[number][-1] / 2).astype(np.int64))
    generator = np.random.default_rng(0)
    joined = [np.concatenate(parts) for parts in classes]
    for rows in joined:
        rows[:, EXPRESSION - 2 : EXPRESSION] -= rows[:, EXPRESSION - 4 : EXPRESSION - 2]
    return [rows[generator.choice(len(rows), min(ROWS, len(rows)), replace=False)] for rows in joined]


def _rescaled(rows: Ints, scale: Ints, tables: Tables) -> Ints:
    scales = np.array(tables.scales)
    old, new = scales[rows[:, SCALE], None], scales[scale, None]
    out = rows.copy()
    out[:, TRANSLATION] = (rows[:, TRANSLATION] * old + new // 2) // new
    return out


def _sizes(rows: Ints) -> Ints:
    out: Ints = np.minimum(np.abs(rows), LARGEST + 1)
    return out


def _laplace(width: float) -> list[int]:
    """Frequencies of a two-sided geometric distribution with about this mean size."""
    ratio = width / (1 + width)
    return _frequencies(np.array([1.0, *[2 * ratio ** (0.9 * k) for k in range(1, LARGEST + 1)], ratio**LARGEST]), None)


def _frequencies(counts: NDArray[np.float64], old: list[int] | None) -> list[int]:
    """Counts by size (0, 1, ..., LARGEST, larger) -> half a table that adds up to TOTAL."""
    if counts.sum() < 1 and old is not None:
        return old
    share = counts / counts.sum() * TOTAL
    out = np.maximum(np.rint(share), 1)
    out[1:-1] = np.maximum(np.rint(share[1:-1] / 2), 1)
    out[0] = 0
    out[0] = TOTAL - out[-1] - 2 * out[1:-1].sum()
    while out[0] < 1:  # many small ones were raised to 1
        widest = 1 + int(np.argmax(out[1:]))
        out[widest] -= 1
        out[0] += 1 if widest == len(out) - 1 else 2
    return [int(v) for v in out]


def _round_up(shares: NDArray[np.float64]) -> list[int]:
    out = np.maximum(np.rint(shares), 16).astype(int)
    out[np.argmax(out)] += TOTAL - out.sum()
    return [int(v) for v in out]


def dump(fields: dict[str, Any]) -> str:
    """JSON with one field a line, and one row of a table a line."""
    lines = []
    for name, value in fields.items():
        rows = value if name in ("gears", "shapes", "shape_of") else None
        inner = "[\n  " + ",\n  ".join(json.dumps(row) for row in rows) + "\n ]" if rows else json.dumps(value)
        lines.append(f' "{name}": {inner}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
