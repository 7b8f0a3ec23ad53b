"""What `bench headset` found, in words."""

from __future__ import annotations

from typing import Any

from telepresence.bench.headset_eyes import PAIRS_PER_S, TARGET_HZ


def headset_text(report: dict[str, Any]) -> str:
    """Lines for a terminal."""
    pair = report["pair"]
    lines = [
        f"{report['engine']}, two eyes at {report['size']}x{report['size']}, {report['runtime']}",
        f"a pair: {pair['draw_ms']} ms to draw, {pair['pack_ms']} to pack ({pair['kilobytes']} kB), "
        f"{pair['pair_ms']} in all (fastest tenth {pair['pair_ms_p10']}): {pair['pairs_per_s']} a second "
        f"(goal on two cores at 256: {PAIRS_PER_S:g})",
    ]
    codecs = ", ".join(f"{name} {ms} ms {size} kB" for name, (ms, size) in report["codecs"].items())
    lines.append(f"eyes' keypoints {report['keypoints_ms']} ms; packed as {codecs}")
    batched = report["two_in_one_call"]
    if batched is not None:
        lines.append(f"both eyes in one call: {batched['one_call_ms']} ms, in two: {batched['two_calls_ms']}")
    lines += _disparity(report["disparity"])
    if report["projection"] is not None:
        need = report["projection"]
        lines.append(
            f"two eyes at 512x512, {TARGET_HZ:g} a second, projected: {need['picture_gmacs']} G multiply-adds and "
            f"{need['picture_mb']} MB a picture, so {need['needed_gmacs_per_s']} G and {need['needed_gb_per_s']} GB a "
            f"second: {need['times_this_machine']} times what this machine does ({need['here_gmacs_per_s']} G)"
        )
    lines += [_stream(report[name]) for name in ("stream_1", "stream_3") if name in report]
    if "stream_motion" in report:
        motion = report["stream_motion"]
        lines.append(
            f"motion stream: {motion['per_s']} a second, {motion['bytes']} bytes, {motion['mbit_per_s']} Mbit/s"
        )
    lines += [_page(report[name]) for name in ("page_1", "page_3") if name in report]
    if "parallax" in report:
        lines += _parallax(report["parallax"])
    return "\n".join(lines + [f"not measured: {problem}" for problem in report["problems"]])


def _disparity(found: dict[str, Any]) -> list[str]:
    drawn = found["in_pictures"]
    return [
        f"disparity of keypoints against two pinhole cameras: {100 * found['worst_share']:.2f} % off at most",
        f"of the nose in the drawn pictures, {drawn['distance_m']} m away: {drawn['drawn_px']} pixels, by geometry "
        f"{drawn['geometry_px']} ({100 * drawn['share']:.0f} %; {drawn['pictures']} pictures)",
    ]


def _stream(found: dict[str, Any]) -> str:
    rates = ", ".join(map(str, found["pairs_per_s"]))
    return (
        f"stream, {found['guests']} at the table: {rates} pairs a second each, {found['mbit_per_s']} Mbit/s; from a "
        f"jump of the head to a picture for it {found['step_ms_p50']} ms, p95 {found['step_ms_p95']} "
        f"({found['steps']} jumps; round trip {found['rtt_ms']})"
    )


def _page(found: dict[str, Any]) -> str:
    within = f"{100 * found['within_share']:.1f} % of {found['frames']}"
    return (
        f"page, {found['guests']} at the table: main thread {found['frame_ms_p50']} ms a frame, "
        f"p95 {found['frame_ms_p95']}, longest {found['frame_ms_most']}; {within} within a 72nd of a "
        f"second; {found['pictures_per_s']} pictures a second arrived (Chromium {found['browser']})"
    )


def _parallax(found: dict[str, Any]) -> list[str]:
    seen, alone, drawn = found["seen"], found["pictures_alone"], found["drawn_per_m"]
    sway = f"a head that sways by {100 * found['sway_m']:g} cm to either side, {found['sway_hz']} times a second"
    return [
        f"{sway}: parallax is seen {seen['lag_ms']} ms after it, {100 * seen['per_m'] / drawn:.0f} % as much as in "
        f"pictures for a head that waits ({seen['frames']} frames, {seen['frame_ms']} ms each; a picture every "
        f"{seen['picture_ms']} ms)",
        f"by new pictures alone: {alone['lag_ms']} ms, {100 * alone['per_m'] / drawn:.0f} % (a picture every "
        f"{alone['picture_ms']} ms)",
    ]
