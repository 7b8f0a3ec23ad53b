"""Lips beside their sound: how old each is when it is presented, both from outside. Positive skew: lips are late.

The microphone plays bursts at uneven times. They are found in the loudness that leaves it and in that which leaves the
receiver's jitter buffer: the sound's ages. Pictures have theirs anyway. What the fake camera and the fake microphone
lie to each other is thereby no part of it.
"""

from __future__ import annotations

import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Series = tuple[Doubles, Doubles]

SECONDS: Final = 12  # after which the bursts begin again
RATE: Final = 48_000
TONE_HZ: Final = 400
RISE_S, HOLD_S = 0.08, 0.1  # of a burst
STEP_S: Final = 0.005
MAX_LAG_S: Final = 2.5
MAX_APART_S: Final = 0.15  # of two events that are the same one, seen at two places
NEAR_S: Final = 1.0  # between a picture and the sounds that it is compared with
SMOOTHED: Final = 4  # blocks of loudness, 10 ms
EVEN: Final = 201  # blocks, half a second, over which a track's clock is taken: it delivers some blocks at once
LEAST_BURSTS: Final = 5
MOST_POINTS: Final = 600  # of a series in the report


@dataclass(frozen=True)
class Ages:
    """How old events are when they are presented, seconds; by the time of the event at the receiver."""

    at_s: Doubles
    age_s: Doubles

    def later(self, by_s: float) -> Ages:
        """The same, presented later."""
        return Ages(self.at_s + by_s, self.age_s + by_s)


def event_times(seed: int = 5) -> list[float]:
    """When bursts begin, seconds; gaps are uneven, so that no two stretches are alike."""
    rng = np.random.default_rng(seed)
    times = [0.4]
    while times[-1] < SECONDS - 1.6:
        times.append(times[-1] + float(rng.uniform(0.5, 1.0)))
    return times


def openness(at_s: Doubles) -> Doubles:
    """How loud the sound is, and how far a mouth that goes with it is open, 0..1."""
    out = np.zeros_like(at_s)
    for begin in event_times():
        shape = np.interp(at_s - begin, [0, RISE_S, RISE_S + HOLD_S, 2 * RISE_S + HOLD_S], [0, 1, 1, 0], 0, 0)
        out = np.maximum(out, shape)
    return out


def write_microphone(path: Path) -> Path:
    """What Chromium's fake microphone plays, over and over (WAV)."""
    at_s = np.arange(SECONDS * RATE) / RATE
    sound = openness(at_s) * np.sin(2 * np.pi * TONE_HZ * at_s) * 0.6
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((sound * 32767).astype("<i2").tobytes())
    return path


def envelope(rows: Sequence[Sequence[float]], offset_s: float = 0.0) -> Series:
    """Loudness over time of [seconds, level] of each block, smoothed; `offset_s` is added to the times."""
    series = np.array(rows, np.float64).reshape(-1, 2)
    return evened(series[:, 0]) + offset_s, np.convolve(series[:, 1], np.ones(SMOOTHED) / SMOOTHED, "same")


def evened(times: Doubles) -> Doubles:
    """Times of blocks that follow each other, some of which were delivered at once: each a block after the other."""
    if len(times) < 2:
        return times
    even = np.arange(len(times)) * float(np.median(np.diff(times)))
    half = EVEN // 2
    late = np.pad(times - even, half, mode="edge")
    median: Doubles = np.median(np.lib.stride_tricks.sliding_window_view(late, 2 * half + 1), axis=1)
    return even + median


def ages(sent: Series, presented: Series) -> Ages:
    """Match events of two series (times, values): when each rise reaches half its height, here and there."""
    lag = lag_of(sent, presented)
    first, second = onsets(*sent), onsets(*presented)
    at, age = [], []
    for time in first:
        nearest = second[np.argmin(np.abs(second - time - lag))] if len(second) else np.inf
        if abs(nearest - time - lag) <= MAX_APART_S:
            at.append(nearest)
            age.append(nearest - time)
    return Ages(np.array(at), np.array(age))


def skews(picture: Ages, sound: Ages) -> Ages:
    """Age of each picture less that of the sound about the same time, seconds: positive when lips are late."""
    at, skew = [], []
    for time, age in zip(picture.at_s, picture.age_s, strict=True):
        near = np.abs(sound.at_s - time) < NEAR_S
        if near.any():
            at.append(time)
            skew.append(age - float(np.median(sound.age_s[near])))
    return Ages(np.array(at), np.array(skew))


def gridded(series: Series) -> Series:
    """A series at every STEP_S."""
    times, values = series
    grid = np.arange(times[0], times[-1], STEP_S)
    return grid, np.interp(grid, times, values)


def lag_of(first: Series, second: Series) -> float:
    """By how much the second is later as a whole, seconds."""
    best, found = -2.0, 0.0
    grid, values = gridded(first)
    for lag in np.arange(-MAX_LAG_S, MAX_LAG_S, STEP_S):
        inside = (grid + lag >= second[0][0]) & (grid + lag <= second[0][-1])
        if inside.sum() < 3 / STEP_S:
            continue
        other = np.interp(grid[inside] + lag, *second)
        if other.std() > 0 and values[inside].std() > 0:
            score = float(np.corrcoef(values[inside], other)[0, 1])
            if score > best:
                best, found = score, float(lag)
    return found


def onsets(times: Doubles, values: Doubles) -> Doubles:
    """When the values rise through the middle between low and high, and have been low for a while before."""
    low, high = np.percentile(values, [20, 97])
    middle, closed = (low + high) / 2, low + 0.3 * (high - low)
    found, armed = [], False
    for n in range(1, len(times)):
        armed |= values[n] < closed
        if armed and values[n - 1] < middle <= values[n]:
            part = (middle - values[n - 1]) / (values[n] - values[n - 1])
            found.append(times[n - 1] + part * (times[n] - times[n - 1]))
            armed = False
    return np.array(found)


def summary(
    spoken: Mapping[str, Any] | None,
    heard: Mapping[str, Any] | None,
    pictures: Sequence[Sequence[float]],
    seen_later_ms: float | None,
    visible_ms: float | None = None,
) -> dict[str, Any] | None:
    """The report's `lips`; None if too little was heard or seen.

    Args:
        spoken: of the sender's page: `levels`, [seconds, level] of each block.
        heard: of the receiver's: likewise, and `figures`, what the page itself thought.
        pictures: (when shown in microseconds, milliseconds since capture) of each.
        seen_later_ms: by how much more the face itself is late than its picture's capture time says; None: not known.
        visible_ms: from showing a picture to its being visible; None: the browser does not say.
    """
    if not (spoken and heard and len(spoken["levels"]) and len(heard["levels"]) and len(pictures)):
        return None
    own = heard["figures"]
    output_ms = _median([row["playout_ms"] for row in own]) or 0.0  # from where it was tapped to the ear
    sound = ages(envelope(spoken["levels"]), envelope(heard["levels"])).later(output_ms / 1000)
    if len(sound.at_s) < LEAST_BURSTS:
        return None
    shown = np.array(pictures, np.float64)
    picture = Ages(shown[:, 0] / 1e6, shown[:, 1] / 1000).later((visible_ms or 0.0) / 1000)
    picture = Ages(picture.at_s, picture.age_s + (seen_later_ms or 0.0) / 1000)
    skew = 1000 * skews(picture, sound).age_s
    page = [row["skew_ms"] for row in own if row["skew_ms"] is not None]
    return {
        "pictures": len(skew),
        "bursts": len(sound.at_s),
        "skew_ms_p5": _at(skew, 5),
        "skew_ms_p50": _at(skew, 50),
        "skew_ms_p95": _at(skew, 95),
        "skew_ms_abs_p95": _at(np.abs(skew), 95),
        "picture_ms_p50": _at(1000 * picture.age_s, 50),
        "picture_ms_p95": _at(1000 * picture.age_s, 95),
        "sound_ms_p50": _at(1000 * sound.age_s, 50),
        "sound_ms_p95": _at(1000 * sound.age_s, 95),
        "seen_later_ms": None if seen_later_ms is None else round(seen_later_ms, 1),
        "to_visible_ms": None if visible_ms is None else round(visible_ms, 1),
        "output_ms": round(output_ms, 1),
        "page_skew_ms_p50": _at(page, 50) if page else None,
        "hold_ms": _median([row["hold_ms"] for row in own]),
        "sound_delay_ms": _median([row["sound_delay_ms"] for row in own]),
        "series": {"picture": _series(picture), "sound": _series(sound)},
    }


def _series(ages_: Ages) -> list[list[float]]:
    """[seconds, ms], thinned out."""
    step = max(1, -(-len(ages_.at_s) // MOST_POINTS))
    rows = zip(ages_.at_s[::step], 1000 * ages_.age_s[::step], strict=True)
    return [[round(float(at), 3), round(float(ms), 1)] for at, ms in rows]


def _at(values: Sequence[float] | Doubles, q: float) -> float | None:
    return round(float(np.percentile(values, q)), 1) if len(values) else None


def _median(values: Sequence[float]) -> float | None:
    return round(float(np.median(values)), 1) if len(values) else None
