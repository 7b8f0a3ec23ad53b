"""The report as one HTML file that needs nothing else: no script, no network, plots as SVG; for screen and paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from telepresence.bench import plots
from telepresence.bench.camera import SAMPLE_NAME
from telepresence.bench.plots import TITLES
from telepresence.bench.results import ORDINARY

STYLE: Final = Path(__file__).parent / "page" / "report.css"
NONE: Final = "\u2013"
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

LINK_COLUMNS: Final = (
    ("age_p50", "age, ms", 0), ("age_p95", "p95", 0), ("age_p99", "p99", 0), ("freeze", "freeze, ms", 0),
    ("fresh", "fresh after, ms", 0), ("error_pct", "error, %", 2), ("payload_kbps", "kbit/s", 1),
)  # fmt: skip
WIRE_ROWS: Final = (
    ("payload_kbps", "payload, 30 messages a second", "kbit/s"),
    ("wire_kbps", "on the wire, one direction", "kbit/s"),
    ("adaptive_kbps", "as a call sends, both directions, acknowledgements and all", "kbit/s"),
    ("thrifty_kbps", "thrifty, both directions", "kbit/s"),
    ("nme_mean", "error of the keypoints, of the outer eye-corner distance", ""),
    ("nme_lips", "of the lips", ""),
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
        _section("Where the time goes", _waterfall_note(avatar), plots.waterfall(avatar)),
        _section("Every picture, over the run", OVER_TIME, plots.over_time(report.get("segments", ()))),
        _section("How often how late", CDF, plots.cdf(report.get("segments", ()))),
        _conditions(report),
        _rate_distortion(report.get("rate_distortion"), (report.get("clip") or {}).get("name") == SAMPLE_NAME),
        _section("What shares the cores", _cores(report), plots.processes(report)),
        _soak(report.get("soak")),
        _more(report),
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
CONDITIONS: Final = (
    (
        "link",
        "On a bad link",
        "256 kbit/s, 5 % loss and 30 ms one way, where a network would be: between the two edges, between the relay "
        "and "
        "the screen, or between the browsers, through a relay of datagrams. The same processes share the same cores.",
    ),
    (
        "squeezed",
        "An ordinary call at the avatar's rate",
        "Video held to the kbit/s that the avatar takes on the wire, 256 pixels high. What is left of pictures at such "
        "rates: rate and distortion, below. The same processes share the same cores.",
    ),
)
METHOD: Final = (
    "Camera and screen are two headless browsers with a page each; both read this machine's monotonic clock at the "
    "start. Capture time is the browser's own, carried by RTP time and sender reports; presentation is what "
    "requestVideoFrameCallback says. An ordinary call's pictures are known by a number in the camera clip's margin, "
    "which "
    "survives the codec. The lag between the faces trusts none of that: head yaw and mouth opening of the camera's "
    "face "
    "in the sender's page and of the face on the receiver's screen are shifted until they agree best. Noise (\u00b1) "
    "is "
    "twice the standard error over the stretches of a path."
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
        (avatar["display_ms_p50"], "ms", f"camera to screen, median; p95 {_show(avatar['display_ms_p95'])}"),
        (avatar["lag_ms_face"], "ms", f"lag of the face as seen; relayed video {_show(relayed.get('lag_ms_face'))}"),
        (avatar["kbps"], "kbit/s", f"on the wire; an ordinary call takes {_show(times)} times as much"),
        (avatar["fps"], "/s", f"pictures on the screen; {_show(avatar['cpu_s'])} CPU s a minute"),
    ]  # fmt: skip
    shown = "".join(
        f'<div class="tile"><b>{_show(value)}<small>{unit}</small></b><span>{escape(said)}</span></div>'
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
    return _section("The avatar beside an ordinary call", note, _table(head, rows))


def _row(report: Mapping[str, Any], names: Row, compare: Row, key: str, title: str, unit: str) -> list[str]:
    cells = [f"{escape(title)} <small>{unit}</small>"]
    cells += [_cell(report[name], key) for name in names]
    avatar = (report.get("avatar") or {}).get(key)
    for name in compare:
        other = report[name].get(key)
        if avatar is None or not other:
            cells.append(NONE)
        else:
            cells.append(f"1 / {other / avatar:.0f}" if key == "kbps" and avatar else f"{avatar / other:.2f}")
    cells.append(_target(report, key))
    return cells


def _cell(figures: Mapping[str, Any], key: str) -> str:
    if figures.get(key) is None:
        return NONE
    noise = (figures.get("noise") or {}).get(key)
    return _show(figures[key]) + (f" <small>\u00b1{_show(noise)}</small>" if noise is not None else "")


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
    return _verdict(value <= limit, f"\u2264 {limit:.0f}")


def _verdict(met: bool, said: str) -> str:
    return f'<span class="{"good" if met else "bad"}">{said} {"met" if met else "missed"}</span>'


def _waterfall_note(avatar: Mapping[str, Any] | None) -> str:
    if not avatar or not avatar.get("steps_ms"):
        return ""
    known = [s["p50"] for s in avatar["steps_ms"].values() if s["p50"] is not None]
    return (
        f"Bars are each step's median, one behind the other ({sum(known):.0f} ms together); thin lines reach that "
        "step's "
        "95th percentile. Of pictures that reached the screen; all on the same cores at the same time."
    )


def _conditions(report: Mapping[str, Any]) -> str:
    out = []
    for group, title, note in CONDITIONS:
        found = report.get(group)
        if not found:
            continue
        names = [name for name in TITLES if name in found]
        keys = ("display_ms_p50", "display_ms_p95", "lag_ms_face", "kbps", "fps", "cpu_s")
        rows = [
            [f"{escape(t)} <small>{unit}</small>", *(_show(found[name].get(key)) for name in names)]
            for key, t, unit in ROWS
            if key in keys
        ]
        out.append(_section(title, note, _table(["", *(plots.SHORT[name] for name in names)], rows)))
    return "\n".join(out)


def _rate_distortion(table: Mapping[str, Any] | None, flattered: bool) -> str:
    drawn = plots.rate_distortion(table)
    if not table or not drawn:
        return ""
    [ours] = table["avatar"]
    note = (
        f"The avatar is enrolled from {table['enrolled_from']} of {table['pictures']} and judged on the rest, beside "
        "what "
        "codecs make of the same clip at 256\u00d7256 with settings for calls. Payload without headers, the first "
        "picture's included. Likeness is of the camera's picture: where a codec can work at all it is nearer to that "
        "than "
        "an avatar, whose light, background and hair are those of enrolment."
    )
    if flattered:
        note += " This clip is itself a drawing of an avatar, which flatters the avatar: give a real face with --clip."
    rows = [["avatar", *_quality(ours)]]
    best: dict[str, Mapping[str, Any]] = {}
    for row in table["codecs"]:
        if row["codec"] not in best or abs(row["kbps"] - ours["kbps"]) < abs(best[row["codec"]]["kbps"] - ours["kbps"]):
            best[row["codec"]] = row
    rows += [[f"{escape(name)}, nearest rate that it reaches", *_quality(row)] for name, row in best.items()]
    head = ["", "kbit/s", "SSIM", "SSIM in the face", "landmark error, %", "lips, %", "faces found"]
    return _section("Rate and distortion", note, f'<div class="pair">{drawn}</div>{_table(head, rows)}')


def _quality(row: Mapping[str, Any]) -> list[str]:
    names = ("kbps", "ssim", "ssim_face", "landmarks_pct", "lips_pct")
    return [*(_show(row[name], 3 if "ssim" in name else 1) for name in names), f"{100 * row['faces']:.0f} %"]


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
        [escape(row["what"]), _show(row["first"]), _show(row["last"]), _show(row["growth"]), _show(row["uncertain"]),
         f'<span class="{"bad" if row["verdict"] == "grows" else "good"}">{escape(row["verdict"])}</span>']
        for row in soak["verdicts"]
    ]  # fmt: skip
    head = ["", "first fifth", "last fifth", "growth in 30 min", "\u00b1", "verdict"]
    drawn = f'<div class="pair">{plots.growth(soak)}</div>'
    return _section(
        "A long call",
        f"{soak['minutes']:.1f} minutes of the avatar's path; verdicts are of what follows the first fifth.",
        drawn + _table(head, rows),
    )


def _more(report: Mapping[str, Any]) -> str:
    """What the other benchmarks found."""
    return "\n".join(
        part for part in (_links(report.get("links")), _engines(report), _wire(report.get("wire"))) if part
    )


def _links(tables: Mapping[str, Sequence[Mapping[str, Any]]] | None) -> str:
    if not tables:
        return ""
    rows = [
        [escape(row["condition"]), *(_show(row[key], digits) for key, _, digits in LINK_COLUMNS)]
        for row in list(tables.values())[-1]
    ]
    note = (
        "Motion as a call sends it over a simulated link of 30 ms one way, without sockets, engine or page: ages of "
        "the "
        "motion shown, longest freeze, time to fresh motion after an outage, error of the keypoints in outer "
        "eye-corner "
        "distances. Nothing shares anything with it: time is simulated."
    )
    return _section("Motion on bad links", note, _table(["", *(title for _, title, _ in LINK_COLUMNS)], rows))


def _engines(report: Mapping[str, Any]) -> str:
    measured = [row for row in (report.get("engines") or {}).get("rows", ()) if "error" not in row]
    if not measured:
        return ""
    rows = [
        [escape(f"{row['engine']} {row['size']}, {row['runtime']}"), str(row["threads"]),
         _show(row["render_ms_median"]), _show(row["render_ms_p95"])]
        for row in measured
    ]  # fmt: skip
    note = "One picture after the other, nothing else at work but what else this machine does."
    return _section("The engine by itself", note, _table(["", "threads", "median, ms", "p95, ms"], rows))


def _wire(summary: Mapping[str, Any] | None) -> str:
    if not summary:
        return ""
    rows = [[escape(title), _show(summary.get(key)) if unit else _percent(summary.get(key)), unit or "%"]
            for key, title, unit in WIRE_ROWS]  # fmt: skip
    note = "This clip's motion through the codec over a link without loss; not a call, no clock but the codec's."
    return _section("Motion on the wire", note, _table(["", "", ""], rows))


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.2f}"


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


def _section(title: str, note: str, body: str) -> str:
    if not body:
        return ""
    told = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{told}{body}</section>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(one)}</th>" for one in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _show(value: float | None, digits: int = 1) -> str:
    if value is None:
        return NONE
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:z.{digits}f}"
