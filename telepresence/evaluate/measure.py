"""One clip's real frames, and the figures of pictures drawn in their place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from telepresence.evaluate import pictures as look
from telepresence.evaluate.clips import Footage
from telepresence.evaluate.faces import blinks_kept, eye_opening, landmark_errors, mouth_correlation, mouth_opening
from telepresence.evaluate.learned import Learned
from telepresence.face.landmarks import LandmarkTracker
from telepresence.face.topology import LIPS

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]


def follow(pictures: Mapping[int, Picture]) -> dict[int, Floats | None]:
    """Landmarks of pictures by frame number, None where no face is seen.

    The tracker searches near where the last picture's face was, so after a jump in time a picture is shown twice.
    """
    found: dict[int, Floats | None] = {}
    with LandmarkTracker() as tracker:
        for i in sorted(pictures):
            if i - 1 not in found:
                tracker(pictures[i])
            found[i] = tracker(pictures[i])
    return found


class Truth:
    """What a clip's frames really look like; everything that does not depend on who draws is computed once."""

    def __init__(self, footage: Footage, test: Sequence[int], blinks: Sequence[range], size: int) -> None:
        """Read the frames to be judged on.

        Args:
            footage: the clip.
            test: frames that every figure is about; each has a face.
            blinks: frames around blinks, for the recall of blinks alone.
            size: S of the pictures.
        """
        self.size, self.test, self.blinks = size, list(test), list(blinks)
        self.frames = sorted({*test, *(i for run in blinks for i in run if footage.seen[i])})
        self.pictures = dict(footage.pictures(self.frames, size))
        self.tracked = follow(self.pictures)
        self.regions = {i: look.face_region(footage.landmarks(i, size), size) for i in self.test}
        self.mouths = {i: look.part_region(footage.landmarks(i, size), LIPS, size) for i in self.test}
        self.details = {i: look.detail(self.pictures[i]) for i in self.test}
        here = set(self.test)
        self.triples = [i for i in self.test if i - 1 in here and i + 1 in here]
        self.unrest = {i: self._unrest(self.pictures, i) for i in self.triples}

    @staticmethod
    def _unrest(pictures: Mapping[int, Picture], i: int) -> Floats:
        return look.unrest(pictures[i - 1], pictures[i], pictures[i + 1])

    def score(self, draw: Callable[[int], Picture], learned: Learned) -> Scored:
        """Judge pictures: `draw` gives (S, S, 3) for a frame number, its own copy."""
        drawn = {i: draw(i) for i in self.frames}
        per_frame = [self._picture_figures(i, drawn[i]) for i in self.test]
        figures: dict[str, Any] = {name: _mean([f[name] for f in per_frame]) for name in per_frame[0]}
        figures |= self._over_time(drawn)
        tracked = follow(drawn)
        figures |= self._face_figures(tracked)
        if learned.has("lpips"):
            figures["lpips"] = float(np.mean([learned.lpips(drawn[i], self.pictures[i]) for i in self.test]))
        if learned.has("csim"):
            pairs = [
                (i, a, b) for i in self.test if (a := tracked[i]) is not None and (b := self.tracked[i]) is not None
            ]
            same = [learned.csim(drawn[i], a, self.pictures[i], b) for i, a, b in pairs]
            figures["csim"] = float(np.mean(same)) if same else None
        scored = Scored(figures, drawn, {i: f["ssim_face"] for i, f in zip(self.test, per_frame, strict=True)})
        if learned.has("fid"):
            scored.features = [learned.features(drawn[i]) for i in self.test]
        return scored

    def _picture_figures(self, i: int, drawn: Picture) -> dict[str, Any]:
        real, region, mouth = self.pictures[i], self.regions[i], self.mouths[i]
        similar, detail = look.ssim_map(drawn, real), look.detail(drawn)
        return {
            "psnr": look.psnr(drawn, real),
            "psnr_face": look.psnr(drawn, real, region),
            "ssim": float(similar.mean()),
            "ssim_face": float(similar[region].mean()),
            "ms_ssim": look.ms_ssim(drawn, real, np.ones(region.shape, np.float32)),
            "ms_ssim_face": look.ms_ssim(drawn, real, region.astype(np.float32)),
            "sharpness": look.sharpness(detail, self.details[i], region),
            "sharpness_mouth": look.sharpness(detail, self.details[i], mouth) if mouth.any() else None,
        }

    def _over_time(self, drawn: Mapping[int, Picture]) -> dict[str, float | None]:
        if not self.triples:
            return {"flicker": None, "flicker_excess": None}
        ours, real, excess = [], [], []
        for i in self.triples:
            mine, region = self._unrest(drawn, i), self.regions[i]
            ours.append(mine[region].mean())
            real.append(self.unrest[i][region].mean())
            excess.append(np.maximum(mine - self.unrest[i], 0)[region].mean())
        return {
            "flicker": float(np.mean(ours) / max(float(np.mean(real)), 1e-6)),
            "flicker_excess": float(np.mean(excess)),
        }

    def _face_figures(self, tracked: Mapping[int, Floats | None]) -> dict[str, Any]:
        real = {i: p for i in self.test if (p := self.tracked[i]) is not None}
        both = [i for i in real if tracked[i] is not None]
        figures: dict[str, Any] = dict.fromkeys(("nme_mean", "nme_lips", "nme_eyes", "nme_irises", "mouth_corr"))
        if both:
            shown, truth = (
                np.stack([p for i in both if (p := tracked[i]) is not None]),
                np.stack([real[i] for i in both]),
            )
            figures |= landmark_errors(shown, truth)
            figures["mouth_corr"] = mouth_correlation(mouth_opening(shown), mouth_opening(truth))
        place = {i: n for n, i in enumerate(self.frames)}
        total, kept = blinks_kept(
            self._eyes(tracked, self.frames), self._eyes(self.tracked, self.frames),
            [[place[i] for i in run if i in place] for run in self.blinks],
            _median(self._eyes(tracked, self.test)), _median(self._eyes(self.tracked, self.test)),
        )  # fmt: skip
        recall = kept / total if total else None
        return figures | {"faces_lost": len(real) - len(both), "blinks": total, "blink_recall": recall}

    @staticmethod
    def _eyes(tracked: Mapping[int, Floats | None], frames: Sequence[int]) -> Floats:
        found = [tracked[i] for i in frames]
        return np.array([np.nan if p is None else eye_opening(p[None])[0] for p in found], np.float32)


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def _median(values: Floats) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0


@dataclass(slots=True)
class Scored:
    """What somebody drew, and its figures (docs/evaluate.md)."""

    figures: dict[str, Any]
    drawn: dict[int, Picture]
    ssim_face: dict[int, float]
    """Of each test frame."""
    features: list[Floats] = field(default_factory=list)
    """For FID, of each test frame."""

    def compare(self, still: Scored) -> None:
        """Add what only stands against the still reference: `gap_closed`, `gap_closed_whole`, `psnr_gain`."""
        own, base = self.figures, still.figures
        own["gap_closed"] = look.gap_closed(own["ssim_face"], base["ssim_face"])
        own["gap_closed_whole"] = look.gap_closed(own["ssim"], base["ssim"])
        own["psnr_gain"] = own["psnr"] - base["psnr"]
