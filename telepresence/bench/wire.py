"""What motion costs on the wire and what is left of it: `telepresence bench wire CLIPS... --json OUT`.

Each clip goes through the live path (landmarks, motion, smoothing, encoder, a lossless link of RTT_US, decoder,
keypoints) and is compared with its own landmarks (`bench.fidelity`). The avatar is the clip's own person, its neutral
shape taken from every tenth picture, as enrolment would. Bits are counted at 30 motions a second whatever the clip's
own rate. Sans-I/O but for reading clips; no time passes but in `codec_ms`.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.bench import wiretext
from telepresence.bench.fidelity import blinks, closures, errors, zero_phase
from telepresence.errors import MediaError
from telepresence.face.identity import neutral_shape
from telepresence.face.motion import Motion, keypoints, to_square
from telepresence.face.smoothing import MotionSmoother
from telepresence.face.tracking import MotionExtractor
from telepresence.wire import plain
from telepresence.wire.codec import ACK_EVERY, MotionDecoder, MotionEncoder, decode_ack, encode_ack
from telepresence.wire.packets import MotionPacket
from telepresence.wire.quantise import SCALE
from telepresence.wire.tables import Tables, default_tables
from telepresence.wire.thrift import THRIFTY_ACK_EVERY, Rate, Thrift

Floats = NDArray[np.float32]

RTT_US: Final = 60_000
RATE: Final = 30  # motions a second that bits are counted at
MESSAGE_OVERHEAD: Final = (
    96  # bytes of a data-channel message at IP level: IPv4, UDP, DTLS 1.2, SCTP and its data chunk
)
SACK_BYTES: Final = 93  # at IP level: what the transport answers each message with
REST_SECONDS: Final = 10
CURVE: Final = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)  # quantiser steps, in shipped ones
CURVE_PICTURES: Final = 150  # of each clip


@dataclass(frozen=True)
class Clip:
    """One clip's landmarks and the motion that its sender would have."""

    name: str
    fps: float
    points: Floats
    """(T, 478, 3) square coordinates, as tracked."""
    neutral: Floats
    motions: list[Motion]

    def time_us(self, picture: int) -> int:
        """Capture time."""
        return round(picture * 1e6 / self.fps)


@dataclass
class Sent:
    """What crossed the link."""

    sizes: list[int]
    """Bytes of each message."""
    acks: list[int]
    """Bytes of each acknowledgement."""
    received: list[MotionPacket]


def read_clip(path: Path, cache: Path) -> Clip:
    """Landmarks (cached) and motion of a clip; pictures without a face are left out.

    Raises:
        MediaError: not a clip, or no face in it.
    """
    from telepresence.face.fit import clip_landmarks
    from telepresence.media import clip_info

    info = clip_info(path)
    found = [p for p in clip_landmarks(path, cache) if np.isfinite(p).all()]
    if len(found) < info.fps:
        raise MediaError(f"{path.name}: a face is seen for less than a second; choose another clip")
    points = np.stack([to_square(p, info.width, info.height) for p in found])
    neutral = neutral_shape(list(points[::10]))
    return Clip(path.stem, info.fps, points, neutral, extract(points, neutral, info.fps))


def extract(points: Floats, neutral: Floats, fps: float) -> list[Motion]:
    """Square landmarks (T, 478, 3) -> motion as the sender makes it."""
    extractor, smoother = MotionExtractor(neutral), MotionSmoother()
    return [smoother(extractor(p), round(i * 1e6 / fps)) for i, p in enumerate(points)]


def send(clip: Clip, rate: Rate = Rate.EVERY, *, tables: Tables | None = None) -> Sent:
    """Send a clip's motion over a lossless link; acknowledgements arrive a round trip after what they answer."""
    encoder, decoder = MotionEncoder(tables=tables), MotionDecoder(tables=tables)
    offer: Callable[[int, Motion], bytes | None] = Thrift(encoder, rate).offer
    every = THRIFTY_ACK_EVERY if rate is Rate.THRIFTY else ACK_EVERY
    sent, on_the_way = Sent([], [], []), deque[tuple[int, bytes]]()
    for i, motion in enumerate(clip.motions):
        now_us = clip.time_us(i)
        while on_the_way and on_the_way[0][0] <= now_us:
            encoder.acknowledge(decode_ack(on_the_way.popleft()[1]))
        message = offer(now_us, motion)
        if message is None:
            continue
        sent.sizes.append(len(message))
        received = decoder.receive(message)
        assert isinstance(received, tuple)  # noqa: S101 - our own encoder's
        sent.received += received
        if decoder.ack_due(every):
            on_the_way.append((now_us + RTT_US, encode_ack(decoder.ack())))
            sent.acks.append(len(on_the_way[-1][1]))
    return sent


def measure(clip: Clip) -> dict[str, Any]:
    """The figures of one clip, over the codec and over the plain packet."""
    truth = zero_phase(clip.points)
    sent = send(clip)
    coded = [p.motion for p in sent.received]
    plain_bytes = [plain.encode(MotionPacket(i, clip.time_us(i), m)) for i, m in enumerate(clip.motions)]
    decoded = [plain.decode(data) for data in plain_bytes]
    row: dict[str, Any] = {"clip": clip.name, "pictures": len(clip.motions), "fps": round(clip.fps, 3)}
    row |= _bits(sent.sizes, len(clip.motions), sent.acks) | _fidelity(coded, clip, truth)
    rest = at_rest(clip)
    for rate in (Rate.ADAPTIVE, Rate.THRIFTY):
        sparing = send(clip, rate)
        row[f"{rate}_kbps"] = both_ways_kbps(sparing, clip)
        row |= {f"{rate}_{k}": v for k, v in _fidelity(_held(sparing, clip), clip, truth).items()}
        row[f"{rate}_rest_kbps"] = both_ways_kbps(send(rest, rate), rest)
    row["rest_kbps"] = row["thrifty_rest_kbps"]
    row["codec_ms"] = codec_ms(clip)
    row["before_codec"] = _fidelity(clip.motions, clip, truth)
    row["plain"] = _bits([len(data) for data in plain_bytes], len(clip.motions), [])
    row["plain"] |= _fidelity([p.motion for p in decoded if isinstance(p, MotionPacket)], clip, truth)
    return row


def both_ways_kbps(sent: Sent, clip: Clip) -> float:
    """Both directions together: messages, acknowledgements, and what the transport answers to each."""
    total = sum(sent.sizes) + sum(sent.acks) + (len(sent.sizes) + len(sent.acks)) * (MESSAGE_OVERHEAD + SACK_BYTES)
    return _kbps(total, len(clip.motions))


def at_rest(clip: Clip) -> Clip:
    """The clip's person at rest: its tracker noise around one face that does not move."""
    noise = clip.points - zero_phase(clip.points)
    count = round(REST_SECONDS * clip.fps)
    still = clip.points[0] + noise[np.arange(count) % len(noise)]
    return replace(clip, points=still, motions=extract(still, clip.neutral, clip.fps))


def codec_ms(clip: Clip) -> float:
    """Median time to encode and decode one motion, milliseconds."""
    encoder, decoder, taken = MotionEncoder(), MotionDecoder(), []
    for i, motion in enumerate(clip.motions[:300]):
        begun = time.perf_counter()
        decoder.receive(encoder.encode(clip.time_us(i), motion))
        taken.append(time.perf_counter() - begun)
        encoder.acknowledge(decoder.ack())
    return round(float(np.median(taken)) * 1e3, 3)


def curve(clips: Sequence[Clip]) -> list[dict[str, float]]:
    """Rate and distortion at several quantiser steps; the statistics stay those of the shipped ones."""
    shipped, rows = default_tables(), []
    for factor in CURVE:
        steps = shipped.steps * factor
        limits = [int(np.ceil(limit / factor)) for limit in shipped.limits]
        steps[SCALE], limits[SCALE] = shipped.steps[SCALE], shipped.limits[SCALE]
        tables = replace(shipped, steps=steps, limits=limits)
        figures = []
        for whole in clips:
            clip = replace(whole, points=whole.points[:CURVE_PICTURES], motions=whole.motions[:CURVE_PICTURES])
            sent = send(clip, tables=tables)
            error = errors(_shown([p.motion for p in sent.received], clip), zero_phase(clip.points))
            figures.append([_kbps(sum(sent.sizes), len(clip.motions)), *error.values()])
        names = ("payload_kbps", "nme_mean", "nme_lips", "nme_eyelids")
        rows.append({"steps": factor, **dict(zip(names, np.mean(figures, 0).round(5).tolist(), strict=True))})
    return rows


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over clips; events are pooled, the 99th percentile is the largest of the clips'."""
    out: dict[str, Any] = {name: _mean(rows, name) for name in _MEANS if name in rows[0]}
    out["packet_bytes_p99"] = max(row["packet_bytes_p99"] for row in rows)
    for event in ("blink", "closure"):
        total = sum(row[f"{event}s"] for row in rows)
        out[f"{event}s"] = total
        out[f"{event}_recall"] = round(sum(row[f"{event}s_kept"] for row in rows) / total, 4) if total else None
    return out


_MEANS: Final = (
    "payload_kbps", "wire_kbps", "ack_kbps", "codec_ack_kbps", "thrifty_kbps", "rest_kbps", "adaptive_kbps",
    "adaptive_rest_kbps", "codec_ms", "nme_mean", "nme_lips", "nme_eyelids", "thrifty_nme_mean", "thrifty_nme_lips",
    "thrifty_nme_eyelids", "adaptive_nme_mean", "adaptive_nme_lips", "adaptive_nme_eyelids",
)  # fmt: skip


def report(paths: Sequence[Path], cache: Path) -> dict[str, Any]:
    """All figures of all clips; see `docs/wire.md` for what each means."""
    from telepresence.face.fit import HELD_OUT

    clips = [read_clip(path, cache) for path in paths]
    rows = [measure(clip) for clip in clips]
    people = {path.name: _identity(path) for path in paths}
    held = [row for row, path in zip(rows, paths, strict=True) if people[path.name] in HELD_OUT]
    return {
        "summary": summarise(rows),
        "summary_held_out": summarise(held) if held else None,
        "summary_plain": summarise([row["plain"] for row in rows]),
        "held_out": sorted(row["clip"] for row in held),
        "assumptions": {
            "rtt_ms": RTT_US / 1e3, "motions_per_second": RATE, "message_overhead_bytes": MESSAGE_OVERHEAD,
            "sack_bytes": SACK_BYTES, "ack_every": ACK_EVERY, "thrifty_ack_every": THRIFTY_ACK_EVERY,
            "thrifty_added_delay_ms": round(1000 / RATE, 1),
        },
        "clips": rows,
        "curve": curve(clips),
    }  # fmt: skip


def run_bench(clips: Sequence[Path], cache: Path, json_out: Path | None, plot_out: Path | None) -> str:
    """Measure, write what was asked for, and return the text."""
    figures = report(clips, cache)
    out = wiretext.text(figures)
    if json_out:
        json_out.write_text(json.dumps(figures, indent=1) + "\n")
    if plot_out and not wiretext.plot(figures, plot_out):
        out += f"\n{plot_out} was not drawn: pip install matplotlib"
    return out


def _bits(sizes: Sequence[int], pictures: int, acks: Sequence[int]) -> dict[str, float]:
    codec_acks = sum(acks) + len(acks) * (MESSAGE_OVERHEAD + SACK_BYTES)
    return {
        "payload_kbps": _kbps(sum(sizes), pictures),
        "wire_kbps": _kbps(sum(sizes) + MESSAGE_OVERHEAD * len(sizes), pictures),
        "ack_kbps": _kbps(SACK_BYTES * len(sizes), pictures),
        "codec_ack_kbps": _kbps(codec_acks, pictures),
        "packet_bytes_mean": round(float(np.mean(sizes)), 2),
        "packet_bytes_p99": float(np.ceil(np.percentile(sizes, 99))),
    }


def _fidelity(motions: Sequence[Motion], clip: Clip, truth: Floats) -> dict[str, Any]:
    shown = _shown(motions, clip)
    out: dict[str, Any] = {name: round(value, 5) for name, value in errors(shown, truth).items()}
    for event, count in (("blink", blinks), ("closure", closures)):
        total, kept = count(shown, truth)
        out |= {f"{event}s": total, f"{event}s_kept": kept, f"{event}_recall": kept / total if total else None}
    return out


def _shown(motions: Sequence[Motion], clip: Clip) -> Floats:
    return np.stack([keypoints(motion, clip.neutral) for motion in motions])


def _held(sent: Sent, clip: Clip) -> list[Motion]:
    """For each picture the newest motion received of it or of one before: what a skipped one is shown as."""
    out, at = [], 0
    for i in range(len(clip.motions)):
        while at + 1 < len(sent.received) and sent.received[at + 1].capture_us <= clip.time_us(i) + 500:
            at += 1
        out.append(sent.received[at].motion)
    return out


def _kbps(size: int, pictures: int) -> float:
    return round(size * 8 * RATE / pictures / 1000, 3)


def _mean(rows: Sequence[dict[str, Any]], name: str) -> float:
    return round(float(np.mean([row[name] for row in rows])), 3 if name.endswith(("kbps", "ms")) else 5)


def _identity(path: Path) -> str | None:
    manifest = path.parent / "MANIFEST.json"
    if not manifest.exists():
        return None
    items = json.loads(manifest.read_text())["items"]
    return next((item["identity"] for item in items if item["file"] == path.name), None)
