"""Parts of the report beyond the call itself: other conditions, lips, rate and distortion, links, engines, the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from telepresence.bench import plots
from telepresence.bench.html import NONE, cell, section, show, table, verdict
from telepresence.bench.plots import TITLES

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
MOST_SKEW_MS: Final = 45.0
LIPS_ROWS: Final = (
    ("pictures, from capture until shown", "picture_ms"),
    ("sound, from capture until heard", "sound_ms"),
    ("lips later than their sound", "skew_ms"),
)
LIPS: Final = (
    "The avatar's path with sound beside it: from page to page, lips steered as in any call. The sender's microphone "
    "plays bursts; they are looked for in what leaves it and in what leaves the receiver's jitter buffer, and the "
    "output's delay, as the browser tells it, is added. Compared is each picture with the sounds within a second of "
    "it. All on the same cores."
)


def conditions(report: Mapping[str, Any], shown: Sequence[tuple[str, str, str]]) -> str:
    """All paths on a bad link, and squeezed; `shown` are figures, what they are called, and their units."""
    out = []
    for group, title, note in CONDITIONS:
        found = report.get(group)
        if not found:
            continue
        names = [name for name in TITLES if name in found]
        keys = ("display_ms_p50", "display_ms_p95", "lag_ms_face", "kbps", "fps", "cpu_s")
        rows = [
            [f"{escape(t)} <small>{unit}</small>", *(cell(found[n], key) for n in names), _sooner(found, group, key)]
            for key, t, unit in shown
            if key in keys
        ]
        out.append(section(title, note, table(["", *(plots.SHORT[name] for name in names), ""], rows)))
    return "\n".join(out)


def _sooner(found: Mapping[str, Any], group: str, key: str) -> str:
    """On a bad link the avatar's face has to be there before the relayed video's."""
    ours, theirs = ((found.get(name) or {}).get(key) for name in ("avatar", "ordinary_relayed"))
    if group != "link" or key != "lag_ms_face" or ours is None or theirs is None:
        return ""
    return verdict(ours < theirs, f"&lt; {theirs:.0f}")


def lips(found: Mapping[str, Any] | None) -> str:
    """How far lips and sound are apart."""
    if not found:
        return ""
    rows = [[escape(title), *(show(found.get(f"{key}_{q}")) for q in ("p5", "p50", "p95"))] for title, key in LIPS_ROWS]
    apart = found["skew_ms_abs_p95"]
    met = verdict(apart <= MOST_SKEW_MS, f"\u2264 {MOST_SKEW_MS:.0f}")
    rows.append(["apart, either way", NONE, NONE, f"{show(apart)} {met}"])
    told = (
        f"{found['bursts']} bursts, {found['pictures']} pictures. Pictures were held back by "
        f"{show(found['hold_ms'], 0)} ms, sound by {show(found['sound_delay_ms'], 0)} ms. What the face itself is "
        f"later than its picture's capture time, {show(found['seen_later_ms'])} ms by the lag between the faces, is in "
        f"the pictures' ages, and so are {show(found.get('to_visible_ms'))} ms from showing one to its being visible."
    )
    body = plots.lips(found) + table(["ms", "p5", "median", "p95"], rows)
    return section("Lips and sound", f"{LIPS} {told}", body)


def rate_distortion(found: Mapping[str, Any] | None, flattered: bool) -> str:
    """What pictures are worth at which rate; `flattered`: the clip is an avatar itself."""
    drawn = plots.rate_distortion(found)
    if not found or not drawn:
        return ""
    [ours] = found["avatar"]
    note = (
        f"The avatar is enrolled from {found['enrolled_from']} of {found['pictures']} and judged on the rest, beside "
        "what codecs make of the same clip at 256\u00d7256 with settings for calls. Payload without headers, the first "
        "picture's included. Likeness is of the camera's picture: where a codec can work at all it is nearer to that "
        "than an avatar, whose light, background and hair are those of enrolment."
    )
    if flattered:
        note += " This clip is itself a drawing of an avatar, which flatters the avatar: give a real face with --clip."
    rows = [["avatar", *_quality(ours)]]
    best: dict[str, Mapping[str, Any]] = {}
    for row in found["codecs"]:
        if row["codec"] not in best or abs(row["kbps"] - ours["kbps"]) < abs(best[row["codec"]]["kbps"] - ours["kbps"]):
            best[row["codec"]] = row
    rows += [[f"{escape(name)}, nearest rate that it reaches", *_quality(row)] for name, row in best.items()]
    head = ["", "kbit/s", "SSIM", "SSIM in the face", "landmark error, %", "lips, %", "faces found"]
    return section("Rate and distortion", note, f'<div class="pair">{drawn}</div>{table(head, rows)}')


def _quality(row: Mapping[str, Any]) -> list[str]:
    names = ("kbps", "ssim", "ssim_face", "landmarks_pct", "lips_pct")
    return [*(show(row[name], 3 if "ssim" in name else 1) for name in names), f"{100 * row['faces']:.0f} %"]


def more(report: Mapping[str, Any]) -> str:
    """What the other benchmarks found."""
    return "\n".join(
        part for part in (_links(report.get("links")), _engines(report), _wire(report.get("wire"))) if part
    )


def _links(tables: Mapping[str, Sequence[Mapping[str, Any]]] | None) -> str:
    if not tables:
        return ""
    rows = [
        [escape(row["condition"]), *(show(row[key], digits) for key, _, digits in LINK_COLUMNS)]
        for row in list(tables.values())[-1]
    ]
    note = (
        "Motion as a call sends it over a simulated link of 30 ms one way, without sockets, engine or page: ages of "
        "the motion shown, longest freeze, time to fresh motion after an outage, error of the keypoints in outer "
        "eye-corner distances. Nothing shares anything with it: time is simulated."
    )
    return section("Motion on bad links", note, table(["", *(title for _, title, _ in LINK_COLUMNS)], rows))


def _engines(report: Mapping[str, Any]) -> str:
    measured = [row for row in (report.get("engines") or {}).get("rows", ()) if "error" not in row]
    if not measured:
        return ""
    rows = [
        [escape(f"{row['engine']} {row['size']}, {row['runtime']}"), str(row["threads"]),
         show(row["render_ms_median"]), show(row["render_ms_p95"])]
        for row in measured
    ]  # fmt: skip
    note = "One picture after the other, nothing else at work but what else this machine does."
    return section("The engine by itself", note, table(["", "threads", "median, ms", "p95, ms"], rows))


def _wire(summary: Mapping[str, Any] | None) -> str:
    if not summary:
        return ""
    rows = [[escape(title), show(summary.get(key)) if unit else _percent(summary.get(key)), unit or "%"]
            for key, title, unit in WIRE_ROWS]  # fmt: skip
    note = "This clip's motion through the codec over a link without loss; not a call, no clock but the codec's."
    return section("Motion on the wire", note, table(["", "", ""], rows))


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.2f}"
