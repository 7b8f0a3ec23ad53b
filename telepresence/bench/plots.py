"""The report's plots. Each takes a piece of the report and returns SVG, or nothing where that piece is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from telepresence.bench.svg import WIDTH, Axes, Point, dots, drawing, line, path, rect, spread, text, ticks

TITLES: Final = {
    "avatar": "avatar",
    "ordinary_direct": "ordinary, browser to browser",
    "ordinary_relayed": "ordinary, through Python",
}
SHORT: Final = {"avatar": "avatar", "ordinary_direct": "direct", "ordinary_relayed": "relayed"}
WHERE: Final = {
    "page to edge": "sender", "wait": "sender", "landmarks": "sender", "motion": "sender", "encode": "sender",
    "network": "network", "playout": "receiver", "keypoints": "receiver", "render": "receiver",
    "to the track": "receiver", "video to page": "page", "decode, present": "page",
}  # fmt: skip
MEANING: Final = {
    "page to edge": "browser encodes, edge decodes",
    "wait": "for the landmark worker",
    "landmarks": "found in the picture",
    "motion": "from landmarks",
    "encode": "handed to the transport",
    "network": "data channel, loopback",
    "playout": "and waiting for the render worker",
    "keypoints": "put on the avatar",
    "render": "by the engine, to YUV",
    "to the track": "event loop",
    "video to page": "the edge encodes, packets arrive",
    "decode, present": "the browser decodes and composes",
}
GROUPS_SAID: Final = {"natural": "", "squeezed": "squeezed", "link": "bad link", "sound": "with sound"}
LATE: Final = "; what took longer lies at the upper edge"
GROUPS: Final = {"sender": "sender's edge", "network": "network", "receiver": "receiver's edge", "page": "page"}


def waterfall(avatar: Mapping[str, Any] | None) -> str:
    """Where the time goes: medians one behind the other, thin lines up to the 95th percentile of each step alone."""
    steps = {n: s for n, s in (avatar or {}).get("steps_ms", {}).items() if s["p50"] is not None}
    if not steps:
        return ""
    total = sum(s["p50"] for s in steps.values())
    widest = max(sum(s["p50"] for s in list(steps.values())[:i]) + s["p95"] for i, s in enumerate(steps.values()))
    row, top, left = 26, 44, 345
    scale = (WIDTH - left - 70) / max(widest, total)
    bottom = top + row * len(steps)
    parts = []
    for value in ticks(0, max(widest, total), 8):
        x = left + value * scale
        parts += [line((x, top - 8), (x, bottom)), text(x, top - 14, f"{value:g}", anchor="middle")]
    parts.append(text(WIDTH, top - 14, "ms", anchor="end", kind="title"))
    at = 0.0
    for i, (name, step) in enumerate(steps.items()):
        y, begin = top + row * i, left + at * scale
        middle, width = y + row / 2 - 2, step["p50"] * scale
        kind = f"fill-{WHERE[name]}"
        told = f"{name}: median {step['p50']} ms, p95 {step['p95']} ms, {step['count']} pictures"
        parts += [
            text(0, middle + 4, name, kind="strong"),
            text(118, middle + 4, MEANING[name], kind="quiet"),
            line((begin, middle), (left + (at + step["p95"]) * scale, middle), f"whisker stroke-{WHERE[name]}"),
            rect(begin, y + 3, max(width, 1.5), row - 10, kind, told),
            text(left + (at + step["p95"]) * scale + 6, middle + 4, f"{step['p50']:.1f}"),
        ]
        at += step["p50"]
    legend = 0.0
    for where, title in GROUPS.items():
        parts += [rect(legend, 2, 12, 12, f"fill-{where}"), text(legend + 18, 12, title)]
        legend += 18 + 7 * len(title) + 18
    return drawing(bottom + 6, parts, f"Latency by step; the medians add up to {total:.0f} ms")


def over_time(segments: Sequence[Mapping[str, Any]]) -> str:
    """Every picture's time to the screen over the run; stretches of different paths take turns."""
    chosen = [s for s in segments if s["display_ms"]]
    if not chosen:
        return ""
    begin = min(s["display_ms"][0][0] for s in chosen)
    end = max(s["display_ms"][-1][0] for s in chosen)
    # Where a link has stalled a stretch's last pictures are seconds late: drawn to scale they would flatten all others.
    most = max(50.0, *(float(np.percentile([ms for _, ms in s["display_ms"]], 85)) for s in chosen)) * 1.25
    late = any(ms > most for s in chosen for _, ms in s["display_ms"])
    axes = Axes(
        (0, end - begin), (0, most), x_title="seconds since the first stretch", width=WIDTH - 62, top=48, height=250
    )
    parts = [*axes.frame(), text(axes.left - 44, axes.top - 28, f"ms until shown{LATE if late else ''}", kind="title")]
    spans: dict[str, list[float]] = {}
    for s in chosen:
        first, last = s["display_ms"][0][0] - begin, s["display_ms"][-1][0] - begin
        left, right = axes.at(first, 0)[0], axes.at(last, 0)[0]
        if s["group"] != "natural":
            parts.insert(0, rect(left - 2, axes.top, right - left + 4, axes.height, "shade"))
        median = float(np.median([ms for _, ms in s["display_ms"]]))
        points = [axes.at(at - begin, ms) for at, ms in s["display_ms"]]
        level = axes.at(0, median)[1]
        parts += [dots(points, f"dots stroke-{s['path']}"), line((left, level), (right, level), "median")]
        spans.setdefault(s["group"], []).extend((left, right))
    for group, ends in spans.items():  # of a group all stretches follow each other
        parts.append(text((min(ends) + max(ends)) / 2, axes.top - 6, GROUPS_SAID[group], anchor="middle", kind="quiet"))
    x = axes.left + axes.width
    for name in reversed([name for name in TITLES if any(s["path"] == name for s in chosen)]):
        x -= 7 * len(SHORT[name])
        parts += [
            text(x, axes.top - 28, SHORT[name], kind=f"ink-{name}"),
            dots([(x - 9, axes.top - 32)], f"stroke-{name}", 4),
        ]
        x -= 32
    return drawing(axes.top + axes.height + 44, parts, "Time until shown of every picture, over the run")


def cdf(segments: Sequence[Mapping[str, Any]]) -> str:
    """Share of pictures shown within so many milliseconds."""
    groups: dict[tuple[str, str], list[float]] = {}
    for s in segments:
        if s["group"] in ("natural", "link"):
            groups.setdefault((s["path"], s["group"]), []).extend(ms for _, ms in s["display_ms"])
    groups = {key: sorted(values) for key, values in groups.items() if len(values) > 10}
    if not groups:
        return ""
    most = max(values[int(0.97 * (len(values) - 1))] for values in groups.values()) * 1.1
    axes = Axes((0, most), (0, 1), x_title="ms from capture to screen", y_title="share of pictures", top=30,
                width=WIDTH - 52 - 210, format_y=lambda v: f"{100 * v:.0f} %")  # fmt: skip
    parts, ends = axes.frame(), []
    for (name, group), values in groups.items():
        steps = np.linspace(0, 1, 201)
        points = [axes.at(float(np.quantile(values, q)), float(q)) for q in steps if np.quantile(values, q) <= most]
        parts.append(path(points, f"curve stroke-{name}" + (" dashed" if group == "link" else "")))
        half = axes.at(float(np.quantile(values, 0.5)), 0.5)
        ends.append((half, name, SHORT[name] + (", bad link" if group == "link" else ""), float(np.median(values))))
    parts.append(line(axes.at(0, 0.5), axes.at(most, 0.5), "axis"))
    ends.sort(key=lambda one: one[3])
    for i, (_, name, title, median) in enumerate(ends):
        y = axes.top + 16 + 22 * i
        x = axes.left + axes.width + 16
        parts += [line((x, y - 4), (x + 18, y - 4), f"curve stroke-{name}" + (" dashed" if "bad" in title else ""))]
        parts.append(text(x + 24, y, f"{title}  {median:.0f} ms"))
    return drawing(axes.top + axes.height + 44, parts, "Cumulative distribution of the time until shown")


def lips(found: Mapping[str, Any] | None) -> str:
    """Ages of pictures and of their sound over time."""
    series = (found or {}).get("series") or {}
    if not all(series.get(name) for name in ("picture", "sound")):
        return ""
    begin = min(series[name][0][0] for name in series)
    end = max(series[name][-1][0] for name in series)
    most = 1.15 * max(float(np.percentile([ms for _, ms in series[name]], 98)) for name in series)
    axes = Axes((0, end - begin), (0, most), x_title="seconds", y_title="ms from capture", top=34, height=180,
                width=WIDTH - 52 - 130)  # fmt: skip
    parts = axes.frame()
    for n, (name, kind, radius) in enumerate((("picture", "stroke-avatar", 1.6), ("sound", "stroke-sound", 3.5))):
        parts.append(dots([axes.at(at - begin, ms) for at, ms in series[name]], kind, radius))
        x, y = axes.left + axes.width + 16, axes.top + 16 + 22 * n
        parts += [dots([(x + 6, y - 4)], kind, 3.5), text(x + 18, y, name + "s shown" * (n == 0) + " heard" * n)]
    return drawing(axes.top + axes.height + 44, parts, "Ages of pictures and of sound when they are presented")


def rate_distortion(table: Mapping[str, Any] | None) -> str:
    """Two plots: likeness of the face and error of the landmarks against kbit/s."""
    if not table or not table.get("avatar"):
        return ""
    return _versus(table, "ssim_face", "SSIM in the face", (0.3, 1.0), 0) + _versus(
        table, "landmarks_pct", "landmark error, % of the eyes' distance", (0.0, 12.0), 1
    )


def _versus(table: Mapping[str, Any], key: str, title: str, span: tuple[float, float], which: int) -> str:
    rows = [row for row in table["codecs"] if row[key] is not None]
    [ours] = table["avatar"]
    if ours[key] is None:
        return ""
    rates = [row["kbps"] for row in rows] + [ours["kbps"]]
    width = WIDTH / 2 - 10
    axes = Axes((min(4.0, *rates), max(100.0, *rates)), span, x_title="kbit/s, payload", y_title=title, log_x=True,
                x_ticks=[v for v in (5, 10, 20, 40, 80) if v <= max(100.0, *rates)], top=34, height=230,
                width=width - 52 - 56)  # fmt: skip
    parts, labels = axes.frame(), []
    for n, name in enumerate(dict.fromkeys(row["codec"] for row in rows)):
        mine = sorted((row["kbps"], row[key]) for row in rows if row["codec"] == name)
        points = [axes.at(*point) for point in mine]
        parts += [path(points, f"curve codec-{n}"), dots(points, f"codec-{n}", 3)]
        labels.append((points[-1], n, name))
    heights = spread([point[1] for point, _, _ in labels], 14, axes.top + axes.height - 4)
    right = axes.left + axes.width + 8
    parts += [text(right, y + 4, name, kind=f"ink-codec-{n}") for y, (_, n, name) in zip(heights, labels, strict=True)]
    place = axes.at(ours["kbps"], ours[key])
    parts += [dots([place], "stroke-avatar", 6), text(place[0] + 10, place[1] - 8, "avatar", kind="ink-avatar strong")]
    return drawing(axes.top + axes.height + 44, parts, f"{title} against kbit/s", width)


def processes(report: Mapping[str, Any]) -> str:
    """CPU time by process and path: what shares the cores."""
    paths = [name for name in TITLES if report.get(name) and report[name]["processes"]]
    if not paths:
        return ""
    names = list(dict.fromkeys(n for p in paths for n in report[p]["processes"]))
    totals = {p: sum(one["cpu_s"] for one in report[p]["processes"].values()) for p in paths}
    most = max(totals.values()) or 1.0
    left, row, top = 210, 34, 26
    scale = (WIDTH - left - 90) / most
    parts = []
    for value in ticks(0, most, 6):
        x = left + value * scale
        parts += [line((x, top - 6), (x, top + row * len(paths))), text(x, top - 12, f"{value:g}", anchor="middle")]
    for i, p in enumerate(paths):
        y, at = top + row * i, left
        parts.append(text(0, y + row / 2 + 4, TITLES[p], kind="strong"))
        for n, name in enumerate(names):
            cpu = report[p]["processes"].get(name, {}).get("cpu_s", 0.0)
            parts.append(rect(at, y + 6, cpu * scale, row - 12, f"fill-process-{n}", f"{name}: {cpu} CPU s a minute"))
            at += cpu * scale
        parts.append(text(at + 8, y + row / 2 + 4, f"{totals[p]:.0f}"))
    y, x = top + row * len(paths) + 24, 0.0
    for n, name in enumerate(names):
        parts += [rect(x, y - 10, 12, 12, f"fill-process-{n}"), text(x + 18, y, name)]
        x += 18 + 7 * len(name) + 20
    return drawing(y + 8, parts, "CPU seconds a minute by process")


def growth(soak: Mapping[str, Any] | None) -> str:
    """Age and memory over a long call."""
    readings = (soak or {}).get("readings") or []
    if len(readings) < 3:
        return ""
    plots = []
    for key, title in (("age_ms_p50", "age of pictures, ms"), ("memory_mib", "memory of both edges, MiB")):
        points: list[Point] = [(one["minutes"], one[key]) for one in readings if one.get(key) is not None]
        if len(points) < 3:
            continue
        top = max(y for _, y in points) * 1.2
        axes = Axes((0, points[-1][0]), (0, top), x_title="minutes", y_title=title, top=34, height=180,
                    width=WIDTH / 2 - 72)  # fmt: skip
        parts = [*axes.frame(), path([axes.at(*point) for point in points], "curve stroke-avatar")]
        plots.append(drawing(axes.top + axes.height + 44, parts, title, WIDTH / 2 - 10))
    return "".join(plots)
