"""`telepresence engines verify`: whether a runtime computes what the engine says, on golden vectors and random inputs.

The reference of golden vectors is torch, which wrote them at export; that of random inputs is onnxruntime in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import EngineError
from telepresence.face.basis import default_basis
from telepresence.face.motion import Pose
from telepresence.runtime import golden
from telepresence.runtime.batch import SIZES
from telepresence.runtime.contract import Array, Compiling, Progress, Runtime
from telepresence.runtime.graphs import EncodeInput, Graphs
from telepresence.runtime.info import EngineInfo
from telepresence.runtime.many import Batch, batches
from telepresence.runtime.onnxruntime import OnnxRuntime

PICTURES: Final = 4  # random ones


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a runtime may be from the reference."""

    feature: float
    """Root mean square error of an output of `encode`, as a share of its standard deviation."""
    psnr: float
    """dB, the least that every picture must have."""
    mean: float
    """Grey levels, the most that a picture may differ by on average."""
    golden: float = 0.0
    """dB, of the golden vectors, if that is more."""


EXACT: Final = Tolerance(1e-4, 50.0, 0.1)
HALF: Final = Tolerance(5e-3, 45.0, 1.0)
# `encode` is in float32. Random pictures are blocks of noise: at their edges a hair's breadth is many grey levels.
INT8: Final = Tolerance(1e-4, 32.0, 1.5, golden.MIN_INT8_PSNR)
_TOLERANCES: Final = {"openvino": EXACT, "onnxruntime": EXACT, "torch-cpu": EXACT, "openvino-int8": INT8}


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison."""

    what: str
    """`golden`, `picture`, `N in a call` (pictures of several participants), or an output of `encode`."""
    error: float
    """Of pictures the mean in grey levels, of outputs the root mean square as a share of the standard deviation."""
    psnr: float | None
    """dB, of pictures."""
    limit: float
    """For `error`."""
    least_psnr: float | None
    ok: bool


Found = list[Finding] | EngineError | str
"""Of a runtime: what was compared, how it failed, or why it cannot be used here."""


def tolerance(runtime: Runtime) -> Tolerance:
    """What a runtime is held to: float32 arithmetic in another order, half precision, or 8 bits."""
    return _TOLERANCES.get(runtime.name, HALF)


def verify(
    info: EngineInfo, size: int, runtime: Runtime, *, threads: int | None = None, progress: Progress | None = None
) -> list[Finding]:
    """Compare a runtime with the reference; compiles first if it must.

    Raises:
        EngineError: the runtime cannot be used, or it failed.
    """
    if isinstance(runtime, Compiling):
        for kind in ("encode", "render"):
            runtime.build(info.graph(kind, size), progress)
    limit = tolerance(runtime)
    findings = []
    graphs = Graphs(info, size, runtime, threads)
    reference = Graphs(info, size, OnnxRuntime(), threads)
    try:
        path = info.folder / f"golden-{size}.npz"
        if path.exists():
            stricter = replace(limit, psnr=max(limit.psnr, limit.golden))
            findings.append(_pictures("golden", golden.check(graphs, path), stricter))
        findings.extend(_compare_random(graphs, reference, limit))
        if batches(runtime):
            findings.extend(_compare_batches(info, runtime, reference, limit, progress))
    finally:
        graphs.close()
        reference.close()
    return findings


def text(findings: Mapping[str, Found]) -> str:
    """Findings by "engine size runtime", as a table to read."""
    lines = []
    for title, found in findings.items():
        if isinstance(found, str):
            lines.append(f"{title}: not run: {found}")
            continue
        if isinstance(found, EngineError):
            lines.append(f"{title}: FAILED: {found}")
            continue
        lines.append(f"{title}: {'as it should be' if all(f.ok for f in found) else 'WRONG'}")
        for finding in found:
            picture = "" if finding.psnr is None else f", {finding.psnr:.1f} dB (at least {finding.least_psnr:.0f})"
            mark = "ok   " if finding.ok else "WRONG"
            lines.append(f"  {mark} {finding.what:12} error {finding.error:.2g} (at most {finding.limit:g}){picture}")
    return "\n".join(lines)


def as_rows(findings: Mapping[str, Found]) -> list[dict[str, Any]]:
    """The same, JSON-ready."""
    rows: list[dict[str, Any]] = []
    for title, found in findings.items():
        if isinstance(found, str):
            rows.append({"case": title, "not_run": found})
        elif isinstance(found, EngineError):
            rows.append({"case": title, "failed": str(found)})
        else:
            rows.extend({"case": title, **asdict(finding)} for finding in found)
    return rows


def _compare_random(graphs: Graphs, reference: Graphs, limit: Tolerance) -> Iterator[Finding]:
    rng = np.random.default_rng(7)
    references, background = _random_avatar(rng, graphs.size, min(3, graphs.info.references))
    expected, made = (each.tensors(iter(references), background) for each in (reference, graphs))
    for name, values in expected.items():
        if values.dtype == np.float32 and name != "reference_keypoints":
            yield _output(name, made[name], values, limit)
    points = [_random_keypoints(rng) for _ in range(PICTURES)]
    drawn = np.stack([graphs.render(expected, each).copy() for each in points])
    wanted = np.stack([reference.render(expected, each).copy() for each in points])
    yield _pictures("picture", golden.compare(drawn, wanted), limit)


def _compare_batches(
    info: EngineInfo, runtime: Runtime, reference: Graphs, limit: Tolerance, progress: Progress | None
) -> Iterator[Finding]:
    """Every place of every batch."""
    rng = np.random.default_rng(8)
    avatars = [_random_avatar(rng, reference.size, 1) for _ in range(2)]
    tensors = [reference.tensors(iter(references), background) for references, background in avatars]
    pairs = [(tensors[place % 2], _random_keypoints(rng)) for place in range(SIZES[-1])]
    wanted = np.stack([reference.render(*pair).copy() for pair in pairs])
    for count in SIZES:
        batch = Batch(info, reference.size, runtime, count, progress)
        try:
            for _ in range(2):  # on a GPU the second is what all others are
                drawn = np.stack(batch.draw(pairs[:count]))
        finally:
            batch.close()
        yield _pictures(f"{count} in a call", golden.compare(drawn, wanted[:count]), limit)


def _output(name: str, made: Array, wanted: Array, limit: Tolerance) -> Finding:
    error = float(np.sqrt(np.square(made.astype(np.float64) - wanted).mean()))
    share = error / max(float(wanted.std()), 1e-3)
    return Finding(name, share, None, limit.feature, None, bool(share <= limit.feature))


def _pictures(what: str, difference: golden.Difference, limit: Tolerance) -> Finding:
    ok = difference.mean <= limit.mean and difference.psnr >= limit.psnr
    return Finding(what, difference.mean, difference.psnr, limit.mean, limit.psnr, ok)


def _random_avatar(rng: np.random.Generator, size: int, count: int) -> tuple[list[EncodeInput], NDArray[np.uint8]]:
    coarse = 16

    def blocks(channels: int) -> NDArray[np.uint8]:
        small = rng.integers(0, 256, (coarse, coarse, channels), np.uint8)
        return np.ascontiguousarray(small.repeat(size // coarse, 0).repeat(size // coarse, 1))

    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    matte = (np.clip((0.4 - np.hypot(x, y)) * 20, 0, 1) * 255).astype(np.uint8)
    references = [EncodeInput(blocks(3), matte, _random_keypoints(rng)) for _ in range(count)]
    return references, blocks(3)


def _random_keypoints(rng: np.random.Generator) -> NDArray[np.float32]:
    """A face somewhere near the middle, turned and with an expression: (478, 3)."""
    basis = default_basis()
    coefficients = rng.normal(0, 0.7, basis.size).astype(np.float32)
    turn = rng.uniform(-0.3, 0.3, 3).astype(np.float32)
    pose = Pose(turn, rng.uniform(-0.1, 0.1, 2).astype(np.float32), float(rng.uniform(0.35, 0.5)))
    return pose.apply(basis.mean + basis.displacement(coefficients, np.zeros((2, 2), np.float32)))
