"""What a bad network does to the motion shown: one clip's motion through a link model, on fake time, without sockets.

`telepresence bench link` prints the tables of `docs/link.md`; `bench.real` has the same over real sockets.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from telepresence.bench.ends import AdaptiveCodec, Codec, HoldNewest, MotionCodec, PlainCodec, Shower
from telepresence.bench.trace import POINTS, Source, Trace, fresh_after, in_outage, longest_freeze, stale_shown
from telepresence.errors import InputError, MediaError, PacketError
from telepresence.face.basis import default_basis
from telepresence.face.motion import keypoints
from telepresence.rtc.link import Bursts, LinkConditions, LinkModel
from telepresence.wire.packets import MotionPacket
from telepresence.wire.playout import Playout

DELAY_US: Final = 30_000  # of the network, one way, in every condition
SINK_HZ: Final = 60
PHASE: Final = 0.985  # of the sink's period: in step with the camera, ages would hang on how the two happen to meet
FRAME_US: Final = 33_333  # clips of other rates are played at 30 a second, so that rows are comparable
OVERHEAD_BYTES: Final = 96  # of a data-channel message at IP level: IPv4, UDP, DTLS 1.2, SCTP and its data chunk
OUTAGE_US: Final = (4_000_000, 6_000_000)
PICTURES: Final = 360  # of each clip
LEAST_US: Final = OUTAGE_US[1] + 1_000_000  # of a clip
BEGIN_US: Final = 500_000  # until the face has come from rest to the first motion

CONDITIONS: Final[Mapping[str, LinkConditions]] = {
    "clean": LinkConditions(DELAY_US),
    "2 % loss": LinkConditions(DELAY_US, loss=0.02),
    "5 % loss": LinkConditions(DELAY_US, loss=0.05),
    "10 % loss": LinkConditions(DELAY_US, loss=0.10),
    "20 % loss": LinkConditions(DELAY_US, loss=0.20),
    "10 % loss, 20 ms jitter": LinkConditions(DELAY_US, 20_000, loss=0.10),
    "bursts of 3, 5 % loss": LinkConditions(DELAY_US, 5_000, bursts=Bursts(0.0175, 1 / 3)),
    "5 % early, 5 % twice": LinkConditions(DELAY_US, 10_000, reorder=0.05, duplicate=0.05),
    "2 s outage": LinkConditions(DELAY_US, outages_us=(OUTAGE_US,)),
}

# What the first issue had, what the playout makes of the same packets, the codec, and what a call does now.
WAYS: Final[Sequence[tuple[str, Callable[[], Codec], Callable[[], Any]]]] = (
    ("Plain packets, the newest stands", PlainCodec, HoldNewest),
    ("Plain packets, playout", PlainCodec, Playout),
    ("Motion codec, playout", MotionCodec, Playout),
    ("Motion codec at an adaptive rate, playout", AdaptiveCodec, Playout),
)


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One condition's figures. Times in milliseconds."""

    condition: str
    age_p50: float
    age_p95: float
    age_p99: float
    """Of the motion shown: time since its capture; what is predicted is as old as the packet that it comes from."""
    freeze: float
    """Longest time without a change of a quarter of a pixel while the source was off, at last by a pixel or more."""
    stale: int
    """Packets shown although they were more than 250 ms older than the network's delay."""
    fresh: float | None
    """From the end of an outage to the first motion captured after it."""
    error_pct: float
    """Keypoints shown against the source's at capture plus the network's delay, in outer eye-corner distances."""
    jump_pct: float
    """Largest step between two pictures beyond the source's largest, likewise."""
    payload_kbps: float


def simulate(
    packets: Sequence[MotionPacket],
    condition: str,
    link: LinkConditions,
    *,
    codec: Callable[[], Codec] = PlainCodec,
    playout: Callable[[], Any] = Playout,
    seed: int = 1,
    sink_hz: int = SINK_HZ,
) -> LinkRow:
    """Send packets, captured in ascending order, through a link and watch what is shown.

    The answers of the receiver take the same kind of link back, with a seed of its own.
    """
    begun_us = packets[0].capture_us
    packets = [replace(packet, capture_us=packet.capture_us - begun_us) for packet in packets]
    trace, payload = _run(packets, link, codec(), playout(), seed, sink_hz)
    source = Source(packets)
    now = np.array(trace.now_us)
    shown = np.stack(trace.points)
    truth = source.at(now - link.delay_us)
    captures = trace.capture_us
    calm = np.array([t > BEGIN_US and not in_outage(link, t) for t in trace.now_us])
    ages = np.array([t - c for t, c, ok in zip(trace.now_us, captures, calm, strict=True) if ok and c is not None])
    error = np.linalg.norm(shown - truth, axis=-1).mean(1) / source.scale
    step, real = (np.abs(np.diff(p, axis=0)).max((1, 2))[now[1:] > BEGIN_US] / source.scale for p in (shown, truth))
    seconds = packets[-1].capture_us / 1e6
    return LinkRow(
        condition,
        float(np.percentile(ages, 50)) / 1000,
        float(np.percentile(ages, 95)) / 1000,
        float(np.percentile(ages, 99)) / 1000,
        longest_freeze(now[calm], shown[calm], truth[calm]) / 1000,
        stale_shown(trace, link),
        fresh_after(trace, link),
        100 * float(error[calm].mean()),
        100 * max(0.0, float(step.max() - real.max())),
        payload * 8 / 1000 / seconds,
    )


def _run(
    packets: Sequence[MotionPacket], link: LinkConditions, codec: Codec, playout: Shower, seed: int, sink_hz: int
) -> tuple[Trace, int]:
    there, back = LinkModel(link, seed), LinkModel(link, seed + 1000)
    events: list[tuple[int, int, str, Any]] = []
    order = itertools.count()
    for packet in packets:
        heapq.heappush(events, (packet.capture_us, next(order), "send", packet))
    for n in range(packets[-1].capture_us * sink_hz // 1_000_000):
        heapq.heappush(events, (round(n * 1e6 / sink_hz * PHASE), next(order), "show", None))
    trace, payload, neutral = Trace([], [], []), 0, default_basis().mean
    while events:
        now_us, _, what, given = heapq.heappop(events)
        if what == "send":
            data = codec.encode(given)
            if data is None:
                continue
            payload += len(data)
            for at_us in there.send(len(data) + OVERHEAD_BYTES, now_us):
                heapq.heappush(events, (at_us, next(order), "arrive", data))
        elif what == "arrive":
            answer = _arrive(given, codec, playout, now_us)
            for at_us in back.send(len(answer) + OVERHEAD_BYTES, now_us) if answer else ():
                heapq.heappush(events, (at_us, next(order), "answer", answer))
        elif what == "answer":
            codec.on_feedback(given)
        elif (motion := playout.sample(now_us)) is not None:
            trace.now_us.append(now_us)
            trace.capture_us.append(playout.shown_capture_us)
            trace.points.append(keypoints(motion, neutral)[POINTS, :2])
    return trace, payload


def _arrive(data: bytes, codec: Codec, playout: Shower, now_us: int) -> bytes | None:
    try:
        packets = codec.decode(data)
    except PacketError:
        packets = []
    for packet in packets:
        playout.receive(packet, now_us)
    return codec.feedback()


def link_table(
    packets: Sequence[MotionPacket],
    *,
    codec: Callable[[], Codec] = PlainCodec,
    playout: Callable[[], Any] = Playout,
    conditions: Mapping[str, LinkConditions] = CONDITIONS,
    seed: int = 1,
) -> list[LinkRow]:
    """One row for each condition."""
    return [simulate(packets, name, link, codec=codec, playout=playout, seed=seed) for name, link in conditions.items()]


def worst(tables: Sequence[Sequence[LinkRow]]) -> list[LinkRow]:
    """Tables of several clips or seeds as one: medians, but the worst of freezes, stale packets, recovery and jumps."""
    rows = []
    for same in zip(*tables, strict=True):
        freshes = [row.fresh for row in same if row.fresh is not None]
        rows.append(
            LinkRow(
                same[0].condition,
                float(np.median([row.age_p50 for row in same])),
                float(np.median([row.age_p95 for row in same])),
                float(np.median([row.age_p99 for row in same])),
                max(row.freeze for row in same),
                max(row.stale for row in same),
                max(freshes) if freshes else None,
                float(np.median([row.error_pct for row in same])),
                max(row.jump_pct for row in same),
                float(np.median([row.payload_kbps for row in same])),
            )
        )
    return rows


def markdown(rows: Sequence[LinkRow]) -> str:
    """The table for `docs/link.md`."""
    head = "| link | age p50 | p95 | p99 | freeze | stale | fresh after | error | jump | payload |"
    units = "| (30 ms one way) | ms | ms | ms | ms | shown | ms | % | % | kbit/s |"
    lines = [head, "| --- |" + " ---: |" * 9, units]
    for row in rows:
        fresh = "" if row.fresh is None else f"{row.fresh:.0f}"
        lines.append(
            f"| {row.condition} | {row.age_p50:.0f} | {row.age_p95:.0f} | {row.age_p99:.0f} | {row.freeze:.0f} "
            f"| {row.stale} | {fresh} | {row.error_pct:.2f} | {row.jump_pct:.1f} | {row.payload_kbps:.1f} |"
        )
    return "\n".join(lines)


def clip_packets(path: Path, cache: Path, count: int = PICTURES) -> list[MotionPacket]:
    """What the sender would send of a clip's beginning, played at 30 a second; landmarks are cached as `face.fit` does.

    Raises:
        MediaError: the clip cannot be read.
    """
    from telepresence.face.fit import clip_landmarks
    from telepresence.face.motion import to_square
    from telepresence.face.smoothing import MotionSmoother
    from telepresence.face.tracking import MotionExtractor
    from telepresence.media import clip_info

    info = clip_info(path)
    extract, smooth = MotionExtractor(), MotionSmoother()
    packets = []
    for n, landmarks in enumerate(clip_landmarks(path, cache)[:count]):
        if np.isfinite(landmarks).all():
            capture_us = n * FRAME_US
            motion = smooth(extract(to_square(landmarks, info.width, info.height)), capture_us)
            packets.append(MotionPacket(n, capture_us, motion))
    return packets


def clip_files(paths: Sequence[Path]) -> list[Path]:
    """The files among these, and the .mp4 in the folders among them.

    Raises:
        InputError: a folder has none.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.mp4")) if path.is_dir() else [path]
        if not inside:
            raise InputError(f"{path}: no .mp4 in this folder; name clips, or a folder that has some")
        found += inside
    return found


def streams(clips: Sequence[Path], cache: Path) -> list[list[MotionPacket]]:
    """Twelve seconds of each clip's motion, or of the sample's; clips too short for the outage are left out.

    Raises:
        MediaError: a clip cannot be read, or none is long enough.
    """
    if not clips:
        from telepresence.avatar.samples import sample_motion

        return [[replace(p, sequence=n, capture_us=n * FRAME_US) for n, p in enumerate(sample_motion()[:PICTURES])]]
    found = [packets for packets in (clip_packets(clip, cache) for clip in clips) if packets]
    found = [packets for packets in found if packets[-1].capture_us - packets[0].capture_us > LEAST_US]
    if not found:
        raise MediaError(f"a face is seen for less than {LEAST_US / 1e6:g} s in every clip; give longer ones")
    return found


def simulated(
    clips: Sequence[Path], cache: Path, runs: int, ways: Sequence[Any] = WAYS
) -> list[tuple[str, list[LinkRow]]]:
    """One table for each of `ways`, over clips and seeds.

    Raises:
        MediaError: see `streams`.
    """
    found = streams(clips, cache)
    return [
        (
            f"{title} ({runs * len(found)} runs)",
            worst([
                link_table(packets, codec=codec, playout=playout, seed=1 + seed)
                for packets in found
                for seed in range(runs)
            ]),
        )
        for title, codec, playout in ways
    ]  # fmt: skip


def run_link(clips: Sequence[Path], cache: Path, runs: int, *, real: bool, json_out: Path | None) -> str:
    """Measure, write what was asked for, and return the text.

    Raises:
        MediaError: see `streams`.
    """
    figures: dict[str, Any]
    if real:
        from telepresence.bench.realtext import real_report, real_text

        figures = real_report(streams(clips, cache), runs)
        out = real_text(figures)
    else:
        tables = simulated(clips, cache, runs)
        figures = {title: [asdict(row) for row in rows] for title, rows in tables}
        out = "\n\n".join(f"{title}\n\n{markdown(rows)}" for title, rows in tables)
    if json_out:
        json_out.write_text(json.dumps(figures, indent=1) + "\n")
    return out
