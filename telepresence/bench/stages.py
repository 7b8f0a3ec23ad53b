"""One picture's way from the camera to the screen, put together from what edges and pages noted on the way. Pure.

All times are of one clock, microseconds: an edge's own monotonic clock is this machine's, and a page reads it at start.
A picture is known by its capture time; the codec rounds that to half milliseconds and a receiver moves it to its own
clock, so the same picture is the nearest one within SAME_US.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

SAME_US: Final = 5_000  # a sixth of the time between two pictures
RTP_MODULUS: Final = 1 << 32
LEAST_SHARE: Final = 0.3  # of the pictures shown that must agree on how RTP time maps to the track's
LEAST_PAGE_LEG_MS: Final = 0.05  # less than this means that capture times are those of decoding
PERCENTILES: Final = (50, 95, 99)

CAPTURED, CAME, SHOWN = "captured", "came", "shown"

STEPS: Final[Mapping[str, tuple[str, str]]] = {
    "page to edge": (CAPTURED, "decoded"),
    "wait": ("decoded", "taken"),
    "landmarks": ("taken", "landmarks"),
    "motion": ("landmarks", "motion"),
    "encode": ("motion", "sent"),
    "network": ("sent", "received"),
    "playout": ("received", "drawing"),
    "keypoints": ("drawing", "keypoints"),
    "render": ("keypoints", "rendered"),
    "to the track": ("rendered", "encoder"),
    "video to page": ("encoder", CAME),
    "decode, present": (CAME, SHOWN),
}
"""Each step of the way, and the two moments between which it is; the moments of the edges are `rtc.trace.STAGES`."""

WAYS: Final[Mapping[str, tuple[str, str]]] = {
    "edge_ms": ("decoded", "rendered"),
    "age_ms": (CAPTURED, "encoder"),
    "display_ms": (CAPTURED, SHOWN),
}
"""The figures of the whole way."""

Times = dict[str, int]


@dataclass(frozen=True)
class Shown:
    """A picture on the screen, as a page's `requestVideoFrameCallback` tells."""

    shown_us: int
    """When it was handed to the screen (`presentationTime`)."""
    visible_us: int | None = None
    """When the browser expects it to be visible (`expectedDisplayTime`)."""
    captured_us: int | None = None
    came_us: int | None = None
    """When its last packet came (`receiveTime`)."""
    decode_ms: float | None = None
    rtp: int | None = None
    number: int | None = None
    """Of the camera's picture, from its mark."""

    @classmethod
    def of(cls, row: Sequence[Any]) -> Shown:
        """From a row of the page's."""
        shown, visible, captured, came, decode_s, rtp, _, number = row
        decode_ms = None if decode_s is None else 1000 * decode_s
        return cls(shown, visible, captured, came, decode_ms, rtp, number)


@dataclass
class Pictures:
    """All pictures of one stretch of time: when each passed each moment."""

    rows: list[Times] = field(default_factory=list)
    from_page: bool = False
    """Whether capture times are the page's; otherwise the way begins where the edge has decoded the picture."""

    def between(self, begin: str, end: str) -> list[float]:
        """Milliseconds between two moments, of each picture that passed both."""
        return [(row[end] - row[begin]) / 1000 for row in self.rows if begin in row and end in row]

    def passed(self, moment: str) -> int:
        """How many pictures got there."""
        return sum(moment in row for row in self.rows)

    def steps(self) -> dict[str, list[float]]:
        """Milliseconds of each step; without capture times from the page the first one is unknown."""
        found = {name: self.between(*moments) for name, moments in STEPS.items()}
        if not self.from_page:
            found["page to edge"] = []
        return found

    def way(self, name: str) -> list[float]:
        """Milliseconds of one of WAYS."""
        return self.between(*WAYS[name])


def joined(
    notes: Sequence[Sequence[Any]], shown: Sequence[Shown], begin_us: int = 0, end_us: int | None = None
) -> Pictures:
    """Put the notes of both edges and the pictures shown together.

    Args:
        notes: (stage, capture_us, at_us, extra) of both edges in any order.
        shown: by the receiving page.
        begin_us, end_us: pictures captured before or after are left out.
    """
    keyed: dict[int, Times] = {}
    for stage, capture_us, at_us, _ in notes:
        if stage == "decoded":
            keyed.setdefault(capture_us, {CAPTURED: capture_us}).setdefault(stage, at_us)
    captures = sorted(keyed)
    by_pts: dict[int, int] = {}
    for stage, capture_us, at_us, extra in sorted(notes, key=lambda note: int(note[2])):
        near = _nearest(captures, capture_us)
        if near is None:
            continue
        keyed[near].setdefault(stage, at_us)  # a picture that is drawn again, predicted, counts as it came first
        if stage == "encoder" and extra is not None and keyed[near][stage] == at_us:
            by_pts[extra] = near
    _add_shown(keyed, by_pts, shown)
    last_us = end_us if end_us is not None else max(captures, default=0) + 1
    rows = [keyed[capture] for capture in captures if begin_us <= capture < last_us]
    legs = [row["decoded"] - row[CAPTURED] for row in rows]
    return Pictures(rows, bool(legs) and float(np.median(legs)) / 1000 > LEAST_PAGE_LEG_MS)


def _add_shown(keyed: Mapping[int, Times], by_pts: Mapping[int, int], shown: Sequence[Shown]) -> None:
    offset = rtp_offset(list(by_pts), [one.rtp for one in shown if one.rtp is not None])
    if offset is None:
        return
    for one in shown:
        if one.rtp is None:
            continue
        capture = by_pts.get((one.rtp - offset) % RTP_MODULUS)
        if capture is not None:
            keyed[capture].setdefault(SHOWN, one.shown_us)
            if one.came_us is not None:
                keyed[capture].setdefault(CAME, one.came_us)


def rtp_offset(pts: Sequence[int], rtp: Sequence[int]) -> int | None:
    """What a sender adds to its track's times, found as the difference that most pictures agree on; None if few do.

    Pictures leave at irregular times, so a wrong difference is shared by hardly any.
    """
    if not pts or not rtp:
        return None
    gaps = (np.array(rtp, np.int64)[:, None] - np.array(pts, np.int64)[None, :]) % RTP_MODULUS
    values, counts = np.unique(gaps, return_counts=True)
    best = int(np.argmax(counts))
    return int(values[best]) if counts[best] >= max(2, LEAST_SHARE * min(len(pts), len(rtp))) else None


def _nearest(captures: Sequence[int], capture_us: int) -> int | None:
    at = bisect.bisect_left(captures, capture_us)
    near = [captures[i] for i in (at - 1, at) if 0 <= i < len(captures)]
    best = min(near, key=lambda one: abs(one - capture_us), default=None)
    return best if best is not None and abs(best - capture_us) <= SAME_US else None


def ages_by_mark(
    sent: Sequence[Shown], shown: Sequence[Shown], frames: int, most_ms: float = 5000
) -> list[list[float]]:
    """Ages of an ordinary call's pictures by their numbers: (when shown in microseconds, milliseconds since capture).

    Args:
        sent: the camera's pictures in the sender's page; their capture time is the browser's, else when shown there.
        shown: in the receiver's page.
        frames: of the camera's loop, after which numbers begin again.
        most_ms: less than the loop takes. What seems older was misread.
    """
    captures: dict[int, list[int]] = {}
    for one in sent:
        if one.number is not None:
            at_us = one.captured_us if one.captured_us is not None else one.shown_us
            captures.setdefault(one.number, []).append(at_us)
    found = []
    for one in shown:
        times = captures.get(one.number, []) if one.number is not None and one.number < frames else []
        before = [one.shown_us - time_us for time_us in times if time_us <= one.shown_us]
        if before and min(before) <= most_ms * 1000:
            found.append([float(one.shown_us), min(before) / 1000])
    return found


def percentiles(values: Sequence[float], digits: int = 1) -> dict[str, float | int | None]:
    """p50, p95, p99 and the count."""
    out: dict[str, float | int | None] = {
        f"p{q}": round(float(np.percentile(values, q)), digits) if len(values) else None for q in PERCENTILES
    }
    return out | {"count": len(values)}
