"""The report as one HTML file that needs nothing else: no script, no network, plots as SVG; for screen and paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from telepresence.bench import chapters, plots
from telepresence.bench.camera import SAMPLE_NAME
from telepresence.bench.html import NONE, cell, section, show, table, verdict
from telepresence.bench.plots import TITLES
from telepresence.bench.results import ORDINARY

STYLE: Final = Path(__file__).parent / "page" / "report.css"
TARGETS: Final[Mapping[str, float]] = {
    "edge_ms_p50": 35, "edge_ms_p95": 60, "age_ms_p50": 70, "age_ms_p95": 110, "display_ms_p50": 110,
    "display_ms_p95": 150,
}  # fmt: skip
LEAST_TIMES_LESS: Final = 20.0
MOST_LAG_MORE_MS: Final = 20.0
ROWS: Final = (
    ("display_ms_p50", "until shown, median", "ms"),
    ("display_ms_p95", "until shown, p95", "ms"),
    ("display_ms_p99", "until shown, p99", "ms"),
    ("lag_ms_face", "lag between the two faces, as seen", "ms"),
    ("age_ms_p50", "until handed to the page's track, median", "ms"),
    ("age_ms_p95", "until handed to the page's track, p95", "ms"),
    ("edge_ms_p50", "edge to edge (decoded to rendered), median", "ms"),
    ("edge_ms_p95", "edge to edge (decoded to rendered), p95", "ms"),
    ("kbps", "on the wire, one direction", "kbit/s"),
    ("payload_kbps", "payload", "kbit/s"),
    ("fps", "pictures a second on the screen", "1/s"),
    ("cpu_s", "CPU seconds a minute of call", "s"),
)

Row = Sequence[Any]


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Write the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(report), encoding="utf-8")


def page(report: Mapping[str, Any]) -> str:
    """The whole page."""
    parts = [_head(report), _tiles(report), _paths(report)]
    avatar = report.get("avatar")
    parts += [
        section("Where the time goes", _waterfall_note(avatar), plots.waterfall(avatar)),
        section("Every picture, over the run", OVER_TIME, plots.over_time(report.get("segments", ()))),
        section("How often how late", CDF, plots.cdf(report.get("segments", ()))),
        chapters.conditions(report, ROWS),
        chapters.lips(report.get("lips")),
        chapters.rate_distortion(report.get("rate_distortion"), (report.get("clip") or {}).get("name") == SAMPLE_NAME),
        section("What shares the cores", _cores(report), plots.processes(report)),
        _soak(report.get("soak")),
        chapters.more(report),
        _method(report),
    ]
    style = STYLE.read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>telepresence bench, {escape(report['date'])}</title>\n<style>\n{style}</style>\n"
        + "\n".join(part for part in parts if part)
        + "\n</html>\n"
    )


OVER_TIME: Final = (
    "One mark a picture, from its capture in the sender's page to its presentation in the receiver's; bars are "
    "medians. Paths take turns and never run at the same time. Shaded: squeezed to the avatar's rate, or on a bad link."
)
CDF: Final = "Share of the pictures that were on the screen within so many milliseconds."
METHOD: Final = (
    "Camera and screen are two headless browsers with a page each; both read this machine's monotonic clock at the "
    "start. Capture time is the browser's own, carried by RTP time and sender reports; presentation is what "
    "requestVideoFrameCallback says. An ordinary call's pictures are known by a number in the camera clip's margin, "
    "which "
    "survives the codec. The lag between the faces trusts none of that: head yaw and mouth opening of the camera's "
    "face "
    "in the sender's page and of the face on the receiver's screen are shifted until they agree best. Noise (\u00b1) "
    "is "
    "half the 95 % confidence interval of a figure's mean over the stretches of its path (Student's)."
)


def _head(report: Mapping[str, Any]) -> str:
    machine, engine = report["machine"], report.get("engine") or {}
    drawn = " ".join(str(engine[k]) for k in ("engine", "runtime") if engine.get(k))
    size = f", {engine['size']}\u00d7{engine['size']}" if engine.get("size") else ""
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}"
    made = f"Engine {drawn}{size}." if drawn else ""
    clip = (report.get("clip") or {}).get("name")
    what = (
        "One face, from a camera in one browser to the screen of another on the same machine: as an avatar (only "
        "motion "
        "crosses between two edges), and as ordinary video, browser to browser and through Python."
    )
    warnings = []
    if not report.get("complete"):
        why = report.get("interrupted") or "it was ended early"
        warnings.append(f"This run is not complete ({why}); what is here was measured before.")
    warnings += list(report.get("problems") or ())
    told = "".join(f'<div class="warning">{escape(one)}</div>' for one in warnings)
    camera = f" Camera: {escape(clip)}." if clip else ""
    return (
        f"<h1>From face to screen</h1>\n<p>{what}</p>\n"
        f'<p class="note">{escape(report["date"])} UTC. {escape(where)}; everything ran on these cores. '
        f"{escape(made)}{camera} Load average before: {machine['load_average']}.</p>\n{told}"
    )


def _tiles(report: Mapping[str, Any]) -> str:
    avatar = report.get("avatar")
    if not avatar:
        return ""
    relayed = report.get("ordinary_relayed") or {}
    times = (report.get("ratios", {}).get("ordinary_direct") or {}).get("kbps_times_less")
    tiles = [
        (avatar["display_ms_p50"], "ms", f"camera to screen, median; p95 {show(avatar['display_ms_p95'])}"),
        (avatar["lag_ms_face"], "ms", f"lag of the face as seen; relayed video {show(relayed.get('lag_ms_face'))}"),
        (avatar["kbps"], "kbit/s", f"on the wire; an ordinary call takes {show(times)} times as much"),
        (avatar["fps"], "/s", f"pictures on the screen; {show(avatar['cpu_s'])} CPU s a minute"),
    ]  # fmt: skip
    shown = "".join(
        f'<div class="tile"><b>{show(value)}<small>{unit}</small></b><span>{escape(said)}</span></div>'
        for value, unit, said in tiles
    )
    return f'<div class="tiles">{shown}</div>'


def _paths(report: Mapping[str, Any]) -> str:
    names = [name for name in TITLES if report.get(name)]
    if not names:
        return ""
    compare = [name for name in ORDINARY if name in names and "avatar" in names]
    head = ["", *(plots.SHORT[n] for n in names), *(f"\u00f7 {plots.SHORT[n]}" for n in compare), "target"]
    rows = [_row(report, names, compare, *row) for row in ROWS]
    note = (
        "Direct: video from browser to browser. Relayed: video through Python, decoded and encoded anew as an edge "
        "would. One path at a time, in turns, all on one machine: two browsers, two edges, a relay and a hub share "
        "its cores; "
        "what a path does not need idles. Times begin with the capture in the sender's page; \u00f7 is the avatar's "
        "figure over the other's."
    )
    return section("The avatar beside an ordinary call", note, table(head, rows))


def _row(report: Mapping[str, Any], names: Row, compare: Row, key: str, title: str, unit: str) -> list[str]:
    cells = [f"{escape(title)} <small>{unit}</small>"]
    cells += [cell(report[name], key) for name in names]
    avatar = (report.get("avatar") or {}).get(key)
    for name in compare:
        other = report[name].get(key)
        if avatar is None or not other:
            cells.append(NONE)
        else:
            cells.append(f"1 / {other / avatar:.0f}" if key == "kbps" and avatar else f"{avatar / other:.2f}")
    cells.append(_target(report, key))
    return cells


def _target(report: Mapping[str, Any], key: str) -> str:
    """What the project has set itself, and whether this run met it."""
    avatar = report.get("avatar") or {}
    relayed, direct = report.get("ordinary_relayed") or {}, report.get("ordinary_direct") or {}
    value, limit = avatar.get(key), TARGETS.get(key)
    if key == "lag_ms_face" and relayed.get(key) is not None:
        limit = relayed[key] + MOST_LAG_MORE_MS
    if key == "kbps" and direct.get(key) is not None:
        limit = direct[key] / LEAST_TIMES_LESS
    if limit is None or value is None:
        return ""
    return verdict(value <= limit, f"\u2264 {limit:.0f}")


def _waterfall_note(avatar: Mapping[str, Any] | None) -> str:
    if not avatar or not avatar.get("steps_ms"):
        return ""
    known = [s["p50"] for s in avatar["steps_ms"].values() if s["p50"] is not None]
    return (
        f"Bars are each step's median, one behind the other ({sum(known):.0f} ms together); thin lines reach that "
        "step's "
        "95th percentile. Of pictures that reached the screen; all on the same cores at the same time."
    )


def _cores(report: Mapping[str, Any]) -> str:
    avatar = report.get("avatar") or {}
    if not avatar.get("processes"):
        return "CPU time is read from Linux's /proc; this system has none."
    busy = avatar.get("busy_cores")
    more = f" While the avatar was measured, {busy:g} cores were busy with anything at all." if busy else ""
    return f"CPU seconds in a minute of call, by process; memory in the JSON.{more}"


def _soak(soak: Mapping[str, Any] | None) -> str:
    if not soak:
        return ""
    rows = [
        [escape(row["what"]), show(row["first"]), show(row["last"]), show(row["growth"]), show(row["uncertain"]),
         f'<span class="{"bad" if row["verdict"] == "grows" else "good"}">{escape(row["verdict"])}</span>']
        for row in soak["verdicts"]
    ]  # fmt: skip
    head = ["", "first fifth", "last fifth", "growth in 30 min", "\u00b1", "verdict"]
    drawn = f'<div class="pair">{plots.growth(soak)}</div>'
    return section(
        "A long call",
        f"{soak['minutes']:.1f} minutes of the avatar's path; verdicts are of what follows the first fifth.",
        drawn + table(head, rows),
    )


def _method(report: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    clocks = report.get("clocks") or {}
    gap = ""
    if len(clocks) == 2:
        walls = [one["wall_ms"] for one in clocks.values()]
        sure = max(one["uncertain_ms"] for one in clocks.values())
        apart = abs(walls[0] - walls[1])
        gap = f" The pages' clocks: read to {sure:.1f} ms; their wall clocks agree to {apart:.1f} ms."
    browser = f", browser {report['browser']}" if report.get("browser") else ""
    seed = f"Seed {report['seed']}. " if report.get("seed") is not None else ""
    return (
        f"<h2>How it was measured</h2>\n<p class='note'>{escape(METHOD + gap)}</p>\n"
        f"<p class='note'>{seed}{escape(versions + browser)}.</p>"
    )
